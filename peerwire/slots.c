/*
 * Whom to serve (SWARM.md, rules 4 and 5).  A few transfers at once, each at
 * full speed: a slot is one piece for one neighbour.  When a slot frees, the
 * neighbour that gets least is served next; the key is read then, for a key
 * that was read when the request came starves somebody (15 s instead of 10).
 *
 *	uploads of a conn --slot frees--> serving --SERVE/served per block--> 
 *	     ^                                                       |
 *	     +------------------- more of it is queued --------------+
 */
#include <string.h>

#include "peerwire/blocks.h"
#include "peerwire/state.h"

/* ---- the queue ---------------------------------------------------------- */

static void reject(struct kr_node *n, struct kr_stream *st,
		   const struct kr_msg_request *q, enum kr_reject_reason why)
{
	const struct kr_msg_reject m = {
		.stream = st->id,
		.piece = q->piece,
		.reason = why,
		.first_block = q->first_block,
		.block_count = q->block_count,
		.retry_ms = why == KR_REJECT_BUSY
				    ? (uint32_t)(n->pol.reject_backoff_ns /
						 KR_POLICY_MS)
				    : 0,
	};
	uint8_t *buf;
	size_t len;

	if (!kr_conn_reply_ok(n, st->conn))
		return;
	buf = kr_send_begin(n, st->conn, KR_MSG_SMALL_MAX);
	if (buf == NULL)
		return;
	kr_must(kr_msg_reject_encode(&m, buf, KR_MSG_SMALL_MAX, &len));
	kr_send_end(n, st->conn, len);
	n->stats.rejects_sent++;
}

/* Take @block out of @u. */
static void take_block(struct kr_node *n, struct kr_upload *u, uint32_t block)
{
	kr_blocks_clear(&u->left, block);
	u->stream->conn->upload_count--;
	n->upload_count--;
	n->upload_bytes -= kr_block_len(u->stream->swarm, u->piece, block);
}

static void upload_free(struct kr_node *n, struct kr_upload *u)
{
	struct kr_conn *c = u->stream->conn;

	kr_list_del(&u->in_conn);
	if (c->serving == u)
		c->serving = NULL;
	if (kr_list_empty(&c->uploads))
		kr_list_del(&c->waiting);
	kr_slab_give(&n->upload_slab, u);
}

static bool is_in_slot(const struct kr_node *n, const struct kr_conn *c)
{
	for (uint32_t i = 0; i < n->slot_count; i++)
		if (n->slots[i] == c)
			return true;
	return false;
}

static void wait_for_slot(struct kr_node *n, struct kr_conn *c)
{
	if (!kr_list_empty(&c->uploads) && kr_list_empty(&c->waiting) &&
	    !is_in_slot(n, c))
		kr_list_add_tail(&n->upload_waiting, &c->waiting);
}

static bool enqueue(struct kr_node *n, struct kr_stream *st,
		    const struct kr_msg_request *m)
{
	struct kr_conn *c = st->conn;
	struct kr_upload *u;

	if (n->shutting_down ||
	    c->upload_count + m->block_count > n->pol.conn_requests_max ||
	    n->upload_count + m->block_count > n->pol.upload_queue_max)
		return false;
	u = kr_slab_take(&n->upload_slab);
	if (u == NULL)
		return false;
	u->stream = st;
	u->piece = m->piece;
	u->since_ns = n->now_ns;
	for (uint32_t i = 0; i < m->block_count; i++) {
		const uint32_t block = m->first_block + i;

		kr_blocks_set(&u->left, block);
		n->upload_bytes += kr_block_len(st->swarm, m->piece, block);
	}
	c->upload_count += m->block_count;
	n->upload_count += m->block_count;
	kr_list_add_tail(&c->uploads, &u->in_conn);
	wait_for_slot(n, c);
	return true;
}

static bool request_is_sound(const struct kr_swarm *s,
			     const struct kr_msg_request *m)
{
	return m->piece < s->piece_count &&
	       m->first_block + m->block_count <= kr_block_count(s, m->piece);
}

/* The stream of a REQUEST or CANCEL, and its body; NULL: nothing to do, and
 * @c is closed if the peer is to blame. */
static struct kr_stream *read_request(struct kr_node *n, struct kr_conn *c,
				      const uint8_t *body,
				      struct kr_msg_request *m)
{
	struct kr_stream *st = kr_stream_get(n, c, c->fh.stream);

	if (st != NULL && st->state == KR_STREAM_CLOSING)
		return NULL;
	if (st != NULL && st->state == KR_STREAM_OPEN &&
	    kr_msg_request_decode(&c->fh, body, m) == KR_OK &&
	    request_is_sound(st->swarm, m))
		return st;
	kr_conn_close(n, c, KR_BYE_PROTO);
	return NULL;
}

