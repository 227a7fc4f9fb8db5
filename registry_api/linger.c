#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/clock.h"
#include "registry_api/server.h"

struct swallow {
	struct kr_list link;
	struct kr_http *srv;
	h2o_socket_t *sock;
	uint64_t until_ns;
	uint64_t bytes_left;
};

static void finish(struct swallow *l)
{
	kr_list_del(&l->link);
	l->srv->linger_count--;
	h2o_socket_close(l->sock);
	free(l);
}

static void on_read(h2o_socket_t *sock, const char *err)
{
	char scratch[16384];
	struct swallow *l = sock->data;

	(void)err;
	const ssize_t n = recv(h2o_socket_get_fd(sock), scratch,
			       sizeof(scratch), MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0 || (uint64_t)n >= l->bytes_left)
		finish(l);
	else
		l->bytes_left -= (uint64_t)n;
}

void kr_linger_start(struct kr_http *h, int fd)
{
	if (h->linger_count >= KR_LINGER_COUNT_MAX || h->stop_begun_ns != 0)
		return;
	struct swallow *l = calloc(1, sizeof(*l));
	const int copy = l ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;
	if (copy < 0) {
		free(l);
		return;
	}
	(void)shutdown(copy, SHUT_WR);
	l->srv = h;
	l->until_ns = kr_clock_mono_ns() + KR_LINGER_NS_MAX;
	l->bytes_left = KR_LINGER_BYTES_MAX;
	l->sock = h2o_evloop_socket_create(h->ctx.loop, copy,
					   H2O_SOCKET_FLAG_DONT_READ);
	l->sock->data = l;
	kr_list_add_tail(&h->lingers, &l->link);
	h->linger_count++;
	h2o_socket_read_start(l->sock, on_read);
}

void kr_linger_expire(struct kr_http *h, uint64_t now_ns)
{
	kr_list_for_each_safe(it, &h->lingers)
	{
		struct swallow *l = KR_CONTAINER_OF(it, struct swallow, link);
		if (l->until_ns > now_ns)
			break; /* the list is in order of age */
		finish(l);
	}
}
