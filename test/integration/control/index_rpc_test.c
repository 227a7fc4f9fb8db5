/*
 * test/integration/control/index_rpc_test.c - build-indexes over TCP on the
 * real ring: durability under kill -9, convergence of two.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "control/index_msg.h"
#include "control/index_rpc.h"
#include "control/rpc.h"
#include "core/clock.h"
#include "core/list.h"
#include "test/support/dir.h"
#include "test/support/test.h"
#include "uring/ring.h"

#define MS  UINT64_C(1000000)
#define SEC UINT64_C(1000000000)

/* One index, with a client to it. */
struct node {
	struct kr_index_service *service;
	struct kr_rpc_client *client;
	struct kr_addr addr;
	char path[96];
};

struct fixture {
	struct kr_work_pool *pool;
	struct kr_io *io;
	struct node nodes[2];
	char dir[DIR_LEN_MAX];
	uint32_t done;
	enum kr_err err;
	uint8_t result[4096];
	size_t len;
};

static struct fixture *fixture_now;

static struct kr_addr loopback(void)
{
	struct kr_addr a;

	assert_int_equal(kr_addr_parse("127.0.0.1:0", 11, &a), KR_OK);
	return a;
}

static int open_ring(struct fixture *f)
{
	if (kr_work_pool_open(2, &f->pool) != KR_OK)
		return -1;
	const struct kr_ring_opts opts = { .buffer_count = 1, .pool = f->pool };
	return kr_ring_open(&opts, &f->io) == KR_OK ? 0 : -1;
}

static void close_ring(struct fixture *f)
{
	kr_ring_close(f->io);
	kr_work_pool_close(f->pool);
}

/* @listen: where; @peer: whom to copy to, NULL: nobody */
static void open_node(struct fixture *f, struct node *n, struct kr_addr listen,
		      const struct kr_addr *peer)
{
	const struct kr_index_peer p = {
		.name = "other:1",
		.rpc = peer == NULL ? loopback() : *peer,
	};
	const struct kr_index_service_opts o = {
		.io = f->io,
		.listen = listen,
		.path = n->path,
		.peers = &p,
		.peer_count = peer != NULL,
		.copy_timeout_ns = 200 * MS,
		.copy_interval_ns = 20 * MS,
		.backoff_min_ns = 20 * MS,
		.backoff_max_ns = 100 * MS,
	};
	assert_int_equal(kr_index_service_open(&o, &n->service), KR_OK);
	n->addr = kr_index_service_addr(n->service);
	const struct kr_rpc_client_opts c = { .to = n->addr };
	assert_int_equal(kr_rpc_client_open(f->io, &c, &n->client), KR_OK);
}

