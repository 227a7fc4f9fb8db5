#undef NDEBUG /* a simulator without assertions tests nothing */
#include "test/support/swarm_world.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "peerwire/frame.h"
#include "peerwire/metainfo.h"

enum event_type {
	EV_TIMER,    /* host */
	EV_DELIVER,  /* link, to: the next segment arrives */
	EV_DIALLED,  /* link: the other host hears of it */
	EV_SERVED,   /* link, to = the server's end */
	EV_VERIFIED, /* host, blob, piece, ok */
	EV_LOOKUP,   /* host, blob, lookup */
	EV_PEERS,    /* host, blob: the tracker answers */
	EV_CLOSED,   /* link, to */
	EV_BACK,     /* host comes back */
	EV_IDLE,     /* host, blob: nobody uses what a lookup added */
};

struct world_event {
	uint64_t at_ns, seq;
	enum event_type type;
	uint32_t host, link, to, gen;
	uint32_t blob, piece, lookup, handle;
	bool ok;
};

/* What travels: bytes, a block, or the end. */
struct segment {
	struct segment *next;
	uint64_t at_ns;
	bool is_block, is_end, damaged;
	uint32_t blob, piece, offset, len, used;
	uint8_t bytes[];
};

struct direction { /* to end 0 or 1 */
	struct segment *head, **tail;
	uint64_t last_ns; /* arrival of the last one */
	bool scheduled;
};

struct end {
	uint32_t host, conn;
	bool alive;
	bool in_body, discard;
	uint32_t blob, piece, offset, len; /* of the body */
	struct direction in;
};

struct world_link {
	bool used, blackhole;
	uint32_t gen;
	uint64_t latency_ns;
	struct end end[2]; /* 0 dialled */
};

static uint32_t draw(struct world *w, uint32_t below)
{
	return kr_rand_below(&w->rand, below);
}

static bool strikes(struct world *w, uint32_t ppm)
{
	if (ppm == 0 || draw(w, 1000000) >= ppm)
		return false;
	w->faults++;
	return true;
}

static void trace(struct world *w, uint64_t v)
{
	w->trace_hash = (w->trace_hash ^ v) * UINT64_C(0x100000001b3);
	w->trace_hash ^= w->trace_hash >> 29;
}

/* ---- the queue of events ------------------------------------------------ */

static bool earlier(const struct world_event *a, const struct world_event *b)
{
	return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->seq < b->seq;
}

