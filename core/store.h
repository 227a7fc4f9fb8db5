/*
 * core/store.h - the blobs of one host on its disk, and the rules that keep
 * them whole.
 *
 *	blobs/sha256/<aa>/<hex>   complete, verified; immutable
 *	partial/<hex>             being downloaded: sparse or fallocated
 *	partial/<hex>.pieces      which pieces of it were verified, see below
 *	uploads/<uuid>            an upload session's bytes, and <uuid>.state
 *	meta/<hex>                metainfo of a blob (peerwire/metainfo.h)
 *	trash/                    on its way out; emptied at open
 *
 * Rules
 *  - A blob becomes visible by rename(2) after its data are on disk:
 *    fdatasync, rename, fsync of the directory.  Nothing half-written is ever
 *    opened as whole.
 *  - A restart resumes a partial: pieces that the bitmap claims are hashed
 *    again before they count (the caller has the piece hashes), so a torn
 *    bitmap costs time, never truth.
 *  - The byte quota counts blobs, partials and uploads.  Above the high
 *    watermark the least recently used blobs that nobody pins are deleted
 *    until the low watermark.  Where that does not suffice, and on ENOSPC, new
 *    partials and uploads are refused with KR_E_NOSPC.
 *  - A pinned blob is never deleted: open handles pin; kr_store_keep pins
 *    across restarts (not yet written back).
 *
 * Threads: every function may be called from any thread; a mutex guards the
 * index and is never held across a system call that waits for the disk.
 * Functions marked [blocks] wait for the disk: call them on the work pool.
 */
#ifndef KR_CORE_STORE_H
#define KR_CORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/digest.h"
#include "core/err.h"

struct kr_store;
struct kr_store_blob;    /* an open complete blob */
struct kr_store_partial; /* an open download */
struct kr_store_upload;  /* an open upload session */

struct kr_store_opts {
	const char *dir;        /* made if missing (one level) */
	uint64_t quota_bytes;   /* 0: 90 % of the file system */
	uint32_t high_percent;  /* of the quota; 0: 95 */
	uint32_t low_percent;   /* 0: 85 */
	uint64_t upload_ttl_ns; /* idle sessions older than this go; 0: 24 h */
};

/*
 * Open the store, make its folders, empty trash/, load the index.  [blocks]
 * One process at a time: a lock file refuses a second one (KR_E_EXISTS).
 * KR_E_INVALID: watermarks above 100 % or low above high.  KR_E_IO,
 * KR_E_NOSPC, KR_E_NOMEM, KR_E_NOFILE.
 */
KR_NODISCARD enum kr_err kr_store_open(const struct kr_store_opts *opts,
				       struct kr_store **ret);
/* No handle of the store is open (asserted).  @s may be NULL. */
void kr_store_close(struct kr_store *s);

struct kr_store_usage {
	uint64_t blob_bytes, partial_bytes, upload_bytes, quota_bytes;
	uint64_t blob_count, partial_count, upload_count, evicted_count;
};
void kr_store_usage(struct kr_store *s, struct kr_store_usage *ret);

/* ---- complete blobs -----------------------------------------------------*/

/* Size of complete blob @d in bytes; KR_E_NOTFOUND.  Does not count as use. */
KR_NODISCARD enum kr_err kr_store_stat(struct kr_store *s,
				       const struct kr_digest *d,
				       uint64_t *ret_size);

/* Open complete blob @d for reading; it is pinned until kr_store_blob_close
 * and counts as used now.  KR_E_NOTFOUND, KR_E_NOFILE, KR_E_IO. */
KR_NODISCARD enum kr_err kr_store_blob_open(struct kr_store *s,
					    const struct kr_digest *d,
					    struct kr_store_blob **ret);
void kr_store_blob_close(struct kr_store_blob *b);
int kr_store_blob_fd(const struct kr_store_blob *b); /* borrowed */
uint64_t kr_store_blob_size(const struct kr_store_blob *b);

/* Store @len bytes as blob @d in one go (manifests, configs).  Verifies the
 * digest.  KR_OK also when it is there already.  KR_E_DIGEST, KR_E_NOSPC,
 * KR_E_IO.  [blocks] */
KR_NODISCARD enum kr_err kr_store_blob_put(struct kr_store *s,
					   const struct kr_digest *d,
					   const void *buf, size_t len);

/* Delete blob @d (by way of trash/).  KR_E_BUSY: pinned.  KR_E_NOTFOUND. */
KR_NODISCARD enum kr_err kr_store_delete(struct kr_store *s,
					 const struct kr_digest *d);

/* Pin or unpin blob @d across restarts (a file beside it).  @d may also be a
 * partial: the blob it becomes is then kept from its first moment.
 * KR_E_NOTFOUND: neither.  KR_E_IO, KR_E_NOSPC: as before.  [blocks] */
KR_NODISCARD enum kr_err kr_store_keep(struct kr_store *s,
				       const struct kr_digest *d, bool keep);

/* Visit the complete blobs, in no order, under no lock: a snapshot.  [blocks]
 */
