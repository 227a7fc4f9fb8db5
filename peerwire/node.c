/*
 * The outside of a node: it opens, it takes events, and after each it settles:
 * asks while there is room, serves while there are slots, and says when it
 * must be called again.
 */
#include <string.h>

#include "peerwire/blocks.h"
#include "peerwire/state.h"

static const char *const bye_names[KR_BYE_REASON_COUNT] = {
	[KR_BYE_NONE] = "none",           [KR_BYE_PROTO] = "proto",
	[KR_BYE_CORRUPT] = "corrupt",     [KR_BYE_CLUSTER] = "cluster",
	[KR_BYE_DUPLICATE] = "duplicate", [KR_BYE_SELF] = "self",
	[KR_BYE_FULL] = "full",           [KR_BYE_USELESS] = "useless",
	[KR_BYE_TIMEOUT] = "timeout",     [KR_BYE_SHUTDOWN] = "shutdown",
};

const char *kr_bye_reason_name(enum kr_bye_reason r)
{
	kr_assert((unsigned)r < KR_BYE_REASON_COUNT);
	return bye_names[r];
}

/* ---- open, close -------------------------------------------------------- */

enum { CHUNK = 16, REQUESTS_MAX = 8192, STREAMS_PER_CONN = 64 };

static void open_slabs(struct kr_node *n)
{
	const struct kr_alloc *a = n->alloc;
	const uint32_t conns = (uint32_t)n->pol.conns_max;

	kr_slab_open(&n->conn_slab, a, sizeof(struct kr_conn), CHUNK, conns);
	kr_slab_open(&n->stream_slab, a, sizeof(struct kr_stream), CHUNK,
		     conns * STREAMS_PER_CONN);
	kr_slab_open(&n->lookup_slab, a, sizeof(struct kr_lookup), 4,
		     (uint32_t)n->pol.blobs_max);
	kr_slab_open(&n->swarm_slab, a, sizeof(struct kr_swarm), 4,
		     (uint32_t)n->pol.blobs_max);
	kr_slab_open(&n->fetch_slab, a, sizeof(struct kr_fetch), CHUNK,
		     REQUESTS_MAX);
	kr_slab_open(&n->request_slab, a, sizeof(struct kr_request), CHUNK,
		     REQUESTS_MAX);
	kr_slab_open(&n->upload_slab, a, sizeof(struct kr_upload), CHUNK,
		     (uint32_t)n->pol.upload_queue_max);
}

static void open_lists(struct kr_node *n)
{
	kr_list_init(&n->conns);
	kr_list_init(&n->closing);
	kr_list_init(&n->swarms);
	kr_list_init(&n->complete);
	kr_list_init(&n->tell);
	kr_list_init(&n->lookups);
	kr_list_init(&n->upload_waiting);
	kr_list_init(&n->told_load);
	kr_digest_map_open(&n->by_digest, n->alloc);
	kr_u64_map_open(&n->streams, n->alloc);
}

static bool open_tables(struct kr_node *n)
{
	const struct kr_policy *p = &n->pol;

	n->conn_table = kr_mem_get(n, p->conns_max * sizeof(void *));
	n->conn_gens = kr_mem_get(n, p->conns_max * sizeof(uint16_t));
	n->swarm_table = kr_mem_get(n, p->blobs_max * sizeof(void *));
	n->swarm_gens = kr_mem_get(n, p->blobs_max * sizeof(uint16_t));
	n->slots = kr_mem_get(n, 2 * p->upload_slots * sizeof(void *));
	return n->conn_table && n->conn_gens && n->swarm_table &&
	       n->swarm_gens && n->slots;
}

enum kr_err kr_node_open(const struct kr_node_opts *opts, struct kr_node **ret)
{
	const struct kr_policy_row *row;
	const struct kr_alloc *alloc = opts->alloc;
	struct kr_node *n;

