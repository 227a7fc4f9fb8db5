/*
 * core/clock.h - the time and entropy of the machine.  Never used by PURE
 * code, which is told the time.
 */
#ifndef KR_CORE_CLOCK_H
#define KR_CORE_CLOCK_H

#include <stdint.h>

uint64_t kr_clock_mono_ns(void); /* CLOCK_MONOTONIC */
uint64_t kr_clock_wall_ns(void); /* CLOCK_REALTIME, since 1970 */
uint64_t kr_clock_entropy(void); /* 64 bits of getrandom(2) */

#endif
