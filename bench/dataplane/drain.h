/*
 * bench/dataplane/drain.h - connections that take bytes and throw them away.
 *
 *	drain.c        the loop, the window that is measured, the figures
 *	drain_http.c   GET after GET on connections that are kept
 *	drain_peer.c   a leecher without a store: REQUEST after REQUEST
 *
 * One thread, level-triggered epoll, recv(2) into one buffer that stays in
 * the cache: as cheap as a client that takes the bytes to user memory can be.
 * With --discard payload is not even taken there (MSG_TRUNC, tcp(7)): where a
 * server shall be the limit, beside which the clients run.
 */
#ifndef KR_BENCH_DRAIN_H
#define KR_BENCH_DRAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	DRAIN_HEAD_MAX = 16384,
	DRAIN_HEAD_STEP = 20, /* as the head of a BLOCK */
};

struct drain;

struct drain_conn {
	int fd;
	uint32_t index;
	uint64_t began_ns; /* the request under way */
	uint64_t left;     /* payload bytes until it is answered */
	bool in_body;
	uint8_t head[DRAIN_HEAD_MAX]; /* of a response, or a frame */
	size_t head_len;
	/* peer */
	uint64_t skip;     /* bytes of a frame nobody looks at */
	bool is_open;      /* OPENED came */
	uint32_t piece;    /* to be asked for next */
	uint32_t asked;    /* blocks that are due */
	uint64_t again_ns; /* after REJECT(busy): not before */
};

struct drain {
	struct drain_conn *conns;
	uint32_t count;
	uint64_t bytes;       /* payload, since the start */
	uint64_t requests;    /* answered */
	uint64_t rejects;     /* peer: blocks that were refused */
	uint64_t *latency_ns; /* of those answered in the window */
	size_t latency_count;
	bool in_window;
	bool is_idle;    /* nothing is to come */
	bool discards;   /* payload stays in the kernel */
	uint32_t late;   /* connections that wait for the time */
	uint64_t gap_ns; /* between two requests of a connection */
	/* http */
	char request[512];     /* without its last lines */
	uint64_t spread_bytes; /* of the blob; first requests begin evenly
				  within, 0: all at its beginning */
	/* peer */
	void *peer;
};

enum { DRAIN_LATENCIES_MAX = 1 << 20 };

/* A way to talk.  @bytes: what came, all of it is to be taken. */
struct drain_way {
	void (*init)(struct drain *d, int argc, char **argv);
	void (*start)(struct drain *d, struct drain_conn *c);
	void (*bytes)(struct drain *d, struct drain_conn *c, const uint8_t *p,
		      size_t n);
	/* Once a millisecond while connections are late: what time brings. */
	void (*tick)(struct drain *d, struct drain_conn *c, uint64_t now_ns);
};
extern const struct drain_way drain_http, drain_peer;

/* The request of @c is answered. */
void drain_answered(struct drain *d, struct drain_conn *c);

#endif
