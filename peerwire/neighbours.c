/*
 * Whom to know (SWARM.md, rules 2 and 12): hosts that are said to be in a
 * swarm are remembered as hints; of those some are dialled, never one host
 * twice; when there are too few, more are asked for.
 */
#include <string.h>

#include "peerwire/state.h"

/* ---- bans --------------------------------------------------------------- */

bool kr_peer_is_banned(const struct kr_node *n, const struct kr_peer_id *id)
{
	for (uint32_t i = 0; i < KR_BANS_MAX; i++)
		if (n->bans[i].until_ns > n->now_ns &&
		    kr_peer_id_equal(&n->bans[i].id, id))
			return true;
	return false;
}

void kr_peer_ban(struct kr_node *n, const struct kr_peer_id *id)
{
	n->bans[n->ban_next] =
		(struct kr_ban){ *id, n->now_ns + n->pol.ban_ns };
	n->ban_next = (n->ban_next + 1) % KR_BANS_MAX;
}

/* ---- hints -------------------------------------------------------------- */

static bool is_known_id(const struct kr_peer_id *id)
{
	static const struct kr_peer_id zero;

	return !kr_peer_id_equal(id, &zero);
}

static bool same_host(const struct kr_peer_hint *a,
		      const struct kr_peer_hint *b)
{
	if (is_known_id(&a->id) && is_known_id(&b->id))
		return kr_peer_id_equal(&a->id, &b->id);
	return kr_addr_equal(&a->addr, &b->addr);
}

static bool is_of_conn(const struct kr_hint *h, const struct kr_conn *c)
{
	if (h->conn == c->handle)
		return true;
	if (c->state == KR_CONN_OPEN && is_known_id(&h->peer.id))
		return kr_peer_id_equal(&h->peer.id, &c->id);
	return kr_addr_equal(&h->peer.addr, &c->addr);
}

/* The connection to a hint's host, made or being made. */
static struct kr_conn *conn_of(struct kr_node *n, struct kr_hint *h)
{
	struct kr_conn *c = kr_conn_get(n, h->conn);

	if (c != NULL)
		return c;
	kr_list_for_each (it, &n->conns) {
		c = KR_CONTAINER_OF(it, struct kr_conn, all);
		if (is_of_conn(h, c)) {
			h->conn = c->handle;
			return c;
		}
	}
	h->conn = 0;
	return NULL;
}

static void drop_hint(struct kr_swarm *s, uint32_t i)
{
	s->hints[i] = s->hints[--s->hint_count];
}

static struct kr_hint *hint_for(struct kr_node *n, struct kr_swarm *s,
				const struct kr_peer_hint *p)
{
	uint32_t i;

	for (i = 0; i < s->hint_count; i++)
		if (same_host(&s->hints[i].peer, p))
			return &s->hints[i];
	if (s->hint_count < n->pol.hints_max)
		i = s->hint_count++;
	else
		i = kr_rand_below(&n->rand, s->hint_count);
	s->hints[i] = (struct kr_hint){ .peer = *p };
	return &s->hints[i];
}

void kr_neighbours_hints(struct kr_node *n, struct kr_swarm *s,
			 const struct kr_peer_hint *hints, size_t count)
{
	if (s->hints == NULL)
		s->hints = kr_mem_get(n, n->pol.hints_max * sizeof(*s->hints));
	if (s->hints == NULL)
		return; /* asked for again later */
	for (size_t i = 0; i < count; i++) {
		if (kr_peer_id_equal(&hints[i].id, &n->id) ||
		    kr_peer_is_banned(n, &hints[i].id))
			continue;
		hint_for(n, s, &hints[i])->peer = hints[i];
	}
	kr_neighbours_seek(n, s);
}

/* ---- dialling ----------------------------------------------------------- */

static bool dial(struct kr_node *n, struct kr_hint *h)
{
	struct kr_conn *c;
	struct kr_act *a;

	if (n->dial_count >= n->pol.dials_max)
		return false;
	c = kr_conn_add(n, &h->peer.addr, true);
	if (c == NULL)
		return false;
	a = kr_act_add(n, KR_ACT_DIAL);
	if (a == NULL) {
		kr_conn_close(n, c, KR_BYE_NONE);
		return false;
	}
	a->conn = c->handle;
	a->addr = h->peer.addr;
	a->peer = h->peer.id;
	h->conn = c->handle;
	return true;
}

static bool is_seed(const struct kr_hint *h)
{
	return h->peer.complete || h->peer.role == KR_PEER_ORIGIN;
}

