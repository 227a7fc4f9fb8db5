#define _GNU_SOURCE
#include "test/integration/control/transfer_world.h"

#include <sys/mount.h>

enum { KIB = 1024, MIB = 1024 * 1024 };

static void test_restart_resumes_where_it_stopped(void **state)
{
	struct world *w = *state;
	struct host *seeder = open_host(w, 0, KR_PEER_ORIGIN);
	struct host *h = open_host(w, 1, KR_PEER_AGENT);
	struct content c;
	struct fetch f;

	make_content(&c, 32 * MIB, 256 * KIB, 11);
	put_content(seeder, &c);
	start_fetch(h, &c, &f);
	turn_until(w, progress_of(&f).verified_bytes >= 16 * MIB);
	const uint64_t had = progress_of(&f).verified_bytes;

	assert_true(had < c.len);
	stop_transfer(h);
	assert_true(f.done);
	assert_int_equal(f.err, KR_E_CANCELED);
	end_fetch(&f);
	restart_host(h);
	start_fetch(h, &c, &f);
	turn_until(w, f.done);
	assert_ok(f.err);
	assert_true(received_bytes(&f) <= c.len - had);
	assert_stored(h, &c);
	end_fetch(&f);
	free_content(&c);
}

/* Path of the partial of @c on @h. */
static void partial_path(struct host *h, const struct content *c, char *path,
			 size_t cap)
{
	char hex[KR_DIGEST_TEXT_MAX];

	kr_digest_print_hex(&c->meta.digest, hex);
	snprintf(path, cap, "%s/partial/%s", h->dir, hex);
}

static void test_resume_does_not_believe_the_bitmap(void **state)
{
	struct world *w = *state;
	struct host *seeder = open_host(w, 0, KR_PEER_ORIGIN);
	struct host *h = open_host(w, 1, KR_PEER_AGENT);
	char path[512];
	struct content c;
	struct fetch f;

	make_content(&c, 8 * MIB, 256 * KIB, 12);
	put_content(seeder, &c);
	start_fetch(h, &c, &f);
	turn_until(w, progress_of(&f).verified_bytes >= 4 * MIB);
	stop_transfer(h);
	end_fetch(&f);
	partial_path(h, &c, path, sizeof(path));
	const int fd = open(path, O_WRONLY);

	assert_true(fd >= 0);
	for (off_t at = 1000; at < 8 * MIB; at += 512 * KIB)
		assert_int_equal(pwrite(fd, "torn", 4, at), 4);
	close(fd);
	restart_host(h);
	start_fetch(h, &c, &f);
	turn_until(w, f.done);
	assert_ok(f.err);
	assert_true(received_bytes(&f) >= 4 * MIB);
	assert_stored(h, &c);
	end_fetch(&f);
	free_content(&c);
}

static void test_a_partial_that_is_whole_is_committed_at_once(void **state)
{
	struct world *w = *state;
	struct host *h = open_host(w, 0, KR_PEER_AGENT);
	struct kr_store_partial *p;
	struct content c;
	struct fetch f;

	make_content(&c, MIB, 256 * KIB, 13);
	assert_ok(kr_store_partial_open(h->store, &c.meta.digest, c.len,
					256 * KIB, &p));
	assert_ok(kr_file_write_all(kr_store_partial_fd(p), c.bytes, c.len, 0));
	for (uint32_t i = 0; i < 4; i++)
		kr_store_partial_mark(p, i);
	kr_store_partial_close(p, true);
	start_fetch(h, &c, &f);
	turn_until(w, f.done);
	assert_ok(f.err);
	assert_int_equal(received_bytes(&f), 0);
	assert_int_equal(h->asked_for_peers, 0);
	assert_stored(h, &c);
	end_fetch(&f);
	free_content(&c);
}

static void test_a_liar_is_closed_and_the_honest_one_serves(void **state)
{
	struct world *w = *state;
	struct host *liar = open_host(w, 0, KR_PEER_AGENT);
	struct host *honest = open_host(w, 1, KR_PEER_AGENT);
	struct host *h = open_host(w, 2, KR_PEER_AGENT);
	struct kr_node_stats s;
	struct content c;
	struct fetch f;

	make_content(&c, 16 * MIB, 256 * KIB, 14);
	put_content(liar, &c);
	put_content(honest, &c);
	for (off_t at = 5; at < 16 * MIB; at += 256 * KIB)
		spoil(liar, &c, at);
	start_fetch(h, &c, &f);
	turn_until(w, f.done);
	assert_ok(f.err);
	assert_stored(h, &c);
	turn_until(w, h->bad_peers > 0);
	kr_transfer_stats(h->t, &s);
	assert_true(s.pieces_failed > 0);
	assert_true(s.closes[KR_BYE_CORRUPT] > 0);
	end_fetch(&f);
	free_content(&c);
}

