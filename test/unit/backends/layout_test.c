/* test/unit/backends/layout_test.c - backends/layout, one behaviour per
 * test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "backends/backend.h"

#define HEX "ab0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd"
#define ROW(layout, name, path)                \
	{                                      \
		KR_LAYOUT_##layout, name, path \
	}

struct row {
	enum kr_backend_layout layout;
	const char *name, *path;
};

/* The paths that Kraken writes. */
static const struct row good[] = {
	ROW(SHARDED_DOCKER_BLOB, HEX,
	    "docker/registry/v2/blobs/sha256/ab/" HEX "/data"),
	ROW(DOCKER_TAG, "library/busybox:1.36",
	    "docker/registry/v2/repositories/library/busybox/_manifests/tags/"
	    "1.36/current/link"),
	ROW(DOCKER_TAG, "a/_manifests/tags/b/current/link/x:v",
	    "docker/registry/v2/repositories/a/_manifests/tags/b/current/link/"
	    "x/_manifests/tags/v/current/link"),
	ROW(IDENTITY, "any/name.x", "any/name.x"),
};

static void test_names_become_the_paths_of_kraken(void **state)
{
	char buf[KR_BACKEND_PATH_MAX];
	(void)state;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(kr_backend_path(good[i].layout, good[i].name,
						 buf, sizeof(buf)),
				 KR_OK);
		assert_string_equal(buf, good[i].path);
	}
}

static void test_paths_become_names_again(void **state)
{
	char buf[KR_BACKEND_PATH_MAX];
	(void)state;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(kr_backend_name(good[i].layout, good[i].path,
						 buf, sizeof(buf)),
				 KR_OK);
		assert_string_equal(buf, good[i].name);
	}
}

static void test_no_name_leads_outside(void **state)
{
	static const struct row bad[] = {
		ROW(IDENTITY, "", ""),
		ROW(IDENTITY, "/etc/passwd", ""),
		ROW(IDENTITY, "..", ""),
		ROW(IDENTITY, "a/../../b", ""),
		ROW(IDENTITY, "a/./b", ""),
		ROW(IDENTITY, "a//b", ""),
		ROW(IDENTITY, "a/", ""),
		ROW(IDENTITY, "a\nb", ""),
		ROW(DOCKER_TAG, "notag", ""),
		ROW(DOCKER_TAG, ":v", ""),
		ROW(DOCKER_TAG, "a:", ""),
		ROW(DOCKER_TAG, "../a:v", ""),
		ROW(DOCKER_TAG, "a:../v", ""),
		ROW(DOCKER_TAG, "a:x/y", ""),
		ROW(DOCKER_TAG, "a:..", ""),
		ROW(SHARDED_DOCKER_BLOB, "", ""),
		ROW(SHARDED_DOCKER_BLOB, "sha256:" HEX, ""),
		ROW(SHARDED_DOCKER_BLOB, "../../../../../../etc/passwd", ""),
		ROW(SHARDED_DOCKER_BLOB, HEX "0", ""),
	};
	char buf[KR_BACKEND_PATH_MAX];
	(void)state;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(kr_backend_path(bad[i].layout, bad[i].name,
						 buf, sizeof(buf)),
				 KR_E_INVALID);
}

static void test_paths_of_other_things_have_no_name(void **state)
{
	static const struct row bad[] = {
		ROW(SHARDED_DOCKER_BLOB, "", "README"),
		ROW(SHARDED_DOCKER_BLOB, "",
		    "docker/registry/v2/blobs/sha256/cd/" HEX "/data"),
		ROW(SHARDED_DOCKER_BLOB, "",
		    "docker/registry/v2/blobs/sha256/ab/" HEX "/other"),
		ROW(DOCKER_TAG, "",
		    "docker/registry/v2/repositories/_manifests/tags/v/"
		    "current/link"),
		ROW(DOCKER_TAG, "",
		    "docker/registry/v2/repositories/a/_manifests/tags/"
		    "current/link"),
		ROW(DOCKER_TAG, "",
		    "docker/registry/v2/repositories/a/_layers/tags/v/"
		    "current/link"),
	};
	char buf[KR_BACKEND_PATH_MAX];
	(void)state;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(kr_backend_name(bad[i].layout, bad[i].path,
						 buf, sizeof(buf)),
				 KR_E_INVALID);
}

static void test_what_does_not_fit_says_so(void **state)
{
	char buf[8], name[KR_BACKEND_PATH_MAX + 1];
	(void)state;

	assert_int_equal(kr_backend_path(KR_LAYOUT_IDENTITY, "12345678", buf,
					 sizeof(buf)),
			 KR_E_TOOBIG);
	assert_int_equal(kr_backend_path(KR_LAYOUT_IDENTITY, "1234567", buf,
					 sizeof(buf)),
			 KR_OK);
	memset(name, 'a', sizeof(name));
	name[KR_BACKEND_PATH_MAX] = '\0';
	assert_int_equal(
		kr_backend_path(KR_LAYOUT_IDENTITY, name, buf, sizeof(buf)),
		KR_E_TOOBIG);
}

static void test_layouts_are_known_by_their_names(void **state)
{
	enum kr_backend_layout layout;
	(void)state;

	for (unsigned i = 0; i < KR_LAYOUT_COUNT; i++) {
		assert_int_equal(kr_backend_layout_parse(
					 kr_backend_layout_name(
						 (enum kr_backend_layout)i),
					 &layout),
				 KR_OK);
		assert_int_equal(layout, i);
	}
	assert_int_equal(kr_backend_layout_parse("flat", &layout),
			 KR_E_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names_become_the_paths_of_kraken),
		cmocka_unit_test(test_paths_become_names_again),
		cmocka_unit_test(test_no_name_leads_outside),
		cmocka_unit_test(test_paths_of_other_things_have_no_name),
		cmocka_unit_test(test_what_does_not_fit_says_so),
		cmocka_unit_test(test_layouts_are_known_by_their_names),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
