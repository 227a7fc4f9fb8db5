/*
 * uring/timer.h - which timer is next: a binary heap of borrowed timers.
 *
 * The order of timers due at the same nanosecond is not defined.
 */
#ifndef KR_URING_TIMER_H
#define KR_URING_TIMER_H

#include <stdint.h>

#include "core/err.h"
#include "core/io.h"

struct kr_timers {              /* private */
	struct kr_timer **heap; /* 1-based */
	uint32_t count;
	uint32_t max_count;
};

/* The table of @max pointers is address space until it is used.
 * KR_E_NOMEM  nothing was kept */
KR_NODISCARD enum kr_err kr_timers_init(struct kr_timers *ts, uint32_t max);
void kr_timers_fini(struct kr_timers *ts);

/* Set, or set anew.  More than the maximum is a fault of the program. */
void kr_timers_set(struct kr_timers *ts, struct kr_timer *t, uint64_t at_ns,
		   kr_timer_fn *fn);
/* Of a timer that is not set: nothing. */
void kr_timers_stop(struct kr_timers *ts, struct kr_timer *t);

/* UINT64_MAX: none is set. */
uint64_t kr_timers_next_ns(const struct kr_timers *ts);

/* Call what is due at @now_ns, earliest first; no more calls than timers were
 * set at the start, so that a pass ends. */
void kr_timers_fire(struct kr_timers *ts, uint64_t now_ns);

/* Assert all invariants. */
void kr_timers_check(const struct kr_timers *ts);

#endif