static void close_node(struct node *n)
{
	kr_rpc_client_close(n->client);
	kr_index_service_close(n->service);
	n->client = NULL;
	n->service = NULL;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	make_dir(f->dir);
	for (int i = 0; i < 2; i++)
		(void)snprintf(f->nodes[i].path, sizeof(f->nodes[i].path),
			       "%s/%d.db", f->dir, i);
	fixture_now = f;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	const int rc = remove_dir(f->dir);

	free(f);
	return rc;
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

static void on_done(struct kr_rpc_call *call, enum kr_err err,
		    struct kr_bytes result, const char *text)
{
	struct fixture *f = fixture_now;

	(void)call;
	(void)text;
	f->done++;
	f->err = err;
	f->len = result.len;
	assert_true(result.len <= sizeof(f->result));
	if (result.len > 0)
		memcpy(f->result, result.ptr, result.len);
}

static enum kr_err ask(struct fixture *f, struct node *n, const char *method,
		       const struct kr_mp_writer *w)
{
	struct kr_rpc_call call = { 0 };

	assert_false(w->overflow);
	f->done = 0;
	kr_rpc_call(n->client, &call, method,
		    (struct kr_bytes){ w->buf, w->len }, 5 * SEC, on_done);
	while (f->done == 0)
		kr_io_turn(f->io);
	return f->err;
}

static enum kr_err put(struct fixture *f, struct node *n, const char *tag,
		       uint8_t value)
{
	const struct kr_digest d = { .alg = KR_SHA256, .bytes = { value } };
	uint8_t buf[KR_INDEX_MSG_ENTRY_MAX];
	struct kr_mp_writer w;

	kr_mp_w_init(&w, buf, sizeof(buf));
	kr_index_msg_put_encode(&w, "library/x", tag, &d);
	return ask(f, n, "index.put", &w);
}

/* The first byte of the digest; -1: not found. */
static int get(struct fixture *f, struct node *n, const char *tag)
{
	uint8_t buf[KR_INDEX_MSG_ENTRY_MAX];
	struct kr_digest d;
	struct kr_mp_writer w;

	kr_mp_w_init(&w, buf, sizeof(buf));
	kr_index_msg_get_encode(&w, "library/x", tag);
	if (ask(f, n, "index.get", &w) == KR_E_NOTFOUND)
		return -1;
	assert_int_equal(f->err, KR_OK);
	const enum kr_err err = kr_index_msg_digest_decode(
		(struct kr_bytes){ f->result, f->len }, &d);
	if (err == KR_E_NOTFOUND)
		return -1; /* deleted */
	assert_int_equal(err, KR_OK);
	return d.bytes[0];
}

/* Wait until @tag of @n is @value. */
static void wait_value(struct fixture *f, struct node *n, const char *tag,
		       int value)
{
	for (int i = 0; i < 300 && get(f, n, tag) != value; i++)
		turn_for(f, 10 * MS);
	assert_int_equal(get(f, n, tag), value);
}

/* ---- tests ---- */

static void test_put_get_and_lists(void **state)
{
	struct fixture *f = *state;
	struct node *n = &f->nodes[0];
	struct kr_index_msg_names names;
	struct kr_bytes name;
	uint8_t buf[KR_INDEX_MSG_ENTRY_MAX];
	struct kr_mp_writer w;

	assert_int_equal(open_ring(f), 0);
	open_node(f, n, loopback(), NULL);
	assert_int_equal(get(f, n, "v1"), -1);
	assert_int_equal(put(f, n, "v1", 1), KR_OK);
	assert_int_equal(put(f, n, "v2", 2), KR_OK);
	assert_int_equal(get(f, n, "v1"), 1);
	assert_int_equal(put(f, n, "-", 2), KR_E_INVALID);

	kr_mp_w_init(&w, buf, sizeof(buf));
	kr_index_msg_list_encode(&w, "library/x", "", 1);
	assert_int_equal(ask(f, n, "index.list", &w), KR_OK);
	assert_int_equal(
		kr_index_msg_names_decode(
			(struct kr_bytes){ f->result, f->len }, "tags", &names),
		KR_OK);
	assert_true(names.more);
	assert_true(kr_index_msg_names_next(&names, &name));
	assert_int_equal(name.len, 2);
	assert_memory_equal(name.ptr, "v1", 2);
	assert_false(kr_index_msg_names_next(&names, &name));

	kr_mp_w_init(&w, buf, sizeof(buf));
	kr_index_msg_repos_encode(&w, "", "", 0);
	assert_int_equal(ask(f, n, "index.repos", &w), KR_OK);
	assert_int_equal(kr_index_msg_names_decode(
				 (struct kr_bytes){ f->result, f->len },
				 "repos", &names),
			 KR_OK);
	assert_int_equal(names.count, 1);
	assert_false(names.more);
	close_node(n);
	close_ring(f);
}

static void test_params_of_another_form_are_refused(void **state)
{
	static const char *const methods[] = {
		"index.put",           "index.get",
		"index.list",          "index.repos",
		"index.merge",         "index.delete",
		"index.put_object",    "index.find_object",
		"index.delete_object", "index.merge_object",
		"index.referrers"
	};
	struct fixture *f = *state;
	struct node *n = &f->nodes[0];

	assert_int_equal(open_ring(f), 0);
	open_node(f, n, loopback(), NULL);
	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
		uint8_t buf[16];
		struct kr_mp_writer w;
		kr_mp_w_init(&w, buf, sizeof(buf));
		kr_mp_w_array(&w, 1);
		kr_mp_w_nil(&w);
		assert_int_equal(ask(f, n, methods[i], &w), KR_E_INVALID);
	}
	close_node(n);
	close_ring(f);
}

