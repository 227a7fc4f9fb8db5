/*
 * control/tracker.h - who has what, and who is told of whom.
 *
 * PURE: the time is given, randomness is seeded, memory comes from a kr_alloc.
 * tracker_rpc.h puts it on the network.
 *
 *	peer --announce(blob)--> member of the blob's swarm --ttl--> forgotten
 *	                            |   ^                  --leave->
 *	                         report  \ quarantine_ns later
 *	                            v     |
 *	                         quarantined: known, but nobody is sent to it
 *
 * A handout (SWARM.md, rule 2) has at most `want` (KR_TRACKER_WANT_MAX) other
 * members, uniformly random among those below the degree cap; at least
 * KR_TRACKER_SEEDS_MIN complete ones where that many are known (over the cap
 * if need be: a full peer says so itself); the asker's zone first, but at
 * least KR_TRACKER_FAR_MIN of other zones.  A complete asker is told of
 * incomplete members only.
 *
 * Limits: a member beyond peers_max of a blob replaces the one heard of
 * longest ago; a blob beyond blobs_max the blob announced longest ago.  A
 * handout looks at KR_TRACKER_SCAN_MAX random members at most, so in a swarm
 * larger than that the zone rules are best effort.  Forgetting is O(1) for
 * each announce.
 *
 * Threads: one.
 */
#ifndef KR_CONTROL_TRACKER_H
#define KR_CONTROL_TRACKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/addr.h"
#include "core/alloc.h"
#include "core/digest.h"
#include "core/err.h"
#include "peerwire/node.h"

enum {
	KR_TRACKER_WANT_MAX = 50,
	KR_TRACKER_SEEDS_MIN = 2,
	KR_TRACKER_FAR_MIN = 4,
	KR_TRACKER_SCAN_MAX = 1024,
};

struct kr_tracker;

struct kr_tracker_opts {
	const struct kr_alloc *alloc; /* borrowed; outlives the tracker */
	uint64_t seed;
	uint64_t ttl_ns;        /* 0: 120 s */
	uint64_t quarantine_ns; /* 0: ttl_ns; never above it */
	uint32_t blobs_max;     /* 0: 100,000 */
	uint32_t peers_max;     /* of a blob, at least 2; 0: 20,000 */
	uint32_t members_max;   /* of all blobs together; 0: 2,000,000 */
	uint32_t degree_cap;    /* 0: 40 */
};

struct kr_tracker_peer {
	struct kr_peer_id id;
	struct kr_addr addr; /* where it accepts peers */
	enum kr_peer_role role;
	char zone[KR_NAME_MAX + 1];
};

struct kr_tracker_item {
	struct kr_digest digest;
	bool complete;
	uint32_t degree; /* neighbours it has for this blob */
	uint32_t want;   /* peers it would like to be told of */
};

struct kr_tracker_pick {
	struct kr_peer_id id;
	struct kr_addr addr;
	enum kr_peer_role role;
	bool complete;
	char zone[KR_NAME_MAX + 1];
};

struct kr_tracker_stats {
	uint32_t peers, blobs, members; /* now */
	uint64_t announces, handed;     /* since open */
	uint64_t expired, evicted, reports;
};

/* KR_E_NOMEM  nothing was kept */
KR_NODISCARD enum kr_err kr_tracker_open(const struct kr_tracker_opts *opts,
					 struct kr_tracker **ret);
void kr_tracker_close(struct kr_tracker *t);

/*
 * @peer says what it has of @item->digest; at most @max picks for it go to
 * @out.  @now_ns never goes back.
 *
 * KR_E_NOMEM  it is not remembered; there is no handout
 */
KR_NODISCARD enum kr_err kr_tracker_announce(struct kr_tracker *t,
					     uint64_t now_ns,
					     const struct kr_tracker_peer *peer,
					     const struct kr_tracker_item *item,
					     struct kr_tracker_pick *out,
					     uint32_t max, uint32_t *ret_count);

/* @id no longer has @digest.  Unknown: nothing.  A quarantined member is kept
 * until it expires: leaving does not wash it clean. */
void kr_tracker_leave(struct kr_tracker *t, uint64_t now_ns,
		      const struct kr_peer_id *id,
		      const struct kr_digest *digest);

/* @id sent bytes of @digest that were not those: nobody is sent to it for
 * that blob until quarantine_ns have passed.  KR_E_NOTFOUND: not a member. */
KR_NODISCARD enum kr_err kr_tracker_report(struct kr_tracker *t,
					   uint64_t now_ns,
					   const struct kr_peer_id *id,
					   const struct kr_digest *digest);

/* Forget at most @max members whose time is over; returns how many went. */
uint32_t kr_tracker_expire(struct kr_tracker *t, uint64_t now_ns, uint32_t max);

void kr_tracker_stats_get(const struct kr_tracker *t,
			  struct kr_tracker_stats *ret);

/* Assert every invariant; walks everything. */
void kr_tracker_check(const struct kr_tracker *t);

#endif
