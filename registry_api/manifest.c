#define _GNU_SOURCE /* memmem */
#include "registry_api/manifest.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* clang-format off */
static const struct {
	const char *media_type;
	bool is_index;
} kinds[KR_MANIFEST_KIND_COUNT] = {
	[KR_MANIFEST_DOCKER] = {
		"application/vnd.docker.distribution.manifest.v2+json", false },
	[KR_MANIFEST_DOCKER_LIST] = {
		"application/vnd.docker.distribution.manifest.list.v2+json", true },
	[KR_MANIFEST_OCI] = {
		"application/vnd.oci.image.manifest.v1+json", false },
	[KR_MANIFEST_OCI_INDEX] = {
		"application/vnd.oci.image.index.v1+json", true },
};
/* clang-format on */

const char *kr_manifest_media_type(enum kr_manifest_kind kind)
{
	return kinds[kind].media_type;
}

/* jansson recurses per level; its own bound is far above what a manifest has,
 * so the depth is judged before it sees the text. */
static bool is_shallow(struct kr_bytes json)
{
	unsigned depth = 0;
	bool in_string = false;

	for (size_t i = 0; i < json.len; i++) {
		const uint8_t c = json.ptr[i];
		if (in_string) {
			if (c == '\\')
				i++;
			else if (c == '"')
				in_string = false;
		} else if (c == '"') {
			in_string = true;
		} else if (c == '{' || c == '[') {
			if (++depth > KR_MANIFEST_DEPTH_MAX)
				return false;
		} else if ((c == '}' || c == ']') && depth > 0) {
			depth--;
		}
	}
	return true;
}

/* A media type without its parameters. */
static struct kr_bytes strip_parameters(struct kr_bytes s)
{
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] == ';' || s.ptr[i] == ' ' || s.ptr[i] == '\t') {
			s.len = i;
			break;
		}
	}
	return s;
}

static int find_kind(struct kr_bytes type)
{
	for (int i = 0; i < KR_MANIFEST_KIND_COUNT; i++) {
		const char *t = kinds[i].media_type;
		if (strlen(t) == type.len &&
		    strncasecmp(t, (const char *)type.ptr, type.len) == 0)
			return i;
	}
	return -1;
}

static struct kr_bytes text_of(const json_t *v)
{
	if (!json_is_string(v))
		return (struct kr_bytes){ NULL, 0 };
	return (struct kr_bytes){ (const uint8_t *)json_string_value(v),
				  json_string_length(v) };
}

/* "*" and application/json say nothing about the kind. */
static bool says_nothing(struct kr_bytes type)
{
	static const char *const vague[] = { "application/json",
					     "application/octet-stream",
					     "text/plain" };

	if (type.len == 0)
		return true;
	for (size_t i = 0; i < sizeof(vague) / sizeof(vague[0]); i++)
		if (strlen(vague[i]) == type.len &&
		    strncasecmp(vague[i], (const char *)type.ptr, type.len) ==
			    0)
			return true;
	return false;
}

static enum kr_err infer_kind(const json_t *root, enum kr_manifest_kind *ret,
			      const char **why)
{
	if (json_is_array(json_object_get(root, "manifests"))) {
		*ret = KR_MANIFEST_OCI_INDEX;
		return KR_OK;
	}
	if (json_is_object(json_object_get(root, "config"))) {
		*ret = KR_MANIFEST_OCI;
		return KR_OK;
	}
	*why = "no media type, and neither \"manifests\" nor \"config\"";
	return KR_E_INVALID;
}

static enum kr_err decide_kind(const json_t *root, struct kr_bytes http_type,
			       enum kr_manifest_kind *ret, const char **why)
{
	const struct kr_bytes inner =
		text_of(json_object_get(root, "mediaType"));
	const struct kr_bytes outer = strip_parameters(http_type);
	const int inner_kind = find_kind(inner), outer_kind = find_kind(outer);

