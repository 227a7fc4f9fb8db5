#define _GNU_SOURCE
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/dataplane/drain.h"
#include "bench/dataplane/tool.h"

static void init(struct drain *d, int argc, char **argv)
{
	const int n = snprintf(d->request, sizeof(d->request),
			       "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n"
			       "User-Agent: drain\r\nAccept: */*\r\n",
			       dp_arg(argc, argv, "--path", NULL));

	if (n < 0 || (size_t)n >= sizeof(d->request))
		dp_die_text("--path", "too long");
}

static void send_request(const struct drain *d, struct drain_conn *c,
			 uint64_t from)
{
	char buf[sizeof(d->request) + 64];
	int n;

	if (from > 0)
		n = snprintf(buf, sizeof(buf),
			     "%sRange: bytes=%" PRIu64 "-%" PRIu64 "\r\n\r\n",
			     d->request, from, d->spread_bytes - 1);
	else
		n = snprintf(buf, sizeof(buf), "%s\r\n", d->request);
	c->in_body = false;
	c->head_len = 0;
	c->began_ns = dp_now_ns();
	dp_send_small(c->fd, buf, (size_t)n);
}

/* A closed range: one without an end is read by clients that leave early, and
 * may be sent with less ahead.  Not all at the same place, or all but the first would find the bytes in the
 * processor's cache. */
static void start(struct drain *d, struct drain_conn *c)
{
	send_request(d, c, d->spread_bytes / d->count * c->index);
}

static void next(struct drain *d, struct drain_conn *c)
{
	const struct timespec gap = { .tv_nsec = (long)d->gap_ns };

	drain_answered(d, c);
	if (d->gap_ns > 0) /* one connection: nobody else waits */
		nanosleep(&gap, NULL);
	send_request(d, c, 0);
}

/* The head is whole: 200 or 206, and how much is to come. */
static void read_head(struct drain_conn *c)
{
	const char *length;

	c->head[c->head_len] = '\0';
	if (strncmp((const char *)c->head, "HTTP/1.1 20", 11) != 0)
		dp_die_text("answer", (const char *)c->head);
	length = strcasestr((const char *)c->head, "\r\ncontent-length:");
	if (length == NULL)
		dp_die_text("answer without length", (const char *)c->head);
	c->left = strtoull(length + 17, NULL, 10);
	c->in_body = true;
}

/* Returns how many of the @n bytes were of the head. */
static size_t take_head(struct drain_conn *c, const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (c->head_len + 1 >= sizeof(c->head))
			dp_die_text("answer", "the head is too long");
		c->head[c->head_len++] = p[i];
		if (c->head_len >= 4 &&
		    memcmp(c->head + c->head_len - 4, "\r\n\r\n", 4) == 0) {
			read_head(c);
			return i + 1;
		}
	}
	return n;
}

static void bytes(struct drain *d, struct drain_conn *c, const uint8_t *p,
		  size_t n)
{
	while (n > 0) {
		size_t used = n;

		if (!c->in_body) {
			used = take_head(c, p, n);
		} else {
			if (used > c->left)
				used = c->left;
			c->left -= used;
			d->bytes += used;
		}
		p += used;
		n -= used;
		if (c->in_body && c->left == 0)
			next(d, c);
	}
}

static void tick(struct drain *d, struct drain_conn *c, uint64_t now_ns)
{
	(void)d;
	(void)c;
	(void)now_ns;
}

const struct drain_way drain_http = { init, start, bytes, tick };
