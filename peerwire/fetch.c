/*
 * A piece on its way in: asked for block by block, verified, or dropped.
 *
 *	kr_fetch_begin --> blocks asked --> all got --> VERIFY --> verdict
 *	                   ^       |
 *	                   orphans: blocks that nobody is asked for any more
 *
 * A block is written by one connection at a time: a second copy that begins to
 * arrive while the first still does is read and thrown away, since the bytes
 * of a liar must never reach a place that was verified already.
 */
#include <string.h>

#include "peerwire/blocks.h"
#include "peerwire/state.h"

enum { MEASURED_MIN = 64 * 1024 }; /* bytes of a block that says something */

/* ---- bookkeeping -------------------------------------------------------- */

static void update_orphan(struct kr_fetch *f)
{
	const bool is_orphan =
		!f->verifying &&
		kr_blocks_next_clear(&f->got, &f->asked, 0, f->block_count) <
			f->block_count;

	if (is_orphan && kr_list_empty(&f->orphan))
		kr_list_add_tail(&f->swarm->orphans, &f->orphan);
	else if (!is_orphan)
		kr_list_del(&f->orphan);
}

/* Are blocks of @f asked of @c that have not begun to arrive? */
static bool pending_on(const struct kr_fetch *f, const struct kr_conn *c)
{
	kr_list_for_each (it, &f->requests) {
		const struct kr_request *r =
			KR_CONTAINER_OF(it, struct kr_request, in_fetch);
		if (r->stream->conn == c && !r->arriving)
			return true;
	}
	return false;
}

static struct kr_request *copy_of(const struct kr_fetch *f, uint32_t block,
				  const struct kr_request *but)
{
	kr_list_for_each (it, &f->requests) {
		struct kr_request *r =
			KR_CONTAINER_OF(it, struct kr_request, in_fetch);
		if (r->block == block && r != but)
			return r;
	}
	return NULL;
}

static bool is_arriving(const struct kr_fetch *f, uint32_t block)
{
	kr_list_for_each (it, &f->requests) {
		const struct kr_request *r =
			KR_CONTAINER_OF(it, struct kr_request, in_fetch);
		if (r->arriving &&
		    (r->block == block || block == f->block_count))
			return true;
	}
	return false;
}

static struct kr_request *request_add(struct kr_node *n, struct kr_fetch *f,
				      struct kr_stream *st, uint32_t block)
{
	struct kr_conn *c = st->conn;
	struct kr_request *r = kr_slab_take(&n->request_slab);

	if (r == NULL)
		return NULL;
	if (!pending_on(f, c))
		c->piece_count++;
	r->fetch = f;
	r->stream = st;
	r->block = block;
	r->len = kr_block_len(f->swarm, f->piece, block);
	r->asked_ns = n->now_ns;
	kr_list_add_tail(&f->requests, &r->in_fetch);
	kr_list_add_tail(&c->requests, &r->in_conn);
	c->request_count++;
	c->asked_bytes += r->len;
	r->ahead_bytes = c->load_bytes + c->asked_bytes;
	r->due_ns = kr_request_due_ns(n, c, r->len, f->attempts);
	kr_blocks_set(&f->asked, block);
	n->inflight_bytes += r->len;
	n->near_bytes += c->far ? 0 : r->len;
	n->inflight_count++;
	update_orphan(f);
	return r;
}

/* Unlink and free; the block is asked no more unless a copy is. */
static void request_free(struct kr_node *n, struct kr_request *r)
{
	struct kr_fetch *f = r->fetch;
	struct kr_conn *c = r->stream->conn;

	if (c->arriving == r)
		c->arriving = NULL;
	kr_list_del(&r->in_fetch);
	kr_list_del(&r->in_conn);
	c->request_count--;
	if (!r->arriving && !pending_on(f, c))
		c->piece_count--;
	n->inflight_bytes -= r->len;
	n->near_bytes -= c->far ? 0 : r->len;
	n->inflight_count--;
	if (copy_of(f, r->block, NULL) == NULL)
		kr_blocks_clear(&f->asked, r->block);
	kr_slab_give(&n->request_slab, r);
	update_orphan(f);
	n->ask = true;
}

