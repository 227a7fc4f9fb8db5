/*
 * What neighbours are told: pieces (rule 6), load (rule 4), and, from seeders,
 * pieces one by one (rule 7) so that each neighbour is given something that no
 * other has and they serve each other from the first moment on.
 */
#include <string.h>

#include "peerwire/blocks.h"
#include "peerwire/state.h"

enum {
	REVEAL_FEW = 32, /* pieces, where nobody passes any on */
	/* What a fast host has asked for, hashes and has not announced yet. */
	REVEAL_FEW_AHEAD = 96,
};

#define REVEAL_PASSED UINT32_MAX /* another neighbour announced it */

/* ---- HAVE --------------------------------------------------------------- */

void kr_tell_ranges(struct kr_node *n, struct kr_stream *st,
		    const struct kr_have_range *ranges, uint32_t count)
{
	const size_t cap =
		KR_MSG_SMALL_MAX + (size_t)count * KR_HAVE_RANGE_LEN_MAX;
	uint8_t *buf;
	size_t len;

	if (n->pol.leech_only)
		return; /* nobody shall ask for them */
	buf = kr_send_begin(n, st->conn, cap);
	if (buf == NULL)
		return;
	kr_must(kr_msg_have_encode(st->id, ranges, count, buf, cap, &len));
	kr_send_end(n, st->conn, len);
}

void kr_tell_piece(struct kr_node *n, struct kr_swarm *s, uint32_t piece)
{
	if (s->fresh_count == 0)
		s->fresh_due_ns = n->now_ns + n->pol.have_batch_ns;
	s->fresh[s->fresh_count++] = piece;
	if (s->fresh_count == KR_FRESH_MAX ||
	    s->picker.have_count <= n->pol.have_at_once_pieces)
		kr_tell_flush(n, s);
}

static void sort_fresh(struct kr_swarm *s)
{
	for (uint32_t i = 1; i < s->fresh_count; i++) {
		const uint32_t piece = s->fresh[i];
		uint32_t k = i;

		for (; k > 0 && s->fresh[k - 1] > piece; k--)
			s->fresh[k] = s->fresh[k - 1];
		s->fresh[k] = piece;
	}
}

/* The fresh pieces that @st lacks, or @all of them, as ranges. */
static uint32_t fresh_ranges(const struct kr_swarm *s,
			     const struct kr_stream *st, bool all,
			     struct kr_have_range *ranges)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < s->fresh_count; i++) {
		const uint32_t piece = s->fresh[i];

		if (!all && kr_stream_has(st, piece))
			continue;
		if (count > 0 &&
		    ranges[count - 1].first + ranges[count - 1].count == piece)
			ranges[count - 1].count++;
		else
			ranges[count++] = (struct kr_have_range){ piece, 1 };
	}
	return count;
}

/* Who is alone tells seeders of what it got from others of them: it is all
 * they have to go by when they reveal more. */
void kr_tell_flush(struct kr_node *n, struct kr_swarm *s)
{
	const bool complete = kr_picker_complete(&s->picker);
	const bool alone = kr_neighbours_alone(s);
	struct kr_have_range ranges[KR_FRESH_MAX];
	uint32_t count;

	sort_fresh(s);
	kr_list_for_each (it, &s->streams) {
		struct kr_stream *st =
			KR_CONTAINER_OF(it, struct kr_stream, in_swarm);
		if (st->state != KR_STREAM_OPEN || st->all || st->hiding)
			continue;
		count = fresh_ranges(s, st, alone, ranges);
		if (complete) { /* one range says more than its difference */
			ranges[0] = (struct kr_have_range){ 0, s->piece_count };
			count = 1;
		}
		if (count > 0)
			kr_tell_ranges(n, st, ranges, count);
	}
	s->fresh_count = 0;
}

void kr_tell_load(struct kr_node *n)
{
	kr_list_for_each_safe(it, &n->told_load)
	{
		struct kr_conn *c =
			KR_CONTAINER_OF(it, struct kr_conn, told_load);
		kr_list_del(&c->told_load);
		kr_send_plain(n, c, KR_FRAME_LOAD, 0, 0);
	}
}

/* ---- revealing ---------------------------------------------------------- */

static uint32_t leecher_count(const struct kr_swarm *s)
{
	return s->neighbour_count - s->complete_count;
}

static bool are_few(const struct kr_node *n, const struct kr_swarm *s)
{
	return leecher_count(s) < n->pol.reveal_neighbours_min;
}

/* Does @c give what it gets to others, and as soon as we would? */
static bool passes_on(const struct kr_node *n, const struct kr_conn *c)
{
	return !c->leech && (!kr_rate_is_slow(n, c->up_bytes_per_s) ||
			     kr_rate_is_slow(n, n->pol.up_bytes_per_s));
}

