/*
 * The store under kill -9, a full disk, and two processes.
 *
 *	store_crash_test [SEED]
 *
 * A child works on a scratch store until it is killed at a random moment; the
 * parent opens what is left and checks the rules of core/store.h.  Everything
 * a child writes follows from a blob's number, so the parent knows what must
 * be there.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/hash.h"
#include "core/log.h"
#include "core/rand.h"
#include "core/store.h"

enum {
	BLOBS = 14,
	PIECE = 4096,
	SIZE_MAX_BYTES = 24 * PIECE,
	QUOTA = 12 * SIZE_MAX_BYTES,
	ROUNDS = 300,
	ROUNDS_MIN = 40, /* on a slow machine, within the time below */
	KILL_AFTER_US = 12000,
};
static const uint64_t ROUNDS_NS = UINT64_C(10000000000);

static uint64_t seed = 20260131;

struct blob {
	size_t size;
	uint8_t bytes[SIZE_MAX_BYTES];
	struct kr_digest digest;
};

struct fixture {
	char dir[64];
	struct kr_store_opts opts;
	struct blob blobs[BLOBS];
};

/* What an upload's saved state says. */
struct saved {
	uint32_t blob;
	uint32_t size;
};

static struct kr_digest digest_of(const void *buf, size_t len)
{
	struct kr_digest d;
	struct kr_hash h;

	kr_assert(kr_hash_init(&h, KR_SHA256) == KR_OK);
	kr_hash_update(&h, buf, len);
	kr_hash_final(&h, &d);
	return d;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct kr_rand rand;

	assert_non_null(f);
	snprintf(f->dir, sizeof(f->dir), "/tmp/kr_crash_test.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->opts.dir = f->dir;
	f->opts.quota_bytes = QUOTA;
	kr_rand_init(&rand, seed);
	for (uint32_t i = 0; i < BLOBS; i++) {
		struct blob *b = &f->blobs[i];
		b->size = i == 0   ? 0
			  : i == 1 ? PIECE
				   : kr_rand_below(&rand, SIZE_MAX_BYTES) + 1;
		for (size_t j = 0; j < b->size; j++)
			b->bytes[j] = (uint8_t)kr_rand_u64(&rand);
		b->digest = digest_of(b->bytes, b->size);
	}
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char command[128];

	(void)umount(f->dir); /* where a full-disk test failed half-way */
	snprintf(command, sizeof(command), "rm -rf %s", f->dir);
	assert_int_equal(system(command), 0);
	free(f);
	return 0;
}

static size_t piece_len(const struct blob *b, uint32_t piece)
{
	const size_t from = (size_t)piece * PIECE;

	return b->size - from < PIECE ? b->size - from : PIECE;
}

static uint32_t piece_count(const struct blob *b)
{
	return (uint32_t)((b->size + PIECE - 1) / PIECE);
}

/* Are the bytes of @piece in @fd what they should be? */
static bool piece_is_right(int fd, const struct blob *b, uint32_t piece)
{
	const size_t len = piece_len(b, piece);
	const off_t from = (off_t)piece * PIECE;
	uint8_t buf[PIECE];

	return pread(fd, buf, len, from) == (ssize_t)len &&
	       memcmp(buf, b->bytes + from, len) == 0;
}

/* ---- the child ----------------------------------------------------------*/

/* An error that the rules do not allow: the parent sees the exit status. */
static void must(bool ok, const char *what)
{
	if (ok)
		return;
	dprintf(2, "child: %s: %s\n", what, strerror(errno));
	_exit(3);
}

static void write_part(int fd, const struct blob *b, size_t from, size_t len)
{
	must(pwrite(fd, b->bytes + from, len, (off_t)from) == (ssize_t)len,
	     "write");
}

static void do_upload(struct fixture *f, struct kr_store *s, uint32_t which,
		      struct kr_rand *rand)
{
	const struct blob *b = &f->blobs[which];
	struct kr_store_upload *u;
	enum kr_err err = kr_store_upload_create(s, &u);
	struct saved saved = { .blob = which };

