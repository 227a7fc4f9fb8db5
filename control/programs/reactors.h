/*
 * control/programs/reactors.h - the reactors of a role: how many, their rings,
 * their CPUs, and the seeders of an origin that has more than one.
 *
 *	kr_runtime_open -> kr_reactors_share -> kr_runtime_swarm
 *	    -> kr_reactors_start -> kr_runtime_run -> kr_reactors_stop
 *
 * What a limit of the host means to one of n reactors: connections are divided
 * evenly (rounded up), since the kernel deals them out so; the upload rate is
 * shared exactly; requests, receive buffers, pipes and kernel threads are of
 * each ring.
 */
#ifndef KR_CONTROL_PROGRAMS_REACTORS_H
#define KR_CONTROL_PROGRAMS_REACTORS_H

#include "control/pace.h"
#include "control/programs/runtime.h"
#include "control/seeders.h"
#include "peerwire/metainfo.h"

enum {
	KR_REACTORS_BUFFER_BYTES = KR_BLOCK_BYTES,
	KR_REACTORS_AUTO = 4,  /* no more unless configured */
	KR_SEEDER_BUFFERS = 2, /* block buffers of a seeder, which receives no
				   blocks: as many as a transfer insists on */
};

struct kr_reactors {
	struct kr_runtime *rt;
	struct kr_tokens up; /* of all of them */
	struct kr_seeders *seeders;
	bool is_shared;
};

/* How many @role has as configured: 1 but for an origin. */
uint32_t kr_reactors_count(enum kr_role role, const struct kr_conf *c);

/* The ring of reactor @reactor (0: the role's own). */
void kr_reactors_ring(enum kr_role role, const struct kr_conf *c,
		      uint32_t reactor, struct kr_ring_opts *ret);

/*
 * Pin the calling thread, reactor @reactor, to its CPU of `reactor_cpus`;
 * where that names none, nothing.  KR_E_CONFIG: no number, or no CPU that this
 * process may use; it has been said.
 */
KR_NODISCARD enum kr_err kr_reactors_pin(const struct kr_conf *c,
					 uint32_t reactor);

/* Before the swarm is opened with @opts: let others join its port, and divide
 * the limits.  Nothing with one reactor. */
void kr_reactors_share(struct kr_reactors *r, struct kr_runtime *rt,
		       struct kr_transfer_opts *opts);

/* @opts as kr_runtime_swarm left them.  What is wrong has been said. */
KR_NODISCARD enum kr_err kr_reactors_start(struct kr_reactors *r,
					   const struct kr_transfer_opts *opts,
					   struct kr_store *store,
					   struct kr_transfer *transfer);

/* The store needs room. */
void kr_reactors_make_room(struct kr_reactors *r);

/* Before kr_transfer_close of the first; also of a zeroed one. */
void kr_reactors_stop(struct kr_reactors *r);
/* After it. */
void kr_reactors_fini(struct kr_reactors *r);

#endif