static bool may_hide(const struct kr_node *n, const struct kr_stream *st)
{
	const struct kr_swarm *s = st->swarm;
	const struct kr_policy *p = &n->pol;

	return p->reveal && n->role != KR_PEER_AGENT && !st->all &&
	       kr_picker_complete(&s->picker) && passes_on(n, st->conn) &&
	       s->piece_count > p->reveal_pieces * p->reveal_neighbours_min;
}

static bool begin_hiding(struct kr_node *n, struct kr_stream *st)
{
	struct kr_swarm *s = st->swarm;
	uint64_t *words;

	if (s->revealed_to == NULL)
		s->revealed_to =
			kr_mem_get(n, s->piece_count * sizeof(uint32_t));
	if (s->revealed_to == NULL)
		return false;
	words = kr_mem_get(n, kr_bitset_words(s->piece_count) * sizeof(*words));
	if (words == NULL)
		return false;
	kr_bitset_init(&st->told, words, s->piece_count);
	st->hiding = true;
	st->reveal_open = st->told_open = st->told_lacks = 0;
	return true;
}

/* Pieces that readers want first; each seeder gives them away first. */
static uint32_t head_pieces(const struct kr_node *n, const struct kr_swarm *s)
{
	const uint64_t pieces = n->pol.stream_ahead_bytes / s->piece_bytes;

	return pieces < s->piece_count ? (uint32_t)pieces : s->piece_count;
}

/* A piece for @st: at best one that nobody was given, else (@any) one that
 * few have.  A crowd is given random ones; few are given them in order, which
 * is how their clients read.  piece_count: there is none. */
static uint32_t choose_reveal(struct kr_node *n, const struct kr_stream *st,
			      bool any)
{
	const struct kr_swarm *s = st->swarm;
	const uint32_t head = head_pieces(n, s);
	const uint32_t start =
		are_few(n, s) ? 0 : kr_rand_below(&n->rand, s->piece_count);
	uint32_t best = s->piece_count;

	for (uint32_t k = 0; k < head + s->piece_count; k++) {
		const uint32_t i = k < head ? k : (start + k) % s->piece_count;

		if (kr_stream_has(st, i) || kr_bitset_test(&st->told, i))
			continue;
		if (s->revealed_to[i] == 0 && s->picker.avail[i] == 0)
			return i;
		if (any && (best == s->piece_count ||
			    s->picker.avail[i] < s->picker.avail[best]))
			best = i;
	}
	return best;
}

static bool reveal_one(struct kr_node *n, struct kr_stream *st, bool any,
		       uint32_t *ret_piece)
{
	struct kr_swarm *s = st->swarm;
	const uint32_t piece = choose_reveal(n, st, any);

	if (piece == s->piece_count)
		return false;
	st->told_open++;
	st->told_lacks++;
	kr_bitset_set(&st->told, piece);
	if (s->revealed_to[piece] == 0) {
		s->revealed_to[piece] = st->conn->handle;
		st->reveal_open++;
	}
	st->revealed_ns = n->now_ns;
	*ret_piece = piece;
	return true;
}

static void reveal_more(struct kr_node *n, struct kr_stream *st, uint64_t count,
			bool any)
{
	struct kr_have_range r = { 0, 1 };

	for (uint64_t i = 0; i < count; i++) {
		if (!reveal_one(n, st, any, &r.first))
			return;
		kr_tell_ranges(n, st, &r, 1);
	}
}

static void reveal_few(struct kr_node *n, struct kr_stream *st)
{
	st->swarm->told_few = true;
	reveal_more(n, st, REVEAL_FEW, true);
}

size_t kr_tell_first_max(const struct kr_swarm *s)
{
	return kr_have_encoded_max(s->piece_count);
}

enum kr_err kr_tell_first(struct kr_node *n, struct kr_stream *st, uint8_t *buf,
			  size_t cap, size_t *ret_len)
{
	uint32_t piece;

	if (n->pol.leech_only) {
		buf[0] = KR_HAVE_NONE;
		*ret_len = 1;
		return KR_OK;
	}
	if (!may_hide(n, st) || !begin_hiding(n, st))
		return kr_have_encode(&st->swarm->picker.have, buf, cap,
				      ret_len);
	for (uint64_t i = 0; i < n->pol.reveal_pieces; i++)
		if (!reveal_one(n, st, false, &piece))
			break;
	return kr_have_encode(&st->told, buf, cap, ret_len);
}

/* Several seeders tell few hosts of the same pieces, each of which is asked of
 * one of them: the others see that it is there, and go on. */
