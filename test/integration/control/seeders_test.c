/* A host of two reactors: the first on the world's ring, the second on its own
 * thread.  Which of them gets a connection is the kernel's choice, so what is
 * about one of them is tried until it had its turn. */
#define _GNU_SOURCE
#include "test/integration/control/transfer_world.h"

#include <poll.h>

#include "control/pace.h"
#include "control/seeders.h"
#include "core/metrics.h"
#include "peerwire/frame.h"
#include "peerwire/msg.h"

enum { KIB = 1024, MIB = 1024 * 1024, TRIES = 64, RAW_CONNS = 16 };

struct duo {
	struct world *w;
	struct host *origin;
	struct kr_seeders *seeders;
	struct content c;
};

static enum kr_err open_ring(void *ctx, uint32_t reactor, struct kr_io **ret)
{
	const struct kr_ring_opts o = { .buffer_count = 2 };

	(void)ctx;
	assert_int_equal(reactor, 1);
	return kr_ring_open(&o, ret);
}

static void close_ring(void *ctx, struct kr_io *io)
{
	(void)ctx;
	kr_ring_close(io);
}

static void open_origin(struct duo *d)
{
	struct host *h = &d->w->hosts[0];
	struct kr_transfer_opts o = {
		.io = d->w->io,
		.policy = &d->w->policy,
		.role = KR_PEER_ORIGIN,
		.cluster = "test",
		.zone = "here",
		.share = KR_LISTEN_FIRST,
		.ctx = h,
		.need_peers = on_need_peers,
		.bad_peer = on_bad_peer,
		.changed = on_changed,
	};
	struct kr_seeders_opts s = {
		.io = d->w->io,
		.count = 1,
		.open_io = open_ring,
		.close_io = close_ring,
	};

	h->w = d->w;
	h->role = KR_PEER_ORIGIN;
	h->id = (struct kr_peer_id){ { 1, 7 } };
	make_dir(h->dir);
	open_store(h, 0);
	o.id = h->id;
	o.store = h->store;
	assert_ok(kr_addr_parse("127.0.0.1:0", 11, &o.listen));
	assert_ok(kr_transfer_open(&o, &h->t));
	h->addr = kr_transfer_addr(h->t);
	s.store = h->store;
	s.transfer = h->t;
	s.seed = o;
	assert_ok(kr_seeders_open(&s, &d->seeders));
	d->origin = h;
}

static int set_up(void **state)
{
	struct duo *d = calloc(1, sizeof(*d));

	d->w = open_world_with(0);
	d->w->policy.hello_ns = 100 * MS;
	open_origin(d);
	make_content(&d->c, 4 * MIB, 256 * KIB, 77);
	*state = d;
	return 0;
}

static void close_seeders(struct duo *d)
{
	kr_seeders_close(d->seeders);
	d->seeders = NULL;
}

static int tear_down(void **state)
{
	struct duo *d = *state;

	free_content(&d->c);
	close_seeders(d);
	close_world(d->w);
	free(d);
	return 0;
}

static struct kr_metric *sent_by(int reactor)
{
	return kr_metrics_counter("kraken_reactor_sent_bytes_total", "",
				  reactor == 0 ? "reactor=\"0\""
					       : "reactor=\"1\"");
}

/* Let a fresh host fetch the content; true: from @reactor.  The host stays. */
static bool fetch_from(struct duo *d, enum kr_peer_role role, int reactor)
{
	struct host *h = open_host(d->w, 1, role);
	const int64_t before = kr_metric_value(sent_by(reactor));
	const int64_t before_any =
		kr_metric_value(sent_by(0)) + kr_metric_value(sent_by(1));
	struct fetch f;

	start_fetch(h, &d->c, &f);
	turn_until(d->w, f.done);
	assert_ok(f.err);
	assert_stored(h, &d->c);
	end_fetch(&f);
	turn_until(d->w,
		   kr_metric_value(sent_by(0)) + kr_metric_value(sent_by(1)) ==
			   before_any + (int64_t)d->c.len);
	return kr_metric_value(sent_by(reactor)) > before;
}

static bool happens_on(struct duo *d, enum kr_peer_role role, int reactor)
{
	for (int i = 0; i < TRIES; i++) {
		if (fetch_from(d, role, reactor))
			return true;
		close_host(&d->w->hosts[1]);
	}
	return false;
}

static void test_both_reactors_serve_agents(void **state)
{
	struct duo *d = *state;

	put_content(d->origin, &d->c);
	assert_true(happens_on(d, KR_PEER_AGENT, 0));
	close_host(&d->w->hosts[1]);
	assert_true(happens_on(d, KR_PEER_AGENT, 1));
}

