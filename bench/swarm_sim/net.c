#include "bench/swarm_sim/net.h"

#include <string.h>

#include "bench/swarm_sim/mem.h"
#include "core/err.h"

#define NS_PER_S UINT64_C(1000000000)

enum {
	EV_SYN = NET_EV_FIRST, /* link, 0, gen */
	EV_CONNECTED,          /* link, 0, gen */
	EV_CLOSED,             /* link, end, gen */
	EV_PUMP,               /* link, end, gen */
	EV_TX_END,             /* host, tx */
	EV_ARRIVE,             /* link << 1 | end, seg, gen */
	EV_RX_END,             /* link, end, gen */
	EV_SERVED,             /* link, end, gen */
};

enum { INLINE_MAX = 56 };

enum seg_kind { SEG_BYTES, SEG_BLOCK, SEG_END };
enum seg_state { SEG_ON_WAY, SEG_ARRIVED, SEG_RECEIVING };

struct net_seg { /* what travels on a link */
	uint64_t ready_ns;
	uint32_t next, len;
	uint8_t kind, state;
	union {
		uint8_t bytes[INLINE_MAX];
		uint8_t *more; /* len > INLINE_MAX */
		struct {
			struct net_block block;
			uint64_t tx_end_ns;
			uint8_t head[NET_HEAD_MAX];
			uint8_t head_len;
		};
	};
};

struct net_tx { /* a block in or before a sender's card */
	uint32_t next, link, gen, seg, len;
	uint8_t to;
};

