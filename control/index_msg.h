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
#include "control/index_object.h"
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
/* {digest} or {deleted}: result of index.get.  KR_E_NOTFOUND: deleted. */
void kr_index_msg_digest_encode(struct kr_mp_writer *w,
				const struct kr_digest *digest);
void kr_index_msg_deleted_encode(struct kr_mp_writer *w, bool deleted);
KR_NODISCARD enum kr_err kr_index_msg_digest_decode(struct kr_bytes result,
						    struct kr_digest *ret);

/* Which keys must be there; the digest may be missing where "deleted" is. */
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

/* ---- objects ---- */

/* {repo, kind, digest, force}: params of index.find_object and
 * index.delete_object, payload of the queue of copies. */
void kr_index_msg_object_name_encode(struct kr_mp_writer *w,
				     enum kr_index_kind kind, const char *repo,
				     const struct kr_digest *digest,
				     bool force);
/* Bytes that an object needs at most. */
size_t kr_index_msg_object_len(const struct kr_index_object *o,
			       const char *tags, uint32_t tag_count);
/* {repo, kind, digest, subject?, artifact_type?, refs, descriptor, tags}:
 * params of index.put_object; with @stamped {deleted, clock, node} of
 * index.merge_object. */
void kr_index_msg_object_encode(struct kr_mp_writer *w,
				const struct kr_index_object *o,
				const char *tags, uint32_t tag_count,
				bool stamped);
struct kr_index_msg_object {
	struct kr_index_object o; /* points into the params */
	bool force, stamped;
	struct kr_index_msg_names tags;
};
KR_NODISCARD enum kr_err kr_index_msg_object_decode(
	struct kr_bytes params, struct kr_index_msg_object *ret);
/* {deleted}: result of index.find_object. */
KR_NODISCARD enum kr_err kr_index_msg_deleted_decode(struct kr_bytes result,
						     bool *ret);

/* {repo, digest, artifact_type, last, limit}: params of index.referrers. */
struct kr_index_msg_referrers {
	char repo[KR_INDEX_REPO_MAX];
	struct kr_digest subject;
	char artifact_type[KR_INDEX_TYPE_MAX];
	char last[KR_DIGEST_TEXT_MAX];
	uint32_t limit; /* 0: KR_INDEX_LIST_MAX */
};
enum {
	KR_INDEX_MSG_REFERRERS_MAX = KR_INDEX_REPO_MAX + KR_INDEX_TYPE_MAX +
				     2 * KR_DIGEST_TEXT_MAX + 96,
};
void kr_index_msg_referrers_encode(struct kr_mp_writer *w,
				   const struct kr_index_msg_referrers *m);
KR_NODISCARD enum kr_err kr_index_msg_referrers_decode(
	struct kr_bytes params, struct kr_index_msg_referrers *ret);

/* {referrers: [bin...], last, more}: its result, from a page of
 * kr_index_referrers. */
void kr_index_msg_page_encode(struct kr_mp_writer *w, struct kr_bytes page,
			      uint32_t count, const char *last, bool more);
struct kr_index_msg_page {
	uint32_t count; /* not yet taken */
	bool more;
	char last[KR_DIGEST_TEXT_MAX];
	struct kr_mp_reader list; /* private */
};
KR_NODISCARD enum kr_err kr_index_msg_page_decode(
	struct kr_bytes result, struct kr_index_msg_page *ret);
/* Take the next descriptor, JSON that points into the result; false: none
 * left. */
bool kr_index_msg_page_next(struct kr_index_msg_page *p, struct kr_bytes *ret);

#endif
