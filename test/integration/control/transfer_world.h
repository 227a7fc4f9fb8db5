/*
 * test/integration/control/transfer_world.h - several hosts (a store and a
 * transfer each) on one ring of one process, over loopback.
 */
#ifndef KR_TEST_TRANSFER_WORLD_H
#define KR_TEST_TRANSFER_WORLD_H

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include "control/blob_hash.h"
#include "control/transfer.h"
#include "core/alloc.h"
#include "core/clock.h"
#include "core/list.h"
#include "core/log.h"
#include "core/rand.h"
#include "test/support/dir.h"
#include "test/support/test.h"
#include "uring/ring.h"

enum { HOSTS_MAX = 4 };
#define MS UINT64_C(1000000)

struct world;

struct host {
	struct world *w;
	char dir[DIR_LEN_MAX];
	struct kr_store *store;
	struct kr_transfer *t;
	enum kr_peer_role role;
	struct kr_addr addr;
	struct kr_peer_id id;
	bool has_all; /* says the tracker */
	bool hidden;  /* the tracker does not know it */
	uint32_t asked_for_peers, bad_peers, completed, let_go;
};

struct world {
	struct kr_io *io;
	struct kr_work_pool *pool;
	struct kr_policy policy;
	bool verify_full;
	void (*disputed)(void *ctx, struct kr_blob *b); /* its ctx: the host */
	void *ctx;                                      /* the test's */
	struct host hosts[HOSTS_MAX];
	struct kr_timer tick;
};

/* ---- turning */

static inline void on_tick(struct kr_timer *t)
{
	struct world *w = KR_CONTAINER_OF(t, struct world, tick);

	kr_io_timer_set(w->io, t, kr_io_now_ns(w->io) + 5 * MS, on_tick);
}

