/*
 * Hosts that run the shipped node.  This file is the driver: what
 * control/transfer does on the ring it does on the simulated network, and it
 * plays the tracker with the shipped handout.
 *
 * Payload is not moved: a block is a record of which bytes it is.  A piece is
 * verified when all its blocks arrived undamaged.
 */
#include <string.h>

#include "bench/swarm_sim/mem.h"
#include "bench/swarm_sim/sim.h"
#include "control/tracker.h"
#include "core/bitset.h"
#include "peerwire/frame.h"
#include "peerwire/metainfo.h"
#include "peerwire/node.h"

enum {
	EV_TIMER = 10, /* host */
	EV_JOIN,       /* host: it has the metainfos */
	EV_PEERS,      /* host, blob: the tracker answers */
	EV_VERIFIED,   /* host, blob, piece << 1 | ok */
	EV_ANNOUNCE,   /* host */
};

enum { BLOBS_MAX = 8, BLOCKS_MAX = 8, PORT = 7000, ANNOUNCE_MS = 2 };

/* Of memory, per blob and neighbour, beside the pieces' bits. */
enum { NEIGHBOUR_BYTES_MAX = 2048, BLOB_BYTES_MAX = 8192 };

struct copy { /* a blob on a host */
	uint32_t handle;
	bool added, done, asked;
	struct kr_bitset have;
	uint8_t *blocks; /* per piece: which blocks are there, undamaged */
	uint32_t reader; /* streaming: the first piece it lacks */
	uint64_t reader_ns;
};

struct host {
	struct kr_node *node; /* NULL before its start and after its death */
	uint32_t *links;      /* by index of connection: link << 1 | end */
	uint32_t link_cap;
	uint64_t timer_ns, timer_event_ns;
	uint64_t verify_free_ns;
	struct sim_account memory;
	struct copy copies[BLOBS_MAX];
	uint32_t left; /* blobs not complete */
};

struct swarm {
	struct sim *s;
	struct net *net;
	struct kr_tracker *tracker;
	struct host *hosts;
	uint8_t *metainfos[BLOBS_MAX]; /* encoded */
	size_t metainfo_lens[BLOBS_MAX];
	struct kr_metainfo info[BLOBS_MAX];
	uint32_t blob_count;
	uint64_t announces, idle_bytes;
	uint64_t neighbours, neighbour_bytes; /* half-way */
};

/* ---- names of hosts ----------------------------------------------------- */

static struct kr_addr addr_of(uint32_t host)
{
	struct kr_addr a = { .port = PORT };

	a.ip[10] = a.ip[11] = 0xff;
	a.ip[12] = 10;
	a.ip[13] = (uint8_t)(host >> 16);
	a.ip[14] = (uint8_t)(host >> 8);
	a.ip[15] = (uint8_t)host;
	return a;
}

static uint32_t host_of(const struct kr_addr *a)
{
	return (uint32_t)a->ip[13] << 16 | (uint32_t)a->ip[14] << 8 | a->ip[15];
}

static struct kr_peer_id id_of(const struct swarm *w, uint32_t host)
{
	struct kr_rand r;
	struct kr_peer_id id;

	kr_rand_init(&r, w->s->seed ^ (uint64_t)host << 32);
	for (int i = 0; i < KR_PEER_ID_LEN; i++)
		id.bytes[i] = (uint8_t)kr_rand_u64(&r);
	return id;
}

static void zone_of(const struct swarm *w, uint32_t host,
		    char zone[KR_NAME_MAX + 1])
{
	memset(zone, 0, KR_NAME_MAX + 1);
	zone[0] = 'z';
	zone[1] = (char)('a' + w->net->hosts[host].zone);
}

static uint32_t blob_of(const struct swarm *w, uint32_t host, uint32_t handle)
{
	for (uint32_t b = 0; b < w->blob_count; b++)
		if (w->hosts[host].copies[b].added &&
		    w->hosts[host].copies[b].handle == handle)
			return b;
	kr_assert(false); /* the node spoke of a blob it does not have */
	return 0;
}

/* ---- opening ------------------------------------------------------------ */

