/*
 * test/integration/control/tracker_rpc_test.c - the tracker over TCP on the
 * real ring, with origins that are RPC servers of the test.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "control/origin_msg.h"
#include "control/rpc.h"
#include "control/tracker_msg.h"
#include "control/tracker_rpc.h"
#include "core/clock.h"
#include "core/list.h"
#include "uring/ring.h"

#define MS  UINT64_C(1000000)
#define SEC UINT64_C(1000000000)

enum { ORIGINS = 3 };

struct origin {
	struct fixture *f;
	struct kr_rpc_server *server;
	struct kr_addr addr;
	uint8_t number;
	bool has_blob, holds;
	uint32_t asked;
	struct kr_rpc_request *held;
};

struct fixture {
	struct kr_io *io;
	struct kr_tracker_service *service;
	struct kr_rpc_client *client;
	struct origin origins[ORIGINS];
	uint32_t done;
	/* the last answer */
	enum kr_err err;
	char text[KR_RPC_TEXT_MAX + 1];
	uint8_t result[65536];
	size_t len;
	struct kr_rpc_call call;
};

static struct kr_addr loopback(void)
{
	struct kr_addr a;

	assert_int_equal(kr_addr_parse("127.0.0.1:0", 11, &a), KR_OK);
	return a;
}

/* ---- origins ---- */

static void origin_info(void *ctx, struct kr_rpc_request *req,
			struct kr_bytes params)
{
	const struct origin *o = ctx;
	struct kr_tracker_msg_peer p = { .port = 7000,
					 .role = KR_PEER_ORIGIN,
					 .zone = "z" };
	uint8_t buf[KR_ORIGIN_MSG_INFO_MAX];
	struct kr_mp_writer w;

	(void)params;
	p.id.bytes[0] = o->number;
	p.port = (uint16_t)(7000 + o->number);
	kr_mp_w_init(&w, buf, sizeof(buf));
	kr_origin_msg_info_encode(&w, &p);
	assert_false(w.overflow);
	kr_rpc_reply(req, (struct kr_bytes){ buf, w.len });
}

static void give_metainfo(struct kr_rpc_request *req)
{
	uint8_t buf[64];
	struct kr_mp_writer w;

	kr_mp_w_init(&w, buf, sizeof(buf));
	kr_origin_msg_metainfo_encode(
		&w, (struct kr_bytes){ (const uint8_t *)"the metainfo", 12 });
	kr_rpc_reply(req, (struct kr_bytes){ buf, w.len });
}

static void origin_metainfo(void *ctx, struct kr_rpc_request *req,
			    struct kr_bytes params)
{
	struct origin *o = ctx;
	struct kr_origin_msg_ref ref;

	assert_int_equal(kr_origin_msg_ref_decode(params, &ref), KR_OK);
	assert_string_equal(ref.ns, "library/x");
	o->asked++;
	if (o->holds)
		o->held = req;
	else if (o->has_blob)
		give_metainfo(req);
	else
		kr_rpc_fail(req, KR_E_NOTFOUND, "not here");
}

static const struct kr_rpc_method origin_methods[] = {
	{ "origin.info", origin_info },
	{ "origin.metainfo", origin_metainfo },
};

static void open_origin(struct fixture *f, uint8_t i)
{
	struct origin *o = &f->origins[i];
	const struct kr_rpc_server_opts opts = {
		.listen = loopback(),
		.methods = origin_methods,
		.method_count = 2,
		.ctx = o,
	};
	o->f = f;
	o->number = (uint8_t)(i + 1);
	assert_int_equal(kr_rpc_server_open(f->io, &opts, &o->server), KR_OK);
	o->addr = kr_rpc_server_addr(o->server);
}

#define HOUR (3600 * SEC)