	kr_assert(strlen(opts->cluster) <= KR_NAME_MAX);
	kr_assert(strlen(opts->zone) <= KR_NAME_MAX);
	kr_assert(kr_policy_check(opts->policy, &row) == KR_OK);
	n = alloc->get(alloc->ctx, sizeof(*n), _Alignof(struct kr_node));
	if (n == NULL)
		return KR_E_NOMEM;
	memset(n, 0, sizeof(*n));
	n->alloc = alloc;
	n->pol = *opts->policy;
	n->id = opts->id;
	n->role = opts->role;
	memcpy(n->cluster, opts->cluster, strlen(opts->cluster));
	memcpy(n->zone, opts->zone, strlen(opts->zone));
	n->listen_port = opts->listen_port;
	n->timer_ns = n->tick_ns = KR_NEVER;
	kr_rand_init(&n->rand, opts->seed);
	open_lists(n);
	open_slabs(n);
	if (!open_tables(n)) {
		kr_node_close(n);
		return KR_E_NOMEM;
	}
	*ret = n;
	return KR_OK;
}

static void swarm_free(struct kr_node *n, struct kr_swarm *s)
{
	n->swarm_table[s->handle & 0xffff] = NULL;
	n->swarm_count--;
	kr_digest_map_del(&n->by_digest, &s->digest);
	kr_list_del(&s->all);
	kr_list_del(&s->tell);
	kr_mem_put(n, s->ns);
	kr_mem_put(n, s->solo);
	kr_mem_put(n, s->revealed_to);
	kr_mem_put(n, s->hints);
	kr_picker_close(&s->picker, n->alloc);
	kr_slab_give(&n->swarm_slab, s);
}

static void leave_swarm(struct kr_node *n, struct kr_swarm *s)
{
	kr_list_for_each_safe(it, &s->streams) kr_stream_close(
		n, KR_CONTAINER_OF(it, struct kr_stream, in_swarm));
	kr_list_for_each_safe(it, &s->fetches) kr_fetch_drop(
		n, KR_CONTAINER_OF(it, struct kr_fetch, in_swarm));
	swarm_free(n, s);
}

static void close_conns(struct kr_node *n, enum kr_bye_reason reason)
{
	kr_list_for_each_safe(it, &n->conns) kr_conn_close(
		n, KR_CONTAINER_OF(it, struct kr_conn, all), reason);
}

static void close_swarms(struct kr_node *n, struct kr_list *list)
{
	kr_list_for_each_safe(it, list)
		leave_swarm(n, KR_CONTAINER_OF(it, struct kr_swarm, all));
}

void kr_node_close(struct kr_node *n)
{
	close_conns(n, KR_BYE_NONE);
	close_swarms(n, &n->swarms);
	close_swarms(n, &n->complete);
	kr_digest_map_close(&n->by_digest);
	kr_u64_map_close(&n->streams);
	kr_slab_close(&n->conn_slab);
	kr_slab_close(&n->stream_slab);
	kr_slab_close(&n->lookup_slab);
	kr_slab_close(&n->swarm_slab);
	kr_slab_close(&n->fetch_slab);
	kr_slab_close(&n->request_slab);
	kr_slab_close(&n->upload_slab);
	kr_mem_put(n, n->conn_table);
	kr_mem_put(n, n->conn_gens);
	kr_mem_put(n, n->swarm_table);
	kr_mem_put(n, n->swarm_gens);
	kr_mem_put(n, n->slots);
	kr_mem_put(n, n->acts);
	kr_mem_put(n, n->out);
	kr_mem_put(n, n);
}

/* ---- after each event --------------------------------------------------- */

static void set_tick(struct kr_node *n)
{
	uint64_t due = KR_NEVER;

	if (n->inflight_count > 0 || n->slot_count > 0 || n->dial_count > 0 ||
	    (!kr_list_empty(&n->swarms) && !kr_list_empty(&n->conns)))
		due = n->now_ns + n->pol.tick_ns;
	else if (!kr_list_empty(&n->swarms) || !kr_list_empty(&n->conns) ||
		 !kr_list_empty(&n->lookups))
		due = n->now_ns + n->pol.tick_idle_ns;
	if (due < n->tick_ns)
		n->tick_ns = due;
}

static void settle(struct kr_node *n)
{
	kr_conn_reap(n);
	kr_swarm_ask(n);
	kr_slots_run(n);
	kr_conn_reap(n);
	set_tick(n);
}

/* ---- connections -------------------------------------------------------- */

enum kr_err kr_node_conn_accepted(struct kr_node *n, uint64_t now_ns,
				  const struct kr_addr *from,
				  uint32_t *ret_conn)
{
	enum kr_err err;

	kr_event_begin(n, now_ns);
	err = kr_conn_accept(n, from, ret_conn);
	settle(n);
	return err;
}