/* ---- kill -9 ---- */

enum { WRITERS = 8 };

/* A process that puts tags without end and says of each on @fd that it was
 * acknowledged. */
struct writer {
	struct kr_rpc_call call;
	uint32_t number;
};
static struct writer writers[WRITERS];
static uint32_t next_number;
static struct node *writing_to;
static int tell_fd;

static void put_next(struct writer *wr);

static void on_put(struct kr_rpc_call *call, enum kr_err err,
		   struct kr_bytes result, const char *text)
{
	struct writer *wr = KR_CONTAINER_OF(call, struct writer, call);

	(void)result;
	(void)text;
	if (err != KR_OK || write(tell_fd, &wr->number, sizeof(wr->number)) !=
				    sizeof(wr->number))
		_exit(3);
	put_next(wr);
}

static void put_next(struct writer *wr)
{
	const uint32_t n = next_number++;
	const struct kr_digest d = { .alg = KR_SHA256,
				     .bytes = { (uint8_t)n } };
	uint8_t buf[KR_INDEX_MSG_ENTRY_MAX];
	struct kr_mp_writer w;
	char tag[16];

	wr->number = n;
	(void)snprintf(tag, sizeof(tag), "t%u", n);
	kr_mp_w_init(&w, buf, sizeof(buf));
	kr_index_msg_put_encode(&w, "library/x", tag, &d);
	kr_rpc_call(writing_to->client, &wr->call, "index.put",
		    (struct kr_bytes){ buf, w.len }, 10 * SEC, on_put);
}

static pid_t fork_index(struct fixture *f, int fd)
{
	const pid_t pid = fork();

	if (pid != 0)
		return pid;
	if (open_ring(f) != 0)
		_exit(2);
	open_node(f, &f->nodes[0], loopback(), NULL);
	writing_to = &f->nodes[0];
	tell_fd = fd;
	for (int i = 0; i < WRITERS; i++)
		put_next(&writers[i]);
	kr_io_run(f->io);
	_exit(4);
}

static void test_what_was_acknowledged_survives_kill_9(void **state)
{
	struct fixture *f = *state;
	static bool acknowledged[100000];
	uint32_t count = 0, number;
	int pipe_fds[2];

	for (int round = 0; round < 3; round++) {
		next_number = (uint32_t)round * 30000; /* of the child */
		assert_int_equal(pipe(pipe_fds), 0);
		const pid_t pid = fork_index(f, pipe_fds[1]);
		close(pipe_fds[1]);
		for (int i = 0; i < 100; i++) {
			assert_int_equal(
				read(pipe_fds[0], &number, sizeof(number)),
				sizeof(number));
			acknowledged[number] = true;
		}
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		while (read(pipe_fds[0], &number, sizeof(number)) ==
			       (ssize_t)sizeof(number) &&
		       number < 100000)
			acknowledged[number] = true;
		close(pipe_fds[0]);
	}
	assert_int_equal(open_ring(f), 0);
	open_node(f, &f->nodes[0], loopback(), NULL);
	for (uint32_t n = 0; n < 100000; n++) {
		char tag[16];
		if (!acknowledged[n])
			continue;
		count++;
		(void)snprintf(tag, sizeof(tag), "t%u", n);
		assert_int_equal(get(f, &f->nodes[0], tag), (uint8_t)n);
	}
	assert_true(count >= 100);
	close_node(&f->nodes[0]);
	close_ring(f);
}

/* ---- two indexes ---- */

/* A statement by a process of its own, on the database of @n; the number that
 * it answers, if any. */