/* The metainfo of @blob, made, encoded, and decoded again as hosts do. */
static void make_metainfo(struct swarm *w, uint32_t blob)
{
	const struct sim *s = w->s;
	const uint32_t pieces =
		kr_metainfo_piece_count_for(s->layer_bytes, s->piece_bytes);
	struct kr_digest d = { .alg = KR_SHA256 };
	uint8_t *hashes = sim_get((size_t)pieces * KR_SHA256_LEN);
	struct kr_rand r;

	kr_rand_init(&r, s->seed + blob);
	for (uint32_t i = 0; i < KR_SHA256_LEN; i++)
		d.bytes[i] = (uint8_t)kr_rand_u64(&r);
	for (size_t i = 0; i < (size_t)pieces * KR_SHA256_LEN; i++)
		hashes[i] = (uint8_t)kr_rand_u64(&r);
	kr_assert(kr_metainfo_make(kr_alloc_heap(), &d, s->layer_bytes,
				   s->piece_bytes, hashes,
				   &w->info[blob]) == KR_OK);
	const size_t cap = kr_metainfo_encoded_max(&w->info[blob]);
	w->metainfos[blob] = sim_get(cap);
	kr_assert(kr_metainfo_encode(&w->info[blob], w->metainfos[blob], cap,
				     &w->metainfo_lens[blob]) == KR_OK);
	sim_put(hashes);
}

static const struct net_ops ops;

static void *open_swarm(struct sim *s)
{
	struct swarm *w = sim_get(sizeof(*w));
	const struct kr_tracker_opts o = { .alloc = kr_alloc_heap(),
					   .seed = s->seed ^ 0x7ac,
					   .peers_max = 2 * s->host_count + 2 };

	w->s = s;
	w->net = &s->net;
	w->net->ops = &ops;
	w->net->ctx = w;
	w->blob_count = (uint32_t)s->sc->layers;
	w->hosts = sim_get(s->host_count * sizeof(*w->hosts));
	kr_assert(kr_tracker_open(&o, &w->tracker) == KR_OK);
	for (uint32_t b = 0; b < w->blob_count; b++)
		make_metainfo(w, b);
	return w;
}

static void close_host(struct swarm *w, struct host *h)
{
	if (h->node != NULL)
		kr_node_close(h->node);
	h->node = NULL;
	for (uint32_t b = 0; b < w->blob_count; b++) {
		sim_put(h->copies[b].have.words);
		sim_put(h->copies[b].blocks);
	}
	sim_put(h->links);
}

static void close_swarm(void *ctx)
{
	struct swarm *w = ctx;

	for (uint32_t i = 0; i < w->s->host_count; i++)
		close_host(w, &w->hosts[i]);
	for (uint32_t b = 0; b < w->blob_count; b++) {
		sim_put(w->metainfos[b]);
		kr_metainfo_fini(kr_alloc_heap(), &w->info[b]);
	}
	kr_tracker_close(w->tracker);
	sim_put(w->hosts);
	sim_put(w);
}

/* ---- connections -------------------------------------------------------- */

static uint32_t *link_slot(struct host *h, uint32_t conn)
{
	const uint32_t index = conn & 0xffff, had = h->link_cap;

	h->links =
		sim_grow(h->links, &h->link_cap, index + 1, sizeof(*h->links));
	if (h->link_cap > had)
		memset(h->links + had, 0,
		       (h->link_cap - had) * sizeof(*h->links));
	return &h->links[index];
}

/* The link of a connection, and which end is ours; 0: it is gone. */
static uint32_t link_of(struct swarm *w, uint32_t host, uint32_t conn,
			int *ret_end)
{
	const uint32_t v = *link_slot(&w->hosts[host], conn);
	const uint32_t link = v >> 1;
	const struct net_end *e = &w->net->links[link].end[v & 1];

	if (v == 0 || !e->alive || e->host != host || e->conn != conn)
		return 0;
	*ret_end = (int)(v & 1);
	return link;
}

static void drain(struct swarm *w, uint32_t host);

static void do_dial(struct swarm *w, uint32_t host, const struct kr_action *a)
{
	const uint32_t link =
		net_dial(w->net, host, host_of(&a->addr), a->conn);

	*link_slot(&w->hosts[host], a->conn) = link << 1;
}

