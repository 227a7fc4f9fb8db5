/*
 * A connection to a reactor without a store, until its HELLO says whose it is:
 * an agent's stays, any other goes to the reactor that has the downloads.
 *
 *	accepted --HELLO of an agent, or no HELLO at all--> a wire of ours
 *	    |  \--HELLO of an origin or a proxy--> lender->pass_on
 *	    +--nothing for hello_ns, or closed--> closed
 *
 * Ours goes out after that, which costs nobody time: a dialler's HELLO comes
 * with the packet that completes the connection.
 */
#include <stdlib.h>
#include <unistd.h>

#include "control/transfer_internal.h"
#include "peerwire/frame.h"
#include "peerwire/msg.h"

enum { HELLO_MAX = 4096, CAP = KR_FRAME_HEAD_LEN + HELLO_MAX };

struct kr_guest {
	struct kr_transfer *t;
	struct kr_list link; /* t->guests */
	struct kr_op rx;
	struct kr_timer timer;
	struct kr_addr from;
	int fd;
	bool is_late; /* its time is up */
	uint32_t len;
	uint8_t *bytes; /* CAP of them */
};

enum verdict { MORE, OURS, THEIRS };

static void on_bytes(struct kr_op *op, enum kr_err err, uint32_t n);

static void end(struct kr_guest *g)
{
	kr_io_timer_stop(g->t->io, &g->timer);
	kr_list_del(&g->link);
	g->t->guest_count--;
	if (g->fd >= 0)
		close(g->fd);
	free(g->bytes);
	free(g);
}

/* What is no HELLO is the node's to refuse. */
static enum verdict judge(const struct kr_guest *g)
{
	struct kr_frame_head h;
	struct kr_msg_hello m;
	const enum kr_err err = kr_frame_head_decode(g->bytes, g->len, &h);

	if (err == KR_AGAIN)
		return MORE;
	if (err != KR_OK || h.type != KR_FRAME_HELLO || h.len > HELLO_MAX)
		return OURS;
	if (g->len < KR_FRAME_HEAD_LEN + h.len)
		return MORE;
	if (kr_msg_hello_decode(&h, g->bytes + KR_FRAME_HEAD_LEN, &m) != KR_OK)
		return OURS;
	return m.role == KR_PEER_AGENT ? OURS : THEIRS;
}

static void receive(struct kr_guest *g)
{
	kr_io_recv_into(g->t->io, &g->rx, g->fd, g->bytes + g->len,
			CAP - g->len, on_bytes);
}

static void let_in(struct kr_guest *g)
{
	const int fd = g->fd;

	g->fd = -1;
	kr_wire_admit(g->t, fd, &g->from, g->bytes, g->len);
}

static void pass_on(struct kr_guest *g)
{
	const struct kr_lender *l = g->t->lender;
	uint8_t *bytes = g->bytes;
	const int fd = g->fd;

	g->fd = -1;
	g->bytes = NULL;
	l->pass_on(l->ctx, fd, &g->from, bytes, g->len);
}

static void on_bytes(struct kr_op *op, enum kr_err err, uint32_t n)
{
	struct kr_guest *g = KR_CONTAINER_OF(op, struct kr_guest, rx);

	if (err != KR_OK || g->t->is_closing) {
		end(g);
		return;
	}
	g->len += n;
	switch (judge(g)) {
	case MORE:
		if (g->is_late)
			break;
		receive(g);
		return;
	case OURS:
		let_in(g);
		break;
	case THEIRS:
		pass_on(g);
		break;
	}
	end(g);
}

static void on_silent(struct kr_timer *timer)
{
	struct kr_guest *g = KR_CONTAINER_OF(timer, struct kr_guest, timer);

	g->is_late = true;
	kr_io_cancel(g->t->io, &g->rx);
}

static struct kr_guest *make(struct kr_transfer *t)
{
	struct kr_guest *g = calloc(1, sizeof(*g));

	if (g == NULL)
		return NULL;
	g->bytes = malloc(CAP);
	if (g->bytes == NULL) {
		free(g);
		return NULL;
	}
	g->t = t;
	kr_list_add_tail(&t->guests, &g->link);
	t->guest_count++;
	return g;
}

/* As many as connections: they are to become some. */
void kr_guest_accept(struct kr_listener *l, int fd, const struct kr_addr *from)
{
	struct kr_transfer *t =
		KR_CONTAINER_OF(l, struct kr_transfer, listener);
	struct kr_guest *g = NULL;

	if (!t->is_closing && t->guest_count < t->policy.conns_max)
		g = make(t);
	if (g == NULL) {
		close(fd);
		return;
	}
	g->fd = fd;
	g->from = *from;
	kr_io_timer_set(t->io, &g->timer,
			kr_transfer_now(t) + t->policy.hello_ns, on_silent);
	receive(g);
}

void kr_guests_end(struct kr_transfer *t)
{
	kr_list_for_each (it, &t->guests)
		kr_io_cancel(t->io,
			     &KR_CONTAINER_OF(it, struct kr_guest, link)->rx);
}
