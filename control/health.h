/*
 * control/health.h - is a host to be used?  Decided from checks and from what
 * happened to real traffic.
 *
 * PURE; the time is given.
 *
 *	            fails failures in a row, or passive_fails
 *	            failures of traffic within passive_window_ns
 *	HEALTHY  ------------------------------------------------>  UNHEALTHY
 *	         <------------------------------------------------
 *	                  passes successful checks in a row
 *
 * Traffic cannot make a host healthy: it gets none while it is unhealthy.
 */
#ifndef KR_CONTROL_HEALTH_H
#define KR_CONTROL_HEALTH_H

#include <stdbool.h>
#include <stdint.h>

struct kr_health_opts {
	uint32_t fails;             /* 0: 3 */
	uint32_t passes;            /* 0: 2 */
	uint32_t passive_fails;     /* 0: 3 */
	uint64_t passive_window_ns; /* 0: 30 s */
};

struct kr_health { /* a value; fields are private to health.c */
	struct kr_health_opts opts;
	bool healthy;
	uint32_t run; /* checks in a row that speak against the state */
	uint32_t passive_count;
	uint64_t passive_since_ns; /* of the first counted failure */
};

/* @healthy is what is believed before anything is known. */
void kr_health_init(struct kr_health *h, const struct kr_health_opts *opts,
		    bool healthy);

/* A check ended.  Returns whether the state changed. */
bool kr_health_check_done(struct kr_health *h, uint64_t now_ns, bool ok);

/* A request of real traffic ended; @ok only says that the host answered.
 * Returns whether the state changed. */
bool kr_health_traffic(struct kr_health *h, uint64_t now_ns, bool ok);

bool kr_health_is_healthy(const struct kr_health *h);

#endif
