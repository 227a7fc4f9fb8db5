/*
 * test/integration/control/origin_test.c - questions to an origin about blobs
 * that its store or only its storage backend has.
 */
#define _GNU_SOURCE
#include "control/origin.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "control/origin_msg.h"
#include "control/rpc.h"
#include "peerwire/metainfo.h"
#include "test/integration/control/backend_world.h"

struct part {
	struct world *w;
	struct kr_origin *origin;
	struct kr_rpc_client *client;
};

struct question {
	struct kr_rpc_call call;
	bool done;
	enum kr_err err;
	uint64_t size_bytes; /* what was answered */
	bool is_stat;
};

/* A port nobody listens on. */
static struct kr_addr free_addr(void)
{
	struct sockaddr_in in = { .sin_family = AF_INET };
	socklen_t len = sizeof(in);
	struct kr_addr a;
	const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)&in, len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &len), 0);
	(void)close(fd);
	assert_ok(kr_addr_from_sockaddr((struct sockaddr *)&in, &a));
	return a;
}

static void open_part(struct part *p, struct world *w)
{
	char path[96];
	struct kr_origin_opts opts = { .io = w->io,
				       .store = w->store,
				       .backends = w->backends,
				       .listen = free_addr(),
				       .queue_path = path,
				       .self = { .port = 1,
						 .role = KR_PEER_ORIGIN },
				       .seed = 1 };
	const struct kr_rpc_client_opts client = { .to = opts.listen };

	(void)snprintf(path, sizeof(path), "%s/queue.db", w->dir);
	p->w = w;
	assert_ok(kr_origin_open(&opts, &p->origin));
	assert_ok(kr_origin_start(p->origin, NULL)); /* nothing is ingested */
	assert_ok(kr_rpc_client_open(w->io, &client, &p->client));
}

static void close_part(struct part *p)
{
	if (p->origin != NULL)
		kr_origin_close(p->origin);
	kr_rpc_client_close(p->client);
}

static void on_answer(struct kr_rpc_call *call, enum kr_err err,
		      struct kr_bytes result, const char *text)
{
	struct question *q = KR_CONTAINER_OF(call, struct question, call);
	struct kr_bytes encoded;
	struct kr_metainfo m;

	(void)text;
	q->done = true;
	q->err = err;
	if (err != KR_OK)
		return;
	if (q->is_stat) {
		assert_ok(kr_origin_msg_stat_decode(result, &q->size_bytes));
		return;
	}
	assert_ok(kr_origin_msg_metainfo_decode(result, &encoded));
	assert_ok(kr_metainfo_decode(kr_alloc_heap(), encoded.ptr, encoded.len,
				     &m));
	q->size_bytes = m.size_bytes;
	kr_metainfo_fini(kr_alloc_heap(), &m);
}

static void ask(struct part *p, struct question *q, bool is_stat,
		const struct kr_digest *d)
{
	uint8_t buf[KR_ORIGIN_MSG_REF_MAX];
	struct kr_mp_writer w;
	size_t len;

	*q = (struct question){ .is_stat = is_stat };
	kr_mp_w_init(&w, buf, sizeof(buf));
	kr_origin_msg_ref_encode(&w, "team/app", d);
	assert_ok(kr_mp_w_done(&w, &len));
	kr_rpc_call(p->client, &q->call,
		    is_stat ? "origin.stat" : "origin.metainfo",
		    (struct kr_bytes){ buf, len }, 20000 * MS, on_answer);
}

static struct kr_digest have_object(struct world *w)
{
	const struct kr_digest d = make_object('a', w->fake->object);

	kr_digest_print_hex(&d, w->fake->name);
	return d;
}

static void a_stat_does_not_fetch_what_the_backend_has(void **state)
{
	struct world *w = *state;
	const struct kr_digest d = have_object(w);
	struct question q;
	struct part p;

	open_part(&p, w);
	ask(&p, &q, true, &d);
	turn_until(w, q.done);
	assert_ok(q.err);
	assert_int_equal(q.size_bytes, OBJECT_BYTES);
	assert_int_equal(atomic_load(&w->fake->gets), 0);
	close_part(&p);
}

static void a_metainfo_is_made_of_what_the_backend_has(void **state)
{
	struct world *w = *state;
	const struct kr_digest d = have_object(w);
	struct question q, again;
	struct part p;

	open_part(&p, w);
	ask(&p, &q, false, &d);
	turn_until(w, q.done);
	assert_ok(q.err);
	assert_int_equal(q.size_bytes, OBJECT_BYTES);
	ask(&p, &again, false, &d);
	turn_until(w, again.done);
	assert_ok(again.err);
	assert_int_equal(atomic_load(&w->fake->gets), 1);
	close_part(&p);
}

static void a_blob_without_metainfo_is_hashed(void **state)
{
	static uint8_t bytes[OBJECT_BYTES];
	struct world *w = *state;
	const struct kr_digest d = make_object('b', bytes);
	struct question q;
	struct part p;

	assert_ok(kr_store_blob_put(w->store, &d, bytes, sizeof(bytes)));
	open_part(&p, w);
	ask(&p, &q, false, &d);
	turn_until(w, q.done);
	assert_ok(q.err);
	assert_int_equal(q.size_bytes, OBJECT_BYTES);
	close_part(&p);
}

static void what_nobody_has_is_not_found(void **state)
{
	const struct kr_digest absent = { .alg = KR_SHA256, .bytes = { 1 } };
	struct world *w = *state;
	struct question stat, metainfo;
	struct part p;

	open_part(&p, w);
	ask(&p, &stat, true, &absent);
	ask(&p, &metainfo, false, &absent);
	turn_until(w, stat.done && metainfo.done);
	assert_err(stat.err, KR_E_NOTFOUND);
	assert_err(metainfo.err, KR_E_NOTFOUND);
	close_part(&p);
}

/* Not "not found", which would be an answer: the backend may have it. */
static void an_origin_that_stops_cannot_say(void **state)
{
	const struct kr_digest later = { .alg = KR_SHA256, .bytes = { 1 } };
	struct world *w = *state;
	const struct kr_digest d = have_object(w);
	struct question running, waiting;
	struct part p;

	open_part(&p, w);
	atomic_store(&w->fake->get_delay_ms, 100);
	ask(&p, &running, false, &d);
	turn_until(w, atomic_load(&w->fake->gets) == 1);
	ask(&p, &waiting, false, &later);
	kr_origin_close(p.origin);
	p.origin = NULL;
	turn_until(w, running.done && waiting.done);
	assert_int_not_equal(running.err, KR_E_NOTFOUND);
	assert_int_not_equal(waiting.err, KR_E_NOTFOUND);
	assert_int_not_equal(waiting.err, KR_OK);
	close_part(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, set_up_world, tear_down_world)
		T(a_stat_does_not_fetch_what_the_backend_has),
		T(a_metainfo_is_made_of_what_the_backend_has),
		T(a_blob_without_metainfo_is_hashed),
		T(what_nobody_has_is_not_found),
		T(an_origin_that_stops_cannot_say),
#undef T
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
