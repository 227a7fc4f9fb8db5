/*
 * bench/swarm_sim/mem.h - memory of the simulator (it aborts when there is
 * none) and of the nodes (counted, so that a host's share can be stated).
 */
#ifndef KR_BENCH_MEM_H
#define KR_BENCH_MEM_H

#include <stddef.h>
#include <stdint.h>

#include "core/alloc.h"

void *sim_get(size_t bytes); /* zeroed */
void sim_put(void *ptr);

/* Room for @want elements of @size bytes in @ptr, which has *@cap; doubles. */
void *sim_grow(void *ptr, uint32_t *cap, uint32_t want, size_t size);

/* What a node has of the heap. */
struct sim_account {
	struct kr_alloc alloc; /* give this to the node */
	uint64_t bytes, peak_bytes;
};
void sim_account_init(struct sim_account *a);

uint64_t sim_rss_peak_bytes(void); /* of this process */

#endif
