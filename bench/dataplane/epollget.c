/*
 * epollget - the client that a good program without a swarm would be: epoll,
 * recv(2) of 256 KiB, SHA-256 by OpenSSL's EVP, pwrite(2).
 *
 *	epollget --port N --path /x --file FILE --digest HEX [--pids 12,34]
 *
 * A FILE that has the length already is overwritten; else its room is
 * allocated first.  Prints seconds, gbs, and total_cpu, server_cpu, client_cpu
 * per 10^9 bytes.  Fails if what came is not HEX.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "bench/dataplane/tool.h"

enum { BUFFER_BYTES = 256 * 1024, HEAD_MAX = 8192 };

struct get {
	int fd, file, epoll;
	uint64_t size, got;
	EVP_MD_CTX *hash;
	uint8_t buf[BUFFER_BYTES];
};

static void keep(struct get *g, const uint8_t *p, size_t n)
{
	if (EVP_DigestUpdate(g->hash, p, n) != 1)
		dp_die_text("EVP", "update");
	if (pwrite(g->file, p, n, (off_t)g->got) != (ssize_t)n)
		dp_die("pwrite");
	g->got += n;
}

static size_t receive(struct get *g)
{
	struct epoll_event e;
	ssize_t n;

	while ((n = recv(g->fd, g->buf, BUFFER_BYTES, 0)) < 0) {
		if (errno != EAGAIN && errno != EINTR)
			dp_die("recv");
		if (epoll_wait(g->epoll, &e, 1, -1) < 0 && errno != EINTR)
			dp_die("epoll_wait");
	}
	if (n == 0)
		dp_die_text("recv", "the server closed early");
	return (size_t)n;
}

/* The head, and the bytes that came with it. */
static void receive_head(struct get *g)
{
	char head[HEAD_MAX];
	size_t len = 0;
	const char *end, *length;

	do {
		const size_t n = receive(g);

		if (len + n >= HEAD_MAX + (size_t)BUFFER_BYTES)
			dp_die_text("answer", "the head is too long");
		end = memmem(g->buf, n, "\r\n\r\n", 4);
		if (end == NULL || (const uint8_t *)end - g->buf >= HEAD_MAX)
			dp_die_text("answer", "the head is not in one piece");
		len = n;
	} while (end == NULL);
	const size_t head_len = (size_t)((const uint8_t *)end - g->buf) + 4;

	memcpy(head, g->buf, head_len);
	head[head_len] = '\0';
	length = strcasestr(head, "\r\ncontent-length:");
	if (strncmp(head, "HTTP/1.1 200", 12) != 0 || length == NULL)
		dp_die_text("answer", head);
	g->size = strtoull(length + 17, NULL, 10);
	if (posix_fallocate(g->file, 0, (off_t)g->size) != 0)
		dp_die("posix_fallocate");
	keep(g, g->buf + head_len, len - head_len);
}

static void check(struct get *g, const char *want)
{
	uint8_t md[EVP_MAX_MD_SIZE];
	char hex[2 * EVP_MAX_MD_SIZE + 1];

	if (EVP_DigestFinal_ex(g->hash, md, NULL) != 1)
		dp_die_text("EVP", "final");
	for (size_t i = 0; i < 32; i++)
		snprintf(hex + 2 * i, 3, "%02x", md[i]);
	if (strcmp(hex, want) != 0)
		dp_die_text("not the blob", hex);
}

int main(int argc, char **argv)
{
	static struct get g;
	struct epoll_event e = { .events = EPOLLIN };
	struct dp_pids pids;
	char request[512];

	dp_pids_parse(&pids, dp_arg(argc, argv, "--pids", ""));
	g.file = open(dp_arg(argc, argv, "--file", NULL),
		      O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	g.hash = EVP_MD_CTX_new();
	g.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (g.file < 0 || g.hash == NULL || g.epoll < 0 ||
	    EVP_DigestInit_ex(g.hash, EVP_sha256(), NULL) != 1)
		dp_die("start");
	const uint64_t from_ns = dp_now_ns();
	const double server_s = dp_pids_cpu_s(&pids), own_s = dp_self_cpu_s();

	g.fd = dp_connect((uint16_t)atoi(dp_arg(argc, argv, "--port", NULL)));
	if (epoll_ctl(g.epoll, EPOLL_CTL_ADD, g.fd, &e) < 0)
		dp_die("epoll_ctl");
	dp_send_small(g.fd, request,
		      (size_t)snprintf(request, sizeof(request),
				       "GET %s HTTP/1.1\r\nHost: bench\r\n\r\n",
				       dp_arg(argc, argv, "--path", NULL)));
	receive_head(&g);
	while (g.got < g.size)
		keep(&g, g.buf, receive(&g));
	check(&g, dp_arg(argc, argv, "--digest", NULL));
	const double seconds = (double)(dp_now_ns() - from_ns) / 1e9;
	const double gb = (double)g.size / 1e9;
	const double server = (dp_pids_cpu_s(&pids) - server_s) / gb;
	const double own = (dp_self_cpu_s() - own_s) / gb;

	printf("seconds=%.4f gbs=%.4f total_cpu=%.4f server_cpu=%.4f "
	       "client_cpu=%.4f\n",
	       seconds, gb / seconds, server + own, server, own);
	return 0;
}