static void do_serve(struct swarm *w, uint32_t host, const struct kr_action *a)
{
	const uint32_t blob = blob_of(w, host, a->blob);
	int end;
	const uint32_t link = link_of(w, host, a->conn, &end);
	const struct net_block b = {
		.len = a->len,
		.piece = a->piece,
		.offset = a->offset,
		.blob = (uint8_t)blob,
		.damaged = w->s->sc->damage_ppm > 0 &&
			   sim_draw(w->s, 1000000) < w->s->sc->damage_ppm,
	};

	kr_assert(kr_bitset_test(&w->hosts[host].copies[blob].have, a->piece));
	if (link != 0)
		net_send_block(w->net, link, end, a->head, a->head_len, &b);
}

static void do_body(struct swarm *w, uint32_t host, const struct kr_action *a)
{
	int end;
	const uint32_t link = link_of(w, host, a->conn, &end);

	if (link == 0)
		return;
	struct net_end *e = &w->net->links[link].end[end];
	kr_assert(!e->in_body);
	e->in_body = true;
	e->discard = a->discard;
	e->body = (struct net_block){ .len = a->len,
				      .piece = a->piece,
				      .offset = a->offset };
	if (!a->discard)
		e->body.blob = (uint8_t)blob_of(w, host, a->blob);
}

static uint32_t block_bytes(const struct swarm *w)
{
	return w->s->policy.block_bytes < w->s->piece_bytes
		       ? (uint32_t)w->s->policy.block_bytes
		       : w->s->piece_bytes;
}

static void do_verify(struct swarm *w, uint32_t host, const struct kr_action *a)
{
	struct host *h = &w->hosts[host];
	const uint32_t blob = blob_of(w, host, a->blob);
	struct copy *c = &h->copies[blob];
	const uint32_t len = kr_metainfo_piece_len(&w->info[blob], a->piece);
	const uint32_t blocks = (len + block_bytes(w) - 1) / block_bytes(w);
	const bool ok = c->blocks[a->piece] == (1u << blocks) - 1;

	kr_assert(ok || w->s->sc->damage_ppm > 0);
	kr_assert(!kr_bitset_test(&c->have, a->piece));
	if (h->verify_free_ns < w->net->now_ns)
		h->verify_free_ns = w->net->now_ns;
	h->verify_free_ns += len * SIM_S / w->s->sc->verify_rate;
	sim_queue_push(w->s->queue, h->verify_free_ns, EV_VERIFIED, host, blob,
		       a->piece << 1 | ok);
}

/* ---- the tracker -------------------------------------------------------- */

static void ask_tracker(struct swarm *w, uint32_t host, uint32_t blob)
{
	struct copy *c = &w->hosts[host].copies[blob];

	if (c->asked)
		return;
	c->asked = true;
	sim_queue_push(w->s->queue,
		       w->net->now_ns + ANNOUNCE_MS * SIM_MS +
			       sim_tracker_delay_ns(w->s),
		       EV_PEERS, host, blob, 0);
}

static uint32_t announce(struct swarm *w, uint32_t host, uint32_t blob,
			 struct kr_tracker_pick *picks)
{
	const struct copy *c = &w->hosts[host].copies[blob];
	struct kr_tracker_peer peer = {
		.id = id_of(w, host),
		.addr = addr_of(host),
		.role = w->s->hosts[host].origin ? KR_PEER_ORIGIN
						 : KR_PEER_AGENT,
	};
	struct kr_blob_stats st;
	uint32_t count;

	zone_of(w, host, peer.zone);
	kr_node_blob_stats(w->hosts[host].node, c->handle, &st);
	const struct kr_tracker_item item = {
		.digest = w->info[blob].digest,
		.complete = c->done,
		.degree = st.neighbours,
		.want = c->done ? 0 : KR_TRACKER_WANT_MAX,
	};
	w->announces++;
	kr_assert(kr_tracker_announce(w->tracker, w->net->now_ns, &peer, &item,
				      picks, item.want, &count) == KR_OK);
	return count;
}