static int behind_its_back(struct node *n, const char *statement)
{
	sqlite3 *sql;
	sqlite3_stmt *st;

	assert_int_equal(sqlite3_open(n->path, &sql), SQLITE_OK);
	assert_int_equal(sqlite3_busy_timeout(sql, 5000), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(sql, statement, -1, &st, NULL),
			 SQLITE_OK);
	const int rc = sqlite3_step(st);
	const int answer = rc == SQLITE_ROW ? sqlite3_column_int(st, 0) : -1;

	assert_true(rc == SQLITE_ROW || rc == SQLITE_DONE);
	assert_int_equal(sqlite3_finalize(st), SQLITE_OK);
	assert_int_equal(sqlite3_close(sql), SQLITE_OK);
	return answer;
}

static void wait_queued(struct fixture *f, struct node *n, int count)
{
	static const char text[] = "SELECT count(*) FROM queue";

	for (int i = 0; i < 300 && behind_its_back(n, text) != count; i++)
		turn_for(f, 10 * MS);
	assert_int_equal(behind_its_back(n, text), count);
}

/* A ring, and the address of @b, which is not there. */
static struct kr_addr begin_without(struct fixture *f, struct node *b)
{
	assert_int_equal(open_ring(f), 0);
	open_node(f, b, loopback(), NULL); /* for its address only */
	const struct kr_addr addr = b->addr;
	close_node(b);
	return addr;
}

static void test_what_became_of_a_copy_is_written_when_it_can_be(void **state)
{
	struct fixture *f = *state;
	struct node *a = &f->nodes[0], *b = &f->nodes[1];

	const struct kr_addr addr_b = begin_without(f, b);

	open_node(f, a, loopback(), &addr_b);
	/* The first copy fails, and that cannot be written. */
	behind_its_back(a, "CREATE TRIGGER one BEFORE UPDATE OF at_work"
			   " ON queue WHEN NEW.at_work = 0"
			   " BEGIN SELECT RAISE(ABORT, 'no'); END");
	assert_int_equal(put(f, a, "v1", 1), KR_OK);
	turn_for(f, 100 * MS);
	behind_its_back(a, "DROP TRIGGER one");
	/* The next does not, and that cannot be written. */
	behind_its_back(a, "CREATE TRIGGER two BEFORE DELETE ON queue"
			   " BEGIN SELECT RAISE(ABORT, 'no'); END");
	open_node(f, b, addr_b, NULL);
	wait_value(f, b, "v1", 1);
	wait_queued(f, a, 1);
	behind_its_back(a, "DROP TRIGGER two");
	wait_queued(f, a, 0);
	close_node(a);
	close_node(b);
	close_ring(f);
}

static void test_two_indexes_converge(void **state)
{
	struct fixture *f = *state;
	struct node *a = &f->nodes[0], *b = &f->nodes[1];

	const struct kr_addr addr_b = begin_without(f, b);

	turn_for(f, 20 * MS);

	/* b is away: a's puts wait in its queue, over a restart of a. */
	open_node(f, a, loopback(), &addr_b);
	assert_int_equal(put(f, a, "v1", 1), KR_OK);
	assert_int_equal(put(f, a, "both", 10), KR_OK);
	turn_for(f, 100 * MS);
	const struct kr_addr addr_a = a->addr;
	close_node(a);
	turn_for(f, 20 * MS);
	open_node(f, a, addr_a, &addr_b);
	turn_for(f, 50 * MS);

	open_node(f, b, addr_b, &addr_a);
	wait_value(f, b, "v1", 1);
	wait_value(f, b, "both", 10);

	/* Later writes win, whoever makes them; both ways. */
	assert_int_equal(put(f, b, "both", 20), KR_OK);
	wait_value(f, a, "both", 20);
	assert_int_equal(put(f, a, "both", 30), KR_OK);
	wait_value(f, b, "both", 30);
	for (uint8_t i = 0; i < 50; i++) {
		char tag[16];
		(void)snprintf(tag, sizeof(tag), "many%u", i);
		assert_int_equal(put(f, i % 2 ? a : b, tag, i), KR_OK);
	}
	for (uint8_t i = 0; i < 50; i++) {
		char tag[16];
		(void)snprintf(tag, sizeof(tag), "many%u", i);
		wait_value(f, a, tag, i);
		wait_value(f, b, tag, i);
	}
	close_node(a);
	close_node(b);
	close_ring(f);
}

