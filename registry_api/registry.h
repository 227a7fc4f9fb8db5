/*
 * registry_api/registry.h - what the HTTP layer asks of the role behind it.
 *
 * The HTTP thread parses requests and answers the small ones; whatever needs
 * the store, the swarm or another host is a struct kr_reg_call: submitted to
 * the role, completed by it later, from any thread, exactly once.
 *
 *	HTTP thread            reactor (the role)
 *	submit(call) ------->  works, maybe for minutes
 *	     <---------------  kr_reg_done(call)     exactly once per submit
 *	cancel(call) ------->  the client is gone; kr_reg_done still comes
 *
 * A call is lent to the role from submit until kr_reg_done.  Its in-fields
 * do not change meanwhile; out-fields are read only when err is KR_OK.
 *
 * Bulk bytes do not pass through a call: KR_REG_BLOB_SEND and
 * KR_REG_UPLOAD_RECV name the client's socket, which is lent to the role's
 * engine as long as the call runs: the HTTP thread neither reads, writes nor
 * closes it.
 */
#ifndef KR_REGISTRY_API_REGISTRY_H
#define KR_REGISTRY_API_REGISTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/digest.h"
#include "core/err.h"
#include "core/io.h"

enum {
	KR_REPO_MAX = 255, /* repository name, bytes */
	KR_TAG_MAX = 128,  /* distribution-spec: [A-Za-z0-9_][..]{0,127} */
	KR_MEDIA_TYPE_MAX = 255,
	KR_UPLOAD_ID_LEN = 36,  /* a UUID */
	KR_REG_LIST_MAX = 1000, /* names, descriptors of one answer */
	KR_REG_TAGS_MAX = 100,  /* that one push may set */
	KR_REG_DESCRIPTOR_MAX = 512 * 1024,
};