/* Every piece is what the metainfo says, and the blob is another one. */
static void test_verify_full_does_not_trust_the_metainfo(void **state)
{
	struct world *w = *state;

	w->verify_full = true;
	struct host *seeder = open_host(w, 0, KR_PEER_ORIGIN);
	struct host *h = open_host(w, 1, KR_PEER_AGENT);
	struct content c, other;
	char path[512];
	uint64_t size;
	struct fetch f;

	make_content(&c, 3 * MIB, 256 * KIB, 15);
	make_content(&other, 3 * MIB, 256 * KIB, 16);
	/* The seeder's file and metainfo under the digest of another blob. */
	put_content(seeder, &other);
	c.meta.digest = other.meta.digest;
	struct kr_metainfo lie;

	assert_ok(kr_metainfo_make(kr_alloc_heap(), &other.meta.digest, c.len,
				   256 * KIB, c.meta.hashes, &lie));
	kr_metainfo_fini(kr_alloc_heap(), &c.meta);
	c.meta = lie;
	assert_ok(kr_store_meta_put(seeder->store, &c.meta.digest,
				    c.meta.encoded, c.meta.encoded_len));
	char hex[KR_DIGEST_TEXT_MAX];

	kr_digest_print_hex(&c.meta.digest, hex);
	snprintf(path, sizeof(path), "%s/blobs/sha256/%.2s/%s", seeder->dir,
		 hex, hex);
	assert_int_equal(chmod(path, 0600), 0);
	const int fd = open(path, O_WRONLY);

	assert_ok(kr_file_write_all(fd, c.bytes, c.len, 0));
	close(fd);

	start_fetch(h, &c, &f);
	turn_until(w, f.done);
	assert_int_equal(f.err, KR_E_DIGEST);
	assert_int_equal(kr_store_stat(h->store, &c.meta.digest, &size),
			 KR_E_NOTFOUND);
	partial_path(h, &c, path, sizeof(path));
	turn_for(w, 50 * MS);
	assert_int_equal(access(path, F_OK), -1);
	end_fetch(&f);
	free_content(&c);
	free_content(&other);
}

static void test_a_seeder_without_sound_metainfo_is_passed_over(void **state)
{
	struct world *w = *state;
	struct host *broken = open_host(w, 0, KR_PEER_ORIGIN);
	struct host *sound = open_host(w, 1, KR_PEER_ORIGIN);
	struct host *h = open_host(w, 2, KR_PEER_AGENT);
	struct content c;
	struct fetch f;

	make_content(&c, 2 * MIB, 256 * KIB, 42);
	put_content(broken, &c);
	put_content(sound, &c);
	assert_ok(kr_store_meta_put(broken->store, &c.meta.digest, "?", 1));
	start_fetch(h, &c, &f);
	turn_until(w, f.done);
	assert_ok(f.err);
	assert_stored(h, &c);
	end_fetch(&f);
	free_content(&c);
}

static void test_connections_above_the_limit_are_closed(void **state)
{
	struct world *w = *state;
	struct host *h;
	struct sockaddr_storage to;
	int fds[3], closed = 0;
	char byte;

	w->policy.conns_max = 2;
	h = open_host(w, 0, KR_PEER_AGENT);
	const socklen_t len = kr_addr_to_sockaddr(&h->addr, &to);

	for (int i = 0; i < 3; i++) {
		fds[i] = socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		assert_int_equal(connect(fds[i], (struct sockaddr *)&to, len),
				 0);
		turn_for(w, 20 * MS);
	}
	for (int i = 0; i < 3; i++) {
		ssize_t n;

		/* What was said first (HELLO), then the end or nothing. */
		while ((n = recv(fds[i], &byte, 1, MSG_DONTWAIT)) > 0)
			;
		closed += n == 0 ? 1 : 0;
		close(fds[i]);
	}
	assert_int_equal(closed, 1);
}

static void test_a_seeder_that_goes_is_replaced_by_another(void **state)
{
	struct world *w = *state;
	struct host *first = open_host(w, 0, KR_PEER_ORIGIN);
	struct host *second = open_host(w, 1, KR_PEER_ORIGIN);
	struct host *h = open_host(w, 2, KR_PEER_AGENT);
	struct content c;
	struct fetch f;

	make_content(&c, 64 * MIB, 256 * KIB, 17);
	put_content(first, &c);
	put_content(second, &c);
	start_fetch(h, &c, &f);
	turn_until(w, progress_of(&f).verified_bytes >= 8 * MIB);
	stop_transfer(first);
	assert_false(f.done);
	turn_until(w, f.done);
	assert_ok(f.err);
	assert_stored(h, &c);
	end_fetch(&f);
	free_content(&c);
}