typedef void kr_store_visit_fn(void *ctx, const struct kr_digest *d,
			       uint64_t size_bytes);
void kr_store_for_each(struct kr_store *s, kr_store_visit_fn *fn, void *ctx);

/* ---- metainfo beside a blob ---------------------------------------------*/

/* Replace the metainfo bytes of @d, atomically.  [blocks] */
KR_NODISCARD enum kr_err kr_store_meta_put(struct kr_store *s,
					   const struct kr_digest *d,
					   const void *buf, size_t len);

/* Read them; the caller frees *ret with free(3).  KR_E_NOTFOUND.  [blocks] */
KR_NODISCARD enum kr_err kr_store_meta_get(struct kr_store *s,
					   const struct kr_digest *d,
					   uint8_t **ret, size_t *ret_len);

/* ---- downloads ----------------------------------------------------------*/

/*
 * Open or begin the download of blob @d: @size_bytes in pieces of
 * @piece_bytes (the last may be shorter).  Room is reserved (fallocate), LRU
 * blobs make way.  What a previous run had claimed is in
 * kr_store_partial_claims, and counts for nothing until it is marked again.
 *
 * KR_E_EXISTS  @d is complete, or open as a partial already
 * KR_E_INVALID @piece_bytes is 0, or there are more than 2^26 pieces
 * KR_E_NOSPC   the quota or the disk has no room; nothing was kept
 * [blocks]
 */
KR_NODISCARD enum kr_err kr_store_partial_open(struct kr_store *s,
					       const struct kr_digest *d,
					       uint64_t size_bytes,
					       uint32_t piece_bytes,
					       struct kr_store_partial **ret);
int kr_store_partial_fd(const struct kr_store_partial *p); /* read and write */
bool kr_store_partial_claims(const struct kr_store_partial *p, uint32_t piece);

/* Piece @piece was verified and written.  Kept in memory and on disk: the
 * bitmap file is a shared mapping, written back by the kernel. */
void kr_store_partial_mark(struct kr_store_partial *p, uint32_t piece);

/* All pieces are marked: make it a complete blob and close it.  With an error
 * @p is still open.  [blocks] */
KR_NODISCARD enum kr_err kr_store_partial_commit(struct kr_store_partial *p);

/* Close; @keep: a later kr_store_partial_open resumes, else it is deleted. */
void kr_store_partial_close(struct kr_store_partial *p, bool keep);

/* ---- upload sessions ----------------------------------------------------*/

/* Delete the sessions that nobody has used for the time to live.  Opening a
 * store and making a session do this, too.  [blocks] */
void kr_store_expire_sessions(struct kr_store *s);

enum { KR_STORE_UUID_LEN = 36 };
enum { KR_STORE_STATE_MAX = 4096 };

/* Begin a session under a fresh random UUID.  KR_E_NOSPC.  [blocks] */
KR_NODISCARD enum kr_err kr_store_upload_create(struct kr_store *s,
						struct kr_store_upload **ret);

/* Open a session that is on disk.  KR_E_NOTFOUND; KR_E_BUSY: open already.
 * KR_E_INVALID: not a UUID.  [blocks] */
KR_NODISCARD enum kr_err kr_store_upload_open(struct kr_store *s,
					      const char *uuid,
					      struct kr_store_upload **ret);
const char *kr_store_upload_uuid(const struct kr_store_upload *u);
int kr_store_upload_fd(const struct kr_store_upload *u);

/* Bytes that count: what the last kr_store_upload_save said (0 at first).
 * Anything longer on disk is a torn write and was cut off at open. */
uint64_t kr_store_upload_size(const struct kr_store_upload *u);

/* Account for growth before bytes are written at the end.  KR_E_NOSPC.
 * [blocks] only when blobs have to be deleted for it. */
KR_NODISCARD enum kr_err kr_store_upload_reserve(struct kr_store_upload *u,
						 uint64_t more_bytes);

/* Record that the first @size_bytes are received, with the caller's own state
 * (hash states, at most KR_STORE_STATE_MAX), atomically; the file is cut to
 * that size.  KR_E_INVALID: the file is shorter.  KR_E_TOOBIG: @len.
 * KR_E_NOSPC, KR_E_IO: what was saved before still counts.  [blocks] */
KR_NODISCARD enum kr_err kr_store_upload_save(struct kr_store_upload *u,
					      uint64_t size_bytes,
					      const void *state, size_t len);
/* The state last saved, borrowed until the next save; *ret_len 0 if none. */
const void *kr_store_upload_state(const struct kr_store_upload *u,
				  size_t *ret_len);

/* The caller has saved (kr_store_upload_save) all bytes and verified that they
 * are blob @d: make it so, close and free @u.  KR_OK also when @d is there
 * already.  With an error @u is still open.  KR_E_INVALID: the file is not as
 * long as what was saved, so it is not what was verified.  [blocks] */
KR_NODISCARD enum kr_err kr_store_upload_commit(struct kr_store_upload *u,
						const struct kr_digest *d);

/* Close; @keep: the session stays on disk, else it is deleted. */
void kr_store_upload_close(struct kr_store_upload *u, bool keep);

#endif
