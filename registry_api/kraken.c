#include "registry_api/kraken.h"

#include <string.h>

/* What follows @literal, if @s begins with it. */
static bool take(struct kr_bytes *s, const char *literal)
{
	const size_t len = strlen(literal);

	if (s->len < len || memcmp(s->ptr, literal, len) != 0)
		return false;
	s->ptr += len;
	s->len -= len;
	return true;
}

/* Split @s at the last @literal in it. */
static bool split(struct kr_bytes s, const char *literal,
		  struct kr_bytes *ret_before, struct kr_bytes *ret_behind)
{
	const size_t len = strlen(literal);

	for (size_t at = s.len; at-- > 0;) {
		if (s.len - at < len || memcmp(s.ptr + at, literal, len) != 0)
			continue;
		*ret_before = (struct kr_bytes){ s.ptr, at };
		*ret_behind =
			(struct kr_bytes){ s.ptr + at + len, s.len - at - len };
		return true;
	}
	return false;
}

static void set_fault(struct kr_route *r, enum kr_route_fault fault)
{
	if (r->fault == KR_ROUTE_FINE)
		r->fault = fault;
}

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
		set_fault(r, KR_ROUTE_BAD_NAME);
}

static void set_digest(struct kr_route *r, struct kr_bytes text)
{
	char full[KR_DIGEST_TEXT_MAX] = "sha256:";

	r->by_digest = true;
	if (text.len == 64 && memchr(text.ptr, ':', text.len) == NULL) {
		memcpy(full + 7, text.ptr, text.len);
		text = (struct kr_bytes){ (const uint8_t *)full, 71 };
	}
	if (kr_digest_parse((const char *)text.ptr, text.len, &r->digest) !=
	    KR_OK)
		set_fault(r, KR_ROUTE_BAD_DIGEST);
}

/* "repository:tag" */
static void set_image(struct kr_route *r, struct kr_bytes text)
{
	struct kr_bytes repo, tag;

	if (!split(text, ":", &repo, &tag)) {
		set_fault(r, KR_ROUTE_BAD_TAG);
		return;
	}
	set_repo(r, repo);
	if (kr_tag_is_valid(tag))
		copy_text(r->tag, tag);
	else
		set_fault(r, KR_ROUTE_BAD_TAG);
}

static void set_upload_id(struct kr_route *r, struct kr_bytes text)
{
	if (kr_upload_id_is_valid(text))
		copy_text(r->upload_id, text);
	else
		set_fault(r, KR_ROUTE_BAD_ID);
}

/* What stands behind "/blobs/". */
static void parse_blob(struct kr_bytes rest, bool internal,
		       struct kr_route *ret)
{
	struct kr_bytes digest, id;

	if (split(rest, "/uploads/", &digest, &id)) {
		ret->kind = KR_ROUTE_KRAKEN_UPLOAD;
		set_upload_id(ret, id);
	} else if (split(rest, "/uploads", &digest, &id) && id.len == 0) {
		ret->kind = KR_ROUTE_KRAKEN_UPLOADS;
	} else if (split(rest, "/prefetch", &digest, &id) && id.len == 0) {
		ret->kind = KR_ROUTE_KRAKEN_PREFETCH;
	} else {
		ret->kind = KR_ROUTE_KRAKEN_BLOB;
		digest = rest;
	}
	if (internal && ret->kind != KR_ROUTE_KRAKEN_BLOB)
		ret->kind = KR_ROUTE_UNKNOWN;
	else if (internal)
		ret->kind = KR_ROUTE_KRAKEN_STAT;
	set_digest(ret, digest);
}

static void parse_namespace(struct kr_bytes rest, bool internal,
			    struct kr_route *ret)
{
	struct kr_bytes name, blob;

	if (!split(rest, "/blobs/", &name, &blob))
		return;
	set_repo(ret, name);
	parse_blob(blob, internal, ret);
}

static void parse_tags(struct kr_bytes rest, struct kr_route *ret)
{
	struct kr_bytes tag, digest;

	ret->kind = KR_ROUTE_KRAKEN_TAG;
	if (split(rest, "/digest/", &tag, &digest)) {
		ret->kind = KR_ROUTE_KRAKEN_TAG_DIGEST;
		set_digest(ret, digest);
		rest = tag;
	}
	set_image(ret, rest);
}

