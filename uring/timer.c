#define _GNU_SOURCE
#include "uring/timer.h"

#include <sys/mman.h>

#include "uring/engine.h"

static size_t table_bytes(uint32_t max)
{
	return ((size_t)max + 1) * sizeof(struct kr_timer *);
}

enum kr_err kr_timers_init(struct kr_timers *ts, uint32_t max)
{
	void *p = mmap(NULL, table_bytes(max), PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return KR_E_NOMEM;
	*ts = (struct kr_timers){ .heap = p, .max_count = max };
	return KR_OK;
}

void kr_timers_fini(struct kr_timers *ts)
{
	if (ts->heap == NULL)
		return;
	for (uint32_t i = 1; i <= ts->count; i++)
		ts->heap[i]->heap_index = 0;
	munmap(ts->heap, table_bytes(ts->max_count));
	*ts = (struct kr_timers){ 0 };
}

static void put_at(struct kr_timers *ts, struct kr_timer *t, uint32_t i)
{
	ts->heap[i] = t;
	t->heap_index = i;
}

static void sift_up(struct kr_timers *ts, struct kr_timer *t, uint32_t i)
{
	while (i > 1 && ts->heap[i / 2]->at_ns > t->at_ns) {
		put_at(ts, ts->heap[i / 2], i);
		i /= 2;
	}
	put_at(ts, t, i);
}

static void sift_down(struct kr_timers *ts, struct kr_timer *t, uint32_t i)
{
	for (;;) {
		uint32_t child = 2 * i;

		if (child > ts->count)
			break;
		if (child < ts->count &&
		    ts->heap[child + 1]->at_ns < ts->heap[child]->at_ns)
			child++;
		if (ts->heap[child]->at_ns >= t->at_ns)
			break;
		put_at(ts, ts->heap[child], i);
		i = child;
	}
	put_at(ts, t, i);
}

void kr_timers_set(struct kr_timers *ts, struct kr_timer *t, uint64_t at_ns,
		   kr_timer_fn *fn)
{
	kr_timers_stop(ts, t);
	kr_assert(ts->count < ts->max_count);
	t->at_ns = at_ns;
	t->fn = fn;
	sift_up(ts, t, ++ts->count);
}

void kr_timers_stop(struct kr_timers *ts, struct kr_timer *t)
{
	const uint32_t i = t->heap_index;

	if (i == 0)
		return;
	kr_assert(i <= ts->count && ts->heap[i] == t);
	struct kr_timer *last = ts->heap[ts->count--];

	t->heap_index = 0;
	if (last == t)
		return;
	if (last->at_ns < t->at_ns)
		sift_up(ts, last, i);
	else
		sift_down(ts, last, i);
}

uint64_t kr_timers_next_ns(const struct kr_timers *ts)
{
	return ts->count > 0 ? ts->heap[1]->at_ns : UINT64_MAX;
}

void kr_timers_fire(struct kr_timers *ts, uint64_t now_ns)
{
	for (uint32_t n = ts->count; n > 0; n--) {
		if (kr_timers_next_ns(ts) > now_ns)
			return;
		struct kr_timer *t = ts->heap[1];

		kr_timers_stop(ts, t);
		t->fn(t);
	}
}

void kr_timers_check(const struct kr_timers *ts)
{
	for (uint32_t i = 1; i <= ts->count; i++) {
		kr_assert(ts->heap[i]->heap_index == i);
		if (i > 1)
			kr_assert(ts->heap[i / 2]->at_ns <= ts->heap[i]->at_ns);
	}
}

void kr_io_timer_set(struct kr_io *io, struct kr_timer *t, uint64_t at_ns,
		     kr_timer_fn *fn)
{
	kr_timers_set(&io->timers, t, at_ns, fn);
}

void kr_io_timer_stop(struct kr_io *io, struct kr_timer *t)
{
	kr_timers_stop(&io->timers, t);
}
