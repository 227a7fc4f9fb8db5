/*
 * test/support/http_client.h - an HTTP/1 client that does what it is told,
 * byte by byte, wrong things included.
 *
 * Every wait ends after ten seconds, as a failure.
 */
#ifndef KR_TEST_HTTP_CLIENT_H
#define KR_TEST_HTTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_client {
	int fd;
	uint8_t *buf; /* received, not consumed */
	size_t len, cap;
};

struct http_reply {
	int status;      /* 0: no whole reply came */
	char head[8192]; /* status line and fields, with a NUL */
	uint8_t *body;   /* with a NUL behind */
	size_t len;
	char value[1024]; /* what http_field returned last */
};

/* To 127.0.0.1; aborts the test program when that fails. */
void http_open(struct http_client *c, uint16_t port);
void http_close(struct http_client *c);

/* False: the connection broke. */
bool http_write(struct http_client *c, const void *bytes, size_t len);
bool http_printf(struct http_client *c, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Receive once into buf.  0: end of stream, -1: error or time is up. */
int http_fill(struct http_client *c);

/* Read one final reply (1xx are skipped, but see http_read_head); @is_head: it
 * has no body whatever its length says.  Free it with http_reply_free. */
bool http_read(struct http_client *c, struct http_reply *r, bool is_head);

/* Read a head only, 1xx included; the body stays in buf. */
bool http_read_head(struct http_client *c, struct http_reply *r);
void http_reply_free(struct http_reply *r);

/* A field's value or NULL; names as they are sent. */
const char *http_field(struct http_reply *r, const char *name);

/* Does the stream end here, with nothing more in it? */
bool http_is_over(struct http_client *c);

/* One request on a connection of its own. */
void http_once(uint16_t port, struct http_reply *r, bool is_head,
	       const char *request);

#endif
