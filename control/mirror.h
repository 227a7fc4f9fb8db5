/*
 * control/mirror.h - tags as a build-index answers for them: what was put
 * (control/index.h), else what the upstream of the repository has, that is the
 * backend of its namespace: a storage that Kraken left behind, or another
 * registry.
 *
 *	kr_mirror_get -> put, here or elsewhere? --yes--> that digest
 *	                   |no
 *	                   v
 *	                 has a backend? --no--> not found
 *	                   |yes
 *	                   v
 *	                 freshness.h: known, young --> that digest
 *	                   |ask
 *	                   v
 *	                 look-up on the work pool -> learn or forget -> freshness.h
 *
 * Equal questions at the same time are one look-up.  Every question is
 * answered within timeout_ns, however long the upstream takes; a look-up that
 * is overdue keeps its thread until the backend lets go of it, and whoever
 * asks for that tag meanwhile is answered at once as if upstream could not be
 * asked.  At most KR_MIRROR_MAX look-ups run, and KR_MIRROR_SOURCE_MAX of one
 * backend, so that one that hangs does not stop the others.
 *
 * Threads: reactor; the backend is called on the work pool.
 */
#ifndef KR_CONTROL_MIRROR_H
#define KR_CONTROL_MIRROR_H

#include <stdint.h>

#include "backends/backends.h"
#include "control/freshness.h"
#include "control/index.h"
#include "core/err.h"
#include "core/io.h"
#include "core/list.h"

struct kr_mirror;
struct kr_mirror_source;

enum {
	KR_MIRROR_MAX = 8, /* each holds a thread: see kr_runtime_open */
	KR_MIRROR_SOURCE_MAX = 4,
	KR_MIRROR_WAITING_MAX = 4096, /* look-ups; beyond: as if upstream could
					 not be asked */
	KR_MIRROR_RULES_MAX = 64,
	KR_MIRROR_TEXT_MAX = 200, /* bytes of a reason, with the NUL */
};

struct kr_mirror_rule {
	const char *repository; /* extended regular expression (regex(7)) */
	struct kr_freshness policy;
};

struct kr_mirror_opts {
	struct kr_io *io;                   /* borrowed, as all of these */
	struct kr_index *index;             /* what is known */
	const struct kr_backends *backends; /* NULL: mirror of nothing */
	/* The first that matches counts; none does: always ask, and serve what
	 * is known while that fails. */
	const struct kr_mirror_rule *rules;
	uint32_t rule_count;       /* at most KR_MIRROR_RULES_MAX */
	uint64_t timeout_ns;       /* 0: 3 s */
	uint64_t (*wall_ns)(void); /* NULL: kr_clock_wall_ns; for tests */
};

/* Also forgets what was learned of repositories that have no upstream now.
 * BLOCKS: at start only, before anything is asked of the index.
 * KR_E_CONFIG: the log says which expression is none; KR_E_NOMEM; db.h's. */
KR_NODISCARD enum kr_err kr_mirror_open(const struct kr_mirror_opts *opts,
					struct kr_mirror **ret);
/* Every question is answered; turns the ring until the look-ups that run have
 * ended.  Not from a call-back.  NULL is fine. */
void kr_mirror_close(struct kr_mirror *m);

/*
 * KR_OK             a->req.entry
 * KR_E_NOTFOUND     nobody has it; a->req.entry.deleted as kr_index_get
 * KR_E_UNAVAILABLE  upstream cannot be asked, and what is known, if anything,
 *                   may not be served; @text says why
 * others            kr_index_get's
 *
 * @text is borrowed until return, "" if there is nothing to say.
 */
struct kr_mirror_ask;
typedef void kr_mirror_fn(struct kr_mirror_ask *a, enum kr_err err,
			  const char *text);
struct kr_mirror_ask {           /* embedded by the caller, lent until done */
	struct kr_index_req req; /* the answer */
	struct kr_list link;     /* private, down to policy */
	struct kr_mirror *mirror;
	kr_mirror_fn *done;
	struct kr_mirror_source *source;
	struct kr_freshness policy;
};
void kr_mirror_get(struct kr_mirror *m, struct kr_mirror_ask *a,
		   const char *repo, const char *tag, kr_mirror_fn *done);

#endif
