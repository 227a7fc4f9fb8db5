/*
 * test/integration/control/disputes_test.c - a download that origins refuse
 * because they have another metainfo of the blob.
 */
#define _GNU_SOURCE
#include "test/integration/control/transfer_world.h"

#include "control/disputes.h"
#include "control/origin_msg.h"
#include "control/rpc.h"

enum { KIB = 1024, LEN = 3 * 1024 * 1024 };

struct scene {
	struct world *w;
	struct kr_rpc_server *server; /* plays the tracker */
	struct kr_trackers *trackers;
	struct kr_disputes disputes;
	struct host *agent, *origin;
	struct content ours, theirs;     /* the same bytes, other pieces */
	const struct kr_metainfo *right; /* says the tracker */
	uint32_t refused, asked;
};

static void on_metainfo(void *ctx, struct kr_rpc_request *req,
			struct kr_bytes params)
{
	struct scene *s = ctx;
	uint8_t buf[4096 + 64];
	struct kr_origin_msg_ref ref;
	struct kr_mp_writer w;

	s->asked++;
	assert_ok(kr_origin_msg_ref_decode(params, &ref));
	assert_true(kr_digest_equal(&ref.digest, &s->ours.meta.digest));
	if (s->right == NULL) {
		kr_rpc_fail(req, KR_E_BUSY, "on its way");
		return;
	}
	kr_mp_w_init(&w, buf, sizeof(buf));
	kr_origin_msg_metainfo_encode(
		&w,
		(struct kr_bytes){ s->right->encoded, s->right->encoded_len });
	assert_false(w.overflow);
	kr_rpc_reply(req, (struct kr_bytes){ buf, w.len });
}

static const struct kr_rpc_method methods[] = {
	{ "tracker.metainfo", on_metainfo },
};

static void on_disputed(void *ctx, struct kr_blob *b)
{
	struct host *h = ctx;
	struct scene *s = h->w->ctx;

	s->refused++;
	kr_disputes_settle(&s->disputes, b);
}

static void open_trackers(struct scene *s)
{
	static const char *const names[] = { "tracker:1" };
	struct kr_rpc_server_opts so = { .methods = methods,
					 .method_count = 1,
					 .ctx = s };
	struct kr_addr addr;

	assert_ok(kr_addr_parse("127.0.0.1:0", 11, &so.listen));
	assert_ok(kr_rpc_server_open(s->w->io, &so, &s->server));
	addr = kr_rpc_server_addr(s->server);
	const struct kr_trackers_opts to = {
		.io = s->w->io,
		.names = names,
		.addrs = &addr,
		.count = 1,
		.interval_ns = 60000 * MS,
		.rpc_timeout_ns = 5000 * MS,
		.self = { .cluster = "test" },
	};
	assert_ok(kr_trackers_open(&to, &s->trackers));
	kr_disputes_open(&s->disputes, s->w->io, s->trackers, NULL);
}

static void open_scene(struct scene *s, struct world *w)
{
	*s = (struct scene){ .w = w };
	w->ctx = s;
	w->disputed = on_disputed;
	open_trackers(s);
	make_content(&s->ours, LEN, 1024 * KIB, 7);
	make_content(&s->theirs, LEN, 256 * KIB, 7);
	assert_true(
		kr_digest_equal(&s->ours.meta.digest, &s->theirs.meta.digest));
	s->origin = open_host(w, 0, KR_PEER_ORIGIN);
	s->agent = open_host(w, 1, KR_PEER_AGENT);
	put_content(s->origin, &s->theirs);
}

static void close_scene(struct scene *s)
{
	kr_disputes_close(&s->disputes);
	kr_trackers_close(s->trackers);
	kr_rpc_server_close(s->server);
	free_content(&s->ours);
	free_content(&s->theirs);
}

static void test_a_download_with_an_old_metainfo_ends(void **state)
{
	struct scene s;
	struct fetch f;

	open_scene(&s, *state);
	kr_log_set_level(KR_LOG_ERROR); /* the warning is meant */
	s.right = &s.theirs.meta;
	start_fetch(s.agent, &s.ours, &f);
	turn_until(s.w, f.done);
	assert_err(f.err, KR_E_UNAVAILABLE);
	assert_true(s.refused > 0);
	assert_int_equal(s.asked, 1);
	end_fetch(&f);
	/* The next who asks begins anew, on the same disk. */
	start_fetch(s.agent, &s.theirs, &f);
	turn_until(s.w, f.done);
	assert_ok(f.err);
	end_fetch(&f);
	assert_stored(s.agent, &s.theirs);
	close_scene(&s);
}

static void test_an_origin_that_fetches_it_is_waited_for(void **state)
{
	struct scene s;
	struct fetch f;

	open_scene(&s, *state);
	start_fetch(s.agent, &s.ours, &f); /* s.right is NULL: BUSY */
	turn_until(s.w, s.asked == 2);
	assert_false(f.done);
	s.right = &s.theirs.meta;
	turn_until(s.w, f.done);
	assert_err(f.err, KR_E_UNAVAILABLE);
	assert_int_equal(s.asked, 3);
	end_fetch(&f);
	close_scene(&s);
}

/* One that refuses against the word of the origins proves nothing. */
static void test_a_peer_alone_ends_nothing(void **state)
{
	struct host *good;
	struct scene s;
	struct fetch f;

	open_scene(&s, *state);
	s.right = &s.ours.meta;
	start_fetch(s.agent, &s.ours, &f);
	turn_until(s.w, s.asked == 2);
	assert_false(f.done);
	good = open_host(s.w, 2, KR_PEER_ORIGIN);
	put_content(good, &s.ours);
	turn_until(s.w, f.done);
	assert_ok(f.err);
	end_fetch(&f);
	close_scene(&s);
}

static void test_closing_ends_what_is_open(void **state)
{
	struct scene s;
	struct fetch f;

	open_scene(&s, *state);
	start_fetch(s.agent, &s.ours, &f);
	turn_until(s.w, s.asked == 1);
	kr_disputes_close(&s.disputes);
	assert_false(f.done);
	kr_blob_wait_cancel(&f.wait);
	end_fetch(&f);
	close_scene(&s);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, set_up_world, tear_down_world)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_a_download_with_an_old_metainfo_ends),
		T(test_an_origin_that_fetches_it_is_waited_for),
		T(test_a_peer_alone_ends_nothing),
		T(test_closing_ends_what_is_open),
	};

	return cmocka_run_group_tests_name("disputes", tests, NULL, NULL);
}
