#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/err.h"
#include "peerwire/metainfo.h"
#include "test/support/swarm_world_internal.h"

/* ---- hosts and blobs ---------------------------------------------------- */

static void *get_memory(void *ctx, size_t size_bytes, size_t align)
{
	struct world *w = ctx;
	const struct kr_alloc *heap = kr_alloc_heap();

	if (w->memory_fails && world_strikes(w, w->chance.memory_ppm))
		return NULL;
	return heap->get(heap->ctx, size_bytes, align);
}

static void put_memory(void *ctx, void *ptr)
{
	const struct kr_alloc *heap = kr_alloc_heap();

	(void)ctx;
	heap->put(heap->ctx, ptr);
}

void world_init(struct world *w, uint64_t seed)
{
	memset(w, 0, sizeof(*w));
	w->seed = seed;
	kr_rand_init(&w->rand, seed);
	w->alloc = (struct kr_alloc){ w, get_memory, put_memory };
	w->memory_fails = true;
	kr_policy_defaults(&w->policy);
	w->links = calloc(WORLD_LINKS_MAX, sizeof(*w->links));
	kr_assert(w->links != NULL);
	w->latency_min_ns = WORLD_MS / 4;
	w->latency_max_ns = WORLD_MS;
	w->now_ns = WORLD_S;
}

struct kr_addr world_addr_of(uint32_t host)
{
	struct kr_addr a = { .port = 7000 };

	a.ip[10] = a.ip[11] = 0xff;
	a.ip[12] = 10;
	a.ip[15] = (uint8_t)(host + 1);
	return a;
}

