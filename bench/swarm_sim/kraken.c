/*
 * A model of Kraken's policies as the last section of SWARM.md describes them,
 * on the same network, for comparison only.  It is a model: no more of Kraken
 * is here than what decides who sends which piece to whom, and when.
 *
 *	- a connection belongs to one blob; at most CONNS_MAX per blob and host
 *	- an announce for one blob at a time every 3 s, and at once for a new
 *	  one; the handout is 50 hosts at random and the origins: complete
 *	  hosts first, then origins, then the others
 *	- a refused or closed connection puts the peer on a list for 30 s
 *	- PIPELINE pieces asked per connection, ORIGIN_PIPELINE of an origin
 *	- rarest first among the neighbours; the lowest index wins ties
 *	- with ENDGAME or fewer pieces missing they are asked of everybody who
 *	  has room; nothing is canceled
 *	- a piece not there after 16 s is asked again, looked for every 8 s
 *	- uploads share the card evenly; no word about load
 */
#include <string.h>

#include "bench/swarm_sim/mem.h"
#include "bench/swarm_sim/sim.h"
#include "core/bitset.h"
#include "peerwire/metainfo.h"

enum {
	EV_ANNOUNCE = 10, /* host */
	EV_HANDOUT,       /* host, blob */
	EV_VERIFIED,      /* host, blob, piece */
	EV_RETRY,         /* host */
};

enum {
	BLOBS_MAX = 8,
	CONNS_MAX = 10,
	HANDOUT_MAX = 50,
	PIPELINE = 3,
	ORIGIN_PIPELINE = 5,
	ENDGAME = 3,
	ASKED_MAX = 8, /* at least both pipelines */
	UPLOADS_MAX = 8,
	CHUNK_BYTES = 512 * 1024, /* connections take turns after that much */
	BLACK_MAX = 64,
	HEAD_LEN = 16,
};
#define ANNOUNCE_NS (3 * SIM_S)
#define BLACK_NS    (30 * SIM_S)
#define TIMEOUT_NS  (16 * SIM_S)
#define RETRY_NS    (8 * SIM_S)

enum msg_type { MSG_HANDSHAKE, MSG_HAVE, MSG_COMPLETE, MSG_REQUEST };

struct asked {
	uint32_t piece;
	uint64_t at_ns;
};

struct conn {
	uint32_t link, host, blob, peer;
	int end;
	bool used, open; /* open: both handshakes are through */
	struct kr_bitset has;
	struct asked asked[ASKED_MAX];
	uint32_t asked_count;
	uint32_t uploads[UPLOADS_MAX];    /* pieces, oldest first */
	uint32_t upload_count, upload_at; /* bytes sent of the first */
	bool serving;
};

struct copy {
	struct kr_bitset have, verifying;
	uint16_t *avail, *askers; /* per piece */
	uint32_t conns[CONNS_MAX];
	uint32_t conn_count, left;
	bool complete, listed;
};

struct black {
	uint32_t peer, blob;
	uint64_t until_ns;
};

struct khost {
	struct copy copies[BLOBS_MAX];
	uint64_t verify_free_ns;
	struct black black[BLACK_MAX];
	uint32_t black_next, announce_next, left;
	bool started;
};

struct kraken {
	struct sim *s;
	struct net *net;
	struct khost *hosts;
	struct conn *conns; /* 0 is none */
	uint32_t conn_count, conn_cap;
	uint32_t *listed[BLOBS_MAX]; /* hosts the tracker knows */
	uint32_t listed_count[BLOBS_MAX];
	uint32_t blob_count, pieces;
	uint64_t frames, payload, wasted, announces, rejects;
};

static uint32_t piece_len(const struct kraken *k, uint32_t piece)
{
	const uint64_t left =
		k->s->layer_bytes - (uint64_t)piece * k->s->piece_bytes;

	return left < k->s->piece_bytes ? (uint32_t)left : k->s->piece_bytes;
}

static void bitset_open(struct kr_bitset *b, uint32_t bits)
{
	kr_bitset_init(b, sim_get(kr_bitset_words(bits) * sizeof(uint64_t)),
		       bits);
}

static void copy_open(struct kraken *k, uint32_t host, struct copy *c)
{
	bitset_open(&c->have, k->pieces);
	bitset_open(&c->verifying, k->pieces);
	c->avail = sim_get(k->pieces * sizeof(*c->avail));
	c->askers = sim_get(k->pieces * sizeof(*c->askers));
	c->complete = k->s->hosts[host].origin;
	c->left = c->complete ? 0 : k->pieces;
	if (c->complete)
		kr_bitset_set_all(&c->have);
}