	if ((inner.len > 0 && inner_kind < 0) ||
	    (!says_nothing(outer) && outer_kind < 0)) {
		*why = "media type is not one this registry stores";
		return KR_E_UNSUPPORTED;
	}
	if (inner_kind >= 0 && outer_kind >= 0 && inner_kind != outer_kind) {
		*why = "Content-Type and mediaType disagree";
		return KR_E_INVALID;
	}
	if (inner_kind < 0 && outer_kind < 0)
		return infer_kind(root, ret, why);
	if (inner_kind < 0 && outer_kind != KR_MANIFEST_OCI &&
	    outer_kind != KR_MANIFEST_OCI_INDEX) {
		*why = "a Docker manifest has to say its mediaType";
		return KR_E_INVALID;
	}
	*ret = (enum kr_manifest_kind)(inner_kind >= 0 ? inner_kind
						       : outer_kind);
	return KR_OK;
}

/* A descriptor (image-spec descriptor.md) that something points with. */
static enum kr_err parse_descriptor(const json_t *v, struct kr_reg_ref *ret,
				    const char **why)
{
	const struct kr_bytes digest = text_of(json_object_get(v, "digest"));
	const json_t *size = json_object_get(v, "size");

	*why = "descriptor needs a digest and a size";
	if (!json_is_object(v) || digest.len == 0 || !json_is_integer(size))
		return KR_E_INVALID;
	if (json_integer_value(size) < 0 ||
	    kr_digest_parse((const char *)digest.ptr, digest.len,
			    &ret->digest) != KR_OK) {
		*why = "descriptor with a bad digest or size";
		return KR_E_INVALID;
	}
	ret->size_bytes = (uint64_t)json_integer_value(size);
	return KR_OK;
}

static bool contains(struct kr_bytes s, const char *word)
{
	return s.len > 0 && memmem(s.ptr, s.len, word, strlen(word)) != NULL;
}

static bool is_fetched_elsewhere(const json_t *layer)
{
	const struct kr_bytes type =
		text_of(json_object_get(layer, "mediaType"));

	return contains(type, ".foreign.") ||
	       contains(type, "nondistributable");
}

static enum kr_err add_ref(struct kr_manifest *m, const json_t *v,
			   bool is_manifest, const char **why)
{
	struct kr_reg_ref *ref = &m->refs[m->ref_count];
	enum kr_err err = parse_descriptor(v, ref, why);

	if (err != KR_OK)
		return err;
	ref->is_manifest = is_manifest;
	if (is_manifest || !is_fetched_elsewhere(v))
		m->ref_count++;
	return KR_OK;
}

static enum kr_err add_refs(struct kr_manifest *m, const json_t *list,
			    const char **why)
{
	const bool is_index = kinds[m->kind].is_index;

	for (size_t i = 0; i < json_array_size(list); i++) {
		enum kr_err err =
			add_ref(m, json_array_get(list, i), is_index, why);
		if (err != KR_OK)
			return err;
	}
	return KR_OK;
}

static enum kr_err collect_refs(struct kr_manifest *m, const json_t *root,
				const char **why)
{
	const bool is_index = kinds[m->kind].is_index;
	const char *key = is_index ? "manifests" : "layers";
	const json_t *list = json_object_get(root, key);
	const json_t *config = json_object_get(root, "config");

	if (json_object_get(root, is_index ? "layers" : "manifests") != NULL ||
	    (is_index && config != NULL)) {
		*why = "both a manifest and an index";
		return KR_E_INVALID;
	}
	if (!json_is_array(list)) {
		*why = is_index ? "\"manifests\" is not a list"
				: "\"layers\" is not a list";
		return KR_E_INVALID;
	}
	if (json_array_size(list) > KR_MANIFEST_REFS_MAX) {
		*why = "too many references";
		return KR_E_INVALID;
	}
	m->refs = calloc(json_array_size(list) + 1, sizeof(m->refs[0]));
	if (m->refs == NULL)
		return KR_E_NOMEM;
	if (!is_index) {
		enum kr_err err = add_ref(m, config, false, why);
		if (err != KR_OK)
			return err;
	}
	return add_refs(m, list, why);
}

static enum kr_err set_artifact_type(struct kr_manifest *m, const json_t *root,
				     const char **why)
{
	const json_t *config = json_object_get(root, "config");
	struct kr_bytes type = text_of(json_object_get(root, "artifactType"));

	if (type.len == 0 && !kinds[m->kind].is_index)
		type = text_of(json_object_get(config, "mediaType"));
	if (type.len > KR_MEDIA_TYPE_MAX ||
	    (type.len > 0 && memchr(type.ptr, '\0', type.len) != NULL)) {
		*why = "artifactType is too long";
		return KR_E_INVALID;
	}
	if (type.len > 0)
		memcpy(m->artifact_type, type.ptr, type.len);
	m->artifact_type[type.len] = '\0';
	return KR_OK;
}

