#define _GNU_SOURCE
#include "core/clock.h"

#include <errno.h>
#include <sys/random.h>
#include <sys/types.h>
#include <time.h>

#include "core/err.h"

static uint64_t read_ns(clockid_t id)
{
	struct timespec ts;

	kr_assert(clock_gettime(id, &ts) == 0);
	return (uint64_t)ts.tv_sec * UINT64_C(1000000000) +
	       (uint64_t)ts.tv_nsec;
}

uint64_t kr_clock_mono_ns(void)
{
	return read_ns(CLOCK_MONOTONIC);
}

uint64_t kr_clock_wall_ns(void)
{
	return read_ns(CLOCK_REALTIME);
}

uint64_t kr_clock_entropy(void)
{
	uint64_t v;
	ssize_t n;

	/* Up to 256 bytes come whole, but a signal may interrupt the wait for
	 * the pool at boot (getrandom(2)). */
	do {
		n = getrandom(&v, sizeof(v), 0);
	} while (n < 0 && errno == EINTR);
	kr_assert(n == (ssize_t)sizeof(v));
	return v;
}