void kr_node_conn_connected(struct kr_node *n, uint64_t now_ns, uint32_t conn)
{
	struct kr_conn *c;

	kr_event_begin(n, now_ns);
	c = kr_conn_get(n, conn);
	if (c != NULL)
		kr_conn_connected(n, c);
	settle(n);
}

void kr_node_conn_closed(struct kr_node *n, uint64_t now_ns, uint32_t conn,
			 enum kr_err why)
{
	struct kr_conn *c;

	(void)why;
	kr_event_begin(n, now_ns);
	c = kr_conn_get(n, conn);
	if (c != NULL)
		kr_conn_gone(n, c);
	settle(n);
}

void kr_node_conn_bytes(struct kr_node *n, uint64_t now_ns, uint32_t conn,
			const uint8_t *buf, size_t len, size_t *ret_taken)
{
	struct kr_conn *c;

	kr_event_begin(n, now_ns);
	*ret_taken = len;
	c = kr_conn_get(n, conn);
	if (c != NULL)
		kr_conn_take(n, c, buf, len, ret_taken);
	settle(n);
}

void kr_node_body_done(struct kr_node *n, uint64_t now_ns, uint32_t conn)
{
	struct kr_conn *c;

	kr_event_begin(n, now_ns);
	c = kr_conn_get(n, conn);
	if (c != NULL)
		kr_fetch_body_done(n, c);
	settle(n);
}

void kr_node_conn_served(struct kr_node *n, uint64_t now_ns, uint32_t conn)
{
	struct kr_conn *c;

	kr_event_begin(n, now_ns);
	c = kr_conn_get(n, conn);
	if (c != NULL)
		kr_slots_served(n, c);
	settle(n);
}

bool kr_node_conn_peer(const struct kr_node *n, uint32_t conn,
		       struct kr_peer_id *ret_id, enum kr_peer_role *ret_role,
		       struct kr_addr *ret_addr)
{
	const struct kr_conn *c = kr_conn_get(n, conn);

	if (c == NULL || c->state != KR_CONN_OPEN)
		return false;
	*ret_id = c->id;
	*ret_role = (enum kr_peer_role)c->role;
	*ret_addr = c->addr;
	return true;
}

/* ---- blobs -------------------------------------------------------------- */

static uint32_t free_swarm_index(struct kr_node *n)
{
	const uint32_t max = (uint32_t)n->pol.blobs_max;

	while (n->swarm_table[n->swarm_next] != NULL)
		n->swarm_next = (n->swarm_next + 1) % max;
	return n->swarm_next;
}

static void fill_swarm(struct kr_node *n, struct kr_swarm *s,
		       const struct kr_blob_opts *o)
{
	kr_list_init(&s->all);
	kr_list_init(&s->tell);
	kr_list_init(&s->streams);
	kr_list_init(&s->fetches);
	kr_list_init(&s->orphans);
	s->rank = o->rank;
	s->by_lookup = o->lookup != 0;
	s->digest = o->digest;
	memcpy(s->metainfo_id, o->metainfo_id, KR_SHA256_LEN);
	s->size_bytes = o->size_bytes;
	s->piece_bytes = o->piece_bytes;
	s->block_bytes = n->pol.block_bytes < o->piece_bytes
				 ? (uint32_t)n->pol.block_bytes
				 : o->piece_bytes;
	s->piece_count =
		kr_metainfo_piece_count_for(o->size_bytes, o->piece_bytes);
	s->peers_interval_ns = n->pol.peers_interval_ns / 2;
	s->fed_ns = n->now_ns;
	for (uint32_t i = 0; i < KR_NODE_READERS_MAX; i++)
		s->readers[i] = UINT32_MAX;
}