static void open_service(struct fixture *f, uint32_t origin_count,
			 uint64_t fresh_ns)
{
	struct kr_tracker_origin origins[ORIGINS];
	char names[ORIGINS][KR_ADDR_TEXT_MAX];

	for (uint32_t i = 0; i < origin_count; i++) {
		(void)snprintf(names[i], sizeof(names[i]), "origin%u:1", i);
		origins[i] = (struct kr_tracker_origin){ names[i],
							 f->origins[i].addr };
	}
	const struct kr_tracker_service_opts o = {
		.io = f->io,
		.listen = loopback(),
		.origins = origins,
		.origin_count = origin_count,
		.replicas = 2,
		.cluster = "c1",
		.seed = 5,
		.interval_ns = 700 * MS,
		.check_interval_ns = 20 * MS,
		.fresh_ns = fresh_ns,
		.upstream_timeout_ns = 900 * MS, /* a third for each but the
						    last */
	};
	assert_int_equal(kr_tracker_service_open(&o, &f->service), KR_OK);
	const struct kr_rpc_client_opts c = {
		.to = kr_tracker_service_addr(f->service),
	};
	assert_int_equal(kr_rpc_client_open(f->io, &c, &f->client), KR_OK);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	const struct kr_ring_opts opts = { .buffer_count = 1 };

	if (f == NULL || kr_ring_open(&opts, &f->io) != KR_OK)
		return -1;
	for (uint8_t i = 0; i < ORIGINS; i++)
		open_origin(f, i);
	open_service(f, ORIGINS, HOUR);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	kr_rpc_client_close(f->client);
	kr_tracker_service_close(f->service);
	for (uint8_t i = 0; i < ORIGINS; i++)
		kr_rpc_server_close(f->origins[i].server);
	kr_ring_close(f->io);
	free(f);
	return 0;
}

/* ---- calls ---- */

static void noop(struct kr_timer *t)
{
	(void)t;
}

static void turn_for(struct fixture *f, uint64_t ns)
{
	const uint64_t end_ns = kr_clock_mono_ns() + ns;
	struct kr_timer tick = { 0 };

	while (kr_clock_mono_ns() < end_ns) {
		kr_io_timer_set(f->io, &tick, end_ns, noop);
		kr_io_turn(f->io);
	}
	kr_io_timer_stop(f->io, &tick);
}

static void wait_done(struct fixture *f, uint32_t want)
{
	for (int i = 0; i < 500 && f->done < want; i++)
		turn_for(f, 10 * MS);
	assert_int_equal(f->done, want);
}

static struct fixture *fixture_now; /* of on_done: a call has no context */

static void on_done(struct kr_rpc_call *call, enum kr_err err,
		    struct kr_bytes result, const char *text)
{
	struct fixture *f = fixture_now;

	(void)call;
	f->done++;
	f->err = err;
	f->len = result.len;
	assert_true(result.len <= sizeof(f->result));
	if (result.len > 0)
		memcpy(f->result, result.ptr, result.len);
	strncpy(f->text, text, sizeof(f->text) - 1);
}

static void ask(struct fixture *f, const char *method, struct kr_mp_writer *w)
{
	fixture_now = f;
	f->done = 0;
	assert_false(w->overflow);
	kr_rpc_call(f->client, &f->call, method,
		    (struct kr_bytes){ w->buf, w->len }, 5 * SEC, on_done);
	wait_done(f, 1);
}

static struct kr_digest blob(uint8_t n)
{
	return (struct kr_digest){ .alg = KR_SHA256, .bytes = { n } };
}

static struct kr_tracker_msg_peer agent(uint8_t n)
{
	struct kr_tracker_msg_peer p = { .port = (uint16_t)(9000 + n),
					 .zone = "z",
					 .cluster = "c1" };
	p.id.bytes[15] = n;
	return p;
}

static struct kr_tracker_msg_reply announce(struct fixture *f,
					    struct kr_tracker_msg_peer peer,
					    bool complete,
					    const struct kr_digest *gone)
{
	const struct kr_tracker_msg_blob b = {
		.item = { .digest = blob(1), .complete = complete, .want = 50 },
		.ns = "library/x",
	};
	struct kr_tracker_msg_reply reply = { 0 };
	uint8_t buf[4096];
	struct kr_mp_writer w;

	kr_mp_w_init(&w, buf, sizeof(buf));
	kr_tracker_msg_announce_encode(&w, &peer, &b, gone == NULL, gone,
				       gone != NULL);
	assert_true(w.len <= kr_tracker_msg_announce_max(1, 1));
	ask(f, "tracker.announce", &w);
	if (f->err == KR_OK)
		assert_int_equal(
			kr_tracker_msg_reply_decode(
				(struct kr_bytes){ f->result, f->len }, &reply),
			KR_OK);
	return reply;
}