static void reveal_behind(struct kr_node *n, struct kr_stream *st,
			  uint32_t piece)
{
	if (!st->hiding || !kr_bitset_test(&st->told, piece))
		return;
	st->told_lacks--;
	if (st->told_lacks < REVEAL_FEW_AHEAD && are_few(n, st->swarm))
		reveal_few(n, st);
}

void kr_reveal_announced(struct kr_node *n, struct kr_stream *st,
			 uint32_t piece)
{
	struct kr_swarm *s = st->swarm;
	struct kr_conn *holder;
	struct kr_stream *told;

	st->conn->fed_ns = n->now_ns;
	reveal_behind(n, st, piece);
	if (s->revealed_to == NULL || s->revealed_to[piece] == 0 ||
	    s->revealed_to[piece] == REVEAL_PASSED ||
	    s->revealed_to[piece] == st->conn->handle)
		return;
	holder = kr_conn_get(n, s->revealed_to[piece]);
	s->revealed_to[piece] = REVEAL_PASSED;
	told = holder == NULL ? NULL : kr_stream_of(holder, s);
	if (told == NULL || !told->hiding)
		return;
	told->reveal_open--;
	if (told->reveal_open < n->pol.reveal_pieces)
		reveal_more(n, told, 1, false);
}

/* A neighbour that asked for all it was told of, and waits, is told of pieces
 * that nobody was given.  One that nobody feeds is told of any: whoever was
 * given the others may be out of its reach. */
static void reveal_to_waiting(struct kr_node *n, struct kr_stream *st)
{
	const struct kr_conn *c = st->conn;
	const uint64_t patience_ns = n->pol.reveal_patience_ns;
	uint64_t last_ns = st->revealed_ns;

	if (c->useful_ns > last_ns)
		last_ns = c->useful_ns;
	if (c->upload_count > 0 || c->serve_out ||
	    n->now_ns - last_ns < patience_ns)
		return;
	const bool starves = n->now_ns - c->fed_ns >= patience_ns;
	if (starves || st->told_open == 0)
		reveal_more(n, st, n->pol.reveal_pieces, starves);
}

/* There are too few to pass pieces on: it is told of as many as it asks for,
 * and of more if it has those from elsewhere. */
static void reveal_to_few(struct kr_node *n, struct kr_stream *st)
{
	if (st->told_open < REVEAL_FEW ||
	    n->now_ns - st->revealed_ns >= n->pol.reveal_patience_ns)
		reveal_few(n, st);
}

/* Who is alone must not wait for the next tick: the seeder is all it has. */
void kr_reveal_asked(struct kr_node *n, struct kr_stream *st)
{
	if (!st->hiding || st->told_open == 0)
		return;
	st->told_open--;
	if (st->told_open < REVEAL_FEW / 2 && are_few(n, st->swarm))
		reveal_few(n, st);
}

static bool is_asked(const struct kr_stream *st, uint32_t piece)
{
	kr_list_for_each (it, &st->conn->uploads) {
		const struct kr_upload *u =
			KR_CONTAINER_OF(it, struct kr_upload, in_conn);
		if (u->stream == st && u->piece == piece)
			return true;
	}
	return false;
}

/* The few were told of far more than they fetch within a second.  When a crowd
 * has come, what they did not ask for is for whoever comes. */
static void reveal_anew(struct kr_stream *st)
{
	struct kr_swarm *s = st->swarm;

	for (uint32_t i = 0; st->reveal_open > 0 && i < s->piece_count; i++) {
		if (s->revealed_to[i] != st->conn->handle || is_asked(st, i))
			continue;
		s->revealed_to[i] = 0;
		st->reveal_open--;
	}
}

void kr_reveal_tick(struct kr_node *n, struct kr_swarm *s)
{
	const bool few = are_few(n, s);
	const bool grown = s->told_few && !few;

	if (s->revealed_to == NULL)
		return;
	if (grown)
		s->told_few = false;
	kr_list_for_each (it, &s->streams) {
		struct kr_stream *st =
			KR_CONTAINER_OF(it, struct kr_stream, in_swarm);

		if (!st->hiding || st->state != KR_STREAM_OPEN)
			continue;
		if (grown)
			reveal_anew(st);
		if (few)
			reveal_to_few(n, st);
		else
			reveal_to_waiting(n, st);
	}
}

void kr_reveal_forget(struct kr_node *n, struct kr_stream *st)
{
	struct kr_swarm *s = st->swarm;

	if (!st->hiding)
		return;
	for (uint32_t i = 0; st->reveal_open > 0 && i < s->piece_count; i++) {
		if (s->revealed_to[i] != st->conn->handle)
			continue;
		s->revealed_to[i] = 0; /* somebody else shall have it */
		st->reveal_open--;
	}
	kr_mem_put(n, st->told.words);
	st->told.words = NULL;
	st->hiding = false;
}
