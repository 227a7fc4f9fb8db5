/* test/unit/peerwire/node_test.c - nodes that meet on a quiet network. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "test/support/swarm_world.h"

#define MIB  (UINT64_C(1) << 20)
#define FAST (300 * MIB)

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	if (w == NULL)
		return -1;
	world_init(w, 7);
	w->check_every = 1;
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	world_fini(*state);
	free(*state);
	return 0;
}

static void test_two_nodes_exchange_a_blob(void **state)
{
	struct world *w = *state;
	const uint32_t origin = world_host_add(w, KR_PEER_ORIGIN, FAST, FAST);
	const uint32_t agent = world_host_add(w, KR_PEER_AGENT, FAST, FAST);
	const uint32_t blob = world_blob_add(w, 10 * MIB + 1, 1024 * 1024);

	world_seed(w, origin, blob);
	world_want(w, agent, blob);
	world_hint(w, agent, blob, origin);
	assert_true(world_run_until_done(w, w->now_ns + 5 * WORLD_S));
	assert_int_equal(w->hosts[agent].copies[blob].accepted, 11);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_two_nodes_exchange_a_blob),
	};
	return cmocka_run_group_tests_name("node", tests, NULL, NULL);
}