enum kr_reg_op {
	/* repo, tag -> digest.  KR_E_NOTFOUND: no such tag. */
	KR_REG_TAG_GET,
	/* repo, digest -> bytes, len: the manifest, verified.  KR_E_NOTFOUND;
	 * KR_E_TOOBIG: larger than a manifest may be. */
	KR_REG_MANIFEST_GET,
	/* repo, digest, local -> size.  Never downloads the blob. */
	KR_REG_BLOB_STAT,
	/* repo, digest -> blob (a handle), size.  Starts or joins the download;
	 * returns when the size is known, not when the bytes are here. */
	KR_REG_BLOB_OPEN,
	/* blob, offset, length, fd, open_ended -> moved: send those bytes of
	 * the blob on the socket, as they are verified.  With an error, moved
	 * says how many went out. */
	KR_REG_BLOB_SEND,
	/* blob, offset, length, buf -> moved: read them into memory (the copy
	 * path: TLS, HTTP/2).  moved < length only at the end of the blob. */
	KR_REG_BLOB_READ,
	/* blob: give the handle back.  Cannot fail. */
	KR_REG_BLOB_CLOSE,
	/*
	 * repo, digest, fd, answer, next, listen_ns -> begun, moved: whole
	 * responses, of blobs that are complete on this host, as long as the
	 * client asks for nothing else:
	 *
	 *	answer(size) -> head, part of the blob --> both are sent
	 *	   ^                                            |
	 *	   +-- true -- next(bytes) <-- what comes within listen_ns
	 *
	 * It ends with KR_OK when nothing comes in time, when the client has
	 * closed, or when next() says that somebody else is to judge.
	 * begun: the last head that answer() made may have been sent, and
	 * moved of its length; false: nothing of it was, because the blob is
	 * not complete here, answer() declined, or the role does not do this
	 * (KR_E_UNSUPPORTED), and BLOB_OPEN is to be asked; or all was.
	 */
	KR_REG_BLOB_SERVE,
	/* repo, digest, from_repo -> KR_OK: the blob exists in the cluster and
	 * may be used from repo.  KR_E_NOTFOUND: upload it. */
	KR_REG_BLOB_MOUNT,
	/* repo -> upload_id: a new upload session */
	KR_REG_UPLOAD_OPEN,
	/* repo, upload_id -> size: bytes received.  KR_E_NOTFOUND. */
	KR_REG_UPLOAD_STAT,
	/*
	 * repo, upload_id, offset, fd, body framing, prefix -> size, moved,
	 * surplus: append a request body to the session, beginning with the
	 * prefix (what HTTP had read already), then from the socket.  offset
	 * (UINT64_MAX: not said) must be the session's size: KR_E_RANGE, size
	 * is set, nothing was read.  The body's end is its length, or the last
	 * chunk (RFC 9112, 7.1) when chunked; bytes received behind it come
	 * back in surplus.
	 * KR_E_CLOSED/KR_E_RESET: the client left mid-body; the session keeps
	 * what was received.  KR_E_PROTO: broken chunk.  KR_E_NOSPC.
	 */
	KR_REG_UPLOAD_RECV,
	/* repo, upload_id, bytes, len -> size: the same from memory */
	KR_REG_UPLOAD_APPEND,
	/* repo, upload_id, digest -> KR_OK when the blob is durable on the
	 * origins.  KR_E_DIGEST: the bytes are another blob; the session is
	 * gone.  KR_E_NOTFOUND.  KR_E_UNAVAILABLE: no write quorum; the session
	 * is kept, the client may PUT again. */
	KR_REG_UPLOAD_COMMIT,
	/* repo, upload_id */
	KR_REG_UPLOAD_CANCEL,
	/*
	 * repo, tags, tag_count, digest (of bytes), bytes, len, refs,
	 * ref_count, and where it has a subject that, artifact_type and
	 * descriptor: store the manifest, then say that it is there, under
	 * these tags.  KR_E_NOTFOUND: a reference is missing, missing_ref says
	 * which.
	 */
	KR_REG_MANIFEST_PUT,
	/* repo, tag: the tag goes; or repo, digest: the manifest and its tags.
	 * KR_E_NOTFOUND.  KR_E_DENIED: an index refers to it. */
	KR_REG_MANIFEST_DELETE,
	/* repo, digest: the blob is served from this repository no more.
	 * KR_E_NOTFOUND.  KR_E_DENIED: a manifest refers to it. */
	KR_REG_BLOB_DELETE,
	/* repo, tag (the "last" parameter, may be ""), limit -> names (sorted
	 * lexically, NUL-separated in bytes, len), more.  KR_E_NOTFOUND: the
	 * repository is unknown. */
	KR_REG_TAGS_LIST,
	/* last (may be ""), limit -> names of repositories likewise, more */
	KR_REG_CATALOG,
	/*
	 * repo, digest (the subject), artifact_type ("": any), last (may be
	 * ""), limit -> JSON descriptors of the manifests with that subject,
	 * comma-separated in bytes, len; more, and then last, to go on with.
	 * Unknown repositories and subjects have none.
	 */
	KR_REG_REFERRERS,
	/* repo, tag, digest: the tag names it (Kraken's, of a build-index) */
	KR_REG_TAG_PUT,
	/* repo (a prefix, may be ""), last, limit -> "repo:tag" likewise, more */
	KR_REG_IMAGES_LIST,
	/* repo, digest -> KR_OK: the origins have it.  KR_E_BUSY: one fetches
	 * it from its backend.  KR_E_NOTFOUND.  Nothing comes to this host. */
	KR_REG_BLOB_PREFETCH,
	/* digest -> bytes: who keeps it, "host:port,..." with a NUL */
	KR_REG_BLOB_LOCATE,
	/* digest: this host's copy goes.  KR_E_NOTFOUND; KR_E_UNAVAILABLE: it
	 * is in use. */
	KR_REG_BLOB_FORGET,
	/* repo, tag, runtime, from_repo (containerd's namespace, may be ""):
	 * that runtime of this host pulls the image from us. */
	KR_REG_PRELOAD,
	/* -> KR_OK, or an error and text: is the process of use to anybody? */
	KR_REG_READY,
	KR_REG_OP_COUNT
};