/* A swarm that is in no table yet. */
static struct kr_swarm *swarm_make(struct kr_node *n,
				   const struct kr_blob_opts *o)
{
	const size_t ns_len = strlen(o->ns);
	struct kr_swarm *s = kr_slab_take(&n->swarm_slab);

	if (s == NULL)
		return NULL;
	fill_swarm(n, s, o);
	s->ns = kr_mem_get(n, ns_len + 1);
	if (s->ns == NULL ||
	    kr_picker_open(&s->picker, n->alloc, s->piece_count, o->complete,
			   o->have_words) != KR_OK) {
		kr_mem_put(n, s->ns);
		kr_slab_give(&n->swarm_slab, s);
		return NULL;
	}
	memcpy(s->ns, o->ns, ns_len);
	if (kr_digest_map_put(&n->by_digest, &s->digest, s) == KR_OK)
		return s;
	kr_picker_close(&s->picker, n->alloc);
	kr_mem_put(n, s->ns);
	kr_slab_give(&n->swarm_slab, s);
	return NULL;
}

/* Into the list, behind those of the same rank. */
static void enlist(struct kr_node *n, struct kr_swarm *s)
{
	struct kr_list *at = n->swarms.next;

	while (at != &n->swarms &&
	       KR_CONTAINER_OF(at, struct kr_swarm, all)->rank <= s->rank)
		at = at->next;
	kr_list_add_tail(at, &s->all);
}

static enum kr_err add_blob(struct kr_node *n, const struct kr_blob_opts *opts,
			    struct kr_swarm **ret)
{
	struct kr_swarm *s;

	kr_assert(opts->size_bytes > 0);
	kr_assert(opts->piece_bytes >= KR_PIECE_BYTES_MIN &&
		  opts->piece_bytes <= KR_PIECE_BYTES_MAX &&
		  (opts->piece_bytes & (opts->piece_bytes - 1)) == 0);
	kr_assert(kr_metainfo_piece_count_for(opts->size_bytes,
					      opts->piece_bytes) <=
		  KR_METAINFO_PIECES_MAX);
	kr_assert(strlen(opts->ns) > 0 && strlen(opts->ns) <= KR_NAMESPACE_MAX);
	if (n->shutting_down || n->swarm_count == n->pol.blobs_max)
		return KR_E_LIMIT;
	s = swarm_make(n, opts);
	if (s == NULL)
		return KR_E_NOMEM;
	const uint32_t index = free_swarm_index(n);
	n->swarm_next = (index + 1) % (uint32_t)n->pol.blobs_max;
	n->swarm_gens[index]++;
	s->handle = (uint32_t)n->swarm_gens[index] << 16 | index;
	n->swarm_table[index] = s;
	n->swarm_count++;
	enlist(n, s);
	*ret = s;
	return KR_OK;
}

static void begin_swarm(struct kr_node *n, struct kr_swarm *s, bool complete)
{
	struct kr_lookup *l;

	if (complete) {
		kr_list_del(&s->all);
		kr_list_add_tail(&n->complete, &s->all);
	} else if (kr_picker_complete(&s->picker)) {
		kr_swarm_done(n, s);
	}
	l = kr_lookup_find(n, 0, &s->digest);
	if (l != NULL)
		kr_lookup_answer(n, l, s);
	if (n->inflight_count == 0)
		n->near_full_ns = n->now_ns; /* begin in our own zone */
	kr_swarm_check_idle(n, s);
	kr_neighbours_seek(n, s);
	n->ask = true;
}

enum kr_err kr_node_blob_add(struct kr_node *n, uint64_t now_ns,
			     const struct kr_blob_opts *opts,
			     uint32_t *ret_blob)
{
	struct kr_swarm *s;
	enum kr_err err;

	kr_event_begin(n, now_ns);
	s = kr_digest_map_get(&n->by_digest, &opts->digest);
	if (s != NULL) {
		*ret_blob = s->handle;
		return KR_E_EXISTS;
	}
	err = add_blob(n, opts, &s);
	if (err != KR_OK) {
		if (opts->lookup != 0)
			kr_node_blob_absent(n, now_ns, opts->lookup);
		return err;
	}
	*ret_blob = s->handle;
	begin_swarm(n, s, opts->complete);
	settle(n);
	return KR_OK;
}

void kr_node_blob_remove(struct kr_node *n, uint64_t now_ns, uint32_t blob)
{
	struct kr_swarm *s;

	kr_event_begin(n, now_ns);
	s = kr_swarm_get(n, blob);
	if (s != NULL)
		leave_swarm(n, s);
	settle(n);
}

