/*
 * control/origins.h - the origin cluster as others see it: who owns a digest,
 * who is healthy, and questions that go on to the next owner when one cannot
 * answer.
 *
 * Each origin has one RPC client, is asked `origin.info` every
 * health_interval_ns (which says its peer address and id), and is judged by
 * control/health.h; failed questions count as evidence too.  One that refuses
 * a connection is not healthy until it takes one.
 *
 * Threads: reactor only.
 */
#ifndef KR_CONTROL_ORIGINS_H
#define KR_CONTROL_ORIGINS_H

#include <stdbool.h>
#include <stdint.h>

#include "control/ring.h"
#include "control/rpc.h"
#include "control/tracker.h"
#include "core/addr.h"
#include "core/digest.h"
#include "core/err.h"
#include "core/io.h"
#include "peerwire/metainfo.h"
#include "peerwire/node.h"

struct kr_origins;

enum { KR_ORIGINS_MAX = KR_RING_HOSTS_MAX };

struct kr_origins_opts {
	struct kr_io *io;
	const char *const *names;    /* as configured: they make the ring */
	const struct kr_addr *addrs; /* of each name */
	uint32_t count;
	uint32_t replicas;
	uint64_t rpc_timeout_ns;
	uint64_t health_interval_ns;
};

KR_NODISCARD enum kr_err kr_origins_open(const struct kr_origins_opts *opts,
					 struct kr_origins **ret);
/* Calls under way must have ended or been canceled. */
void kr_origins_close(struct kr_origins *o);

/* The healthy owners of @d, best first; at most @max indices. */
uint32_t kr_origins_owners(const struct kr_origins *o,
			   const struct kr_digest *d, uint32_t *ret,
			   uint32_t max);

bool kr_origins_is_healthy(const struct kr_origins *o, uint32_t index);

/* How many origins have said who they are and are healthy now. */
uint32_t kr_origins_healthy_count(const struct kr_origins *o);

struct kr_rpc_client *kr_origins_client(const struct kr_origins *o,
					uint32_t index);
const char *kr_origins_name(const struct kr_origins *o, uint32_t index);

/* Evidence of real traffic: did origin @index answer? */
void kr_origins_traffic(struct kr_origins *o, uint32_t index, bool ok);

/* Where origin @index takes part in swarms; false: it has not said yet. */
bool kr_origins_pick(const struct kr_origins *o, uint32_t index,
		     struct kr_tracker_pick *ret);

/* Hints of all healthy owners of @d that have said where they are. */
uint32_t kr_origins_hints(const struct kr_origins *o, const struct kr_digest *d,
			  struct kr_peer_hint *ret, uint32_t max);

/*
 * A question to the owners of a digest, one after the other, then to those
 * who would stand in for them: the first that has an answer gives it.
 *
 * KR_OK             @result is borrowed until return
 * KR_E_NOTFOUND     all owners say so; of a stat: somebody does
 * KR_E_BUSY         an origin is fetching it from its backend: ask again
 * KR_E_UNAVAILABLE  else; @text says how many answered
 */
struct kr_origins_ask;
typedef void kr_origins_ask_fn(struct kr_origins_ask *a, enum kr_err err,
			       struct kr_bytes result, const char *text);
struct kr_origins_ask { /* embedded by the caller; private */
	struct kr_origins *origins;
	kr_origins_ask_fn *done;
	struct kr_rpc_call call;
	const char *method;
	uint32_t order[KR_ORIGINS_MAX];
	uint32_t order_count, at;
	uint32_t answered; /* who said "not found" */
	uint32_t away;     /* owners that are known to be down */
	enum kr_err last_err;
	bool is_stat;
	struct kr_digest digest;
	uint8_t params[512];
	size_t params_len;
};

/* @a is lent until done.  @ns is copied. */
void kr_origins_metainfo(struct kr_origins *o, struct kr_origins_ask *a,
			 const char *ns, const struct kr_digest *d,
			 kr_origins_ask_fn *done);

/*
 * Read what was answered to that, which must be of @d.  Where it is not,
 * *@text says so; it is left alone else.
 *
 * KR_E_CORRUPT  the metainfo of another blob
 */
KR_NODISCARD enum kr_err kr_origins_metainfo_read(struct kr_bytes result,
						  const struct kr_digest *d,
						  struct kr_metainfo *ret,
						  const char **text);

/* Does anybody have it?  Being told wrongly that nobody does costs a second
 * upload, so one "not found" suffices. */
void kr_origins_stat(struct kr_origins *o, struct kr_origins_ask *a,
		     const char *ns, const struct kr_digest *d,
		     kr_origins_ask_fn *done);
/* done will not come. */
void kr_origins_ask_cancel(struct kr_origins_ask *a);

#endif
