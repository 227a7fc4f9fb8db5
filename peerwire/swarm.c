/*
 * Whom to ask for what (SWARM.md, rules 3, 8-11).  First the peer, by expected
 * wait, then its rarest piece: choosing the piece first and then its least
 * loaded holder costs 5 %.
 */
#include <string.h>

#include "peerwire/blocks.h"
#include "peerwire/state.h"

enum {
	FAR_PART = 8, /* of the window is asked of other zones at first */
	FAR_TIMES = 4,
	AHEAD_PART = 64, /* of a blob, at most, is fed in order */
	ORPHANS_LOOKED_AT = 16,
	ATTEMPTS_MAX = 5, /* then a request is lost, whoever else is asked */
};

struct kr_swarm *kr_swarm_get(const struct kr_node *n, uint32_t handle)
{
	const uint32_t index = handle & 0xffff;

	if (index >= n->pol.blobs_max || n->swarm_table[index] == NULL)
		return NULL;
	struct kr_swarm *s = n->swarm_table[index];
	return s->handle == handle ? s : NULL;
}

/* ---- rates -------------------------------------------------------------- */

static void meter_age(const struct kr_node *n, uint64_t *bytes, uint64_t *at_ns)
{
	const uint64_t window = n->pol.rate_window_ns;
	const uint64_t halvings = (n->now_ns - *at_ns) / window;

	*bytes = halvings < 64 ? *bytes >> halvings : 0;
	*at_ns += halvings * window;
}

void kr_meter_add(const struct kr_node *n, struct kr_meter *m, uint64_t bytes)
{
	meter_age(n, &m->bytes, &m->at_ns);
	m->bytes += bytes;
}

/* What older windows left weighs as much as one whole window. */
uint64_t kr_meter_bytes_per_s(const struct kr_node *n, const struct kr_meter *m)
{
	uint64_t bytes = m->bytes, at_ns = m->at_ns;

	meter_age(n, &bytes, &at_ns);
	const uint64_t ms =
		(n->pol.rate_window_ns + n->now_ns - at_ns) / KR_POLICY_MS;
	return bytes * 1000 / (ms + 1);
}

uint64_t kr_window_bytes(const struct kr_node *n)
{
	const uint64_t limit = n->pol.down_bytes_per_s;

	return limit != 0
		       ? kr_rate_window_bytes(n, limit, true)
		       : kr_rate_window_bytes(
				 n, kr_meter_bytes_per_s(n, &n->down), false);
}

/* Bytes over a rate; what it would take longer than an hour is an hour. */
static uint64_t time_ns(uint64_t bytes, uint64_t bytes_per_s)
{
	const uint64_t s = bytes / (bytes_per_s + 1);

	if (s >= 3600)
		return 3600 * KR_NS_PER_S;
	return s * KR_NS_PER_S +
	       bytes % (bytes_per_s + 1) * 1000000 / (bytes_per_s / 1000 + 1);
}

uint64_t kr_conn_wait_ns(const struct kr_node *n, const struct kr_conn *c)
{
	(void)n;
	return time_ns(c->load_bytes + c->asked_bytes, c->rate_bytes_per_s);
}

void kr_conn_load(struct kr_node *n, struct kr_conn *c, uint32_t kib)
{
	c->load_bytes = (uint64_t)kib << 10;
	c->asked_bytes = 0;
	n->ask = true;
}

uint64_t kr_request_due_ns(const struct kr_node *n, const struct kr_conn *c,
			   uint32_t len, uint32_t attempts)
{
	const struct kr_policy *p = &n->pol;
	const uint64_t limit = p->down_bytes_per_s;
	const uint64_t max_ns =
		p->overdue_max_ns + kr_rate_request_ns(n, c, len);
	uint64_t down = kr_meter_bytes_per_s(n, &n->down) + 1;
	uint64_t ns = kr_conn_wait_ns(n, c) + time_ns(len, c->rate_bytes_per_s);

	if (limit != 0 && (n->down.bytes == 0 || down > limit))
		down = limit;
	/* What is on its way to us from others comes in between. */
	const uint64_t ours = time_ns(n->inflight_bytes, down);
	if ((n->down.bytes > 0 || limit != 0) && ours > ns)
		ns = ours;
	ns = ns / 1000 * p->overdue_factor_permille +
	     p->overdue_latencies * c->rtt_ns;
	if (ns < p->overdue_min_ns)
		ns = p->overdue_min_ns;
	ns <<= attempts < 5 ? attempts : 5;
	if (ns > max_ns)
		ns = max_ns; /* a download that stalls would wait ever longer */
	return n->now_ns + kr_rate_path_ns(n, c) + ns;
}

