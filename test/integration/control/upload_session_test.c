#define _GNU_SOURCE
#include "test/integration/control/transfer_world.h"

#include <sys/mount.h>

#include "control/upload.h"

enum { KIB = 1024, MIB = 1024 * 1024 };

/* One session and what came of the last request. */
struct session {
	struct world *w;
	struct kr_upload *u;
	enum kr_err err;
	bool done;
	uint64_t moved;
	uint8_t surplus[256];
	size_t surplus_len;
	struct kr_metainfo meta;
	int theirs, ours;     /* the client's socket */
	const uint8_t *out;   /* what the client still has to say */
	size_t out_len, step; /* step: bytes per turn, 0: all it can */
};

static void on_opened(void *ctx, enum kr_err err, struct kr_upload *u)
{
	struct session *s = ctx;

	s->err = err;
	s->u = u;
	s->done = true;
}

static void on_received(void *ctx, enum kr_err err,
			const struct kr_upload_got *got)
{
	struct session *s = ctx;

	s->err = err;
	s->moved = got->moved_bytes;
	s->surplus_len = got->surplus_len;
	assert_true(got->surplus_len <= sizeof(s->surplus));
	if (got->surplus_len > 0)
		memcpy(s->surplus, got->surplus, got->surplus_len);
	s->done = true;
}

static void on_finished(void *ctx, enum kr_err err, struct kr_metainfo *m)
{
	struct session *s = ctx;

	s->err = err;
	if (m != NULL) {
		s->meta = *m;
		s->u = NULL;
	}
	s->done = true;
}

