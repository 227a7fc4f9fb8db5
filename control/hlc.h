/*
 * control/hlc.h - hybrid logical clock (Kulkarni, Demirbas, Madappa, Avva,
 * Leone, "Logical physical clocks", 2014), in one u64.
 *
 * PURE.  The high 48 bits are milliseconds since 1970, the low 16 count events
 * within one.  It never repeats and never goes back, even when the wall clock
 * does; a count that is full carries into the milliseconds.
 */
#ifndef KR_CONTROL_HLC_H
#define KR_CONTROL_HLC_H

#include <stdbool.h>
#include <stdint.h>

struct kr_hlc {
	uint64_t last;
};

/* A timestamp for an event of our own at wall time @wall_ns. */
uint64_t kr_hlc_next(struct kr_hlc *c, uint64_t wall_ns);

/* An event of another host, stamped @stamp, was seen: what comes next here is
 * later.  A stamp more than KR_HLC_AHEAD_MS ahead of @wall_ns moves nothing:
 * one broken clock must not carry everybody's into the future.  false then. */
#define KR_HLC_AHEAD_MS UINT64_C(300000)
bool kr_hlc_seen(struct kr_hlc *c, uint64_t stamp, uint64_t wall_ns);

#endif
