/* test/unit/control/ring_test.c - control/ring, one behaviour per test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "control/ring.h"
#include "core/rand.h"

enum { HOSTS = 10, REPLICAS = 3, BLOBS = 10000 };

static const char *const names[HOSTS + 1] = {
	"origin1:15001", "origin2:15001",  "origin3:15001",  "origin4:15001",
	"origin5:15001", "origin6:15001",  "origin7:15001",  "origin8:15001",
	"origin9:15001", "origin10:15001", "origin11:15001",
};

static struct kr_digest draw(struct kr_rand *r)
{
	struct kr_digest d = { .alg = KR_SHA256 };

	for (size_t i = 0; i < KR_SHA256_LEN; i++)
		d.bytes[i] = (uint8_t)kr_rand_below(r, 256);
	return d;
}

static void test_load_is_balanced(void **state)
{
	uint32_t load[HOSTS] = { 0 }, owners[REPLICAS];
	struct kr_ring ring;
	struct kr_rand r;
	(void)state;

	kr_rand_init(&r, 1);
	assert_int_equal(kr_ring_init(&ring, names, HOSTS, REPLICAS), KR_OK);
	for (int i = 0; i < BLOBS; i++) {
		const struct kr_digest d = draw(&r);
		assert_int_equal(
			kr_ring_owners(&ring, &d, NULL, NULL, owners, REPLICAS),
			REPLICAS);
		for (uint32_t k = 0; k < REPLICAS; k++)
			load[owners[k]]++;
	}
	for (uint32_t i = 0; i < HOSTS; i++)
		assert_in_range(load[i], 2750, 3250); /* 3000, 5 sigma */
}

/* Digests that share their first 8 bytes must not share their owners. */
static void test_every_byte_of_the_digest_counts(void **state)
{
	uint32_t load[HOSTS] = { 0 }, owner;
	struct kr_ring ring;
	(void)state;

	assert_int_equal(kr_ring_init(&ring, names, HOSTS, 1), KR_OK);
	for (uint32_t i = 0; i < 1000; i++) {
		struct kr_digest d = { .alg = KR_SHA256 };
		d.bytes[30] = (uint8_t)(i >> 8);
		d.bytes[31] = (uint8_t)i;
		assert_int_equal(
			kr_ring_owners(&ring, &d, NULL, NULL, &owner, 1), 1);
		load[owner]++;
	}
	for (uint32_t i = 0; i < HOSTS; i++)
		assert_in_range(load[i], 50, 150);
}

static void test_a_new_host_moves_only_what_it_owns(void **state)
{
	uint32_t before[REPLICAS], after[REPLICAS], moved = 0;
	struct kr_ring small, large;
	struct kr_rand r;
	(void)state;

	kr_rand_init(&r, 2);
	assert_int_equal(kr_ring_init(&small, names, HOSTS, REPLICAS), KR_OK);
	assert_int_equal(kr_ring_init(&large, names, HOSTS + 1, REPLICAS),
			 KR_OK);
	for (int i = 0; i < BLOBS; i++) {
		const struct kr_digest d = draw(&r);
		uint32_t k = 0;

		(void)kr_ring_owners(&small, &d, NULL, NULL, before, REPLICAS);
		(void)kr_ring_owners(&large, &d, NULL, NULL, after, REPLICAS);
		for (uint32_t j = 0; j < REPLICAS; j++) {
			if (after[j] == HOSTS)
				moved++;
			else /* the others keep their order */
				assert_int_equal(after[j], before[k++]);
		}
		assert_int_equal(kr_ring_owns(&large, &d, HOSTS),
				 k == REPLICAS - 1);
	}
	assert_in_range(moved, 2450, 3000); /* 10000 * 3 / 11 */
}

static void test_the_order_of_the_list_does_not_matter(void **state)
{
	const char *reversed[HOSTS];
	uint32_t a[REPLICAS], b[REPLICAS];
	struct kr_ring one, two;
	struct kr_rand r;
	(void)state;

	for (uint32_t i = 0; i < HOSTS; i++)
		reversed[i] = names[HOSTS - 1 - i];
	kr_rand_init(&r, 3);
	assert_int_equal(kr_ring_init(&one, names, HOSTS, REPLICAS), KR_OK);
	assert_int_equal(kr_ring_init(&two, reversed, HOSTS, REPLICAS), KR_OK);
	for (int i = 0; i < 1000; i++) {
		const struct kr_digest d = draw(&r);
		(void)kr_ring_owners(&one, &d, NULL, NULL, a, REPLICAS);
		(void)kr_ring_owners(&two, &d, NULL, NULL, b, REPLICAS);
		for (uint32_t k = 0; k < REPLICAS; k++)
			assert_int_equal(a[k], HOSTS - 1 - b[k]);
	}
}