static enum kr_err parse_subject(struct kr_manifest *m, const json_t *root,
				 const char **why)
{
	const json_t *subject = json_object_get(root, "subject");
	struct kr_reg_ref ref;

	if (subject == NULL || json_is_null(subject))
		return KR_OK;
	enum kr_err err = parse_descriptor(subject, &ref, why);
	if (err != KR_OK)
		return err;
	m->has_subject = true;
	m->subject = ref.digest;
	return set_artifact_type(m, root, why);
}

static enum kr_err parse_root(struct kr_manifest *m, const json_t *root,
			      struct kr_bytes content_type, const char **why)
{
	const json_t *version = json_object_get(root, "schemaVersion");

	if (!json_is_object(root)) {
		*why = "not a JSON object";
		return KR_E_INVALID;
	}
	if (!json_is_integer(version) || json_integer_value(version) != 2) {
		*why = "schemaVersion is not 2";
		return json_is_integer(version) &&
				       json_integer_value(version) == 1
			       ? KR_E_UNSUPPORTED
			       : KR_E_INVALID;
	}
	enum kr_err err = decide_kind(root, content_type, &m->kind, why);
	if (err == KR_OK)
		err = collect_refs(m, root, why);
	if (err == KR_OK)
		err = parse_subject(m, root, why);
	return err;
}

enum kr_err kr_manifest_parse(struct kr_bytes json,
			      struct kr_bytes content_type,
			      struct kr_manifest *ret, const char **ret_why)
{
	struct kr_manifest m = { .kind = KR_MANIFEST_OCI };
	json_error_t at;

	if (!is_shallow(json)) {
		*ret_why = "nested too deeply";
		return KR_E_INVALID;
	}
	json_t *root = json_loadb((const char *)json.ptr, json.len,
				  JSON_REJECT_DUPLICATES, &at);
	if (root == NULL) {
		*ret_why = "not well-formed JSON";
		return KR_E_INVALID;
	}
	enum kr_err err = parse_root(&m, root, content_type, ret_why);
	json_decref(root);
	if (err != KR_OK) {
		kr_manifest_fini(&m);
		return err;
	}
	*ret = m;
	return KR_OK;
}

/* ---- the descriptor ----*/

static int append_text(const char *text, size_t len, void *out)
{
	return kr_buf_append(out, text, len) == KR_OK ? 0 : -1;
}

/* NULL: no memory. */
static json_t *make_descriptor(const struct kr_manifest *m, const json_t *root,
			       const struct kr_digest *d, size_t size)
{
	json_t *annotations = json_object_get(root, "annotations");
	char digest[KR_DIGEST_TEXT_MAX];
	json_t *v = json_pack(
		"{s:s,s:s,s:I}", "mediaType", kr_manifest_media_type(m->kind),
		"digest", kr_digest_print(d, digest), "size", (json_int_t)size);

	if (v == NULL)
		return NULL;
	if ((m->artifact_type[0] != '\0' &&
	     json_object_set_new(v, "artifactType",
				 json_string(m->artifact_type)) != 0) ||
	    (json_is_object(annotations) &&
	     json_object_set(v, "annotations", annotations) != 0)) {
		json_decref(v);
		return NULL;
	}
	return v;
}

enum kr_err kr_manifest_describe(const struct kr_manifest *m,
				 struct kr_bytes json,
				 const struct kr_digest *d, struct kr_buf *out)
{
	json_error_t at;
	json_t *root = json_loadb((const char *)json.ptr, json.len,
				  JSON_REJECT_DUPLICATES, &at);
	json_t *v = root == NULL ? NULL : make_descriptor(m, root, d, json.len);
	enum kr_err err = KR_E_NOMEM;

	if (v != NULL &&
	    json_dump_callback(v, append_text, out, JSON_COMPACT) == 0)
		err = KR_OK;
	else if (v != NULL)
		err = KR_E_TOOBIG;
	json_decref(v);
	json_decref(root);
	return err;
}

void kr_manifest_fini(struct kr_manifest *m)
{
	free(m->refs);
	m->refs = NULL;
	m->ref_count = 0;
}