	if (err == KR_E_NOSPC)
		return;
	must(err == KR_OK, "create");
	while (saved.size < b->size) {
		const uint32_t left = (uint32_t)b->size - saved.size;
		const uint32_t n = kr_rand_below(rand, left) + 1;
		err = kr_store_upload_reserve(u, n);
		if (err == KR_E_NOSPC) {
			kr_store_upload_close(u, false);
			return;
		}
		must(err == KR_OK, "reserve");
		write_part(kr_store_upload_fd(u), b, saved.size, n);
		saved.size += n;
		must(kr_store_upload_save(u, saved.size, &saved,
					  sizeof(saved)) == KR_OK,
		     "save");
	}
	if (kr_rand_below(rand, 4) == 0) {
		kr_store_upload_close(u, kr_rand_below(rand, 2) == 0);
		return;
	}
	must(b->size > 0 ||
		     kr_store_upload_save(u, 0, &saved, sizeof(saved)) == KR_OK,
	     "save of nothing");
	must(kr_store_upload_commit(u, &b->digest) == KR_OK, "commit");
}

static void do_partial(struct fixture *f, struct kr_store *s, uint32_t which,
		       struct kr_rand *rand)
{
	const struct blob *b = &f->blobs[which];
	struct kr_store_partial *p;
	const enum kr_err err =
		kr_store_partial_open(s, &b->digest, b->size, PIECE, &p);
	const uint32_t stop =
		kr_rand_below(rand, 2) ? UINT32_MAX : kr_rand_below(rand, 24);

	if (err == KR_E_NOSPC || err == KR_E_EXISTS)
		return;
	must(err == KR_OK, "open");
	for (uint32_t i = 0; i < piece_count(b); i++) {
		const int fd = kr_store_partial_fd(p);
		if (i == stop) {
			kr_store_partial_close(p, true);
			return;
		}
		if (!kr_store_partial_claims(p, i) || !piece_is_right(fd, b, i))
			write_part(fd, b, (size_t)i * PIECE, piece_len(b, i));
		kr_store_partial_mark(p, i);
	}
	must(kr_store_partial_commit(p) == KR_OK, "commit");
}

static void do_put(struct fixture *f, struct kr_store *s, uint32_t which)
{
	const struct blob *b = &f->blobs[which];
	const enum kr_err err =
		kr_store_blob_put(s, &b->digest, b->bytes, b->size);

	must(err == KR_OK || err == KR_E_NOSPC, "put");
	must(kr_store_meta_put(s, &b->digest, &which, sizeof(which)) == KR_OK,
	     "metainfo");
}

static void do_keep(struct fixture *f, struct kr_store *s, uint32_t which,
		    struct kr_rand *rand)
{
	/* Only a few, so that evictions always find something. */
	const bool keep = which < 3 && kr_rand_below(rand, 2) == 0;
	const enum kr_err err = kr_store_keep(s, &f->blobs[which].digest, keep);

	must(err == KR_OK || err == KR_E_NOTFOUND, "keep");
}

static void do_delete(struct fixture *f, struct kr_store *s, uint32_t which)
{
	const enum kr_err err = kr_store_delete(s, &f->blobs[which].digest);

	must(err == KR_OK || err == KR_E_NOTFOUND || err == KR_E_BUSY,
	     "delete");
}

static _Noreturn void child_main(struct fixture *f, uint64_t child_seed)
{
	struct kr_store *s;
	struct kr_rand rand;

	must(kr_store_open(&f->opts, &s) == KR_OK, "open of the store");
	kr_rand_init(&rand, child_seed);
	for (;;) {
		const uint32_t which = kr_rand_below(&rand, BLOBS);
		switch (kr_rand_below(&rand, 8)) {
		case 0:
		case 1:
			do_upload(f, s, which, &rand);
			break;
		case 2:
		case 3:
		case 4:
			do_partial(f, s, which, &rand);
			break;
		case 5:
			do_put(f, s, which);
			break;
		case 6:
			do_keep(f, s, which, &rand);
			break;
		default:
			do_delete(f, s, which);
		}
	}
}

/* Let a child work for a while and kill it. */
static void run_child(struct fixture *f, uint64_t child_seed, uint32_t for_us)
{
	const pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0)
		child_main(f, child_seed);
	usleep(for_us);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
		fail_msg("child ended by itself, status %#x (seed %llu)",
			 (unsigned)status, (unsigned long long)seed);
}