/* ---- whom --------------------------------------------------------------- */

/* Is it open, and neither busy nor silent?  Who was late is asked again when
 * something was heard of it. */
static bool is_willing(const struct kr_node *n, const struct kr_stream *st)
{
	const struct kr_conn *c = st->conn;

	return st->state == KR_STREAM_OPEN && !c->broken &&
	       c->ask_after_ns <= n->now_ns && c->late_ns <= c->heard_ns &&
	       !(c->pinged_ns != 0 && c->request_count > 0 &&
		 n->now_ns - c->heard_ns >= n->pol.silence_ping_ns);
}

/* Pieces that may be asked of @st at once.  The few of the policy are for a
 * crowd; with few neighbours each must fill its part of the window, or a long
 * way would leave most of it empty. */
static uint64_t pipeline_pieces(const struct kr_node *n,
				const struct kr_stream *st)
{
	const uint8_t role = st->conn->role;
	const bool seeds = role == KR_PEER_ORIGIN || role == KR_PEER_PROXY;
	const uint64_t least = seeds ? n->pol.pipeline_origin_pieces
				     : n->pol.pipeline_peer_pieces;
	const uint64_t sources = st->swarm->neighbour_count + n->dial_count;
	const uint64_t limit = st->conn->up_bytes_per_s;
	uint64_t bytes = kr_window_bytes(n) / sources;

	if (limit != 0 && bytes > kr_rate_window_bytes(n, limit, true))
		bytes = kr_rate_window_bytes(n, limit, true);
	const uint64_t part = bytes / st->swarm->piece_bytes;
	return part > least ? part : least;
}

static bool far_may_be_asked(const struct kr_node *n)
{
	return n->far_ok && n->inflight_bytes - n->near_bytes < n->far_max;
}

static bool can_ask(const struct kr_node *n, const struct kr_stream *st)
{
	const struct kr_conn *c = st->conn;

	return is_willing(n, st) && (!c->far || far_may_be_asked(n)) &&
	       c->request_count < n->pol.conn_requests_max &&
	       c->piece_count < pipeline_pieces(n, st);
}

/* An orphan that @st may be asked for. */
static struct kr_fetch *orphan_for(const struct kr_node *n,
				   const struct kr_stream *st)
{
	uint32_t looked_at = 0;

	kr_list_for_each (it, &st->swarm->orphans) {
		struct kr_fetch *f =
			KR_CONTAINER_OF(it, struct kr_fetch, orphan);
		if (kr_fetch_may_ask(n, f, st))
			return f;
		if (++looked_at == ORPHANS_LOOKED_AT)
			break;
	}
	return NULL;
}

/* The wait with a random part, so that equals are chosen in turn. */
static uint64_t wait_to_compare(struct kr_node *n, const struct kr_conn *c)
{
	const uint64_t wait = kr_conn_wait_ns(n, c);
	const uint64_t spread = wait / 16 + 100000;

	return wait + kr_rand_below(&n->rand, spread < UINT32_MAX
						      ? (uint32_t)spread
						      : UINT32_MAX);
}

/* The stream of least wait that has what is looked for: @piece, or anything
 * (UINT32_MAX). */
