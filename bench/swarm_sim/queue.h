/*
 * bench/swarm_sim/queue.h - events in the order of their time.
 *
 * A calendar: a wheel of buckets of 256 ns that reaches 134 ms ahead, a heap
 * for what is later.  Push and pop are O(1) for the millisecond-scale events
 * that nearly all are.  Events of the same time come out in the order they
 * were pushed, so a run follows from its seed.  Nothing is allocated in the
 * steady state.
 */
#ifndef KR_BENCH_QUEUE_H
#define KR_BENCH_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

struct sim_event {
	uint64_t at_ns;
	uint32_t seq;     /* set by push */
	uint32_t type;    /* the user's */
	uint32_t a, b, c; /* the user's */
	uint32_t next;    /* the queue's */
};

struct sim_queue;

struct sim_queue *sim_queue_open(void); /* aborts without memory */
void sim_queue_close(struct sim_queue *q);

/* A time that has passed counts as now. */
void sim_queue_push(struct sim_queue *q, uint64_t at_ns, uint32_t type,
		    uint32_t a, uint32_t b, uint32_t c);

/* false: it is empty. */
bool sim_queue_pop(struct sim_queue *q, struct sim_event *ret);

uint64_t sim_queue_popped(const struct sim_queue *q); /* since open */

#endif