static void only_the_first_serves(struct duo *d, enum kr_peer_role role)
{
	put_content(d->origin, &d->c);
	for (int i = 0; i < RAW_CONNS; i++) {
		assert_false(fetch_from(d, role, 1));
		close_host(&d->w->hosts[1]);
	}
}

static void test_proxies_are_the_first_reactors(void **state)
{
	only_the_first_serves(*state, KR_PEER_PROXY);
}

static void test_origins_are_the_first_reactors(void **state)
{
	only_the_first_serves(*state, KR_PEER_ORIGIN);
}

static bool is_deleted(struct duo *d)
{
	return kr_store_delete(d->origin->store, &d->c.meta.digest) == KR_OK;
}

/* What a seeder has lent to it is pinned until it lets go. */
static void test_a_blob_that_is_seeded_is_not_deleted(void **state)
{
	struct duo *d = *state;

	put_content(d->origin, &d->c);
	assert_true(happens_on(d, KR_PEER_AGENT, 1));
	kr_transfer_let_go(d->origin->t);
	turn_for(d->w, 50 * MS);
	assert_int_equal(kr_store_delete(d->origin->store, &d->c.meta.digest),
			 KR_E_BUSY);
	kr_seeders_make_room(d->seeders);
	turn_until(d->w, is_deleted(d));
}

static void test_a_blob_that_is_forgotten_is_let_go(void **state)
{
	struct duo *d = *state;
	const struct kr_digest other = { .alg = KR_SHA256, .bytes = { 1 } };

	put_content(d->origin, &d->c);
	assert_true(happens_on(d, KR_PEER_AGENT, 1));
	kr_transfer_let_go(d->origin->t);
	kr_seeders_forget(d->seeders, &other);
	turn_for(d->w, 50 * MS);
	assert_int_equal(kr_store_delete(d->origin->store, &d->c.meta.digest),
			 KR_E_BUSY);
	kr_seeders_forget(d->seeders, &d->c.meta.digest);
	turn_until(d->w, is_deleted(d));
}

/* Agents that come while it is on its way in get it, from either reactor. */
static void test_a_blob_on_its_way_in_is_served_when_it_is_there(void **state)
{
	struct duo *d = *state;
	struct host *source = open_host(d->w, 2, KR_PEER_PROXY);
	struct host *agents[2];
	struct fetch in, out[2];

	put_content(source, &d->c);
	for (int i = 0; i < 2; i++)
		agents[i] = open_host(d->w, i == 0 ? 1 : 3, KR_PEER_AGENT);
	start_fetch(d->origin, &d->c, &in);
	source->hidden = true; /* the agents know the origin only */
	for (int i = 0; i < 2; i++) {
		const struct kr_peer_hint hint = { .addr = d->origin->addr,
						   .id = d->origin->id,
						   .role = KR_PEER_ORIGIN };

		start_fetch(agents[i], &d->c, &out[i]);
		kr_blob_peers(out[i].b, &hint, 1);
	}
	const struct kr_peer_hint from = { .addr = source->addr,
					   .id = source->id,
					   .role = KR_PEER_PROXY,
					   .complete = true };

	turn_for(d->w, 200 * MS);
	kr_blob_peers(in.b, &from, 1);
	turn_until(d->w, in.done && out[0].done && out[1].done);
	assert_ok(in.err);
	for (int i = 0; i < 2; i++) {
		assert_ok(out[i].err);
		assert_stored(agents[i], &d->c);
		end_fetch(&out[i]);
	}
	end_fetch(&in);
}

static void test_what_the_store_lacks_is_refused(void **state)
{
	struct duo *d = *state;
	struct host *h = open_host(d->w, 1, KR_PEER_AGENT);
	struct fetch f;

	d->origin->has_all = true; /* the tracker is wrong */
	start_fetch(h, &d->c, &f);
	turn_for(d->w, 300 * MS);
	assert_false(f.done);
	assert_int_equal(received_bytes(&f), 0);
	kr_blob_wait_cancel(&f.wait);
	end_fetch(&f);
}

static void test_closing_in_the_middle_is_clean(void **state)
{
	struct duo *d = *state;
	struct content big;
	struct host *h = open_host(d->w, 1, KR_PEER_AGENT);
	struct fetch f;

	make_content(&big, 64 * MIB, 256 * KIB, 5);
	put_content(d->origin, &big);
	start_fetch(h, &big, &f);
	turn_until(d->w, received_bytes(&f) > 0);
	close_seeders(d);
	kr_blob_wait_cancel(&f.wait);
	end_fetch(&f);
	free_content(&big);
}

/* ---- guests */