static uint32_t gets_kib_s(const struct kr_node *n)
{
	const uint64_t kib_s = kr_meter_bytes_per_s(n, &n->down) >> 10;

	return kib_s < UINT32_MAX ? (uint32_t)kib_s : UINT32_MAX;
}

static void send_request(struct kr_node *n, struct kr_stream *st,
			 enum kr_frame_type type, uint32_t piece,
			 uint32_t first, uint32_t count)
{
	const struct kr_msg_request m = { .stream = st->id,
					  .piece = piece,
					  .first_block = first,
					  .block_count = count,
					  .gets_kib_s = gets_kib_s(n) };
	uint8_t *buf = kr_send_begin(n, st->conn, KR_MSG_SMALL_MAX);
	size_t len;

	if (buf == NULL)
		return;
	kr_must(kr_msg_request_encode(type, &m, buf, KR_MSG_SMALL_MAX, &len));
	kr_send_end(n, st->conn, len);
	if (type == KR_FRAME_REQUEST)
		n->stats.requests_sent += count;
	else
		n->stats.cancels_sent += count;
}

void kr_request_end(struct kr_node *n, struct kr_request *r, bool cancel)
{
	struct kr_stream *st = r->stream;

	if (!r->arriving)
		st->conn->credit++; /* it may be on its way already */
	if (cancel && !r->arriving)
		send_request(n, st, KR_FRAME_CANCEL, r->fetch->piece, r->block,
			     1);
	request_free(n, r);
}

void kr_requests_end_on(struct kr_node *n, struct kr_stream *st, bool cancel)
{
	kr_list_for_each_safe(it, &st->conn->requests)
	{
		struct kr_request *r =
			KR_CONTAINER_OF(it, struct kr_request, in_conn);
		if (r->stream == st)
			kr_request_end(n, r, cancel);
	}
}

/* ---- a fetch ------------------------------------------------------------ */

static void count_wanted(struct kr_swarm *s, uint32_t piece, bool more)
{
	kr_list_for_each (it, &s->streams) {
		struct kr_stream *st =
			KR_CONTAINER_OF(it, struct kr_stream, in_swarm);
		if (st->all || !kr_stream_has(st, piece))
			continue;
		if (more)
			st->wanted++;
		else
			st->wanted--;
	}
}

static bool is_solo(const struct kr_swarm *s, uint32_t piece)
{
	return s->solo != NULL && (s->solo[piece / 64] >> (piece % 64) & 1);
}

struct kr_fetch *kr_fetch_begin(struct kr_node *n, struct kr_swarm *s,
				uint32_t piece)
{
	struct kr_fetch *f = kr_slab_take(&n->fetch_slab);

	if (f == NULL)
		return NULL;
	f->swarm = s;
	f->piece = piece;
	f->piece_bytes = kr_piece_len(s, piece);
	f->block_count = kr_block_count(s, piece);
	f->solo = is_solo(s, piece);
	kr_list_init(&f->orphan);
	kr_list_init(&f->requests);
	kr_list_add_tail(&s->fetches, &f->in_swarm);
	s->fetch_count++;
	kr_picker_take(&s->picker, piece);
	count_wanted(s, piece, false);
	update_orphan(f);
	return f;
}

static void fetch_free(struct kr_node *n, struct kr_fetch *f)
{
	kr_assert(kr_list_empty(&f->requests));
	kr_list_del(&f->in_swarm);
	kr_list_del(&f->orphan);
	f->swarm->fetch_count--;
	kr_slab_give(&n->fetch_slab, f);
}

static void end_requests(struct kr_node *n, struct kr_fetch *f)
{
	kr_list_for_each_safe(it, &f->requests) kr_request_end(
		n, KR_CONTAINER_OF(it, struct kr_request, in_fetch), true);
}

