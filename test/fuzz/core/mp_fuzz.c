/*
 * test/fuzz/core/mp_fuzz.c - our MessagePack reader agrees with msgpack-c's on
 * any bytes, and what it reads it can write again.
 */
#include <stdlib.h>
#include <string.h>

#include "core/mp.h"
#include "test/support/mp_oracle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Integers in their shortest form are at most as long as they came. */
static void check_round_trip(const uint8_t *data, size_t size)
{
	uint8_t buf[16];
	struct kr_mp_reader r;
	struct kr_mp_writer w;
	uint64_t u = 0, u_again = 1;
	size_t len = 0;

	kr_mp_r_init(&r, data, size);
	if (kr_mp_r_u64(&r, &u) != KR_OK)
		return;
	kr_mp_w_init(&w, buf, r.at);
	kr_mp_w_u64(&w, u);
	kr_assert(kr_mp_w_done(&w, &len) == KR_OK);
	kr_mp_r_init_whole(&r, buf, len);
	kr_assert(kr_mp_r_u64(&r, &u_again) == KR_OK && u == u_again);
	kr_assert(kr_mp_r_end(&r) == KR_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > 4096)
		return 0;
	mp_oracle_check(data, size);
	check_round_trip(data, size);
	return 0;
}