static struct kr_stream *best_stream(struct kr_node *n, struct kr_swarm *s,
				     uint32_t piece)
{
	struct kr_stream *best = NULL;
	uint64_t best_wait = 0;

	kr_list_for_each (it, &s->streams) {
		struct kr_stream *st =
			KR_CONTAINER_OF(it, struct kr_stream, in_swarm);
		if (!can_ask(n, st))
			continue;
		if (piece != UINT32_MAX ? !kr_stream_has(st, piece)
					: kr_stream_wanted(st) == 0 &&
						  orphan_for(n, st) == NULL)
			continue;
		const uint64_t wait = wait_to_compare(n, st->conn);
		if (best == NULL || wait < best_wait) {
			best = st;
			best_wait = wait;
		}
	}
	return best;
}

/* ---- what --------------------------------------------------------------- */

static uint32_t window_pieces(const struct kr_node *n, const struct kr_swarm *s)
{
	const uint64_t pieces = n->pol.stream_window_bytes / s->piece_bytes + 1;
	const uint32_t third = s->piece_count / 3 + 1;

	return pieces > third
		       ? (uint32_t)(pieces < s->piece_count ? pieces
							    : s->piece_count)
		       : third;
}

static uint32_t some_reader(struct kr_node *n, const struct kr_swarm *s)
{
	uint32_t skip = kr_rand_below(&n->rand, s->reader_count);

	for (uint32_t i = 0; i < KR_NODE_READERS_MAX; i++)
		if (s->readers[i] != UINT32_MAX && skip-- == 0)
			return s->readers[i];
	return 0;
}

/* To a reader that is alone no piece is rare, and order costs nobody a thing. */
static bool pick_in_order(const struct kr_stream *st, uint32_t from,
			  uint32_t *ret_piece)
{
	const struct kr_swarm *s = st->swarm;
	const uint32_t piece = kr_picker_first(&s->picker, kr_stream_set(st),
					       from, s->piece_count);

	if (piece == s->piece_count)
		return false;
	*ret_piece = piece;
	return true;
}

static bool pick_piece(struct kr_node *n, const struct kr_stream *st,
		       uint32_t *ret_piece)
{
	const struct kr_swarm *s = st->swarm;

	if (kr_stream_wanted(st) == 0)
		return false;
	if (s->reader_count > 0) {
		const uint32_t from = some_reader(n, s);

		if (kr_neighbours_alone(s) &&
		    pick_in_order(st, from, ret_piece))
			return true;
		if (kr_picker_rarest(&s->picker, &n->rand, kr_stream_set(st),
				     from, from + window_pieces(n, s),
				     ret_piece))
			return true;
	}
	return kr_picker_rarest(&s->picker, &n->rand, kr_stream_set(st), 0,
				s->piece_count, ret_piece);
}

static bool ask_piece(struct kr_node *n, struct kr_stream *st, uint32_t piece)
{
	struct kr_fetch *f = kr_fetch_begin(n, st->swarm, piece);

	if (f == NULL)
		return false;
	if (kr_fetch_ask(n, f, st))
		return true;
	kr_fetch_drop(n, f);
	return false;
}

/* Pieces that a reader is fed in order: of a small blob few, else all hosts
 * ask for the same part of it. */
static uint32_t ahead_pieces(const struct kr_node *n, const struct kr_swarm *s)
{
	uint64_t bytes = s->size_bytes / AHEAD_PART;

	if (bytes > n->pol.stream_ahead_bytes)
		bytes = n->pol.stream_ahead_bytes;
	return (uint32_t)(bytes / s->piece_bytes) + 1;
}

/* The next bytes of a reader, in order, before all else. */
static bool ask_ahead(struct kr_node *n, struct kr_swarm *s)
{
	const uint32_t ahead = ahead_pieces(n, s);

	for (uint32_t i = 0; i < KR_NODE_READERS_MAX; i++) {
		const uint32_t from = s->readers[i];
		uint32_t piece, end;

		if (from == UINT32_MAX)
			continue;
		end = from + ahead < s->piece_count ? from + ahead
						    : s->piece_count;
		piece = kr_picker_first(&s->picker, NULL, from, end);
		for (; piece < end; piece = kr_picker_first(&s->picker, NULL,
							    piece + 1, end)) {
			struct kr_stream *st = best_stream(n, s, piece);

			if (st != NULL)
				return ask_piece(n, st, piece);
		}
	}
	return false;
}

