/*
 * control/index_object.h - what is in a repository besides tags: manifests
 * and blobs, each (repository, kind, digest) a last-writer-wins register of
 * "there" or "deleted", copied to the other build-indexes as tags are.
 *
 *	no row     nothing is known: what the origins have is served, so that
 *	           blobs of an older Kraken's storage can be pulled
 *	there      pushed here, and not deleted since
 *	deleted    not served from this repository, unless a manifest that is
 *	           there refers to it, or a tag names it: no order of copies
 *	           can break an image
 *
 * A manifest's row has what it refers to, and, where it has a subject
 * (image-spec manifest.md), the descriptor that the referrers API lists.
 *
 * Threads: reactor; the database is used through the work pool (db.h).
 */
#ifndef KR_CONTROL_INDEX_OBJECT_H
#define KR_CONTROL_INDEX_OBJECT_H

#include "control/index.h"
#include "core/bytes.h"

enum kr_index_kind {
	KR_INDEX_MANIFEST, /* an index is one, too */
	KR_INDEX_BLOB,
	KR_INDEX_KIND_COUNT
};

enum {
	KR_INDEX_TYPE_MAX = 256,         /* artifact type, with the NUL */
	KR_INDEX_REFS_MAX = 768 * 1024,  /* bytes, packed */
	KR_INDEX_DESC_MAX = 512 * 1024,  /* bytes of one descriptor */
	KR_INDEX_PAGE_MAX = 2 << 20,     /* bytes of one page of referrers */
	KR_INDEX_OBJECT_TAGS_MAX = 1000, /* of one put */
	KR_INDEX_KEY_MARK = '@',         /* begins the key of a copy */
};

struct kr_index_object {
	enum kr_index_kind kind;
	char repo[KR_INDEX_REPO_MAX];
	struct kr_digest digest;
	uint64_t clock, node;
	bool deleted;
	/* of manifests that are there */
	bool has_subject;
	struct kr_digest subject;
	char artifact_type[KR_INDEX_TYPE_MAX];
	struct kr_bytes refs;       /* packed digests, see below */
	struct kr_bytes descriptor; /* JSON; with a subject only */
};

struct kr_index_object_req;
typedef void kr_index_object_done_fn(struct kr_index_object_req *r,
				     enum kr_err err);

/* One operation; embedded by its owner, zeroed before first use, lent until
 * done, then released with kr_index_object_fini. */
struct kr_index_object_req {
	struct kr_db_req db; /* private, down to last */
	struct kr_post post;
	struct kr_index *ix;
	kr_index_object_done_fn *done;
	enum kr_err err;
	bool force;
	uint8_t *copy; /* of what obj and tags point to */
	const char *tags;
	uint32_t tag_count, max;
	struct kr_index_entry *changed_tags;
	uint32_t changed_count;
	char last[KR_DIGEST_TEXT_MAX]; /* referrers: of the last one */
	struct kr_index_object obj;    /* find, read, merge */
	struct kr_buf page; /* referrers: each a u32 length and its JSON */
	uint32_t page_count;
	bool more;
};

void kr_index_object_fini(struct kr_index_object_req *r);

/* Packed digests: for each, a byte for the algorithm and its bytes. */
#define KR_INDEX_REF_MAX (1 + KR_DIGEST_LEN_MAX)
size_t kr_index_ref_pack(const struct kr_digest *d,
			 uint8_t buf[KR_INDEX_REF_MAX]);
bool kr_index_refs_valid(struct kr_bytes refs);

/*
 * For all: done() comes exactly once, never from inside.  KR_E_INVALID: a
 * repository, tag, type or refs of another form; KR_E_TOOBIG: above a limit;
 * KR_E_NOSPC, KR_E_IO, KR_E_NOMEM, KR_E_BUSY (db.h).
 */

/* KR_OK: @o (copied; clock, node and deleted are not looked at) is there, and
 * @tag_count NUL-terminated @tags name it, all in one transaction.
 * KR_E_EXISTS: one of them is immutable and names another. */
void kr_index_object_put(struct kr_index *ix, struct kr_index_object_req *r,
			 const struct kr_index_object *o, const char *tags,
			 uint32_t tag_count, kr_index_object_done_fn *done);

/*
 * KR_OK: it is deleted; a manifest's tags with it.
 *
 * @force  even if nothing is known of it
 *
 * KR_E_NOTFOUND  deleted already, or nothing is known of it
 * KR_E_DENIED    a manifest of the repository refers to it
 * KR_E_EXISTS    an immutable tag names it
 */
void kr_index_object_delete(struct kr_index *ix, struct kr_index_object_req *r,
			    enum kr_index_kind kind, const char *repo,
			    const struct kr_digest *digest, bool force,
			    kr_index_object_done_fn *done);

/* KR_OK: r->obj.deleted says whether it is to be served.  KR_E_NOTFOUND:
 * nothing is known of it. */
void kr_index_object_find(struct kr_index *ix, struct kr_index_object_req *r,
			  enum kr_index_kind kind, const char *repo,
			  const struct kr_digest *digest,
			  kr_index_object_done_fn *done);

/* KR_OK: r->obj is the row.  KR_E_NOTFOUND: there is none. */
void kr_index_object_read(struct kr_index *ix, struct kr_index_object_req *r,
			  enum kr_index_kind kind, const char *repo,
			  const struct kr_digest *digest,
			  kr_index_object_done_fn *done);

/* A row of another index, kept if it is later than ours. */
void kr_index_object_merge(struct kr_index *ix, struct kr_index_object_req *r,
			   const struct kr_index_object *remote,
			   kr_index_object_done_fn *done);

/*
 * KR_OK: r->page has the descriptors of manifests that are there, whose
 * subject is @subject, in the order of their digests' text, after @last ("":
 * from the start), of @artifact_type ("": any); at most @max (0:
 * KR_INDEX_LIST_MAX) and KR_INDEX_PAGE_MAX bytes.  r->more: there are others
 * after r->last.  None is not an error.
 */
void kr_index_referrers(struct kr_index *ix, struct kr_index_object_req *r,
			const char *repo, const struct kr_digest *subject,
			const char *artifact_type, const char *last,
			uint32_t max, kr_index_object_done_fn *done);

#endif
