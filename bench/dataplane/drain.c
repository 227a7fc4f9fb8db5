/*
 * drain - take bytes from a server as fast as it gives them.
 *
 *	drain --way http --port N --path /x --connections N --seconds S
 *	      [--warm S] [--gap-us N] [--spread BYTES] [--pids 12,34]
 *	      [--discard 1]
 *	drain --way peer --port N --meta FILE [--due BYTES] ...
 *	drain --cpu 12,34      # only the seconds that they have used
 *
 * After --warm seconds a window of --seconds is measured.  Prints one line of
 * name=value: bytes, seconds, gbs (10^9 bytes a second), server_cpu,
 * client_cpu and total_cpu (seconds per 10^9 bytes), server_s, requests,
 * p50_us, p99_us, max_us (from the request to its last byte), rejects;
 * all_bytes: also those before the window.
 */
#define _GNU_SOURCE
#include "bench/dataplane/drain.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "bench/dataplane/tool.h"

enum { BUFFER_BYTES = 256 * 1024, DISCARD_BYTES = 1 << 20, EVENTS = 256 };
#define TICK_NS (DP_S_NS / 1000)

struct snapshot {
	uint64_t at_ns, bytes, requests;
	double server_s, client_s;
};

static struct drain the_drain;

void drain_answered(struct drain *d, struct drain_conn *c)
{
	d->requests++;
	if (d->in_window && d->latency_count < DRAIN_LATENCIES_MAX)
		d->latency_ns[d->latency_count++] = dp_now_ns() - c->began_ns;
}

static void snap(const struct drain *d, const struct dp_pids *pids,
		 struct snapshot *ret)
{
	*ret = (struct snapshot){
		.at_ns = dp_now_ns(),
		.bytes = d->bytes,
		.requests = d->requests,
		.server_s = dp_pids_cpu_s(pids),
		.client_s = dp_self_cpu_s(),
	};
}

static void open_all(struct drain *d, const struct drain_way *way, int epoll,
		     uint16_t port)
{
	for (uint32_t i = 0; i < d->count; i++) {
		struct drain_conn *c = &d->conns[i];
		struct epoll_event e = { .events = EPOLLIN, .data.ptr = c };

		c->index = i;
		c->fd = dp_connect(port);
		if (epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &e) < 0)
			dp_die("epoll_ctl");
		way->start(d, c);
	}
}

/* Of a head that is to be read no more than that, or payload would come with
 * it. */
static ssize_t receive(const struct drain *d, const struct drain_conn *c,
		       uint8_t *buf)
{
	const uint64_t left = c->left < DISCARD_BYTES ? c->left : DISCARD_BYTES;

	if (!d->discards)
		return recv(c->fd, buf, BUFFER_BYTES, 0);
	if (!c->in_body)
		return recv(c->fd, buf, DRAIN_HEAD_STEP, 0);
	return recv(c->fd, buf, left, MSG_TRUNC);
}

static void take(struct drain *d, const struct drain_way *way,
		 struct drain_conn *c, uint8_t *buf)
{
	const ssize_t n = receive(d, c, buf);

	if (n == 0)
		dp_die_text("recv", "the server closed");
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		dp_die("recv");
	if (n > 0)
		way->bytes(d, c, buf, (size_t)n);
}

static void run_until(struct drain *d, const struct drain_way *way, int epoll,
		      uint64_t end_ns)
{
	/* What is thrown away is not written there. */
	static uint8_t buf[DISCARD_BYTES];
	struct epoll_event events[EVENTS];
	uint64_t now_ns, tick_ns = 0;

	while ((now_ns = dp_now_ns()) < end_ns) {
		const int n = epoll_wait(epoll, events, EVENTS, 1);

		if (n < 0 && errno != EINTR)
			dp_die("epoll_wait");
		for (int i = 0; i < n; i++)
			take(d, way, events[i].data.ptr, buf);
		if (d->late == 0 || now_ns < tick_ns)
			continue;
		tick_ns = now_ns + TICK_NS;
		for (uint32_t i = 0; i < d->count; i++)
			way->tick(d, &d->conns[i], now_ns);
	}
}

