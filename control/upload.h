/*
 * control/upload.h - the receiving side of an upload session: bytes from a
 * client's socket to the store, hashed on the way.
 *
 *	socket --> block buffer --> work pool: pwrite, digest, piece hashes
 *	           block buffer         ^ one is filled while one is hashed
 *
 *	create/open --> idle --recv/append--> busy --> idle --finish--> gone
 *	                  |                                  \--error--> idle
 *	                  +--close (kept on disk) / abort (deleted)
 *
 * One request at a time per session; a second one gets KR_E_BUSY.  Several
 * recv/append calls make one blob: the hashes go on from call to call, and
 * across restarts (the state is saved at the end of each call where it fits
 * KR_STORE_STATE_MAX; else the bytes are hashed again when the session is
 * opened).
 *
 * Piece length: that of the blob's size (kr_metainfo_piece_bytes_for), so that
 * whoever makes the metainfo of these bytes - another proxy, an origin that has
 * them from its storage backend again - makes the same.  SHA-256 of pieces
 * cannot be made from that of smaller pieces, so while bytes come the length is
 * a guess: by the announced length of the first body, where it has one, else
 * KR_UPLOAD_PIECE_BYTES.  Where the guess was wrong the file is hashed again at
 * finish; of a body without a length that is what turns out to have no more
 * than 64 MiB (a few hundredths of a second, from the page cache), or more than
 * 4 GiB.  A digest of another algorithm than SHA-256 costs that pass, too.
 *
 * Buffers: an upload under way holds at most two block buffers; where none is
 * free it waits, not reading.
 *
 * Threads: reactor only.  Call-backs never come from inside a call.
 */
#ifndef KR_CONTROL_UPLOAD_H
#define KR_CONTROL_UPLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/digest.h"
#include "core/err.h"
#include "core/io.h"
#include "core/store.h"
#include "peerwire/metainfo.h"

/* Right from 64 MiB to 4 GiB: where a second pass would cost. */
enum { KR_UPLOAD_PIECE_BYTES = 1024 * 1024 };

struct kr_upload;

/* @u is moved to the callee with KR_OK, else NULL. */
typedef void kr_upload_open_fn(void *ctx, enum kr_err err, struct kr_upload *u);

/*
 * Begin a session.  done: KR_OK, KR_E_NOSPC, KR_E_NOFILE, KR_E_IO.
 * Returns KR_E_NOMEM: done will not come.
 */
KR_NODISCARD enum kr_err kr_upload_create(struct kr_io *io, struct kr_store *s,
					  void *ctx, kr_upload_open_fn *done);

/*
 * Go on with the session @uuid that is on disk (bytes are hashed again where
 * their state was not saved).  done: KR_OK; KR_E_NOTFOUND; KR_E_BUSY: open
 * already; KR_E_INVALID: not a UUID; KR_E_IO.
 * Returns KR_E_INVALID (too long), KR_E_NOMEM: done will not come.
 */
KR_NODISCARD enum kr_err kr_upload_open(struct kr_io *io, struct kr_store *s,
					const char *uuid, void *ctx,
					kr_upload_open_fn *done);

const char *kr_upload_uuid(const struct kr_upload *u);
uint64_t kr_upload_size(const struct kr_upload *u); /* bytes that count */
bool kr_upload_busy(const struct kr_upload *u);

/* Give the session back, idle: it stays on disk.  @u is freed. */
void kr_upload_close(struct kr_upload *u);

/* Delete the session, idle.  @u is freed. */
void kr_upload_abort(struct kr_upload *u);

struct kr_upload_body {
	int fd;                /* socket, nonblocking; lent until done */
	bool chunked;          /* RFC 9112, 7.1 */
	uint64_t length_bytes; /* of the body; unused when chunked */
	const uint8_t *prefix; /* the body's first bytes, and maybe what comes
				  behind it; lent until done */
	size_t prefix_len;
};

struct kr_upload_got {
	uint64_t moved_bytes;   /* of this body that were kept */
	const uint8_t *surplus; /* what was received behind the body; borrowed
				   until done returns; only with KR_OK */
	size_t surplus_len;
};
typedef void kr_upload_recv_fn(void *ctx, enum kr_err err,
			       const struct kr_upload_got *got);

/*
 * Append a request body.  done: KR_OK: the whole body is kept and saved.
 *
 * KR_E_CLOSED, KR_E_RESET  the client left before the body's end
 * KR_E_PROTO     broken chunk, or chunk head or trailer above its limit
 * KR_E_TIMEDOUT  not a byte for KR_UPLOAD_IDLE_NS
 * KR_E_NOSPC, KR_E_IO, KR_E_NOMEM
 * KR_E_CANCELED  kr_upload_cancel
 *	all of these: what was received before is kept and saved
 *
 * Returns KR_E_BUSY, KR_E_NOMEM: done will not come.
 */
#define KR_UPLOAD_IDLE_NS UINT64_C(60000000000)
KR_NODISCARD enum kr_err kr_upload_recv(struct kr_upload *u,
					const struct kr_upload_body *body,
					void *ctx, kr_upload_recv_fn *done);

/* The same from memory; @buf is lent until done. */
KR_NODISCARD enum kr_err kr_upload_append(struct kr_upload *u, const void *buf,
					  size_t len, void *ctx,
					  kr_upload_recv_fn *done);

/* End the recv or append under way early: its done comes soon.  Idle:
 * nothing.  A finish cannot be canceled. */
void kr_upload_cancel(struct kr_upload *u);

/*
 * The bytes are said to be blob @d: if they are, make them so, with their
 * metainfo beside them, durably.
 *
 * done: KR_OK: @m is the metainfo, moved to the callee (kr_metainfo_fini with
 * kr_alloc_heap()); @u is gone.  Else @m is NULL, and @u as before:
 * KR_E_DIGEST  the bytes are something else
 * KR_E_NOSPC, KR_E_IO, KR_E_NOMEM
 *
 * Returns KR_E_BUSY, KR_E_NOMEM: done will not come.
 */
typedef void kr_upload_finish_fn(void *ctx, enum kr_err err,
				 struct kr_metainfo *m);
KR_NODISCARD enum kr_err kr_upload_finish(struct kr_upload *u,
					  const struct kr_digest *d, void *ctx,
					  kr_upload_finish_fn *done);

#endif