void kr_fetch_drop(struct kr_node *n, struct kr_fetch *f)
{
	struct kr_swarm *s = f->swarm;
	const uint32_t piece = f->piece;

	end_requests(n, f);
	fetch_free(n, f);
	kr_picker_drop(&s->picker, piece);
	count_wanted(s, piece, true);
	n->ask = true;
}

static bool is_only_sender(const struct kr_fetch *f, const struct kr_conn *c)
{
	return f->sender_count == 1 && f->senders[0] == c->handle;
}

/* A solo piece begun by another peer starts afresh, unless some of it is just
 * being written. */
bool kr_fetch_may_ask(const struct kr_node *n, const struct kr_fetch *f,
		      const struct kr_stream *st)
{
	if (!kr_stream_has(st, f->piece))
		return false;
	if (f->avoid == st->conn->handle && n->now_ns < f->avoid_until_ns)
		return false;
	if (!f->solo)
		return true;
	kr_list_for_each (it, &f->requests) {
		const struct kr_request *r =
			KR_CONTAINER_OF(it, struct kr_request, in_fetch);
		if (r->arriving && r->stream->conn != st->conn)
			return false;
	}
	return true;
}

static void start_afresh(struct kr_node *n, struct kr_fetch *f,
			 const struct kr_conn *c)
{
	kr_list_for_each_safe(it, &f->requests)
	{
		struct kr_request *r =
			KR_CONTAINER_OF(it, struct kr_request, in_fetch);
		if (r->stream->conn != c)
			kr_request_end(n, r, true);
	}
	if (f->sender_count == 0 || is_only_sender(f, c))
		return;
	f->got = (struct kr_blocks){ { 0 } };
	f->sender_count = 0;
}

bool kr_fetch_ask(struct kr_node *n, struct kr_fetch *f, struct kr_stream *st)
{
	struct kr_conn *c = st->conn;
	uint32_t first, end, asked = 0;

	if (c->suspicion > 0)
		f->solo = true;
	if (f->solo)
		start_afresh(n, f, c);
	first = kr_blocks_next_clear(&f->got, &f->asked, 0, f->block_count);
	while (first < f->block_count) {
		end = first;
		while (end < f->block_count && !kr_blocks_test(&f->got, end) &&
		       !kr_blocks_test(&f->asked, end) &&
		       c->request_count < n->pol.conn_requests_max &&
		       request_add(n, f, st, end) != NULL)
			end++;
		if (end == first)
			break;
		send_request(n, st, KR_FRAME_REQUEST, f->piece, first,
			     end - first);
		asked += end - first;
		first = kr_blocks_next_clear(&f->got, &f->asked, end,
					     f->block_count);
	}
	update_orphan(f);
	return asked > 0;
}

void kr_fetch_ask_copy(struct kr_node *n, struct kr_request *r,
		       struct kr_stream *st)
{
	if (request_add(n, r->fetch, st, r->block) == NULL)
		return;
	r->late = true;
	send_request(n, st, KR_FRAME_REQUEST, r->fetch->piece, r->block, 1);
}

bool kr_fetch_copies_max(const struct kr_node *n, const struct kr_request *r)
{
	uint32_t count = 0;

	kr_list_for_each (it, &r->fetch->requests)
		count += KR_CONTAINER_OF(it, struct kr_request, in_fetch)
				 ->block == r->block;
	return count >= n->pol.endgame_copies_max;
}

static struct kr_fetch *fetch_of(const struct kr_swarm *s, uint32_t piece)
{
	kr_list_for_each (it, &s->fetches) {
		struct kr_fetch *f =
			KR_CONTAINER_OF(it, struct kr_fetch, in_swarm);
		if (f->piece == piece)
			return f;
	}
	return NULL;
}

/* ---- BLOCK -------------------------------------------------------------- */

static struct kr_request *request_of(const struct kr_stream *st, uint32_t piece,
				     uint32_t block)
{
	kr_list_for_each (it, &st->conn->requests) {
		struct kr_request *r =
			KR_CONTAINER_OF(it, struct kr_request, in_conn);
		if (r->stream == st && r->block == block &&
		    r->fetch->piece == piece)
			return r;
	}
	return NULL;
}