static uint64_t later(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t time_ns(uint64_t bytes, uint64_t bytes_per_s)
{
	return bytes * NS_PER_S / bytes_per_s;
}

void net_init(struct net *n, struct sim_queue *q, uint32_t host_count,
	      uint64_t seed)
{
	memset(n, 0, sizeof(*n));
	n->queue = q;
	kr_rand_init(&n->rand, seed);
	n->hosts = sim_get(host_count * sizeof(*n->hosts));
	n->host_count = host_count;
	n->link_count = n->seg_count = n->tx_count = 1; /* 0 is none */
}

static uint32_t seg_take(struct net *n)
{
	uint32_t i = n->seg_free;

	if (i != 0) {
		n->seg_free = n->segs[i].next;
	} else {
		i = n->seg_count;
		n->segs =
			sim_grow(n->segs, &n->seg_cap, i + 1, sizeof(*n->segs));
		n->seg_count++;
	}
	n->segs[i].next = 0;
	n->segs[i].state = SEG_ON_WAY;
	return i;
}

static void seg_give(struct net *n, uint32_t i)
{
	struct net_seg *s = &n->segs[i];

	if (s->kind == SEG_BYTES && s->len > INLINE_MAX)
		sim_put(s->more);
	s->next = n->seg_free;
	n->seg_free = i;
}

static void clear_end(struct net *n, struct net_end *e)
{
	while (e->head != 0) {
		const uint32_t i = e->head;

		e->head = n->segs[i].next;
		seg_give(n, i);
	}
	e->tail = 0;
}

void net_fini(struct net *n)
{
	for (uint32_t i = 1; i < n->link_count; i++) {
		clear_end(n, &n->links[i].end[0]);
		clear_end(n, &n->links[i].end[1]);
	}
	sim_put(n->hosts);
	sim_put(n->links);
	sim_put(n->segs);
	sim_put(n->tx);
}

/* ---- links -------------------------------------------------------------- */

static void free_link(struct net *n, uint32_t link)
{
	struct net_link *l = &n->links[link];

	if (!l->used || l->end[0].alive || l->end[1].alive)
		return;
	clear_end(n, &l->end[0]);
	clear_end(n, &l->end[1]);
	l->used = false;
	l->gen++;
	l->next_free = n->link_free;
	n->link_free = link;
	n->links_used--;
}

uint32_t net_dial(struct net *n, uint32_t from, uint32_t to, uint32_t conn)
{
	uint32_t link = n->link_free, gen = 0;
	struct net_link *l;

	if (link != 0) {
		n->link_free = n->links[link].next_free;
		gen = n->links[link].gen;
	} else {
		link = n->link_count;
		n->links = sim_grow(n->links, &n->link_cap, link + 1,
				    sizeof(*n->links));
		n->link_count++;
	}
	n->links_used++;
	l = &n->links[link];
	*l = (struct net_link){ .used = true, .gen = gen };
	l->latency_ns =
		n->latency_min_ns +
		kr_rand_below(&n->rand, (uint32_t)(n->latency_max_ns -
						   n->latency_min_ns + 1));
	l->end[0] =
		(struct net_end){ .host = from, .conn = conn, .alive = true };
	l->end[1].host = to;
	sim_queue_push(n->queue, n->now_ns + l->latency_ns + n->dial_ns, EV_SYN,
		       link, 0, gen);
	return link;
}

static void closed(struct net *n, uint32_t link, int end)
{
	struct net_link *l = &n->links[link];

	if (!l->used || !l->end[end].alive)
		return;
	l->end[end].alive = false;
	n->ops->on_closed(n->ctx, link, end);
	free_link(n, link);
}

static void push_link(struct net *n, uint64_t at_ns, uint32_t type,
		      uint32_t link, int end)
{
	sim_queue_push(n->queue, at_ns, type, link, (uint32_t)end,
		       n->links[link].gen);
}

static void on_syn(struct net *n, uint32_t link)
{
	struct net_link *l = &n->links[link];
	const struct net_host *to = &n->hosts[l->end[1].host];
	const uint64_t back_ns = n->now_ns + l->latency_ns;

	if (to->mute || n->hosts[l->end[0].host].mute)
		return; /* nobody answers */
	if (!to->up_now) {
		push_link(n, back_ns, EV_CLOSED, link, 0);
		return;
	}
	/* The dialler hears of it before the first bytes arrive. */
	push_link(n, back_ns, EV_CONNECTED, link, 0);
	l->end[1].alive = true;
	if (n->ops->on_accept(n->ctx, link))
		return;
	n->links[link].end[1].alive = false;
	push_link(n, back_ns, EV_CLOSED, link, 0);
}

void net_close(struct net *n, uint32_t link, int end)
{
	struct net_link *l = &n->links[link];
	struct net_end *other = &l->end[!end];

	l->end[end].alive = false;
	if (other->alive && !l->cut) {
		const uint32_t i = seg_take(n);
		struct net_seg *s = &n->segs[i];

		s->kind = SEG_END;
		s->ready_ns = n->now_ns + l->latency_ns;
		if (other->tail != 0)
			n->segs[other->tail].next = i;
		else
			other->head = i;
		other->tail = i;
		if (!other->pumping && other->head == i) {
			other->pumping = true;
			push_link(n, s->ready_ns, EV_PUMP, link, !end);
		}
	}
	free_link(n, link);
}

void net_reset(struct net *n, uint32_t link)
{
	struct net_link *l = &n->links[link];

	if (!l->used || l->cut)
		return;
	l->cut = true;
	push_link(n, n->now_ns, EV_CLOSED, link, 0);
	push_link(n, n->now_ns, EV_CLOSED, link, 1);
}

void net_kill(struct net *n, uint32_t host, bool mute)
{
	n->hosts[host].up_now = false;
	n->hosts[host].mute = mute;
	for (uint32_t i = 1; i < n->link_count; i++) {
		struct net_link *l = &n->links[i];

		if (!l->used)
			continue;
		for (int e = 0; e < 2; e++) {
			if (l->end[e].host != host || !l->end[e].alive)
				continue;
			l->cut = true;
			l->end[e].alive = false;
			if (!mute && l->end[!e].alive)
				push_link(n, n->now_ns + l->latency_ns,
					  EV_CLOSED, i, !e);
			break;
		}
		free_link(n, i);
	}
}

/* ---- sending ------------------------------------------------------------ */

static void enqueue(struct net *n, uint32_t link, int to, uint32_t seg)
{
	struct net_end *e = &n->links[link].end[to];

	if (e->tail != 0)
		n->segs[e->tail].next = seg;
	else
		e->head = seg;
	e->tail = seg;
}

void net_send(struct net *n, uint32_t link, int end, const uint8_t *bytes,
	      uint32_t len)
{
	struct net_link *l = &n->links[link];
	struct net_end *to = &l->end[!end];
	struct net_host *h = &n->hosts[l->end[end].host];

	h->sent_control += len;
	h->tx_debt += len;
	h->messages++;
	if (l->cut || !to->alive)
		return;
	const uint32_t i = seg_take(n);
	struct net_seg *s = &n->segs[i];
	s->kind = SEG_BYTES;
	s->len = len;
	s->ready_ns = n->now_ns + l->latency_ns;
	if (len > INLINE_MAX)
		s->more = sim_get(len);
	memcpy(len > INLINE_MAX ? s->more : s->bytes, bytes, len);
	enqueue(n, link, !end, i);
	if (!to->pumping && to->head == i) {
		to->pumping = true;
		push_link(n, s->ready_ns, EV_PUMP, link, !end);
	}
}

static uint32_t tx_take(struct net *n)
{
	uint32_t i = n->tx_free;

	if (i != 0) {
		n->tx_free = n->tx[i].next;
		return i;
	}
	i = n->tx_count;
	n->tx = sim_grow(n->tx, &n->tx_cap, i + 1, sizeof(*n->tx));
	n->tx_count++;
	return i;
}

/* When the head of a block that crosses zones comes out of the uplinks. */
static uint64_t cross(struct net *n, uint32_t from, uint32_t to, uint32_t len,
		      uint64_t start_ns)
{
	const uint64_t ns = time_ns(len, n->uplink);

	n->uplink_free_ns[from] = later(n->uplink_free_ns[from], start_ns) + ns;
	start_ns = n->uplink_free_ns[from] - ns;
	n->downlink_free_ns[to] = later(n->downlink_free_ns[to], start_ns) + ns;
	return n->downlink_free_ns[to] - ns;
}

/* The card takes the next block, if there is one. */
static void send_next(struct net *n, uint32_t host)
{
	struct net_host *h = &n->hosts[host];
	const uint32_t i = h->tx_head;
	struct net_tx *t = &n->tx[i];

	h->sending = false;
	if (i == 0)
		return;
	h->tx_head = t->next;
	if (h->tx_head == 0)
		h->tx_tail = 0;
	struct net_link *l = &n->links[t->link];
	const uint64_t ns = time_ns(t->len + h->tx_debt, h->up);
	h->tx_debt = 0;
	h->busy_ns += ns;
	h->sending = true;
	sim_queue_push(n->queue, n->now_ns + ns, EV_TX_END, host, i, 0);
	if (!l->used || l->gen != t->gen || l->cut || !l->end[t->to].alive)
		return; /* sent in vain */
	uint64_t start_ns = n->now_ns;
	const uint32_t zone = n->hosts[l->end[t->to].host].zone;
	if (zone != h->zone) {
		n->cross_bytes[zone] += t->len;
		if (n->uplink != 0)
			start_ns = cross(n, h->zone, zone, t->len, start_ns);
	}
	n->segs[t->seg].tx_end_ns = start_ns + ns + l->latency_ns;
	sim_queue_push(n->queue, start_ns + l->latency_ns, EV_ARRIVE,
		       t->link << 1 | t->to, t->seg, t->gen);
}

void net_send_block(struct net *n, uint32_t link, int end, const uint8_t *head,
		    uint32_t head_len, const struct net_block *b)
{
	struct net_link *l = &n->links[link];
	const uint32_t host = l->end[end].host;
	struct net_host *h = &n->hosts[host];
	const uint32_t i = tx_take(n);

	kr_assert(head_len <= NET_HEAD_MAX);
	h->sent_bytes += b->len;
	h->sent_control += head_len;
	h->tx_debt += head_len;
	h->messages++;
	n->tx[i] = (struct net_tx){
		.link = link, .gen = l->gen, .len = b->len, .to = (uint8_t)!end
	};
	if (!l->cut && l->end[!end].alive) {
		const uint32_t k = seg_take(n);
		struct net_seg *s = &n->segs[k];

		s->kind = SEG_BLOCK;
		s->len = 0;
		s->block = *b;
		s->head_len = (uint8_t)head_len;
		memcpy(s->head, head, head_len);
		enqueue(n, link, !end, k);
		n->tx[i].seg = k;
		l->end[!end].backlog += b->len;
	}
	if (h->tx_tail != 0)
		n->tx[h->tx_tail].next = i;
	else
		h->tx_head = i;
	h->tx_tail = i;
	if (!h->sending)
		send_next(n, host);
}

/* ---- arriving ----------------------------------------------------------- */

static bool is_live(const struct net *n, uint32_t link, uint32_t gen, int end)
{
	const struct net_link *l = &n->links[link];

	return l->used && l->gen == gen && l->end[end].alive;
}

static void drop_head(struct net *n, struct net_end *e)
{
	const uint32_t i = e->head;

	e->head = n->segs[i].next;
	if (e->head == 0)
		e->tail = 0;
	seg_give(n, i);
}

/* The head of a block is read: the receiver's card is given its share. */
static void begin_block(struct net *n, uint32_t link, int end, uint32_t i)
{
	struct net_end *e = &n->links[link].end[end];
	struct net_host *h = &n->hosts[e->host];
	struct net_seg *s = &n->segs[i];
	const struct net_block b = s->block;
	uint8_t head[NET_HEAD_MAX];
	const uint32_t head_len = s->head_len;

	s->state = SEG_RECEIVING;
	h->rx_free_ns = later(h->rx_free_ns, n->now_ns) +
			time_ns(b.len + h->rx_debt, h->down);
	h->rx_debt = head_len;
	h->got_bytes += b.len;
	h->got_control += head_len;
	push_link(n, later(h->rx_free_ns, s->tx_end_ns), EV_RX_END, link, end);
	memcpy(head, s->head, head_len);
	n->ops->on_block(n->ctx, link, end, head, head_len, &b);
}

static void deliver_bytes(struct net *n, uint32_t link, int end)
{
	struct net_end *e = &n->links[link].end[end];
	struct net_host *h = &n->hosts[e->host];
	const struct net_seg *s = &n->segs[e->head];
	uint8_t copy[INLINE_MAX], *more = NULL;
	const uint32_t len = s->len;

	/* The call-back may send, which may move the pool. */
	if (len > INLINE_MAX)
		more = s->more;
	else
		memcpy(copy, s->bytes, len);
	n->segs[e->head].len = 0; /* the bytes are ours */
	drop_head(n, e);
	h->got_control += len;
	h->rx_debt += len;
	n->ops->on_bytes(n->ctx, link, end, more ? more : copy, len);
	sim_put(more);
}

/* Deliver what is due to @end, in order. */
static void pump(struct net *n, uint32_t link, uint32_t gen, int end)
{
	while (is_live(n, link, gen, end) && !n->links[link].cut) {
		struct net_end *e = &n->links[link].end[end];
		const uint32_t i = e->head;
		struct net_seg *s = &n->segs[i];

		if (i == 0)
			return;
		if (s->kind == SEG_BLOCK) {
			if (s->state == SEG_ARRIVED)
				begin_block(n, link, end, i);
			return;
		}
		if (s->ready_ns > n->now_ns) {
			e->pumping = true;
			push_link(n, s->ready_ns, EV_PUMP, link, end);
			return;
		}
		if (s->kind == SEG_BYTES) {
			deliver_bytes(n, link, end);
		} else {
			closed(n, link, end);
			return;
		}
	}
}

static void on_rx_end(struct net *n, uint32_t link, uint32_t gen, int end)
{
	struct net_end *e = &n->links[link].end[end];
	const struct net_block b = n->segs[e->head].block;

	kr_assert(n->segs[e->head].state == SEG_RECEIVING);
	drop_head(n, e);
	e->backlog -= b.len;
	if (e->served_due && e->backlog <= n->socket_bytes) {
		e->served_due = false;
		push_link(n, n->now_ns + n->links[link].latency_ns, EV_SERVED,
			  link, !end);
	}
	n->ops->on_block_end(n->ctx, link, end, &b);
	if (is_live(n, link, gen, end) && !n->links[link].end[end].pumping)
		pump(n, link, gen, end);
}

static void on_tx_end(struct net *n, uint32_t host, uint32_t i)
{
	const struct net_tx t = n->tx[i];
	const int from = !t.to;

	n->tx[i].next = n->tx_free;
	n->tx_free = i;
	send_next(n, host);
	if (!is_live(n, t.link, t.gen, from) || n->links[t.link].cut)
		return;
	struct net_end *to = &n->links[t.link].end[t.to];
	if (to->backlog > n->socket_bytes)
		to->served_due = true;
	else
		n->ops->on_served(n->ctx, t.link, from);
}

static void on_arrive(struct net *n, uint32_t link, uint32_t seg, int end)
{
	struct net_end *e = &n->links[link].end[end];

	n->segs[seg].state = SEG_ARRIVED;
	if (e->head == seg && !e->pumping)
		pump(n, link, n->links[link].gen, end);
}

void net_happen(struct net *n, const struct sim_event *ev)
{
	const int end = (int)ev->b;

	n->now_ns = ev->at_ns;
	if (ev->type == EV_TX_END) {
		on_tx_end(n, ev->a, ev->b);
		return;
	}
	if (ev->type == EV_ARRIVE) {
		if (is_live(n, ev->a >> 1, ev->c, ev->a & 1) &&
		    !n->links[ev->a >> 1].cut)
			on_arrive(n, ev->a >> 1, ev->b, ev->a & 1);
		return;
	}
	if (!is_live(n, ev->a, ev->c, end))
		return;
	if (ev->type == EV_CLOSED) {
		closed(n, ev->a, end);
		return;
	}
	if (n->links[ev->a].cut)
		return;
	switch (ev->type) {
	case EV_SYN:
		on_syn(n, ev->a);
		break;
	case EV_CONNECTED:
		if (n->links[ev->a].end[1].alive)
			n->ops->on_connected(n->ctx, ev->a);
		break;
	case EV_PUMP:
		n->links[ev->a].end[end].pumping = false;
		pump(n, ev->a, ev->c, end);
		break;
	case EV_RX_END:
		on_rx_end(n, ev->a, ev->c, end);
		break;
	case EV_SERVED:
		n->ops->on_served(n->ctx, ev->a, end);
		break;
	default:
		kr_assert(false);
	}
}