static void test_no_room_in_the_quota_is_said_to_the_waiter(void **state)
{
	struct world *w = *state;
	struct host *h = open_host(w, 0, KR_PEER_AGENT);
	struct content c;
	struct fetch f;

	expect_errors();
	stop_transfer(h);
	kr_store_close(h->store);
	open_store(h, MIB);
	open_transfer(h);
	make_content(&c, 4 * MIB, 256 * KIB, 18);
	start_fetch(h, &c, &f);
	turn_until(w, f.done);
	assert_int_equal(f.err, KR_E_NOSPC);
	end_fetch(&f);
	free_content(&c);
}

/* The disk fills behind the store's back: the file is sparse after all. */
static void test_disk_full_while_downloading_keeps_the_partial(void **state)
{
	struct world *w = *state;
	struct host *seeder = open_host(w, 0, KR_PEER_ORIGIN);
	struct host *h = open_host(w, 1, KR_PEER_AGENT);
	char path[512], fill[128];
	struct content c;
	struct fetch f;

	expect_errors();
	stop_transfer(h);
	kr_store_close(h->store);
	if (mount("none", h->dir, "tmpfs", 0, "size=48m") != 0) {
		open_store(h, 0);
		print_message("skipped: mounting a tmpfs needs privileges\n");
		skip();
	}
	open_store(h, 0);
	open_transfer(h);
	make_content(&c, 32 * MIB, 256 * KIB, 19);
	put_content(seeder, &c);
	start_fetch(h, &c, &f);
	partial_path(h, &c, path, sizeof(path));
	turn_until(w, progress_of(&f).verified_bytes >= MIB);
	/* Punch the room out of the partial and take it. */
	const int fd = open(path, O_WRONLY);

	assert_int_equal(fallocate(fd,
				   FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				   0, 32 * MIB),
			 0);
	close(fd);
	snprintf(fill, sizeof(fill), "%s/fill", h->dir);
	const int hog = open(fill, O_WRONLY | O_CREAT, 0600);
	struct stat st;

	for (off_t n = 48 * MIB; n >= 64 * KIB; n /= 2)
		while (fstat(hog, &st) == 0 &&
		       fallocate(hog, 0, st.st_size, n) == 0)
			;
	close(hog);
	turn_until(w, f.done);
	assert_int_equal(f.err, KR_E_NOSPC);
	assert_int_equal(access(path, F_OK), 0);
	end_fetch(&f);
	/* With room again it goes on. */
	unlink(fill);
	start_fetch(h, &c, &f);
	turn_until(w, f.done);
	assert_ok(f.err);
	assert_stored(h, &c);
	end_fetch(&f);
	free_content(&c);
	stop_transfer(h);
	kr_store_close(h->store);
	h->store = NULL;
	umount2(h->dir, MNT_DETACH);
}

static void test_abort_ends_waiters_and_a_new_fetch_resumes(void **state)
{
	struct world *w = *state;
	struct host *seeder = open_host(w, 0, KR_PEER_ORIGIN);
	struct host *h = open_host(w, 1, KR_PEER_AGENT);
	struct content c;
	struct fetch f, again;

	make_content(&c, 32 * MIB, 256 * KIB, 20);
	put_content(seeder, &c);
	start_fetch(h, &c, &f);
	turn_until(w, progress_of(&f).verified_bytes >= 8 * MIB);
	kr_blob_abort(f.b, KR_E_UNAVAILABLE);
	start_fetch(h, &c, &again); /* while the first is still ending */
	turn_until(w, f.done && again.done);
	assert_int_equal(f.err, KR_E_UNAVAILABLE);
	assert_ok(again.err);
	assert_true(received_bytes(&again) < c.len);
	assert_stored(h, &c);
	end_fetch(&f);
	end_fetch(&again);
	free_content(&c);
}

