#include "core/digest.h"

#include <string.h>

#include "core/bytes.h"

static const struct {
	const char *name;
	uint8_t name_len;
	uint8_t len;
} algs[KR_DIGEST_ALG_COUNT] = {
	[KR_SHA256] = { "sha256", 6, KR_SHA256_LEN },
	[KR_SHA512] = { "sha512", 6, KR_SHA512_LEN },
};

size_t kr_digest_len(enum kr_digest_alg alg)
{
	kr_assert(alg < KR_DIGEST_ALG_COUNT);
	return algs[alg].len;
}

const char *kr_digest_alg_name(enum kr_digest_alg alg)
{
	kr_assert(alg < KR_DIGEST_ALG_COUNT);
	return algs[alg].name;
}

static bool is_lower_or_digit(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_encoded_char(char c)
{
	return is_lower_or_digit(c) || (c >= 'A' && c <= 'Z') || c == '=' ||
	       c == '_' || c == '-';
}

/*
 * algorithm ":" encoded, where the algorithm is words of [a-z0-9]+ joined by
 * one of +._- and the encoded part is of [a-zA-Z0-9=_-]+ (image-spec
 * descriptor.md).  @colon_at is where the colon stands.
 */
static bool is_well_formed(const char *text, size_t len, size_t colon_at)
{
	bool after_word = false;

	for (size_t i = 0; i < colon_at; i++) {
		const bool is_word = is_lower_or_digit(text[i]);

		if (!is_word &&
		    (!after_word || memchr("+._-", text[i], 4) == NULL))
			return false;
		after_word = is_word;
	}
	for (size_t i = colon_at + 1; i < len; i++) {
		if (!is_encoded_char(text[i]))
			return false;
	}
	return after_word && colon_at + 1 < len;
}

enum kr_err kr_digest_parse(const char *text, size_t len, struct kr_digest *ret)
{
	const char *colon = len > 0 ? memchr(text, ':', len) : NULL;

	if (colon == NULL)
		return KR_E_INVALID;
	const size_t name_len = (size_t)(colon - text);
	const size_t hex_len = len - name_len - 1;

	for (uint8_t a = 0; a < KR_DIGEST_ALG_COUNT; a++) {
		if (name_len != algs[a].name_len ||
		    memcmp(text, algs[a].name, name_len) != 0)
			continue;
		struct kr_digest d = { .alg = a };
		if (hex_len != 2U * algs[a].len ||
		    kr_hex_decode(colon + 1, hex_len, d.bytes) != KR_OK)
			return KR_E_INVALID;
		*ret = d;
		return KR_OK;
	}
	return is_well_formed(text, len, name_len) ? KR_E_UNSUPPORTED
						   : KR_E_INVALID;
}

char *kr_digest_print_hex(const struct kr_digest *d, char *buf)
{
	kr_hex_encode(d->bytes, kr_digest_len(d->alg), buf);
	return buf;
}

char *kr_digest_print(const struct kr_digest *d, char *buf)
{
	kr_assert(d->alg < KR_DIGEST_ALG_COUNT);
	const size_t name_len = algs[d->alg].name_len;

	memcpy(buf, algs[d->alg].name, name_len);
	buf[name_len] = ':';
	kr_digest_print_hex(d, buf + name_len + 1);
	return buf;
}

bool kr_digest_equal(const struct kr_digest *a, const struct kr_digest *b)
{
	return a->alg == b->alg &&
	       memcmp(a->bytes, b->bytes, KR_DIGEST_LEN_MAX) == 0;
}

/* All four words take part: who invents digests that agree in one word does
 * not get to fill one chain of a table with them for free. */
uint64_t kr_digest_hash(const struct kr_digest *d)
{
	uint64_t h = d->alg;

	for (size_t i = 0; i < KR_SHA256_LEN; i += 8) {
		h = (h ^ kr_get_be64(d->bytes + i)) *
		    UINT64_C(0x9e3779b97f4a7c15);
		h ^= h >> 32;
	}
	return h;
}
