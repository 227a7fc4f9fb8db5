#define _GNU_SOURCE
#include "test/support/http_client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { WAIT_MS = 10000, STEP = 65536 };

void http_open(struct http_client *c, uint16_t port)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_port = htons(port) };
	const int one = 1;

	memset(c, 0, sizeof(*c));
	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0 ||
	    connect(c->fd, (struct sockaddr *)&sa, sizeof(sa)) != 0) {
		perror("http_open");
		abort();
	}
	(void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

void http_close(struct http_client *c)
{
	(void)close(c->fd);
	free(c->buf);
	memset(c, 0, sizeof(*c));
	c->fd = -1;
}

bool http_write(struct http_client *c, const void *bytes, size_t len)
{
	const uint8_t *p = bytes;

	while (len > 0) {
		const ssize_t n = send(c->fd, p, len, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return false;
		p += n;
		len -= (size_t)n;
	}
	return true;
}

bool http_printf(struct http_client *c, const char *fmt, ...)
{
	char text[8192];
	va_list ap;

	va_start(ap, fmt);
	const int n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(text))
		abort();
	return http_write(c, text, (size_t)n);
}

int http_fill(struct http_client *c)
{
	struct pollfd p = { .fd = c->fd, .events = POLLIN };

	if (poll(&p, 1, WAIT_MS) <= 0)
		return -1;
	if (c->cap - c->len < STEP) {
		c->cap = c->cap * 2 + STEP;
		c->buf = realloc(c->buf, c->cap);
		if (c->buf == NULL)
			abort();
	}
	const ssize_t n = recv(c->fd, c->buf + c->len, STEP, 0);
	if (n <= 0)
		return (int)n;
	c->len += (size_t)n;
	return 1;
}

static void consume(struct http_client *c, size_t n)
{
	memmove(c->buf, c->buf + n, c->len - n);
	c->len -= n;
}

static size_t head_len(const struct http_client *c)
{
	const uint8_t *end =
		c->len > 0 ? memmem(c->buf, c->len, "\r\n\r\n", 4) : NULL;

	return end ? (size_t)(end - c->buf) + 4 : 0;
}

bool http_read_head(struct http_client *c, struct http_reply *r)
{
	size_t n;

	memset(r, 0, sizeof(*r));
	while ((n = head_len(c)) == 0)
		if (http_fill(c) <= 0)
			return false;
	if (n >= sizeof(r->head) || n < 12)
		return false;
	memcpy(r->head, c->buf, n);
	consume(c, n);
	r->status = atoi(r->head + 9);
	return true;
}

const char *http_field(struct http_reply *r, const char *name)
{
	char key[128];

	(void)snprintf(key, sizeof(key), "\r\n%s: ", name);
	const char *at = strstr(r->head, key);
	if (at == NULL)
		return NULL;
	at += strlen(key);
	const size_t len = strcspn(at, "\r");
	(void)snprintf(r->value, sizeof(r->value), "%.*s", (int)len, at);
	return r->value;
}

static bool read_body(struct http_client *c, struct http_reply *r)
{
	const char *text = http_field(r, "Content-Length");
	const size_t len = text ? (size_t)strtoull(text, NULL, 10) : 0;

	while (c->len < len)
		if (http_fill(c) <= 0)
			return false;
	r->body = malloc(len + 1);
	if (r->body == NULL)
		abort();
	if (len > 0)
		memcpy(r->body, c->buf, len);
	r->body[len] = '\0';
	r->len = len;
	if (len > 0)
		consume(c, len);
	return true;
}

bool http_read(struct http_client *c, struct http_reply *r, bool is_head)
{
	do {
		if (!http_read_head(c, r))
			return false;
	} while (r->status < 200);
	if (is_head || r->status == 204 || read_body(c, r))
		return true;
	r->status = 0;
	return false;
}

void http_reply_free(struct http_reply *r)
{
	free(r->body);
	r->body = NULL;
}

bool http_is_over(struct http_client *c)
{
	return c->len == 0 && http_fill(c) <= 0 && c->len == 0;
}

void http_once(uint16_t port, struct http_reply *r, bool is_head,
	       const char *request)
{
	struct http_client c;

	http_open(&c, port);
	if (!http_write(&c, request, strlen(request)) ||
	    !http_read(&c, r, is_head))
		r->status = 0;
	http_close(&c);
}