static void test_close_with_everything_in_flight(void **state)
{
	struct world *w = *state;
	struct host *seeder = open_host(w, 0, KR_PEER_ORIGIN);
	struct host *a = open_host(w, 1, KR_PEER_AGENT);
	struct host *b = open_host(w, 2, KR_PEER_AGENT);
	struct content c[3];
	struct fetch f[6];

	for (int i = 0; i < 3; i++) {
		make_content(&c[i], 24 * MIB, 256 * KIB, 21 + (uint64_t)i);
		put_content(seeder, &c[i]);
		start_fetch(a, &c[i], &f[i]);
		start_fetch(b, &c[i], &f[3 + i]);
	}
	turn_until(w, progress_of(&f[0]).verified_bytes >= 2 * MIB);
	stop_transfer(b);
	for (int i = 3; i < 6; i++) {
		assert_true(f[i].done);
		end_fetch(&f[i]);
	}
	stop_transfer(seeder);
	turn_for(w, 20 * MS);
	stop_transfer(a);
	for (int i = 0; i < 3; i++) {
		assert_true(f[i].done);
		end_fetch(&f[i]);
		free_content(&c[i]);
	}
}

static void test_close_while_nothing_was_ever_found(void **state)
{
	struct world *w = *state;
	struct host *h = open_host(w, 0, KR_PEER_AGENT);
	struct content c;
	struct fetch f;

	make_content(&c, MIB, 256 * KIB, 25);
	start_fetch(h, &c, &f);
	turn_until(w, h->asked_for_peers > 0);
	stop_transfer(h);
	assert_true(f.done);
	assert_int_equal(f.err, KR_E_CANCELED);
	end_fetch(&f);
	free_content(&c);
}

/* A host that connects and sends what is no protocol, or nothing at all. */
static void test_strangers_do_no_harm(void **state)
{
	struct world *w = *state;
	struct host *h = open_host(w, 0, KR_PEER_AGENT);
	struct sockaddr_storage to;
	const socklen_t len = kr_addr_to_sockaddr(&h->addr, &to);
	struct kr_node_stats s;
	int fds[3];

	for (int i = 0; i < 3; i++) {
		fds[i] = socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		assert_int_equal(connect(fds[i], (struct sockaddr *)&to, len),
				 0);
	}
	assert_int_equal(send(fds[0], "GET / HTTP/1.1\r\n\r\n", 18, 0), 18);
	close(fds[1]);
	turn_for(w, 100 * MS);
	kr_transfer_stats(h->t, &s);
	assert_int_equal(s.closes[KR_BYE_PROTO], 1);
	assert_int_equal(s.conns, 1); /* the silent one */
	stop_transfer(h);
	close(fds[0]);
	close(fds[2]);
}

/* ---- a relay between two hosts, that the test slows down or stops ---- */

struct relay {
	int listener, fds[2]; /* of who dialled; of whom it wanted */
	struct kr_addr at, to;
	uint8_t buf[2][65536]; /* [i]: read from fds[i] */
	size_t len[2];
	size_t max[2]; /* bytes read of fds[i] per turn */
	struct kr_rand rand;
	bool any_size; /* 1 to max at random */
	uint64_t passed[2];
};

static void open_relay(struct relay *r, const struct kr_addr *to)
{
	struct sockaddr_storage at;
	struct kr_addr any;

	memset(r, 0, sizeof(*r));
	r->to = *to;
	r->fds[0] = r->fds[1] = -1;
	r->max[0] = r->max[1] = sizeof(r->buf[0]);
	kr_rand_init(&r->rand, 4711);
	assert_ok(kr_addr_parse("127.0.0.1:0", 11, &any));
	socklen_t len = kr_addr_to_sockaddr(&any, &at);

	r->listener = socket(at.ss_family,
			     SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(r->listener, (struct sockaddr *)&at, len), 0);
	assert_int_equal(listen(r->listener, 4), 0);
	assert_int_equal(getsockname(r->listener, (struct sockaddr *)&at, &len),
			 0);
	assert_ok(kr_addr_from_sockaddr((struct sockaddr *)&at, &r->at));
}

static void close_relay(struct relay *r)
{
	close(r->listener);
	for (int i = 0; i < 2; i++)
		if (r->fds[i] >= 0)
			close(r->fds[i]);
}

static void relay_accept(struct relay *r)
{
	struct sockaddr_storage to;
	const socklen_t len = kr_addr_to_sockaddr(&r->to, &to);

	r->fds[0] = accept4(r->listener, NULL, NULL, SOCK_NONBLOCK);
	if (r->fds[0] < 0)
		return;
	r->fds[1] = socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(r->fds[1], (struct sockaddr *)&to, len), 0);
	assert_int_equal(fcntl(r->fds[1], F_SETFL, O_NONBLOCK), 0);
}

static void relay_one_way(struct relay *r, int from)
{
	size_t max = r->max[from];

	if (r->any_size)
		max = 1 + kr_rand_below(&r->rand, (uint32_t)max);
	if (r->len[from] == 0 && max > 0) {
		const ssize_t n = read(r->fds[from], r->buf[from], max);

		if (n <= 0)
			return;
		r->len[from] = (size_t)n;
	}
	if (r->len[from] == 0)
		return;
	const ssize_t n = send(r->fds[1 - from], r->buf[from], r->len[from],
			       MSG_NOSIGNAL);

	if (n <= 0)
		return;
	memmove(r->buf[from], r->buf[from] + n, r->len[from] - (size_t)n);
	r->len[from] -= (size_t)n;
	r->passed[from] += (uint64_t)n;
}

