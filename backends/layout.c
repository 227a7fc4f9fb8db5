/* Names to paths and back, as Kraken's pathers have them. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "backends/backend.h"

#define BLOB_HEAD "docker/registry/v2/blobs/sha256/"
#define BLOB_TAIL "/data"
#define TAG_HEAD  "docker/registry/v2/repositories/"
#define TAG_MID   "/_manifests/tags/"
#define TAG_TAIL  "/current/link"

enum { HEX_LEN = 64 };

static const char *const names[KR_LAYOUT_COUNT] = {
	[KR_LAYOUT_SHARDED_DOCKER_BLOB] = "sharded_docker_blob",
	[KR_LAYOUT_DOCKER_TAG] = "docker_tag",
	[KR_LAYOUT_IDENTITY] = "identity",
};

const char *kr_backend_layout_name(enum kr_backend_layout layout)
{
	kr_assert(layout < KR_LAYOUT_COUNT);
	return names[layout];
}

enum kr_err kr_backend_layout_parse(const char *text,
				    enum kr_backend_layout *ret)
{
	for (unsigned i = 0; i < KR_LAYOUT_COUNT; i++) {
		if (strcmp(text, names[i]) != 0)
			continue;
		*ret = (enum kr_backend_layout)i;
		return KR_OK;
	}
	return KR_E_INVALID;
}

static bool is_hex(const char *s, size_t len)
{
	return len == HEX_LEN && strspn(s, "0123456789abcdef") >= HEX_LEN;
}

/* A relative path that stays below where it begins. */
static bool is_safe(const char *path, size_t len)
{
	size_t start = 0;

	if (len == 0)
		return false;
	for (size_t i = 0; i <= len; i++) {
		const unsigned char c = i < len ? (unsigned char)path[i] : '/';

		if (c < 0x20 || c == 0x7f)
			return false;
		if (c != '/')
			continue;
		const size_t part = i - start;
		if (part == 0 || (part == 1 && path[start] == '.') ||
		    (part == 2 && memcmp(path + start, "..", 2) == 0))
			return false;
		start = i + 1;
	}
	return true;
}

static enum kr_err fits(int printed, size_t cap)
{
	return printed >= 0 && (size_t)printed < cap ? KR_OK : KR_E_TOOBIG;
}

static enum kr_err tag_path(const char *name, char *buf, size_t cap)
{
	const char *colon = strrchr(name, ':');

	if (colon == NULL || !is_safe(name, (size_t)(colon - name)) ||
	    !is_safe(colon + 1, strlen(colon + 1)) ||
	    strchr(colon + 1, '/') != NULL)
		return KR_E_INVALID;
	return fits(snprintf(buf, cap, TAG_HEAD "%.*s" TAG_MID "%s" TAG_TAIL,
			     (int)(colon - name), name, colon + 1),
		    cap);
}

enum kr_err kr_backend_path(enum kr_backend_layout layout, const char *name,
			    char *buf, size_t cap)
{
	kr_assert(layout < KR_LAYOUT_COUNT);
	if (strlen(name) >= KR_BACKEND_PATH_MAX)
		return KR_E_TOOBIG;
	if (layout == KR_LAYOUT_DOCKER_TAG)
		return tag_path(name, buf, cap);
	if (layout == KR_LAYOUT_IDENTITY)
		return is_safe(name, strlen(name))
			       ? fits(snprintf(buf, cap, "%s", name), cap)
			       : KR_E_INVALID;
	if (!is_hex(name, strlen(name)))
		return KR_E_INVALID;
	return fits(
		snprintf(buf, cap, BLOB_HEAD "%.2s/%s" BLOB_TAIL, name, name),
		cap);
}

/* If @s of *len begins (ends) with @what, cut it off. */
static bool cut_head(const char **s, size_t *len, const char *what)
{
	const size_t n = strlen(what);

	if (*len < n || memcmp(*s, what, n) != 0)
		return false;
	*s += n;
	*len -= n;
	return true;
}

static bool cut_tail(const char *s, size_t *len, const char *what)
{
	const size_t n = strlen(what);

	if (*len < n || memcmp(s + *len - n, what, n) != 0)
		return false;
	*len -= n;
	return true;
}

static enum kr_err tag_name(const char *path, char *buf, size_t cap)
{
	size_t len = strlen(path);
	const char *mid = NULL;

	if (!cut_head(&path, &len, TAG_HEAD) || !cut_tail(path, &len, TAG_TAIL))
		return KR_E_INVALID;
	/* The last one: a repository may have such components itself. */
	for (const char *at = path; (at = strstr(at, TAG_MID)) != NULL; at++)
		mid = at;
	const size_t mid_len = strlen(TAG_MID);
	if (mid == NULL || mid + mid_len >= path + len)
		return KR_E_INVALID;
	const size_t repo_len = (size_t)(mid - path);
	const size_t tag_len = len - repo_len - mid_len;
	if (!is_safe(path, repo_len) || !is_safe(mid + mid_len, tag_len) ||
	    memchr(mid + mid_len, '/', tag_len) != NULL)
		return KR_E_INVALID;
	return fits(snprintf(buf, cap, "%.*s:%.*s", (int)repo_len, path,
			     (int)tag_len, mid + mid_len),
		    cap);
}

enum kr_err kr_backend_name(enum kr_backend_layout layout, const char *path,
			    char *buf, size_t cap)
{
	size_t len = strlen(path);

	kr_assert(layout < KR_LAYOUT_COUNT);
	if (layout == KR_LAYOUT_DOCKER_TAG)
		return tag_name(path, buf, cap);
	if (layout == KR_LAYOUT_IDENTITY)
		return is_safe(path, len)
			       ? fits(snprintf(buf, cap, "%s", path), cap)
			       : KR_E_INVALID;
	if (!cut_head(&path, &len, BLOB_HEAD) ||
	    !cut_tail(path, &len, BLOB_TAIL) || len != 3 + HEX_LEN ||
	    path[2] != '/' || memcmp(path, path + 3, 2) != 0 ||
	    !is_hex(path + 3, HEX_LEN))
		return KR_E_INVALID;
	return fits(snprintf(buf, cap, "%.*s", HEX_LEN, path + 3), cap);
}