static void parse_blobs(struct kr_bytes rest, struct kr_route *ret)
{
	struct kr_bytes digest, behind;

	ret->kind = KR_ROUTE_KRAKEN_BLOB_HERE;
	if (split(rest, "/locations", &digest, &behind) && behind.len == 0) {
		ret->kind = KR_ROUTE_KRAKEN_LOCATIONS;
		rest = digest;
	}
	set_digest(ret, rest);
}

static void parse_list(struct kr_bytes rest, struct kr_route *ret)
{
	ret->kind = KR_ROUTE_KRAKEN_LIST;
	if (rest.len <= KR_REPO_MAX)
		copy_text(ret->repo, rest);
	else
		set_fault(ret, KR_ROUTE_BAD_NAME);
}

static void parse_repository(struct kr_bytes rest, struct kr_route *ret)
{
	struct kr_bytes name, behind;

	if (!split(rest, "/tags", &name, &behind) || behind.len > 0)
		return;
	ret->kind = KR_ROUTE_KRAKEN_REPO_TAGS;
	set_repo(ret, name);
}

static void parse(struct kr_bytes s, struct kr_route *ret)
{
	if (take(&s, "/namespace/")) {
		parse_namespace(s, false, ret);
	} else if (take(&s, "/internal/namespace/")) {
		parse_namespace(s, true, ret);
	} else if (take(&s, "/tags/")) {
		parse_tags(s, ret);
	} else if (take(&s, "/preload/tags/")) {
		ret->kind = KR_ROUTE_KRAKEN_PRELOAD;
		set_image(ret, s);
	} else if (take(&s, "/remotes/tags/")) {
		ret->kind = KR_ROUTE_KRAKEN_REPLICATE;
		set_image(ret, s);
	} else if (take(&s, "/blobs/") || take(&s, "/internal/blobs/")) {
		parse_blobs(s, ret);
	} else if (take(&s, "/repositories/")) {
		parse_repository(s, ret);
	} else if (take(&s, "/list/")) {
		parse_list(s, ret);
	} else if (take(&s, "/registry/notifications")) {
		if (s.len == 0)
			ret->kind = KR_ROUTE_KRAKEN_NOTIFY;
	} else if (take(&s, "/proxy/v1/registry/prefetch") ||
		   take(&s, "/proxy/v2/registry/prefetch")) {
		if (s.len == 0)
			ret->kind = KR_ROUTE_KRAKEN_PREFETCH_IMAGE;
	}
}

static unsigned sets_of(enum kr_route_kind kind)
{
	switch (kind) {
	case KR_ROUTE_KRAKEN_TAG:
		return KR_KRAKEN_AGENT | KR_KRAKEN_INDEX;
	case KR_ROUTE_KRAKEN_BLOB:
		return KR_KRAKEN_AGENT | KR_KRAKEN_ORIGIN;
	case KR_ROUTE_KRAKEN_BLOB_HERE:
		return KR_KRAKEN_AGENT | KR_KRAKEN_ORIGIN;
	case KR_ROUTE_KRAKEN_PRELOAD:
		return KR_KRAKEN_AGENT;
	case KR_ROUTE_KRAKEN_UPLOADS:
	case KR_ROUTE_KRAKEN_UPLOAD:
	case KR_ROUTE_KRAKEN_PREFETCH:
	case KR_ROUTE_KRAKEN_STAT:
	case KR_ROUTE_KRAKEN_LOCATIONS:
		return KR_KRAKEN_ORIGIN;
	case KR_ROUTE_KRAKEN_PREFETCH_IMAGE:
	case KR_ROUTE_KRAKEN_NOTIFY:
		return KR_KRAKEN_PROXY;
	case KR_ROUTE_KRAKEN_TAG_DIGEST:
	case KR_ROUTE_KRAKEN_REPO_TAGS:
	case KR_ROUTE_KRAKEN_LIST:
	case KR_ROUTE_KRAKEN_REPLICATE:
		return KR_KRAKEN_INDEX;
	default:
		return 0;
	}
}

void kr_kraken_route_parse(struct kr_bytes path, unsigned sets,
			   struct kr_route *ret)
{
	*ret = (struct kr_route){ .kind = KR_ROUTE_UNKNOWN };
	parse(path, ret);
	if ((sets_of(ret->kind) & sets) == 0)
		*ret = (struct kr_route){ .kind = KR_ROUTE_UNKNOWN };
}