static int dial(const struct duo *d)
{
	struct sockaddr_storage sa;
	const socklen_t len = kr_addr_to_sockaddr(&d->origin->addr, &sa);
	const int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, len), 0);
	return fd;
}

/* Turn until there is something to read; what recv(2) says. */
static ssize_t read_of(struct duo *d, int fd, uint8_t *buf, size_t cap)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	turn_until(d->w, poll(&p, 1, 0) == 1);
	return recv(fd, buf, cap, MSG_DONTWAIT);
}

static void test_who_says_no_hello_is_closed(void **state)
{
	struct duo *d = *state;
	uint8_t buf[256];
	int fds[RAW_CONNS];

	for (int i = 0; i < RAW_CONNS; i++)
		fds[i] = dial(d);
	for (int i = 0; i < RAW_CONNS; i++) {
		while (read_of(d, fds[i], buf, sizeof(buf)) > 0)
			; /* a HELLO, a BYE */
		close(fds[i]);
	}
}

static size_t make_hello(uint8_t *buf, size_t cap, enum kr_peer_role role)
{
	const struct kr_msg_hello m = {
		.version = KR_PROTO_VERSION,
		.id = { { 9 } },
		.cluster = { (const uint8_t *)"test", 4 },
		.role = role,
	};
	size_t len;

	assert_ok(kr_msg_hello_encode(&m, buf, cap, &len));
	return len;
}

static void test_a_hello_may_come_in_parts(void **state)
{
	struct duo *d = *state;
	uint8_t hello[512], got[512];
	const size_t len = make_hello(hello, sizeof(hello), KR_PEER_AGENT);

	for (int i = 0; i < RAW_CONNS; i++) {
		const int fd = dial(d);

		/* within the head, and within the body */
		const size_t cut[] = { 0, 5, KR_FRAME_HEAD_LEN + 3, len };

		for (int k = 0; k < 3; k++) {
			const size_t n = cut[k + 1] - cut[k];

			assert_int_equal(send(fd, hello + cut[k], n, 0),
					 (ssize_t)n);
			turn_for(d->w, 10 * MS);
		}
		assert_true(read_of(d, fd, got, sizeof(got)) >
			    KR_FRAME_HEAD_LEN);
		assert_int_equal(got[4], KR_FRAME_HELLO);
		close(fd);
	}
}

static void test_what_is_no_hello_is_refused(void **state)
{
	struct duo *d = *state;
	uint8_t got[512];

	for (int i = 0; i < RAW_CONNS; i++) {
		const int fd = dial(d);

		assert_int_equal(send(fd, "GET / HTTP/1.1\r\n", 16, 0), 16);
		while (read_of(d, fd, got, sizeof(got)) > 0)
			;
		close(fd);
	}
}

/* ---- a limit of the whole host */

static void test_reactors_share_the_tokens_of_a_limit(void **state)
{
	struct world *w = ((struct duo *)*state)->w;
	const uint64_t rate = 8 * MIB;
	struct kr_tokens tokens;
	struct kr_pace a, b;
	struct kr_turn turn;
	uint64_t granted = 0, n;

	kr_tokens_init(&tokens, rate, &w->policy, kr_io_now_ns(w->io));
	kr_pace_open(&a, w->io, rate / 2, &w->policy);
	kr_pace_open(&b, w->io, rate / 2, &w->policy);
	kr_pace_share(&a, &tokens);
	kr_pace_share(&b, &tokens);
	kr_turn_init(&turn);
	while ((n = kr_pace_ask(&a, &turn, MIB, NULL)) > 0)
		granted += n;
	kr_pace_leave(&turn);
	assert_true(granted > 0);
	assert_int_equal(kr_pace_ask(&b, &turn, MIB, NULL), 0);
	kr_pace_leave(&turn);
	kr_pace_give(&a, 256 * KIB);
	assert_true(kr_pace_ask(&b, &turn, 64 * KIB, NULL) > 0);
	kr_pace_close(&a);
	kr_pace_close(&b);
	kr_tokens_fini(&tokens);
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_both_reactors_serve_agents),
		T(test_proxies_are_the_first_reactors),
		T(test_origins_are_the_first_reactors),
		T(test_a_blob_that_is_seeded_is_not_deleted),
		T(test_a_blob_that_is_forgotten_is_let_go),
		T(test_a_blob_on_its_way_in_is_served_when_it_is_there),
		T(test_what_the_store_lacks_is_refused),
		T(test_closing_in_the_middle_is_clean),
		T(test_who_says_no_hello_is_closed),
		T(test_a_hello_may_come_in_parts),
		T(test_what_is_no_hello_is_refused),
		T(test_reactors_share_the_tokens_of_a_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
