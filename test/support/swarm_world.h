/*
 * test/support/swarm_world.h - hosts with real nodes on a simulated network, in
 * virtual time.
 *
 * The world plays the driver of every node: it dials, moves bytes, serves,
 * verifies late and out of order, looks blobs up, and is the tracker.  Payload
 * is not copied: a block on its way is a record of which bytes it is and
 * whether they are still what they were.  All choices come from one seed; the
 * hash of all actions is the trace of a run.
 *
 * The world asserts what a driver may rely on: nothing is served that the host
 * has not, no piece is accepted twice, a body has the length that was said.
 */
#ifndef KR_TEST_SWARM_WORLD_H
#define KR_TEST_SWARM_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "core/alloc.h"
#include "core/rand.h"
#include "peerwire/node.h"

enum {
	WORLD_HOSTS_MAX = 64,
	WORLD_BLOBS_MAX = 4,
	WORLD_LINKS_MAX = 8192,
};
#define WORLD_MS UINT64_C(1000000)
#define WORLD_S  UINT64_C(1000000000)

struct world_blob {
	struct kr_digest digest;
	uint8_t metainfo_id[KR_SHA256_LEN];
	uint64_t size_bytes;
	uint32_t piece_bytes, piece_count;
};

/* One blob on one host. */
struct world_copy {
	bool stored; /* on disk, complete: found by a lookup */
	bool wanted; /* to be fetched */
	bool added;  /* the node knows it */
	bool done;   /* complete */
	uint32_t handle;
	uint64_t *have;  /* verified pieces */
	uint8_t *blocks; /* per block: 0 missing, 1 good, 2 damaged */
	uint64_t done_ns;
	uint32_t accepted; /* pieces, in all runs of the host */
	uint32_t peers_asked, idle_told;
};

struct world_host {
	struct kr_node *node;
	bool up;
	enum kr_peer_role role;
	uint64_t up_bytes_per_s, down_bytes_per_s;
	uint64_t egress_free_ns, ingress_free_ns;
	uint64_t frozen_until_ns;
	uint64_t timer_ns;
	uint32_t lie_permille; /* of the blocks it serves, damaged */
	uint32_t bad_reports;  /* KR_ACT_BAD it gave */
	uint32_t closes_corrupt;
	uint32_t restarts;
	uint64_t served_bytes;
	struct world_copy copies[WORLD_BLOBS_MAX];
};

/* Chances of faults, in a million, per the event they strike. */
struct world_faults {
	uint32_t reset_ppm;     /* a link, per delivery */
	uint32_t blackhole_ppm; /* a link dies without a word */
	uint32_t freeze_ppm;    /* a host stops for a while */
	uint32_t damage_ppm;    /* a block */
	uint32_t garble_ppm;    /* control bytes */
	uint32_t dial_fail_ppm;
	uint32_t crash_ppm;  /* a host dies, and comes back */
	uint32_t memory_ppm; /* an allocation of a node fails */
};

struct world_event;
struct world_link;

struct world {
	uint64_t seed, now_ns, seq, trace_hash, events, faults;
	struct kr_rand rand;
	struct kr_alloc alloc; /* of the nodes: the heap, and it may fail */
	bool memory_fails;
	struct kr_policy policy;
	struct world_faults chance;
	uint32_t host_count, blob_count;
	struct world_host hosts[WORLD_HOSTS_MAX];
	struct world_blob blobs[WORLD_BLOBS_MAX];
	struct world_link *links; /* WORLD_LINKS_MAX */
	uint32_t link_next;
	struct world_event *heap;
	uint32_t heap_count, heap_cap;
	uint32_t check_every; /* kr_node_check after that many events; 0: no */
	uint64_t latency_min_ns, latency_max_ns;
};

void world_init(struct world *w, uint64_t seed);
void world_fini(struct world *w);

/* A host that is up at once.  Returns its index. */
uint32_t world_host_add(struct world *w, enum kr_peer_role role,
			uint64_t up_bytes_per_s, uint64_t down_bytes_per_s);
uint32_t world_blob_add(struct world *w, uint64_t size_bytes,
			uint32_t piece_bytes);

/* @host has all of @blob and seeds it / has it on disk only / wants it. */
void world_seed(struct world *w, uint32_t host, uint32_t blob);
void world_store(struct world *w, uint32_t host, uint32_t blob);
void world_want(struct world *w, uint32_t host, uint32_t blob);

/* @host leaves the swarm of @blob, keeping its pieces / joins it again. */
void world_remove(struct world *w, uint32_t host, uint32_t blob);
void world_add_again(struct world *w, uint32_t host, uint32_t blob);

/* A client of @host reads @blob and is at @first_piece (UINT32_MAX: gone). */
void world_reader(struct world *w, uint32_t host, uint32_t blob,
		  uint32_t reader, uint32_t first_piece);

/* Tell @host of @peer for @blob, as the tracker would. */
void world_hint(struct world *w, uint32_t host, uint32_t blob, uint32_t peer);

void world_crash(struct world *w, uint32_t host, uint64_t back_after_ns);

/* Break all links of @host without a word to anybody. */
void world_silence(struct world *w, uint32_t host);

/* Let time pass until @until_ns, or until nothing happens any more. */
void world_run(struct world *w, uint64_t until_ns);

/* Run until every wanted blob is complete everywhere.  false: not by then. */
bool world_run_until_done(struct world *w, uint64_t until_ns);
bool world_done(const struct world *w);

void world_check(const struct world *w);

#endif
