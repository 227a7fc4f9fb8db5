#include "bench/swarm_sim/queue.h"

#include <string.h>

#include "bench/swarm_sim/mem.h"
#include "core/err.h"

enum { SHIFT = 8, BUCKETS = 1 << 19, NONE = 0 };

struct sim_queue {
	uint32_t *heads; /* BUCKETS of them: index into pool, NONE: empty */
	struct sim_event *pool;
	uint32_t pool_count, pool_cap, pool_free;
	struct sim_event *due; /* of the current bucket, sorted */
	uint32_t due_at, due_count, due_cap;
	struct sim_event *far; /* heap of what is beyond the wheel */
	uint32_t far_count, far_cap;
	uint64_t bucket; /* the current one, counted from time 0 */
	uint64_t in_wheel, popped;
	uint64_t now_ns; /* of the last event that came out */
	uint32_t seq;
};

struct sim_queue *sim_queue_open(void)
{
	struct sim_queue *q = sim_get(sizeof(*q));

	q->heads = sim_get(BUCKETS * sizeof(*q->heads));
	q->pool_count = 1; /* index 0 is NONE */
	return q;
}

void sim_queue_close(struct sim_queue *q)
{
	sim_put(q->heads);
	sim_put(q->pool);
	sim_put(q->due);
	sim_put(q->far);
	sim_put(q);
}

static bool earlier(const struct sim_event *a, const struct sim_event *b)
{
	return a->at_ns != b->at_ns ? a->at_ns < b->at_ns
				    : (int32_t)(a->seq - b->seq) < 0;
}

static uint32_t take_slot(struct sim_queue *q)
{
	uint32_t i = q->pool_free;

	if (i != NONE) {
		q->pool_free = q->pool[i].next;
		return i;
	}
	i = q->pool_count;
	q->pool = sim_grow(q->pool, &q->pool_cap, i + 1, sizeof(*q->pool));
	q->pool_count++;
	return i;
}

static void push_far(struct sim_queue *q, const struct sim_event *e)
{
	uint32_t i = q->far_count;

	q->far = sim_grow(q->far, &q->far_cap, i + 1, sizeof(*q->far));
	q->far_count++;
	for (; i > 0 && earlier(e, &q->far[(i - 1) / 2]); i = (i - 1) / 2)
		q->far[i] = q->far[(i - 1) / 2];
	q->far[i] = *e;
}

static struct sim_event pop_far(struct sim_queue *q)
{
	const struct sim_event first = q->far[0];
	const struct sim_event last = q->far[--q->far_count];
	uint32_t i = 0;

	for (;;) {
		uint32_t child = 2 * i + 1;

		if (child >= q->far_count)
			break;
		if (child + 1 < q->far_count &&
		    earlier(&q->far[child + 1], &q->far[child]))
			child++;
		if (!earlier(&q->far[child], &last))
			break;
		q->far[i] = q->far[child];
		i = child;
	}
	q->far[i] = last;
	return first;
}

static void push_wheel(struct sim_queue *q, const struct sim_event *e)
{
	uint32_t *head = &q->heads[(e->at_ns >> SHIFT) % BUCKETS];
	const uint32_t i = take_slot(q);

	q->pool[i] = *e;
	q->pool[i].next = *head;
	*head = i;
	q->in_wheel++;
}

/* Into the sorted list of the current bucket. */
static void push_due(struct sim_queue *q, const struct sim_event *e)
{
	uint32_t i = q->due_count;

	q->due = sim_grow(q->due, &q->due_cap, i + 1, sizeof(*q->due));
	q->due_count++;
	for (; i > q->due_at && earlier(e, &q->due[i - 1]); i--)
		q->due[i] = q->due[i - 1];
	q->due[i] = *e;
}

static void place(struct sim_queue *q, const struct sim_event *e)
{
	const uint64_t bucket = e->at_ns >> SHIFT;

	if (bucket <= q->bucket)
		push_due(q, e);
	else if (bucket - q->bucket < BUCKETS)
		push_wheel(q, e);
	else
		push_far(q, e);
}

void sim_queue_push(struct sim_queue *q, uint64_t at_ns, uint32_t type,
		    uint32_t a, uint32_t b, uint32_t c)
{
	const struct sim_event e = { .at_ns = at_ns < q->now_ns ? q->now_ns
								: at_ns,
				     .seq = q->seq++,
				     .type = type,
				     .a = a,
				     .b = b,
				     .c = c };

	place(q, &e);
}

static void load_bucket(struct sim_queue *q)
{
	uint32_t *head = &q->heads[q->bucket % BUCKETS];

	while (*head != NONE) {
		const uint32_t i = *head;
		const struct sim_event e = q->pool[i];

		*head = e.next;
		q->pool[i].next = q->pool_free;
		q->pool_free = i;
		q->in_wheel--;
		push_due(q, &e);
	}
}

/* The next bucket that has something. */
static bool advance(struct sim_queue *q)
{
	q->due_at = q->due_count = 0;
	while (q->due_count == 0) {
		if (q->in_wheel == 0 && q->far_count == 0)
			return false;
		if (q->in_wheel == 0)
			q->bucket = q->far[0].at_ns >> SHIFT;
		else
			q->bucket++;
		while (q->far_count > 0 &&
		       (q->far[0].at_ns >> SHIFT) - q->bucket < BUCKETS) {
			const struct sim_event e = pop_far(q);

			place(q, &e);
		}
		load_bucket(q);
	}
	return true;
}

bool sim_queue_pop(struct sim_queue *q, struct sim_event *ret)
{
	if (q->due_at == q->due_count && !advance(q))
		return false;
	*ret = q->due[q->due_at++];
	q->now_ns = ret->at_ns;
	q->popped++;
	return true;
}

uint64_t sim_queue_popped(const struct sim_queue *q)
{
	return q->popped;
}
