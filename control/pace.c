#include "control/pace.h"

#include "core/err.h"

enum { BURST_SLICES = 2 };

#define NS_PER_S  UINT64_C(1000000000)
#define SLICE_MAX (KR_BUCKET_BURST_MAX / BURST_SLICES)

static uint64_t slice_for(uint64_t rate_bytes_per_s,
			  const struct kr_policy *policy)
{
	const uint64_t per_s = NS_PER_S / policy->limit_slice_ns;
	uint64_t slice = rate_bytes_per_s / (per_s > 0 ? per_s : 1);

	if (slice < policy->limit_slice_min_bytes)
		slice = policy->limit_slice_min_bytes;
	return slice > SLICE_MAX ? SLICE_MAX : slice;
}

/* ---- tokens, of one reactor or several */

void kr_tokens_init(struct kr_tokens *t, uint64_t rate_bytes_per_s,
		    const struct kr_policy *policy, uint64_t now_ns)
{
	kr_assert(pthread_mutex_init(&t->lock, NULL) == 0);
	kr_bucket_init(&t->bucket, rate_bytes_per_s,
		       BURST_SLICES * slice_for(rate_bytes_per_s, policy),
		       now_ns);
}

void kr_tokens_fini(struct kr_tokens *t)
{
	kr_assert(pthread_mutex_destroy(&t->lock) == 0);
}

static void lock(struct kr_tokens *t)
{
	kr_assert(pthread_mutex_lock(&t->lock) == 0);
}

static void unlock(struct kr_tokens *t)
{
	kr_assert(pthread_mutex_unlock(&t->lock) == 0);
}

static bool take(struct kr_tokens *t, uint64_t now_ns, uint64_t bytes)
{
	lock(t);
	const bool are_there = kr_bucket_bytes(&t->bucket, now_ns) >= bytes;

	if (are_there)
		kr_bucket_take(&t->bucket, now_ns, bytes);
	unlock(t);
	return are_there;
}

static uint64_t ready_ns(struct kr_tokens *t, uint64_t now_ns, uint64_t bytes)
{
	lock(t);
	const uint64_t at_ns = kr_bucket_ready_ns(&t->bucket, now_ns, bytes);

	unlock(t);
	return at_ns;
}

/* ---- turns */

void kr_pace_open(struct kr_pace *p, struct kr_io *io,
		  uint64_t rate_bytes_per_s, const struct kr_policy *policy)
{
	*p = (struct kr_pace){
		.io = io,
		.slice_bytes = slice_for(rate_bytes_per_s, policy),
	};
	kr_tokens_init(&p->own, rate_bytes_per_s, policy, kr_io_now_ns(io));
	p->tokens = &p->own;
	kr_list_init(&p->waiting);
}

void kr_pace_share(struct kr_pace *p, struct kr_tokens *t)
{
	kr_assert(kr_list_empty(&p->waiting));
	p->tokens = t;
}

void kr_pace_close(struct kr_pace *p)
{
	kr_assert(kr_list_empty(&p->waiting));
	kr_io_timer_stop(p->io, &p->timer);
	kr_tokens_fini(&p->own);
}

/* No lock: it never changes. */
bool kr_pace_is_limited(const struct kr_pace *p)
{
	return kr_bucket_is_limited(&p->tokens->bucket);
}

void kr_turn_init(struct kr_turn *turn)
{
	*turn = (struct kr_turn){ .want_bytes = 0 };
	kr_list_init(&turn->link);
}

bool kr_turn_waits(const struct kr_turn *turn)
{
	return !kr_list_empty(&turn->link);
}

static uint32_t slice_of(const struct kr_pace *p, uint32_t want_bytes)
{
	return want_bytes < p->slice_bytes ? want_bytes
					   : (uint32_t)p->slice_bytes;
}

/* A slice for @want_bytes, if its tokens are there; else 0. */
static uint32_t grant(struct kr_pace *p, uint32_t want_bytes)
{
	const uint32_t slice = slice_of(p, want_bytes);

	return take(p->tokens, kr_io_now_ns(p->io), slice) ? slice : 0;
}

static struct kr_turn *first(const struct kr_pace *p)
{
	struct kr_list *it = kr_list_first(&p->waiting);

	return it == NULL ? NULL : KR_CONTAINER_OF(it, struct kr_turn, link);
}

static void on_tokens(struct kr_timer *timer);

static void arm(struct kr_pace *p)
{
	const struct kr_turn *turn = first(p);

	if (turn == NULL)
		return;
	kr_io_timer_set(p->io, &p->timer,
			ready_ns(p->tokens, kr_io_now_ns(p->io),
				 slice_of(p, turn->want_bytes)),
			on_tokens);
}

/* Who is called may ask again, and then waits behind the others. */
static void on_tokens(struct kr_timer *timer)
{
	struct kr_pace *p = KR_CONTAINER_OF(timer, struct kr_pace, timer);
	struct kr_turn *turn;

	while ((turn = first(p)) != NULL) {
		turn->granted_bytes = grant(p, turn->want_bytes);
		if (turn->granted_bytes == 0)
			break;
		kr_list_del(&turn->link);
		turn->fn(turn);
	}
	arm(p);
}

uint32_t kr_pace_ask(struct kr_pace *p, struct kr_turn *turn,
		     uint32_t want_bytes, kr_turn_fn *fn)
{
	kr_assert(want_bytes > 0);
	if (!kr_pace_is_limited(p))
		return want_bytes;
	if (kr_turn_waits(turn))
		return 0;
	const bool alone = kr_list_empty(&p->waiting);
	const uint32_t granted = alone ? grant(p, want_bytes) : 0;

	if (granted > 0)
		return granted;
	turn->want_bytes = want_bytes;
	turn->fn = fn;
	kr_list_add_tail(&p->waiting, &turn->link);
	if (alone)
		arm(p);
	return 0;
}

void kr_pace_give(struct kr_pace *p, uint32_t bytes)
{
	if (!kr_pace_is_limited(p))
		return;
	lock(p->tokens);
	kr_bucket_give(&p->tokens->bucket, bytes);
	unlock(p->tokens);
}

void kr_pace_leave(struct kr_turn *turn)
{
	kr_list_del(&turn->link);
}