/* ---- the parent's checks ------------------------------------------------*/

static const struct blob *blob_of(const struct fixture *f,
				  const struct kr_digest *d)
{
	for (uint32_t i = 0; i < BLOBS; i++)
		if (kr_digest_equal(&f->blobs[i].digest, d))
			return &f->blobs[i];
	fail_msg("a blob that nobody made");
	return NULL;
}

struct check {
	struct fixture *f;
	struct kr_store *s;
	uint64_t bytes;
};

static void check_blob(void *ctx, const struct kr_digest *d, uint64_t size)
{
	struct check *c = ctx;
	const struct blob *b = blob_of(c->f, d);
	struct kr_store_blob *open_blob;
	static uint8_t buf[SIZE_MAX_BYTES + 1];

	assert_int_equal(size, b->size);
	assert_int_equal(kr_store_blob_open(c->s, d, &open_blob), KR_OK);
	assert_int_equal(
		pread(kr_store_blob_fd(open_blob), buf, sizeof(buf), 0),
		b->size);
	assert_memory_equal(buf, b->bytes, b->size);
	kr_store_blob_close(open_blob);
	c->bytes += size;
}

/* Call @fn for every name in @folder; returns how many there are. */
static size_t for_each_name(const struct fixture *f, const char *folder,
			    void (*fn)(struct check *, const char *name),
			    struct check *c)
{
	char path[256];
	const struct dirent *it;
	size_t n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "%s/%s", f->dir, folder);
	d = opendir(path);
	assert_non_null(d);
	while ((it = readdir(d)) != NULL) {
		if (it->d_name[0] == '.')
			continue;
		n++;
		if (fn != NULL)
			fn(c, it->d_name);
	}
	closedir(d);
	return n;
}

static void check_upload(struct check *c, const char *name)
{
	struct kr_store_upload *u;
	const struct saved *saved;
	static uint8_t buf[SIZE_MAX_BYTES];
	uint64_t size;
	size_t len;

	if (strlen(name) != KR_STORE_UUID_LEN)
		return; /* its state */
	assert_int_equal(kr_store_upload_open(c->s, name, &u), KR_OK);
	size = kr_store_upload_size(u);
	saved = kr_store_upload_state(u, &len);
	assert_int_equal(lseek(kr_store_upload_fd(u), 0, SEEK_END), size);
	if (len != 0) {
		assert_int_equal(len, sizeof(*saved));
		assert_int_equal(saved->size, size);
		assert_int_equal(pread(kr_store_upload_fd(u), buf, size, 0),
				 size);
		assert_memory_equal(buf, c->f->blobs[saved->blob].bytes, size);
	} else {
		assert_int_equal(size, 0);
	}
	c->bytes += size;
	kr_store_upload_close(u, true);
}

/* Open every partial there is.  Returns the claims that are wrong. */
static uint32_t check_partials(struct check *c)
{
	uint32_t wrong = 0;

	for (uint32_t i = 0; i < BLOBS; i++) {
		const struct blob *b = &c->f->blobs[i];
		char path[256], hex[KR_DIGEST_TEXT_MAX];
		struct kr_store_partial *p;
		snprintf(path, sizeof(path), "%s/partial/%s", c->f->dir,
			 kr_digest_print_hex(&b->digest, hex));
		if (access(path, F_OK) != 0)
			continue;
		/* A blob that came another way is beside it. */
		if (kr_store_partial_open(c->s, &b->digest, b->size, PIECE,
					  &p) != KR_OK) {
			c->bytes += b->size;
			continue;
		}
		c->bytes += b->size;
		for (uint32_t j = 0; j < piece_count(b); j++)
			wrong += kr_store_partial_claims(p, j) &&
				 !piece_is_right(kr_store_partial_fd(p), b, j);
		kr_store_partial_close(p, true);
	}
	return wrong;
}