/* A block that was canceled and comes all the same: use it if it is missing
 * still. */
static struct kr_request *rescue(struct kr_node *n, struct kr_stream *st,
				 uint32_t piece, uint32_t block)
{
	struct kr_fetch *f = fetch_of(st->swarm, piece);

	if (f == NULL || f->verifying || kr_blocks_test(&f->got, block) ||
	    is_arriving(f, block))
		return NULL;
	if (f->solo &&
	    !(is_only_sender(f, st->conn) && kr_list_empty(&f->requests)))
		return NULL;
	return request_add(n, f, st, block);
}

/* The block of @r comes: whoever stalled in the middle of it is let go, so that
 * its place is written by one connection at a time. */
static void give_up_stalled(struct kr_node *n, const struct kr_request *r)
{
	kr_list_for_each_safe(it, &r->fetch->requests)
	{
		struct kr_request *o =
			KR_CONTAINER_OF(it, struct kr_request, in_fetch);
		struct kr_conn *c = o->stream->conn;

		if (o->block != r->block || !o->arriving ||
		    !kr_conn_stalls(n, c))
			continue;
		kr_neighbours_failed(n, c, false);
		kr_conn_close(n, c, KR_BYE_TIMEOUT); /* ends @o, too */
		return;
	}
}

/* The request that this block answers; NULL: throw it away.  *ret_ok: false
 * if it may not come at all. */
static struct kr_request *match_block(struct kr_node *n, struct kr_stream *st,
				      uint32_t piece, uint32_t block,
				      bool *ret_ok)
{
	struct kr_conn *c = st->conn;
	struct kr_request *r = request_of(st, piece, block);

	*ret_ok = true;
	if (r == NULL) {
		*ret_ok = c->credit > 0;
		if (!*ret_ok)
			return NULL;
		c->credit--;
		return rescue(n, st, piece, block);
	}
	give_up_stalled(n, r);
	if (!is_arriving(r->fetch, block))
		return r;
	n->stats.duplicate_bytes += r->len;
	request_free(n, r);
	return NULL;
}

static void begin_arriving(struct kr_request *r)
{
	struct kr_conn *c = r->stream->conn;

	r->arriving = true;
	c->arriving = r;
	if (!pending_on(r->fetch, c))
		c->piece_count--; /* the next piece may be asked for: the
				     answer comes when this one has ended */
}

static bool judge_block(const struct kr_stream *st, uint32_t piece,
			uint32_t offset, uint32_t len)
{
	const struct kr_swarm *s = st->swarm;

	return piece < s->piece_count && offset % s->block_bytes == 0 &&
	       offset < kr_piece_len(s, piece) &&
	       len == kr_block_len(s, piece, offset / s->block_bytes);
}

static void act_body(struct kr_node *n, struct kr_conn *c, uint32_t offset,
		     uint32_t len)
{
	struct kr_act *a = kr_act_add(n, KR_ACT_BODY);

	c->in_body = true;
	c->body_bytes = len;
	c->body_since_ns = n->now_ns;
	if (a == NULL) {
		c->broken = n->broken = true;
		return;
	}
	a->conn = c->handle;
	a->piece = c->fh.arg;
	a->offset = offset;
	a->len = len;
	a->discard = c->arriving == NULL;
	if (c->arriving != NULL)
		a->blob = c->arriving->fetch->swarm->handle;
}

void kr_on_block(struct kr_node *n, struct kr_conn *c)
{
	struct kr_stream *st = kr_stream_get(n, c, c->fh.stream);
	const uint32_t len = c->fh.len - KR_BLOCK_HEAD_LEN;
	struct kr_request *r = NULL;
	struct kr_block_head b;
	bool ok = st != NULL;

	if (!ok || kr_block_head_decode(&c->fh, c->head + KR_FRAME_HEAD_LEN,
					KR_BLOCK_HEAD_LEN, &b) != KR_OK) {
		kr_conn_close(n, c, KR_BYE_PROTO);
		return;
	}
	kr_conn_load(n, c, b.queued_kib);
	if (st->state == KR_STREAM_CLOSING) {
		ok = c->credit > 0;
		c->credit -= ok;
	} else if (st->state == KR_STREAM_OPEN) {
		ok = judge_block(st, c->fh.arg, b.offset, len);
		if (ok)
			r = match_block(n, st, c->fh.arg,
					b.offset / st->swarm->block_bytes, &ok);
	} else {
		ok = false;
	}
	if (!ok) {
		kr_conn_close(n, c, KR_BYE_PROTO);
		return;
	}
	if (r != NULL)
		begin_arriving(r);
	act_body(n, c, b.offset, len);
}