static void push_event(struct world *w, struct world_event ev)
{
	uint32_t i = w->heap_count++;

	if (w->heap_count > w->heap_cap) {
		w->heap_cap = w->heap_cap ? 2 * w->heap_cap : 256;
		w->heap = realloc(w->heap, w->heap_cap * sizeof(*w->heap));
		assert(w->heap != NULL);
	}
	if (ev.at_ns < w->now_ns)
		ev.at_ns = w->now_ns;
	ev.seq = w->seq++;
	while (i > 0 && earlier(&ev, &w->heap[(i - 1) / 2])) {
		w->heap[i] = w->heap[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	w->heap[i] = ev;
}

static struct world_event pop_event(struct world *w)
{
	const struct world_event first = w->heap[0];
	const struct world_event last = w->heap[--w->heap_count];
	uint32_t i = 0;

	for (;;) {
		uint32_t child = 2 * i + 1;

		if (child >= w->heap_count)
			break;
		if (child + 1 < w->heap_count &&
		    earlier(&w->heap[child + 1], &w->heap[child]))
			child++;
		if (!earlier(&w->heap[child], &last))
			break;
		w->heap[i] = w->heap[child];
		i = child;
	}
	if (w->heap_count > 0)
		w->heap[i] = last;
	return first;
}

/* ---- hosts and blobs ---------------------------------------------------- */

void world_init(struct world *w, uint64_t seed)
{
	memset(w, 0, sizeof(*w));
	w->seed = seed;
	kr_rand_init(&w->rand, seed);
	kr_policy_defaults(&w->policy);
	w->links = calloc(WORLD_LINKS_MAX, sizeof(*w->links));
	assert(w->links != NULL);
	w->latency_min_ns = WORLD_MS / 4;
	w->latency_max_ns = WORLD_MS;
	w->now_ns = WORLD_S;
}

static struct kr_addr addr_of(uint32_t host)
{
	struct kr_addr a = { .port = 7000 };

	a.ip[10] = a.ip[11] = 0xff;
	a.ip[12] = 10;
	a.ip[15] = (uint8_t)(host + 1);
	return a;
}

static void open_node(struct world *w, uint32_t host)
{
	struct world_host *h = &w->hosts[host];
	struct kr_node_opts o = {
		.alloc = kr_alloc_heap(),
		.policy = &w->policy,
		.role = h->role,
		.cluster = "test",
		.zone = "",
		.listen_port = 7000,
		.seed = kr_rand_u64(&w->rand),
	};

	for (int i = 0; i < KR_PEER_ID_LEN; i++)
		o.id.bytes[i] =
			(uint8_t)((host * 37 + (uint32_t)i * 11) ^ 0x5a);
	o.id.bytes[1] = (uint8_t)host;
	assert(kr_node_open(&o, &h->node) == KR_OK);
	h->up = true;
	h->timer_ns = UINT64_MAX;
}

uint32_t world_host_add(struct world *w, enum kr_peer_role role,
			uint64_t up_bytes_per_s, uint64_t down_bytes_per_s)
{
	assert(w->host_count < WORLD_HOSTS_MAX);
	struct world_host *h = &w->hosts[w->host_count];

	h->role = role;
	h->up_bytes_per_s = up_bytes_per_s;
	h->down_bytes_per_s = down_bytes_per_s;
	open_node(w, w->host_count);
	return w->host_count++;
}

uint32_t world_blob_add(struct world *w, uint64_t size_bytes,
			uint32_t piece_bytes)
{
	assert(w->blob_count < WORLD_BLOBS_MAX);
	struct world_blob *b = &w->blobs[w->blob_count];

	b->size_bytes = size_bytes;
	b->piece_bytes = piece_bytes;
	b->piece_count = kr_metainfo_piece_count_for(size_bytes, piece_bytes);
	b->digest.alg = KR_SHA256;
	for (uint32_t i = 0; i < KR_SHA256_LEN; i++) {
		b->digest.bytes[i] = (uint8_t)kr_rand_u64(&w->rand);
		b->metainfo_id[i] = (uint8_t)kr_rand_u64(&w->rand);
	}
	return w->blob_count++;
}

static uint32_t piece_len(const struct world_blob *b, uint32_t piece)
{
	const uint64_t left = b->size_bytes - (uint64_t)piece * b->piece_bytes;

	return left < b->piece_bytes ? (uint32_t)left : b->piece_bytes;
}

static uint32_t block_len(const struct world *w, const struct world_blob *b)
{
	return w->policy.block_bytes < b->piece_bytes
		       ? (uint32_t)w->policy.block_bytes
		       : b->piece_bytes;
}

static uint32_t blocks_per_piece(const struct world *w,
				 const struct world_blob *b)
{
	return b->piece_bytes / block_len(w, b);
}

static bool has_piece(const struct world_copy *c, uint32_t piece)
{
	return c->have != NULL && (c->have[piece / 64] >> (piece % 64) & 1);
}

static struct world_copy *copy_of(struct world *w, uint32_t host, uint32_t blob)
{
	struct world_copy *c = &w->hosts[host].copies[blob];
	const struct world_blob *b = &w->blobs[blob];

	if (c->have == NULL) {
		c->have = calloc(b->piece_count / 64 + 1, sizeof(uint64_t));
		c->blocks = calloc(b->piece_count, blocks_per_piece(w, b));
		assert(c->have != NULL && c->blocks != NULL);
	}
	return c;
}

static uint32_t blob_of_handle(const struct world *w, uint32_t host,
			       uint32_t handle)
{
	const struct world_host *h = &w->hosts[host];

	for (uint32_t i = 0; i < w->blob_count; i++)
		if (h->copies[i].added && h->copies[i].handle == handle)
			return i;
	return UINT32_MAX;
}

static void drain(struct world *w, uint32_t host);

static enum kr_err add_to_node(struct world *w, uint32_t host, uint32_t blob,
			       uint32_t lookup)
{
	struct world_copy *c = copy_of(w, host, blob);
	const struct world_blob *b = &w->blobs[blob];
	struct kr_blob_opts o = {
		.digest = b->digest,
		.ns = "library/test",
		.size_bytes = b->size_bytes,
		.piece_bytes = b->piece_bytes,
		.complete = c->done,
		.have_words = c->have,
		.lookup = lookup,
		.rank = (uint8_t)blob,
	};
	enum kr_err err;

	memcpy(o.metainfo_id, b->metainfo_id, KR_SHA256_LEN);
	err = kr_node_blob_add(w->hosts[host].node, w->now_ns, &o, &c->handle);
	if (err == KR_OK)
		c->added = true;
	drain(w, host);
	return err;
}

static void fill(struct world *w, uint32_t host, uint32_t blob)
{
	struct world_copy *c = copy_of(w, host, blob);

	for (uint32_t i = 0; i < w->blobs[blob].piece_count; i++)
		c->have[i / 64] |= UINT64_C(1) << (i % 64);
	c->done = true;
}

void world_seed(struct world *w, uint32_t host, uint32_t blob)
{
	fill(w, host, blob);
	assert(add_to_node(w, host, blob, 0) == KR_OK);
}

void world_store(struct world *w, uint32_t host, uint32_t blob)
{
	fill(w, host, blob);
	w->hosts[host].copies[blob].stored = true;
}

void world_want(struct world *w, uint32_t host, uint32_t blob)
{
	copy_of(w, host, blob)->wanted = true;
	assert(add_to_node(w, host, blob, 0) == KR_OK);
}

static struct kr_peer_hint hint_of(const struct world *w, uint32_t blob,
				   uint32_t peer)
{
	const struct world_host *h = &w->hosts[peer];
	struct kr_peer_hint hint = { .addr = addr_of(peer),
				     .role = h->role,
				     .same_zone = true,
				     .complete = h->copies[blob].done };

	for (int i = 0; i < KR_PEER_ID_LEN; i++)
		hint.id.bytes[i] =
			(uint8_t)((peer * 37 + (uint32_t)i * 11) ^ 0x5a);
	hint.id.bytes[1] = (uint8_t)peer;
	return hint;
}

void world_hint(struct world *w, uint32_t host, uint32_t blob, uint32_t peer)
{
	const struct kr_peer_hint hint = hint_of(w, blob, peer);

	kr_node_blob_peers(w->hosts[host].node, w->now_ns,
			   w->hosts[host].copies[blob].handle, &hint, 1);
	drain(w, host);
}

/* ---- links -------------------------------------------------------------- */

static void clear_direction(struct direction *d)
{
	while (d->head != NULL) {
		struct segment *s = d->head;

		d->head = s->next;
		free(s);
	}
	d->tail = &d->head;
	d->scheduled = false;
}

static void free_link(struct world_link *l)
{
	if (!l->used || l->end[0].alive || l->end[1].alive)
		return;
	clear_direction(&l->end[0].in);
	clear_direction(&l->end[1].in);
	l->used = false;
	l->gen++;
}

static struct world_link *take_link(struct world *w)
{
	for (uint32_t k = 0; k < WORLD_LINKS_MAX; k++) {
		struct world_link *l =
			&w->links[(w->link_next + k) % WORLD_LINKS_MAX];
		const uint32_t gen = l->gen;

		if (l->used)
			continue;
		w->link_next = (w->link_next + k + 1) % WORLD_LINKS_MAX;
		*l = (struct world_link){ .used = true, .gen = gen };
		l->end[0].in.tail = &l->end[0].in.head;
		l->end[1].in.tail = &l->end[1].in.head;
		l->latency_ns = w->latency_min_ns +
				draw(w, (uint32_t)(w->latency_max_ns -
						   w->latency_min_ns + 1));
		return l;
	}
	assert(w->link_next == UINT32_MAX); /* room for links */
	return NULL;
}

static struct end *end_of_conn(struct world *w, uint32_t host, uint32_t conn,
			       struct world_link **ret_link)
{
	for (uint32_t i = 0; i < WORLD_LINKS_MAX; i++) {
		struct world_link *l = &w->links[i];

		for (int e = 0; l->used && e < 2; e++) {
			if (l->end[e].host != host || l->end[e].conn != conn ||
			    !l->end[e].alive)
				continue;
			*ret_link = l;
			return &l->end[e];
		}
	}
	return NULL;
}

static void schedule(struct world *w, struct world_link *l, uint32_t to)
{
	struct direction *d = &l->end[to].in;

	if (d->scheduled || d->head == NULL)
		return;
	d->scheduled = true;
	push_event(w, (struct world_event){ .type = EV_DELIVER,
					    .at_ns = d->head->at_ns,
					    .link = (uint32_t)(l - w->links),
					    .to = to,
					    .gen = l->gen });
}

static struct segment *send_segment(struct world *w, struct world_link *l,
				    const struct end *from, size_t bytes,
				    uint64_t at_ns)
{
	const uint32_t to = from == &l->end[0] ? 1 : 0;
	struct direction *d = &l->end[to].in;
	struct segment *s = calloc(1, sizeof(*s) + bytes);

	assert(s != NULL);
	at_ns += l->latency_ns;
	if (at_ns < d->last_ns)
		at_ns = d->last_ns;
	d->last_ns = s->at_ns = at_ns;
	*d->tail = s;
	d->tail = &s->next;
	schedule(w, l, to);
	return s;
}

static uint64_t later(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* ---- playing the driver ------------------------------------------------- */

static void do_dial(struct world *w, uint32_t host, const struct kr_action *a)
{
	const uint32_t peer = a->addr.ip[15] - 1u;
	struct world_link *l = take_link(w);

	assert(peer < w->host_count);
	l->end[0] = (struct end){
		.host = host, .conn = a->conn, .alive = true, .in = l->end[0].in
	};
	l->end[1].host = peer;
	l->end[0].in.tail = &l->end[0].in.head;
	push_event(w,
		   (struct world_event){ .type = EV_DIALLED,
					 .at_ns = w->now_ns + 2 * l->latency_ns,
					 .link = (uint32_t)(l - w->links),
					 .gen = l->gen });
}

static void do_send(struct world *w, uint32_t host, const struct kr_action *a)
{
	struct world_link *l;
	struct end *e = end_of_conn(w, host, a->conn, &l);
	struct segment *s;

	if (e == NULL || l->blackhole)
		return;
	s = send_segment(w, l, e, a->len, w->now_ns);
	s->len = a->len;
	memcpy(s->bytes, a->bytes, a->len);
	if (strikes(w, w->chance.garble_ppm))
		s->bytes[draw(w, a->len)] ^= (uint8_t)(1u << draw(w, 8));
}

static void do_serve(struct world *w, uint32_t host, const struct kr_action *a)
{
	struct world_host *h = &w->hosts[host];
	const uint32_t blob = blob_of_handle(w, host, a->blob);
	struct world_link *l;
	struct end *e = end_of_conn(w, host, a->conn, &l);
	struct segment *s;

	assert(blob != UINT32_MAX);
	assert(has_piece(&h->copies[blob], a->piece));
	assert(a->offset % block_len(w, &w->blobs[blob]) == 0);
	assert(a->offset + a->len <= piece_len(&w->blobs[blob], a->piece));
	assert(a->head_len == KR_FRAME_BLOCK_LEN);
	if (e == NULL)
		return;
	h->egress_free_ns = later(h->egress_free_ns, w->now_ns) +
			    a->len * WORLD_S / h->up_bytes_per_s;
	h->served_bytes += a->len;
	push_event(w, (struct world_event){ .type = EV_SERVED,
					    .at_ns = h->egress_free_ns,
					    .link = (uint32_t)(l - w->links),
					    .to = e == &l->end[1],
					    .gen = l->gen });
	if (l->blackhole)
		return;
	s = send_segment(w, l, e, a->head_len, w->now_ns);
	s->len = a->head_len;
	memcpy(s->bytes, a->head, a->head_len);
	struct world_host *to = &w->hosts[l->end[e == &l->end[0]].host];
	to->ingress_free_ns =
		later(to->ingress_free_ns,
		      h->egress_free_ns -
			      a->len * WORLD_S / h->up_bytes_per_s) +
		a->len * WORLD_S / to->down_bytes_per_s;
	s = send_segment(w, l, e, 0,
			 later(h->egress_free_ns, to->ingress_free_ns));
	s->is_block = true;
	s->blob = blob;
	s->piece = a->piece;
	s->offset = a->offset;
	s->len = a->len;
	s->damaged = draw(w, 1000) < h->lie_permille ||
		     strikes(w, w->chance.damage_ppm);
}

static void do_body(struct world *w, uint32_t host, const struct kr_action *a)
{
	struct world_link *l;
	struct end *e = end_of_conn(w, host, a->conn, &l);

	assert(e != NULL && !e->in_body);
	e->in_body = true;
	e->discard = a->discard;
	e->piece = a->piece;
	e->offset = a->offset;
	e->len = a->len;
	e->blob = a->discard ? UINT32_MAX : blob_of_handle(w, host, a->blob);
	assert(a->discard || e->blob != UINT32_MAX);
}

static void do_verify(struct world *w, uint32_t host, const struct kr_action *a)
{
	const uint32_t blob = blob_of_handle(w, host, a->blob);
	const struct world_blob *b = &w->blobs[blob];
	struct world_copy *c = copy_of(w, host, blob);
	const uint32_t per = blocks_per_piece(w, b), len = block_len(w, b);
	bool ok = true;

	assert(!has_piece(c, a->piece)); /* a piece is accepted once */
	for (uint32_t i = 0; i * len < piece_len(b, a->piece); i++) {
		uint8_t *state = &c->blocks[a->piece * per + i];

		assert(*state != 0);
		ok &= *state == 1;
		*state = 0;
	}
	push_event(w, (struct world_event){ .type = EV_VERIFIED,
					    .at_ns = w->now_ns +
						     draw(w, 3 * WORLD_MS),
					    .host = host,
					    .gen = w->hosts[host].restarts,
					    .blob = blob,
					    .piece = a->piece,
					    .handle = a->blob,
					    .ok = ok });
}

static void do_lookup(struct world *w, uint32_t host, const struct kr_action *a)
{
	uint32_t blob = 0;

	assert(strcmp(a->ns, "library/test") == 0 || w->chance.garble_ppm > 0);
	while (blob < w->blob_count &&
	       !kr_digest_equal(&w->blobs[blob].digest, &a->digest))
		blob++;
	push_event(w, (struct world_event){ .type = EV_LOOKUP,
					    .at_ns = w->now_ns +
						     draw(w, 5 * WORLD_MS),
					    .host = host,
					    .gen = w->hosts[host].restarts,
					    .blob = blob,
					    .lookup = a->lookup });
}

static void lose_end(struct world *w, struct world_link *l, int e)
{
	l->end[e].alive = false;
	(void)w;
	free_link(l);
}

static void do_close(struct world *w, uint32_t host, const struct kr_action *a)
{
	struct world_link *l;
	struct end *e = end_of_conn(w, host, a->conn, &l);

	if (a->reason == KR_BYE_CORRUPT)
		w->hosts[host].closes_corrupt++;
	if (e == NULL)
		return;
	if (l->end[e == &l->end[0]].alive && !l->blackhole)
		send_segment(w, l, e, 0, w->now_ns)->is_end = true;
	lose_end(w, l, e == &l->end[1]);
}

static void do_done(struct world *w, uint32_t host, const struct kr_action *a)
{
	const uint32_t blob = blob_of_handle(w, host, a->blob);
	struct world_copy *c = copy_of(w, host, blob);

	for (uint32_t i = 0; i < w->blobs[blob].piece_count; i++)
		assert(has_piece(c, i));
	assert(!c->done);
	c->done = true;
	c->done_ns = w->now_ns;
}

static void do_action(struct world *w, uint32_t host, const struct kr_action *a)
{
	struct world_host *h = &w->hosts[host];
	uint32_t blob;

	trace(w, (uint64_t)a->type << 56 ^ (uint64_t)a->conn << 24 ^
			 (uint64_t)host << 48 ^ a->piece ^
			 (uint64_t)a->len << 8);
	switch (a->type) {
	case KR_ACT_DIAL:
		do_dial(w, host, a);
		break;
	case KR_ACT_SEND:
		do_send(w, host, a);
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
		do_lookup(w, host, a);
		break;
	case KR_ACT_DONE:
		do_done(w, host, a);
		break;
	case KR_ACT_PEERS:
		blob = blob_of_handle(w, host, a->blob);
		h->copies[blob].peers_asked++;
		push_event(w, (struct world_event){ .type = EV_PEERS,
						    .at_ns = w->now_ns +
							     draw(w, 4000000),
						    .host = host,
						    .gen = h->restarts,
						    .blob = blob });
		break;
	case KR_ACT_IDLE:
		blob = blob_of_handle(w, host, a->blob);
		h->copies[blob].idle_told++;
		push_event(w, (struct world_event){ .type = EV_IDLE,
						    .at_ns = w->now_ns +
							     draw(w, 9000000),
						    .host = host,
						    .gen = h->restarts,
						    .blob = blob,
						    .handle = a->blob });
		break;
	case KR_ACT_BAD:
		h->bad_reports++;
		break;
	case KR_ACT_CLOSE:
		do_close(w, host, a);
		break;
	case KR_ACT_TIMER:
		assert(a->at_ns != h->timer_ns);
		h->timer_ns = a->at_ns;
		push_event(w, (struct world_event){ .type = EV_TIMER,
						    .at_ns = a->at_ns,
						    .host = host,
						    .gen = h->restarts });
		break;
	}
}

static void drain(struct world *w, uint32_t host)
{
	struct kr_action a;

	while (w->hosts[host].up &&
	       kr_node_next_action(w->hosts[host].node, &a))
		do_action(w, host, &a);
	w->events++;
	if (w->check_every != 0 && w->events % w->check_every == 0)
		kr_node_check(w->hosts[host].node);
}

/* ---- what happens ------------------------------------------------------- */

static void conn_closed(struct world *w, struct world_link *l, int e)
{
	const struct end end = l->end[e];

	if (!end.alive)
		return;
	lose_end(w, l, e);
	kr_node_conn_closed(w->hosts[end.host].node, w->now_ns, end.conn,
			    KR_E_RESET);
	drain(w, end.host);
}

static void reset(struct world *w, struct world_link *l)
{
	const uint32_t gen = l->gen;

	conn_closed(w, l, 0);
	if (l->used && l->gen == gen)
		conn_closed(w, l, 1);
}

static void on_dialled(struct world *w, struct world_link *l)
{
	struct end *to = &l->end[1];
	const uint32_t from = l->end[0].host, conn = l->end[0].conn;
	const struct kr_addr addr = addr_of(from);

	if (!l->end[0].alive)
		return;
	if (!w->hosts[to->host].up || strikes(w, w->chance.dial_fail_ppm) ||
	    kr_node_conn_accepted(w->hosts[to->host].node, w->now_ns, &addr,
				  &to->conn) != KR_OK) {
		conn_closed(w, l, 0);
		return;
	}
	to->alive = true;
	const uint32_t gen = l->gen;
	drain(w, to->host);
	if (!l->used || l->gen != gen || !l->end[0].alive)
		return;
	kr_node_conn_connected(w->hosts[from].node, w->now_ns, conn);
	drain(w, from);
}

static void end_body(struct world *w, struct end *e, const struct segment *s)
{
	struct world_copy *c;
	const struct world_blob *b;

	e->in_body = false;
	if (e->discard || e->blob >= w->blob_count)
		return;
	c = copy_of(w, e->host, e->blob);
	b = &w->blobs[e->blob];
	if (!c->added || has_piece(c, e->piece))
		return;
	const bool same = s->blob == e->blob && s->piece == e->piece &&
			  s->offset == e->offset && !s->damaged;
	c->blocks[e->piece * blocks_per_piece(w, b) +
		  e->offset / block_len(w, b)] = same ? 1 : 2;
}

/* Control bytes arrive, in runs of any length. */
static bool deliver_bytes(struct world *w, struct world_link *l, uint32_t to,
			  struct segment *s)
{
	struct end *e = &l->end[to];
	const uint32_t gen = l->gen;

	while (s->used < s->len && !e->in_body) {
		const uint32_t left = s->len - s->used;
		const uint32_t len = 1 + draw(w, left);
		size_t taken;

		kr_node_conn_bytes(w->hosts[e->host].node, w->now_ns, e->conn,
				   s->bytes + s->used, len, &taken);
		assert(taken <= len);
		s->used += (uint32_t)taken;
		drain(w, e->host);
		if (!l->used || l->gen != gen || !e->alive)
			return false;
	}
	return true;
}

/* The segments that are due, one event each.  The link may be gone after. */
static void on_deliver(struct world *w, struct world_link *l, uint32_t to)
{
	struct end *e = &l->end[to];
	struct segment *s = e->in.head;
	const uint32_t gen = l->gen;

	e->in.scheduled = false;
	if (!e->alive || s == NULL)
		return;
	if (strikes(w, w->chance.reset_ppm)) {
		reset(w, l);
		return;
	}
	if (strikes(w, w->chance.blackhole_ppm))
		l->blackhole = true;
	if (s->is_end) {
		conn_closed(w, l, (int)to);
		return;
	}
	if (s->is_block && !e->in_body) { /* its head was garbled */
		reset(w, l);
		return;
	}
	if (s->is_block && s->len != e->len) {
		reset(w, l);
		return;
	}
	if (!s->is_block && e->in_body) {
		reset(w, l);
		return;
	}
	if (s->is_block) {
		end_body(w, e, s);
		kr_node_body_done(w->hosts[e->host].node, w->now_ns, e->conn);
		drain(w, e->host);
	} else if (!deliver_bytes(w, l, to, s)) {
		return;
	}
	if (!l->used || l->gen != gen || !e->alive)
		return;
	e->in.head = s->next;
	if (e->in.head == NULL)
		e->in.tail = &e->in.head;
	free(s);
	schedule(w, l, to);
}

static void on_verified(struct world *w, const struct world_event *ev)
{
	struct world_copy *c = copy_of(w, ev->host, ev->blob);

	if (!c->added || c->handle != ev->handle)
		return; /* removed meanwhile */
	if (ev->ok) {
		assert(!has_piece(c, ev->piece));
		c->have[ev->piece / 64] |= UINT64_C(1) << (ev->piece % 64);
		c->accepted++;
	}
	kr_node_piece_verified(w->hosts[ev->host].node, w->now_ns, c->handle,
			       ev->piece, ev->ok);
	drain(w, ev->host);
}

void world_remove(struct world *w, uint32_t host, uint32_t blob)
{
	const struct world_blob *b = &w->blobs[blob];
	struct world_copy *c = copy_of(w, host, blob);

	for (uint32_t i = 0; i < WORLD_LINKS_MAX; i++)
		for (int e = 0; e < 2; e++)
			if (w->links[i].used &&
			    w->links[i].end[e].host == host &&
			    w->links[i].end[e].blob == blob)
				w->links[i].end[e].blob = UINT32_MAX;
	memset(c->blocks, 0, (size_t)b->piece_count * blocks_per_piece(w, b));
	c->added = false;
	kr_node_blob_remove(w->hosts[host].node, w->now_ns, c->handle);
	drain(w, host);
}

void world_add_again(struct world *w, uint32_t host, uint32_t blob)
{
	assert(add_to_node(w, host, blob, 0) == KR_OK);
}

void world_reader(struct world *w, uint32_t host, uint32_t blob,
		  uint32_t reader, uint32_t first_piece)
{
	kr_node_blob_reader(w->hosts[host].node, w->now_ns,
			    w->hosts[host].copies[blob].handle, reader,
			    first_piece);
	drain(w, host);
}

static void on_lookup(struct world *w, const struct world_event *ev)
{
	struct kr_node *n = w->hosts[ev->host].node;

	if (ev->blob < w->blob_count &&
	    w->hosts[ev->host].copies[ev->blob].stored &&
	    !w->hosts[ev->host].copies[ev->blob].added) {
		assert(add_to_node(w, ev->host, ev->blob, ev->lookup) == KR_OK);
		return;
	}
	kr_node_blob_absent(n, w->now_ns, ev->lookup);
	drain(w, ev->host);
}

/* The tracker: some of those who have the blob or want it. */
static void on_peers(struct world *w, const struct world_event *ev)
{
	struct kr_peer_hint hints[WORLD_HOSTS_MAX];
	struct world_copy *c = copy_of(w, ev->host, ev->blob);
	size_t count = 0;

	for (uint32_t k = 0; k < w->host_count; k++) {
		const struct world_copy *o = &w->hosts[k].copies[ev->blob];

		if (k != ev->host && w->hosts[k].up && (o->added || o->stored))
			hints[count++] = hint_of(w, ev->blob, k);
	}
	while (count > 50) { /* a handout is up to 50 */
		count--;
		hints[draw(w, (uint32_t)count)] = hints[count];
	}
	if (!c->added)
		return;
	kr_node_blob_peers(w->hosts[ev->host].node, w->now_ns, c->handle, hints,
			   count);
	drain(w, ev->host);
}

static void drop_links(struct world *w, uint32_t host)
{
	for (uint32_t i = 0; i < WORLD_LINKS_MAX; i++) {
		struct world_link *l = &w->links[i];

		for (int e = 0; l->used && e < 2; e++) {
			if (l->end[e].host != host)
				continue;
			l->end[e].alive = false;
			if (l->end[!e].alive)
				push_event(w, (struct world_event){
						      .type = EV_CLOSED,
						      .at_ns = w->now_ns,
						      .link = i,
						      .to = !e,
						      .gen = l->gen });
			else
				free_link(l);
			break;
		}
	}
}

void world_crash(struct world *w, uint32_t host, uint64_t back_after_ns)
{
	struct world_host *h = &w->hosts[host];

	kr_node_close(h->node);
	h->node = NULL;
	h->up = false;
	h->restarts++;
	drop_links(w, host);
	for (uint32_t i = 0; i < w->blob_count; i++) {
		struct world_copy *c = &h->copies[i];

		if (c->have != NULL)
			memset(c->blocks, 0,
			       (size_t)w->blobs[i].piece_count *
				       blocks_per_piece(w, &w->blobs[i]));
	}
	push_event(w, (struct world_event){ .type = EV_BACK,
					    .at_ns = w->now_ns + back_after_ns,
					    .host = host });
}

static void on_back(struct world *w, uint32_t host)
{
	struct world_host *h = &w->hosts[host];

	open_node(w, host);
	for (uint32_t i = 0; i < w->blob_count; i++) {
		struct world_copy *c = &h->copies[i];
		const bool was_added = c->added;

		c->added = false;
		for (uint32_t k = 0; c->have != NULL && !c->done; k++) {
			if (k == w->blobs[i].piece_count)
				c->done = true;
			else if (!has_piece(c, k))
				break;
		}
		if (c->wanted || (was_added && !c->stored))
			assert(add_to_node(w, host, i, 0) == KR_OK);
	}
}

void world_silence(struct world *w, uint32_t host)
{
	for (uint32_t i = 0; i < WORLD_LINKS_MAX; i++)
		if (w->links[i].used && (w->links[i].end[0].host == host ||
					 w->links[i].end[1].host == host))
			w->links[i].blackhole = true;
}

/* Is this event of a host, and which? */
static uint32_t host_of(const struct world *w, const struct world_event *ev)
{
	switch (ev->type) {
	case EV_DELIVER:
	case EV_SERVED:
	case EV_CLOSED:
		return w->links[ev->link].end[ev->to].host;
	case EV_DIALLED:
		return w->links[ev->link].end[1].host;
	default:
		return ev->host;
	}
}

static bool is_stale(const struct world *w, const struct world_event *ev)
{
	switch (ev->type) {
	case EV_DELIVER:
	case EV_SERVED:
	case EV_DIALLED:
	case EV_CLOSED:
		return !w->links[ev->link].used ||
		       w->links[ev->link].gen != ev->gen;
	case EV_BACK:
		return false;
	default:
		return !w->hosts[ev->host].up ||
		       w->hosts[ev->host].restarts != ev->gen;
	}
}

static void happen(struct world *w, const struct world_event *ev)
{
	struct world_link *l = &w->links[ev->link];
	struct end *e = &l->end[ev->to];

	switch (ev->type) {
	case EV_TIMER:
		if (w->hosts[ev->host].timer_ns != ev->at_ns &&
		    w->hosts[ev->host].timer_ns > w->now_ns)
			return; /* it was set anew */
		w->hosts[ev->host].timer_ns = UINT64_MAX;
		kr_node_timer(w->hosts[ev->host].node, w->now_ns);
		drain(w, ev->host);
		break;
	case EV_DELIVER:
		if (l->blackhole)
			return;
		on_deliver(w, l, ev->to);
		break;
	case EV_DIALLED:
		on_dialled(w, l);
		break;
	case EV_SERVED:
		if (!e->alive || l->blackhole)
			return;
		kr_node_conn_served(w->hosts[e->host].node, w->now_ns, e->conn);
		drain(w, e->host);
		break;
	case EV_VERIFIED:
		on_verified(w, ev);
		break;
	case EV_LOOKUP:
		on_lookup(w, ev);
		break;
	case EV_PEERS:
		on_peers(w, ev);
		break;
	case EV_CLOSED:
		conn_closed(w, l, (int)ev->to);
		break;
	case EV_BACK:
		on_back(w, ev->host);
		break;
	case EV_IDLE:
		if (w->hosts[ev->host].copies[ev->blob].added &&
		    w->hosts[ev->host].copies[ev->blob].handle == ev->handle)
			world_remove(w, ev->host, ev->blob);
		break;
	}
}

static void step(struct world *w)
{
	struct world_event ev = pop_event(w);

	w->now_ns = later(w->now_ns, ev.at_ns);
	if (is_stale(w, &ev))
		return;
	struct world_host *h = &w->hosts[host_of(w, &ev)];
	if (h->frozen_until_ns > w->now_ns) {
		ev.at_ns = h->frozen_until_ns;
		push_event(w, ev);
		return;
	}
	if (strikes(w, w->chance.freeze_ppm))
		h->frozen_until_ns = w->now_ns + draw(w, 2000) * WORLD_MS;
	if (h->up && strikes(w, w->chance.crash_ppm)) {
		world_crash(w, (uint32_t)(h - w->hosts),
			    draw(w, 1000) * WORLD_MS);
		return;
	}
	happen(w, &ev);
}

void world_run(struct world *w, uint64_t until_ns)
{
	while (w->heap_count > 0 && w->heap[0].at_ns <= until_ns)
		step(w);
	if (w->now_ns < until_ns)
		w->now_ns = until_ns;
}

bool world_done(const struct world *w)
{
	for (uint32_t i = 0; i < w->host_count; i++)
		for (uint32_t k = 0; k < w->blob_count; k++)
			if (w->hosts[i].copies[k].wanted &&
			    !w->hosts[i].copies[k].done)
				return false;
	return true;
}

bool world_run_until_done(struct world *w, uint64_t until_ns)
{
	while (w->heap_count > 0 && w->heap[0].at_ns <= until_ns) {
		if (world_done(w))
			return true;
		step(w);
	}
	return world_done(w);
}

void world_check(const struct world *w)
{
	for (uint32_t i = 0; i < w->host_count; i++)
		if (w->hosts[i].up)
			kr_node_check(w->hosts[i].node);
}

void world_fini(struct world *w)
{
	for (uint32_t i = 0; i < w->host_count; i++) {
		struct world_host *h = &w->hosts[i];

		if (h->up)
			kr_node_close(h->node);
		for (uint32_t k = 0; k < w->blob_count; k++) {
			free(h->copies[k].have);
			free(h->copies[k].blocks);
		}
	}
	for (uint32_t i = 0; i < WORLD_LINKS_MAX; i++) {
		clear_direction(&w->links[i].end[0].in);
		clear_direction(&w->links[i].end[1].in);
	}
	free(w->links);
	free(w->heap);
}