static struct kr_tracker_pick picks[KR_TRACKER_MSG_PICKS_MAX];

/* The one blob's peers; returns how many are origins. */
static uint32_t read_picks(struct kr_tracker_msg_reply *r, uint32_t *ret_count)
{
	const struct kr_digest want = blob(1);
	struct kr_digest d;
	uint32_t origins = 0;

	assert_true(kr_tracker_msg_reply_next(r, &d, picks, ret_count));
	assert_true(kr_digest_equal(&d, &want));
	for (uint32_t i = 0; i < *ret_count; i++)
		origins += picks[i].role == KR_PEER_ORIGIN;
	return origins;
}

static void wait_origins_healthy(struct fixture *f, uint32_t want)
{
	struct kr_tracker_service_stats st;

	for (int i = 0; i < 300; i++) {
		kr_tracker_service_stats_get(f->service, &st);
		if (st.origins_healthy == want)
			break;
		turn_for(f, 10 * MS);
	}
	assert_int_equal(st.origins_healthy, want);
}

static void ask_metainfo_as(struct fixture *f, uint8_t n, const char *cluster)
{
	const struct kr_digest d = blob(n);
	uint8_t buf[KR_ORIGIN_MSG_SEEK_MAX];
	struct kr_mp_writer w;

	kr_mp_w_init(&w, buf, sizeof(buf));
	kr_origin_msg_seek_encode(&w, "library/x", &d, cluster);
	ask(f, "tracker.metainfo", &w);
}

static void ask_metainfo(struct fixture *f, uint8_t n)
{
	ask_metainfo_as(f, n, "c1");
}

/* ---- tests ---- */

static void test_peers_learn_of_each_other_and_of_the_origins(void **state)
{
	struct fixture *f = *state;
	struct kr_tracker_msg_reply r;
	uint32_t count;

	wait_origins_healthy(f, ORIGINS);
	r = announce(f, agent(1), false, NULL);
	assert_int_equal(f->err, KR_OK);
	assert_int_equal(r.interval_ms, 700);
	assert_int_equal(read_picks(&r, &count), 2); /* replicas */
	assert_int_equal(count, 2);
	assert_true(picks[0].complete);
	assert_in_range(picks[0].addr.port, 7001, 7003);

	r = announce(f, agent(2), false, NULL);
	assert_int_equal(read_picks(&r, &count), 2);
	assert_int_equal(count, 3);
	for (uint32_t i = 0; i < count; i++) {
		char text[KR_ADDR_TEXT_MAX];
		if (picks[i].role == KR_PEER_ORIGIN)
			continue; /* its address is the connection's */
		assert_string_equal(kr_addr_print(&picks[i].addr, text),
				    "127.0.0.1:9001");
		assert_string_equal(picks[i].zone, "z");
	}
	r = announce(f, agent(3), true, NULL);
	assert_int_equal(read_picks(&r, &count), 0); /* needs none */
	assert_int_equal(count, 2);
}

static void test_a_peer_that_says_gone_is_gone(void **state)
{
	struct fixture *f = *state;
	const struct kr_digest d = blob(1);
	struct kr_tracker_msg_reply r;
	uint32_t count;

	announce(f, agent(1), false, NULL);
	r = announce(f, agent(1), false, &d);
	assert_int_equal(r.blob_count, 0);
	r = announce(f, agent(2), true, NULL);
	assert_int_equal(read_picks(&r, &count), 0);
	assert_int_equal(count, 0);
}

static void test_another_cluster_is_refused(void **state)
{
	struct fixture *f = *state;
	struct kr_tracker_msg_peer p = agent(1);

	strcpy(p.cluster, "c2");
	announce(f, p, false, NULL);
	assert_int_equal(f->err, KR_E_DENIED);
	p = agent(1);
	strcpy(p.ip, "not an ip");
	announce(f, p, false, NULL);
	assert_int_equal(f->err, KR_E_INVALID);
	p = agent(1);
	p.port = 0;
	announce(f, p, false, NULL);
	assert_int_equal(f->err, KR_E_INVALID);
}