static bool ask_one(struct kr_node *n, struct kr_swarm *s)
{
	struct kr_stream *st;
	struct kr_fetch *f;
	uint32_t piece;

	if (s->reader_count > 0 && ask_ahead(n, s))
		return true;
	st = best_stream(n, s, UINT32_MAX);
	if (st == NULL)
		return false;
	f = orphan_for(n, st);
	if (f != NULL)
		return kr_fetch_ask(n, f, st);
	return pick_piece(n, st, &piece) && ask_piece(n, st, piece);
}

bool kr_swarm_endgame(const struct kr_swarm *s)
{
	return s->picker.need_count == 0 && kr_list_empty(&s->orphans);
}

/* Has no neighbour much of @s that we lack?  So it is where everybody has what
 * its one seeder has sent so far. */
static bool is_scarce(const struct kr_node *n, const struct kr_swarm *s)
{
	kr_list_for_each (it, &s->streams) {
		const struct kr_stream *st =
			KR_CONTAINER_OF(it, struct kr_stream, in_swarm);
		if (st->state == KR_STREAM_OPEN &&
		    kr_stream_wanted(st) > n->pol.scarce_pieces)
			return false;
	}
	return true;
}

/* Is it the turn of the blobs behind @s? */
static bool is_passed_over(struct kr_node *n, const struct kr_swarm *s)
{
	const uint64_t stays = is_scarce(n, s)
				       ? n->pol.blob_rank_scarce_permille
				       : n->pol.blob_rank_permille;

	return kr_rand_below(&n->rand, 1000) >= stays;
}

/* Blobs in their order, but now and then the first waits for the second. */
static bool ask_some_blob(struct kr_node *n)
{
	struct kr_swarm *passed_over = NULL;

	kr_list_for_each (it, &n->swarms) {
		struct kr_swarm *s = KR_CONTAINER_OF(it, struct kr_swarm, all);

		if (kr_swarm_endgame(s))
			continue;
		if (passed_over == NULL && it->next != &n->swarms &&
		    is_passed_over(n, s)) {
			passed_over = s;
			continue;
		}
		if (ask_one(n, s))
			return true;
	}
	return passed_over != NULL && ask_one(n, passed_over);
}

/* Links between zones are narrow: while our own zone fills half of the window,
 * or did a moment ago, others are left alone; then a little is asked of them,
 * and after FAR_TIMES that moment all that there is room for.  Who is alone in
 * its zone waits for a quarter of it. */
static void note_near(struct kr_node *n, uint64_t window)
{
	const uint64_t patience_ns = n->pol.far_patience_ns;

	if (n->near_bytes >= window / 2)
		n->near_full_ns = n->now_ns;
	const uint64_t ns = n->now_ns - n->near_full_ns;
	n->far_ok = ns >= (n->near_count > 0 ? patience_ns : patience_ns / 4);
	n->far_max = ns >= FAR_TIMES * patience_ns || n->near_count == 0
			     ? window
			     : window / FAR_PART;
}

/* Has a full window room worth asking for?  Requests for several pieces that go
 * out together wake a peer once. */
static bool has_room(const struct kr_node *n, uint64_t window)
{
	const uint64_t room = window / 1000 * n->pol.window_room_permille;

	return n->inflight_bytes < window &&
	       (!n->window_full || n->inflight_bytes <= window - room);
}

void kr_swarm_ask(struct kr_node *n)
{
	if (!n->ask || n->shutting_down)
		return;
	n->ask = false;
	const uint64_t window = kr_window_bytes(n);
	note_near(n, window);
	if (!has_room(n, window))
		return;
	while (n->inflight_bytes < window && ask_some_blob(n))
		;
	n->window_full = n->inflight_bytes >= window;
	n->ask = false; /* what was just asked changes nothing */
}

/* ---- overdue ------------------------------------------------------------ */

/* Somebody else who could be asked for the block of @r: at once, if a copy is
 * meant, else when it has room. */
