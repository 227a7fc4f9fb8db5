/* A connection of the transfer driver: its life, and what it receives. */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control/transfer_internal.h"
#include "core/log.h"

static void receive(struct kr_wire *c);
static void feed(struct kr_wire *c, const uint8_t *p, size_t n);

/* ---- life */

static struct kr_wire *make(struct kr_transfer *t, enum kr_wire_state state,
			    const struct kr_addr *addr)
{
	struct kr_wire *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	c->t = t;
	c->state = state;
	c->fd = -1;
	c->addr = *addr;
	kr_list_add_tail(&t->all_conns, &c->link);
	kr_list_init(&c->lost);
	kr_list_init(&c->ready);
	kr_turn_init(&c->rx_turn);
	kr_turn_init(&c->tx_turn);
	kr_buf_init(&c->pending, KR_WIRE_OUT_MAX_BYTES);
	kr_buf_init(&c->moving, KR_WIRE_OUT_MAX_BYTES);
	return c;
}

static void give_buffer(struct kr_wire *c)
{
	if (c->buf != NULL)
		kr_io_buffer_give(c->t->io, c->buf);
	c->buf = NULL;
}

static void drop_stash(struct kr_wire *c)
{
	free(c->stash);
	c->stash = NULL;
	c->stash_len = 0;
}

void kr_wire_free_if_idle(struct kr_wire *c)
{
	struct kr_transfer *t = c->t;

	if (c->state != KR_WIRE_DYING || c->holds > 0 || kr_op_busy(&c->rx) ||
	    kr_op_busy(&c->tx) || !kr_list_empty(&c->lost))
		return;
	kr_io_timer_stop(t->io, &c->timer);
	kr_io_timer_stop(t->io, &c->tx_timer);
	kr_io_buffer_unwait(t->io, &c->waiter);
	kr_list_del(&c->ready);
	give_buffer(c);
	drop_stash(c);
	kr_wire_drop_output(c);
	kr_buf_fini(&c->pending);
	kr_buf_fini(&c->moving);
	if (c->fd >= 0)
		close(c->fd);
	kr_list_del(&c->link);
	free(c);
}

/* The block under way will not be received. */
static void leave_body(struct kr_wire *c)
{
	kr_io_buffer_unwait(c->t->io, &c->waiter);
	kr_pace_leave(&c->rx_turn);
	kr_pace_give(&c->t->down, c->rx_credit);
	c->rx_credit = 0;
}

void kr_wire_kill(struct kr_wire *c)
{
	c->state = KR_WIRE_DYING;
	leave_body(c);
	kr_pace_leave(&c->tx_turn);
	kr_io_cancel(c->t->io, &c->rx);
	kr_io_cancel(c->t->io, &c->tx);
	if (c->fd >= 0)
		shutdown(c->fd, SHUT_RDWR);
	kr_wire_free_if_idle(c);
}

void kr_wire_lose(struct kr_wire *c, enum kr_err why)
{
	if (c->state == KR_WIRE_DYING)
		return;
	if (c->state != KR_WIRE_FLUSHING) {
		c->why = why;
		kr_list_add_tail(&c->t->lost, &c->lost);
	}
	kr_wire_kill(c);
}

/* Leave a call-back of @c: whatever it did, the node hears of it now. */
static void leave(struct kr_wire *c)
{
	struct kr_transfer *t = c->t;

	kr_transfer_stats_soon(t);
	c->holds--;
	kr_wire_free_if_idle(c);
	kr_transfer_pump(t);
}

/* bbr, the default of many kernels, is ruinous on loopback (ENGINE.md). */
static void tune(const struct kr_wire *c)
{
	static const char reno[] = "reno";
	static const uint8_t v6[16] = { [15] = 1 };

	if ((kr_addr_is_v4(&c->addr) && c->addr.ip[12] == 127) ||
	    memcmp(c->addr.ip, v6, sizeof(v6)) == 0)
		(void)setsockopt(c->fd, IPPROTO_TCP, TCP_CONGESTION, reno,
				 sizeof(reno) - 1);
}

void kr_wire_accept(struct kr_listener *l, int fd, const struct kr_addr *from)
{
	kr_wire_admit(KR_CONTAINER_OF(l, struct kr_transfer, listener), fd,
		      from, NULL, 0);
}

/* The node is told of the connection, and of what was received before we had
 * it. */
static enum kr_err introduce(struct kr_wire *c, const uint8_t *bytes,
			     uint32_t len)
{
	struct kr_transfer *t = c->t;
	const enum kr_err err = kr_u64_map_put(&t->conns, c->id, c);

	if (err != KR_OK || len == 0)
		return err;
	kr_transfer_pump(t);
	feed(c, bytes, len);
	return KR_OK;
}

