/*
 * ceiling - the least a program can do to serve a file: epoll, and sendfile(2)
 * of up to 1 MiB at a time.
 *
 *	ceiling --port N --file FILE [--block BYTES]
 *
 * Whatever comes, once it has an empty line in it, is answered by the file,
 * from where its "Range: bytes=N-" says.  --block: in blocks, with the bytes
 * of a head before each, as peers are sent them; corked, as ours are.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/dataplane/tool.h"

enum { EVENTS = 256, SLICE_BYTES = 1 << 20, HEAD_BYTES = 20 };

struct conn {
	int fd;
	off_t at;
	bool sending;
	bool has_head; /* the block at @at */
};

struct server {
	int epoll, listener, file;
	off_t size;
	off_t block; /* 0: the file as it is */
};

static void watch(const struct server *s, int op, int fd, uint32_t events,
		  void *ptr)
{
	struct epoll_event e = { .events = events, .data.ptr = ptr };

	if (epoll_ctl(s->epoll, op, fd, &e) < 0)
		dp_die("epoll_ctl");
}

static void accept_all(const struct server *s)
{
	const int one = 1;
	int fd;

	while ((fd = accept4(s->listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
		struct conn *c = calloc(1, sizeof(*c));

		if (c == NULL)
			dp_die("memory");
		c->fd = fd;
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one,
				 sizeof(one));
		watch(s, EPOLL_CTL_ADD, fd, EPOLLIN, c);
	}
}

static void cork(const struct server *s, const struct conn *c, int on)
{
	if (s->block > 0)
		(void)setsockopt(c->fd, IPPROTO_TCP, TCP_CORK, &on, sizeof(on));
}

/* Of what goes next, the head and how many bytes; false: not now.  A head that
 * the socket takes half of is none: it holds many. */
static bool begin_slice(const struct server *s, struct conn *c, size_t *ret)
{
	static const char head[HEAD_BYTES];

	*ret = SLICE_BYTES;
	if (s->block == 0)
		return true;
	if (!c->has_head && send(c->fd, head, sizeof(head),
				 MSG_DONTWAIT | MSG_NOSIGNAL | MSG_MORE) !=
				    (ssize_t)sizeof(head))
		return false;
	c->has_head = true;
	*ret = (size_t)(s->block - c->at % s->block);
	return true;
}

static void go_on(const struct server *s, struct conn *c)
{
	size_t want;

	while (c->at < s->size) {
		if (!begin_slice(s, c, &want))
			return;
		const ssize_t n = sendfile(c->fd, s->file, &c->at, want);

		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) { /* the client left in the middle */
			close(c->fd);
			free(c);
			return;
		}
		if ((size_t)n < want && c->at < s->size)
			return; /* full: epoll says when it goes on */
		c->has_head = false;
	}
	c->sending = false;
	cork(s, c, 0);
	watch(s, EPOLL_CTL_MOD, c->fd, EPOLLIN, c);
}

static void send_head(const struct server *s, const struct conn *c)
{
	const off_t left = s->size - c->at;
	const off_t heads =
		s->block > 0 ? (left + s->block - 1) / s->block * HEAD_BYTES
			     : 0;
	char buf[128];
	const int n = snprintf(buf, sizeof(buf),
			       "HTTP/1.1 200 OK\r\nContent-Length: %jd\r\n\r\n",
			       (intmax_t)(left + heads));

	dp_send_small(c->fd, buf, (size_t)n);
}

static void request(const struct server *s, struct conn *c)
{
	char buf[4096];
	const ssize_t n = recv(c->fd, buf, sizeof(buf), 0);

	if (n <= 0) {
		close(c->fd);
		free(c);
		return;
	}
	const char *end = memmem(buf, (size_t)n, "\r\n\r\n", 4);
	const char *range = memmem(buf, (size_t)n, "Range: bytes=", 13);

	if (end == NULL)
		return;
	c->at = range == NULL ? 0 : strtoll(range + 13, NULL, 10);
	send_head(s, c);
	cork(s, c, 1);
	c->has_head = false;
	c->sending = true;
	watch(s, EPOLL_CTL_MOD, c->fd, EPOLLOUT, c);
}

int main(int argc, char **argv)
{
	struct server s = { .epoll = epoll_create1(EPOLL_CLOEXEC) };
	struct epoll_event events[EVENTS];
	struct stat st;

	signal(SIGPIPE, SIG_IGN);
	s.listener =
		dp_listen((uint16_t)atoi(dp_arg(argc, argv, "--port", NULL)));
	s.file = open(dp_arg(argc, argv, "--file", NULL), O_RDONLY | O_CLOEXEC);
	if (s.epoll < 0 || s.file < 0 || fstat(s.file, &st) < 0)
		dp_die("start");
	s.size = st.st_size;
	s.block = strtoll(dp_arg(argc, argv, "--block", "0"), NULL, 10);
	watch(&s, EPOLL_CTL_ADD, s.listener, EPOLLIN, NULL);
	for (;;) {
		const int n = epoll_wait(s.epoll, events, EVENTS, -1);

		for (int i = 0; i < n; i++) {
			struct conn *c = events[i].data.ptr;

			if (c == NULL)
				accept_all(&s);
			else if (c->sending)
				go_on(&s, c);
			else
				request(&s, c);
		}
	}
}