/* It would not get a byte from anybody: better it is told at once. */
static void test_another_cluster_gets_no_metainfo(void **state)
{
	struct fixture *f = *state;

	f->origins[0].has_blob = f->origins[1].has_blob = true;
	f->origins[2].has_blob = true;
	wait_origins_healthy(f, ORIGINS);
	ask_metainfo_as(f, 1, "c2");
	assert_int_equal(f->err, KR_E_DENIED);
	ask_metainfo_as(f, 1, ""); /* an agent that does not say yet */
	assert_int_equal(f->err, KR_OK);
	ask_metainfo_as(f, 1, "c2"); /* not from the cache either */
	assert_int_equal(f->err, KR_E_DENIED);
	ask_metainfo_as(f, 1, "c1");
	assert_int_equal(f->err, KR_OK);
}

static void test_params_of_another_form_are_refused(void **state)
{
	static const char *const names[] = { "tracker.announce",
					     "tracker.metainfo",
					     "tracker.report" };
	struct fixture *f = *state;

	for (size_t i = 0; i < 3; i++) {
		uint8_t buf[16];
		struct kr_mp_writer w;
		kr_mp_w_init(&w, buf, sizeof(buf));
		kr_mp_w_map(&w, 1);
		kr_mp_w_cstr(&w, "peer");
		kr_mp_w_u64(&w, 3);
		ask(f, names[i], &w);
		assert_int_equal(f->err, KR_E_INVALID);
	}
}

static void test_an_origin_that_dies_is_handed_out_no_more(void **state)
{
	struct fixture *f = *state;
	struct kr_tracker_msg_reply r;
	uint32_t count;

	wait_origins_healthy(f, ORIGINS);
	for (uint8_t i = 0; i < 2; i++) {
		kr_rpc_server_close(f->origins[i].server);
		f->origins[i].server = NULL;
	}
	wait_origins_healthy(f, 1);
	r = announce(f, agent(1), false, NULL);
	assert_int_equal(read_picks(&r, &count), 1);
	assert_int_equal(picks[0].addr.port, 7003);
}

static void test_a_metainfo_comes_from_whichever_origin_has_it(void **state)
{
	struct fixture *f = *state;
	struct kr_tracker_service_stats st;
	struct kr_bytes metainfo;

	f->origins[1].has_blob = true;
	for (int i = 0; i < 2; i++) {
		ask_metainfo(f, 1);
		assert_int_equal(f->err, KR_OK);
		assert_int_equal(kr_origin_msg_metainfo_decode(
					 (struct kr_bytes){ f->result, f->len },
					 &metainfo),
				 KR_OK);
		assert_int_equal(metainfo.len, 12);
		assert_memory_equal(metainfo.ptr, "the metainfo", 12);
	}
	kr_tracker_service_stats_get(f->service, &st);
	assert_int_equal(st.metainfo_upstream, 1);
	assert_int_equal(st.metainfo_hits, 1); /* of the cache */
	assert_int_equal(f->origins[1].asked, 1);
}

static void forget_at_once(struct fixture *f)
{
	kr_rpc_client_close(f->client);
	kr_tracker_service_close(f->service);
	open_service(f, ORIGINS, 1);
}

/* Else a blob that the origins have made room of stays in their backend. */
static void test_origins_are_asked_again_what_they_have(void **state)
{
	struct fixture *f = *state;

	forget_at_once(f);
	f->origins[1].has_blob = true;
	ask_metainfo(f, 1);
	assert_int_equal(f->err, KR_OK);
	ask_metainfo(f, 1);
	assert_int_equal(f->err, KR_OK);
	assert_int_equal(f->origins[1].asked, 2);
	f->origins[1].has_blob = false;
	ask_metainfo(f, 1);
	assert_int_equal(f->err, KR_E_NOTFOUND);
	assert_int_equal(f->origins[1].asked, 3);
}

