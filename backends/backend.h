/*
 * backends/backend.h - where blobs and tags live in the end: the interface of
 * a storage backend, and the names under which Kraken stores things there.
 *
 * Every call blocks, for as long as the storage does: from the work pool only.
 * A backend may be used by several threads at a time.
 *
 * Names: a blob is named by the hex of its digest, a tag by "repository:tag".
 * A backend's layout turns the name into a path below its root; the layouts
 * are those of Kraken, byte for byte, so an existing bucket can be read.
 */
#ifndef KR_BACKENDS_BACKEND_H
#define KR_BACKENDS_BACKEND_H

#include <stddef.h>
#include <stdint.h>

#include "core/digest.h"
#include "core/err.h"

enum {
	KR_BACKEND_PATH_MAX = 1024, /* bytes below the root, with the NUL */
	KR_BACKEND_TAG_MAX = 256,   /* bytes of an object that is a tag */
};

enum kr_backend_layout {
	KR_LAYOUT_SHARDED_DOCKER_BLOB, /* docker/registry/v2/blobs/sha256/
					  <aa>/<hex>/data */
	KR_LAYOUT_DOCKER_TAG, /* docker/registry/v2/repositories/<repo>/
				 _manifests/tags/<tag>/current/link */
	KR_LAYOUT_IDENTITY,   /* the name itself */
	KR_LAYOUT_COUNT
};

const char *kr_backend_layout_name(enum kr_backend_layout layout);

/* KR_E_INVALID  no layout of that name */
KR_NODISCARD enum kr_err kr_backend_layout_parse(const char *text,
						 enum kr_backend_layout *ret);

/*
 * The path of @name below the root, into @buf of @cap bytes.
 *
 * KR_E_INVALID  @name is none of that layout: a blob that is not 64 hex
 *               digits, a tag without colon; a component that is empty, "."
 *               or "..", a leading slash, a NUL or control byte
 * KR_E_TOOBIG   does not fit
 */
KR_NODISCARD enum kr_err kr_backend_path(enum kr_backend_layout layout,
					 const char *name, char *buf,
					 size_t cap);

/* The name that @path (below the root) belongs to.  KR_E_INVALID: none. */
KR_NODISCARD enum kr_err kr_backend_name(enum kr_backend_layout layout,
					 const char *path, char *buf,
					 size_t cap);

struct kr_backend;

/* Called for each name; false ends the walk. */
typedef _Bool kr_backend_list_fn(void *ctx, const char *name);

/* What a backend implements; the contracts are those of the functions. */
struct kr_backend_ops {
	const char *type; /* "file" */
	enum kr_err (*stat)(struct kr_backend *b, const char *name,
			    uint64_t *ret_size_bytes);
	enum kr_err (*get)(struct kr_backend *b, const char *name,
			   uint64_t offset_bytes, uint64_t len_bytes, int fd);
	enum kr_err (*put)(struct kr_backend *b, const char *name, int fd,
			   uint64_t size_bytes);
	enum kr_err (*list)(struct kr_backend *b, const char *prefix,
			    kr_backend_list_fn *fn, void *ctx);
	/* NULL: as kr_backend_tag has it for a storage. */
	enum kr_err (*tag)(struct kr_backend *b, const char *name,
			   struct kr_digest *ret);
	void (*close)(struct kr_backend *b);
};

struct kr_backend { /* embedded first in each backend's own struct */
	const struct kr_backend_ops *ops;
};

/*
 * All of the calls below:
 * KR_E_NOTFOUND     there is no such object
 * KR_E_INVALID      the name does not fit the layout
 * KR_E_DENIED       the storage does not let us
 * KR_E_UNAVAILABLE, KR_E_TIMEDOUT  it cannot be asked now
 * KR_E_NOSPC        it (get: the disk behind @fd) is full
 * KR_E_IO           anything else; the log says what
 */

KR_NODISCARD enum kr_err kr_backend_stat(struct kr_backend *b, const char *name,
					 uint64_t *ret_size_bytes);

/* Write @len_bytes of the object from @offset on into @fd, at the same
 * offsets.  UINT64_MAX: to its end.  KR_E_RANGE: it is shorter; KR_OK only if
 * all was written. */
KR_NODISCARD enum kr_err kr_backend_get(struct kr_backend *b, const char *name,
					uint64_t offset_bytes,
					uint64_t len_bytes, int fd);

/* Store the first @size_bytes of @fd, replacing what was there: whole or not
 * at all, and durable when KR_OK.  KR_E_CORRUPT: @fd is shorter. */
KR_NODISCARD enum kr_err kr_backend_put(struct kr_backend *b, const char *name,
					int fd, uint64_t size_bytes);

/* Visit the names that begin with @prefix, in no order.  KR_E_UNSUPPORTED: it
 * cannot list. */
KR_NODISCARD enum kr_err kr_backend_list(struct kr_backend *b,
					 const char *prefix,
					 kr_backend_list_fn *fn, void *ctx);

/*
 * Which digest does tag @name ("repository:tag") have now?  In a storage it is
 * the text of the object of that name, as Kraken's build-index writes it
 * (white space after it is ignored).  A registry is asked by HEAD
 * /v2/<repository>/manifests/<tag>: Docker-Content-Digest (OCI
 * distribution-spec, end-3).
 *
 * KR_E_NOTFOUND  there is no such tag
 * KR_E_CORRUPT   the answer is no digest
 */
KR_NODISCARD enum kr_err kr_backend_tag(struct kr_backend *b, const char *name,
					struct kr_digest *ret);

void kr_backend_close(struct kr_backend *b); /* NULL is fine */

#endif
