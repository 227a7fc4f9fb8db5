/*
 * test/integration/control/trackers_test.c - what an agent announces, as the
 * tracker hears it: ordinary agents, and leeches.
 */
#define _GNU_SOURCE
#include "test/integration/control/transfer_world.h"

#include "control/origin_msg.h"
#include "control/rpc.h"
#include "control/trackers.h"

enum { KIB = 1024 };

struct heard { /* of one blob */
	uint32_t announces, complete, gone;
	uint32_t degree; /* the last */
};

struct scene {
	struct world *w;
	struct kr_rpc_server *server;
	struct kr_trackers *trackers;
	struct heard heard;
	bool denies; /* says that we are of another cluster */
};

static void on_announce(void *ctx, struct kr_rpc_request *req,
			struct kr_bytes params)
{
	struct scene *s = ctx;
	struct heard *h = &s->heard;
	struct kr_tracker_msg_announce a;
	struct kr_tracker_msg_blob b;
	struct kr_digest d;
	struct kr_mp_writer w;
	uint8_t buf[64];

	assert_ok(kr_tracker_msg_announce_decode(params, &a));
	while (kr_tracker_msg_next_blob(&a, &b)) {
		h->announces++;
		h->complete += b.item.complete;
		h->degree = b.item.degree;
	}
	while (kr_tracker_msg_next_gone(&a, &d))
		h->gone++;
	if (s->denies) {
		kr_rpc_fail(req, KR_E_DENIED, "of another cluster");
		return;
	}
	kr_mp_w_init(&w, buf, sizeof(buf));
	kr_tracker_msg_reply_begin(&w, 1000, 0);
	assert_false(w.overflow);
	kr_rpc_reply(req, (struct kr_bytes){ buf, w.len });
}

static void on_metainfo(void *ctx, struct kr_rpc_request *req,
			struct kr_bytes params)
{
	const struct scene *s = ctx;
	struct kr_origin_msg_seek seek;

	assert_ok(kr_origin_msg_seek_decode(params, &seek));
	assert_string_equal(seek.cluster, "test");
	assert_true(s->denies);
	kr_rpc_fail(req, KR_E_DENIED, "of another cluster");
}

static const struct kr_rpc_method methods[] = {
	{ "tracker.announce", on_announce },
	{ "tracker.metainfo", on_metainfo },
};

static void open_scene(struct scene *s, struct world *w, bool leech)
{
	static const char *const names[] = { "tracker:1" };
	struct kr_rpc_server_opts so = { .methods = methods,
					 .method_count = 2,
					 .ctx = s };
	struct kr_addr addr;

	*s = (struct scene){ .w = w };
	assert_ok(kr_addr_parse("127.0.0.1:0", 11, &so.listen));
	assert_ok(kr_rpc_server_open(w->io, &so, &s->server));
	addr = kr_rpc_server_addr(s->server);
	const struct kr_trackers_opts to = {
		.io = w->io,
		.names = names,
		.addrs = &addr,
		.count = 1,
		.interval_ns = 1000 * MS,
		.rpc_timeout_ns = 5000 * MS,
		.seed_ttl_ns = 60000 * MS,
		.seeds_max = 8,
		.leech_only = leech,
		.self = { .cluster = "test" },
	};
	assert_ok(kr_trackers_open(&to, &s->trackers));
}

static void close_scene(struct scene *s)
{
	kr_trackers_close(s->trackers);
	kr_rpc_server_close(s->server);
}

/* Download a blob, telling the trackers what an agent tells them; then let two
 * rounds pass in which everything is announced. */
static struct heard download(struct world *w, bool leech)
{
	struct host *seeder = open_host(w, 0, KR_PEER_ORIGIN);
	struct content c;
	struct fetch f;
	struct scene s;

	w->policy.leech_only = leech;
	struct host *h = open_host(w, 1, KR_PEER_AGENT);

	open_scene(&s, w, leech);
	kr_trackers_attach(s.trackers, h->t, &h->id, h->addr.port);
	make_content(&c, 600 * KIB, 256 * KIB, 1);
	seeder->hidden = true;
	start_fetch(h, &c, &f);
	kr_trackers_need_peers(s.trackers, f.b);
	turn_until(w, s.heard.announces > 0);
	assert_int_equal(s.heard.complete, 0);
	if (leech) /* full: nobody is sent to it */
		assert_int_equal(s.heard.degree, UINT32_MAX);
	else
		assert_true(s.heard.degree < 10);
	put_content(seeder, &c);
	seeder->hidden = false;
	turn_until(w, f.done);
	assert_ok(f.err);
	kr_trackers_completed(s.trackers, f.b);
	const uint32_t before = s.heard.announces;

	turn_for(w, 2600 * MS);
	s.heard.announces -= before;
	end_fetch(&f);
	close_scene(&s);
	free_content(&c);
	return s.heard;
}

static void test_what_is_complete_is_announced(void **state)
{
	const struct heard h = download(*state, false);

	assert_true(h.complete > 0);
	assert_int_equal(h.gone, 0);
}

static void test_a_leech_says_that_it_left(void **state)
{
	const struct heard h = download(*state, true);

	assert_true(h.announces <= 1); /* one may have been on its way */
	assert_int_equal(h.complete, 0);
	assert_int_equal(h.gone, 1);
}

struct asker {
	struct kr_trackers_ask ask;
	bool done;
};

static void answered(struct kr_trackers_ask *a, enum kr_err err,
		     struct kr_bytes metainfo, const char *text)
{
	(void)metainfo;
	assert_err(err, KR_E_UNAVAILABLE);
	assert_non_null(strstr(text, "of another cluster"));
	KR_CONTAINER_OF(a, struct asker, ask)->done = true;
}

/* Nobody would send it a byte: its pulls end, and say why. */
static void test_a_host_of_another_cluster_does_not_wait(void **state)
{
	struct world *w = *state;
	struct host *h = open_host(w, 0, KR_PEER_AGENT);
	struct asker asker = { .done = false };
	struct content c;
	struct fetch f;
	struct scene s;

	expect_errors();
	open_scene(&s, w, false);
	s.denies = true;
	kr_trackers_attach(s.trackers, h->t, &h->id, h->addr.port);
	make_content(&c, 600 * KIB, 256 * KIB, 1);
	kr_trackers_metainfo(s.trackers, &asker.ask, "test/repo",
			     &c.meta.digest, answered);
	turn_until(w, asker.done);
	start_fetch(h, &c, &f); /* by a metainfo that it had */
	kr_trackers_need_peers(s.trackers, f.b);
	turn_until(w, f.done);
	assert_err(f.err, KR_E_UNAVAILABLE);
	end_fetch(&f);
	close_scene(&s);
	free_content(&c);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, set_up_world, tear_down_world)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_what_is_complete_is_announced),
		T(test_a_leech_says_that_it_left),
		T(test_a_host_of_another_cluster_does_not_wait),
	};

	return cmocka_run_group_tests_name("trackers", tests, NULL, NULL);
}