/*
 * A crowd that has not met yet is not alone: the tracker names to each host
 * those who announced themselves before it, and they dial the first, who was
 * told of nobody.  What is asked for until then is in order, and spread over
 * the hosts nevertheless: seeders reveal to each what they did not reveal to
 * others.
 */
bool kr_neighbours_alone(const struct kr_swarm *s)
{
	kr_list_for_each (it, &s->streams) {
		const struct kr_stream *st =
			KR_CONTAINER_OF(it, struct kr_stream, in_swarm);
		if (!st->all && st->conn->role == KR_PEER_AGENT)
			return false;
	}
	for (uint32_t i = 0; i < s->hint_count; i++)
		if (!s->hints[i].peer.complete &&
		    s->hints[i].peer.role == KR_PEER_AGENT)
			return false;
	return true;
}

/* What a walk over the hints of a swarm finds. */
struct prospect {
	struct kr_hint *hint; /* to be tried next; NULL: none */
	uint32_t pending;     /* connections being made */
	uint32_t pending_seeds;
};

/* A random hint that may be tried; seeds first while there are too few. */
static struct prospect look_around(struct kr_node *n, struct kr_swarm *s)
{
	struct prospect p = { 0 };
	uint32_t ties = 0;
	bool best_seed = false;

	for (uint32_t i = 0; i < s->hint_count; i++) {
		struct kr_hint *h = &s->hints[i];
		struct kr_conn *c = kr_conn_get(n, h->conn);

		if (c != NULL && c->state != KR_CONN_OPEN) {
			p.pending++;
			p.pending_seeds += is_seed(h);
			continue;
		}
		if (h->dial_after_ns > n->now_ns)
			continue;
		c = conn_of(n, h);
		if (c != NULL &&
		    (c->state != KR_CONN_OPEN || kr_stream_of(c, s) != NULL))
			continue;
		const bool seed =
			is_seed(h) && s->complete_count + p.pending_seeds <
					      n->pol.degree_complete_min;
		if (seed && !best_seed)
			ties = 0;
		if ((best_seed && !seed) ||
		    kr_rand_below(&n->rand, ++ties) != 0)
			continue;
		best_seed = seed;
		p.hint = h;
	}
	return p;
}

/* Try one hint.  false: not now. */
static bool try_hint(struct kr_node *n, struct kr_swarm *s, struct kr_hint *h)
{
	struct kr_conn *c = conn_of(n, h);

	h->dial_after_ns = n->now_ns + n->pol.dial_backoff_ns;
	if (c != NULL)
		return kr_stream_open(n, c, s);
	return dial(n, h);
}

static bool starves(const struct kr_swarm *s)
{
	kr_list_for_each (it, &s->streams) {
		const struct kr_stream *st =
			KR_CONTAINER_OF(it, struct kr_stream, in_swarm);
		if (st->state == KR_STREAM_OPEN &&
		    (st->all || st->wanted > 0 || st->conn->request_count > 0))
			return false;
	}
	return true;
}

static void ask_for_peers(struct kr_node *n, struct kr_swarm *s, bool starving)
{
	const struct kr_policy *p = &n->pol;
	struct kr_act *a;

	if (s->neighbour_count * 3 < s->neighbour_peak * 2) { /* lost a third */
		s->neighbour_peak = s->neighbour_count;
		s->peers_interval_ns = p->peers_interval_ns;
		if (s->peers_after_ns >
		    s->peers_asked_ns + p->peers_interval_ns)
			s->peers_after_ns =
				s->peers_asked_ns + p->peers_interval_ns;
	}
	if (n->now_ns < s->peers_after_ns)
		return;
	a = kr_act_add(n, KR_ACT_PEERS);
	if (a == NULL)
		return;
	a->blob = s->handle;
	s->peers_interval_ns *= 2;
	if (s->peers_interval_ns > p->peers_interval_max_ns)
		s->peers_interval_ns = p->peers_interval_max_ns;
	if (s->peers_interval_ns < p->peers_interval_ns)
		s->peers_interval_ns = p->peers_interval_ns;
	if (starving && s->peers_interval_ns > p->peers_starving_ns)
		s->peers_interval_ns = p->peers_starving_ns;
	s->peers_asked_ns = n->now_ns;
	s->peers_after_ns = n->now_ns + s->peers_interval_ns;
}

/* Has nobody had anything for us for a while?  Then those we know may be as
 * cut off as we are, and more of them is no help. */