static inline void turn_for(struct world *w, uint64_t ns)
{
	const uint64_t until = kr_clock_mono_ns() + ns;

	while (kr_clock_mono_ns() < until)
		kr_io_turn(w->io);
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

/* ---- hosts */

/* What a tracker would say: everybody else. */
static inline void on_need_peers(void *ctx, struct kr_blob *b)
{
	struct host *h = ctx;
	struct kr_peer_hint hints[HOSTS_MAX];
	size_t n = 0;

	h->asked_for_peers++;
	for (int i = 0; i < HOSTS_MAX; i++) {
		const struct host *o = &h->w->hosts[i];

		if (o == h || o->t == NULL || o->hidden)
			continue;
		hints[n++] = (struct kr_peer_hint){
			.addr = o->addr,
			.id = o->id,
			.role = o->role,
			.complete = o->has_all,
			.same_zone = true,
		};
	}
	kr_blob_peers(b, hints, n);
}

static inline void on_bad_peer(void *ctx, struct kr_blob *b,
			       const struct kr_peer_id *id,
			       const struct kr_addr *addr)
{
	struct host *h = ctx;

	(void)b;
	(void)id;
	(void)addr;
	h->bad_peers++;
}

static inline void on_changed(void *ctx, struct kr_blob *b, bool complete)
{
	struct host *h = ctx;

	(void)b;
	if (complete)
		h->completed++;
	else
		h->let_go++;
}

static inline void open_store(struct host *h, uint64_t quota_bytes)
{
	const struct kr_store_opts o = { .dir = h->dir,
					 .quota_bytes = quota_bytes };

	assert_ok(kr_store_open(&o, &h->store));
}

static inline void open_transfer(struct host *h)
{
	struct world *w = h->w;
	const int index = (int)(h - w->hosts);
	struct kr_transfer_opts o = {
		.io = w->io,
		.store = h->store,
		.policy = &w->policy,
		.role = h->role,
		.cluster = "test",
		.zone = "here",
		.verify_full = w->verify_full,
		.ctx = h,
		.need_peers = on_need_peers,
		.bad_peer = on_bad_peer,
		.disputed = w->disputed,
		.changed = on_changed,
	};

	h->id = (struct kr_peer_id){ { (uint8_t)(index + 1), 7 } };
	o.id = h->id;
	assert_ok(kr_addr_parse("127.0.0.1:0", 11, &o.listen));
	assert_ok(kr_transfer_open(&o, &h->t));
	h->addr = kr_transfer_addr(h->t);
	assert_int_not_equal(h->addr.port, 0);
}

static inline struct host *open_host(struct world *w, int index,
				     enum kr_peer_role role)
{
	struct host *h = &w->hosts[index];

	h->w = w;
	h->role = role;
	make_dir(h->dir);
	open_store(h, 0);
	open_transfer(h);
	return h;
}

static inline void stop_transfer(struct host *h)
{
	kr_transfer_close(h->t);
	h->t = NULL;
}

static inline void restart_host(struct host *h)
{
	if (h->t != NULL)
		stop_transfer(h);
	kr_store_close(h->store);
	open_store(h, 0);
	open_transfer(h);
}

static inline void close_host(struct host *h)
{
	if (h->t != NULL)
		kr_transfer_close(h->t);
	if (h->store != NULL)
		kr_store_close(h->store);
	if (h->dir[0] != '\0')
		assert_int_equal(remove_dir(h->dir), 0);
	memset(h, 0, sizeof(*h));
}

static inline struct world *open_world_with(uint32_t buffer_count)
{
	struct world *w = calloc(1, sizeof(*w));
	struct kr_ring_opts o = { .buffer_count = buffer_count };

	kr_log_set_level(getenv("KR_TEST_LOG") != NULL ? KR_LOG_DEBUG
						       : KR_LOG_ERROR);
	kr_log_set_fd(STDERR_FILENO);
	assert_non_null(w);
	assert_ok(kr_work_pool_open(2, &w->pool));
	o.pool = w->pool;
	assert_ok(kr_ring_open(&o, &w->io));
	kr_policy_defaults(&w->policy);
	on_tick(&w->tick);
	return w;
}

static inline void close_world(struct world *w)
{
	for (int i = 0; i < HOSTS_MAX; i++)
		close_host(&w->hosts[i]);
	kr_io_timer_stop(w->io, &w->tick);
	kr_ring_close(w->io);
	kr_work_pool_close(w->pool);
	free(w);
}

/* What is about to be logged as an error is what the test is about. */
static inline void expect_errors(void)
{
	kr_log_set_fd(open("/dev/null", O_WRONLY | O_CLOEXEC));
}

static inline int set_up_world(void **state)
{
	*state = open_world_with(0);
	return 0;
}

static inline int tear_down_world(void **state)
{
	close_world(*state);
	return 0;
}

/* ---- content */

struct content {
	uint8_t *bytes;
	size_t len;
	struct kr_metainfo meta;
};

/* Incompressible, different for each @seed, reproducible. */
static inline void make_content(struct content *c, size_t len,
				uint32_t piece_bytes, uint64_t seed)
{
	struct kr_rand r;
	struct kr_blob_hash h;
	struct kr_digest d;

	c->len = len;
	c->bytes = malloc(len + 8);
	assert_non_null(c->bytes);
	kr_rand_init(&r, seed);
	for (size_t i = 0; i < len; i += 8) {
		const uint64_t v = kr_rand_u64(&r);

		memcpy(c->bytes + i, &v, 8);
	}
	assert_ok(kr_blob_hash_init(&h, KR_SHA256, piece_bytes));
	assert_ok(kr_blob_hash_update(&h, c->bytes, len));
	assert_ok(kr_blob_hash_final(&h, &d, &c->meta));
}

static inline void free_content(struct content *c)
{
	kr_metainfo_fini(kr_alloc_heap(), &c->meta);
	free(c->bytes);
}

/* As if it had been uploaded there. */
static inline void put_content(struct host *h, const struct content *c)
{
	assert_ok(
		kr_store_blob_put(h->store, &c->meta.digest, c->bytes, c->len));
	assert_ok(kr_store_meta_put(h->store, &c->meta.digest, c->meta.encoded,
				    c->meta.encoded_len));
	h->has_all = true;
}

/* Is the blob in the store of @h, byte for byte? */
static inline void assert_stored(struct host *h, const struct content *c)
{
	struct kr_store_blob *b;
	uint8_t *buf = malloc(c->len + 1);

	assert_ok(kr_store_blob_open(h->store, &c->meta.digest, &b));
	assert_int_equal(kr_store_blob_size(b), c->len);
	assert_ok(kr_file_read_all(kr_store_blob_fd(b), buf, c->len, 0));
	assert_memory_equal(buf, c->bytes, c->len);
	kr_store_blob_close(b);
	free(buf);
}

/* Change a byte of the blob's file behind the store's back. */
static inline void spoil(struct host *h, const struct content *c, off_t at)
{
	char hex[KR_DIGEST_TEXT_MAX], path[512];
	const uint8_t byte = (uint8_t)~c->bytes[at];

	kr_digest_print_hex(&c->meta.digest, hex);
	snprintf(path, sizeof(path), "%s/blobs/sha256/%.2s/%s", h->dir, hex,
		 hex);
	assert_int_equal(chmod(path, 0600), 0);
	const int fd = open(path, O_WRONLY);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	close(fd);
}

/* ---- fetching */

struct fetch {
	struct kr_blob *b;
	struct kr_blob_wait wait;
	enum kr_err err;
	bool done;
};

static inline void on_fetched(struct kr_blob_wait *w, enum kr_err err)
{
	struct fetch *f = KR_CONTAINER_OF(w, struct fetch, wait);

	f->err = err;
	f->done = true;
}

static inline void start_fetch(struct host *h, const struct content *c,
			       struct fetch *f)
{
	memset(f, 0, sizeof(*f));
	assert_ok(kr_transfer_fetch(h->t, "test/repo", &c->meta, 1, &f->b));
	kr_blob_wait(f->b, &f->wait, on_fetched);
	assert_false(f->done);
}

static inline struct kr_blob_progress progress_of(const struct fetch *f)
{
	struct kr_blob_progress p;

	kr_blob_progress(f->b, &p);
	return p;
}

static inline uint64_t received_bytes(const struct fetch *f)
{
	const struct kr_blob_progress p = progress_of(f);
	uint64_t sum = 0;

	for (int i = 0; i < KR_PEER_ROLE_COUNT; i++)
		sum += p.from_bytes[i];
	return sum;
}

static inline void end_fetch(struct fetch *f)
{
	kr_blob_put(f->b);
	f->b = NULL;
}

#endif
