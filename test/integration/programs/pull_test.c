#define _GNU_SOURCE
#include "test/integration/control/transfer_world.h"

#include <errno.h>

#include "control/programs/pull.h"

enum { CANCEL_TURNS = 12 };

/* The HTTP thread is us. */
void kr_reg_done(struct kr_reg_call *call)
{
	*(bool *)call->http = true;
}

struct pulling {
	struct world *w;
	struct host *h;
	struct kr_desk desk;
	struct kr_pull pull;
	struct content manifest;
};

static int set_up(void **state)
{
	struct pulling *p = calloc(1, sizeof(*p));

	assert_non_null(p);
	p->w = open_world_with(0);
	p->h = open_host(p->w, 0, KR_PEER_AGENT);
	make_content(&p->manifest, 3000, 256 * 1024, 7);
	put_content(p->h, &p->manifest);
	kr_desk_open(&p->desk, p->w->io);
	p->pull = (struct kr_pull){ .io = p->w->io,
				    .transfer = p->h->t,
				    .manifest_bytes_max = 4096 };
	kr_pull_attach(&p->pull, &p->desk);
	kr_pull_attach_serve(&p->pull, &p->desk);
	*state = p;
	return 0;
}

static int tear_down(void **state)
{
	struct pulling *p = *state;

	kr_desk_close(&p->desk);
	free_content(&p->manifest);
	close_world(p->w);
	free(p);
	return 0;
}

/* Out of the page cache, so that reading it takes longer than a turn. */
static void evict(const struct pulling *p)
{
	struct kr_store_blob *b;

	assert_ok(
		kr_store_blob_open(p->h->store, &p->manifest.meta.digest, &b));
	assert_int_equal(
		posix_fadvise(kr_store_blob_fd(b), 0, 0, POSIX_FADV_DONTNEED),
		0);
	kr_store_blob_close(b);
}

static void submit(struct pulling *p, struct kr_reg_call *call, bool *done)
{
	*done = false;
	*call = (struct kr_reg_call){ .op = KR_REG_MANIFEST_GET,
				      .digest = p->manifest.meta.digest,
				      .fd = -1,
				      .http = done };
	p->desk.registry.submit(p->desk.registry.ctx, call);
}

static void test_a_stored_manifest_is_given_out(void **state)
{
	struct pulling *p = *state;
	struct kr_reg_call call;
	bool done;

	submit(p, &call, &done);
	turn_until(p->w, done);
	assert_ok(call.err);
	assert_int_equal(call.len, p->manifest.len);
	assert_memory_equal(call.bytes, p->manifest.bytes, call.len);
	free(call.bytes);
}

/* Whenever the client leaves: who gets an error gets no bytes to free. */
static void test_a_client_may_leave_at_any_time(void **state)
{
	struct pulling *p = *state;
	struct kr_reg_call call;
	unsigned canceled = 0;
	bool done;

	for (unsigned turns = 0; turns < CANCEL_TURNS; turns++) {
		evict(p);
		submit(p, &call, &done);
		for (unsigned i = 0; i < turns && !done; i++)
			kr_io_turn(p->w->io);
		if (!done)
			p->desk.registry.cancel(p->desk.registry.ctx, &call);
		turn_until(p->w, done);
		if (call.err == KR_OK) {
			free(call.bytes);
			continue;
		}
		assert_err(call.err, KR_E_CANCELED);
		assert_null(call.bytes);
		canceled++;
	}
	assert_true(canceled > 0);
}

/* ---- BLOB_SERVE: the connection is ours, and we are the HTTP thread, too */

enum { HEAD_LEN = 5 };

struct serving {
	struct kr_reg_call call;
	bool done;
	int fds[2]; /* the role's end, the client's */
	unsigned answers, nexts;
	bool declines, has_more;
};

static struct serving *serving_of(struct kr_reg_call *call)
{
	return KR_CONTAINER_OF(call, struct serving, call);
}

/* All but the first and the last byte. */
static bool answer_middle(struct kr_reg_call *call, uint64_t size)
{
	struct serving *s = serving_of(call);

	if (s->declines)
		return false;
	s->answers++;
	call->offset = 1;
	call->length = size - 2;
	call->prefix = (const uint8_t *)"head:";
	call->prefix_len = HEAD_LEN;
	return true;
}

static bool next_is_known(struct kr_reg_call *call, const uint8_t *ptr,
			  size_t len)
{
	struct serving *s = serving_of(call);

	assert_int_equal(len, 4);
	assert_memory_equal(ptr, "more", 4);
	s->nexts++;
	return s->has_more;
}

static void start_serving(struct pulling *p, struct serving *s)
{
	s->call = (struct kr_reg_call){ .op = KR_REG_BLOB_SERVE,
					.digest = p->manifest.meta.digest,
					.answer = answer_middle,
					.next = next_is_known,
					.listen_ns = UINT64_C(50000000),
					.http = &s->done };
	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s->fds), 0);
	s->call.fd = s->fds[0];
	p->desk.registry.submit(p->desk.registry.ctx, &s->call);
}