/* Everything a crash may not break.  Returns the claims that are wrong. */
static uint32_t check_store(struct fixture *f)
{
	struct check c = { .f = f };
	struct kr_store_usage use;
	uint32_t wrong;

	assert_int_equal(kr_store_open(&f->opts, &c.s), KR_OK);
	kr_store_for_each(c.s, check_blob, &c);
	kr_store_usage(c.s, &use);
	assert_int_equal(use.blob_bytes, c.bytes);
	assert_true(use.blob_bytes + use.partial_bytes + use.upload_bytes <=
		    use.quota_bytes);
	c.bytes = 0;
	for_each_name(f, "uploads", check_upload, &c);
	kr_store_usage(c.s, &use);
	assert_int_equal(use.upload_bytes, c.bytes);
	c.bytes = 0;
	wrong = check_partials(&c);
	kr_store_usage(c.s, &use);
	assert_int_equal(use.partial_bytes, c.bytes);
	kr_store_close(c.s);
	return wrong;
}

static void drop_upload(struct check *c, const char *name)
{
	struct kr_store_upload *u;

	if (strlen(name) != KR_STORE_UUID_LEN)
		return;
	assert_int_equal(kr_store_upload_open(c->s, name, &u), KR_OK);
	kr_store_upload_close(u, false);
}

static void drop_blob(void *ctx, const struct kr_digest *d, uint64_t size)
{
	struct check *c = ctx;

	(void)size;
	assert_int_equal(kr_store_keep(c->s, d, false), KR_OK);
	assert_int_equal(kr_store_delete(c->s, d), KR_OK);
}

/* Delete all that the store knows of: nothing else may be left. */
static void check_no_leftovers(struct fixture *f)
{
	static const char *const folders[] = { "partial", "uploads", "meta",
					       "trash" };
	struct check c = { .f = f };
	struct kr_store_usage use;

	assert_int_equal(kr_store_open(&f->opts, &c.s), KR_OK);
	kr_store_for_each(c.s, drop_blob, &c);
	for_each_name(f, "uploads", drop_upload, &c);
	for (uint32_t i = 0; i < BLOBS; i++) {
		const struct blob *b = &f->blobs[i];
		struct kr_store_partial *p;
		assert_int_equal(kr_store_partial_open(c.s, &b->digest, b->size,
						       PIECE, &p),
				 KR_OK);
		kr_store_partial_close(p, false);
	}
	kr_store_usage(c.s, &use);
	assert_int_equal(use.blob_bytes, 0);
	assert_int_equal(use.partial_bytes, 0);
	assert_int_equal(use.upload_bytes, 0);
	kr_store_close(c.s);
	/* What was put aside at the last open goes with the next. */
	for (int i = 0; i < 2; i++) {
		assert_int_equal(kr_store_open(&f->opts, &c.s), KR_OK);
		kr_store_close(c.s);
	}
	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++)
		assert_int_equal(for_each_name(f, folders[i], NULL, NULL), 0);
}

/* ---- kill -9 ------------------------------------------------------------*/

static void test_nothing_half_written_survives_a_kill(void **state)
{
	const uint64_t end_ns = kr_clock_mono_ns() + ROUNDS_NS;
	struct fixture *f = *state;
	struct kr_rand rand;
	uint32_t rounds = 0;

	kr_rand_init(&rand, seed);
	while (rounds < ROUNDS && kr_clock_mono_ns() < end_ns) {
		run_child(f, seed + rounds,
			  kr_rand_below(&rand, KILL_AFTER_US));
		/* A page that was marked was written before: a kill of the
		 * process, unlike a power cut, cannot part the two. */
		assert_int_equal(check_store(f), 0);
		rounds++;
	}
	print_message("%u rounds, seed %llu\n", rounds,
		      (unsigned long long)seed);
	assert_true(rounds >= ROUNDS_MIN);
	check_no_leftovers(f);
}

