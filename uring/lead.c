/*
 * How far a sender is ahead of its reader.
 *
 * What the reader's host has acknowledged is not what the reader has read: its
 * receive buffer grows to megabytes for a fast one, and its window is told
 * coarsely and late.  A reader on this host is a socket of this kernel,
 * though, which says by sock_diag(7) what lies in it unread: a look-up by the
 * four numbers of the connection, answered before sendto(2) returns.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>

#include "uring/engine.h"

struct question {
	struct nlmsghdr head;
	struct inet_diag_req_v2 req;
};

/*
 * SO_SNDBUF bounds what is not acknowledged, TCP_NOTSENT_LOWAT what is not
 * even sent.  A size once set stays until SO_BUF_LOCK (Linux 5.14) gives it
 * back to the kernel; without that the connection keeps the small one.
 */
void kr_io_limit_lead(int fd, uint32_t bytes)
{
	const int size = (int)bytes, unlocked = 0;

	kr_assert(bytes <= INT32_MAX);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &size,
			 sizeof(size));
	if (bytes > 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size,
				 sizeof(size));
	else
		(void)setsockopt(fd, SOL_SOCKET, SO_BUF_LOCK, &unlocked,
				 sizeof(unlocked));
}

static void set_end(const struct sockaddr_storage *sa, __be32 addr[4],
		    __be16 *port)
{
	if (sa->ss_family == AF_INET) {
		const struct sockaddr_in *v4 = (const void *)sa;

		addr[0] = v4->sin_addr.s_addr;
		*port = v4->sin_port;
	} else {
		const struct sockaddr_in6 *v6 = (const void *)sa;

		memcpy(addr, &v6->sin6_addr, 16);
		*port = v6->sin6_port;
	}
}

/* Ask for the other end's socket; false: @fd is not a TCP connection. */
static bool make_question(int fd, struct question *q)
{
	struct sockaddr_storage ours, theirs;
	socklen_t ours_len = sizeof(ours), theirs_len = sizeof(theirs);

	if (getsockname(fd, (struct sockaddr *)&ours, &ours_len) != 0 ||
	    getpeername(fd, (struct sockaddr *)&theirs, &theirs_len) != 0 ||
	    (ours.ss_family != AF_INET && ours.ss_family != AF_INET6))
		return false;
	memset(q, 0, sizeof(*q));
	q->head.nlmsg_len = sizeof(*q);
	q->head.nlmsg_type = SOCK_DIAG_BY_FAMILY;
	q->head.nlmsg_flags = NLM_F_REQUEST;
	q->req.sdiag_family = (uint8_t)ours.ss_family;
	q->req.sdiag_protocol = IPPROTO_TCP;
	q->req.id.idiag_cookie[0] = INET_DIAG_NOCOOKIE;
	q->req.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
	set_end(&theirs, q->req.id.idiag_src, &q->req.id.idiag_sport);
	set_end(&ours, q->req.id.idiag_dst, &q->req.id.idiag_dport);
	return true;
}

static bool ask(int netlink, const struct question *q, uint32_t *ret_unread)
{
	union {
		struct nlmsghdr head;
		uint8_t bytes[4096];
	} answer;
	const struct inet_diag_msg *msg;
	ssize_t n;

	if (send(netlink, q, sizeof(*q), MSG_DONTWAIT) != (ssize_t)sizeof(*q))
		return false;
	n = recv(netlink, &answer, sizeof(answer), MSG_DONTWAIT);
	if (n < (ssize_t)(NLMSG_HDRLEN + sizeof(*msg)) ||
	    answer.head.nlmsg_type != SOCK_DIAG_BY_FAMILY)
		return false; /* an error: no such socket on this host */
	msg = (const void *)(answer.bytes + NLMSG_HDRLEN);
	*ret_unread = msg->idiag_rqueue;
	return true;
}

bool kr_io_lead(struct kr_io *io, int fd, uint32_t *ret_bytes)
{
	struct question q;
	uint32_t unread;
	int queued = 0;

	if (!make_question(fd, &q))
		return false;
	if (io->diag_fd < 0)
		io->diag_fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC,
				     NETLINK_SOCK_DIAG);
	if (io->diag_fd < 0 || !ask(io->diag_fd, &q, &unread))
		return false;
	if (ioctl(fd, SIOCOUTQ, &queued) != 0 || queued < 0)
		queued = 0;
	*ret_bytes = unread + (uint32_t)queued;
	return true;
}

void kr_lead_init(struct kr_io *io)
{
	io->diag_fd = -1;
}

void kr_lead_fini(struct kr_io *io)
{
	if (io->diag_fd >= 0)
		close(io->diag_fd);
	io->diag_fd = -1;
}