static const struct net_ops ops;

static void *open_kraken(struct sim *s)
{
	struct kraken *k = sim_get(sizeof(*k));

	k->s = s;
	k->net = &s->net;
	k->net->ops = &ops;
	k->net->ctx = k;
	k->blob_count = (uint32_t)s->sc->layers;
	k->pieces = kr_metainfo_piece_count_for(s->layer_bytes, s->piece_bytes);
	k->conn_count = 1;
	k->hosts = sim_get(s->host_count * sizeof(*k->hosts));
	for (uint32_t b = 0; b < k->blob_count; b++)
		k->listed[b] = sim_get(s->host_count * sizeof(uint32_t));
	for (uint32_t i = 0; i < s->host_count; i++)
		for (uint32_t b = 0; b < k->blob_count; b++)
			copy_open(k, i, &k->hosts[i].copies[b]);
	return k;
}

static void close_kraken(void *ctx)
{
	struct kraken *k = ctx;

	for (uint32_t i = 0; i < k->s->host_count; i++) {
		for (uint32_t b = 0; b < k->blob_count; b++) {
			struct copy *c = &k->hosts[i].copies[b];

			sim_put(c->have.words);
			sim_put(c->verifying.words);
			sim_put(c->avail);
			sim_put(c->askers);
		}
	}
	for (uint32_t i = 1; i < k->conn_count; i++)
		sim_put(k->conns[i].has.words);
	for (uint32_t b = 0; b < k->blob_count; b++)
		sim_put(k->listed[b]);
	sim_put(k->conns);
	sim_put(k->hosts);
	sim_put(k);
}

/* ---- connections -------------------------------------------------------- */

static uint32_t conn_add(struct kraken *k, uint32_t host, uint32_t peer,
			 uint32_t blob)
{
	struct copy *c = &k->hosts[host].copies[blob];
	const uint32_t i = k->conn_count;

	k->conns = sim_grow(k->conns, &k->conn_cap, i + 1, sizeof(*k->conns));
	k->conn_count++;
	k->conns[i] = (struct conn){
		.host = host, .peer = peer, .blob = blob, .used = true
	};
	bitset_open(&k->conns[i].has, k->pieces);
	c->conns[c->conn_count++] = i;
	return i;
}

static bool is_black(const struct kraken *k, uint32_t host, uint32_t peer,
		     uint32_t blob)
{
	const struct khost *h = &k->hosts[host];

	for (uint32_t i = 0; i < BLACK_MAX; i++)
		if (h->black[i].until_ns > k->net->now_ns &&
		    h->black[i].peer == peer && h->black[i].blob == blob)
			return true;
	return false;
}

static bool is_connected(const struct kraken *k, uint32_t host, uint32_t peer,
			 uint32_t blob)
{
	const struct copy *c = &k->hosts[host].copies[blob];

	for (uint32_t i = 0; i < c->conn_count; i++)
		if (k->conns[c->conns[i]].peer == peer)
			return true;
	return false;
}

static void conn_forget(struct kraken *k, uint32_t i)
{
	struct conn *n = &k->conns[i];
	struct khost *h = &k->hosts[n->host];
	struct copy *c = &h->copies[n->blob];

	if (!n->used)
		return;
	n->used = false;
	for (uint32_t a = 0; a < n->asked_count; a++)
		c->askers[n->asked[a].piece]--;
	for (uint32_t p = kr_bitset_next_set(&n->has, 0); p < k->pieces;
	     p = kr_bitset_next_set(&n->has, p + 1))
		c->avail[p]--;
	for (uint32_t a = 0; a < c->conn_count; a++)
		if (c->conns[a] == i)
			c->conns[a--] = c->conns[--c->conn_count];
	h->black[h->black_next++ % BLACK_MAX] =
		(struct black){ n->peer, n->blob, k->net->now_ns + BLACK_NS };
	sim_put(n->has.words);
	n->has.words = NULL;
}

static void hang_up(struct kraken *k, uint32_t i)
{
	const struct conn n = k->conns[i];

	conn_forget(k, i);
	net_close(k->net, n.link, n.end);
}