static void on_peers(struct swarm *w, uint32_t host, uint32_t blob)
{
	struct copy *c = &w->hosts[host].copies[blob];
	struct kr_tracker_pick picks[KR_TRACKER_WANT_MAX];
	struct kr_peer_hint hints[KR_TRACKER_WANT_MAX];
	char zone[KR_NAME_MAX + 1];

	c->asked = false;
	if (!sim_tracker_answers(w->s, w->net->now_ns)) {
		ask_tracker(w, host, blob); /* until it does */
		return;
	}
	const uint32_t count = announce(w, host, blob, picks);
	zone_of(w, host, zone);
	for (uint32_t i = 0; i < count; i++)
		hints[i] = (struct kr_peer_hint){
			.addr = picks[i].addr,
			.id = picks[i].id,
			.role = picks[i].role,
			.complete = picks[i].complete,
			.same_zone = strcmp(picks[i].zone, zone) == 0,
		};
	if (count == 0)
		return;
	kr_node_blob_peers(w->hosts[host].node, w->net->now_ns, c->handle,
			   hints, count);
	drain(w, host);
}

static void on_announce(struct swarm *w, uint32_t host)
{
	const uint64_t every = w->s->sc->announce_ns;

	for (uint32_t b = 0; b < w->blob_count; b++)
		ask_tracker(w, host, b);
	sim_queue_push(w->s->queue,
		       w->net->now_ns + every - every / 10 +
			       sim_draw(w->s, every / 5),
		       EV_ANNOUNCE, host, 0, 0);
}

/* ---- actions ------------------------------------------------------------ */

static void do_done(struct swarm *w, uint32_t host, const struct kr_action *a)
{
	const uint32_t blob = blob_of(w, host, a->blob);
	struct host *h = &w->hosts[host];
	struct copy *c = &h->copies[blob];

	kr_assert(!c->done && kr_bitset_all(&c->have));
	c->done = true;
	ask_tracker(w, host, blob); /* to say so */
	if (w->s->hosts[host].half_ns == SIM_NO)
		w->s->hosts[host].half_ns = w->net->now_ns;
	if (--h->left == 0)
		sim_done(w->s, host);
}

static void do_action(struct swarm *w, uint32_t host, const struct kr_action *a)
{
	struct host *h = &w->hosts[host];
	uint32_t link;
	int end;

	switch (a->type) {
	case KR_ACT_DIAL:
		do_dial(w, host, a);
		break;
	case KR_ACT_SEND:
		link = link_of(w, host, a->conn, &end);
		if (link != 0)
			net_send(w->net, link, end, a->bytes, a->len);
		break;
	case KR_ACT_SERVE:
		do_serve(w, host, a);
		break;
	case KR_ACT_BODY:
		do_body(w, host, a);
		break;
	case KR_ACT_VERIFY:
		do_verify(w, host, a);
		break;
	case KR_ACT_LOOKUP:
		kr_node_blob_absent(h->node, w->net->now_ns, a->lookup);
		break;
	case KR_ACT_DONE:
		do_done(w, host, a);
		break;
	case KR_ACT_PEERS:
		ask_tracker(w, host, blob_of(w, host, a->blob));
		break;
	case KR_ACT_IDLE:    /* blobs are not added by lookups here */
	case KR_ACT_DISPUTE: /* nor do they have several metainfos */
	case KR_ACT_BAD:     /* damage here is the network's */
		break;
	case KR_ACT_CLOSE:
		link = link_of(w, host, a->conn, &end);
		if (link != 0)
			net_close(w->net, link, end);
		break;
	case KR_ACT_TIMER:
		h->timer_ns = a->at_ns;
		if (h->timer_event_ns > a->at_ns) {
			h->timer_event_ns = a->at_ns;
			sim_queue_push(w->s->queue, a->at_ns, EV_TIMER, host, 0,
				       0);
		}
		break;
	}
	sim_trace(w->s, (uint64_t)a->type << 56 ^ (uint64_t)host << 32 ^
				w->net->now_ns ^ (uint64_t)a->piece << 20 ^
				a->len);
}

static void drain(struct swarm *w, uint32_t host)
{
	struct kr_node *n = w->hosts[host].node;
	struct kr_action a;

	while (kr_node_next_action(n, &a))
		do_action(w, host, &a);
}

/* ---- joining ------------------------------------------------------------ */

static struct kr_node *open_node(struct swarm *w, uint32_t host)
{
	struct host *h = &w->hosts[host];
	char zone[KR_NAME_MAX + 1];
	const struct kr_node_opts o = {
		.alloc = &h->memory.alloc,
		.policy = &w->s->policy,
		.id = id_of(w, host),
		.role = w->s->hosts[host].origin ? KR_PEER_ORIGIN
						 : KR_PEER_AGENT,
		.cluster = "bench",
		.zone = zone,
		.listen_port = PORT,
		.seed = kr_rand_u64(&w->s->rand),
	};
	struct kr_node *n;