/* What the way of this block says about the peer's rate. */
static void measure(struct kr_node *n, struct kr_conn *c,
		    const struct kr_request *r)
{
	const uint64_t took_us = (n->now_ns - r->asked_ns) / 1000 + 1;
	uint64_t rate = r->ahead_bytes * 1000 / took_us * 1000;

	c->backoff_ns = 0;
	kr_meter_add(n, &n->down, r->len);
	if (r->len < MEASURED_MIN)
		return; /* the round trip, not the rate */
	if (rate < 4096)
		rate = 4096;
	c->rate_bytes_per_s = (3 * c->rate_bytes_per_s + rate) / 4;
}

static void note_sender(struct kr_fetch *f, const struct kr_conn *c)
{
	for (uint32_t i = 0; i < f->sender_count; i++)
		if (f->senders[i] == c->handle)
			return;
	if (f->sender_count == 0) {
		f->sender_id = c->id;
		f->sender_addr = c->addr;
	}
	if (f->sender_count < KR_SENDERS_MAX)
		f->senders[f->sender_count++] = c->handle;
}

static void begin_verify(struct kr_node *n, struct kr_fetch *f)
{
	struct kr_act *a = kr_act_add(n, KR_ACT_VERIFY);

	if (a == NULL) {
		kr_fetch_drop(n, f); /* fetched again when there is memory */
		return;
	}
	f->verifying = true;
	update_orphan(f);
	a->blob = f->swarm->handle;
	a->piece = f->piece;
	a->len = f->piece_bytes;
}

void kr_fetch_body_done(struct kr_node *n, struct kr_conn *c)
{
	struct kr_request *r = c->arriving, *copy;

	kr_assert(c->in_body);
	const uint64_t took_ns = n->now_ns - c->body_since_ns + 1;

	c->in_body = false;
	c->body_ns = c->body_ns == 0 ? took_ns : (3 * c->body_ns + took_ns) / 4;
	c->heard_ns = c->useful_ns = n->now_ns;
	if (r == NULL) {
		n->stats.discarded_bytes += c->body_bytes;
		return;
	}
	struct kr_fetch *f = r->fetch;
	n->stats.block_bytes_in[c->role] += r->len;
	f->swarm->bytes_from[c->role] += r->len;
	measure(n, c, r);
	note_sender(f, c);
	kr_blocks_set(&f->got, r->block);
	while ((copy = copy_of(f, r->block, r)) != NULL)
		kr_request_end(n, copy, true);
	request_free(n, r);
	if (kr_blocks_count(&f->got) == f->block_count)
		begin_verify(n, f);
}

/* ---- verdict ------------------------------------------------------------ */

static void act_bad(struct kr_node *n, const struct kr_fetch *f)
{
	struct kr_act *a = kr_act_add(n, KR_ACT_BAD);

	if (a == NULL)
		return; /* it is banned here all the same */
	a->conn = f->senders[0];
	a->blob = f->swarm->handle;
	a->piece = f->piece;
	a->peer = f->sender_id;
	a->addr = f->sender_addr;
}

/* One peer sent it all: it lied, or its disk did. */
static void convict(struct kr_node *n, struct kr_fetch *f)
{
	struct kr_conn *c = kr_conn_get(n, f->senders[0]);

	kr_peer_ban(n, &f->sender_id);
	act_bad(n, f);
	if (c != NULL) {
		kr_neighbours_failed(n, c, true);
		kr_conn_close(n, c, KR_BYE_CORRUPT);
	}
}

