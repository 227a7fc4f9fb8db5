/* test/unit/backends/tag_test.c - kr_backend_tag: tags in a storage, and of a
 * backend that knows them, one behaviour per test. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backends/file.h"
#include "core/log.h"
#include "test/support/test.h"

#define DIGEST                                                      \
	"sha256:ab0123456789abcdef0123456789abcdef0123456789abcdef" \
	"0123456789abcd"
#define NAME "team/app:v1"

struct fixture {
	char dir[64], root[96];
	struct kr_backend *b;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	strcpy(f->dir, "/tmp/kr-tag-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	(void)snprintf(f->root, sizeof(f->root), "%s/root", f->dir);
	assert_ok(kr_backend_file_open(f->root, KR_LAYOUT_DOCKER_TAG, &f->b));
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char command[128];

	kr_backend_close(f->b);
	(void)snprintf(command, sizeof(command), "rm -r %s", f->dir);
	const int rc = system(command);
	free(f);
	return rc;
}

static void store(struct fixture *f, const char *text)
{
	const int fd = memfd_create("tag", MFD_CLOEXEC);
	const size_t len = strlen(text);

	assert_int_equal(write(fd, text, len), len);
	assert_ok(kr_backend_put(f->b, NAME, fd, len));
	(void)close(fd);
}

static void a_tag_is_the_text_of_its_object(void **state)
{
	struct fixture *f = *state;
	char text[KR_DIGEST_TEXT_MAX];
	struct kr_digest d;

	store(f, DIGEST);
	assert_ok(kr_backend_tag(f->b, NAME, &d));
	assert_string_equal(kr_digest_print(&d, text), DIGEST);
}

static void white_space_behind_it_is_nothing(void **state)
{
	struct fixture *f = *state;
	char text[KR_DIGEST_TEXT_MAX];
	struct kr_digest d;

	store(f, DIGEST " \r\n\n");
	assert_ok(kr_backend_tag(f->b, NAME, &d));
	assert_string_equal(kr_digest_print(&d, text), DIGEST);
}

static void a_tag_that_is_not_there_is_not_found(void **state)
{
	struct fixture *f = *state;
	struct kr_digest d;

	assert_err(kr_backend_tag(f->b, NAME, &d), KR_E_NOTFOUND);
	assert_err(kr_backend_tag(f->b, "../app:v1", &d), KR_E_INVALID);
}

static void what_is_no_digest_is_corrupt(void **state)
{
	static const char *const bad[] = {
		"",         "\n",       "sha256:",         "latest",
		" " DIGEST, DIGEST "0", DIGEST "\n" DIGEST
	};
	struct fixture *f = *state;
	char long_text[KR_BACKEND_TAG_MAX + 2];
	struct kr_digest d = { .alg = KR_SHA512 };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		store(f, bad[i]);
		assert_err(kr_backend_tag(f->b, NAME, &d), KR_E_CORRUPT);
	}
	memset(long_text, ' ', sizeof(long_text));
	memcpy(long_text, DIGEST, sizeof(DIGEST) - 1);
	long_text[sizeof(long_text) - 1] = '\0';
	store(f, long_text); /* one byte too long */
	assert_err(kr_backend_tag(f->b, NAME, &d), KR_E_CORRUPT);
	long_text[sizeof(long_text) - 2] = '\0';
	assert_int_equal(d.alg, KR_SHA512); /* untouched */
	store(f, long_text);
	assert_ok(kr_backend_tag(f->b, NAME, &d));
}

static void a_root_that_was_moved_away_cannot_be_asked(void **state)
{
	struct fixture *f = *state;
	char away[128];
	struct kr_digest d;
	const int fd = memfd_create("tag", MFD_CLOEXEC);

	kr_log_set_fd(fd); /* it is told, rightly */
	store(f, DIGEST);
	(void)snprintf(away, sizeof(away), "%s/away", f->dir);
	assert_int_equal(rename(f->root, away), 0);
	assert_err(kr_backend_tag(f->b, NAME, &d), KR_E_UNAVAILABLE);
	assert_err(kr_backend_put(f->b, NAME, fd, 0), KR_E_UNAVAILABLE);
	assert_err(kr_backend_list(f->b, "", NULL, NULL), KR_E_UNAVAILABLE);
	assert_int_equal(rename(away, f->root), 0);
	assert_ok(kr_backend_tag(f->b, NAME, &d));
	kr_log_set_fd(STDERR_FILENO);
	(void)close(fd);
}

/* Not "no such tag": whoever believes that forgets what he knows. */
static void what_is_not_mounted_cannot_be_asked(void **state)
{
	struct fixture *f = *state;
	char root[128];
	struct kr_backend *b;
	struct kr_digest d;
	const int fd = memfd_create("log", MFD_CLOEXEC);

	kr_log_set_fd(fd);
	(void)snprintf(root, sizeof(root), "%s/mount", f->dir);
	assert_ok(kr_backend_file_attach(root, KR_LAYOUT_DOCKER_TAG, &b));
	assert_err(kr_backend_tag(b, NAME, &d), KR_E_UNAVAILABLE);
	assert_int_equal(mkdir(root, 0755), 0); /* it was not made */
	assert_err(kr_backend_tag(b, NAME, &d), KR_E_UNAVAILABLE);
	assert_int_equal(rmdir(root), 0);
	store(f, DIGEST);
	assert_int_equal(rename(f->root, root), 0); /* now it is there */
	assert_ok(kr_backend_tag(b, NAME, &d));
	assert_err(kr_backend_tag(b, "team/app:v2", &d), KR_E_NOTFOUND);
	kr_backend_close(b);
	kr_log_set_fd(STDERR_FILENO);
	(void)close(fd);
}

static enum kr_err own_tag(struct kr_backend *b, const char *name,
			   struct kr_digest *ret)
{
	(void)b;
	ret->bytes[0] = 42;
	return strcmp(name, NAME) == 0 ? KR_OK : KR_E_NOTFOUND;
}

/* A registry has no object to read: it is asked in its own way. */
static void a_backend_may_know_tags_itself(void **state)
{
	static const struct kr_backend_ops ops = { .type = "own",
						   .tag = own_tag };
	struct kr_backend b = { &ops };
	struct kr_digest d = { .alg = KR_SHA256 };

	(void)state;
	assert_ok(kr_backend_tag(&b, NAME, &d));
	assert_int_equal(d.bytes[0], 42);
	assert_err(kr_backend_tag(&b, "team/app:v2", &d), KR_E_NOTFOUND);
}

int main(void)
{
#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_tag_is_the_text_of_its_object),
		T(white_space_behind_it_is_nothing),
		T(a_tag_that_is_not_there_is_not_found),
		T(what_is_no_digest_is_corrupt),
		T(a_root_that_was_moved_away_cannot_be_asked),
		T(what_is_not_mounted_cannot_be_asked),
		cmocka_unit_test(a_backend_may_know_tags_itself),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
