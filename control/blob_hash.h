/*
 * control/blob_hash.h - the digest of a blob and the hashes of its pieces, in
 * one pass over its bytes; and the same of a file, on the work pool.
 *
 * Both streams run over the same bytes at once (kr_hash_update_pair), so that
 * the piece hashes are nearly free (ENGINE.md, "Socket to disk").
 *
 * Threads: a struct kr_blob_hash belongs to one thread at a time; it may move
 * between the reactor and the pool with the job it is part of.
 */
#ifndef KR_CONTROL_BLOB_HASH_H
#define KR_CONTROL_BLOB_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/digest.h"
#include "core/err.h"
#include "core/hash.h"
#include "core/io.h"
#include "peerwire/metainfo.h"

struct kr_blob_hash {
	struct kr_hash blob;  /* of @alg */
	struct kr_hash piece; /* of the piece under way, SHA-256 */
	uint8_t alg;          /* enum kr_digest_alg */
	uint32_t piece_bytes; /* 0: no piece hashes are wanted */
	uint64_t total_bytes; /* seen so far */
	uint8_t *hashes;      /* of the whole pieces so far */
	uint32_t count, cap;  /* hashes there, hashes that fit */
};

/*
 * Start.  @piece_bytes is a power of two, or 0: only the blob's digest.
 * KR_E_NOMEM: nothing was kept.
 */
KR_NODISCARD enum kr_err kr_blob_hash_init(struct kr_blob_hash *h,
					   enum kr_digest_alg alg,
					   uint32_t piece_bytes);

/*
 * KR_E_NOMEM   @h is of no use but for fini
 * KR_E_TOOBIG  more than KR_METAINFO_PIECES_MAX pieces; likewise
 */
KR_NODISCARD enum kr_err kr_blob_hash_update(struct kr_blob_hash *h,
					     const uint8_t *buf, size_t len);

/*
 * Finish: the digest, and the metainfo of what was seen (@ret_meta may be
 * NULL; not with piece_bytes 0).  @h holds nothing afterwards, with an error
 * too.  KR_E_NOMEM, KR_E_TOOBIG, KR_E_INVALID (kr_metainfo_make).
 */
KR_NODISCARD enum kr_err kr_blob_hash_final(struct kr_blob_hash *h,
					    struct kr_digest *ret_digest,
					    struct kr_metainfo *ret_meta);

/* Drop @h unfinished.  Of a zeroed one: nothing. */
void kr_blob_hash_fini(struct kr_blob_hash *h);

/*
 * Write the state into @buf of @cap bytes, so that the pass can go on after a
 * restart; SHA-256 only.
 *
 * KR_E_TOOBIG       does not fit: about 32 bytes a piece
 * KR_E_UNSUPPORTED  the hash in use cannot be saved
 */
KR_NODISCARD enum kr_err kr_blob_hash_save(const struct kr_blob_hash *h,
					   uint8_t *buf, size_t cap,
					   size_t *ret_len);
/* The opposite; KR_E_CORRUPT, KR_E_UNSUPPORTED, KR_E_NOMEM: nothing is kept,
 * hash the bytes again. */
KR_NODISCARD enum kr_err kr_blob_hash_load(struct kr_blob_hash *h,
					   const uint8_t *buf, size_t len);

/* ---- files --------------------------------------------------------------*/

/* pread(2) and pwrite(2) of all of it; they block.  KR_E_IO: also a file that
 * ends before.  KR_E_NOSPC ... as errno says. */
KR_NODISCARD enum kr_err kr_file_read_all(int fd, uint8_t *buf, size_t len,
					  uint64_t offset_bytes);
KR_NODISCARD enum kr_err kr_file_write_all(int fd, const uint8_t *buf,
					   size_t len, uint64_t offset_bytes);

/*
 * Hash the first @size_bytes of a file.  The pool is used in turns of
 * KR_FILE_HASH_TURN_BYTES, so that a large file does not keep a thread from
 * others.
 */
enum {
	KR_FILE_HASH_TURN_BYTES = 32 * 1024 * 1024,
	KR_FILE_HASH_SLICE_BYTES = 256 * 1024,
};

struct kr_file_hash;
/* KR_E_IO: unreadable, or shorter than said; KR_E_NOMEM; KR_E_TOOBIG;
 * KR_E_CANCELED.  With KR_OK the pass is in f->hash: final it. */
typedef void kr_file_hash_fn(struct kr_file_hash *f, enum kr_err err);
struct kr_file_hash { /* private but for hash; embedded by its owner */
	struct kr_blob_hash hash;
	struct kr_job job;
	struct kr_io *io;
	int fd;
	uint64_t size_bytes;
	enum kr_err err;
	bool canceled;
	kr_file_hash_fn *done;
};

/* Start; @f is lent until done, @fd borrowed until then.  KR_E_NOMEM: done
 * will not come. */
KR_NODISCARD enum kr_err kr_file_hash_start(
	struct kr_io *io, struct kr_file_hash *f, int fd, uint64_t size_bytes,
	enum kr_digest_alg alg, uint32_t piece_bytes, kr_file_hash_fn *done);
/* done comes soon, with KR_E_CANCELED unless the pass was over. */
void kr_file_hash_cancel(struct kr_file_hash *f);

/*
 * Make the metainfo of a file of @size_bytes, under its own digest of @alg,
 * in pieces of kr_metainfo_piece_bytes_for.  The file's bytes must not change
 * meanwhile; @fd is borrowed until done.  The memory of the request is its
 * own.  done: @m is moved to the callee with KR_OK (kr_metainfo_fini with
 * kr_alloc_heap()), else NULL.  KR_E_IO, KR_E_NOMEM, KR_E_INVALID.
 */
typedef void kr_metainfo_file_fn(void *ctx, enum kr_err err,
				 struct kr_metainfo *m);
KR_NODISCARD enum kr_err kr_metainfo_from_file(struct kr_io *io, int fd,
					       uint64_t size_bytes,
					       enum kr_digest_alg alg,
					       void *ctx,
					       kr_metainfo_file_fn *done);

#endif
