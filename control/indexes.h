/*
 * control/indexes.h - the build-indexes as others see them: put, get, delete
 * and list tags, manifests and blobs at the first that answers.
 *
 * Something is "not found" when every index that answers says so: a put
 * reaches the others a moment later (control/index_rpc.h).  That it was
 * deleted is believed of the first that says so.
 *
 * Threads: reactor only.
 */
#ifndef KR_CONTROL_INDEXES_H
#define KR_CONTROL_INDEXES_H

#include <stdbool.h>
#include <stdint.h>

#include "control/index_msg.h"
#include "control/rpc.h"
#include "core/addr.h"
#include "core/digest.h"
#include "core/err.h"
#include "core/io.h"

struct kr_indexes;

enum { KR_INDEXES_MAX = 64 };

/* What is asked on the way to something else waits for so long. */
#define KR_INDEXES_PING_NS UINT64_C(800000000)

struct kr_indexes_opts {
	struct kr_io *io;
	const char *const *names;
	const struct kr_addr *addrs;
	uint32_t count;
	uint64_t rpc_timeout_ns;
};

KR_NODISCARD enum kr_err kr_indexes_open(const struct kr_indexes_opts *opts,
					 struct kr_indexes **ret);
/* Asks must have ended or been canceled. */
void kr_indexes_close(struct kr_indexes *x);

/*
 * A question; embedded by the caller, lent until done.
 *
 * KR_OK             @result is borrowed until return
 * KR_E_NOTFOUND     every index that answered says so
 * KR_E_UNAVAILABLE  none answered; @text says which was tried last and why
 * others            what the index said (KR_E_INVALID, KR_E_NOSPC ...)
 */
struct kr_indexes_ask;
typedef void kr_indexes_ask_fn(struct kr_indexes_ask *a, enum kr_err err,
			       struct kr_bytes result, const char *text);
struct kr_indexes_ask { /* private */
	struct kr_indexes *indexes;
	kr_indexes_ask_fn *done;
	struct kr_rpc_call call;
	const char *method;
	uint64_t timeout_ns;
	uint32_t first, tried;
	bool answered;
	struct kr_bytes params; /* in small, or the caller's */
	uint8_t small[1024];
};

/* Any method of RPC.md; @params are lent until done. */
void kr_indexes_call(struct kr_indexes *x, struct kr_indexes_ask *a,
		     const char *method, struct kr_bytes params,
		     kr_indexes_ask_fn *done);

/* Result: control/index_msg.h, digest, whose decoding says KR_E_NOTFOUND for a
 * tag that was deleted. */
void kr_indexes_get(struct kr_indexes *x, struct kr_indexes_ask *a,
		    const char *repo, const char *tag, kr_indexes_ask_fn *done);
/* KR_OK: the tag is on disk at one index. */
void kr_indexes_put(struct kr_indexes *x, struct kr_indexes_ask *a,
		    const char *repo, const char *tag,
		    const struct kr_digest *d, kr_indexes_ask_fn *done);
/* KR_OK: the tag is gone. */
void kr_indexes_untag(struct kr_indexes *x, struct kr_indexes_ask *a,
		      const char *repo, const char *tag,
		      kr_indexes_ask_fn *done);
/* Result: control/index_msg.h, deleted.  KR_E_NOTFOUND: nothing is known of
 * it.  Answered within KR_INDEXES_PING_NS. */
void kr_indexes_find_object(struct kr_indexes *x, struct kr_indexes_ask *a,
			    enum kr_index_kind kind, const char *repo,
			    const struct kr_digest *d, kr_indexes_ask_fn *done);
/* KR_E_DENIED: a manifest refers to it. */
void kr_indexes_delete_object(struct kr_indexes *x, struct kr_indexes_ask *a,
			      enum kr_index_kind kind, const char *repo,
			      const struct kr_digest *d, bool force,
			      kr_indexes_ask_fn *done);
/* KR_OK: that the blob is in @repo is on disk at one index. */
void kr_indexes_put_blob(struct kr_indexes *x, struct kr_indexes_ask *a,
			 const char *repo, const struct kr_digest *d,
			 kr_indexes_ask_fn *done);
/* Result: control/index_msg.h, page. */
void kr_indexes_referrers(struct kr_indexes *x, struct kr_indexes_ask *a,
			  const struct kr_index_msg_referrers *m,
			  kr_indexes_ask_fn *done);
/* Result: control/index_msg.h, names "repos". */
void kr_indexes_repos(struct kr_indexes *x, struct kr_indexes_ask *a,
		      const char *last, uint32_t limit,
		      kr_indexes_ask_fn *done);
/* Result: control/index_msg.h, names "tags". */
void kr_indexes_list(struct kr_indexes *x, struct kr_indexes_ask *a,
		     const char *repo, const char *last, uint32_t limit,
		     kr_indexes_ask_fn *done);
/* Does a build-index answer, now? */
void kr_indexes_ping(struct kr_indexes *x, struct kr_indexes_ask *a,
		     kr_indexes_ask_fn *done);
void kr_indexes_ask_cancel(struct kr_indexes_ask *a); /* no done */

#endif