/* Who began while they had it would wait for them for ever. */
static void test_origins_are_asked_for_those_sent_to_them(void **state)
{
	struct fixture *f = *state;

	forget_at_once(f);
	f->origins[1].has_blob = true;
	ask_metainfo(f, 1);
	assert_int_equal(f->origins[1].asked, 1);
	(void)announce(f, agent(1), false, NULL);
	for (int i = 0; i < 500 && f->origins[1].asked < 2; i++)
		turn_for(f, 10 * MS);
	assert_int_equal(f->origins[1].asked, 2);
}

static void test_a_known_metainfo_outlives_the_origins(void **state)
{
	struct fixture *f = *state;
	struct kr_tracker_service_stats st;

	forget_at_once(f);
	f->origins[1].has_blob = true;
	ask_metainfo(f, 1);
	assert_int_equal(f->err, KR_OK);
	for (uint8_t i = 0; i < ORIGINS; i++) {
		kr_rpc_server_close(f->origins[i].server);
		f->origins[i].server = NULL;
	}
	ask_metainfo(f, 1);
	assert_int_equal(f->err, KR_OK);
	assert_true(f->len > 12);
	kr_tracker_service_stats_get(f->service, &st);
	assert_int_equal(st.metainfo_upstream, 2);
}

/* Until @want questions wait for the answer to another, which is held. */
static void wait_joined(struct fixture *f, uint64_t want)
{
	struct kr_tracker_service_stats st = { .metainfo_joined = 0 };
	bool held = false;

	for (int i = 0; i < 2000 && !(st.metainfo_joined == want && held);
	     i++) {
		turn_for(f, MS);
		kr_tracker_service_stats_get(f->service, &st);
		for (uint8_t k = 0; k < ORIGINS; k++)
			held = held || f->origins[k].held != NULL;
	}
	assert_int_equal(st.metainfo_joined, want);
	assert_true(held);
}

static void test_equal_questions_are_one_upstream(void **state)
{
	enum { N = 20 };
	struct fixture *f = *state;
	const struct kr_digest d = blob(4);
	struct kr_rpc_call calls[N] = { 0 };
	uint8_t buf[KR_ORIGIN_MSG_REF_MAX];
	struct kr_mp_writer w;
	uint32_t asked = 0;

	for (uint8_t i = 0; i < ORIGINS; i++)
		f->origins[i].holds = true;
	kr_mp_w_init(&w, buf, sizeof(buf));
	kr_origin_msg_ref_encode(&w, "library/x", &d);
	fixture_now = f;
	for (int i = 0; i < N; i++)
		kr_rpc_call(f->client, &calls[i], "tracker.metainfo",
			    (struct kr_bytes){ buf, w.len }, SEC, on_done);
	wait_joined(f, N - 1);
	for (uint8_t i = 0; i < ORIGINS; i++) {
		asked += f->origins[i].asked;
		if (f->origins[i].held != NULL)
			give_metainfo(f->origins[i].held);
	}
	assert_int_equal(asked, 1);
	wait_done(f, N);
	assert_int_equal(f->err, KR_OK);
}

struct asker {
	struct kr_rpc_call call;
	enum kr_err err;
	bool done;
};

static void on_asked(struct kr_rpc_call *call, enum kr_err err,
		     struct kr_bytes result, const char *text)
{
	struct asker *a = KR_CONTAINER_OF(call, struct asker, call);

	(void)result;
	(void)text;
	a->err = err;
	a->done = true;
}

