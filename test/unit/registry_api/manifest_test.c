#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "registry_api/manifest.h"

static struct kr_bytes bytes(const char *s)
{
	return (struct kr_bytes){ (const uint8_t *)s, strlen(s) };
}

#define D(x)                     \
	"\"digest\":\"sha256:" x \
	"000000000000000000000000000000000000000000000000000000000000000\""
#define OCI    "application/vnd.oci.image.manifest.v1+json"
#define INDEX  "application/vnd.oci.image.index.v1+json"
#define DOCKER "application/vnd.docker.distribution.manifest.v2+json"
#define LIST   "application/vnd.docker.distribution.manifest.list.v2+json"

static const char image[] = "{\"schemaVersion\":2,\"config\":{" D(
	"1") ",\"size\":7},\"layers\":["
	     "{" D("2") ",\"size\":8},{" D("3") ",\"size\":0}]}";
static const char docker_list[] =
	"{\"schemaVersion\":2,\"mediaType\":\"" LIST
	"\",\"manifests\":[{" D("4") ",\"size\":9},{" D("5") ",\"size\":10}]}";
static const char list_of_two[] = "{\"schemaVersion\":2,\"manifests\":[{" D(
	"4") ",\"size\":9},{" D("5") ",\"size\":10}]}";

static enum kr_err parse(const char *json, const char *type,
			 struct kr_manifest *m)
{
	const char *why = NULL;
	const enum kr_err err =
		kr_manifest_parse(bytes(json), bytes(type), m, &why);

	if (err != KR_OK)
		assert_non_null(why);
	return err;
}

static void test_an_image_points_to_config_and_layers(void **state)
{
	struct kr_manifest m;
	(void)state;

	assert_int_equal(parse(image, OCI, &m), KR_OK);
	assert_int_equal(m.kind, KR_MANIFEST_OCI);
	assert_int_equal(m.ref_count, 3);
	assert_int_equal(m.refs[0].digest.bytes[0], 0x10);
	assert_true(m.refs[1].size_bytes == 8);
	assert_false(m.refs[2].is_manifest);
	assert_false(m.has_subject);
	kr_manifest_fini(&m);
}

static void test_an_index_points_to_manifests(void **state)
{
	struct kr_manifest m;
	(void)state;

	assert_int_equal(parse(docker_list, LIST, &m), KR_OK);
	assert_int_equal(m.kind, KR_MANIFEST_DOCKER_LIST);
	assert_int_equal(m.ref_count, 2);
	assert_true(m.refs[0].is_manifest && m.refs[1].is_manifest);
	kr_manifest_fini(&m);
}

static void test_the_kind_is_said_or_inferred(void **state)
{
	struct kr_manifest m;
	(void)state;

	assert_int_equal(parse(image, "", &m), KR_OK);
	assert_int_equal(m.kind, KR_MANIFEST_OCI);
	kr_manifest_fini(&m);
	assert_int_equal(parse(list_of_two, "application/json", &m), KR_OK);
	assert_int_equal(m.kind, KR_MANIFEST_OCI_INDEX);
	kr_manifest_fini(&m);
	assert_int_equal(parse(docker_list, LIST "; charset=utf-8", &m), KR_OK);
	assert_int_equal(m.kind, KR_MANIFEST_DOCKER_LIST);
	kr_manifest_fini(&m);
	assert_int_equal(parse("{\"schemaVersion\":2,\"mediaType\":\"" LIST
			       "\",\"manifests\":[]}",
			       "", &m),
			 KR_OK);
	assert_int_equal(m.kind, KR_MANIFEST_DOCKER_LIST);
	assert_int_equal(m.ref_count, 0);
	kr_manifest_fini(&m);
}

static void test_a_subject_is_noted_but_is_no_reference(void **state)
{
	struct kr_manifest m;
	(void)state;

	assert_int_equal(parse("{\"schemaVersion\":2,\"manifests\":[],"
			       "\"subject\":{" D("9") ",\"size\":1}}",
			       INDEX, &m),
			 KR_OK);
	assert_true(m.has_subject);
	assert_int_equal(m.subject.bytes[0], 0x90);
	assert_int_equal(m.ref_count, 0);
	kr_manifest_fini(&m);
}

