/*
 * control/index_msg.h - params and results of index.* (RPC.md) to and from
 * bytes.
 *
 * PURE; the rules of tracker_msg.h.  Repositories and tags are only checked
 * for length and NUL bytes here; index.h judges their grammar.
 */
#ifndef KR_CONTROL_INDEX_MSG_H
#define KR_CONTROL_INDEX_MSG_H

#include <stdbool.h>
#include <stdint.h>

#include "control/index.h"
#include "core/bytes.h"
#include "core/digest.h"
#include "core/err.h"
#include "core/mp.h"

enum {
	/* Bytes that put, get, merge and list need at most. */
	KR_INDEX_MSG_ENTRY_MAX =
		KR_INDEX_REPO_MAX + KR_INDEX_TAG_MAX + KR_DIGEST_TEXT_MAX + 96,
};

/* {repo, tag, digest}: params of index.put. */
void kr_index_msg_put_encode(struct kr_mp_writer *w, const char *repo,
			     const char *tag, const struct kr_digest *digest);
/* {repo, tag}: params of index.get. */
void kr_index_msg_get_encode(struct kr_mp_writer *w, const char *repo,
			     const char *tag);
/* {repo, tag, digest, clock, node}: params of index.merge, payload of the
 * queue of copies. */
void kr_index_msg_entry_encode(struct kr_mp_writer *w,
			       const struct kr_index_entry *e);
/* {digest}: result of index.get. */
void kr_index_msg_digest_encode(struct kr_mp_writer *w,
				const struct kr_digest *digest);
KR_NODISCARD enum kr_err kr_index_msg_digest_decode(struct kr_bytes result,
						    struct kr_digest *ret);

/* Which keys must be there. */
enum {
	KR_INDEX_MSG_REPO = 1,
	KR_INDEX_MSG_TAG = 2,
	KR_INDEX_MSG_DIGEST = 4,
	KR_INDEX_MSG_STAMP = 8, /* clock and node */
};
KR_NODISCARD enum kr_err kr_index_msg_entry_decode(struct kr_bytes params,
						   unsigned need,
						   struct kr_index_entry *ret);

/* {repo, last, limit}: params of index.list; {prefix, last, limit} of
 * index.repos.  A limit of 0 or above KR_INDEX_LIST_MAX is that. */
struct kr_index_msg_list {
	char name[KR_INDEX_REPO_MAX]; /* repo or prefix */
	char last[KR_INDEX_REPO_MAX];
	uint32_t limit;
};
void kr_index_msg_list_encode(struct kr_mp_writer *w, const char *repo,
			      const char *last, uint32_t limit);
void kr_index_msg_repos_encode(struct kr_mp_writer *w, const char *prefix,
			       const char *last, uint32_t limit);
KR_NODISCARD enum kr_err kr_index_msg_list_decode(
	struct kr_bytes params, struct kr_index_msg_list *ret);

/* {tags | repos: [name...], more}: results.  The names follow each other in
 * @names, each with its NUL. */
void kr_index_msg_names_encode(struct kr_mp_writer *w, const char *key,
			       const char *names, uint32_t count, bool more);
struct kr_index_msg_names {
	uint32_t count; /* not yet taken */
	bool more;
	struct kr_mp_reader list; /* private */
};
KR_NODISCARD enum kr_err kr_index_msg_names_decode(
	struct kr_bytes result, const char *key,
	struct kr_index_msg_names *ret);
/* Take the next name, which points into the result; false: none left. */
bool kr_index_msg_names_next(struct kr_index_msg_names *n,
			     struct kr_bytes *ret);

#endif
