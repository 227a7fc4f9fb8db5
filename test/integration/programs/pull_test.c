#define _GNU_SOURCE
#include "test/integration/control/transfer_world.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_a_stored_manifest_is_given_out, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_a_client_may_leave_at_any_time, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