void kr_wire_admit(struct kr_transfer *t, int fd, const struct kr_addr *from,
		   const uint8_t *bytes, uint32_t len)
{
	struct kr_wire *c = t->is_closing ? NULL : make(t, KR_WIRE_OPEN, from);

	if (c == NULL) {
		close(fd);
		return;
	}
	c->fd = fd;
	c->holds++;
	tune(c);
	enum kr_err err = kr_node_conn_accepted(t->node, kr_transfer_now(t),
						from, &c->id);
	if (err == KR_OK) {
		err = introduce(c, bytes, len);
		if (err == KR_OK)
			receive(c);
		else
			kr_wire_lose(c, err);
	} else {
		kr_log_debug("transfer", "connection refused",
			     KR_ADDR("from", from), KR_ERR("err", err));
		kr_wire_kill(c);
	}
	leave(c);
}

static void on_connect(struct kr_op *op, enum kr_err err, uint32_t n)
{
	struct kr_wire *c = KR_CONTAINER_OF(op, struct kr_wire, rx);
	struct kr_transfer *t = c->t;

	c->holds++;
	if (err == KR_OK)
		c->fd = (int)n;
	if (c->state != KR_WIRE_DIALING) {
		leave(c);
		return;
	}
	if (err != KR_OK) {
		kr_wire_lose(c, err);
		leave(c);
		return;
	}
	c->state = KR_WIRE_OPEN;
	tune(c);
	kr_node_conn_connected(t->node, kr_transfer_now(t), c->id);
	kr_transfer_pump(t);
	if (c->state == KR_WIRE_OPEN)
		receive(c);
	leave(c);
}

void kr_wire_dial(struct kr_transfer *t, uint32_t id, const struct kr_addr *to)
{
	struct kr_wire *c = make(t, KR_WIRE_DIALING, to);

	/* Without memory the node gives the dial up by its own time. */
	if (c == NULL)
		return;
	c->id = id;
	if (kr_u64_map_put(&t->conns, id, c) != KR_OK) {
		kr_wire_lose(c, KR_E_NOMEM);
		return;
	}
	kr_io_connect(t->io, &c->rx, to, on_connect);
}

static void on_flushed_enough(struct kr_timer *timer)
{
	kr_wire_kill(KR_CONTAINER_OF(timer, struct kr_wire, timer));
}

/*
 * The node has said all it has to say.  Its last words go out, then our half
 * is shut; what still arrives is thrown away until the other side closes:
 * closing with unread bytes would be a reset, and could overtake the BYE.
 */
void kr_wire_goodbye(struct kr_wire *c, enum kr_bye_reason reason)
{
	struct kr_transfer *t = c->t;

	kr_u64_map_del(&t->conns, c->id);
	kr_list_del(&c->lost);
	if (reason != KR_BYE_NONE && reason != KR_BYE_SHUTDOWN)
		kr_log_debug("transfer", "connection closed",
			     KR_STR("reason", kr_bye_reason_name(reason)));
	if (c->state != KR_WIRE_OPEN) {
		kr_wire_kill(c);
		return;
	}
	c->state = KR_WIRE_FLUSHING;
	leave_body(c);
	kr_io_timer_set(t->io, &c->timer, kr_transfer_now(t) + KR_WIRE_FLUSH_NS,
			on_flushed_enough);
	if (kr_op_busy(&c->rx) && c->buf != NULL)
		kr_io_cancel(t->io, &c->rx); /* a block nobody wants */
	if (kr_list_empty(&c->ready))
		kr_list_add_tail(&t->ready, &c->ready);
	if (!kr_op_busy(&c->rx)) {
		give_buffer(c);
		receive(c);
	}
}

/* ---- receiving */

static uint64_t discarded_bytes(const struct kr_transfer *t)
{
	struct kr_node_stats s;

	kr_node_stats(t->node, &s);
	return s.discarded_bytes;
}

/*
 * The block under way is whole.  While it came the node may have lost
 * interest (the same block came from elsewhere); only a block that it counts
 * may become part of the piece, or the wrong peer would be blamed for it.
 */
static void end_body(struct kr_wire *c)
{
	struct kr_transfer *t = c->t;
	uint8_t *buf = c->buf;
	struct kr_blob *b = kr_blob_of_handle(t, c->blob);
	const uint64_t before = discarded_bytes(t);
	bool ok = true;

	c->in_body = false;
	c->buf = NULL;
	kr_node_body_done(t->node, kr_transfer_now(t), c->id);
	if (buf != NULL && b != NULL && discarded_bytes(t) == before)
		ok = kr_blob_block(b, c->piece, c->offset, buf, c->body_len);
	else if (buf != NULL)
		kr_io_buffer_give(t->io, buf);
	kr_transfer_pump(t);
	if (!ok && b->state == KR_BLOB_PARTIAL)
		kr_blob_fail(b, KR_E_NOMEM, true);
}

/* Does the block have where to go? */
static bool have_buffer(struct kr_wire *c)
{
	if (c->discard || c->buf != NULL)
		return true;
	c->buf = kr_io_buffer_take(c->t->io);
	return c->buf != NULL;
}

static void on_turn(struct kr_turn *turn)
{
	struct kr_wire *c = KR_CONTAINER_OF(turn, struct kr_wire, rx_turn);

	c->holds++;
	c->rx_credit = turn->granted_bytes;
	receive(c);
	leave(c);
}

/* May more of the block be taken under the limit?  If not, on_turn comes.
 * Bytes that are here already wait as well: while they do, the node asks for
 * no others, and the sender sees a full window. */
