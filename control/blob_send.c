#define _GNU_SOURCE
/*
 * A blob to a client's socket: verified runs go out as they come, straight
 * from the file, which is the same before and after the commit.
 *
 * While there is more to send the socket is corked (tcp(7)): acknowledgements
 * and ends of slices push out small segments else, each with a wake-up of the
 * reader, who is better left to read.
 */
#include <sys/socket.h>

#include "control/transfer_internal.h"

enum { CORK_BYTES = 256 * 1024 }; /* less goes in one go */

static void step(struct kr_blob_send *s);

/* ---- the node is told where readers are */

static uint32_t take_reader(struct kr_blob *b)
{
	for (uint32_t i = 0; i < KR_NODE_READERS_MAX; i++)
		if ((b->readers & (UINT32_C(1) << i)) == 0) {
			b->readers |= UINT32_C(1) << i;
			return i;
		}
	return UINT32_MAX; /* it is served all the same, only not first */
}

static void tell_reader(struct kr_blob_send *s, uint32_t piece)
{
	struct kr_blob *b = s->blob;

	if (!b->in_node || b->state != KR_BLOB_PARTIAL)
		return;
	if (s->reader == UINT32_MAX)
		s->reader = take_reader(b);
	if (s->reader == UINT32_MAX || s->reader_piece == piece)
		return;
	s->reader_piece = piece;
	kr_node_blob_reader(b->t->node, kr_transfer_now(b->t), b->handle,
			    s->reader, piece);
	kr_transfer_pump(b->t);
}

static void end_reader(struct kr_blob_send *s)
{
	struct kr_blob *b = s->blob;
	const uint32_t reader = s->reader;

	if (reader == UINT32_MAX)
		return;
	b->readers &= ~(UINT32_C(1) << reader);
	s->reader = UINT32_MAX;
	if (!b->in_node)
		return;
	kr_node_blob_reader(b->t->node, kr_transfer_now(b->t), b->handle,
			    reader, UINT32_MAX);
	kr_transfer_pump(b->t);
}

/* ---- the end */

/* Nothing is in flight any more: the call-back is due. */
static void deliver(struct kr_blob_send *s)
{
	struct kr_transfer *t = s->blob->t;

	kr_list_del(&s->link);
	kr_list_add_tail(&t->due_sends, &s->link);
	kr_transfer_call_back(t);
}

static void finish(struct kr_blob_send *s, enum kr_err err)
{
	struct kr_transfer *t = s->blob->t;

	if (s->finishing)
		return;
	s->finishing = true;
	s->err = err;
	kr_io_timer_stop(t->io, &s->timer);
	end_reader(s);
	kr_io_cork(s->fd, &s->is_corked, false);
	if (s->open_ended && err == KR_OK) /* another request may come */
		kr_io_limit_lead(s->fd, 0);
	if (kr_op_busy(&s->gone))
		kr_io_cancel(t->io, &s->gone);
	else
		deliver(s);
}

/* End early; what is in flight ends first. */
static void stop(struct kr_blob_send *s, enum kr_err why)
{
	if (s->finishing)
		return;
	if (!kr_op_busy(&s->op)) {
		finish(s, why);
		return;
	}
	if (!s->canceled)
		s->err = why;
	s->canceled = true;
	kr_io_cancel(s->blob->t->io, &s->op);
}

/* ---- waiting */

static void on_gone(struct kr_op *op, enum kr_err err, uint32_t n)
{
	struct kr_blob_send *s = KR_CONTAINER_OF(op, struct kr_blob_send, gone);

	(void)err;
	(void)n;
	if (s->finishing)
		deliver(s);
	else if (kr_op_busy(&s->op))
		s->has_left = true; /* it may read what it has asked for */
	else
		finish(s, KR_E_CLOSED);
}

/* A client that waits for us says nothing when it leaves but this. */
static void wait_more(struct kr_blob_send *s)
{
	kr_io_cork(s->fd, &s->is_corked, false);
	if (s->has_left)
		finish(s, KR_E_CLOSED);
	else if (!kr_op_busy(&s->gone))
		kr_io_wait_gone(s->blob->t->io, &s->gone, s->fd, on_gone);
}

/* ---- sending */

static void on_slow(struct kr_timer *timer)
{
	stop(KR_CONTAINER_OF(timer, struct kr_blob_send, timer), KR_E_TIMEDOUT);
}

/* How many bytes from the offset on are verified. */
static uint64_t verified_run(const struct kr_blob_send *s)
{
	const struct kr_blob *b = s->blob;
	uint64_t end;

	if (b->stored != NULL)
		return s->left_bytes;
	if (b->state != KR_BLOB_PARTIAL && b->state != KR_BLOB_COMMITTING)
		return 0;
	const uint32_t first =
		(uint32_t)(s->offset_bytes / b->meta.piece_bytes);
	const uint32_t last = kr_bitset_next_clear(&b->have, first);

	end = (uint64_t)last * b->meta.piece_bytes;
	if (end > s->offset_bytes + s->left_bytes)
		end = s->offset_bytes + s->left_bytes;
	return end > s->offset_bytes ? end - s->offset_bytes : 0;
}