enum kr_reg_runtime { KR_REG_DOCKER, KR_REG_CONTAINERD };

struct kr_reg_ref { /* what a manifest points to */
	struct kr_digest digest;
	uint64_t size_bytes;
	bool is_manifest;
};

struct kr_reg_blob; /* the role's handle of an open blob */

struct kr_reg_call {
	enum kr_reg_op op;

	/* in */
	char repo[KR_REPO_MAX + 1];
	char from_repo[KR_REPO_MAX + 1];
	char tag[KR_TAG_MAX + 1];
	char upload_id[KR_UPLOAD_ID_LEN + 1]; /* out of UPLOAD_OPEN */
	struct kr_digest digest;              /* out of TAG_GET */
	char last[KR_REPO_MAX + 1];           /* out of REFERRERS */
	char artifact_type[KR_MEDIA_TYPE_MAX + 1];
	bool has_subject;
	struct kr_digest subject;
	const char *tags; /* lent; each with its NUL */
	uint32_t tag_count;
	const uint8_t *descriptor; /* lent: JSON, as REFERRERS gives it out */
	size_t descriptor_len;
	uint64_t offset;
	uint64_t length; /* UPLOAD_RECV: of the body; unused when chunked */
	bool chunked;
	bool local;      /* BLOB_STAT: only what is on this host counts */
	uint8_t runtime; /* PRELOAD: enum kr_reg_runtime */
	bool open_ended; /* BLOB_SEND: the client may leave long before length;
			    little is kept ahead of it */
	/* BLOB_SERVE, called by the role from inside the call.  answer: what is
	 * to be sent of a blob of @size bytes?  It sets offset, length,
	 * open_ended and prefix, the head.  False: not this one. */
	bool (*answer)(struct kr_reg_call *call, uint64_t size);
	/* next: the response is out, and these bytes came.  True: they ask for
	 * another blob, repo and digest say which.  They are kept until
	 * answer() is content. */
	bool (*next)(struct kr_reg_call *call, const uint8_t *ptr, size_t len);
	uint64_t listen_ns; /* 0: end after one response */
	int fd;
	const uint8_t *prefix; /* lent: UPLOAD_RECV; the head of BLOB_SERVE */
	size_t prefix_len;
	uint8_t *buf;                  /* lent: BLOB_READ */
	const struct kr_reg_ref *refs; /* lent */
	size_t ref_count;
	uint32_t limit;

	/* in and out: MANIFEST_PUT, UPLOAD_APPEND lend it in; MANIFEST_GET,
	 * TAGS_LIST, CATALOG, REFERRERS give it out, the caller frees it with
	 * free(3) */
	uint8_t *bytes;
	size_t len;
	struct kr_reg_blob *blob;

	/* out */
	enum kr_err err;
	uint64_t size;
	uint64_t moved;
	bool begun; /* BLOB_SERVE */
	bool more;
	uint8_t *surplus; /* UPLOAD_RECV: freed by the caller, may be NULL */
	size_t surplus_len;
	size_t missing_ref;
	char text[256]; /* with an error: what to tell the client, or "" */

	/* the role's, while the call is lent to it */
	struct kr_post post;
	void *role;

	/* the HTTP layer's */
	void (*on_done)(struct kr_reg_call *call);
	void *http;
};

struct kr_registry {
	void *ctx;
	/* On the HTTP thread; must not block. */
	void (*submit)(void *ctx, struct kr_reg_call *call);
	/* On the HTTP thread, at most once, only between submit and its
	 * kr_reg_done being seen: nobody waits for the answer any more. */
	void (*cancel)(void *ctx, struct kr_reg_call *call);
};

/* From any thread: the role is done with @call. */
void kr_reg_done(struct kr_reg_call *call);

#endif