	zone_of(w, host, zone);
	sim_account_init(&h->memory);
	kr_assert(kr_node_open(&o, &n) == KR_OK);
	w->idle_bytes = h->memory.bytes;
	return n;
}

static void add_blob(struct swarm *w, uint32_t host, uint32_t blob)
{
	struct host *h = &w->hosts[host];
	struct copy *c = &h->copies[blob];
	struct kr_metainfo m;

	/* As it came from the tracker. */
	kr_assert(kr_metainfo_decode(kr_alloc_heap(), w->metainfos[blob],
				     w->metainfo_lens[blob], &m) == KR_OK);
	kr_assert(kr_digest_equal(&m.digest, &w->info[blob].digest));
	kr_bitset_init(
		&c->have,
		sim_get(kr_bitset_words(m.piece_count) * sizeof(uint64_t)),
		m.piece_count);
	c->blocks = sim_get(m.piece_count);
	c->done = w->s->hosts[host].origin;
	if (c->done)
		kr_bitset_set_all(&c->have);
	struct kr_blob_opts o = { .digest = m.digest,
				  .ns = "library/bench",
				  .size_bytes = m.size_bytes,
				  .piece_bytes = m.piece_bytes,
				  .complete = c->done,
				  .rank = 1 };
	memcpy(o.metainfo_id, m.id, KR_SHA256_LEN);
	kr_metainfo_fini(kr_alloc_heap(), &m);
	kr_assert(kr_node_blob_add(h->node, w->net->now_ns, &o, &c->handle) ==
		  KR_OK);
	c->added = true;
	h->left += !c->done;
	drain(w, host);
	c->reader_ns = w->net->now_ns;
	if (w->s->hosts[host].streaming) {
		kr_node_blob_reader(h->node, w->net->now_ns, c->handle, 0, 0);
		drain(w, host);
	}
}

static void start_host(void *ctx, uint32_t host)
{
	struct swarm *w = ctx;
	uint64_t at_ns = w->net->now_ns;

	w->hosts[host].timer_event_ns = UINT64_MAX;
	if (!w->s->hosts[host].origin) /* the metainfos, from the tracker */
		at_ns += sim_tracker_delay_ns(w->s);
	sim_queue_push(w->s->queue, at_ns, EV_JOIN, host, 0, 0);
}

static void join(struct swarm *w, uint32_t host)
{
	w->hosts[host].node = open_node(w, host);
	for (uint32_t b = 0; b < w->blob_count; b++)
		add_blob(w, host, b);
	on_announce(w, host);
}

static void kill_host(void *ctx, uint32_t host)
{
	struct swarm *w = ctx;

	if (w->hosts[host].node != NULL)
		kr_node_close(w->hosts[host].node);
	w->hosts[host].node = NULL;
}

/* ---- what the network does ---------------------------------------------- */

static bool on_accept(void *ctx, uint32_t link)
{
	struct swarm *w = ctx;
	struct net_link *l = &w->net->links[link];
	const uint32_t host = l->end[1].host;
	const struct kr_addr from = addr_of(l->end[0].host);
	struct host *h = &w->hosts[host];
	uint32_t conn;

	if (h->node == NULL)
		return false; /* not started */
	if (kr_node_conn_accepted(h->node, w->net->now_ns, &from, &conn) !=
	    KR_OK)
		return false;
	l->end[1].conn = conn;
	*link_slot(h, conn) = link << 1 | 1;
	drain(w, host);
	return true;
}

static void on_connected(void *ctx, uint32_t link)
{
	struct swarm *w = ctx;
	const struct net_end e = w->net->links[link].end[0];

	kr_node_conn_connected(w->hosts[e.host].node, w->net->now_ns, e.conn);
	drain(w, e.host);
}

static void on_closed(void *ctx, uint32_t link, int end)
{
	struct swarm *w = ctx;
	const struct net_end e = w->net->links[link].end[end];

	if (w->hosts[e.host].node == NULL)
		return;
	kr_node_conn_closed(w->hosts[e.host].node, w->net->now_ns, e.conn,
			    KR_E_RESET);
	drain(w, e.host);
}

