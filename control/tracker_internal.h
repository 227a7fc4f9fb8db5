/*
 * control/tracker_internal.h - the tables of a tracker.
 *
 * Private to tracker.c (who is a member) and tracker_pick.c (who is told of
 * whom).
 *
 *	peer --< member >-- blob
 *
 * A blob's members stand in one dense array, complete ones first, so that a
 * random one, and a random complete one, is one draw.  Members are in a list
 * by the time they were last heard of (all have the same time to live, so it
 * is the order in which they expire), and in another of their blob; blobs are
 * in a list by the time of their last announce.
 */
#ifndef KR_CONTROL_TRACKER_INTERNAL_H
#define KR_CONTROL_TRACKER_INTERNAL_H

#include "control/tracker.h"
#include "core/list.h"
#include "core/map.h"
#include "core/rand.h"

struct tracker_host { /* a peer, while it is a member anywhere */
	struct kr_tracker_peer peer;
	struct kr_digest key; /* its id, as a key of a digest map */
	uint32_t member_count;
};

struct tracker_member {
	struct tracker_host *host;
	struct tracker_blob *blob;
	struct kr_list by_age;      /* of the tracker */
	struct kr_list by_blob_age; /* of the blob */
	uint32_t index;             /* in blob->members */
	uint32_t degree;
	uint64_t expires_ns;
	uint64_t quarantine_ns; /* nobody is sent to it before */
	uint64_t pick;          /* the handout that took it last */
	bool complete;
};

struct tracker_blob {
	struct kr_digest digest;
	struct kr_list by_age; /* of the tracker */
	struct kr_list members_by_age;
	struct kr_digest_map by_id;
	struct tracker_member **members; /* complete_count complete ones, then
					    the others */
	uint32_t member_count, complete_count, member_cap;
};

struct kr_tracker {
	struct kr_tracker_opts opts;
	struct kr_rand rand;
	struct kr_digest_map hosts, blobs;
	struct kr_list members_by_age, blobs_by_age; /* oldest first */
	uint32_t *perm; /* the identity, of opts.peers_max, between picks */
	uint64_t pick;  /* number of the handout under way */
	struct kr_tracker_stats stats;
};

/* Choose for @asker; at most @max (<= KR_TRACKER_WANT_MAX). */
uint32_t kr_tracker_pick(struct kr_tracker *t, uint64_t now_ns,
			 const struct tracker_member *asker,
			 struct kr_tracker_pick *out, uint32_t max);

#endif
