#include "registry_api/grammar.h"

#include <string.h>

static bool equals(struct kr_bytes s, const char *literal)
{
	return s.len == strlen(literal) && memcmp(s.ptr, literal, s.len) == 0;
}

static bool ends_with(struct kr_bytes s, const char *literal)
{
	const size_t len = strlen(literal);

	return s.len >= len && memcmp(s.ptr + s.len - len, literal, len) == 0;
}

static bool starts_with(struct kr_bytes s, const char *literal)
{
	const size_t len = strlen(literal);

	return s.len >= len && memcmp(s.ptr, literal, len) == 0;
}

static bool is_lower_alnum(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

enum kr_method kr_method_parse(struct kr_bytes text)
{
	static const char *const names[] = {
		[KR_GET] = "GET", [KR_HEAD] = "HEAD",   [KR_POST] = "POST",
		[KR_PUT] = "PUT", [KR_PATCH] = "PATCH", [KR_DELETE] = "DELETE",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (equals(text, names[i]))
			return (enum kr_method)i;
	return KR_METHOD_OTHER;
}

/* Length of the separator at @s: one dot, one or two underscores, any number
 * of dashes.  0: none. */
static size_t separator_len(struct kr_bytes s)
{
	size_t n = 0;

	if (s.len == 0)
		return 0;
	if (s.ptr[0] == '.')
		return 1;
	if (s.ptr[0] == '_')
		return s.len > 1 && s.ptr[1] == '_' ? 2 : 1;
	while (n < s.len && s.ptr[n] == '-')
		n++;
	return n;
}

/* Consume one path component; false: there is none. */
static bool take_component(struct kr_bytes *s)
{
	for (;;) {
		size_t n = 0;
		while (n < s->len && is_lower_alnum(s->ptr[n]))
			n++;
		if (n == 0)
			return false;
		s->ptr += n;
		s->len -= n;
		const size_t sep = separator_len(*s);
		if (sep == 0)
			return true;
		s->ptr += sep;
		s->len -= sep;
	}
}

bool kr_repo_is_valid(struct kr_bytes s)
{
	if (s.len == 0 || s.len > KR_REPO_MAX)
		return false;
	for (;;) {
		if (!take_component(&s))
			return false;
		if (s.len == 0)
			return true;
		if (s.ptr[0] != '/')
			return false;
		s.ptr++;
		s.len--;
	}
}

static bool is_word(uint8_t c)
{
	return is_lower_alnum(c) || (c >= 'A' && c <= 'Z') || c == '_';
}

bool kr_tag_is_valid(struct kr_bytes s)
{
	if (s.len == 0 || s.len > KR_TAG_MAX || !is_word(s.ptr[0]))
		return false;
	for (size_t i = 1; i < s.len; i++)
		if (!is_word(s.ptr[i]) && s.ptr[i] != '.' && s.ptr[i] != '-')
			return false;
	return true;
}

bool kr_upload_id_is_valid(struct kr_bytes s)
{
	if (s.len != KR_UPLOAD_ID_LEN)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		const uint8_t c = s.ptr[i];
		const bool hex =
			(c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
		const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
		if (dash ? c != '-' : !hex)
			return false;
	}
	return true;
}

/* Copy @s, known to fit, with a NUL. */
static void copy_text(char *dst, struct kr_bytes s)
{
	memcpy(dst, s.ptr, s.len);
	dst[s.len] = '\0';
}

static void set_repo(struct kr_route *r, struct kr_bytes name)
{
	if (kr_repo_is_valid(name))
		copy_text(r->repo, name);
	else
		r->fault = KR_ROUTE_BAD_NAME;
}

static void set_digest(struct kr_route *r, struct kr_bytes text)
{
	r->by_digest = true;
	if (kr_digest_parse((const char *)text.ptr, text.len, &r->digest) !=
		    KR_OK &&
	    r->fault == KR_ROUTE_FINE)
		r->fault = KR_ROUTE_BAD_DIGEST;
}

static void set_reference(struct kr_route *r, struct kr_bytes text)
{
	if (memchr(text.ptr, ':', text.len) != NULL)
		set_digest(r, text);
	else if (kr_tag_is_valid(text))
		copy_text(r->tag, text);
	else if (r->fault == KR_ROUTE_FINE)
		r->fault = KR_ROUTE_BAD_TAG;
}

static void set_upload_id(struct kr_route *r, struct kr_bytes text)
{
	if (kr_upload_id_is_valid(text))
		copy_text(r->upload_id, text);
	else if (r->fault == KR_ROUTE_FINE)
		r->fault = KR_ROUTE_BAD_ID;
}

/* What may stand between a name and the last segment.  A name may itself
 * contain "blobs" or "manifests", so endpoints are told from the end. */
/* clang-format off */
static const struct {
	const char *middle;
	enum kr_route_kind kind;
	void (*set_last)(struct kr_route *, struct kr_bytes);
} endings[] = {
	{ "/blobs/uploads", KR_ROUTE_UPLOAD,   set_upload_id },
	{ "/blobs",         KR_ROUTE_BLOB,     set_digest },
	{ "/manifests",     KR_ROUTE_MANIFEST, set_reference },
	{ "/referrers",     KR_ROUTE_REFERRERS, set_digest },
};
/* clang-format on */

static void parse_last_segment(struct kr_bytes rest, struct kr_route *ret)
{
	size_t at = rest.len;

	while (at > 0 && rest.ptr[at - 1] != '/')
		at--;
	if (at == 0)
		return;
	const struct kr_bytes last = { rest.ptr + at, rest.len - at };
	struct kr_bytes before = { rest.ptr, at - 1 };
	for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
		if (!ends_with(before, endings[i].middle))
			continue;
		before.len -= strlen(endings[i].middle);
		ret->kind = endings[i].kind;
		set_repo(ret, before);
		endings[i].set_last(ret, last);
		return;
	}
}

/* @rest is what follows "/v2/". */
static void parse_v2(struct kr_bytes rest, struct kr_route *ret)
{
	/* clang-format off */
	static const struct {
		const char *end;
		enum kr_route_kind kind;
	} whole[] = {
		{ "/blobs/uploads/", KR_ROUTE_UPLOADS },
		{ "/blobs/uploads",  KR_ROUTE_UPLOADS },
		{ "/tags/list",      KR_ROUTE_TAGS },
	};
	/* clang-format on */

	if (rest.len == 0) {
		ret->kind = KR_ROUTE_BASE;
		return;
	}
	if (equals(rest, "_catalog")) { /* no name begins with "_" */
		ret->kind = KR_ROUTE_CATALOG;
		return;
	}
	for (size_t i = 0; i < sizeof(whole) / sizeof(whole[0]); i++) {
		if (!ends_with(rest, whole[i].end))
			continue;
		ret->kind = whole[i].kind;
		rest.len -= strlen(whole[i].end);
		set_repo(ret, rest);
		return;
	}
	parse_last_segment(rest, ret);
}

void kr_route_parse(struct kr_bytes path, struct kr_route *ret)
{
	*ret = (struct kr_route){ .kind = KR_ROUTE_UNKNOWN };
	if (equals(path, "/v2"))
		ret->kind = KR_ROUTE_BASE;
	else if (starts_with(path, "/v2/"))
		parse_v2((struct kr_bytes){ path.ptr + 4, path.len - 4 }, ret);
	else if (equals(path, "/health"))
		ret->kind = KR_ROUTE_HEALTH;
	else if (equals(path, "/readiness"))
		ret->kind = KR_ROUTE_READINESS;
	else if (equals(path, "/metrics"))
		ret->kind = KR_ROUTE_METRICS;
}

const char *kr_route_name(enum kr_route_kind kind)
{
	static const char *const names[KR_ROUTE_COUNT] = {
		[KR_ROUTE_UNKNOWN] = "unknown",
		[KR_ROUTE_BASE] = "base",
		[KR_ROUTE_BLOB] = "blob",
		[KR_ROUTE_UPLOADS] = "uploads",
		[KR_ROUTE_UPLOAD] = "upload",
		[KR_ROUTE_MANIFEST] = "manifest",
		[KR_ROUTE_TAGS] = "tags",
		[KR_ROUTE_REFERRERS] = "referrers",
		[KR_ROUTE_CATALOG] = "catalog",
		[KR_ROUTE_HEALTH] = "health",
		[KR_ROUTE_READINESS] = "readiness",
		[KR_ROUTE_METRICS] = "metrics",
		[KR_ROUTE_KRAKEN_TAG] = "kraken_tag",
		[KR_ROUTE_KRAKEN_TAG_DIGEST] = "kraken_tag_digest",
		[KR_ROUTE_KRAKEN_REPLICATE] = "kraken_replicate",
		[KR_ROUTE_KRAKEN_REPO_TAGS] = "kraken_repo_tags",
		[KR_ROUTE_KRAKEN_LIST] = "kraken_list",
		[KR_ROUTE_KRAKEN_BLOB] = "kraken_blob",
		[KR_ROUTE_KRAKEN_STAT] = "kraken_stat",
		[KR_ROUTE_KRAKEN_UPLOADS] = "kraken_uploads",
		[KR_ROUTE_KRAKEN_UPLOAD] = "kraken_upload",
		[KR_ROUTE_KRAKEN_PREFETCH] = "kraken_prefetch",
		[KR_ROUTE_KRAKEN_BLOB_HERE] = "kraken_blob_here",
		[KR_ROUTE_KRAKEN_LOCATIONS] = "kraken_locations",
		[KR_ROUTE_KRAKEN_PRELOAD] = "kraken_preload",
		[KR_ROUTE_KRAKEN_PREFETCH_IMAGE] = "kraken_prefetch_image",
		[KR_ROUTE_KRAKEN_NOTIFY] = "kraken_notify",
	};

	return names[kind];
}