static bool is_starving(const struct kr_node *n, struct kr_swarm *s)
{
	if (!starves(s))
		s->fed_ns = n->now_ns;
	return n->now_ns - s->fed_ns >= n->pol.peers_interval_ns;
}

/* Part with a neighbour that has nothing for us. */
static void make_room(struct kr_node *n, struct kr_swarm *s)
{
	struct kr_stream *leaving = NULL;
	uint32_t ties = 0;

	kr_list_for_each (it, &s->streams) {
		struct kr_stream *st =
			KR_CONTAINER_OF(it, struct kr_stream, in_swarm);
		if (st->state == KR_STREAM_OPEN && kr_stream_wanted(st) == 0 &&
		    kr_rand_below(&n->rand, ++ties) == 0)
			leaving = st;
	}
	if (leaving == NULL)
		return;
	kr_neighbours_full(n, s, leaving->conn,
			   n->now_ns + n->pol.dial_backoff_max_ns);
	kr_stream_close(n, leaving);
}

static bool has_enough(const struct kr_node *n, const struct kr_swarm *s,
		       const struct prospect *p, bool starving)
{
	const struct kr_policy *pol = &n->pol;

	if (s->neighbour_count + p->pending >= pol->degree_max)
		return true;
	if (starving || s->neighbour_count + p->pending < pol->degree_target)
		return false;
	/* Enough, but of the right kind? */
	return p->hint == NULL || !is_seed(p->hint) ||
	       s->complete_count + p->pending_seeds >= pol->degree_complete_min;
}

void kr_neighbours_seek(struct kr_node *n, struct kr_swarm *s)
{
	const struct kr_policy *pol = &n->pol;
	bool starving;

	if (kr_picker_complete(&s->picker) || n->shutting_down)
		return;
	starving = is_starving(n, s);
	if (s->neighbour_count >= pol->degree_target && !starving &&
	    s->complete_count >= pol->degree_complete_min)
		return;
	for (;;) {
		const struct prospect p = look_around(n, s);

		if (has_enough(n, s, &p, starving)) {
			if (starving && p.pending == 0 && p.hint != NULL)
				make_room(n, s);
			break;
		}
		if (p.hint == NULL || !try_hint(n, s, p.hint))
			break;
	}
	if (starving || s->neighbour_count < pol->degree_target)
		ask_for_peers(n, s, starving);
}

void kr_neighbours_met(struct kr_node *n, struct kr_conn *c)
{
	kr_list_for_each (it, &n->swarms) {
		struct kr_swarm *s = KR_CONTAINER_OF(it, struct kr_swarm, all);

		for (uint32_t i = 0; i < s->hint_count; i++) {
			struct kr_hint *h = &s->hints[i];

			if (!is_of_conn(h, c))
				continue;
			h->conn = c->handle;
			h->peer.id = c->id;
			if (s->neighbour_count < n->pol.degree_max)
				(void)kr_stream_open(n, c, s);
			break;
		}
	}
}

/* @first_ns, doubled for each time after the first, at most @max_ns. */
static uint64_t backoff_ns(uint64_t first_ns, uint64_t max_ns, uint32_t times)
{
	uint64_t ns = first_ns;

	for (uint32_t i = 1; i < times && ns < max_ns; i++)
		ns *= 2;
	return ns < max_ns ? ns : max_ns;
}

void kr_neighbours_failed(struct kr_node *n, const struct kr_conn *c,
			  bool for_good)
{
	const struct kr_policy *p = &n->pol;
	/* One that only says HELLO has not been of use. */
	const bool was_useful =
		c->body_ns != 0 || (c->state == KR_CONN_OPEN &&
				    n->now_ns - c->since_ns >= p->useless_ns);

	/* It began a block and ended none: the next would cost as much. */
	const bool is_stuck = c->in_body && c->body_ns == 0;

	kr_list_for_each (it, &n->swarms) {
		struct kr_swarm *s = KR_CONTAINER_OF(it, struct kr_swarm, all);

		for (uint32_t i = 0; i < s->hint_count; i++) {
			struct kr_hint *h = &s->hints[i];

			if (!is_of_conn(h, c))
				continue;
			if (was_useful)
				h->failures = 0;
			if (for_good || ++h->failures > p->dial_failures_max) {
				drop_hint(s, i);
				break;
			}
			h->dial_after_ns =
				n->now_ns +
				(is_stuck ? p->dial_backoff_max_ns
					  : backoff_ns(p->dial_backoff_ns,
						       p->dial_backoff_max_ns,
						       h->failures));
			break;
		}
	}
}