/* Served without a row that says how it was pushed, it would be taken for
 * something else. */
static void test_a_docker_type_has_to_be_said_inside(void **state)
{
	struct kr_manifest m;
	(void)state;

	assert_int_equal(parse(image, DOCKER, &m), KR_E_INVALID);
	assert_int_equal(parse(list_of_two, LIST, &m), KR_E_INVALID);
}

static void test_what_is_both_manifest_and_index_is_refused(void **state)
{
	struct kr_manifest m;
	(void)state;

	assert_int_equal(parse("{\"schemaVersion\":2,\"config\":{" D(
				       "1") ",\"size\":1},\"layers\":[],"
					    "\"manifests\":[]}",
			       OCI, &m),
			 KR_E_INVALID);
	assert_int_equal(parse("{\"schemaVersion\":2,\"manifests\":[],"
			       "\"layers\":[]}",
			       INDEX, &m),
			 KR_E_INVALID);
}

static char *describe(const char *json, const char *type)
{
	const struct kr_digest d = { .alg = KR_SHA256, .bytes = { 0xab } };
	struct kr_manifest m;
	struct kr_buf out;

	assert_int_equal(parse(json, type, &m), KR_OK);
	assert_true(m.has_subject);
	kr_buf_init(&out, 4096);
	assert_int_equal(kr_manifest_describe(&m, bytes(json), &d, &out),
			 KR_OK);
	assert_int_equal(kr_buf_append(&out, "", 1), KR_OK);
	kr_manifest_fini(&m);
	return (char *)out.ptr;
}

#define SUBJECT "\"subject\":{" D("9") ",\"size\":1}"
#define ABDIGEST                                                 \
	"\"digest\":\"sha256:ab"                                 \
	"000000000000000000000000000000000000000000000000000000" \
	"00000000\""

static void test_a_referrer_is_described_with_type_and_annotations(void **state)
{
	(void)state;
	char *text = describe("{\"schemaVersion\":2,\"artifactType\":\"a/b\","
			      "\"manifests\":[]," SUBJECT
			      ",\"annotations\":{\"k\":\"v\\\"\"}}",
			      INDEX);
	assert_non_null(strstr(text, "\"mediaType\":\"" INDEX "\""));
	assert_non_null(strstr(text, ABDIGEST));
	assert_non_null(strstr(text, "\"artifactType\":\"a/b\""));
	assert_non_null(strstr(text, "\"annotations\":{\"k\":\"v\\\"\"}"));
	free(text);
}

static void test_an_images_config_stands_in_for_its_artifact_type(void **state)
{
	(void)state;
	char *text = describe("{\"schemaVersion\":2,\"config\":{" D(
				      "1") ",\"size\":1,\"mediaType\":\"c/d\"},"
					   "\"layers\":[]," SUBJECT "}",
			      OCI);
	assert_non_null(strstr(text, "\"artifactType\":\"c/d\""));
	assert_null(strstr(text, "annotations"));
	free(text);
	text = describe("{\"schemaVersion\":2,\"manifests\":[]," SUBJECT "}",
			INDEX);
	assert_null(strstr(text, "artifactType"));
	free(text);
}

static void test_a_descriptor_that_does_not_fit_is_an_error(void **state)
{
	static const char json[] =
		"{\"schemaVersion\":2,\"manifests\":[]," SUBJECT "}";
	const struct kr_digest d = { .alg = KR_SHA256 };
	struct kr_manifest m;
	struct kr_buf out;
	(void)state;

	assert_int_equal(parse(json, INDEX, &m), KR_OK);
	kr_buf_init(&out, 64);
	assert_int_equal(kr_manifest_describe(&m, bytes(json), &d, &out),
			 KR_E_TOOBIG);
	kr_buf_fini(&out);
	kr_manifest_fini(&m);
}

static void test_layers_kept_elsewhere_are_no_references(void **state)
{
	struct kr_manifest m;
	(void)state;

	assert_int_equal(
		parse("{\"schemaVersion\":2,\"mediaType\":\"" DOCKER
		      "\",\"config\":{" D(
			      "1") ",\"size\":1},\"layers\":[{\"mediaType\":"
				   "\"application/vnd.docker.image.rootfs."
				   "foreign.diff.tar.gzip\"," D(
					   "2") ",\"size\":1}]}",
		      DOCKER, &m),
		KR_OK);
	assert_int_equal(m.ref_count, 1);
	kr_manifest_fini(&m);
}