static void on_sent(struct kr_op *op, enum kr_err err, uint32_t n)
{
	struct kr_blob_send *s = KR_CONTAINER_OF(op, struct kr_blob_send, op);

	(void)n;
	kr_io_timer_stop(s->blob->t->io, &s->timer);
	s->head = (struct kr_bytes){ NULL, 0 };
	if (err == KR_OK) {
		s->offset_bytes += s->slice_bytes;
		s->left_bytes -= s->slice_bytes;
		s->moved_bytes += s->slice_bytes;
	}
	if (s->canceled)
		finish(s, s->left_bytes == 0 ? KR_OK : s->err);
	else if (err != KR_OK)
		finish(s, err == KR_E_CANCELED ? KR_E_IO : err);
	else
		step(s);
}

/*
 * A reader that may leave any moment is not to have much before it.  While it
 * lags, nothing tells that it has read but a look: soon, then less and less
 * often.
 */
static void on_lag(struct kr_timer *timer)
{
	step(KR_CONTAINER_OF(timer, struct kr_blob_send, timer));
}

static bool lags(struct kr_blob_send *s)
{
	struct kr_transfer *t = s->blob->t;
	uint32_t lead;

	if (!s->open_ended || !kr_io_lead(t->io, s->fd, &lead) ||
	    lead < KR_BLOB_SEND_LEAD_BYTES) {
		s->lag_ns = 0;
		return false;
	}
	s->lag_ns = s->lag_ns == 0 ? KR_LAG_LOOK_NS : s->lag_ns * 2;
	if (s->lag_ns > KR_LAG_LOOK_MAX_NS)
		s->lag_ns = KR_LAG_LOOK_MAX_NS;
	kr_io_timer_set(t->io, &s->timer, kr_transfer_now(t) + s->lag_ns,
			on_lag);
	return true;
}

/* Before much else the head goes alone: from a first segment that is all bytes
 * and no pages a reader's kernel reckons with windows that keep what is on the
 * way in the caches (0.83 of the reader's processor time at 64 connections on
 * loopback).  What the socket does not take goes with the file's bytes. */
static void send_head(struct kr_blob_send *s)
{
	const ssize_t n = send(s->fd, s->head.ptr, s->head.len,
			       MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n > 0) {
		s->head.ptr += n;
		s->head.len -= (size_t)n;
	}
}

static void send_slice(struct kr_blob_send *s, uint64_t run)
{
	struct kr_transfer *t = s->blob->t;

	const uint32_t max = s->open_ended ? KR_BLOB_SEND_LEAD_BYTES / 2
					   : KR_BLOB_SEND_SLICE_BYTES;

	s->slice_bytes = run < max ? (uint32_t)run : max;
	kr_io_timer_set(t->io, &s->timer,
			kr_transfer_now(t) + KR_BLOB_SEND_SLICE_NS, on_slow);
	if (s->head.len > 0 && s->left_bytes >= CORK_BYTES)
		send_head(s);
	if (!s->open_ended && s->left_bytes >= CORK_BYTES)
		kr_io_cork(s->fd, &s->is_corked, true);
	kr_io_send_headed(t->io, &s->op, s->fd, s->head.ptr,
			  (uint32_t)s->head.len, s->blob->fd, s->offset_bytes,
			  s->slice_bytes, on_sent);
}

static void step(struct kr_blob_send *s)
{
	struct kr_blob *b = s->blob;

	if (s->finishing || kr_op_busy(&s->op))
		return;
	if (s->left_bytes == 0) {
		finish(s, KR_OK);
		return;
	}
	if (b->stored == NULL && b->state == KR_BLOB_FAILED) {
		finish(s, b->why);
		return;
	}
	const uint64_t run = verified_run(s);

	if (b->state == KR_BLOB_PARTIAL)
		tell_reader(s, (uint32_t)((s->offset_bytes + run) /
					  b->meta.piece_bytes));
	if (run == 0 || lags(s))
		wait_more(s);
	else
		send_slice(s, run);
}

void kr_blob_sends_go_on(struct kr_blob *b)
{
	kr_blob_hold(b);
	kr_list_for_each_safe(it, &b->sends)
	{
		struct kr_blob_send *s =
			KR_CONTAINER_OF(it, struct kr_blob_send, link);

		/* One that waits since before the swarm tells its place. */
		if (!kr_op_busy(&s->op) &&
		    (verified_run(s) > 0 || s->reader_piece == UINT32_MAX))
			step(s);
	}
	kr_blob_drop(b);
}

void kr_blob_sends_fail(struct kr_blob *b, enum kr_err why)
{
	kr_list_for_each_safe(it, &b->sends)
		stop(KR_CONTAINER_OF(it, struct kr_blob_send, link), why);
}

void kr_blob_send(struct kr_blob *b, struct kr_blob_send *s, int fd,
		  const struct kr_blob_part *part, kr_blob_send_fn *done)
{
	kr_assert(b->t != NULL);
	kr_assert(part->head.len == 0 || part->len_bytes > 0);
	*s = (struct kr_blob_send){
		.blob = b,
		.done = done,
		.fd = fd,
		.head = part->head,
		.offset_bytes = part->offset_bytes,
		.left_bytes = part->len_bytes,
		.reader = UINT32_MAX,
		.reader_piece = UINT32_MAX,
		.open_ended = part->open_ended,
	};
	if (s->open_ended)
		kr_io_limit_lead(fd, KR_BLOB_SEND_LEAD_BYTES / 2);
	kr_blob_get(b);
	kr_list_add_tail(&b->sends, &s->link);
	if (s->left_bytes > b->size_bytes ||
	    s->offset_bytes > b->size_bytes - s->left_bytes)
		finish(s, KR_E_RANGE);
	else
		step(s);
}

void kr_blob_send_cancel(struct kr_blob_send *s)
{
	if (s->blob != NULL)
		stop(s, KR_E_CANCELED);
}
