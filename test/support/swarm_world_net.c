#include <stdlib.h>
#include <string.h>

#include "core/err.h"
#include "test/support/swarm_world_internal.h"

uint32_t world_draw(struct world *w, uint32_t below)
{
	return kr_rand_below(&w->rand, below);
}

bool world_strikes(struct world *w, uint32_t ppm)
{
	if (ppm == 0 || world_draw(w, 1000000) >= ppm)
		return false;
	w->faults++;
	return true;
}

void world_trace(struct world *w, uint64_t v)
{
	w->trace_hash = (w->trace_hash ^ v) * UINT64_C(0x100000001b3);
	w->trace_hash ^= w->trace_hash >> 29;
}

/* ---- the queue of events ------------------------------------------------ */

static bool earlier(const struct world_event *a, const struct world_event *b)
{
	return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->seq < b->seq;
}

void world_push_event(struct world *w, struct world_event ev)
{
	uint32_t i = w->heap_count++;

	if (w->heap_count > w->heap_cap) {
		w->heap_cap = w->heap_cap ? 2 * w->heap_cap : 256;
		w->heap = realloc(w->heap, w->heap_cap * sizeof(*w->heap));
		kr_assert(w->heap != NULL);
	}
	if (ev.at_ns < w->now_ns)
		ev.at_ns = w->now_ns;
	ev.seq = w->seq++;
	while (i > 0 && earlier(&ev, &w->heap[(i - 1) / 2])) {
		w->heap[i] = w->heap[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	w->heap[i] = ev;
}

struct world_event world_pop_event(struct world *w)
{
	const struct world_event first = w->heap[0];
	const struct world_event last = w->heap[--w->heap_count];
	uint32_t i = 0;

	for (;;) {
		uint32_t child = 2 * i + 1;

		if (child >= w->heap_count)
			break;
		if (child + 1 < w->heap_count &&
		    earlier(&w->heap[child + 1], &w->heap[child]))
			child++;
		if (!earlier(&w->heap[child], &last))
			break;
		w->heap[i] = w->heap[child];
		i = child;
	}
	if (w->heap_count > 0)
		w->heap[i] = last;
	return first;
}

/* ---- links -------------------------------------------------------------- */

void world_clear_direction(struct direction *d)
{
	while (d->head != NULL) {
		struct segment *s = d->head;

		d->head = s->next;
		free(s);
	}
	d->tail = &d->head;
	d->scheduled = false;
}

void world_free_link(struct world_link *l)
{
	if (!l->used || l->end[0].alive || l->end[1].alive)
		return;
	world_clear_direction(&l->end[0].in);
	world_clear_direction(&l->end[1].in);
	l->used = false;
	l->gen++;
}

struct world_link *world_take_link(struct world *w)
{
	for (uint32_t k = 0; k < WORLD_LINKS_MAX; k++) {
		struct world_link *l =
			&w->links[(w->link_next + k) % WORLD_LINKS_MAX];
		const uint32_t gen = l->gen;

		if (l->used)
			continue;
		w->link_next = (w->link_next + k + 1) % WORLD_LINKS_MAX;
		*l = (struct world_link){ .used = true, .gen = gen };
		l->end[0].in.tail = &l->end[0].in.head;
		l->end[1].in.tail = &l->end[1].in.head;
		l->latency_ns =
			w->latency_min_ns +
			world_draw(w, (uint32_t)(w->latency_max_ns -
						 w->latency_min_ns + 1));
		return l;
	}
	kr_assert(w->link_next == UINT32_MAX); /* room for links */
	return NULL;
}

struct end *world_end_of_conn(struct world *w, uint32_t host, uint32_t conn,
			      struct world_link **ret_link)
{
	for (uint32_t i = 0; i < WORLD_LINKS_MAX; i++) {
		struct world_link *l = &w->links[i];

		for (int e = 0; l->used && e < 2; e++) {
			if (l->end[e].host != host || l->end[e].conn != conn ||
			    !l->end[e].alive)
				continue;
			*ret_link = l;
			return &l->end[e];
		}
	}
	return NULL;
}

void world_schedule(struct world *w, struct world_link *l, uint32_t to)
{
	struct direction *d = &l->end[to].in;

	if (d->scheduled || d->head == NULL)
		return;
	d->scheduled = true;
	world_push_event(w,
			 (struct world_event){ .type = EV_DELIVER,
					       .at_ns = d->head->at_ns,
					       .link = (uint32_t)(l - w->links),
					       .to = to,
					       .gen = l->gen });
}

struct segment *world_send_segment(struct world *w, struct world_link *l,
				   const struct end *from, size_t bytes,
				   uint64_t at_ns)
{
	const uint32_t to = from == &l->end[0] ? 1 : 0;
	struct direction *d = &l->end[to].in;
	struct segment *s = calloc(1, sizeof(*s) + bytes);

	kr_assert(s != NULL);
	at_ns += l->latency_ns;
	if (at_ns < d->last_ns)
		at_ns = d->last_ns;
	d->last_ns = s->at_ns = at_ns;
	*d->tail = s;
	d->tail = &s->next;
	world_schedule(w, l, to);
	return s;
}

uint64_t world_later(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}