void kr_node_blob_absent(struct kr_node *n, uint64_t now_ns, uint32_t lookup)
{
	struct kr_lookup *l;

	kr_event_begin(n, now_ns);
	l = kr_lookup_find(n, lookup, NULL);
	if (l != NULL)
		kr_lookup_answer(n, l, NULL);
	settle(n);
}

void kr_node_blob_peers(struct kr_node *n, uint64_t now_ns, uint32_t blob,
			const struct kr_peer_hint *hints, size_t count)
{
	struct kr_swarm *s;

	kr_event_begin(n, now_ns);
	s = kr_swarm_get(n, blob);
	if (s != NULL && !kr_picker_complete(&s->picker))
		kr_neighbours_hints(n, s, hints, count);
	settle(n);
}

void kr_node_piece_verified(struct kr_node *n, uint64_t now_ns, uint32_t blob,
			    uint32_t piece, bool ok)
{
	struct kr_swarm *s;

	kr_event_begin(n, now_ns);
	s = kr_swarm_get(n, blob);
	if (s != NULL)
		kr_fetch_verdict(n, s, piece, ok);
	settle(n);
}

void kr_node_blob_reader(struct kr_node *n, uint64_t now_ns, uint32_t blob,
			 uint32_t reader, uint32_t first_piece)
{
	struct kr_swarm *s;

	kr_assert(reader < KR_NODE_READERS_MAX);
	kr_event_begin(n, now_ns);
	s = kr_swarm_get(n, blob);
	if (s != NULL) {
		if (first_piece >= s->piece_count)
			first_piece = UINT32_MAX;
		s->reader_count -= s->readers[reader] != UINT32_MAX;
		s->reader_count += first_piece != UINT32_MAX;
		s->readers[reader] = first_piece;
		n->ask = true;
	}
	settle(n);
}

/* ---- time --------------------------------------------------------------- */

static void tick(struct kr_node *n)
{
	n->tick_ns = KR_NEVER;
	kr_list_for_each_safe(it, &n->conns)
		kr_conn_tick(n, KR_CONTAINER_OF(it, struct kr_conn, all));
	kr_lookup_tick(n);
	kr_list_for_each (it, &n->swarms)
		kr_neighbours_seek(n,
				   KR_CONTAINER_OF(it, struct kr_swarm, all));
	kr_list_for_each (it, &n->complete)
		kr_reveal_tick(n, KR_CONTAINER_OF(it, struct kr_swarm, all));
	n->ask = true;
}

void kr_node_timer(struct kr_node *n, uint64_t now_ns)
{
	kr_event_begin(n, now_ns);
	n->timer_ns = KR_NEVER;
	kr_list_for_each (it, &n->swarms) {
		struct kr_swarm *s = KR_CONTAINER_OF(it, struct kr_swarm, all);

		if (s->fresh_count > 0 && s->fresh_due_ns <= now_ns)
			kr_tell_flush(n, s);
	}
	if (n->tick_ns <= now_ns)
		tick(n);
	settle(n);
}

void kr_node_shutdown(struct kr_node *n, uint64_t now_ns)
{
	kr_event_begin(n, now_ns);
	n->shutting_down = true;
	close_conns(n, KR_BYE_SHUTDOWN);
	settle(n);
}

/* ---- figures ------------------------------------------------------------ */

void kr_node_stats(const struct kr_node *n, struct kr_node_stats *ret)
{
	*ret = n->stats;
	kr_list_for_each (it, &n->conns) {
		const struct kr_conn *c =
			KR_CONTAINER_OF(it, struct kr_conn, all);
		ret->conns++;
		ret->conns_open += c->state == KR_CONN_OPEN;
	}
	ret->blobs = n->swarm_count;
	ret->inflight_requests = n->inflight_count;
	ret->inflight_bytes = n->inflight_bytes;
	ret->queued_upload_bytes = n->upload_bytes;
}

void kr_node_blob_stats(const struct kr_node *n, uint32_t blob,
			struct kr_blob_stats *ret)
{
	const struct kr_swarm *s = kr_swarm_get(n, blob);

	*ret = (struct kr_blob_stats){ 0 };
	if (s == NULL)
		return;
	ret->piece_count = s->piece_count;
	ret->have_count = s->picker.have_count;
	ret->neighbours = s->neighbour_count;
	ret->requested = s->fetch_count;
	memcpy(ret->bytes_from, s->bytes_from, sizeof(ret->bytes_from));
}
