#define _GNU_SOURCE
#include "bench/dataplane/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

void dp_die(const char *what)
{
	dp_die_text(what, strerror(errno));
}

void dp_die_text(const char *what, const char *text)
{
	fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what,
		text);
	exit(2);
}

static double seconds(clockid_t clock)
{
	struct timespec ts;

	if (clock_gettime(clock, &ts) < 0)
		dp_die("processor time of a process that is gone");
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

uint64_t dp_now_ns(void)
{
	struct timespec ts;

	if (clock_gettime(CLOCK_MONOTONIC, &ts) < 0)
		dp_die("clock_gettime");
	return (uint64_t)ts.tv_sec * DP_S_NS + (uint64_t)ts.tv_nsec;
}

void dp_pids_parse(struct dp_pids *p, const char *list)
{
	char *end;

	p->count = 0;
	while (*list != '\0') {
		const long pid = strtol(list, &end, 10);

		if (end == list || p->count == DP_PIDS_MAX ||
		    clock_getcpuclockid((pid_t)pid, &p->clocks[p->count]) != 0)
			dp_die_text("not a process", list);
		p->count++;
		list = *end == ',' ? end + 1 : end;
	}
}

double dp_pids_cpu_s(const struct dp_pids *p)
{
	double sum = 0;

	for (size_t i = 0; i < p->count; i++)
		sum += seconds(p->clocks[i]);
	return sum;
}

double dp_self_cpu_s(void)
{
	return seconds(CLOCK_PROCESS_CPUTIME_ID);
}

static struct sockaddr_in local(uint16_t port)
{
	return (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
}

int dp_connect(uint16_t port)
{
	const struct sockaddr_in sa = local(port);
	const int one = 1;
	const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		dp_die("socket");
	if (connect(fd, (const struct sockaddr *)&sa, sizeof(sa)) < 0)
		dp_die("connect");
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
		dp_die("fcntl");
	return fd;
}

int dp_listen(uint16_t port)
{
	const struct sockaddr_in sa = local(port);
	const int one = 1;
	const int fd =
		socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		dp_die("socket");
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (const struct sockaddr *)&sa, sizeof(sa)) < 0 ||
	    listen(fd, 4096) < 0)
		dp_die("listen");
	return fd;
}

void dp_send_small(int fd, const void *buf, size_t len)
{
	if (send(fd, buf, len, MSG_NOSIGNAL) != (ssize_t)len)
		dp_die("send");
}

size_t dp_read_file(const char *path, void *buf, size_t cap)
{
	const int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t len = 0;
	ssize_t n;

	if (fd < 0)
		dp_die(path);
	while ((n = read(fd, (char *)buf + len, cap - len)) > 0)
		len += (size_t)n;
	if (n < 0)
		dp_die(path);
	close(fd);
	return len;
}

const char *dp_arg(int argc, char **argv, const char *name,
		   const char *otherwise)
{
	for (int i = 1; i + 1 < argc; i += 2)
		if (strcmp(argv[i], name) == 0)
			return argv[i + 1];
	if (otherwise == NULL)
		dp_die_text(name, "is needed");
	return otherwise;
}