/* ---- objects ---- */

/* Manifest @n that refers to blob 5 and has subject 9, tagged @tag. */
static void put_object(struct fixture *f, struct node *node, uint8_t n,
		       const char *tag)
{
	static const char descriptor[] = "{\"size\":1}";
	const struct kr_digest blob = { .bytes = { 5 } };
	struct kr_index_object o = {
		.kind = KR_INDEX_MANIFEST,
		.repo = "library/x",
		.digest = { .bytes = { n } },
		.has_subject = true,
		.subject = { .bytes = { 9 } },
		.artifact_type = "a/b",
		.descriptor = { (const uint8_t *)descriptor,
				strlen(descriptor) },
	};
	uint8_t refs[KR_INDEX_REF_MAX], buf[2048];
	struct kr_mp_writer w;

	o.refs = (struct kr_bytes){ refs, kr_index_ref_pack(&blob, refs) };
	kr_mp_w_init(&w, buf, kr_index_msg_object_len(&o, tag, 1));
	assert_true(w.cap <= sizeof(buf));
	kr_index_msg_object_encode(&w, &o, tag, 1, false);
	assert_int_equal(ask(f, node, "index.put_object", &w), KR_OK);
}

static enum kr_err name_object(struct fixture *f, struct node *node,
			       const char *method, enum kr_index_kind kind,
			       uint8_t n)
{
	const struct kr_digest d = { .bytes = { n } };
	uint8_t buf[KR_INDEX_MSG_ENTRY_MAX];
	struct kr_mp_writer w;

	kr_mp_w_init(&w, buf, sizeof(buf));
	kr_index_msg_object_name_encode(&w, kind, "library/x", &d, false);
	return ask(f, node, method, &w);
}

/* -1: unknown; 0: there; 1: deleted */
static int find_object(struct fixture *f, struct node *node,
		       enum kr_index_kind kind, uint8_t n)
{
	bool deleted;

	if (name_object(f, node, "index.find_object", kind, n) == KR_E_NOTFOUND)
		return -1;
	assert_int_equal(f->err, KR_OK);
	assert_int_equal(
		kr_index_msg_deleted_decode(
			(struct kr_bytes){ f->result, f->len }, &deleted),
		KR_OK);
	return deleted;
}

static void wait_object(struct fixture *f, struct node *node, uint8_t n,
			int value)
{
	for (int i = 0;
	     i < 300 && find_object(f, node, KR_INDEX_MANIFEST, n) != value;
	     i++)
		turn_for(f, 10 * MS);
	assert_int_equal(find_object(f, node, KR_INDEX_MANIFEST, n), value);
}

static uint32_t count_referrers(struct fixture *f, struct node *node)
{
	struct kr_index_msg_referrers m = { .repo = "library/x",
					    .subject = { .bytes = { 9 } },
					    .artifact_type = "a/b" };
	uint8_t buf[KR_INDEX_MSG_REFERRERS_MAX];
	struct kr_index_msg_page page;
	struct kr_bytes descriptor;
	struct kr_mp_writer w;
	uint32_t count = 0;

	kr_mp_w_init(&w, buf, sizeof(buf));
	kr_index_msg_referrers_encode(&w, &m);
	assert_int_equal(ask(f, node, "index.referrers", &w), KR_OK);
	assert_int_equal(kr_index_msg_page_decode(
				 (struct kr_bytes){ f->result, f->len }, &page),
			 KR_OK);
	assert_false(page.more);
	while (kr_index_msg_page_next(&page, &descriptor)) {
		assert_memory_equal(descriptor.ptr, "{\"size\":1}", 10);
		count++;
	}
	return count;
}