static void say(struct kraken *k, const struct conn *n, enum msg_type type,
		uint32_t arg, const uint8_t *body, uint32_t len)
{
	uint8_t buf[HEAD_LEN + 8192] = { (uint8_t)type };

	kr_assert(len <= 8192);
	memcpy(buf + 4, &arg, sizeof(arg));
	memcpy(buf + 8, &n->blob, sizeof(n->blob));
	if (len > 0)
		memcpy(buf + HEAD_LEN, body, len);
	k->frames++;
	net_send(k->net, n->link, n->end, buf, HEAD_LEN + len);
}

static void say_handshake(struct kraken *k, const struct conn *n)
{
	const struct copy *c = &k->hosts[n->host].copies[n->blob];

	say(k, n, MSG_HANDSHAKE, c->complete, (const uint8_t *)c->have.words,
	    (uint32_t)(kr_bitset_words(k->pieces) * sizeof(uint64_t)));
}

/* ---- asking ------------------------------------------------------------- */

static bool is_asked(const struct conn *n, uint32_t piece)
{
	for (uint32_t i = 0; i < n->asked_count; i++)
		if (n->asked[i].piece == piece)
			return true;
	return false;
}

static bool may_ask(const struct copy *c, const struct conn *n, uint32_t piece)
{
	if (kr_bitset_test(&c->verifying, piece))
		return false;
	if (c->askers[piece] == 0)
		return true;
	return c->left <= ENDGAME && !is_asked(n, piece);
}

/* The rarest piece that @n has and may be asked for; pieces: none. */
static uint32_t choose(struct kraken *k, const struct copy *c,
		       const struct conn *n)
{
	uint32_t best = k->pieces, ties = 0;
	uint32_t p = kr_bitset_next_andnot(&n->has, &c->have, 0);

	for (; p < k->pieces;
	     p = kr_bitset_next_andnot(&n->has, &c->have, p + 1)) {
		if (!may_ask(c, n, p))
			continue;
		if (best < k->pieces && c->avail[p] > c->avail[best])
			continue;
		if (best == k->pieces || c->avail[p] < c->avail[best]) {
			best = p;
			ties = 1;
		} else if (k->s->sc->tie_random &&
			   sim_draw(k->s, ++ties) == 0) {
			best = p;
		}
	}
	return best;
}

static void ask(struct kraken *k, struct conn *n, struct copy *c,
		uint32_t piece)
{
	n->asked[n->asked_count++] = (struct asked){ piece, k->net->now_ns };
	c->askers[piece]++;
	say(k, n, MSG_REQUEST, piece, NULL, 0);
}

static void ask_more(struct kraken *k, uint32_t i)
{
	struct conn *n = &k->conns[i];
	struct copy *c = &k->hosts[n->host].copies[n->blob];
	const uint32_t limit =
		k->s->hosts[n->peer].origin ? ORIGIN_PIPELINE : PIPELINE;

	while (n->open && !c->complete && n->asked_count < limit) {
		const uint32_t piece = choose(k, c, n);

		if (piece == k->pieces)
			return;
		ask(k, n, c, piece);
	}
}

static void forget_asked(struct copy *c, struct conn *n, uint32_t a)
{
	c->askers[n->asked[a].piece]--;
	n->asked[a] = n->asked[--n->asked_count];
}

/* Pieces that did not come are free to be asked of others. */
static void on_retry(struct kraken *k, uint32_t host)
{
	for (uint32_t b = 0; b < k->blob_count; b++) {
		struct copy *c = &k->hosts[host].copies[b];

		for (uint32_t i = 0; i < c->conn_count; i++) {
			struct conn *n = &k->conns[c->conns[i]];

			for (uint32_t a = 0; a < n->asked_count; a++)
				if (k->net->now_ns - n->asked[a].at_ns >=
				    TIMEOUT_NS)
					forget_asked(c, n, a--);
		}
		for (uint32_t i = 0; i < c->conn_count; i++)
			ask_more(k, c->conns[i]);
	}
	sim_queue_push(k->s->queue, k->net->now_ns + RETRY_NS, EV_RETRY, host,
		       0, 0);
}

/* ---- serving ------------------------------------------------------------ */

static void serve(struct kraken *k, struct conn *n)
{
	uint8_t head[HEAD_LEN] = { 0xff };
	struct net_block b;

	if (n->serving || n->upload_count == 0)
		return;
	b = (struct net_block){ .piece = n->uploads[0],
				.offset = n->upload_at,
				.blob = (uint8_t)n->blob };
	b.len = piece_len(k, b.piece) - b.offset;
	if (b.len > CHUNK_BYTES)
		b.len = CHUNK_BYTES;
	n->serving = true;
	n->upload_at += b.len;
	if (n->upload_at == piece_len(k, b.piece)) {
		n->upload_at = 0;
		n->upload_count--;
		memmove(n->uploads, n->uploads + 1,
			n->upload_count * sizeof(n->uploads[0]));
	}
	k->frames++;
	net_send_block(k->net, n->link, n->end, head, HEAD_LEN, &b);
}

