/*
 * Handouts.  Members are drawn without replacement by the first steps of a
 * shuffle over an array of indices, which is put back afterwards, so a
 * handout costs what it looks at and not what the swarm has.
 */
#include <string.h>

#include "control/tracker_internal.h"

/* Draws of [0, count) without replacement. */
struct draw {
	struct kr_tracker *t;
	uint32_t count, drawn, limit;
	uint32_t swapped[KR_TRACKER_SCAN_MAX]; /* partner of each step */
};

static void begin(struct draw *d, struct kr_tracker *t, uint32_t count)
{
	d->t = t;
	d->count = count;
	d->drawn = 0;
	d->limit = count < KR_TRACKER_SCAN_MAX ? count : KR_TRACKER_SCAN_MAX;
}

static bool next(struct draw *d, uint32_t *ret)
{
	uint32_t *perm = d->t->perm;

	if (d->drawn == d->limit)
		return false;
	const uint32_t i = d->drawn++;
	const uint32_t j = i + kr_rand_below(&d->t->rand, d->count - i);
	const uint32_t value = perm[j];

	perm[j] = perm[i];
	perm[i] = value;
	d->swapped[i] = j;
	*ret = value;
	return true;
}

/* Put the array of indices back. */
static void end(struct draw *d)
{
	uint32_t *perm = d->t->perm;

	while (d->drawn > 0) {
		const uint32_t i = --d->drawn;
		const uint32_t j = d->swapped[i];
		const uint32_t value = perm[j];

		perm[j] = perm[i];
		perm[i] = value;
	}
}

struct handout {
	struct kr_tracker *t;
	const struct tracker_member *asker;
	uint64_t now_ns;
	uint32_t max;
	/* Taken, and candidates near and far that may be. */
	struct tracker_member *taken[KR_TRACKER_WANT_MAX];
	struct tracker_member *near[KR_TRACKER_WANT_MAX];
	struct tracker_member *far[KR_TRACKER_WANT_MAX];
	uint32_t taken_count, near_count, far_count;
};

static bool is_near(const struct handout *h, const struct tracker_member *m)
{
	const char *a = m->host->peer.zone, *b = h->asker->host->peer.zone;
	const size_t len = strlen(a);

	return strlen(b) == len && memcmp(a, b, len) == 0;
}

static bool is_eligible(const struct handout *h, const struct tracker_member *m)
{
	if (m->pick == h->t->pick || m->host == h->asker->host ||
	    m->quarantine_ns > h->now_ns || m->expires_ns <= h->now_ns)
		return false;
	return !(m->complete && h->asker->complete);
}

static bool is_full(const struct handout *h, const struct tracker_member *m)
{
	return m->degree >= h->t->opts.degree_cap;
}

static void take(struct handout *h, struct tracker_member *m)
{
	m->pick = h->t->pick;
	h->taken[h->taken_count++] = m;
}

/* Complete ones first of all; those over the cap only where no other is. */
static void take_seeds(struct handout *h, bool full)
{
	const struct tracker_blob *b = h->asker->blob;
	struct draw d;
	uint32_t i;

	begin(&d, h->t, b->complete_count);
	while (h->taken_count < KR_TRACKER_SEEDS_MIN &&
	       h->taken_count < h->max && next(&d, &i)) {
		struct tracker_member *m = b->members[i];

		if (is_eligible(h, m) && is_full(h, m) == full)
			take(h, m);
	}
	end(&d);
}

/* Random members that may be taken, by zone, as many as could be needed. */
static void gather(struct handout *h)
{
	const struct tracker_blob *b = h->asker->blob;
	struct draw d;
	uint32_t i;

	begin(&d, h->t, b->member_count);
	while ((h->near_count < h->max || h->far_count < KR_TRACKER_FAR_MIN) &&
	       next(&d, &i)) {
		struct tracker_member *m = b->members[i];

		if (!is_eligible(h, m) || is_full(h, m))
			continue;
		if (is_near(h, m)) {
			if (h->near_count < h->max)
				h->near[h->near_count++] = m;
		} else if (h->far_count < h->max) {
			h->far[h->far_count++] = m;
		}
	}
	end(&d);
}

static void take_from(struct handout *h, struct tracker_member **list,
		      uint32_t *count, uint32_t want)
{
	while (want > 0 && *count > 0 && h->taken_count < h->max) {
		take(h, list[--*count]);
		want--;
	}
}

static uint32_t far_taken(const struct handout *h)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < h->taken_count; i++)
		count += !is_near(h, h->taken[i]);
	return count;
}

static void fill(struct kr_tracker_pick *out, const struct tracker_member *m)
{
	const struct kr_tracker_peer *p = &m->host->peer;

	*out = (struct kr_tracker_pick){ .id = p->id,
					 .addr = p->addr,
					 .role = p->role,
					 .complete = m->complete };
	memcpy(out->zone, p->zone, sizeof(out->zone));
}

/* In random order: the first of every list would be dialled by everybody. */
static void shuffle_out(struct handout *h, struct kr_tracker_pick *out)
{
	for (uint32_t i = 0; i < h->taken_count; i++) {
		const uint32_t j =
			i + kr_rand_below(&h->t->rand, h->taken_count - i);
		struct tracker_member *m = h->taken[j];

		h->taken[j] = h->taken[i];
		h->taken[i] = m;
		fill(&out[i], m);
	}
}

uint32_t kr_tracker_pick(struct kr_tracker *t, uint64_t now_ns,
			 const struct tracker_member *asker,
			 struct kr_tracker_pick *out, uint32_t max)
{
	struct handout h;

	kr_assert(max <= KR_TRACKER_WANT_MAX);
	if (max == 0)
		return 0;
	h.t = t;
	h.asker = asker;
	h.now_ns = now_ns;
	h.max = max;
	h.taken_count = h.near_count = h.far_count = 0;
	t->pick++;
	take_seeds(&h, false);
	take_seeds(&h, true);
	gather(&h);
	const uint32_t far = far_taken(&h);
	take_from(&h, h.far, &h.far_count,
		  far < KR_TRACKER_FAR_MIN ? KR_TRACKER_FAR_MIN - far : 0);
	take_from(&h, h.near, &h.near_count, UINT32_MAX);
	take_from(&h, h.far, &h.far_count, UINT32_MAX);
	shuffle_out(&h, out);
	return h.taken_count;
}