static void run_relay(struct relay *r)
{
	if (r->fds[0] < 0)
		relay_accept(r);
	if (r->fds[0] < 0)
		return;
	relay_one_way(r, 0);
	relay_one_way(r, 1);
}

/* The only peer it is told of is behind the relay. */
static void fetch_through(struct host *h, struct relay *r, struct host *seeder,
			  const struct content *c, struct fetch *f)
{
	const struct kr_peer_hint hint = {
		.addr = r->at,
		.id = seeder->id,
		.role = seeder->role,
		.complete = true,
		.same_zone = true,
	};

	start_fetch(h, c, f);
	kr_blob_peers(f->b, &hint, 1);
}

/* Wherever the network cuts the stream, it is the same stream. */
static void test_any_segmentation_of_the_stream(void **state)
{
	static struct relay r;
	struct world *w = *state;
	struct host *seeder = open_host(w, 0, KR_PEER_ORIGIN);
	struct host *h = open_host(w, 1, KR_PEER_AGENT);
	struct content c;
	struct fetch f;

	make_content(&c, 3 * MIB + 1, 64 * KIB, 40);
	put_content(seeder, &c);
	open_relay(&r, &seeder->addr);
	r.any_size = true;
	r.max[0] = 40;
	r.max[1] = 9000;
	seeder->hidden = true;
	fetch_through(h, &r, seeder, &c, &f);
	turn_until(w, (run_relay(&r), f.done));
	assert_ok(f.err);
	assert_true(r.passed[1] > c.len);
	assert_stored(h, &c);
	end_fetch(&f);
	free_content(&c);
	close_relay(&r);
}

static void test_a_peer_that_stops_reading_holds_nobody_up(void **state)
{
	static struct relay r;
	struct world *w = *state;
	struct host *seeder = open_host(w, 0, KR_PEER_ORIGIN);
	struct host *stuck = open_host(w, 1, KR_PEER_AGENT);
	struct host *h = open_host(w, 2, KR_PEER_AGENT);
	struct content c;
	struct fetch f, fs;

	make_content(&c, 64 * MIB, 8 * MIB, 41);
	put_content(seeder, &c);
	open_relay(&r, &seeder->addr);
	seeder->hidden = true;
	stuck->hidden = true;
	fetch_through(stuck, &r, seeder, &c, &fs);
	turn_until(w, (run_relay(&r), r.passed[1] > MIB));
	r.max[1] = 0; /* it reads no more; its requests go on */
	turn_for(w, 50 * MS);
	seeder->hidden = false;
	start_fetch(h, &c, &f);
	turn_until(w, (run_relay(&r), f.done));
	assert_ok(f.err);
	assert_false(fs.done);
	const uint64_t since = kr_clock_mono_ns();

	stop_transfer(seeder); /* with a block stuck in the socket */
	assert_true(kr_clock_mono_ns() - since < 3000 * MS);
	stop_transfer(stuck);
	assert_true(fs.done);
	end_fetch(&f);
	end_fetch(&fs);
	free_content(&c);
	close_relay(&r);
}

#define WORLD(f) \
	cmocka_unit_test_setup_teardown(f, set_up_world, tear_down_world)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD(test_restart_resumes_where_it_stopped),
		WORLD(test_resume_does_not_believe_the_bitmap),
		WORLD(test_a_partial_that_is_whole_is_committed_at_once),
		WORLD(test_a_liar_is_closed_and_the_honest_one_serves),
		WORLD(test_verify_full_does_not_trust_the_metainfo),
		WORLD(test_a_seeder_that_goes_is_replaced_by_another),
		WORLD(test_no_room_in_the_quota_is_said_to_the_waiter),
		WORLD(test_disk_full_while_downloading_keeps_the_partial),
		WORLD(test_abort_ends_waiters_and_a_new_fetch_resumes),
		WORLD(test_close_with_everything_in_flight),
		WORLD(test_close_while_nothing_was_ever_found),
		WORLD(test_strangers_do_no_harm),
		WORLD(test_a_seeder_without_sound_metainfo_is_passed_over),
		WORLD(test_connections_above_the_limit_are_closed),
		WORLD(test_any_segmentation_of_the_stream),
		WORLD(test_a_peer_that_stops_reading_holds_nobody_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