static void on_served(void *ctx, uint32_t link, int end)
{
	struct kraken *k = ctx;
	struct conn *n = &k->conns[k->net->links[link].end[end].conn];

	n->serving = false;
	serve(k, n);
}

/* ---- pieces ------------------------------------------------------------- */

static void on_block(void *ctx, uint32_t link, int end, const uint8_t *head,
		     uint32_t head_len, const struct net_block *b)
{
	(void)ctx, (void)link, (void)end, (void)head, (void)head_len, (void)b;
}

static void on_block_end(void *ctx, uint32_t link, int end,
			 const struct net_block *b)
{
	struct kraken *k = ctx;
	const uint32_t i = k->net->links[link].end[end].conn;
	struct conn *n = &k->conns[i];
	struct khost *h = &k->hosts[n->host];
	struct copy *c = &h->copies[n->blob];

	k->payload += b->len;
	if (b->offset + b->len < piece_len(k, b->piece))
		return;
	for (uint32_t a = 0; a < n->asked_count; a++)
		if (n->asked[a].piece == b->piece)
			forget_asked(c, n, a--);
	if (kr_bitset_test(&c->have, b->piece) ||
	    kr_bitset_test(&c->verifying, b->piece)) {
		k->wasted += piece_len(k, b->piece);
	} else {
		kr_bitset_set(&c->verifying, b->piece);
		if (h->verify_free_ns < k->net->now_ns)
			h->verify_free_ns = k->net->now_ns;
		h->verify_free_ns +=
			piece_len(k, b->piece) * SIM_S / k->s->sc->verify_rate;
		sim_queue_push(k->s->queue, h->verify_free_ns, EV_VERIFIED,
			       n->host, n->blob, b->piece);
	}
	ask_more(k, i);
}

static void become_complete(struct kraken *k, uint32_t host, uint32_t blob)
{
	struct copy *c = &k->hosts[host].copies[blob];

	c->complete = true;
	if (k->s->hosts[host].half_ns == SIM_NO)
		k->s->hosts[host].half_ns = k->net->now_ns;
	for (uint32_t i = 0; i < c->conn_count; i++) {
		struct conn *n = &k->conns[c->conns[i]];

		if (!n->open)
			continue;
		say(k, n, MSG_COMPLETE, 0, NULL, 0);
		if (kr_bitset_all(&n->has))
			hang_up(k, c->conns[i--]);
	}
	if (--k->hosts[host].left == 0)
		sim_done(k->s, host);
}

static void on_verified(struct kraken *k, uint32_t host, uint32_t blob,
			uint32_t piece)
{
	struct copy *c = &k->hosts[host].copies[blob];

	kr_bitset_clear(&c->verifying, piece);
	kr_bitset_set(&c->have, piece);
	c->left--;
	sim_trace(k->s, (uint64_t)host << 32 ^ piece ^ k->net->now_ns << 1);
	for (uint32_t i = 0; i < c->conn_count; i++)
		if (k->conns[c->conns[i]].open)
			say(k, &k->conns[c->conns[i]], MSG_HAVE, piece, NULL,
			    0);
	if (c->left == 0)
		become_complete(k, host, blob);
}

/* ---- messages ----------------------------------------------------------- */

static void gain(struct copy *c, struct conn *n, uint32_t piece)
{
	if (kr_bitset_test(&n->has, piece))
		return;
	kr_bitset_set(&n->has, piece);
	c->avail[piece]++;
}

/* The dialler's: may it come in?  Refused: the connection is closed. */
static void on_first_handshake(struct kraken *k, uint32_t link, uint32_t host,
			       uint32_t peer, uint32_t blob)
{
	struct copy *c = &k->hosts[host].copies[blob];
	struct net_end *e = &k->net->links[link].end[1];

	if (c->conn_count == CONNS_MAX || is_black(k, host, peer, blob) ||
	    is_connected(k, host, peer, blob)) {
		k->rejects++;
		net_close(k->net, link, 1);
		return;
	}
	e->conn = conn_add(k, host, peer, blob);
	k->conns[e->conn].link = link;
	k->conns[e->conn].end = 1;
}