void kr_on_request(struct kr_node *n, struct kr_conn *c, const uint8_t *body)
{
	struct kr_msg_request m;
	struct kr_stream *st = read_request(n, c, body, &m);

	if (st == NULL)
		return;
	c->gets_bytes_per_s = (uint64_t)m.gets_kib_s << 10;
	if (m.first_block == 0)
		kr_reveal_asked(n, st);
	if (n->pol.leech_only)
		reject(n, st, &m, KR_REJECT_BUSY);
	else if (!kr_bitset_test(&st->swarm->picker.have, m.piece))
		reject(n, st, &m, KR_REJECT_NOT_FOUND);
	else if (!enqueue(n, st, &m))
		reject(n, st, &m, KR_REJECT_BUSY);
}

void kr_on_cancel(struct kr_node *n, struct kr_conn *c, const uint8_t *body)
{
	struct kr_msg_request m;
	struct kr_stream *st = read_request(n, c, body, &m);

	if (st == NULL)
		return;
	kr_list_for_each_safe(it, &c->uploads)
	{
		struct kr_upload *u =
			KR_CONTAINER_OF(it, struct kr_upload, in_conn);
		if (u->stream != st || u->piece != m.piece)
			continue;
		for (uint32_t i = 0; i < m.block_count; i++)
			if (kr_blocks_test(&u->left, m.first_block + i))
				take_block(n, u, m.first_block + i);
		if (kr_blocks_count(&u->left) == 0)
			upload_free(n, u);
	}
	kr_slots_settle(n, c);
}

/* ---- slots -------------------------------------------------------------- */

/* @c has nothing in its slot: out of it, and to the queue if there is more. */
void kr_slots_settle(struct kr_node *n, struct kr_conn *c)
{
	if (c->serving != NULL || c->serve_out)
		return;
	for (uint32_t i = 0; i < n->slot_count; i++)
		if (n->slots[i] == c)
			n->slots[i--] = n->slots[--n->slot_count];
	wait_for_slot(n, c);
}

void kr_slots_forget(struct kr_node *n, struct kr_conn *c,
		     const struct kr_stream *st)
{
	kr_list_for_each_safe(it, &c->uploads)
	{
		struct kr_upload *u =
			KR_CONTAINER_OF(it, struct kr_upload, in_conn);
		if (st != NULL && u->stream != st)
			continue;
		for (uint32_t i = 0; i < KR_BLOCKS_MAX; i++)
			if (kr_blocks_test(&u->left, i))
				take_block(n, u, i);
		upload_free(n, u);
	}
	if (st == NULL)
		c->serve_out = false; /* nobody will report it */
	n->serve_due = true;
	kr_slots_settle(n, c);
}

static struct kr_upload *first_upload(const struct kr_conn *c)
{
	return KR_CONTAINER_OF(kr_list_first(&c->uploads), struct kr_upload,
			       in_conn);
}

/*
 * What @c gets of everybody, the less the longer it waits for us.  It said so
 * with its last request; who understates it is taken for what we alone send.
 * Without the second half somebody who was well served when it asked, and is
 * not any more, would wait forever: it asks no more while its requests wait.
 */
static uint64_t gets_bytes_per_s(const struct kr_node *n,
				 const struct kr_conn *c)
{
	const uint64_t sent = kr_meter_bytes_per_s(n, &c->sent);
	const uint64_t gets =
		c->gets_bytes_per_s > sent ? c->gets_bytes_per_s : sent;
	const uint64_t half_ms = n->pol.serve_patience_ns / KR_POLICY_MS;
	const uint64_t waits_ms =
		(n->now_ns - first_upload(c)->since_ns) / KR_POLICY_MS;

	return gets / (half_ms + waits_ms) * half_ms;
}

/* Is @a needier than @b: gets less, has less, waits longer? */
static bool is_needier(const struct kr_node *n, const struct kr_conn *a,
		       const struct kr_conn *b)
{
	const uint64_t ra = gets_bytes_per_s(n, a);
	const uint64_t rb = gets_bytes_per_s(n, b);
	const struct kr_upload *ua = first_upload(a), *ub = first_upload(b);

	if (ra != rb)
		return ra < rb;
	if (ua->stream->has_count != ub->stream->has_count)
		return ua->stream->has_count < ub->stream->has_count;
	return ua->since_ns < ub->since_ns;
}

static struct kr_conn *neediest(const struct kr_node *n)
{
	struct kr_conn *best = NULL;

