/*
 * control/ring.h - which hosts own a digest: rendezvous hashing (highest
 * random weight; Thaler and Ravishankar, "A name-based mapping scheme for
 * rendezvous", 1996).
 *
 * PURE.  Every host's weight for a digest is a hash of the host's name and of
 * all bytes of the digest; the owners are the hosts of the highest weights.
 * So the order in which hosts are listed does not matter, and a host that
 * comes or goes moves only the digests that it owns.  The names must be
 * spelled alike in the configuration of everybody who computes owners.
 */
#ifndef KR_CONTROL_RING_H
#define KR_CONTROL_RING_H

#include <stdbool.h>
#include <stdint.h>

#include "core/digest.h"
#include "core/err.h"

enum { KR_RING_HOSTS_MAX = 256 };

struct kr_ring { /* a value; fields are private to ring.c */
	uint64_t seeds[KR_RING_HOSTS_MAX]; /* hash of each name */
	uint32_t host_count;
	uint32_t replicas;
};

/* Is host @index (of the list given to init) to be used? */
typedef bool kr_ring_healthy_fn(void *ctx, uint32_t index);

/*
 * Prepare a ring of @count names ("origin1:15001"; read, not kept), of which
 * the best @replicas (> 0) own a digest.
 *
 * KR_E_LIMIT    more than KR_RING_HOSTS_MAX hosts
 * KR_E_INVALID  no host, an empty name, or the same name twice
 */
KR_NODISCARD enum kr_err kr_ring_init(struct kr_ring *r,
				      const char *const *names, uint32_t count,
				      uint32_t replicas);

/*
 * The owners of @d, best first: the @replicas (but at most @max) best hosts
 * among those that @healthy (NULL: all are) says may be used.  Where an owner
 * is unhealthy the next in order stands in for it.  Writes indices into the
 * list of names to @ret; returns how many.
 */
uint32_t kr_ring_owners(const struct kr_ring *r, const struct kr_digest *d,
			kr_ring_healthy_fn *healthy, void *ctx, uint32_t *ret,
			uint32_t max);

/* All hosts that may be used, best first, at most @max: the owners and who
 * would stand in for them. */
uint32_t kr_ring_order(const struct kr_ring *r, const struct kr_digest *d,
		       kr_ring_healthy_fn *healthy, void *ctx, uint32_t *ret,
		       uint32_t max);

/* Does host @index own @d while every host is healthy? */
bool kr_ring_owns(const struct kr_ring *r, const struct kr_digest *d,
		  uint32_t index);

#endif