void kr_neighbours_full(struct kr_node *n, struct kr_swarm *s,
			const struct kr_conn *c, uint64_t after_ns)
{
	(void)n;
	for (uint32_t i = 0; i < s->hint_count; i++)
		if (is_of_conn(&s->hints[i], c))
			s->hints[i].dial_after_ns = after_ns;
}

void kr_neighbours_absent(struct kr_node *n, struct kr_swarm *s,
			  const struct kr_conn *c)
{
	const struct kr_policy *p = &n->pol;

	for (uint32_t i = 0; i < s->hint_count; i++) {
		struct kr_hint *h = &s->hints[i];

		if (!is_of_conn(h, c))
			continue;
		h->absences++;
		h->dial_after_ns = n->now_ns +
				   (h->peer.role == KR_PEER_AGENT
					    ? p->dial_backoff_max_ns
					    : backoff_ns(p->absent_retry_ns,
							 p->absent_retry_max_ns,
							 h->absences));
	}
}

/* ---- room --------------------------------------------------------------- */

/* Can we give @st anything? */
static bool is_wanting(const struct kr_stream *st)
{
	const struct kr_picker *p = &st->swarm->picker;

	if (st->all)
		return false;
	if (st->has.words == NULL)
		return p->have_count > 0;
	return kr_bitset_next_andnot(&p->have, &st->has, 0) < p->piece_count;
}

static bool is_useless(const struct kr_stream *st)
{
	return kr_stream_wanted(st) == 0 && !is_wanting(st);
}

/* The neighbour that loses least by going: useless to both, else the one with
 * the most pieces.  Those who have few still live from us and stay: newcomers
 * that drive each other out have each asked for something by then. */
static struct kr_stream *least_useful(const struct kr_node *n,
				      const struct kr_swarm *s)
{
	struct kr_stream *worst = NULL;
	uint32_t enough = s->piece_count / 2;

	if (enough > n->pol.have_at_once_pieces)
		enough = (uint32_t)n->pol.have_at_once_pieces;

	kr_list_for_each (it, &s->streams) {
		struct kr_stream *st =
			KR_CONTAINER_OF(it, struct kr_stream, in_swarm);
		if (st->state != KR_STREAM_OPEN)
			continue;
		if (is_useless(st))
			return st;
		if (!st->all && st->has_count > 0 && st->has_count >= enough &&
		    (worst == NULL || st->has_count > worst->has_count))
			worst = st;
	}
	return worst;
}

/* A neighbour that a seeder told of pieces, and that does not ask for them: it
 * has them from others, or is busy with another blob. */
static struct kr_stream *idle_neighbour(const struct kr_node *n,
					const struct kr_swarm *s)
{
	kr_list_for_each (it, &s->streams) {
		struct kr_stream *st =
			KR_CONTAINER_OF(it, struct kr_stream, in_swarm);
		if (st->state == KR_STREAM_OPEN && st->hiding &&
		    st->told_open > 0 &&
		    n->now_ns - st->revealed_ns >= n->pol.reveal_patience_ns)
			return st;
	}
	return NULL;
}

bool kr_neighbours_admit(struct kr_node *n, struct kr_swarm *s,
			 uint32_t has_count)
{
	const uint64_t max = n->role == KR_PEER_AGENT ? n->pol.degree_max
						      : n->pol.degree_seed_max;
	struct kr_stream *st;

	if (s->neighbour_count < max)
		return true;
	st = idle_neighbour(n, s);
	if (st == NULL && has_count == 0)
		st = least_useful(n, s);
	if (st == NULL)
		return false;
	kr_stream_close(n, st);
	return true;
}

void kr_neighbours_useless(struct kr_node *n, struct kr_conn *c)
{
	if (n->now_ns - c->useful_ns < n->pol.useless_ns)
		return;
	kr_list_for_each (it, &c->streams) {
		const struct kr_stream *st =
			KR_CONTAINER_OF(it, struct kr_stream, in_conn);
		if (st->state == KR_STREAM_LOOKUP ||
		    st->state == KR_STREAM_OPENING ||
		    (st->state == KR_STREAM_OPEN && !is_useless(st))) {
			/* Look again when half the time has passed. */
			c->useful_ns += n->pol.useless_ns / 2;
			return;
		}
	}
	kr_conn_close(n, c, KR_BYE_USELESS);
}