/* Several had a part in it: who it was shows when each is asked alone. */
static void suspect(struct kr_node *n, struct kr_fetch *f)
{
	struct kr_swarm *s = f->swarm;

	for (uint32_t i = 0; i < f->sender_count; i++) {
		struct kr_conn *c = kr_conn_get(n, f->senders[i]);

		if (c != NULL)
			c->suspicion++;
	}
	if (s->solo == NULL)
		s->solo = kr_mem_get(n, kr_bitset_words(s->piece_count) *
						sizeof(uint64_t));
	if (s->solo != NULL)
		s->solo[f->piece / 64] |= UINT64_C(1) << (f->piece % 64);
}

static void accept_piece(struct kr_node *n, struct kr_fetch *f)
{
	struct kr_swarm *s = f->swarm;
	const uint32_t piece = f->piece;
	struct kr_conn *c = kr_conn_get(n, f->senders[0]);

	if (f->solo && c != NULL && c->suspicion > 0)
		c->suspicion--;
	if (s->solo != NULL)
		s->solo[piece / 64] &= ~(UINT64_C(1) << (piece % 64));
	n->stats.pieces_verified++;
	fetch_free(n, f);
	kr_picker_done(&s->picker, piece);
	kr_tell_piece(n, s, piece);
	if (kr_picker_complete(&s->picker))
		kr_swarm_done(n, s);
}

void kr_fetch_verdict(struct kr_node *n, struct kr_swarm *s, uint32_t piece,
		      bool ok)
{
	struct kr_fetch *f = fetch_of(s, piece);

	if (f == NULL || !f->verifying)
		return; /* the blob was removed and added again meanwhile */
	if (ok) {
		accept_piece(n, f);
		return;
	}
	n->stats.pieces_failed++;
	if (f->sender_count == 1)
		convict(n, f);
	else
		suspect(n, f);
	kr_fetch_drop(n, f);
}

/* ---- REJECT ------------------------------------------------------------- */

static void forget_piece(struct kr_node *n, struct kr_stream *st,
			 uint32_t piece)
{
	struct kr_swarm *s = st->swarm;

	if (st->all) { /* it said so, and it is not so */
		kr_stream_close(n, st);
		return;
	}
	if (piece >= s->piece_count || !kr_stream_has(st, piece))
		return;
	kr_bitset_clear(&st->has, piece);
	st->has_count--;
	kr_picker_lose_one(&s->picker, piece);
	if (kr_bitset_test(&s->picker.need, piece))
		st->wanted--;
}

void kr_fetch_rejected(struct kr_node *n, struct kr_stream *st,
		       const struct kr_msg_reject *m)
{
	struct kr_conn *c = st->conn;
	uint64_t wait_ns = (uint64_t)m->retry_ms * KR_POLICY_MS;

	kr_list_for_each_safe(it, &c->requests)
	{
		struct kr_request *r =
			KR_CONTAINER_OF(it, struct kr_request, in_conn);
		if (r->stream != st || r->fetch->piece != m->piece ||
		    r->block < m->first_block || r->arriving ||
		    r->block - m->first_block >= m->block_count)
			continue;
		r->fetch->avoid = c->handle;
		r->fetch->avoid_until_ns = n->now_ns + n->pol.overdue_min_ns;
		request_free(n, r);
	}
	if (m->reason == KR_REJECT_NOT_FOUND) {
		forget_piece(n, st, m->piece);
		return;
	}
	c->backoff_ns =
		c->backoff_ns ? 2 * c->backoff_ns : n->pol.reject_backoff_ns;
	if (c->backoff_ns > n->pol.reject_backoff_max_ns)
		c->backoff_ns = n->pol.reject_backoff_max_ns;
	if (wait_ns < c->backoff_ns)
		wait_ns = c->backoff_ns;
	if (wait_ns > n->pol.reject_backoff_max_ns)
		wait_ns = n->pol.reject_backoff_max_ns;
	c->ask_after_ns = n->now_ns + wait_ns;
}