static bool have_credit(struct kr_wire *c)
{
	if (c->rx_credit == 0)
		c->rx_credit = kr_pace_ask(&c->t->down, &c->rx_turn,
					   c->body_len - c->body_got, on_turn);
	return c->rx_credit > 0;
}

/* @n bytes of the block are in its place. */
static void got_body(struct kr_wire *c, uint32_t n)
{
	c->rx_credit -= n;
	c->body_got += n;
	if (c->body_got == c->body_len)
		end_body(c);
}

/* Take what is of the block, and granted, from @p; returns how many bytes. */
static size_t feed_body(struct kr_wire *c, const uint8_t *p, size_t n)
{
	const size_t take = n < c->rx_credit ? n : c->rx_credit;

	if (!c->discard)
		memcpy(c->buf + c->body_got, p, take);
	got_body(c, (uint32_t)take);
	return take;
}

/* No block buffer, or no turn: keep the bytes at hand until there is. */
static void stash(struct kr_wire *c, const uint8_t *p, size_t n)
{
	kr_assert(c->stash == NULL && n <= KR_IO_RECV_MAX);
	c->stash = malloc(n);
	if (c->stash == NULL) {
		kr_wire_lose(c, KR_E_NOMEM);
		return;
	}
	memcpy(c->stash, p, n);
	c->stash_len = (uint32_t)n;
}

static void feed(struct kr_wire *c, const uint8_t *p, size_t n)
{
	struct kr_transfer *t = c->t;
	size_t taken;

	while (n > 0 && c->state == KR_WIRE_OPEN) {
		if (c->in_body) {
			if (!have_buffer(c) || !have_credit(c)) {
				stash(c, p, n);
				return;
			}
			taken = feed_body(c, p, n);
		} else {
			kr_node_conn_bytes(t->node, kr_transfer_now(t), c->id,
					   p, n, &taken);
			kr_transfer_pump(t);
			kr_assert(taken == n || c->in_body ||
				  c->state != KR_WIRE_OPEN);
		}
		p += taken;
		n -= taken;
	}
}

static void on_buffer(struct kr_waiter *w)
{
	struct kr_wire *c = KR_CONTAINER_OF(w, struct kr_wire, waiter);

	c->holds++;
	if (c->state == KR_WIRE_OPEN)
		receive(c);
	leave(c);
}

static void on_bytes(struct kr_op *op, enum kr_err err, uint32_t n)
{
	struct kr_wire *c = KR_CONTAINER_OF(op, struct kr_wire, rx);

	c->holds++;
	if (c->state == KR_WIRE_OPEN) {
		if (err == KR_OK)
			feed(c, kr_io_data(op), n);
		else
			kr_wire_lose(c, err);
	} else if (err != KR_OK && err != KR_E_CANCELED) {
		kr_wire_kill(c); /* flushing: the other side is done */
	}
	receive(c);
	leave(c);
}

static void on_block(struct kr_op *op, enum kr_err err, uint32_t n)
{
	struct kr_wire *c = KR_CONTAINER_OF(op, struct kr_wire, rx);

	c->holds++;
	if (c->state == KR_WIRE_OPEN && err == KR_OK) {
		got_body(c, n);
	} else {
		give_buffer(c);
		if (err != KR_OK && err != KR_E_CANCELED)
			kr_wire_lose(c, err);
	}
	receive(c);
	leave(c);
}

/* Bytes that waited for a buffer come first. */
static void feed_stash(struct kr_wire *c)
{
	uint8_t *p = c->stash;
	const uint32_t n = c->stash_len;

	c->stash = NULL;
	c->stash_len = 0;
	feed(c, p, n);
	free(p);
}

/* No block buffer: come back when there is one. */
static void wait_for_buffer(struct kr_wire *c)
{
	kr_transfer_spill(c->t);
	kr_io_buffer_wait(c->t->io, &c->waiter, on_buffer);
}

/* Ask for more, if there is where to put it. */
static void receive(struct kr_wire *c)
{
	struct kr_io *io = c->t->io;

	if (kr_op_busy(&c->rx))
		return;
	while (c->state == KR_WIRE_OPEN && c->in_body) {
		if (!have_buffer(c)) {
			wait_for_buffer(c);
			return;
		}
		if (!have_credit(c))
			return;
		if (c->stash == NULL)
			break;
		feed_stash(c);
	}
	if (c->state == KR_WIRE_OPEN && c->in_body && !c->discard)
		kr_io_recv_all(io, &c->rx, c->fd, c->buf + c->body_got,
			       c->rx_credit, on_block);
	else if (c->state == KR_WIRE_OPEN || c->state == KR_WIRE_FLUSHING)
		kr_io_recv(io, &c->rx, c->fd, on_bytes);
}

void kr_wire_body(struct kr_wire *c, const struct kr_action *a)
{
	kr_assert(!c->in_body && c->buf == NULL && a->len > 0);
	c->in_body = true;
	c->discard = a->discard;
	c->blob = a->blob;
	c->piece = a->piece;
	c->offset = a->offset;
	c->body_len = a->len;
	c->body_got = 0;
}
