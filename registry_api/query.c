#include "registry_api/query.h"

#include <stdbool.h>
#include <string.h>

enum { DECIMAL_DIGITS_MAX = 19 }; /* 10^19 - 1 fits in 64 bits */

static int hex_value(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Decode the escape at @in[i]; -1 when there is no good one. */
static int escape_at(struct kr_bytes in, size_t i)
{
	if (in.len - i < 3)
		return -1;
	const int hi = hex_value(in.ptr[i + 1]);
	const int lo = hex_value(in.ptr[i + 2]);
	if (hi < 0 || lo < 0 || (hi == 0 && lo == 0))
		return -1;
	return hi * 16 + lo;
}

enum kr_err kr_percent_decode(struct kr_bytes in, char *out, size_t cap,
			      size_t *ret_len)
{
	size_t n = 0;

	for (size_t i = 0; i < in.len; i++) {
		int c = in.ptr[i];
		if (c == '%') {
			c = escape_at(in, i);
			if (c < 0)
				return KR_E_INVALID;
			i += 2;
		}
		if (n + 1 >= cap)
			return KR_E_TOOBIG;
		out[n++] = (char)c;
	}
	if (cap == 0)
		return KR_E_TOOBIG;
	out[n] = '\0';
	*ret_len = n;
	return KR_OK;
}

/* Split the next "key=value" off @query.  False: there is none. */
static bool next_pair(struct kr_bytes *query, struct kr_bytes *key,
		      struct kr_bytes *value)
{
	if (query->len == 0)
		return false;
	const uint8_t *amp = memchr(query->ptr, '&', query->len);
	const size_t len = amp ? (size_t)(amp - query->ptr) : query->len;
	const uint8_t *eq = memchr(query->ptr, '=', len);
	const size_t key_len = eq ? (size_t)(eq - query->ptr) : len;

	*key = (struct kr_bytes){ query->ptr, key_len };
	*value = (struct kr_bytes){ query->ptr + len, 0 };
	if (eq != NULL)
		*value = (struct kr_bytes){ eq + 1, len - key_len - 1 };
	const size_t used = amp ? len + 1 : len;
	query->ptr += used;
	query->len -= used;
	return true;
}

enum kr_err kr_query_take(struct kr_bytes *query, const char *key, char *out,
			  size_t cap)
{
	const size_t key_len = strlen(key);
	struct kr_bytes k, v;
	size_t len;

	while (next_pair(query, &k, &v))
		if (k.len == key_len && memcmp(k.ptr, key, key_len) == 0)
			return kr_percent_decode(v, out, cap, &len);
	return KR_E_NOTFOUND;
}

enum kr_err kr_query_get(struct kr_bytes query, const char *key, char *out,
			 size_t cap)
{
	return kr_query_take(&query, key, out, cap);
}

enum kr_err kr_query_get_u32(struct kr_bytes query, const char *key,
			     uint32_t max, uint32_t *ret)
{
	char text[DECIMAL_DIGITS_MAX + 2];
	uint64_t v;
	enum kr_err err = kr_query_get(query, key, text, sizeof(text));

	if (err != KR_OK)
		return err == KR_E_NOTFOUND ? err : KR_E_INVALID;
	err = kr_decimal_parse(
		(struct kr_bytes){ (const uint8_t *)text, strlen(text) }, &v);
	if (err != KR_OK || v > max)
		return KR_E_INVALID;
	*ret = (uint32_t)v;
	return KR_OK;
}

enum kr_err kr_decimal_parse(struct kr_bytes text, uint64_t *ret)
{
	uint64_t v = 0;

	if (text.len == 0 || text.len > DECIMAL_DIGITS_MAX)
		return KR_E_INVALID;
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] < '0' || text.ptr[i] > '9')
			return KR_E_INVALID;
		v = v * 10 + (uint64_t)(text.ptr[i] - '0');
	}
	*ret = v;
	return KR_OK;
}