void world_open_node(struct world *w, uint32_t host)
{
	struct world_host *h = &w->hosts[host];
	struct kr_node_opts o = {
		.alloc = &w->alloc,
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
	w->memory_fails = false;
	kr_assert(kr_node_open(&o, &h->node) == KR_OK);
	w->memory_fails = true;
	h->up = true;
	h->timer_ns = UINT64_MAX;
}

uint32_t world_host_add(struct world *w, enum kr_peer_role role,
			uint64_t up_bytes_per_s, uint64_t down_bytes_per_s)
{
	kr_assert(w->host_count < WORLD_HOSTS_MAX);
	struct world_host *h = &w->hosts[w->host_count];

	h->role = role;
	h->up_bytes_per_s = up_bytes_per_s;
	h->down_bytes_per_s = down_bytes_per_s;
	world_open_node(w, w->host_count);
	return w->host_count++;
}

uint32_t world_blob_add(struct world *w, uint64_t size_bytes,
			uint32_t piece_bytes)
{
	kr_assert(w->blob_count < WORLD_BLOBS_MAX);
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

uint32_t world_piece_len(const struct world_blob *b, uint32_t piece)
{
	const uint64_t left = b->size_bytes - (uint64_t)piece * b->piece_bytes;

	return left < b->piece_bytes ? (uint32_t)left : b->piece_bytes;
}

uint32_t world_block_len(const struct world *w, const struct world_blob *b)
{
	return w->policy.block_bytes < b->piece_bytes
		       ? (uint32_t)w->policy.block_bytes
		       : b->piece_bytes;
}

uint32_t world_blocks_per_piece(const struct world *w,
				const struct world_blob *b)
{
	return b->piece_bytes / world_block_len(w, b);
}

bool world_has_piece(const struct world_copy *c, uint32_t piece)
{
	return c->have != NULL && (c->have[piece / 64] >> (piece % 64) & 1);
}

struct world_copy *world_copy_of(struct world *w, uint32_t host, uint32_t blob)
{
	struct world_copy *c = &w->hosts[host].copies[blob];
	const struct world_blob *b = &w->blobs[blob];

	if (c->have == NULL) {
		c->have = calloc(b->piece_count / 64 + 1, sizeof(uint64_t));
		c->blocks =
			calloc(b->piece_count, world_blocks_per_piece(w, b));
		kr_assert(c->have != NULL && c->blocks != NULL);
	}
	return c;
}

uint32_t world_blob_of_handle(const struct world *w, uint32_t host,
			      uint32_t handle)
{
	const struct world_host *h = &w->hosts[host];

	for (uint32_t i = 0; i < w->blob_count; i++)
		if (h->copies[i].added && h->copies[i].handle == handle)
			return i;
	return UINT32_MAX;
}

enum kr_err world_add_to_node(struct world *w, uint32_t host, uint32_t blob,
			      uint32_t lookup)
{
	struct world_copy *c = world_copy_of(w, host, blob);
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
	world_drain(w, host);
	return err;
}

static void fill(struct world *w, uint32_t host, uint32_t blob)
{
	struct world_copy *c = world_copy_of(w, host, blob);

	for (uint32_t i = 0; i < w->blobs[blob].piece_count; i++)
		c->have[i / 64] |= UINT64_C(1) << (i % 64);
	c->done = true;
}

void world_seed(struct world *w, uint32_t host, uint32_t blob)
{
	fill(w, host, blob);
	kr_assert(world_add_to_node(w, host, blob, 0) == KR_OK);
}

void world_store(struct world *w, uint32_t host, uint32_t blob)
{
	fill(w, host, blob);
	w->hosts[host].copies[blob].stored = true;
}

void world_want(struct world *w, uint32_t host, uint32_t blob)
{
	world_copy_of(w, host, blob)->wanted = true;
	kr_assert(world_add_to_node(w, host, blob, 0) == KR_OK);
}

struct kr_peer_hint world_hint_of(const struct world *w, uint32_t blob,
				  uint32_t peer)
{
	const struct world_host *h = &w->hosts[peer];
	struct kr_peer_hint hint = { .addr = world_addr_of(peer),
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
	const struct kr_peer_hint hint = world_hint_of(w, blob, peer);

	kr_node_blob_peers(w->hosts[host].node, w->now_ns,
			   w->hosts[host].copies[blob].handle, &hint, 1);
	world_drain(w, host);
}

/* ---- what happens ------------------------------------------------------- */

static void conn_closed(struct world *w, struct world_link *l, int e)
{
	const struct end end = l->end[e];

	if (!end.alive)
		return;
	world_lose_end(w, l, e);
	kr_node_conn_closed(w->hosts[end.host].node, w->now_ns, end.conn,
			    KR_E_RESET);
	world_drain(w, end.host);
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
	const struct kr_addr addr = world_addr_of(from);

	if (!l->end[0].alive)
		return;
	if (!w->hosts[to->host].up ||
	    world_strikes(w, w->chance.dial_fail_ppm) ||
	    kr_node_conn_accepted(w->hosts[to->host].node, w->now_ns, &addr,
				  &to->conn) != KR_OK) {
		conn_closed(w, l, 0);
		return;
	}
	to->alive = true;
	const uint32_t gen = l->gen;
	world_drain(w, to->host);
	if (!l->used || l->gen != gen || !l->end[0].alive)
		return;
	kr_node_conn_connected(w->hosts[from].node, w->now_ns, conn);
	world_drain(w, from);
}

static void end_body(struct world *w, struct end *e, const struct segment *s)
{
	struct world_copy *c;
	const struct world_blob *b;

	e->in_body = false;
	if (e->discard || e->blob >= w->blob_count)
		return;
	c = world_copy_of(w, e->host, e->blob);
	b = &w->blobs[e->blob];
	if (!c->added || world_has_piece(c, e->piece))
		return;
	const bool same = s->blob == e->blob && s->piece == e->piece &&
			  s->offset == e->offset && !s->damaged;
	c->blocks[e->piece * world_blocks_per_piece(w, b) +
		  e->offset / world_block_len(w, b)] = same ? 1 : 2;
}

/* Control bytes arrive, in runs of any length. */
static bool deliver_bytes(struct world *w, struct world_link *l, uint32_t to,
			  struct segment *s)
{
	struct end *e = &l->end[to];
	const uint32_t gen = l->gen;

	while (s->used < s->len && !e->in_body) {
		const uint32_t left = s->len - s->used;
		const uint32_t len = 1 + world_draw(w, left);
		size_t taken;

		kr_node_conn_bytes(w->hosts[e->host].node, w->now_ns, e->conn,
				   s->bytes + s->used, len, &taken);
		kr_assert(taken <= len);
		s->used += (uint32_t)taken;
		world_drain(w, e->host);
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
	if (world_strikes(w, w->chance.reset_ppm)) {
		reset(w, l);
		return;
	}
	if (world_strikes(w, w->chance.blackhole_ppm))
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
		world_drain(w, e->host);
	} else if (!deliver_bytes(w, l, to, s)) {
		return;
	}
	if (!l->used || l->gen != gen || !e->alive)
		return;
	e->in.head = s->next;
	if (e->in.head == NULL)
		e->in.tail = &e->in.head;
	free(s);
	world_schedule(w, l, to);
}

static void on_verified(struct world *w, const struct world_event *ev)
{
	struct world_copy *c = world_copy_of(w, ev->host, ev->blob);

	if (!c->added || c->handle != ev->handle)
		return; /* removed meanwhile */
	if (ev->ok) {
		kr_assert(!world_has_piece(c, ev->piece));
		c->have[ev->piece / 64] |= UINT64_C(1) << (ev->piece % 64);
		c->accepted++;
	}
	kr_node_piece_verified(w->hosts[ev->host].node, w->now_ns, c->handle,
			       ev->piece, ev->ok);
	world_drain(w, ev->host);
}

void world_remove(struct world *w, uint32_t host, uint32_t blob)
{
	const struct world_blob *b = &w->blobs[blob];
	struct world_copy *c = world_copy_of(w, host, blob);

	for (uint32_t i = 0; i < WORLD_LINKS_MAX; i++)
		for (int e = 0; e < 2; e++)
			if (w->links[i].used &&
			    w->links[i].end[e].host == host &&
			    w->links[i].end[e].blob == blob)
				w->links[i].end[e].blob = UINT32_MAX;
	memset(c->blocks, 0,
	       (size_t)b->piece_count * world_blocks_per_piece(w, b));
	c->added = false;
	kr_node_blob_remove(w->hosts[host].node, w->now_ns, c->handle);
	world_drain(w, host);
}

void world_add_again(struct world *w, uint32_t host, uint32_t blob)
{
	const enum kr_err err = world_add_to_node(w, host, blob, 0);

	kr_assert(err == KR_OK ||
		  (err == KR_E_NOMEM && w->chance.memory_ppm > 0));
}

void world_reader(struct world *w, uint32_t host, uint32_t blob,
		  uint32_t reader, uint32_t first_piece)
{
	kr_node_blob_reader(w->hosts[host].node, w->now_ns,
			    w->hosts[host].copies[blob].handle, reader,
			    first_piece);
	world_drain(w, host);
}

static void on_lookup(struct world *w, const struct world_event *ev)
{
	struct kr_node *n = w->hosts[ev->host].node;

	if (ev->blob < w->blob_count &&
	    w->hosts[ev->host].copies[ev->blob].stored &&
	    !w->hosts[ev->host].copies[ev->blob].added) {
		(void)world_add_to_node(w, ev->host, ev->blob, ev->lookup);
		return;
	}
	kr_node_blob_absent(n, w->now_ns, ev->lookup);
	world_drain(w, ev->host);
}

/* The tracker: some of those who have the blob or want it. */
static void on_peers(struct world *w, const struct world_event *ev)
{
	struct kr_peer_hint hints[WORLD_HOSTS_MAX];
	struct world_copy *c = world_copy_of(w, ev->host, ev->blob);
	size_t count = 0;

	for (uint32_t k = 0; k < w->host_count; k++) {
		const struct world_copy *o = &w->hosts[k].copies[ev->blob];

		if (k != ev->host && w->hosts[k].up && (o->added || o->stored))
			hints[count++] = world_hint_of(w, ev->blob, k);
	}
	while (count > 50) { /* a handout is up to 50 */
		count--;
		hints[world_draw(w, (uint32_t)count)] = hints[count];
	}
	if (!c->added)
		return;
	kr_node_blob_peers(w->hosts[ev->host].node, w->now_ns, c->handle, hints,
			   count);
	world_drain(w, ev->host);
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
				world_push_event(w, (struct world_event){
							    .type = EV_CLOSED,
							    .at_ns = w->now_ns,
							    .link = i,
							    .to = !e,
							    .gen = l->gen });
			else
				world_free_link(l);
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
				       world_blocks_per_piece(w, &w->blobs[i]));
	}
	world_push_event(
		w, (struct world_event){ .type = EV_BACK,
					 .at_ns = w->now_ns + back_after_ns,
					 .host = host });
}

static void on_back(struct world *w, uint32_t host)
{
	struct world_host *h = &w->hosts[host];

	world_open_node(w, host);
	for (uint32_t i = 0; i < w->blob_count; i++) {
		struct world_copy *c = &h->copies[i];
		const bool was_added = c->added;

		c->added = false;
		for (uint32_t k = 0; c->have != NULL && !c->done; k++) {
			if (k == w->blobs[i].piece_count)
				c->done = true;
			else if (!world_has_piece(c, k))
				break;
		}
		if (c->wanted || (was_added && !c->stored))
			world_add_again(w, host, i);
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
		world_drain(w, ev->host);
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
		world_drain(w, e->host);
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
	struct world_event ev = world_pop_event(w);

	w->now_ns = world_later(w->now_ns, ev.at_ns);
	if (is_stale(w, &ev))
		return;
	struct world_host *h = &w->hosts[host_of(w, &ev)];
	if (h->frozen_until_ns > w->now_ns) {
		ev.at_ns = h->frozen_until_ns;
		world_push_event(w, ev);
		return;
	}
	if (world_strikes(w, w->chance.freeze_ppm))
		h->frozen_until_ns = w->now_ns + world_draw(w, 2000) * WORLD_MS;
	if (h->up && world_strikes(w, w->chance.crash_ppm)) {
		world_crash(w, (uint32_t)(h - w->hosts),
			    world_draw(w, 1000) * WORLD_MS);
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
		world_clear_direction(&w->links[i].end[0].in);
		world_clear_direction(&w->links[i].end[1].in);
	}
	free(w->links);
	free(w->heap);
}
