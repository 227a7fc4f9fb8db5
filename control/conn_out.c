/*
 * What a connection of the transfer driver sends: control bytes, and blocks
 * straight from files, in the order the node gave them.
 *
 * Control bytes gather in c->pending while a request is in flight and go out
 * together; c->moving is lent to the request.  Bytes with a block behind them
 * (its head is) are one request with it.  Under an upload limit a block goes
 * out in slices, each when it is its turn (pace.h); control bytes do not wait
 * for one, but are never inside a block.
 *
 * From the first block until nothing is left to send the socket is corked
 * (tcp(7)): the end of a block is a small segment of its own else, with an
 * acknowledgement and a wake-up of the reader, who is better left to read.
 */
#include <string.h>
#include <sys/socket.h>

#include "control/transfer_internal.h"
#include "core/log.h"

static struct kr_wire_segment *last_segment(struct kr_wire *c)
{
	if (c->out_count == 0)
		return NULL;
	return &c->out[(c->out_first + c->out_count - 1) %
		       KR_WIRE_SEGMENTS_MAX];
}

static struct kr_wire_segment *add_segment(struct kr_wire *c)
{
	if (c->out_count == KR_WIRE_SEGMENTS_MAX) {
		kr_wire_lose(c, KR_E_LIMIT);
		return NULL;
	}
	c->out_count++;
	struct kr_wire_segment *s = last_segment(c);

	*s = (struct kr_wire_segment){ 0 };
	return s;
}

static void want_output(struct kr_wire *c)
{
	if (kr_list_empty(&c->ready))
		kr_list_add_tail(&c->t->ready, &c->ready);
}

/* A peer that does not read fills its output queue, and is closed. */
void kr_wire_append(struct kr_wire *c, const uint8_t *bytes, uint32_t len)
{
	struct kr_wire_segment *s = last_segment(c);

	if (c->state != KR_WIRE_OPEN || len == 0)
		return;
	enum kr_err err = kr_buf_append(&c->pending, bytes, len);

	if (err != KR_OK) {
		kr_log_info("transfer",
			    "peer does not read, connection is closed",
			    KR_U64("queued_bytes", c->pending.len),
			    KR_ERR("err", err));
		kr_wire_lose(c, err);
		return;
	}
	if (s == NULL || s->blob != NULL)
		s = add_segment(c);
	if (s == NULL)
		return;
	s->len += len;
	want_output(c);
}

void kr_wire_serve(struct kr_wire *c, struct kr_blob *b,
		   const struct kr_action *a)
{
	kr_assert(b != NULL && b->fd >= 0);
	kr_wire_append(c, a->head, a->head_len);
	if (c->state != KR_WIRE_OPEN)
		return;
	struct kr_wire_segment *s = add_segment(c);

	if (s == NULL)
		return;
	kr_blob_hold(b);
	s->blob = b;
	s->len = a->len;
	s->offset_bytes = (uint64_t)a->piece * b->meta.piece_bytes + a->offset;
}

void kr_wire_drop_output(struct kr_wire *c)
{
	if (c->now.blob != NULL) /* it waited for its turn */
		kr_blob_drop(c->now.blob);
	c->now = (struct kr_wire_segment){ 0 };
	for (; c->out_count > 0; c->out_count--) {
		struct kr_wire_segment *s = &c->out[c->out_first];

		if (s->blob != NULL)
			kr_blob_drop(s->blob);
		c->out_first = (c->out_first + 1) % KR_WIRE_SEGMENTS_MAX;
	}
	kr_buf_reset(&c->pending);
}

/* Move the first @len bytes of pending to moving. */
static enum kr_err move_bytes(struct kr_wire *c, uint32_t len)
{
	enum kr_err err = KR_OK;

	if (c->pending.len == len) {
		const struct kr_buf other = c->moving;

		c->moving = c->pending;
		c->pending = other;
		return KR_OK;
	}
	err = kr_buf_append(&c->moving, c->pending.ptr, len);
	if (err == KR_OK)
		kr_buf_consume(&c->pending, len);
	return err;
}

static void on_slow(struct kr_timer *timer);

static void set_timer(struct kr_wire *c)
{
	c->tx_timer_ns = c->tx_since_ns + c->tx_left_ns;
	kr_io_timer_set(c->t->io, &c->tx_timer, c->tx_timer_ns, on_slow);
}

/* Of the request in flight, or of one that was before it. */
static void on_slow(struct kr_timer *timer)
{
	struct kr_wire *c = KR_CONTAINER_OF(timer, struct kr_wire, tx_timer);
	struct kr_transfer *t = c->t;

	c->tx_timer_ns = 0;
	if (!kr_op_busy(&c->tx))
		return;
	if (c->tx_since_ns + c->tx_left_ns > kr_transfer_now(t)) {
		set_timer(c);
		return;
	}
	kr_wire_lose(c, KR_E_TIMEDOUT);
	kr_transfer_pump(t);
}