static bool is_not(void *ctx, uint32_t index)
{
	return index != *(uint32_t *)ctx;
}

static void test_the_next_in_order_stands_in_for_a_sick_owner(void **state)
{
	uint32_t all[HOSTS], owners[REPLICAS];
	struct kr_digest d = { .alg = KR_SHA256, .bytes = { 9 } };
	struct kr_ring ring;
	(void)state;

	assert_int_equal(kr_ring_init(&ring, names, HOSTS, REPLICAS), KR_OK);
	assert_int_equal(kr_ring_order(&ring, &d, NULL, NULL, all, HOSTS),
			 HOSTS);
	uint32_t sick = all[1];
	assert_int_equal(
		kr_ring_owners(&ring, &d, is_not, &sick, owners, REPLICAS),
		REPLICAS);
	assert_int_equal(owners[0], all[0]);
	assert_int_equal(owners[1], all[2]);
	assert_int_equal(owners[2], all[3]);
}

static void test_fewer_hosts_than_replicas_own_all(void **state)
{
	uint32_t owners[REPLICAS];
	const struct kr_digest d = { .alg = KR_SHA512 };
	struct kr_ring ring;
	(void)state;

	assert_int_equal(kr_ring_init(&ring, names, 2, REPLICAS), KR_OK);
	assert_int_equal(
		kr_ring_owners(&ring, &d, NULL, NULL, owners, REPLICAS), 2);
	assert_int_equal(kr_ring_owners(&ring, &d, NULL, NULL, owners, 1), 1);
	assert_int_equal(kr_ring_owners(&ring, &d, NULL, NULL, owners, 0), 0);
}

static void test_bad_lists_are_refused(void **state)
{
	static const char *const twice[] = { "a:1", "b:1", "a:1" };
	static const char *const empty[] = { "a:1", "" };
	static const char *many[KR_RING_HOSTS_MAX + 1];
	struct kr_ring ring;
	(void)state;

	assert_int_equal(kr_ring_init(&ring, twice, 3, 1), KR_E_INVALID);
	assert_int_equal(kr_ring_init(&ring, empty, 2, 1), KR_E_INVALID);
	assert_int_equal(kr_ring_init(&ring, empty, 0, 1), KR_E_INVALID);
	assert_int_equal(kr_ring_init(&ring, many, KR_RING_HOSTS_MAX + 1, 1),
			 KR_E_LIMIT);
}

/* A full ring uses every row of its tables. */
static void test_a_ring_of_the_most_hosts_works(void **state)
{
	static char text[KR_RING_HOSTS_MAX][16];
	const char *many[KR_RING_HOSTS_MAX];
	uint32_t all[KR_RING_HOSTS_MAX];
	const struct kr_digest d = { .alg = KR_SHA256 };
	bool seen[KR_RING_HOSTS_MAX] = { 0 };
	struct kr_ring ring;
	(void)state;

	for (uint32_t i = 0; i < KR_RING_HOSTS_MAX; i++) {
		(void)snprintf(text[i], sizeof(text[i]), "h%u:1", i);
		many[i] = text[i];
	}
	assert_int_equal(kr_ring_init(&ring, many, KR_RING_HOSTS_MAX, 3),
			 KR_OK);
	assert_int_equal(
		kr_ring_order(&ring, &d, NULL, NULL, all, KR_RING_HOSTS_MAX),
		KR_RING_HOSTS_MAX);
	for (uint32_t i = 0; i < KR_RING_HOSTS_MAX; i++) {
		assert_false(seen[all[i]]);
		seen[all[i]] = true;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_load_is_balanced),
		cmocka_unit_test(test_every_byte_of_the_digest_counts),
		cmocka_unit_test(test_a_new_host_moves_only_what_it_owns),
		cmocka_unit_test(test_the_order_of_the_list_does_not_matter),
		cmocka_unit_test(
			test_the_next_in_order_stands_in_for_a_sick_owner),
		cmocka_unit_test(test_fewer_hosts_than_replicas_own_all),
		cmocka_unit_test(test_bad_lists_are_refused),
		cmocka_unit_test(test_a_ring_of_the_most_hosts_works),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