static void test_what_is_no_manifest_is_refused(void **state)
{
	static const struct {
		const char *json, *type;
		enum kr_err err;
	} cases[] = {
		{ "", OCI, KR_E_INVALID },
		{ "[]", OCI, KR_E_INVALID },
		{ "{", OCI, KR_E_INVALID },
		{ "{\"schemaVersion\":2}", OCI, KR_E_INVALID },
		{ "{\"schemaVersion\":2}", "", KR_E_INVALID },
		{ "{\"schemaVersion\":1}", OCI, KR_E_UNSUPPORTED },
		{ "{\"schemaVersion\":\"2\"}", OCI, KR_E_INVALID },
		{ image, "application/x-other", KR_E_UNSUPPORTED },
		{ image, INDEX, KR_E_INVALID }, /* no "manifests" */
		{ "{\"schemaVersion\":2,\"mediaType\":\"" OCI
		  "\",\"manifests\":[]}",
		  INDEX, KR_E_INVALID },
		{ "{\"schemaVersion\":2,\"schemaVersion\":2,\"manifests\":[]}",
		  INDEX, KR_E_INVALID },
		{ "{\"schemaVersion\":2,\"manifests\":[{\"digest\":\"x\","
		  "\"size\":1}]}",
		  INDEX, KR_E_INVALID },
		{ "{\"schemaVersion\":2,\"manifests\":[{" D(
			  "1") ",\"size\":-1}]}",
		  INDEX, KR_E_INVALID },
		{ "{\"schemaVersion\":2,\"manifests\":[7]}", INDEX,
		  KR_E_INVALID },
		{ "{\"schemaVersion\":2,\"layers\":[]}", OCI, KR_E_INVALID },
		{ "{\"schemaVersion\":2,\"manifests\":[],\"subject\":7}", INDEX,
		  KR_E_INVALID },
	};
	struct kr_manifest m;
	(void)state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(parse(cases[i].json, cases[i].type, &m),
				 cases[i].err);
}

static void test_nesting_has_a_bound_that_strings_do_not_count_for(void **state)
{
	char deep[KR_MANIFEST_DEPTH_MAX * 2 + 128];
	struct kr_manifest m;
	size_t n = 0;
	(void)state;

	memset(deep, '[', KR_MANIFEST_DEPTH_MAX + 1);
	deep[KR_MANIFEST_DEPTH_MAX + 1] = '\0';
	assert_int_equal(parse(deep, OCI, &m), KR_E_INVALID);

	n = strlen(strcpy(deep, "{\"schemaVersion\":2,\"manifests\":[],"
				"\"x\":\"\\\""));
	memset(deep + n, '[', KR_MANIFEST_DEPTH_MAX + 1);
	strcpy(deep + n + KR_MANIFEST_DEPTH_MAX + 1, "\"}");
	assert_int_equal(parse(deep, INDEX, &m), KR_OK);
	kr_manifest_fini(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_image_points_to_config_and_layers),
		cmocka_unit_test(test_an_index_points_to_manifests),
		cmocka_unit_test(test_the_kind_is_said_or_inferred),
		cmocka_unit_test(test_a_subject_is_noted_but_is_no_reference),
		cmocka_unit_test(test_a_docker_type_has_to_be_said_inside),
		cmocka_unit_test(
			test_what_is_both_manifest_and_index_is_refused),
		cmocka_unit_test(
			test_a_referrer_is_described_with_type_and_annotations),
		cmocka_unit_test(
			test_an_images_config_stands_in_for_its_artifact_type),
		cmocka_unit_test(
			test_a_descriptor_that_does_not_fit_is_an_error),
		cmocka_unit_test(test_layers_kept_elsewhere_are_no_references),
		cmocka_unit_test(test_what_is_no_manifest_is_refused),
		cmocka_unit_test(
			test_nesting_has_a_bound_that_strings_do_not_count_for),
	};
	return cmocka_run_group_tests_name("manifest", tests, NULL, NULL);
}
