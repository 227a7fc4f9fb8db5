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
	*ret = (struct kr_range){ size - n, n };
	return KR_OK;
}

/* KR_E_INVALID: not a range we know; KR_E_RANGE: one without a byte in it. */
static enum kr_err parse_spec(struct kr_bytes s, uint64_t size,
			      struct kr_range *ret, bool *ret_open_ended)
{
	uint64_t first, last = UINT64_MAX;
	const uint8_t *dash = s.len > 0 ? memchr(s.ptr, '-', s.len) : NULL;

	if (dash == NULL)
		return KR_E_INVALID;
	const struct kr_bytes a = { s.ptr, (size_t)(dash - s.ptr) };
	const struct kr_bytes b = { dash + 1, s.len - a.len - 1 };
	*ret_open_ended = a.len > 0 && b.len == 0;
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
	*ret = (struct kr_range){ first, last - first + 1 };
	return KR_OK;
}

/* The next element of a comma-separated list; false: there is none. */
static bool take_element(struct kr_bytes *list, struct kr_bytes *ret)
{
	if (list->ptr == NULL)
		return false;
	const uint8_t *comma =
		list->len > 0 ? memchr(list->ptr, ',', list->len) : NULL;
	const size_t n = comma ? (size_t)(comma - list->ptr) : list->len;

	*ret = trim((struct kr_bytes){ list->ptr, n });
	if (comma != NULL)
		*list = (struct kr_bytes){ comma + 1, list->len - n - 1 };
	else
		*list = (struct kr_bytes){ NULL, 0 };
	return true;
}

static bool touch(const struct kr_range *a, const struct kr_range *b)
{
	return a->offset <= b->offset + b->length &&
	       b->offset <= a->offset + a->length;
}

static void join(struct kr_range *a, const struct kr_range *b)
{
	const uint64_t end_a = a->offset + a->length;
	const uint64_t end_b = b->offset + b->length;

	a->offset = a->offset < b->offset ? a->offset : b->offset;
	a->length = (end_a > end_b ? end_a : end_b) - a->offset;
}

/* A range that grew may touch others in turn. */
static void add(struct kr_ranges *rs, struct kr_range r)
{
	uint32_t at = rs->count;

	for (uint32_t i = 0; i < rs->count;) {
		if (!touch(&rs->range[i], &r)) {
			i++;
			continue;
		}
		join(&r, &rs->range[i]);
		at = i < at ? i : at;
		rs->count--;
		memmove(&rs->range[i], &rs->range[i + 1],
			(rs->count - i) * sizeof(r));
		i = 0;
	}
	if (at > rs->count)
		at = rs->count;
	memmove(&rs->range[at + 1], &rs->range[at],
		(rs->count - at) * sizeof(r));
	rs->range[at] = r;
	rs->count++;
}

/* KR_E_INVALID: to be ignored. */
static enum kr_err parse_list(struct kr_bytes list, uint64_t size,
			      struct kr_ranges *ret)
{
	struct kr_bytes spec;
	uint32_t specs = 0;

	*ret = (struct kr_ranges){ .count = 0 };
	while (take_element(&list, &spec)) {
		struct kr_range r;
		bool open_ended = false;

		if (spec.len == 0) /* RFC 9110, 5.6.1.2 */
			continue;
		if (++specs > KR_RANGES_MAX)
			return KR_E_INVALID;
		const enum kr_err err = parse_spec(spec, size, &r, &open_ended);
		if (err == KR_E_INVALID)
			return err;
		ret->open_ended = open_ended && specs == 1;
		if (err == KR_OK)
			add(ret, r);
	}
	if (specs == 0)
		return KR_E_INVALID;
	return ret->count > 0 ? KR_OK : KR_E_RANGE;
}

enum kr_err kr_ranges_parse(struct kr_bytes text, uint64_t size,
			    struct kr_ranges *ret)
{
	struct kr_ranges rs;
	enum kr_err err = KR_E_INVALID;

	text = trim(text);
	if (take_unit(&text))
		err = parse_list(text, size, &rs);
	if (err == KR_E_RANGE)
		return err;
	*ret = err == KR_OK ? rs : (struct kr_ranges){ .count = 0 };
	return KR_OK;
}
