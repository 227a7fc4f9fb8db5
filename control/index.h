/*
 * control/index.h - tags: (repository, tag) -> digest or "deleted", durable,
 * each a last-writer-wins register.  What else is in a repository is in
 * control/index_object.h.
 *
 * A value carries a hybrid logical clock and the id of the node that wrote it;
 * of two values the one of the later clock, then of the higher node id, wins,
 * so that indexes that exchange their entries in any order agree.
 * Where nothing was put, a tag may be known that another registry has, the
 * upstream of the repository: it was "learned" (control/mirror.h asks).  A put
 * hides it, a delete forgets it.  It is this index's own knowledge: not
 * copied, without a clock.
 * A put is on disk before its done() says KR_OK.  A get is answered from a
 * cache in memory; what is not there is looked up in the database.
 *
 * Threads: reactor; the database is used through the work pool (db.h).
 */
#ifndef KR_CONTROL_INDEX_H
#define KR_CONTROL_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control/db.h"
#include "core/buf.h"
#include "core/digest.h"
#include "core/err.h"

struct kr_index;
struct kr_index_req;

enum {
	KR_INDEX_REPO_MAX = 256,  /* bytes, with the NUL */
	KR_INDEX_TAG_MAX = 129,   /* OCI distribution-spec: 128 bytes */
	KR_INDEX_LIST_MAX = 1000, /* names of one list */
	KR_INDEX_PEERS_MAX = 16,
	KR_INDEX_IMMUTABLE_MAX = 64,
};

struct kr_index_entry {
	char repo[KR_INDEX_REPO_MAX];
	char tag[KR_INDEX_TAG_MAX];
	struct kr_digest digest; /* zero when deleted */
	bool deleted;
	uint64_t clock;      /* hlc.h */
	uint64_t node;       /* who wrote it */
	uint64_t learned_ns; /* wall time at which upstream said so; 0: it was
				put, here or at another index */
};

struct kr_index_opts {
	struct kr_db *db;   /* borrowed */
	uint64_t node;      /* this index's id, unlike any other's, not 0 */
	uint32_t cache_max; /* entries; 0: 65536 */
	/* Kinds of queue.h to which each put is added, within its transaction,
	 * under the key "repo:tag"; borrowed for the life. */
	const char *const *copy_kinds;
	uint32_t copy_kind_count; /* at most KR_INDEX_PEERS_MAX */
	/* Extended regular expressions (regex(7)) of "repository:tag": a tag
	 * that one matches, once put, neither moves nor goes.  Copies of what
	 * another index wrote are taken all the same. */
	const char *const *immutable;
	uint32_t immutable_count;  /* at most KR_INDEX_IMMUTABLE_MAX */
	uint64_t (*wall_ns)(void); /* NULL: kr_clock_wall_ns; for tests */
};

typedef void kr_index_done_fn(struct kr_index_req *r, enum kr_err err);

/* One operation; embedded by its owner, lent until done. */
struct kr_index_req {
	struct kr_db_req db; /* private, down to last */
	struct kr_post post;
	struct kr_index *ix;
	kr_index_done_fn *done;
	enum kr_err err;
	uint32_t max;
	char last[KR_INDEX_REPO_MAX];
	struct kr_index_entry entry; /* put, merge: what is there now; get */
	bool changed; /* put, untag, merge: it won; forget: it was known */
	struct kr_buf names; /* list: `name_count` names, each with its NUL;
				to be released with kr_buf_fini */
	uint32_t name_count;
	bool more; /* list: there are names after the last of these */
};

/* Grammar of the OCI distribution-spec ("Pulling manifests"), @len bytes. */
bool kr_index_repo_valid(const char *repo, size_t len);
bool kr_index_tag_valid(const char *tag, size_t len);

/* BLOCKS: at start only.  Errors: kr_db_schema's, KR_E_NOMEM, KR_E_CONFIG: the
 * log says which expression is none. */
KR_NODISCARD enum kr_err kr_index_open(const struct kr_index_opts *opts,
				       struct kr_index **ret);
/* Every request is done before (kr_db_drain). */
void kr_index_close(struct kr_index *ix);

/*
 * For all: done() comes exactly once, never from inside.  KR_E_INVALID: a
 * repository or tag of another form; KR_E_NOSPC, KR_E_IO, KR_E_NOMEM,
 * KR_E_BUSY (db.h).
 */

/* KR_OK: @digest is on disk as the newest value; r->entry has its clock.
 * KR_E_EXISTS: the tag is immutable and names another digest. */
void kr_index_put(struct kr_index *ix, struct kr_index_req *r, const char *repo,
		  const char *tag, const struct kr_digest *digest,
		  kr_index_done_fn *done);

/* KR_OK: the tag is gone, everywhere once it was copied; its repository and
 * what it named stay.  One that was learned is forgotten.  KR_E_NOTFOUND: there was none.  KR_E_EXISTS: it is
 * immutable. */
void kr_index_untag(struct kr_index *ix, struct kr_index_req *r,
		    const char *repo, const char *tag, kr_index_done_fn *done);

/* KR_OK: r->entry, which was put or learned.  KR_E_NOTFOUND; r->entry.deleted:
 * because it was deleted, as far as this index knows. */
void kr_index_get(struct kr_index *ix, struct kr_index_req *r, const char *repo,
		  const char *tag, kr_index_done_fn *done);

/* An entry of another index.  It is kept if it wins (r->changed); r->entry is
 * what is there afterwards. */
void kr_index_merge(struct kr_index *ix, struct kr_index_req *r,
		    const struct kr_index_entry *remote,
		    kr_index_done_fn *done);

/* Upstream said at wall time @learned_ns (not 0) that the tag is @digest.
 * KR_OK: that is on disk; or a put came before it, and r->entry is what that
 * said. */
void kr_index_learn(struct kr_index *ix, struct kr_index_req *r,
		    const char *repo, const char *tag,
		    const struct kr_digest *digest, uint64_t learned_ns,
		    kr_index_done_fn *done);

/* Upstream does not have the tag any more.  KR_OK: nor is it known here, if it
 * was learned. */
void kr_index_forget(struct kr_index *ix, struct kr_index_req *r,
		     const char *repo, const char *tag, kr_index_done_fn *done);

/* Forget what was learned of repositories that have no upstream any more: for
 * which @is_mirror, called on the pool, says false.  BLOCKS: at start only,
 * while nothing else is asked. */
typedef bool kr_index_is_mirror_fn(void *ctx, const char *repo);
KR_NODISCARD enum kr_err kr_index_unlearn(struct kr_index *ix,
					  kr_index_is_mirror_fn *is_mirror,
					  void *ctx);

/* At most @max (1 .. KR_INDEX_LIST_MAX) tags of @repo in byte order, after
 * @last ("": from the start), put or learned.  KR_E_NOTFOUND: no such
 * repository, that is none with a tag or a manifest. */
void kr_index_list(struct kr_index *ix, struct kr_index_req *r,
		   const char *repo, const char *last, uint32_t max,
		   kr_index_done_fn *done);

/* Repositories likewise, those that begin with @prefix ("": all). */
void kr_index_repos(struct kr_index *ix, struct kr_index_req *r,
		    const char *prefix, const char *last, uint32_t max,
		    kr_index_done_fn *done);

#endif