/* Random bytes over the bits or, for the power cut, over the data. */
static void damage_partials(struct fixture *f, struct kr_rand *rand)
{
	for (uint32_t i = 0; i < BLOBS; i++) {
		const bool bits = kr_rand_below(rand, 2) == 0;
		char path[256], hex[KR_DIGEST_TEXT_MAX];
		const uint64_t garbage = kr_rand_u64(rand);
		struct stat st;
		int fd;
		snprintf(path, sizeof(path), "%s/partial/%s%s", f->dir,
			 kr_digest_print_hex(&f->blobs[i].digest, hex),
			 bits ? ".pieces" : "");
		fd = open(path, O_RDWR);
		if (fd < 0)
			continue;
		assert_int_equal(fstat(fd, &st), 0);
		if (bits && st.st_size > 64)
			assert_true(pwrite(fd, &garbage,
					   (size_t)st.st_size - 64, 64) > 0);
		else if (!bits && st.st_size > 8)
			assert_int_equal(
				pwrite(fd, &garbage, 8,
				       kr_rand_below(rand,
						     (uint32_t)st.st_size - 8)),
				8);
		close(fd);
	}
}

static void test_torn_bitmaps_and_pages_cost_time_never_truth(void **state)
{
	const uint64_t end_ns = kr_clock_mono_ns() + ROUNDS_NS / 2;
	struct fixture *f = *state;
	uint32_t rounds = 0, caught = 0;
	struct kr_rand rand;

	kr_rand_init(&rand, seed + 1);
	while (rounds < ROUNDS / 3 && kr_clock_mono_ns() < end_ns) {
		run_child(f, seed + 1000 + rounds,
			  kr_rand_below(&rand, KILL_AFTER_US));
		damage_partials(f, &rand);
		caught += check_store(f);
		rounds++;
	}
	print_message("%u rounds, %u false claims\n", rounds, caught);
	assert_true(caught > 0); /* else the damage was none */
	check_no_leftovers(f);
}

/* ---- two processes ------------------------------------------------------*/

static void test_a_second_process_is_refused_until_the_first_dies(void **state)
{
	struct fixture *f = *state;
	struct kr_store *s = NULL;
	int ready[2], status;
	pid_t pid;
	char c;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		must(kr_store_open(&f->opts, &s) == KR_OK, "open");
		must(write(ready[1], "x", 1) == 1, "tell");
		for (;;)
			pause();
	}
	assert_int_equal(read(ready[0], &c, 1), 1);
	assert_int_equal(kr_store_open(&f->opts, &s), KR_E_EXISTS);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(kr_store_open(&f->opts, &s), KR_OK);
	kr_store_close(s);
	close(ready[0]);
	close(ready[1]);
}

/* ---- a full disk --------------------------------------------------------*/

