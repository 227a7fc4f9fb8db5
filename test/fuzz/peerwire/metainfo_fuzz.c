/*
 * test/fuzz/peerwire/metainfo_fuzz.c - a metainfo that decodes agrees with
 * itself, encodes, and comes back the same.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "peerwire/metainfo.h"

static void check_parts(const struct kr_metainfo *m)
{
	uint64_t sum = 0;

	kr_assert(m->piece_count <= KR_METAINFO_PIECES_MAX);
	for (uint32_t i = 0; i < m->piece_count; i++)
		sum += kr_metainfo_piece_len(m, i);
	kr_assert(sum == m->size_bytes);
}

static void check_same(const struct kr_metainfo *a, const struct kr_metainfo *b)
{
	kr_assert(kr_digest_equal(&a->digest, &b->digest));
	kr_assert(a->size_bytes == b->size_bytes);
	kr_assert(a->piece_bytes == b->piece_bytes);
	kr_assert(a->piece_count == b->piece_count);
	kr_assert(a->piece_count == 0 ||
		  memcmp(a->hashes, b->hashes,
			 (size_t)a->piece_count * KR_SHA256_LEN) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct kr_alloc *heap = kr_alloc_heap();
	struct kr_metainfo m, back;
	size_t len;

	if (kr_metainfo_decode(heap, data, size, &m) != KR_OK)
		return 0;
	check_parts(&m);
	kr_assert(m.encoded_len == size && memcmp(m.encoded, data, size) == 0);
	const size_t cap = kr_metainfo_encoded_max(&m);
	uint8_t *buf = malloc(cap);
	if (buf == NULL)
		abort();
	kr_assert(kr_metainfo_encode(&m, buf, cap, &len) == KR_OK);
	kr_assert(kr_metainfo_decode(heap, buf, len, &back) == KR_OK);
	check_same(&m, &back);
	const int same_bytes = len == size && memcmp(buf, data, len) == 0;
	const int same_id = memcmp(m.id, back.id, sizeof(m.id)) == 0;
	kr_assert(same_bytes == same_id);
	kr_metainfo_fini(heap, &back);
	kr_metainfo_fini(heap, &m);
	free(buf);
	return 0;
}