static void spend_time(struct kr_wire *c)
{
	const uint64_t used_ns = kr_transfer_now(c->t) - c->tx_since_ns;

	c->tx_left_ns = used_ns < c->tx_left_ns ? c->tx_left_ns - used_ns : 0;
}

static void end_bytes(struct kr_wire *c)
{
	kr_buf_reset(&c->moving);
	if (c->moving.cap > KR_WIRE_KEEP_BYTES)
		kr_buf_fini(&c->moving);
	c->tx_head = 0;
}

static void end_block(struct kr_wire *c)
{
	struct kr_transfer *t = c->t;
	struct kr_blob *b = c->now.blob;

	c->now = (struct kr_wire_segment){ 0 };
	if (c->state == KR_WIRE_OPEN) {
		kr_node_conn_served(t->node, kr_transfer_now(t), c->id);
		kr_transfer_pump(t);
	}
	kr_blob_drop(b);
}

static void on_sent(struct kr_op *op, enum kr_err err, uint32_t n)
{
	struct kr_wire *c = KR_CONTAINER_OF(op, struct kr_wire, tx);
	struct kr_transfer *t = c->t;

	(void)n;
	c->holds++;
	spend_time(c);
	end_bytes(c);
	c->now.len -= c->tx_slice;
	c->now.offset_bytes += c->tx_slice;
	if (err != KR_OK)
		kr_wire_lose(c, err);
	else if (c->now.blob != NULL && c->now.len == 0)
		end_block(c);
	kr_wire_start_output(c);
	c->holds--;
	kr_wire_free_if_idle(c);
	kr_transfer_pump(t);
}

/* A timer that rings too early is set anew then: most requests are over by
 * that time, and to stop it after each would cost more than all it tells. */
static void limit_time(struct kr_wire *c)
{
	c->tx_since_ns = kr_transfer_now(c->t);
	if (c->tx_timer_ns == 0 ||
	    c->tx_timer_ns > c->tx_since_ns + c->tx_left_ns)
		set_timer(c);
}

static void send_slice(struct kr_wire *c, uint32_t len)
{
	c->tx_slice = len;
	kr_io_send_headed(c->t->io, &c->tx, c->fd, c->moving.ptr, c->tx_head,
			  c->now.blob->fd, c->now.offset_bytes, len, on_sent);
	limit_time(c);
}

static void on_turn(struct kr_turn *turn)
{
	send_slice(KR_CONTAINER_OF(turn, struct kr_wire, tx_turn),
		   turn->granted_bytes);
}

/* The rest of the block, as far as the limit lets it. */
static void send_block(struct kr_wire *c)
{
	const uint32_t len =
		kr_pace_ask(&c->t->up, &c->tx_turn, c->now.len, on_turn);

	if (len > 0)
		send_slice(c, len);
}

static void send_bytes(struct kr_wire *c)
{
	c->tx_slice = c->now.len;
	kr_io_send(c->t->io, &c->tx, c->fd, c->moving.ptr, c->now.len, on_sent);
	limit_time(c);
}

/* The time that a block waits for its turn is not counted. */
static void take_segment(struct kr_wire *c)
{
	c->now = c->out[c->out_first];
	c->out_first = (c->out_first + 1) % KR_WIRE_SEGMENTS_MAX;
	c->out_count--;
	c->tx_left_ns = KR_WIRE_SEND_NS +
			c->now.len * UINT64_C(1000000000) / KR_WIRE_RATE_MIN;
}

static bool is_block_next(const struct kr_wire *c)
{
	return c->out_count > 0 && c->out[c->out_first].blob != NULL;
}

/* Under a limit the block may have to wait, and the bytes shall not.  False:
 * the connection is lost, and @c may be gone. */
static bool take_segments(struct kr_wire *c)
{
	take_segment(c);
	if (c->now.blob != NULL)
		return true;
	if (move_bytes(c, c->now.len) != KR_OK) {
		c->now = (struct kr_wire_segment){ 0 };
		kr_wire_lose(c, KR_E_NOMEM);
		return false;
	}
	if (is_block_next(c) && !kr_pace_is_limited(&c->t->up)) {
		c->tx_head = c->now.len;
		take_segment(c);
	}
	return true;
}

static void cork(struct kr_wire *c, bool on)
{
	if (!kr_pace_is_limited(&c->t->up))
		kr_io_cork(c->fd, &c->is_corked, on);
}

static void shut(struct kr_wire *c)
{
	c->is_shut = true;
	shutdown(c->fd, SHUT_WR);
}

void kr_wire_start_output(struct kr_wire *c)
{
	if (kr_op_busy(&c->tx) || kr_turn_waits(&c->tx_turn) || c->fd < 0 ||
	    (c->state != KR_WIRE_OPEN && c->state != KR_WIRE_FLUSHING))
		return;
	if (c->now.len == 0 && c->out_count > 0 && !take_segments(c))
		return;
	if (c->now.blob != NULL) {
		cork(c, true);
		send_block(c);
	} else if (c->now.len > 0) {
		send_bytes(c);
	} else {
		cork(c, false);
		if (c->state == KR_WIRE_FLUSHING && !c->is_shut)
			shut(c);
	}
}