static int by_size(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static double quantile_us(const struct drain *d, double q)
{
	size_t i = (size_t)(q * (double)d->latency_count);

	if (d->latency_count == 0)
		return 0;
	if (i >= d->latency_count)
		i = d->latency_count - 1;
	return (double)d->latency_ns[i] / 1000;
}

static void report(struct drain *d, const struct snapshot *a,
		   const struct snapshot *b)
{
	const double seconds = (double)(b->at_ns - a->at_ns) / 1e9;
	const double gb = (double)(b->bytes - a->bytes) / 1e9;
	const double server_s = b->server_s - a->server_s;
	const double client_s = b->client_s - a->client_s;
	const double per = gb > 0 ? gb : 1;

	if (gb <= 0 && !d->is_idle)
		dp_die_text("nothing", "came in the window");
	qsort(d->latency_ns, d->latency_count, sizeof(d->latency_ns[0]),
	      by_size);
	printf("bytes=%" PRIu64 " seconds=%.3f gbs=%.4f server_cpu=%.4f "
	       "client_cpu=%.4f total_cpu=%.4f server_s=%.4f "
	       "requests=%" PRIu64
	       " p50_us=%.1f p99_us=%.1f max_us=%.1f rejects=%" PRIu64
	       " all_bytes=%" PRIu64 "\n",
	       b->bytes - a->bytes, seconds, gb / seconds, server_s / per,
	       client_s / per, (server_s + client_s) / per, server_s,
	       b->requests - a->requests, quantile_us(d, .5),
	       quantile_us(d, .99), quantile_us(d, 1), d->rejects, d->bytes);
}

static uint64_t number(int argc, char **argv, const char *name,
		       const char *otherwise)
{
	return strtoull(dp_arg(argc, argv, name, otherwise), NULL, 10);
}

static uint64_t duration_ns(int argc, char **argv, const char *name,
			    const char *otherwise)
{
	return (uint64_t)(strtod(dp_arg(argc, argv, name, otherwise), NULL) *
			  1e9);
}

int main(int argc, char **argv)
{
	struct drain *d = &the_drain;
	const struct drain_way *way =
		strcmp(dp_arg(argc, argv, "--way", "http"), "peer") == 0
			? &drain_peer
			: &drain_http;
	const int epoll = epoll_create1(EPOLL_CLOEXEC);
	struct snapshot before, after;
	struct dp_pids pids;

	if (argc == 3 && strcmp(argv[1], "--cpu") == 0) {
		dp_pids_parse(&pids, argv[2]);
		printf("%.6f\n", dp_pids_cpu_s(&pids));
		return 0;
	}
	dp_pids_parse(&pids, dp_arg(argc, argv, "--pids", ""));
	d->count = (uint32_t)number(argc, argv, "--connections", "1");
	d->gap_ns = 1000 * number(argc, argv, "--gap-us", "0");
	d->spread_bytes = number(argc, argv, "--spread", "0");
	d->discards = strcmp(dp_arg(argc, argv, "--discard", "0"), "1") == 0;
	d->conns = calloc(d->count, sizeof(d->conns[0]));
	d->latency_ns = calloc(DRAIN_LATENCIES_MAX, sizeof(uint64_t));
	if (epoll < 0 || d->conns == NULL || d->latency_ns == NULL)
		dp_die("start");
	way->init(d, argc, argv);
	open_all(d, way, epoll, (uint16_t)number(argc, argv, "--port", NULL));
	run_until(d, way, epoll,
		  dp_now_ns() + duration_ns(argc, argv, "--warm", "0.3"));
	snap(d, &pids, &before);
	d->in_window = true;
	run_until(d, way, epoll,
		  before.at_ns + duration_ns(argc, argv, "--seconds", "1"));
	snap(d, &pids, &after);
	report(d, &before, &after);
	return 0;
}