static void test_objects_and_deletions_reach_the_other_index(void **state)
{
	struct fixture *f = *state;
	struct node *a = &f->nodes[0], *b = &f->nodes[1];

	assert_int_equal(open_ring(f), 0);
	open_node(f, b, loopback(), NULL);
	open_node(f, a, loopback(), &b->addr);
	put_object(f, a, 1, "v1");
	assert_int_equal(get(f, a, "v1"), 1);
	assert_int_equal(count_referrers(f, a), 1);
	wait_object(f, b, 1, 0);
	wait_value(f, b, "v1", 1);
	assert_int_equal(count_referrers(f, b), 1);
	assert_int_equal(
		name_object(f, b, "index.delete_object", KR_INDEX_BLOB, 5),
		KR_E_DENIED);

	assert_int_equal(
		name_object(f, a, "index.delete_object", KR_INDEX_MANIFEST, 1),
		KR_OK);
	assert_int_equal(get(f, a, "v1"), -1);
	wait_object(f, b, 1, 1);
	wait_value(f, b, "v1", -1);
	assert_int_equal(count_referrers(f, b), 0);
	close_node(a);
	close_node(b);
	close_ring(f);
}

static void test_a_deleted_tag_is_gone_at_the_other_index(void **state)
{
	struct fixture *f = *state;
	struct node *a = &f->nodes[0], *b = &f->nodes[1];
	uint8_t buf[KR_INDEX_MSG_ENTRY_MAX];
	struct kr_mp_writer w;

	assert_int_equal(open_ring(f), 0);
	open_node(f, b, loopback(), NULL);
	open_node(f, a, loopback(), &b->addr);
	assert_int_equal(put(f, a, "v1", 1), KR_OK);
	wait_value(f, b, "v1", 1);
	kr_mp_w_init(&w, buf, sizeof(buf));
	kr_index_msg_get_encode(&w, "library/x", "v1");
	assert_int_equal(ask(f, a, "index.delete", &w), KR_OK);
	wait_value(f, b, "v1", -1);
	/* "Deleted" is an answer, not an error to ask others about. */
	assert_int_equal(ask(f, b, "index.get", &w), KR_OK);
	assert_int_equal(ask(f, a, "index.delete", &w), KR_E_NOTFOUND);
	close_node(a);
	close_node(b);
	close_ring(f);
}

static void test_a_service_can_be_closed_with_work_under_way(void **state)
{
	struct fixture *f = *state;
	struct node *n = &f->nodes[0];
	const struct kr_digest d = { .alg = KR_SHA256 };
	struct kr_rpc_call calls[50] = { 0 };
	uint8_t buf[KR_INDEX_MSG_ENTRY_MAX];
	struct kr_mp_writer w;
	struct kr_addr dead = loopback();

	dead.port = 1;
	assert_int_equal(open_ring(f), 0);
	open_node(f, n, loopback(), &dead);
	kr_mp_w_init(&w, buf, sizeof(buf));
	kr_index_msg_put_encode(&w, "library/x", "t", &d);
	f->done = 0;
	for (int i = 0; i < 50; i++)
		kr_rpc_call(n->client, &calls[i], "index.put",
			    (struct kr_bytes){ buf, w.len }, SEC, on_done);
	while (f->done == 0)
		kr_io_turn(f->io);
	close_node(n);
	assert_int_equal(f->done, 50);
	close_ring(f);
}

int main(void)
{
#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_put_get_and_lists),
		T(test_params_of_another_form_are_refused),
		T(test_what_was_acknowledged_survives_kill_9),
		T(test_what_became_of_a_copy_is_written_when_it_can_be),
		T(test_two_indexes_converge),
		T(test_objects_and_deletions_reach_the_other_index),
		T(test_a_deleted_tag_is_gone_at_the_other_index),
		T(test_a_service_can_be_closed_with_work_under_way),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
