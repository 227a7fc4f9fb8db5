/*
 * The encoding is canonical on our side (fixed order of keys, shortest
 * integers), but a decoded metainfo keeps the id of the bytes it came from:
 * another writer's order of keys is as good, and its id is what the cluster
 * knows the blob by.  Hence struct kr_metainfo must not be re-encoded to find
 * its id, nor to be passed on.
 */
#include "peerwire/metainfo.h"

#include <stdbool.h>
#include <string.h>

#include "core/hash.h"
#include "core/mp.h"

enum {
	VERSION = 1,
	FIXED_LEN_MAX = 512, /* everything but the hashes */
};

#define KIB UINT64_C(1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

uint32_t kr_metainfo_piece_bytes_for(uint64_t size_bytes)
{
	static const struct {
		uint64_t up_to_bytes;
		uint32_t piece_bytes;
	} steps[] = {
		{ 64 * MIB, 256 * KIB }, { 4 * GIB, 1 * MIB },
		{ 16 * GIB, 2 * MIB },   { 64 * GIB, 4 * MIB },
		{ UINT64_MAX, 8 * MIB },
	};
	size_t i = 0;

	while (size_bytes > steps[i].up_to_bytes)
		i++;
	uint32_t piece_bytes = steps[i].piece_bytes;
	/* Above 8 TiB, pieces grow so that their number stays bounded. */
	while (piece_bytes < KR_PIECE_BYTES_MAX &&
	       kr_metainfo_piece_count_for(size_bytes, piece_bytes) >
		       KR_METAINFO_PIECES_MAX)
		piece_bytes *= 2;
	return piece_bytes;
}

uint32_t kr_metainfo_piece_count_for(uint64_t size_bytes, uint32_t piece_bytes)
{
	kr_assert(piece_bytes > 0);
	const uint64_t count = size_bytes / piece_bytes +
			       (size_bytes % piece_bytes != 0 ? 1 : 0);
	return count > UINT32_MAX ? UINT32_MAX : (uint32_t)count;
}

uint32_t kr_metainfo_piece_len(const struct kr_metainfo *m, uint32_t piece)
{
	kr_assert(piece < m->piece_count);
	const uint64_t left = m->size_bytes - (uint64_t)piece * m->piece_bytes;
	return left < m->piece_bytes ? (uint32_t)left : m->piece_bytes;
}

static bool sizes_ok(uint64_t size_bytes, uint32_t piece_bytes)
{
	return piece_bytes >= KR_PIECE_BYTES_MIN && /* first: no zero below */
	       piece_bytes <= KR_PIECE_BYTES_MAX &&
	       (piece_bytes & (piece_bytes - 1)) == 0 &&
	       kr_metainfo_piece_count_for(size_bytes, piece_bytes) <=
		       KR_METAINFO_PIECES_MAX;
}

static size_t hashes_len(const struct kr_metainfo *m)
{
	return (size_t)m->piece_count * KR_SHA256_LEN;
}

size_t kr_metainfo_encoded_max(const struct kr_metainfo *m)
{
	return FIXED_LEN_MAX + hashes_len(m);
}

enum kr_err kr_metainfo_encode(const struct kr_metainfo *m, uint8_t *buf,
			       size_t cap, size_t *ret_len)
{
	char text[KR_DIGEST_TEXT_MAX];
	struct kr_mp_writer w;

	kr_mp_w_init(&w, buf, cap);
	kr_mp_w_map(&w, 5);
	kr_mp_w_cstr(&w, "v");
	kr_mp_w_u64(&w, VERSION);
	kr_mp_w_cstr(&w, "digest");
	kr_mp_w_cstr(&w, kr_digest_print(&m->digest, text));
	kr_mp_w_cstr(&w, "size");
	kr_mp_w_u64(&w, m->size_bytes);
	kr_mp_w_cstr(&w, "piece");
	kr_mp_w_u64(&w, m->piece_bytes);
	kr_mp_w_cstr(&w, "hashes");
	kr_mp_w_bin(&w, m->hashes, hashes_len(m));
	return kr_mp_w_done(&w, ret_len);
}

/* And from then on its hashes are those of the encoding. */
static enum kr_err encode_own(const struct kr_alloc *alloc,
			      struct kr_metainfo *m)
{
	const size_t cap = kr_metainfo_encoded_max(m);
	uint8_t *buf = alloc->get(alloc->ctx, cap, 1);
	size_t len;

	if (buf == NULL)
		return KR_E_NOMEM;
	const enum kr_err err = kr_metainfo_encode(m, buf, cap, &len);
	kr_assert(err == KR_OK);
	kr_sha256(buf, len, m->id);
	m->encoded = buf;
	m->encoded_len = len;
	/* They are written last. */
	m->hashes = m->piece_count > 0 ? buf + len - hashes_len(m) : NULL;
	return KR_OK;
}

