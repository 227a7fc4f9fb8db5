/*
 * test/integration/control/mirror_rpc_test.c - two build-indexes that are
 * mirrors, as a client sees them by control/indexes: each learns for itself,
 * and stands in for the other.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backends/file.h"
#include "control/index_rpc.h"
#include "control/indexes.h"
#include "core/clock.h"
#include "core/log.h"
#include "test/support/loop.h"

#define SEC UINT64_C(1000000000)

struct node {
	struct kr_index_service *service;
	struct kr_backends *backends;
	char upstream[96], database[96];
};

struct world {
	struct loop loop;
	struct node nodes[2]; /* in the order in which they are asked */
	struct kr_indexes *indexes;
	int log_fd;
};

static void open_node(struct world *w, struct node *n, int number)
{
	struct kr_backend *b;
	struct kr_index_service_opts o = { .io = w->loop.io };

	(void)snprintf(n->upstream, sizeof(n->upstream), "%s/upstream%d",
		       w->loop.dir, number);
	(void)snprintf(n->database, sizeof(n->database), "%s/%d.db",
		       w->loop.dir, number);
	assert_ok(kr_backends_open(&n->backends));
	assert_ok(kr_backend_file_attach(n->upstream, KR_LAYOUT_IDENTITY, &b));
	assert_ok(kr_backends_add(n->backends, "^team", b, NULL));
	assert_ok(kr_addr_parse("127.0.0.1:0", 11, &o.listen));
	o.path = n->database;
	o.backends = n->backends;
	assert_ok(kr_index_service_open(&o, &n->service));
}

static int setup(void **state)
{
	static const char *const names[] = { "first:1", "second:1" };
	struct world *w = calloc(1, sizeof(*w));
	struct kr_addr addrs[2];

	assert_non_null(w);
	w->log_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	kr_log_set_fd(w->log_fd); /* failures are the point here */
	open_loop(&w->loop, 4);
	for (int i = 0; i < 2; i++) {
		open_node(w, &w->nodes[i], i);
		addrs[i] = kr_index_service_addr(w->nodes[i].service);
	}
	const struct kr_indexes_opts o = { .io = w->loop.io,
					   .names = names,
					   .addrs = addrs,
					   .count = 2,
					   .rpc_timeout_ns = 5 * SEC };
	assert_ok(kr_indexes_open(&o, &w->indexes));
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	kr_indexes_close(w->indexes);
	for (int i = 0; i < 2; i++) {
		kr_index_service_close(w->nodes[i].service);
		kr_backends_close(w->nodes[i].backends);
	}
	const int rc = close_loop(&w->loop);
	(void)close(w->log_fd);
	free(w);
	return rc;
}

/* "team:v1" of the upstream of @n is sha256 of that byte, 64 times. */
static void set_tag(const struct node *n, char hex)
{
	char path[128], text[KR_DIGEST_TEXT_MAX];
	FILE *f;

	(void)mkdir(n->upstream, 0755);
	(void)snprintf(path, sizeof(path), "%s/team:v1", n->upstream);
	strcpy(text, "sha256:");
	memset(text + 7, hex, 64);
	text[7 + 64] = '\0';
	f = fopen(path, "w");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static void take_away(const struct node *n)
{
	char away[128];

	(void)snprintf(away, sizeof(away), "%s.away", n->upstream);
	assert_int_equal(rename(n->upstream, away), 0);
}

struct question {
	struct kr_indexes_ask ask;
	bool done;
	enum kr_err err;
	struct kr_digest digest;
	char text[KR_RPC_TEXT_MAX];
};

static void on_answer(struct kr_indexes_ask *a, enum kr_err err,
		      struct kr_bytes result, const char *text)
{
	struct question *q = KR_CONTAINER_OF(a, struct question, ask);

	if (err == KR_OK)
		err = kr_index_msg_digest_decode(result, &q->digest);
	q->done = true;
	q->err = err;
	(void)snprintf(q->text, sizeof(q->text), "%s", text);
}

static void get(struct world *w, struct question *q, const char *tag)
{
	*q = (struct question){ .done = false };
	kr_indexes_get(w->indexes, &q->ask, "team", tag, on_answer);
	while (!q->done)
		kr_io_turn(w->loop.io);
}

static void assert_first_byte(const struct question *q, uint8_t want)
{
	assert_ok(q->err);
	assert_int_equal(q->digest.bytes[0], want);
}

static void the_next_is_asked_where_one_cannot_ask(void **state)
{
	struct world *w = *state;
	struct question q;

	set_tag(&w->nodes[1], 'a');
	get(w, &q, "v1");
	assert_first_byte(&q, 0xaa);
	take_away(&w->nodes[1]); /* the second knows it, though */
	get(w, &q, "v1");
	assert_first_byte(&q, 0xaa);
}

static void what_none_can_ask_for_is_unavailable_with_the_reason(void **state)
{
	struct world *w = *state;
	struct question q;

	get(w, &q, "v1");
	assert_err(q.err, KR_E_UNAVAILABLE);
	assert_non_null(strstr(q.text, "the upstream of team: "));
	assert_non_null(strstr(q.text, "nothing is known of the tag"));
}

static void what_no_upstream_has_is_not_found(void **state)
{
	struct world *w = *state;
	struct question q;

	set_tag(&w->nodes[0], 'a');
	set_tag(&w->nodes[1], 'a');
	get(w, &q, "v2");
	assert_err(q.err, KR_E_NOTFOUND);
}

int main(void)
{
#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(the_next_is_asked_where_one_cannot_ask),
		T(what_none_can_ask_for_is_unavailable_with_the_reason),
		T(what_no_upstream_has_is_not_found),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