static void test_not_found_in_a_repository_is_no_word_about_another(
	void **state)
{
	static const char *const repos[] = { "library/x", "team/y" };
	struct fixture *f = *state;
	const struct kr_digest d = blob(4);
	uint8_t buf[KR_ORIGIN_MSG_REF_MAX];
	struct asker askers[2] = { 0 };
	struct kr_mp_writer w;

	for (uint8_t i = 0; i < ORIGINS; i++)
		f->origins[i].holds = true;
	for (int i = 0; i < 2; i++) {
		kr_mp_w_init(&w, buf, sizeof(buf));
		kr_origin_msg_ref_encode(&w, repos[i], &d);
		kr_rpc_call(f->client, &askers[i].call, "tracker.metainfo",
			    (struct kr_bytes){ buf, w.len }, 5 * SEC, on_asked);
	}
	wait_joined(f, 1);
	for (uint8_t i = 0; i < ORIGINS; i++) {
		f->origins[i].holds = false;
		if (f->origins[i].held != NULL)
			kr_rpc_fail(f->origins[i].held, KR_E_NOTFOUND, "no");
	}
	for (int i = 0; i < 500 && !(askers[0].done && askers[1].done); i++)
		turn_for(f, 10 * MS);
	assert_true(askers[0].done && askers[1].done);
	assert_int_equal(askers[0].err, KR_E_NOTFOUND);
	assert_int_equal(askers[1].err, KR_E_BUSY);
}

static void test_a_slow_origin_is_passed_over(void **state)
{
	struct fixture *f = *state;

	f->origins[0].holds = f->origins[1].holds = true;
	f->origins[2].has_blob = true;
	ask_metainfo(f, 1);
	assert_int_equal(f->err, KR_OK);
	for (int i = 0; i < 2; i++)
		if (f->origins[i].held != NULL)
			give_metainfo(f->origins[i].held); /* too late */
}

static void test_a_blob_that_nobody_has_is_not_found(void **state)
{
	struct fixture *f = *state;

	ask_metainfo(f, 0xab);
	assert_int_equal(f->err, KR_E_NOTFOUND);
	assert_non_null(strstr(f->text, "sha256:ab000000"));
	for (uint8_t i = 0; i < ORIGINS; i++)
		assert_int_equal(f->origins[i].asked, 1);
}

static void test_origins_that_are_all_away_are_no_answer(void **state)
{
	struct fixture *f = *state;

	for (uint8_t i = 0; i < ORIGINS; i++) {
		kr_rpc_server_close(f->origins[i].server);
		f->origins[i].server = NULL;
	}
	ask_metainfo(f, 0xab);
	assert_int_equal(f->err, KR_E_UNAVAILABLE);
	assert_non_null(strstr(f->text, "0 of 3 origins"));
}

static void test_a_reported_peer_is_quarantined(void **state)
{
	struct fixture *f = *state;
	const struct kr_digest d = blob(1);
	const struct kr_tracker_msg_peer liar = agent(1);
	struct kr_tracker_msg_reply r;
	uint8_t buf[256];
	struct kr_mp_writer w;
	uint32_t count;

	announce(f, liar, true, NULL);
	kr_mp_w_init(&w, buf, sizeof(buf));
	kr_tracker_msg_report_encode(&w, &d, &liar.id);
	ask(f, "tracker.report", &w);
	assert_int_equal(f->err, KR_OK);
	announce(f, agent(2), false, NULL);
	r = announce(f, agent(3), false, NULL);
	(void)read_picks(&r, &count);
	for (uint32_t i = 0; i < count; i++)
		assert_int_not_equal(picks[i].addr.port, 9001);
	kr_mp_w_init(&w, buf, sizeof(buf));
	kr_mp_w_map(&w, 0);
	ask(f, "tracker.status", &w);
	assert_int_equal(f->err, KR_OK);
	assert_true(f->len > 100);
}

int main(void)
{
#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_peers_learn_of_each_other_and_of_the_origins),
		T(test_a_peer_that_says_gone_is_gone),
		T(test_another_cluster_is_refused),
		T(test_another_cluster_gets_no_metainfo),
		T(test_params_of_another_form_are_refused),
		T(test_an_origin_that_dies_is_handed_out_no_more),
		T(test_a_metainfo_comes_from_whichever_origin_has_it),
		T(test_origins_are_asked_again_what_they_have),
		T(test_origins_are_asked_for_those_sent_to_them),
		T(test_a_known_metainfo_outlives_the_origins),
		T(test_equal_questions_are_one_upstream),
		T(test_not_found_in_a_repository_is_no_word_about_another),
		T(test_a_slow_origin_is_passed_over),
		T(test_a_blob_that_nobody_has_is_not_found),
		T(test_origins_that_are_all_away_are_no_answer),
		T(test_a_reported_peer_is_quarantined),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
