/*
 * bench/swarm_real/agents.h - many agents in one process: a store, a transfer
 * and the trackers of each, on one ring.
 *
 * What an agent is in `kraken agent`, less HTTP: it asks the tracker for the
 * metainfo, is told of neighbours by it, fetches the blob, verifies every
 * piece, announces itself and serves others.
 *
 * The processes share struct crowd (an anonymous shared mapping): the parent
 * says go and stop, the children write what became of their agents.
 */
#ifndef KR_BENCH_AGENTS_H
#define KR_BENCH_AGENTS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/addr.h"
#include "core/digest.h"
#include "core/err.h"
#include "peerwire/node.h"

struct crowd_opts {
	const char *dir; /* stores are below it */
	const char *tracker_name;
	struct kr_addr tracker;
	struct kr_digest digest;
	uint32_t agents, processes;
	uint64_t start_ns;    /* agents begin evenly within */
	uint64_t deadline_ns; /* from the first to the last */
	uint64_t window_bytes;
	uint32_t degree; /* neighbours wanted; at most 4 times as many
			    connections */
};

struct crowd_agent {
	uint64_t began_ns, done_ns; /* done 0: it is not */
	uint64_t size_bytes;
	uint32_t err; /* enum kr_err */
	bool intact;  /* the stored file was hashed again, and is the blob */
	struct kr_node_stats stats;
	uint32_t conns; /* when all were done */
};

struct crowd_process {
	uint64_t ring_rss_bytes;   /* before it has agents */
	uint64_t agents_rss_bytes; /* when they are open */
	uint64_t done_rss_bytes;   /* when they have the blob */
	uint64_t peak_rss_bytes;
	uint32_t fds; /* when they have it */
	double cpu_s;
};

enum {
	CROWD_PROCESSES_MAX = 64,
	AGENTS_BUFFERS =
		128, /* block buffers of a process, for all its agents */
	AGENTS_BUFFER_EACH_BYTES = 1024 * 1024,
	AGENTS_BUFFER_BYTES = AGENTS_BUFFERS * AGENTS_BUFFER_EACH_BYTES,
};

struct crowd {
	struct crowd_opts opts;
	atomic_uint ready; /* agents that are open */
	atomic_uint ended; /* that have the blob, or never will */
	atomic_ullong go_ns;
	atomic_bool stop;
	struct crowd_process processes[CROWD_PROCESSES_MAX];
	struct crowd_agent agents[];
};

/* Be process @index of the crowd until it is told to stop; the process must end
 * then, with all that is open.  false: something failed and was complained
 * about. */
bool agents_run(struct crowd *c, uint32_t index);

#endif