static void on_handshake(struct kraken *k, uint32_t link, int end,
			 const uint8_t *body)
{
	struct net_end *e = &k->net->links[link].end[end];
	struct kr_bitset has;
	uint64_t words[1024];
	uint32_t blob;

	memcpy(&blob, body + 8, sizeof(blob));
	if (end == 1)
		on_first_handshake(k, link, e->host,
				   k->net->links[link].end[0].host, blob);
	if (!e->alive)
		return;
	struct conn *n = &k->conns[e->conn];
	struct copy *c = &k->hosts[n->host].copies[n->blob];
	if (end == 1)
		say_handshake(k, n);
	n->open = true;
	memcpy(words, body + HEAD_LEN,
	       kr_bitset_words(k->pieces) * sizeof(uint64_t));
	kr_bitset_init(&has, sim_get(sizeof(words)), k->pieces);
	memcpy(has.words, words, kr_bitset_words(k->pieces) * sizeof(uint64_t));
	for (uint32_t p = kr_bitset_next_set(&has, 0); p < k->pieces;
	     p = kr_bitset_next_set(&has, p + 1))
		gain(c, n, p);
	sim_put(has.words);
	ask_more(k, e->conn);
}

static void on_request(struct kraken *k, struct conn *n, uint32_t piece)
{
	if (n->upload_count < UPLOADS_MAX)
		n->uploads[n->upload_count++] = piece;
	serve(k, n);
}

static void on_complete(struct kraken *k, uint32_t i)
{
	struct conn *n = &k->conns[i];
	struct copy *c = &k->hosts[n->host].copies[n->blob];

	for (uint32_t p = 0; p < k->pieces; p++)
		gain(c, n, p);
	if (c->complete)
		hang_up(k, i);
	else
		ask_more(k, i);
}

static void on_bytes(void *ctx, uint32_t link, int end, const uint8_t *bytes,
		     uint32_t len)
{
	struct kraken *k = ctx;
	const uint32_t i = k->net->links[link].end[end].conn;
	uint32_t arg;

	(void)len;
	memcpy(&arg, bytes + 4, sizeof(arg));
	switch ((enum msg_type)bytes[0]) {
	case MSG_HANDSHAKE:
		on_handshake(k, link, end, bytes);
		break;
	case MSG_HAVE:
		gain(&k->hosts[k->conns[i].host].copies[k->conns[i].blob],
		     &k->conns[i], arg);
		ask_more(k, i);
		break;
	case MSG_COMPLETE:
		on_complete(k, i);
		break;
	case MSG_REQUEST:
		on_request(k, &k->conns[i], arg);
		break;
	}
}

static bool on_accept(void *ctx, uint32_t link)
{
	const struct kraken *k = ctx;

	return k->hosts[k->net->links[link].end[1].host].started;
}

static void on_connected(void *ctx, uint32_t link)
{
	struct kraken *k = ctx;

	say_handshake(k, &k->conns[k->net->links[link].end[0].conn]);
}

