/* The digest of a blob and the hashes of its pieces, in one pass. */
#include <stdlib.h>
#include <string.h>

#include "control/blob_hash.h"
#include "core/alloc.h"
#include "core/bytes.h"

enum { STATE_VERSION = 1, STATE_HEAD_LEN = 1 + 4 + 8 + 4 };

enum kr_err kr_blob_hash_init(struct kr_blob_hash *h, enum kr_digest_alg alg,
			      uint32_t piece_bytes)
{
	*h = (struct kr_blob_hash){
		.alg = (uint8_t)alg,
		.piece_bytes = piece_bytes,
	};
	enum kr_err err = kr_hash_init(&h->blob, alg);

	if (err != KR_OK)
		return err;
	err = kr_hash_init(&h->piece, KR_SHA256);
	if (err != KR_OK)
		kr_hash_fini(&h->blob);
	return err;
}

static enum kr_err end_piece(struct kr_blob_hash *h)
{
	struct kr_digest d;

	if (h->count == KR_METAINFO_PIECES_MAX)
		return KR_E_TOOBIG;
	if (h->count == h->cap) {
		const uint32_t cap = h->cap == 0 ? 64 : 2 * h->cap;
		uint8_t *p = realloc(h->hashes, (size_t)cap * KR_SHA256_LEN);

		if (p == NULL)
			return KR_E_NOMEM;
		h->hashes = p;
		h->cap = cap;
	}
	kr_hash_final(&h->piece, &d);
	memcpy(h->hashes + (size_t)h->count * KR_SHA256_LEN, d.bytes,
	       KR_SHA256_LEN);
	h->count++;
	return kr_hash_init(&h->piece, KR_SHA256);
}

static void update_both(struct kr_blob_hash *h, const uint8_t *buf, size_t len)
{
	if (h->alg == KR_SHA256) {
		kr_hash_update_pair(&h->blob, buf, &h->piece, buf, len);
		return;
	}
	kr_hash_update(&h->blob, buf, len);
	kr_hash_update(&h->piece, buf, len);
}

enum kr_err kr_blob_hash_update(struct kr_blob_hash *h, const uint8_t *buf,
				size_t len)
{
	enum kr_err err = KR_OK;

	if (h->piece_bytes == 0) {
		kr_hash_update(&h->blob, buf, len);
		h->total_bytes += len;
		return KR_OK;
	}
	while (len > 0 && err == KR_OK) {
		const uint64_t left =
			h->piece_bytes - h->total_bytes % h->piece_bytes;
		const size_t n = len < left ? len : (size_t)left;

		update_both(h, buf, n);
		h->total_bytes += n;
		buf += n;
		len -= n;
		if (n == left)
			err = end_piece(h);
	}
	return err;
}

enum kr_err kr_blob_hash_final(struct kr_blob_hash *h,
			       struct kr_digest *ret_digest,
			       struct kr_metainfo *ret_meta)
{
	struct kr_digest d;
	enum kr_err err = KR_OK;

	if (h->piece_bytes != 0 && h->total_bytes % h->piece_bytes != 0)
		err = end_piece(h);
	if (err == KR_OK) {
		kr_hash_final(&h->blob, &d);
		if (ret_meta != NULL)
			err = kr_metainfo_make(kr_alloc_heap(), &d,
					       h->total_bytes, h->piece_bytes,
					       h->hashes, ret_meta);
	}
	if (err == KR_OK)
		*ret_digest = d;
	kr_blob_hash_fini(h);
	return err;
}

void kr_blob_hash_fini(struct kr_blob_hash *h)
{
	kr_hash_fini(&h->blob);
	kr_hash_fini(&h->piece);
	free(h->hashes);
	*h = (struct kr_blob_hash){ 0 };
}

/* version, piece length, total, count; hashes; the two states. */
enum kr_err kr_blob_hash_save(const struct kr_blob_hash *h, uint8_t *buf,
			      size_t cap, size_t *ret_len)
{
	const size_t hashes = (size_t)h->count * KR_SHA256_LEN;
	const size_t len =
		STATE_HEAD_LEN + hashes + 2 * (size_t)KR_HASH_STATE_LEN;

	if (h->alg != KR_SHA256)
		return KR_E_UNSUPPORTED;
	if (len > cap)
		return KR_E_TOOBIG;
	buf[0] = STATE_VERSION;
	kr_put_be32(buf + 1, h->piece_bytes);
	kr_put_be64(buf + 5, h->total_bytes);
	kr_put_be32(buf + 13, h->count);
	if (hashes > 0)
		memcpy(buf + STATE_HEAD_LEN, h->hashes, hashes);
	enum kr_err err = kr_hash_save(&h->blob, buf + STATE_HEAD_LEN + hashes);

	if (err == KR_OK)
		err = kr_hash_save(&h->piece, buf + STATE_HEAD_LEN + hashes +
						      KR_HASH_STATE_LEN);
	if (err == KR_OK)
		*ret_len = len;
	return err;
}

static bool head_is_sound(const uint8_t *buf, size_t len)
{
	if (len < STATE_HEAD_LEN || buf[0] != STATE_VERSION)
		return false;
	const uint32_t piece = kr_get_be32(buf + 1);
	const uint64_t total = kr_get_be64(buf + 5);
	const uint32_t count = kr_get_be32(buf + 13);

	return piece >= KR_PIECE_BYTES_MIN && piece <= KR_PIECE_BYTES_MAX &&
	       (piece & (piece - 1)) == 0 && count <= KR_METAINFO_PIECES_MAX &&
	       total / piece == count &&
	       len == STATE_HEAD_LEN + (size_t)count * KR_SHA256_LEN +
			       2 * (size_t)KR_HASH_STATE_LEN;
}

static enum kr_err load_states(struct kr_blob_hash *h, const uint8_t *buf)
{
	enum kr_err err = kr_hash_load(&h->blob, buf);

	if (err != KR_OK)
		return err;
	err = kr_hash_load(&h->piece, buf + KR_HASH_STATE_LEN);
	if (err != KR_OK) {
		kr_hash_fini(&h->blob);
		return err;
	}
	if (h->blob.total_bytes == h->total_bytes &&
	    h->piece.total_bytes == h->total_bytes % h->piece_bytes)
		return KR_OK;
	kr_hash_fini(&h->blob);
	kr_hash_fini(&h->piece);
	return KR_E_CORRUPT;
}

enum kr_err kr_blob_hash_load(struct kr_blob_hash *h, const uint8_t *buf,
			      size_t len)
{
	if (!head_is_sound(buf, len))
		return KR_E_CORRUPT;
	struct kr_blob_hash x = {
		.alg = KR_SHA256,
		.piece_bytes = kr_get_be32(buf + 1),
		.total_bytes = kr_get_be64(buf + 5),
		.count = kr_get_be32(buf + 13),
	};
	const size_t hashes = (size_t)x.count * KR_SHA256_LEN;

	x.cap = x.count;
	if (hashes > 0) {
		x.hashes = malloc(hashes);
		if (x.hashes == NULL)
			return KR_E_NOMEM;
		memcpy(x.hashes, buf + STATE_HEAD_LEN, hashes);
	}
	const enum kr_err err = load_states(&x, buf + STATE_HEAD_LEN + hashes);

	if (err != KR_OK) {
		free(x.hashes);
		return err;
	}
	*h = x;
	return KR_OK;
}