enum kr_err kr_metainfo_make(const struct kr_alloc *alloc,
			     const struct kr_digest *digest,
			     uint64_t size_bytes, uint32_t piece_bytes,
			     const uint8_t *hashes, struct kr_metainfo *ret)
{
	struct kr_metainfo m = { .digest = *digest,
				 .size_bytes = size_bytes,
				 .piece_bytes = piece_bytes,
				 .hashes = hashes };

	if (digest->alg >= KR_DIGEST_ALG_COUNT ||
	    !sizes_ok(size_bytes, piece_bytes))
		return KR_E_INVALID;
	m.piece_count = kr_metainfo_piece_count_for(size_bytes, piece_bytes);
	const enum kr_err err = encode_own(alloc, &m);
	if (err == KR_OK)
		*ret = m;
	return err;
}

struct fields { /* as they stand in the encoding, unchecked */
	uint64_t version, size_bytes, piece_bytes;
	struct kr_bytes digest, hashes;
	uint32_t seen; /* a bit per enum field */
};

enum field { F_VERSION, F_DIGEST, F_SIZE, F_PIECE, F_HASHES, F_COUNT };

static enum field field_of(struct kr_bytes key)
{
	static const char *const names[F_COUNT] = { "v", "digest", "size",
						    "piece", "hashes" };
	enum field f = F_VERSION;

	while (f < F_COUNT && (strlen(names[f]) != key.len ||
			       memcmp(names[f], key.ptr, key.len) != 0))
		f++;
	return f;
}

static enum kr_err read_field(struct kr_mp_reader *r, struct fields *f)
{
	struct kr_bytes key;
	enum kr_mp_type type;
	enum kr_err err = kr_mp_r_type(r, &type);

	if (err == KR_OK && type != KR_MP_STR) { /* not a key of ours */
		err = kr_mp_r_skip(r);
		return err == KR_OK ? kr_mp_r_skip(r) : err;
	}
	if (err == KR_OK)
		err = kr_mp_r_str(r, &key);
	if (err != KR_OK)
		return err;
	const enum field field = field_of(key);
	f->seen |= UINT32_C(1) << field;
	switch (field) {
	case F_VERSION:
		return kr_mp_r_u64(r, &f->version);
	case F_DIGEST:
		return kr_mp_r_str(r, &f->digest);
	case F_SIZE:
		return kr_mp_r_u64(r, &f->size_bytes);
	case F_PIECE:
		return kr_mp_r_u64(r, &f->piece_bytes);
	case F_HASHES:
		return kr_mp_r_bin(r, &f->hashes);
	case F_COUNT:
		break;
	}
	return kr_mp_r_skip(r);
}

static enum kr_err read_fields(const uint8_t *buf, size_t len, struct fields *f)
{
	const uint32_t all = (UINT32_C(1) << F_COUNT) - 1;
	struct kr_mp_reader r;
	uint32_t pairs;

	kr_mp_r_init_whole(&r, buf, len);
	enum kr_err err = kr_mp_r_map(&r, &pairs);
	for (uint32_t i = 0; err == KR_OK && i < pairs; i++)
		err = read_field(&r, f);
	if (err == KR_OK)
		err = kr_mp_r_end(&r);
	if (err == KR_OK && (f->seen & all) != all)
		err = KR_E_PROTO;
	return err;
}

enum kr_err kr_metainfo_decode(const struct kr_alloc *alloc, const uint8_t *buf,
			       size_t len, struct kr_metainfo *ret)
{
	struct fields f = { 0 };
	struct kr_metainfo m = { 0 };

	if (len > KR_METAINFO_LEN_MAX)
		return KR_E_PROTO;
	enum kr_err err = read_fields(buf, len, &f);
	if (err != KR_OK)
		return err;
	if (f.version != VERSION || f.piece_bytes > KR_PIECE_BYTES_MAX ||
	    !sizes_ok(f.size_bytes, (uint32_t)f.piece_bytes) ||
	    kr_digest_parse((const char *)f.digest.ptr, f.digest.len,
			    &m.digest) != KR_OK)
		return KR_E_PROTO;
	m.size_bytes = f.size_bytes;
	m.piece_bytes = (uint32_t)f.piece_bytes;
	m.piece_count =
		kr_metainfo_piece_count_for(m.size_bytes, m.piece_bytes);
	if (f.hashes.len != hashes_len(&m))
		return KR_E_PROTO;
	m.encoded = alloc->get(alloc->ctx, len, 1);
	if (m.encoded == NULL)
		return KR_E_NOMEM;
	memcpy(m.encoded, buf, len);
	m.encoded_len = len;
	if (m.piece_count > 0)
		m.hashes = m.encoded + (f.hashes.ptr - buf);
	kr_sha256(buf, len, m.id);
	*ret = m;
	return KR_OK;
}

enum kr_err kr_metainfo_decode_of(const struct kr_alloc *alloc,
				  const struct kr_digest *digest,
				  const uint8_t *buf, size_t len,
				  struct kr_metainfo *ret)
{
	struct kr_metainfo m;
	const enum kr_err err = kr_metainfo_decode(alloc, buf, len, &m);

	if (err != KR_OK)
		return err;
	if (!kr_digest_equal(&m.digest, digest)) {
		kr_metainfo_fini(alloc, &m);
		return KR_E_CORRUPT;
	}
	*ret = m;
	return KR_OK;
}

void kr_metainfo_fini(const struct kr_alloc *alloc, struct kr_metainfo *m)
{
	alloc->put(alloc->ctx, m->encoded);
	*m = (struct kr_metainfo){ 0 };
}
