#include "registry_api/range.h"

#include <string.h>

#include "registry_api/query.h"

static struct kr_bytes trim(struct kr_bytes s)
{
	while (s.len > 0 && (s.ptr[0] == ' ' || s.ptr[0] == '\t')) {
		s.ptr++;
		s.len--;
	}
	while (s.len > 0 &&
	       (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t'))
		s.len--;
	return s;
}

/* Units are compared without regard to case (RFC 9110, 14.1). */
static bool take_unit(struct kr_bytes *s)
{
	static const char unit[] = "bytes=";

	if (s->len < 6)
		return false;
	for (size_t i = 0; i < 6; i++) {
		const uint8_t c = s->ptr[i];
		const uint8_t lower =
			c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
		if (lower != (uint8_t)unit[i])
			return false;
	}
	s->ptr += 6;
	s->len -= 6;
	return true;
}

static enum kr_err parse_suffix(struct kr_bytes text, uint64_t size,
				struct kr_range *ret)
{
	uint64_t n;

	if (kr_decimal_parse(text, &n) != KR_OK)
		return KR_E_INVALID;
	if (n == 0 || size == 0)
		return KR_E_RANGE;
	if (n > size)
		n = size;
	*ret = (struct kr_range){ size - n, n, true };
	return KR_OK;
}

/* KR_E_INVALID: not a range we know. */
static enum kr_err parse_spec(struct kr_bytes s, uint64_t size,
			      struct kr_range *ret)
{
	uint64_t first, last = UINT64_MAX;
	const uint8_t *dash = s.len > 0 ? memchr(s.ptr, '-', s.len) : NULL;

	if (dash == NULL)
		return KR_E_INVALID;
	const struct kr_bytes a = { s.ptr, (size_t)(dash - s.ptr) };
	const struct kr_bytes b = { dash + 1, s.len - a.len - 1 };
	if (a.len == 0)
		return parse_suffix(b, size, ret);
	if (kr_decimal_parse(a, &first) != KR_OK)
		return KR_E_INVALID;
	if (b.len > 0 && kr_decimal_parse(b, &last) != KR_OK)
		return KR_E_INVALID;
	if (last < first)
		return KR_E_INVALID;
	if (first >= size)
		return KR_E_RANGE;
	if (last > size - 1)
		last = size - 1;
	*ret = (struct kr_range){ first, last - first + 1, true };
	return KR_OK;
}

enum kr_err kr_range_parse(struct kr_bytes text, uint64_t size,
			   struct kr_range *ret)
{
	struct kr_range r = { 0, size, false };

	text = trim(text);
	if (take_unit(&text) && parse_spec(trim(text), size, &r) == KR_E_RANGE)
		return KR_E_RANGE;
	*ret = r;
	return KR_OK;
}