static struct kr_stream *other_stream(struct kr_node *n,
				      const struct kr_request *r, bool at_once)
{
	const struct kr_fetch *f = r->fetch;
	struct kr_stream *best = NULL;
	uint64_t best_wait = 0;

	kr_list_for_each (it, &f->swarm->streams) {
		struct kr_stream *st =
			KR_CONTAINER_OF(it, struct kr_stream, in_swarm);
		bool asked = false;

		if (st == r->stream || !kr_stream_has(st, f->piece) ||
		    !(at_once ? can_ask(n, st) : is_willing(n, st)))
			continue;
		kr_list_for_each (jt, &f->requests) {
			const struct kr_request *o = KR_CONTAINER_OF(
				jt, struct kr_request, in_fetch);
			asked |= o->stream == st && o->block == r->block;
		}
		const uint64_t wait = wait_to_compare(n, st->conn);
		if (!asked && (best == NULL || wait < best_wait)) {
			best = st;
			best_wait = wait;
		}
	}
	return best;
}

static void go_elsewhere(struct kr_node *n, struct kr_request *r)
{
	struct kr_fetch *f = r->fetch;

	f->avoid = r->stream->conn->handle;
	f->avoid_until_ns = n->now_ns + 2 * n->pol.overdue_min_ns;
	kr_request_end(n, r, true);
}

static void on_overdue(struct kr_node *n, struct kr_request *r)
{
	struct kr_fetch *f = r->fetch;
	struct kr_conn *c = r->stream->conn;
	const bool copy = kr_swarm_endgame(f->swarm) && !f->solo;
	struct kr_stream *other = other_stream(n, r, copy);

	n->stats.overdue_requests++;
	if (f->overdue_ns != n->now_ns)
		f->attempts++; /* once, however many of its blocks */
	f->overdue_ns = c->late_ns = n->now_ns;
	kr_conn_ping(n, c);
	if (c->rate_bytes_per_s > 8192) /* it promised more than it holds */
		c->rate_bytes_per_s -= c->rate_bytes_per_s / 4;
	r->due_ns = kr_request_due_ns(n, c, r->len, f->attempts);
	if (copy && other != NULL) {
		/* Two that are both silent must not hold the block. */
		const bool instead = kr_fetch_copies_max(n, r);

		r->late = true;
		kr_fetch_ask_copy(n, r, other);
		if (instead)
			kr_request_end(n, r, true);
	} else if ((other != NULL && !copy) || f->attempts >= ATTEMPTS_MAX) {
		go_elsewhere(n, r); /* if need be to the same one, anew */
	}
}

/* A block that began and does not end keeps everybody else off its place: in
 * the endgame somebody else is asked, whose block puts an end to it. */
static void on_stalled(struct kr_node *n, struct kr_request *r)
{
	const struct kr_fetch *f = r->fetch;
	struct kr_stream *other;

	if (r->late || f->solo || !kr_swarm_endgame(f->swarm) ||
	    kr_fetch_copies_max(n, r))
		return;
	other = other_stream(n, r, true);
	if (other == NULL)
		return;
	n->stats.overdue_requests++;
	r->late = true;
	kr_fetch_ask_copy(n, r, other);
}

void kr_swarm_overdue(struct kr_node *n, struct kr_conn *c)
{
	kr_list_for_each_safe(it, &c->requests)
	{
		struct kr_request *r =
			KR_CONTAINER_OF(it, struct kr_request, in_conn);
		if (r->arriving && kr_conn_stalls(n, c))
			on_stalled(n, r);
		else if (!r->arriving && r->due_ns <= n->now_ns)
			on_overdue(n, r);
	}
}

/* ---- the end ------------------------------------------------------------ */

void kr_swarm_done(struct kr_node *n, struct kr_swarm *s)
{
	kr_tell_flush(n, s);
	kr_list_del(&s->all);
	kr_list_add_tail(&n->complete, &s->all);
	s->done_due = true;
	kr_tell_swarm(n, s);
	kr_list_for_each_safe(it, &s->streams)
	{
		struct kr_stream *st =
			KR_CONTAINER_OF(it, struct kr_stream, in_swarm);

		if (n->pol.leech_only)
			kr_stream_close(n, st);
		else
			kr_stream_close_if_done(n, st);
	}
}
