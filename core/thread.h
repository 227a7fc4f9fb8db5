/*
 * core/thread.h - how soon the scheduler lets a thread run, and where.
 */
#ifndef KR_CORE_THREAD_H
#define KR_CORE_THREAD_H

#include <stdint.h>

/*
 * Ask for the calling thread to be run in slices of @slice_ns (the kernel
 * keeps it within 0.1 to 100 ms; its own are about 3 ms): soon after it wakes,
 * ahead of threads with longer slices, and for that in more turns.  It gets no
 * more of the processor than before.  Needs no privilege; threads made from
 * now on by this one inherit it.
 *
 * sched_setattr(2), Linux 6.12 (sched_runtime of SCHED_OTHER); an older kernel,
 * or one that forbids the call, leaves things as they are.
 */
void kr_thread_set_slice(uint64_t slice_ns);

/*
 * How many cores the calling thread may run on: those of a cpuset or of
 * taskset(1), not the machine's (sched_getaffinity(2)).  At least 1.
 */
uint32_t kr_thread_cores(void);

#endif
