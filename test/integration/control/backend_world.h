/*
 * test/integration/control/backend_world.h - a store on a real ring, and a
 * storage backend in memory that holds one object and fails on demand.
 */
#ifndef KR_TEST_BACKEND_WORLD_H
#define KR_TEST_BACKEND_WORLD_H

#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backends/backends.h"
#include "core/clock.h"
#include "core/hash.h"
#include "core/list.h"
#include "core/log.h"
#include "core/store.h"
#include "test/support/dir.h"
#include "test/support/test.h"
#include "uring/ring.h"

#define MS UINT64_C(1000000)

enum { OBJECT_BYTES = 100000 };

struct fake { /* called on threads of the work pool */
	struct kr_backend base;
	atomic_int put_err; /* enum kr_err: what a put answers */
	atomic_uint puts, failed_puts, gets;
	atomic_uint get_delay_ms;
	char name[KR_DIGEST_TEXT_MAX]; /* of the object; "": there is none */
	uint8_t object[OBJECT_BYTES];
};

struct world {
	struct kr_io *io;
	struct kr_work_pool *pool;
	char dir[DIR_LEN_MAX];
	struct kr_store *store;
	struct kr_backends *backends; /* of namespaces below "team/" */
	struct fake *fake;
	struct kr_timer tick;
	int log_fd;
};

/* ---- the backend */

static inline struct fake *fake_of(struct kr_backend *b)
{
	return (struct fake *)(void *)b;
}

static inline enum kr_err fake_stat(struct kr_backend *b, const char *name,
				    uint64_t *ret_size_bytes)
{
	if (strcmp(fake_of(b)->name, name) != 0)
		return KR_E_NOTFOUND;
	*ret_size_bytes = OBJECT_BYTES;
	return KR_OK;
}

static inline enum kr_err fake_get(struct kr_backend *b, const char *name,
				   uint64_t offset_bytes, uint64_t len_bytes,
				   int fd)
{
	struct fake *f = fake_of(b);

	atomic_fetch_add(&f->gets, 1);
	(void)usleep(atomic_load(&f->get_delay_ms) * 1000);
	if (strcmp(f->name, name) != 0)
		return KR_E_NOTFOUND;
	if (offset_bytes + len_bytes > OBJECT_BYTES)
		return KR_E_RANGE;
	return pwrite(fd, f->object + offset_bytes, len_bytes,
		      (off_t)offset_bytes) == (ssize_t)len_bytes
		       ? KR_OK
		       : KR_E_IO;
}

static inline enum kr_err fake_put(struct kr_backend *b, const char *name,
				   int fd, uint64_t size_bytes)
{
	struct fake *f = fake_of(b);
	const enum kr_err err = (enum kr_err)atomic_load(&f->put_err);

	if (err != KR_OK) {
		atomic_fetch_add(&f->failed_puts, 1);
		return err;
	}
	if (size_bytes != OBJECT_BYTES ||
	    pread(fd, f->object, size_bytes, 0) != OBJECT_BYTES)
		return KR_E_CORRUPT;
	(void)snprintf(f->name, sizeof(f->name), "%s", name);
	atomic_fetch_add(&f->puts, 1);
	return KR_OK;
}

static inline void fake_close(struct kr_backend *b)
{
	free(fake_of(b));
}

static inline struct fake *open_fake(void)
{
	static const struct kr_backend_ops ops = { .type = "fake",
						   .stat = fake_stat,
						   .get = fake_get,
						   .put = fake_put,
						   .close = fake_close };
	struct fake *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->base.ops = &ops;
	return f;
}

/* ---- turning */

static inline void on_tick(struct kr_timer *t)
{
	struct world *w = KR_CONTAINER_OF(t, struct world, tick);

	kr_io_timer_set(w->io, t, kr_io_now_ns(w->io) + 5 * MS, on_tick);
}

/* Turn until @cond, at most 30 s. */
#define turn_until(w, cond)                                                 \
	do {                                                                \
		const uint64_t until_ = kr_clock_mono_ns() + 30000 * MS;    \
		while (!(cond)) {                                           \
			if (kr_clock_mono_ns() > until_)                    \
				fail_msg("30 s passed without: %s", #cond); \
			kr_io_turn((w)->io);                                \
		}                                                           \
	} while (0)

/* ---- the world */

/* What a blob of OBJECT_BYTES bytes @value is called. */
static inline struct kr_digest make_object(uint8_t value,
					   uint8_t ret[OBJECT_BYTES])
{
	struct kr_digest d = { .alg = KR_SHA256 };

	memset(ret, value, OBJECT_BYTES);
	kr_sha256(ret, OBJECT_BYTES, d.bytes);
	return d;
}

static inline void open_store(struct world *w)
{
	const struct kr_store_opts opts = { .dir = w->dir,
					    .quota_bytes = 1 << 30 };

	assert_ok(kr_store_open(&opts, &w->store));
}

static inline int set_up_world(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	/* failures are the point here */
	w->log_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	kr_log_set_fd(w->log_fd);
	make_dir(w->dir);
	assert_ok(kr_work_pool_open(2, &w->pool));
	const struct kr_ring_opts opts = { .buffer_count = 1, .pool = w->pool };
	assert_ok(kr_ring_open(&opts, &w->io));
	open_store(w);
	w->fake = open_fake();
	assert_ok(kr_backends_open(&w->backends));
	assert_ok(kr_backends_add(w->backends, "^team/", &w->fake->base, NULL));
	on_tick(&w->tick);
	*state = w;
	return 0;
}

static inline int tear_down_world(void **state)
{
	struct world *w = *state;

	kr_io_timer_stop(w->io, &w->tick);
	kr_store_close(w->store);
	kr_backends_close(w->backends);
	kr_ring_close(w->io);
	kr_work_pool_close(w->pool);
	const int rc = remove_dir(w->dir);
	(void)close(w->log_fd);
	free(w);
	return rc;
}

#endif
