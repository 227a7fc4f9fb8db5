#define _GNU_SOURCE
#include "core/thread.h"

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

/* As in linux/sched/types.h, which cannot be included beside sched.h. */
struct attr {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

void kr_thread_set_slice(uint64_t slice_ns)
{
	struct attr a = { .size = sizeof(a) };

	if (syscall(SYS_sched_getattr, 0, &a, sizeof(a), 0) != 0 ||
	    a.policy != SCHED_OTHER)
		return;
	a.runtime = slice_ns;
	(void)syscall(SYS_sched_setattr, 0, &a, 0);
}

uint32_t kr_thread_cores(void)
{
	const long online = sysconf(_SC_NPROCESSORS_ONLN);
	cpu_set_t set;
	int count;

	CPU_ZERO(&set);
	/* Fails where the kernel knows more than 1,024 cores. */
	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		count = CPU_COUNT(&set);
	else
		count = (int)online;
	return count > 0 ? (uint32_t)count : 1;
}