static void end_serving(struct serving *s)
{
	close(s->fds[0]);
	close(s->fds[1]);
}

static void expect_answer(struct pulling *p, struct serving *s)
{
	const size_t want = HEAD_LEN + p->manifest.len - 2;
	uint8_t buf[8192];
	size_t got = 0;

	while (got < want) {
		const ssize_t n =
			recv(s->fds[1], buf + got, sizeof(buf) - got, 0);

		assert_true(n > 0 || errno == EAGAIN);
		if (n > 0)
			got += (size_t)n;
		else
			kr_io_turn(p->w->io);
	}
	assert_int_equal(got, want);
	assert_memory_equal(buf, "head:", HEAD_LEN);
	assert_memory_equal(buf + HEAD_LEN, p->manifest.bytes + 1,
			    p->manifest.len - 2);
}

static void test_blobs_are_served_until_the_client_is_silent(void **state)
{
	struct pulling *p = *state;
	struct serving s = { .has_more = true };

	start_serving(p, &s);
	for (int i = 0; i < 3; i++) {
		if (i > 0)
			assert_int_equal(send(s.fds[1], "more", 4, 0), 4);
		expect_answer(p, &s);
	}
	turn_until(p->w, s.done);
	assert_ok(s.call.err);
	assert_false(s.call.begun);
	assert_int_equal(s.answers, 3);
	assert_int_equal(s.nexts, 2);
	end_serving(&s);
}

static void test_what_is_not_for_the_role_ends_the_call(void **state)
{
	struct pulling *p = *state;
	struct serving s = { .has_more = false };

	start_serving(p, &s);
	expect_answer(p, &s);
	assert_int_equal(send(s.fds[1], "more", 4, 0), 4);
	turn_until(p->w, s.done);
	assert_ok(s.call.err);
	assert_false(s.call.begun);
	assert_int_equal(s.nexts, 1);
	end_serving(&s);
}

static void test_nothing_is_sent_of_what_is_not_here(void **state)
{
	struct pulling *p = *state;
	struct serving s = { .has_more = true };
	char byte;

	p->manifest.meta.digest.bytes[0] ^= 1;
	start_serving(p, &s);
	turn_until(p->w, s.done);
	p->manifest.meta.digest.bytes[0] ^= 1;
	assert_err(s.call.err, KR_E_NOTFOUND);
	assert_false(s.call.begun);
	assert_int_equal(recv(s.fds[1], &byte, 1, 0), -1);
	end_serving(&s);
	s = (struct serving){ .declines = true };
	start_serving(p, &s);
	turn_until(p->w, s.done);
	assert_err(s.call.err, KR_E_NOTFOUND);
	assert_false(s.call.begun);
	assert_int_equal(recv(s.fds[1], &byte, 1, 0), -1);
	end_serving(&s);
}

static void test_a_client_that_closes_ends_the_call(void **state)
{
	struct pulling *p = *state;
	struct serving s = { .has_more = true };

	start_serving(p, &s);
	expect_answer(p, &s);
	shutdown(s.fds[1], SHUT_RDWR);
	turn_until(p->w, s.done);
	assert_ok(s.call.err);
	assert_false(s.call.begun);
	end_serving(&s);
	s = (struct serving){ .has_more = true };
	start_serving(p, &s);
	shutdown(s.fds[1], SHUT_RDWR); /* before the answer */
	turn_until(p->w, s.done);
	assert_true(s.call.begun);
	assert_int_not_equal(s.call.err, KR_OK);
	end_serving(&s);
}

/* At any time: the call ends, and says whether an answer is cut short. */
static void test_serving_may_be_canceled_at_any_time(void **state)
{
	struct pulling *p = *state;

	for (unsigned turns = 0; turns < CANCEL_TURNS; turns++) {
		struct serving s = { .has_more = true };
		char byte;

		start_serving(p, &s);
		for (unsigned i = 0; i < turns && s.answers == 0; i++)
			kr_io_turn(p->w->io);
		if (turns > CANCEL_TURNS / 2)
			expect_answer(p, &s); /* it listens */
		p->desk.registry.cancel(p->desk.registry.ctx, &s.call);
		turn_until(p->w, s.done);
		if (s.call.begun)
			assert_int_not_equal(s.call.err, KR_OK);
		if (turns > CANCEL_TURNS / 2) {
			assert_false(s.call.begun);
			assert_int_equal(recv(s.fds[1], &byte, 1, 0), -1);
		}
		end_serving(&s);
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_stored_manifest_is_given_out),
		TEST(test_a_client_may_leave_at_any_time),
		TEST(test_blobs_are_served_until_the_client_is_silent),
		TEST(test_what_is_not_for_the_role_ends_the_call),
		TEST(test_nothing_is_sent_of_what_is_not_here),
		TEST(test_a_client_that_closes_ends_the_call),
		TEST(test_serving_may_be_canceled_at_any_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
