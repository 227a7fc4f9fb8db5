/*
 * peerwire/metainfo.h - what a swarm must know of a blob before it can trust
 * a piece of it.  PURE.
 *
 * Encoded as a MessagePack map (unknown keys are skipped):
 *
 *	"v" 1, "digest" "sha256:...", "size" u64, "piece" u32,
 *	"hashes" bin (32 bytes a piece, SHA-256, in order)
 *
 * Its id is the SHA-256 of the encoding as it was made, which is kept: whoever
 * passes a metainfo on passes on those bytes, keys that it does not know and
 * all.  A blob of 0 bytes has no pieces.
 */
#ifndef KR_PEERWIRE_METAINFO_H
#define KR_PEERWIRE_METAINFO_H

#include <stddef.h>
#include <stdint.h>

#include "core/alloc.h"
#include "core/digest.h"
#include "core/err.h"

enum {
	KR_PIECE_BYTES_MIN = 64 * 1024,
	KR_PIECE_BYTES_MAX = 64 * 1024 * 1024,
	KR_BLOCK_BYTES = 1024 * 1024, /* or the piece, if that is smaller */
	KR_METAINFO_PIECES_MAX = 1 << 20,
	KR_METAINFO_LEN_MAX = 32 * KR_METAINFO_PIECES_MAX + 512,
};

struct kr_metainfo {
	struct kr_digest digest; /* of the blob */
	uint64_t size_bytes;
	uint32_t piece_bytes; /* power of two */
	uint32_t piece_count;
	uint8_t id[KR_SHA256_LEN];
	const uint8_t *hashes; /* piece_count * KR_SHA256_LEN, in encoded */
	uint8_t *encoded;      /* as it was made or decoded, owned */
	size_t encoded_len;
};

/* Piece length for a blob of @size_bytes (SWARM.md, rule 1). */
uint32_t kr_metainfo_piece_bytes_for(uint64_t size_bytes);

/* Number of pieces of @size_bytes in pieces of @piece_bytes. */
uint32_t kr_metainfo_piece_count_for(uint64_t size_bytes, uint32_t piece_bytes);

/* Length of piece @piece: piece_bytes, or what is left for the last. */
uint32_t kr_metainfo_piece_len(const struct kr_metainfo *m, uint32_t piece);

/*
 * Make a metainfo from its parts; @hashes is copied.
 *
 * KR_E_INVALID  the parts contradict each other or the limits
 * KR_E_NOMEM    nothing was kept
 */
KR_NODISCARD enum kr_err kr_metainfo_make(const struct kr_alloc *alloc,
					  const struct kr_digest *digest,
					  uint64_t size_bytes,
					  uint32_t piece_bytes,
					  const uint8_t *hashes,
					  struct kr_metainfo *ret);

/*
 * Decode @buf, which must hold one metainfo and nothing else.
 *
 * KR_E_PROTO  not one, or it contradicts itself or the limits
 * KR_E_NOMEM  nothing was kept
 */
KR_NODISCARD enum kr_err kr_metainfo_decode(const struct kr_alloc *alloc,
					    const uint8_t *buf, size_t len,
					    struct kr_metainfo *ret);

/*
 * The same of a metainfo that must be that of @digest.
 *
 * KR_E_CORRUPT  it is of another blob: nothing was kept
 */
KR_NODISCARD enum kr_err kr_metainfo_decode_of(const struct kr_alloc *alloc,
					       const struct kr_digest *digest,
					       const uint8_t *buf, size_t len,
					       struct kr_metainfo *ret);

/* Upper bound of the encoding's length. */
size_t kr_metainfo_encoded_max(const struct kr_metainfo *m);

/*
 * Encode into @buf of @cap bytes; *ret_len bytes were written.  Keys that we do
 * not know are lost, and with them the id: @m->encoded is what others are given.
 * KR_E_TOOBIG.
 */
KR_NODISCARD enum kr_err kr_metainfo_encode(const struct kr_metainfo *m,
					    uint8_t *buf, size_t cap,
					    size_t *ret_len);

void kr_metainfo_fini(const struct kr_alloc *alloc, struct kr_metainfo *m);

#endif