	kr_list_for_each (it, &n->upload_waiting) {
		struct kr_conn *c =
			KR_CONTAINER_OF(it, struct kr_conn, waiting);
		if (best == NULL || is_needier(n, c, best))
			best = c;
	}
	return best;
}

/* Receivers that do not take their block do not keep others from theirs, but
 * there are twice as many transfers at most. */
static uint32_t slots_max(const struct kr_node *n)
{
	const uint64_t slots = kr_rate_slots(n, n->pol.up_bytes_per_s);
	const uint64_t stalled_ns =
		n->pol.serve_stalled_ns + kr_rate_serve_ns(n);
	uint64_t stalled = 0;

	for (uint32_t i = 0; i < n->slot_count; i++)
		stalled +=
			n->slots[i]->serve_out &&
			n->now_ns - n->slots[i]->serve_since_ns >= stalled_ns;
	return (uint32_t)(slots + (stalled < slots ? stalled : slots));
}

static void serve_head(struct kr_node *n, struct kr_conn *c,
		       const struct kr_upload *u, uint32_t block,
		       struct kr_act *a)
{
	const struct kr_swarm *s = u->stream->swarm;
	const struct kr_block_head h = {
		.offset = block * s->block_bytes,
		.queued_kib = (uint32_t)((n->upload_bytes + 1023) >> 10),
	};

	a->conn = c->handle;
	a->blob = s->handle;
	a->piece = u->piece;
	a->offset = h.offset;
	a->len = kr_block_len(s, u->piece, block);
	kr_block_encode(u->stream->id, u->piece, &h, a->len, a->head);
	kr_list_del(&c->told_load);
	if (h.queued_kib > 0)
		kr_list_add_tail(&n->told_load, &c->told_load);
}

static void serve_next(struct kr_node *n, struct kr_conn *c)
{
	struct kr_upload *u = c->serving;
	const struct kr_blocks none = { { 0 } };
	struct kr_blocks gone;
	struct kr_act *a = kr_act_add(n, KR_ACT_SERVE);

	if (a == NULL) {
		c->broken = n->broken = true;
		return;
	}
	for (uint32_t i = 0; i < KR_BLOCKS_WORDS; i++)
		gone.words[i] = ~u->left.words[i];
	const uint32_t block =
		kr_blocks_next_clear(&gone, &none, 0, KR_BLOCKS_MAX);
	take_block(n, u, block);
	serve_head(n, c, u, block, a);
	n->stats.frames_out++;
	n->stats.control_bytes_out += KR_FRAME_BLOCK_LEN;
	n->stats.block_bytes_out[c->role] += a->len;
	kr_meter_add(n, &c->sent, a->len);
	c->serve_out = true;
	c->serve_since_ns = c->useful_ns = n->now_ns;
	if (kr_blocks_count(&u->left) == 0)
		upload_free(n, u);
}

void kr_slots_run(struct kr_node *n)
{
	const bool was_busy = n->upload_bytes > 0;
	struct kr_conn *c;

	while (!kr_list_empty(&n->upload_waiting) &&
	       n->slot_count < slots_max(n)) {
		c = neediest(n);
		kr_list_del(&c->waiting);
		n->slots[n->slot_count++] = c;
		c->serving = first_upload(c);
		n->serve_due = true;
	}
	if (!n->serve_due)
		return; /* of most events; there may be many slots */
	n->serve_due = false;
	for (uint32_t i = 0; i < n->slot_count; i++) {
		c = n->slots[i];
		if (!c->serve_out && c->serving != NULL && !c->broken)
			serve_next(n, c);
	}
	if (was_busy && n->upload_bytes == 0)
		kr_tell_load(n);
}

/* Our own limit held the block, and what we said behind it: that time is no
 * silence of the peer. */
static void forgive(const struct kr_node *n, struct kr_conn *c)
{
	const uint64_t held_ns = n->now_ns - c->serve_since_ns;

	c->heard_ns = c->heard_ns + held_ns < n->now_ns ? c->heard_ns + held_ns
							: n->now_ns;
	if (c->pinged_ns == 0)
		return;
	c->pinged_ns = c->pinged_ns + held_ns < n->now_ns
			       ? c->pinged_ns + held_ns
			       : n->now_ns;
}

void kr_slots_served(struct kr_node *n, struct kr_conn *c)
{
	if (!c->serve_out)
		return;
	c->serve_out = false;
	n->serve_due = true;
	c->useful_ns = n->now_ns;
	if (n->pol.up_bytes_per_s != 0)
		forgive(n, c);
	/* Where a piece takes many seconds, a slot is a block. */
	if (kr_rate_is_slow(n, n->pol.up_bytes_per_s))
		c->serving = NULL;
	kr_slots_settle(n, c);
}