static void on_closed(void *ctx, uint32_t link, int end)
{
	struct kraken *k = ctx;
	const uint32_t i = k->net->links[link].end[end].conn;

	if (i == 0)
		return; /* refused before its handshake */
	const struct conn n = k->conns[i];
	conn_forget(k, i);
	if (k->s->hosts[n.host].dead)
		return;
	/* What it was asked for may be asked of others. */
	struct copy *c = &k->hosts[n.host].copies[n.blob];
	for (uint32_t a = 0; a < c->conn_count; a++)
		ask_more(k, c->conns[a]);
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

/* ---- the tracker -------------------------------------------------------- */

static void announce(struct kraken *k, uint32_t host, uint32_t blob)
{
	k->announces++;
	sim_queue_push(k->s->queue, k->net->now_ns + sim_tracker_delay_ns(k->s),
		       EV_HANDOUT, host, blob, 0);
}

/* The next of its blobs that is not complete. */
static void on_announce(struct kraken *k, uint32_t host)
{
	struct khost *h = &k->hosts[host];

	for (uint32_t i = 0; i < k->blob_count; i++) {
		const uint32_t b = h->announce_next++ % k->blob_count;

		if (h->copies[b].complete)
			continue;
		announce(k, host, b);
		break;
	}
	if (h->left > 0)
		sim_queue_push(k->s->queue, k->net->now_ns + ANNOUNCE_NS,
			       EV_ANNOUNCE, host, 0, 0);
}

static void try_peer(struct kraken *k, uint32_t host, uint32_t blob,
		     uint32_t peer)
{
	const struct copy *c = &k->hosts[host].copies[blob];

	if (c->conn_count == CONNS_MAX || peer == host ||
	    is_black(k, host, peer, blob) || is_connected(k, host, peer, blob))
		return;
	const uint32_t i = conn_add(k, host, peer, blob);
	k->conns[i].link = net_dial(k->net, host, peer, i);
	k->conns[i].end = 0;
}

static uint32_t draw_handout(struct kraken *k, uint32_t blob, uint32_t *out)
{
	uint32_t *all = k->listed[blob];
	const uint32_t total = k->listed_count[blob];
	uint32_t count = 0;

	for (; count < HANDOUT_MAX && count < total; count++) {
		const uint32_t j =
			count + (uint32_t)sim_draw(k->s, total - count);
		const uint32_t host = all[j];

		all[j] = all[count];
		all[count] = host;
		out[count] = host;
	}
	return count;
}

static void on_handout(struct kraken *k, uint32_t host, uint32_t blob)
{
	struct copy *c = &k->hosts[host].copies[blob];
	uint32_t picks[HANDOUT_MAX];

	if (!sim_tracker_answers(k->s, k->net->now_ns) || c->complete)
		return;
	const uint32_t count = draw_handout(k, blob, picks);
	if (!c->listed)
		k->listed[blob][k->listed_count[blob]++] = host;
	c->listed = true;
	for (uint32_t i = 0; i < count; i++)
		if (k->hosts[picks[i]].copies[blob].complete)
			try_peer(k, host, blob, picks[i]);
	const uint32_t first = (uint32_t)sim_draw(k->s, k->s->origin_count);
	for (uint32_t i = 0; i < k->s->origin_count; i++)
		try_peer(k, host, blob, (first + i) % k->s->origin_count);
	for (uint32_t i = 0; i < count; i++)
		if (!k->hosts[picks[i]].copies[blob].complete)
			try_peer(k, host, blob, picks[i]);
}

/* ---- the rest ----------------------------------------------------------- */

static void start_host(void *ctx, uint32_t host)
{
	struct kraken *k = ctx;

	k->hosts[host].started = true;
	if (k->s->hosts[host].origin)
		return;
	k->hosts[host].left = k->blob_count;
	for (uint32_t b = 0; b < k->blob_count; b++)
		announce(k, host, b);
	sim_queue_push(k->s->queue, k->net->now_ns + ANNOUNCE_NS, EV_ANNOUNCE,
		       host, 0, 0);
	sim_queue_push(k->s->queue, k->net->now_ns + RETRY_NS, EV_RETRY, host,
		       0, 0);
}

static void kill_host(void *ctx, uint32_t host)
{
	struct kraken *k = ctx;

	for (uint32_t b = 0; b < k->blob_count; b++) {
		struct copy *c = &k->hosts[host].copies[b];

		while (c->conn_count > 0)
			conn_forget(k, c->conns[0]);
	}
}

static void on_event(void *ctx, const struct sim_event *ev)
{
	struct kraken *k = ctx;

	if (k->s->hosts[ev->a].dead)
		return;
	switch (ev->type) {
	case EV_ANNOUNCE:
		on_announce(k, ev->a);
		break;
	case EV_HANDOUT:
		on_handout(k, ev->a, ev->b);
		break;
	case EV_VERIFIED:
		on_verified(k, ev->a, ev->b, ev->c);
		break;
	case EV_RETRY:
		on_retry(k, ev->a);
		break;
	default:
		kr_assert(false);
	}
}

static void sample(void *ctx)
{
	(void)ctx; /* a model's memory says nothing */
}

static void totals(void *ctx, struct sim_totals *t)
{
	const struct kraken *k = ctx;

	t->frames = k->frames;
	t->payload_bytes = k->payload;
	t->wasted_bytes = k->wasted;
	t->announces = k->announces;
	t->rejects = k->rejects;
	for (uint32_t i = 0; i < k->s->host_count; i++) {
		t->control_bytes += k->net->hosts[i].sent_control;
		if (k->s->hosts[i].origin)
			t->origin_bytes += k->net->hosts[i].sent_bytes;
	}
}

const struct sim_model sim_kraken_model = {
	.name = "kraken",
	.open = open_kraken,
	.close = close_kraken,
	.start = start_host,
	.kill = kill_host,
	.happen = on_event,
	.sample = sample,
	.totals = totals,
};