static void talk(struct session *s)
{
	size_t n = s->step != 0 && s->step < s->out_len ? s->step : s->out_len;

	if (n == 0 || s->theirs < 0)
		return;
	const ssize_t sent =
		send(s->theirs, s->out, n, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (sent > 0) {
		s->out += sent;
		s->out_len -= (size_t)sent;
	}
}

static enum kr_err end(struct session *s)
{
	turn_until(s->w, (talk(s), s->done));
	s->done = false;
	return s->err;
}

static void create(struct world *w, struct host *h, struct session *s)
{
	int fds[2];

	memset(s, 0, sizeof(*s));
	s->w = w;
	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	s->ours = fds[0];
	s->theirs = fds[1];
	assert_ok(kr_upload_create(w->io, h->store, s, on_opened));
	assert_false(s->done);
	assert_ok(end(s));
}

static void leave(struct session *s)
{
	if (s->theirs >= 0)
		close(s->theirs);
	close(s->ours);
	kr_metainfo_fini(kr_alloc_heap(), &s->meta);
}

static void hang_up(struct session *s)
{
	close(s->theirs);
	s->theirs = -1;
}

/* The client sends @len bytes, @prefix of them came with the head already. */
static void begin_recv(struct session *s, bool chunked, uint64_t body_len,
		       const uint8_t *p, size_t len, size_t prefix)
{
	const struct kr_upload_body b = {
		.fd = s->ours,
		.chunked = chunked,
		.length_bytes = body_len,
		.prefix = p,
		.prefix_len = prefix,
	};

	s->out = p + prefix;
	s->out_len = len - prefix;
	assert_ok(kr_upload_recv(s->u, &b, s, on_received));
	assert_false(s->done);
}

static enum kr_err recv_length(struct session *s, const uint8_t *p, size_t len,
			       size_t prefix)
{
	begin_recv(s, false, len, p, len, prefix);
	return end(s);
}

static enum kr_err finish(struct session *s, const struct kr_digest *d)
{
	assert_ok(kr_upload_finish(s->u, d, s, on_finished));
	assert_false(s->done);
	return end(s);
}

static void assert_uploaded(struct session *s, struct host *h,
			    const struct content *c)
{
	uint8_t want[KR_SHA256_LEN], *buf;
	struct kr_metainfo m;
	size_t len;

	assert_stored(h, c);
	assert_int_equal(s->meta.size_bytes, c->len);
	assert_int_equal(s->meta.piece_bytes,
			 kr_metainfo_piece_bytes_for(c->len));
	assert_true(kr_digest_equal(&s->meta.digest, &c->meta.digest));
	for (uint32_t i = 0; i < s->meta.piece_count; i++) {
		kr_sha256(c->bytes + (size_t)i * s->meta.piece_bytes,
			  kr_metainfo_piece_len(&s->meta, i), want);
		assert_memory_equal(s->meta.hashes + (size_t)i * KR_SHA256_LEN,
				    want, KR_SHA256_LEN);
	}
	assert_ok(kr_store_meta_get(h->store, &c->meta.digest, &buf, &len));
	assert_ok(kr_metainfo_decode(kr_alloc_heap(), buf, len, &m));
	assert_memory_equal(m.id, s->meta.id, sizeof(m.id));
	kr_metainfo_fini(kr_alloc_heap(), &m);
	free(buf);
}

/* @body in chunks of @chunk bytes, then @rest; freed by the caller. */
static uint8_t *chunk(const uint8_t *body, size_t len, size_t size,
		      const char *rest, size_t *ret_len)
{
	uint8_t *out = malloc(len + (len / size + 2) * 24 + strlen(rest) + 64);
	size_t at = 0;

	for (size_t i = 0; i < len; i += size) {
		const size_t n = len - i < size ? len - i : size;

		at += (size_t)sprintf((char *)out + at, "%zx;x=y\r\n", n);
		memcpy(out + at, body + i, n);
		at += n;
		memcpy(out + at, "\r\n", 2);
		at += 2;
	}
	at += (size_t)sprintf((char *)out + at, "0\r\nT: u\r\n\r\n%s", rest);
	*ret_len = at;
	return out;
}

static void test_one_body_of_known_length(void **state)
{
	static const size_t lens[] = { 1, 256 * KIB, 512 * KIB + 1, 9 * MIB };
	struct world *w = *state;
	struct host *h = open_host(w, 0, KR_PEER_PROXY);
	struct session s;
	struct content c;

	for (size_t i = 0; i < 4; i++) {
		make_content(&c, lens[i], 256 * KIB, 50 + i);
		create(w, h, &s);
		assert_ok(recv_length(&s, c.bytes, c.len, c.len / 3));
		assert_int_equal(s.moved, c.len);
		assert_int_equal(kr_upload_size(s.u), c.len);
		assert_ok(finish(&s, &c.meta.digest));
		assert_int_equal(s.meta.piece_bytes, 256 * KIB);
		assert_uploaded(&s, h, &c);
		leave(&s);
		free_content(&c);
	}
}

static void test_empty_blob(void **state)
{
	struct world *w = *state;
	struct host *h = open_host(w, 0, KR_PEER_PROXY);
	struct session s;
	struct content c;

	make_content(&c, 0, MIB, 1);
	create(w, h, &s);
	assert_ok(recv_length(&s, c.bytes, 0, 0));
	assert_ok(finish(&s, &c.meta.digest));
	assert_uploaded(&s, h, &c);
	leave(&s);
	create(w, h, &s); /* without any body */
	assert_ok(finish(&s, &c.meta.digest));
	leave(&s);
	free_content(&c);
}

static void test_chunked_at_every_cut(void **state)
{
	static const size_t steps[] = { 1, 7, 64, 0 };
	struct world *w = *state;
	struct host *h = open_host(w, 0, KR_PEER_PROXY);
	struct session s;
	struct content c;
	size_t len;

	for (size_t i = 0; i < 4; i++) {
		make_content(&c, 500, MIB, 60 + i);
		uint8_t *raw = chunk(c.bytes, c.len, 33, "next", &len);

		create(w, h, &s);
		s.step = steps[i];
		begin_recv(&s, true, 0, raw, len, 0);
		assert_ok(end(&s));
		turn_until(w, (talk(&s), s.out_len == 0));
		assert_int_equal(s.moved, c.len);
		assert_true(s.surplus_len <= 4);
		assert_memory_equal(s.surplus, "next", s.surplus_len);
		assert_ok(finish(&s, &c.meta.digest));
		assert_uploaded(&s, h, &c);
		leave(&s);
		free(raw);
		free_content(&c);
	}
}

static void test_chunked_with_any_prefix(void **state)
{
	struct world *w = *state;
	struct host *h = open_host(w, 0, KR_PEER_PROXY);
	struct session s;
	struct content c;
	size_t len;

	make_content(&c, 40, MIB, 70);
	uint8_t *raw = chunk(c.bytes, c.len, 11, "GET", &len);

	for (size_t prefix = 0; prefix <= len; prefix++) {
		create(w, h, &s);
		begin_recv(&s, true, 0, raw, len, prefix);
		assert_ok(end(&s));
		assert_int_equal(s.moved, c.len);
		if (prefix == len) {
			assert_int_equal(s.surplus_len, 3);
			assert_memory_equal(s.surplus, "GET", 3);
		}
		assert_ok(finish(&s, &c.meta.digest));
		leave(&s);
	}
	free(raw);
	free_content(&c);
}

static void test_large_chunked_body(void **state)
{
	struct world *w = *state;
	struct host *h = open_host(w, 0, KR_PEER_PROXY);
	struct session s;
	struct content c;
	size_t len;

	make_content(&c, 20 * MIB + 3, MIB, 71);
	uint8_t *raw = chunk(c.bytes, c.len, 32 * KIB, "", &len);

	create(w, h, &s);
	begin_recv(&s, true, 0, raw, len, 1000000); /* more than a buffer */
	assert_ok(end(&s));
	assert_ok(finish(&s, &c.meta.digest));
	assert_uploaded(&s, h, &c);
	leave(&s);
	free(raw);
	free_content(&c);
}

/* Uploaded to @h with a first body of @first bytes of known length (0: none),
 * the rest chunked; the id of its metainfo. */
static void upload_in_two(struct world *w, struct host *h,
			  const struct content *c, size_t first,
			  uint8_t ret_id[KR_SHA256_LEN])
{
	struct session s;
	size_t len;
	uint8_t *raw = chunk(c->bytes + first, c->len - first, MIB, "", &len);

	create(w, h, &s);
	if (first > 0)
		assert_ok(recv_length(&s, c->bytes, first, 0));
	begin_recv(&s, true, 0, raw, len, 0);
	assert_ok(end(&s));
	assert_ok(finish(&s, &c->meta.digest));
	assert_uploaded(&s, h, c);
	memcpy(ret_id, s.meta.id, KR_SHA256_LEN);
	leave(&s);
	free(raw);
}

/* A download that has begun with one could not go on with another. */
static void test_the_metainfo_is_the_same_however_it_came(void **state)
{
	static const size_t lens[] = { 9 * MIB, 64 * MIB, 64 * MIB + 1 };
	struct world *w = *state;
	uint8_t id[KR_SHA256_LEN];
	struct content c;

	for (size_t i = 0; i < 3; i++) {
		make_content(&c, lens[i], kr_metainfo_piece_bytes_for(lens[i]),
			     100 + i);
		for (size_t first = 0; first <= MIB; first += MIB / 2) {
			struct host *h = open_host(w, 0, KR_PEER_PROXY);

			upload_in_two(w, h, &c, first, id);
			assert_memory_equal(id, c.meta.id, sizeof(id));
			close_host(h);
		}
		free_content(&c);
	}
}

static void test_surplus_behind_a_length_stays_where_it_is(void **state)
{
	struct world *w = *state;
	struct host *h = open_host(w, 0, KR_PEER_PROXY);
	struct session s;
	struct content c;
	char next[8];

	make_content(&c, 1000, 256 * KIB, 72);
	create(w, h, &s);
	/* The head's read had the whole body and the next request's start. */
	begin_recv(&s, false, 900, c.bytes, 950, 950);
	assert_ok(end(&s));
	assert_int_equal(s.moved, 900);
	assert_int_equal(s.surplus_len, 50);
	assert_memory_equal(s.surplus, c.bytes + 900, 50);
	/* From the socket no more is taken than the body has. */
	begin_recv(&s, false, 100, c.bytes + 900, 100, 0);
	assert_int_equal(send(s.theirs, c.bytes + 900, 100, 0), 100);
	assert_int_equal(send(s.theirs, "PUT", 3, 0), 3);
	s.out_len = 0;
	assert_ok(end(&s));
	assert_int_equal(read(s.ours, next, sizeof(next)), 3);
	assert_ok(finish(&s, &c.meta.digest));
	leave(&s);
	free_content(&c);
}

static void test_several_patches_and_a_restart_make_one_blob(void **state)
{
	struct world *w = *state;
	struct host *h = open_host(w, 0, KR_PEER_PROXY);
	char uuid[KR_STORE_UUID_LEN + 1];
	struct session s;
	struct content c;

	make_content(&c, 6 * MIB + 99, 256 * KIB, 73);
	create(w, h, &s);
	assert_ok(recv_length(&s, c.bytes, MIB + 5, 0));
	assert_ok(recv_length(&s, c.bytes + MIB + 5, 2 * MIB, 100));
	strcpy(uuid, kr_upload_uuid(s.u));
	kr_upload_close(s.u);
	restart_host(h);
	assert_ok(kr_upload_open(w->io, h->store, uuid, &s, on_opened));
	assert_ok(end(&s));
	assert_int_equal(kr_upload_size(s.u), 3 * MIB + 5);
	assert_ok(kr_upload_append(s.u, c.bytes + 3 * MIB + 5, MIB, &s,
				   on_received));
	assert_ok(end(&s));
	assert_ok(
		recv_length(&s, c.bytes + 4 * MIB + 5, c.len - 4 * MIB - 5, 0));
	assert_ok(finish(&s, &c.meta.digest));
	assert_uploaded(&s, h, &c);
	leave(&s);
	free_content(&c);
}

/* More pieces than the saved state holds. */
static void test_a_restart_of_a_large_session_hashes_again(void **state)
{
	struct world *w = *state;
	struct host *h = open_host(w, 0, KR_PEER_PROXY);
	char uuid[KR_STORE_UUID_LEN + 1];
	struct session s;
	struct content c;

	make_content(&c, 40 * MIB, 256 * KIB, 74);
	create(w, h, &s);
	assert_ok(recv_length(&s, c.bytes, 39 * MIB + 1, 0));
	strcpy(uuid, kr_upload_uuid(s.u));
	kr_upload_close(s.u);
	assert_ok(kr_upload_open(w->io, h->store, uuid, &s, on_opened));
	assert_ok(end(&s));
	assert_ok(recv_length(&s, c.bytes + 39 * MIB + 1, MIB - 1, 0));
	assert_ok(finish(&s, &c.meta.digest));
	assert_uploaded(&s, h, &c);
	leave(&s);
	free_content(&c);
}

static void test_a_short_body_keeps_what_came(void **state)
{
	struct world *w = *state;
	struct host *h = open_host(w, 0, KR_PEER_PROXY);
	struct session s, again;
	struct content c;

	make_content(&c, 2 * MIB, 256 * KIB, 75);
	create(w, h, &s);
	begin_recv(&s, false, c.len, c.bytes, MIB + 17, 0);
	turn_until(w, (talk(&s), s.out_len == 0));
	hang_up(&s);
	assert_err(end(&s), KR_E_CLOSED);
	assert_int_equal(s.moved, MIB + 17);
	assert_int_equal(kr_upload_size(s.u), MIB + 17);
	/* The client comes back on another connection. */
	create(w, h, &again);
	kr_upload_abort(again.u);
	again.u = s.u;
	assert_ok(recv_length(&again, c.bytes + MIB + 17, MIB - 17, 0));
	assert_ok(finish(&again, &c.meta.digest));
	assert_uploaded(&again, h, &c);
	leave(&again);
	leave(&s);
	free_content(&c);
}

static void test_a_broken_chunk_keeps_what_came(void **state)
{
	static const char raw[] = "4\r\nWiki\r\nwhat?";
	struct world *w = *state;
	struct host *h = open_host(w, 0, KR_PEER_PROXY);
	struct session s;

	create(w, h, &s);
	begin_recv(&s, true, 0, (const uint8_t *)raw, sizeof(raw) - 1, 0);
	assert_err(end(&s), KR_E_PROTO);
	assert_int_equal(s.moved, 4);
	kr_upload_abort(s.u);
	leave(&s);
}

static void test_a_wrong_digest_stores_nothing(void **state)
{
	struct world *w = *state;
	struct host *h = open_host(w, 0, KR_PEER_PROXY);
	struct content c, other;
	struct session s;
	uint64_t size;

	make_content(&c, MIB, 256 * KIB, 76);
	make_content(&other, 10, 256 * KIB, 77);
	create(w, h, &s);
	assert_ok(recv_length(&s, c.bytes, c.len, 0));
	assert_err(finish(&s, &other.meta.digest), KR_E_DIGEST);
	assert_err(kr_store_stat(h->store, &other.meta.digest, &size),
		   KR_E_NOTFOUND);
	assert_err(kr_store_stat(h->store, &c.meta.digest, &size),
		   KR_E_NOTFOUND);
	/* The session is there still: the right one is found by a new pass. */
	assert_ok(finish(&s, &c.meta.digest));
	assert_uploaded(&s, h, &c);
	leave(&s);
	free_content(&c);
	free_content(&other);
}

static void test_sha512_digest(void **state)
{
	struct world *w = *state;
	struct host *h = open_host(w, 0, KR_PEER_PROXY);
	struct kr_digest d;
	struct kr_hash hash;
	struct session s;
	struct content c;

	make_content(&c, MIB + 1, 256 * KIB, 78);
	assert_ok(kr_hash_init(&hash, KR_SHA512));
	kr_hash_update(&hash, c.bytes, c.len);
	kr_hash_final(&hash, &d);
	create(w, h, &s);
	assert_ok(recv_length(&s, c.bytes, c.len, 0));
	assert_ok(finish(&s, &d));
	c.meta.digest = d;
	assert_uploaded(&s, h, &c);
	leave(&s);
	free_content(&c);
}

static void test_cancel_ends_a_request_and_keeps_what_came(void **state)
{
	struct world *w = *state;
	struct host *h = open_host(w, 0, KR_PEER_PROXY);
	struct session s;
	struct content c;

	make_content(&c, MIB, 256 * KIB, 79);
	create(w, h, &s);
	begin_recv(&s, false, c.len, c.bytes, 600 * KIB, 0);
	turn_until(w, (talk(&s), s.out_len == 0));
	turn_for(w, 20 * MS);
	assert_true(kr_upload_busy(s.u));
	assert_err(kr_upload_append(s.u, "x", 1, &s, on_received), KR_E_BUSY);
	assert_err(kr_upload_finish(s.u, &c.meta.digest, &s, on_finished),
		   KR_E_BUSY);
	kr_upload_cancel(s.u);
	kr_upload_cancel(s.u);
	assert_false(s.done);
	assert_err(end(&s), KR_E_CANCELED);
	assert_int_equal(s.moved, 600 * KIB);
	assert_ok(recv_length(&s, c.bytes + 600 * KIB, c.len - 600 * KIB, 0));
	assert_ok(finish(&s, &c.meta.digest));
	leave(&s);
	free_content(&c);
}

static void test_two_uploads_at_once_with_few_buffers(void **state)
{
	struct world *w = open_world_with(2);
	struct content c[3];
	struct session s[3];
	struct host *h = &w->hosts[0];

	(void)state;
	h->w = w;
	make_dir(h->dir);
	open_store(h, 0);
	for (int i = 0; i < 3; i++) {
		make_content(&c[i], 5 * MIB + (size_t)i, 256 * KIB,
			     80 + (uint64_t)i);
		create(w, h, &s[i]);
	}
	for (int i = 0; i < 3; i++)
		begin_recv(&s[i], false, c[i].len, c[i].bytes, c[i].len, 10);
	turn_until(w, (talk(&s[0]), talk(&s[1]), talk(&s[2]),
		       s[0].done && s[1].done && s[2].done));
	for (int i = 0; i < 3; i++) {
		assert_ok(end(&s[i]));
		assert_ok(finish(&s[i], &c[i].meta.digest));
		assert_uploaded(&s[i], h, &c[i]);
		leave(&s[i]);
		free_content(&c[i]);
	}
	assert_int_equal(kr_io_buffer_free_count(w->io), 2);
	close_world(w);
}

static void test_disk_full_ends_an_upload_and_keeps_the_session(void **state)
{
	struct world *w = *state;
	struct host *h = open_host(w, 0, KR_PEER_PROXY);
	struct session s;
	struct content c;

	expect_errors();
	stop_transfer(h);
	kr_store_close(h->store);
	if (mount("none", h->dir, "tmpfs", 0, "size=4m") != 0) {
		open_store(h, 0);
		print_message("skipped: mounting a tmpfs needs privileges\n");
		skip();
	}
	open_store(h, 0);
	make_content(&c, 8 * MIB, 256 * KIB, 90);
	create(w, h, &s);
	assert_err(recv_length(&s, c.bytes, c.len, 0), KR_E_NOSPC);
	assert_true(s.moved < 4 * MIB);
	assert_int_equal(kr_upload_size(s.u), s.moved);
	kr_upload_abort(s.u);
	leave(&s);
	/* What fits goes through again. */
	create(w, h, &s);
	free_content(&c);
	make_content(&c, MIB, 256 * KIB, 91);
	assert_ok(recv_length(&s, c.bytes, c.len, 0));
	assert_ok(finish(&s, &c.meta.digest));
	leave(&s);
	free_content(&c);
	kr_store_close(h->store);
	h->store = NULL;
	umount2(h->dir, MNT_DETACH);
}

struct rival {
	struct kr_waiter waiter;
	struct world *w;
	uint8_t *buf;
};

static void take_buffer(struct kr_waiter *waiter)
{
	struct rival *r = KR_CONTAINER_OF(waiter, struct rival, waiter);

	r->buf = kr_io_buffer_take(r->w->io);
}

/* The store takes nothing: the first write fails while the upload waits, behind
 * somebody else, for a buffer to go on with. */
static void test_an_upload_that_failed_waits_for_no_buffer(void **state)
{
	struct world *w = open_world_with(1);
	struct host *h = &w->hosts[0];
	struct rival rival = { .w = w };
	struct session s;
	struct content c;

	(void)state;
	expect_errors();
	h->w = w;
	make_dir(h->dir);
	open_store(h, 64 * KIB);
	make_content(&c, 4 * MIB, 256 * KIB, 95);
	create(w, h, &s);
	kr_io_buffer_wait(w->io, &rival.waiter, take_buffer);
	turn_until(w, rival.buf != NULL);
	begin_recv(&s, false, c.len, c.bytes, c.len, 10);
	kr_io_buffer_give(w->io, rival.buf); /* the upload's */
	rival.buf = NULL;
	turn_until(w, kr_io_buffer_free_count(w->io) == 0);
	kr_io_buffer_wait(w->io, &rival.waiter, take_buffer);
	assert_err(end(&s), KR_E_NOSPC);
	turn_until(w, rival.buf != NULL);
	kr_io_buffer_give(w->io, rival.buf);
	turn_for(w, 20 * MS);
	assert_false(s.done); /* it was told once */
	assert_false(kr_upload_busy(s.u));
	assert_int_equal(kr_io_buffer_free_count(w->io), 1);
	kr_upload_abort(s.u);
	leave(&s);
	free_content(&c);
	close_world(w);
}

static void test_a_session_that_is_not_there_or_open_is_refused(void **state)
{
	struct world *w = *state;
	struct host *h = open_host(w, 0, KR_PEER_PROXY);
	char uuid[KR_STORE_UUID_LEN + 1];
	struct session s, other = { .w = w, .theirs = -1 };

	create(w, h, &s);
	strcpy(uuid, kr_upload_uuid(s.u));
	assert_ok(kr_upload_open(w->io, h->store, uuid, &other, on_opened));
	assert_err(end(&other), KR_E_BUSY);
	kr_upload_abort(s.u);
	assert_ok(kr_upload_open(w->io, h->store, uuid, &other, on_opened));
	assert_err(end(&other), KR_E_NOTFOUND);
	assert_ok(kr_upload_open(w->io, h->store, "../../etc", &other,
				 on_opened));
	assert_err(end(&other), KR_E_INVALID);
	leave(&s);
}

static void on_meta(void *ctx, enum kr_err err, struct kr_metainfo *m)
{
	struct session *s = ctx;

	s->err = err;
	if (m != NULL)
		s->meta = *m;
	s->done = true;
}

static void test_a_file_becomes_a_metainfo(void **state)
{
	struct world *w = *state;
	struct host *h = open_host(w, 0, KR_PEER_ORIGIN);
	struct session s = { .w = w, .theirs = -1 };
	struct kr_store_blob *b;
	struct content c;

	make_content(&c, 40 * MIB + 5, 256 * KIB, 92);
	put_content(h, &c);
	assert_ok(kr_store_blob_open(h->store, &c.meta.digest, &b));
	assert_ok(kr_metainfo_from_file(w->io, kr_store_blob_fd(b), c.len,
					KR_SHA256, &s, on_meta));
	assert_ok(end(&s));
	assert_memory_equal(s.meta.id, c.meta.id, sizeof(c.meta.id));
	kr_metainfo_fini(kr_alloc_heap(), &s.meta);
	/* Shorter than said. */
	assert_ok(kr_metainfo_from_file(w->io, kr_store_blob_fd(b), c.len + 1,
					KR_SHA256, &s, on_meta));
	assert_err(end(&s), KR_E_IO);
	kr_store_blob_close(b);
	free_content(&c);
}

#define WORLD(f) \
	cmocka_unit_test_setup_teardown(f, set_up_world, tear_down_world)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD(test_one_body_of_known_length),
		WORLD(test_empty_blob),
		WORLD(test_chunked_at_every_cut),
		WORLD(test_chunked_with_any_prefix),
		WORLD(test_large_chunked_body),
		WORLD(test_the_metainfo_is_the_same_however_it_came),
		WORLD(test_surplus_behind_a_length_stays_where_it_is),
		WORLD(test_several_patches_and_a_restart_make_one_blob),
		WORLD(test_a_restart_of_a_large_session_hashes_again),
		WORLD(test_a_short_body_keeps_what_came),
		WORLD(test_a_broken_chunk_keeps_what_came),
		WORLD(test_a_wrong_digest_stores_nothing),
		WORLD(test_sha512_digest),
		WORLD(test_cancel_ends_a_request_and_keeps_what_came),
		cmocka_unit_test(test_two_uploads_at_once_with_few_buffers),
		WORLD(test_disk_full_ends_an_upload_and_keeps_the_session),
		cmocka_unit_test(
			test_an_upload_that_failed_waits_for_no_buffer),
		WORLD(test_a_session_that_is_not_there_or_open_is_refused),
		WORLD(test_a_file_becomes_a_metainfo),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