/* A small file system at @dir that nobody else sees.  NULL, or why not. */
static const char *mount_small(const char *dir)
{
	if (geteuid() != 0)
		return "needs root to mount a tmpfs";
	if (unshare(CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return "no mount namespace here";
	if (mount("tmpfs", dir, "tmpfs", 0, "size=1m") < 0)
		return "tmpfs cannot be mounted";
	return NULL;
}

/* Kept blobs until the disk is full: the caller knows how many. */
static uint32_t fill_with_kept(struct kr_store *s)
{
	static uint8_t buf[64 * 1024];

	for (uint32_t i = 0; i < 1000; i++) {
		struct kr_digest d;
		enum kr_err err;
		memcpy(buf, &i, sizeof(i));
		d = digest_of(buf, sizeof(buf));
		err = kr_store_blob_put(s, &d, buf, sizeof(buf));
		if (err == KR_E_NOSPC)
			return i;
		assert_int_equal(err, KR_OK);
		assert_int_equal(kr_store_keep(s, &d, true), KR_OK);
	}
	fail_msg("the disk does not fill");
	return 0;
}

static void count_blob(void *ctx, const struct kr_digest *d, uint64_t size)
{
	(void)d, (void)size;
	++*(uint32_t *)ctx;
}

static void save_on_full_disk(struct kr_store_upload *u)
{
	static const uint8_t buf[128 * 1024];
	const ssize_t n = pwrite(kr_store_upload_fd(u), buf, sizeof(buf), 0);
	size_t len;

	assert_true(n < (ssize_t)sizeof(buf)); /* took the last page */
	assert_int_equal(kr_store_upload_reserve(u, sizeof(buf)), KR_E_NOSPC);
	assert_int_equal(
		kr_store_upload_save(u, n > 0 ? (uint64_t)n : 0, "second", 6),
		KR_E_NOSPC);
	assert_int_equal(kr_store_upload_size(u), 0);
	assert_memory_equal(kr_store_upload_state(u, &len), "first", 5);
	assert_int_equal(len, 5);
}

static void refuse_all_on_full_disk(struct fixture *f, struct kr_store *s,
				    uint32_t kept)
{
	struct kr_store_partial *p;
	struct kr_store_usage use;
	uint32_t count = 0;

	assert_int_equal(kr_store_partial_open(s, &f->blobs[2].digest,
					       256 * 1024, PIECE, &p),
			 KR_E_NOSPC);
	assert_int_equal(for_each_name(f, "partial", NULL, NULL), 0);
	kr_store_for_each(s, count_blob, &count);
	assert_int_equal(count, kept);
	kr_store_usage(s, &use);
	assert_int_equal(use.partial_bytes, 0);
	assert_int_equal(use.upload_bytes, 0);
	assert_int_equal(use.evicted_count, 0);
	assert_int_equal(for_each_name(f, "trash", NULL, NULL), 0);
}

/* Kept blob @index of fill_with_kept may go from now on. */
static void release_kept(struct kr_store *s, uint32_t index)
{
	static uint8_t buf[64 * 1024];
	struct kr_digest d;

	memcpy(buf, &index, sizeof(index));
	d = digest_of(buf, sizeof(buf));
	assert_int_equal(kr_store_keep(s, &d, false), KR_OK);
}

static void test_a_full_disk_refuses_and_corrupts_nothing(void **state)
{
	struct fixture *f = *state;
	const char *why_not = mount_small(f->dir);
	struct kr_store_partial *p;
	struct kr_store_upload *u;
	struct kr_store_usage use;
	struct kr_store *s;
	uint32_t kept;

	if (why_not != NULL) {
		print_message("skipped: %s\n", why_not);
		skip();
	}
	f->opts.quota_bytes = 64 << 20; /* the disk ends long before it */
	assert_int_equal(kr_store_open(&f->opts, &s), KR_OK);
	assert_int_equal(kr_store_upload_create(s, &u), KR_OK);
	assert_int_equal(kr_store_upload_save(u, 0, "first", 5), KR_OK);
	kept = fill_with_kept(s);
	assert_true(kept > 4);
	save_on_full_disk(u);
	kr_store_upload_close(u, false);
	refuse_all_on_full_disk(f, s, kept);
	/* What may go makes way for what comes. */
	release_kept(s, 0);
	release_kept(s, 1);
	assert_int_equal(kr_store_partial_open(s, &f->blobs[2].digest,
					       100 * 1024, PIECE, &p),
			 KR_OK);
	kr_store_partial_close(p, false);
	kr_store_usage(s, &use);
	assert_int_equal(use.evicted_count, 2);
	/* But not for what could not come even so. */
	release_kept(s, 2);
	assert_int_equal(kr_store_partial_open(s, &f->blobs[2].digest, 2 << 20,
					       PIECE, &p),
			 KR_E_NOSPC);
	kr_store_usage(s, &use);
	assert_int_equal(use.evicted_count, 2);
	assert_int_equal(kr_store_upload_create(s, &u), KR_OK);
	assert_int_equal(kr_store_upload_reserve(u, 190 * 1024), KR_OK);
	kr_store_upload_close(u, false);
	kr_store_usage(s, &use);
	assert_int_equal(use.evicted_count, 3);
	kr_store_close(s);
	assert_int_equal(umount(f->dir), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(test_nothing_half_written_survives_a_kill),
		TEST(test_torn_bitmaps_and_pages_cost_time_never_truth),
		TEST(test_a_second_process_is_refused_until_the_first_dies),
		TEST(test_a_full_disk_refuses_and_corrupts_nothing),
	};

	if (argc > 1)
		seed = strtoull(argv[1], NULL, 0);
	kr_log_set_level(KR_LOG_ERROR); /* warnings are the point here */
	return cmocka_run_group_tests_name("store_crash", tests, NULL, NULL);
}