static void on_bytes(void *ctx, uint32_t link, int end, const uint8_t *bytes,
		     uint32_t len)
{
	struct swarm *w = ctx;
	const uint32_t gen = w->net->links[link].gen;
	const struct net_end e = w->net->links[link].end[end];
	size_t taken;

	while (len > 0) {
		kr_node_conn_bytes(w->hosts[e.host].node, w->net->now_ns,
				   e.conn, bytes, len, &taken);
		drain(w, e.host);
		if (taken == len || w->net->links[link].gen != gen ||
		    !w->net->links[link].end[end].alive)
			return;
		kr_assert(!w->net->links[link].end[end].in_body);
		bytes += taken;
		len -= (uint32_t)taken;
	}
}

static void on_block(void *ctx, uint32_t link, int end, const uint8_t *head,
		     uint32_t head_len, const struct net_block *b)
{
	struct swarm *w = ctx;
	const uint32_t gen = w->net->links[link].gen;

	on_bytes(ctx, link, end, head, head_len);
	const struct net_link *l = &w->net->links[link];
	if (l->gen != gen || !l->end[end].alive)
		return;
	kr_assert(l->end[end].in_body);
	kr_assert(l->end[end].body.len == b->len);
	kr_assert(l->end[end].body.piece == b->piece);
	kr_assert(l->end[end].body.offset == b->offset);
}

static void on_block_end(void *ctx, uint32_t link, int end,
			 const struct net_block *b)
{
	struct swarm *w = ctx;
	struct net_end *e = &w->net->links[link].end[end];
	const uint32_t host = e->host;

	kr_assert(e->in_body);
	e->in_body = false;
	if (!e->discard) {
		struct copy *c = &w->hosts[host].copies[e->body.blob];
		const unsigned bit = 1u << (b->offset / block_bytes(w));

		kr_assert(e->body.blob == b->blob);
		kr_assert(!kr_bitset_test(&c->have, b->piece));
		if (b->damaged)
			c->blocks[b->piece] &= (uint8_t)~bit;
		else
			c->blocks[b->piece] |= (uint8_t)bit;
	}
	kr_node_body_done(w->hosts[host].node, w->net->now_ns, e->conn);
	drain(w, host);
}

static void on_served(void *ctx, uint32_t link, int end)
{
	struct swarm *w = ctx;
	const struct net_end e = w->net->links[link].end[end];

	kr_node_conn_served(w->hosts[e.host].node, w->net->now_ns, e.conn);
	drain(w, e.host);
}

static const struct net_ops ops = {
	.on_accept = on_accept,
	.on_connected = on_connected,
	.on_closed = on_closed,
	.on_bytes = on_bytes,
	.on_block = on_block,
	.on_block_end = on_block_end,
	.on_served = on_served,
};

/* ---- other events ------------------------------------------------------- */

/* The client reads what is there; the node is told where it waits. */
static void read_on(struct swarm *w, uint32_t host, struct copy *c)
{
	struct sim_host *h = &w->s->hosts[host];
	const uint32_t at = kr_bitset_next_clear(&c->have, c->reader);
	const uint64_t waited = w->net->now_ns - c->reader_ns;

	if (at == c->reader)
		return;
	if (c->reader == 0 && h->first_byte_ns == SIM_NO)
		h->first_byte_ns = w->net->now_ns;
	if (waited > h->lag_ns)
		h->lag_ns = waited;
	c->reader = at;
	c->reader_ns = w->net->now_ns;
	kr_node_blob_reader(w->hosts[host].node, w->net->now_ns, c->handle, 0,
			    at < c->have.bit_count ? at : UINT32_MAX);
	drain(w, host);
}

static void on_verified(struct swarm *w, uint32_t host, uint32_t blob,
			uint32_t piece, bool ok)
{
	struct copy *c = &w->hosts[host].copies[blob];

	kr_assert(!kr_bitset_test(&c->have, piece));
	if (ok)
		kr_bitset_set(&c->have, piece);
	else
		c->blocks[piece] = 0;
	kr_node_piece_verified(w->hosts[host].node, w->net->now_ns, c->handle,
			       piece, ok);
	drain(w, host);
	if (w->s->hosts[host].streaming && ok)
		read_on(w, host, c);
}

static void on_timer(struct swarm *w, uint32_t host, uint64_t at_ns)
{
	struct host *h = &w->hosts[host];

	if (h->timer_event_ns != at_ns)
		return; /* an earlier one was set since */
	h->timer_event_ns = UINT64_MAX;
	if (h->timer_ns > w->net->now_ns) { /* it was put off */
		h->timer_event_ns = h->timer_ns;
		sim_queue_push(w->s->queue, h->timer_ns, EV_TIMER, host, 0, 0);
		return;
	}
	kr_node_timer(h->node, w->net->now_ns);
	drain(w, host);
}

static void on_event(void *ctx, const struct sim_event *ev)
{
	struct swarm *w = ctx;
	struct sim_host *h = &w->s->hosts[ev->a];

	if (h->dead)
		return;
	switch (ev->type) {
	case EV_TIMER:
		on_timer(w, ev->a, ev->at_ns);
		break;
	case EV_JOIN:
		join(w, ev->a);
		break;
	case EV_PEERS:
		on_peers(w, ev->a, ev->b);
		break;
	case EV_VERIFIED:
		on_verified(w, ev->a, ev->b, ev->c >> 1, ev->c & 1);
		break;
	case EV_ANNOUNCE:
		on_announce(w, ev->a);
		break;
	default:
		kr_assert(false);
	}
}

/* ---- figures ------------------------------------------------------------ */

static void add_stats(const struct kr_node_stats *st, struct sim_totals *t)
{
	t->frames += st->frames_out;
	t->control_bytes += st->control_bytes_out;
	for (int r = 0; r < KR_PEER_ROLE_COUNT; r++)
		t->payload_bytes += st->block_bytes_in[r];
	t->wasted_bytes += st->discarded_bytes + st->duplicate_bytes;
	t->cancels += st->cancels_sent;
	t->rejects += st->rejects_sent;
	t->overdue += st->overdue_requests;
	t->bad_pieces += st->pieces_failed;
	for (int r = 0; r < KR_BYE_REASON_COUNT; r++)
		t->closes[r] += st->closes[r];
}

static void sample(void *ctx)
{
	struct swarm *w = ctx;
	const uint64_t pieces = w->info[0].piece_count;
	uint64_t bytes = 0, blobs = 0;

	for (uint32_t i = w->s->origin_count; i < w->s->host_count; i++) {
		const struct host *h = &w->hosts[i];
		struct kr_blob_stats bs;

		if (h->node == NULL)
			continue;
		bytes += h->memory.bytes - w->idle_bytes;
		for (uint32_t b = 0; b < w->blob_count; b++) {
			kr_node_blob_stats(h->node, h->copies[b].handle, &bs);
			w->neighbours += bs.neighbours;
			blobs++;
		}
	}
	if (w->neighbours > 0)
		w->neighbour_bytes = bytes / w->neighbours;
	/* A blob: hints, what is known of its pieces.  A neighbour: half of a
	 * connection with its requests, two bits a piece. */
	kr_assert(bytes <
		  blobs * (BLOB_BYTES_MAX + 24 * pieces) +
			  w->neighbours * (NEIGHBOUR_BYTES_MAX + pieces / 2));
}

static void totals(void *ctx, struct sim_totals *t)
{
	const struct swarm *w = ctx;

	t->announces = w->announces;
	t->node_bytes_idle = w->idle_bytes;
	t->neighbours = w->neighbours;
	t->neighbour_bytes = w->neighbour_bytes;
	for (uint32_t i = 0; i < w->s->host_count; i++) {
		const struct host *h = &w->hosts[i];
		struct kr_node_stats st;

		if (h->node == NULL)
			continue;
		kr_node_stats(h->node, &st);
		add_stats(&st, t);
		t->node_bytes += h->memory.peak_bytes;
		if (h->memory.peak_bytes > t->node_bytes_peak)
			t->node_bytes_peak = h->memory.peak_bytes;
		if (w->s->hosts[i].origin)
			t->origin_bytes += w->net->hosts[i].sent_bytes;
	}
}

const struct sim_model sim_swarm_model = {
	.name = "swarm",
	.open = open_swarm,
	.close = close_swarm,
	.start = start_host,
	.kill = kill_host,
	.happen = on_event,
	.sample = sample,
	.totals = totals,
};
