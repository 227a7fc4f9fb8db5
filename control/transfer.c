/* The driver of a node: open and close, what the node wants done, and what is
 * due to the users.  The order of things: transfer_internal.h. */
#include <stdlib.h>
#include <string.h>

#include "control/transfer_internal.h"
#include "core/alloc.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/thread.h"

/* ---- actions */

static struct kr_wire *find_wire(struct kr_transfer *t, uint32_t id)
{
	return kr_u64_map_get(&t->conns, id);
}

static void on_node_timer(struct kr_timer *timer)
{
	struct kr_transfer *t =
		KR_CONTAINER_OF(timer, struct kr_transfer, node_timer);

	kr_node_timer(t->node, kr_transfer_now(t));
	kr_transfer_pump(t);
}

static void note_bad_peer(struct kr_transfer *t, const struct kr_action *a)
{
	struct kr_blob *b = kr_blob_of_handle(t, a->blob);
	struct kr_bad_peer *bad = b == NULL ? NULL : calloc(1, sizeof(*bad));

	kr_log_warn("transfer", "peer sent bytes that do not match their hash",
		    KR_ADDR("peer", &a->addr), KR_U64("piece", a->piece),
		    KR_DIGEST("blob", b == NULL ? &a->digest : &b->digest));
	if (bad == NULL)
		return;
	kr_blob_hold(b);
	bad->blob = b;
	bad->id = a->peer;
	bad->addr = a->addr;
	kr_list_add_tail(&t->bad, &bad->link);
	kr_transfer_call_back(t);
}

static void dispatch_wire(struct kr_transfer *t, const struct kr_action *a)
{
	struct kr_wire *c = find_wire(t, a->conn);

	if (c == NULL)
		return;
	switch (a->type) {
	case KR_ACT_SEND:
		kr_wire_append(c, a->bytes, a->len);
		break;
	case KR_ACT_SERVE:
		kr_wire_serve(c, kr_blob_of_handle(t, a->blob), a);
		break;
	case KR_ACT_BODY:
		kr_wire_body(c, a);
		break;
	default:
		kr_wire_goodbye(c, a->reason);
		break;
	}
}

static void dispatch_blob(struct kr_transfer *t, const struct kr_action *a)
{
	struct kr_blob *b = kr_blob_of_handle(t, a->blob);

	if (b == NULL)
		return;
	switch (a->type) {
	case KR_ACT_VERIFY:
		kr_blob_verify(b, a->piece);
		break;
	case KR_ACT_DONE:
		kr_blob_commit(b);
		break;
	case KR_ACT_PEERS:
		b->want_peers = true;
		kr_blob_notice(b);
		break;
	case KR_ACT_DISPUTE:
		b->is_disputed = true;
		kr_blob_notice(b);
		break;
	default:
		kr_blob_linger(b);
		break;
	}
}

static void dispatch(struct kr_transfer *t, const struct kr_action *a)
{
	switch (a->type) {
	case KR_ACT_DIAL:
		kr_wire_dial(t, a->conn, &a->addr);
		break;
	case KR_ACT_SEND:
	case KR_ACT_SERVE:
	case KR_ACT_BODY:
	case KR_ACT_CLOSE:
		dispatch_wire(t, a);
		break;
	case KR_ACT_VERIFY:
	case KR_ACT_DONE:
	case KR_ACT_PEERS:
	case KR_ACT_IDLE:
	case KR_ACT_DISPUTE:
		dispatch_blob(t, a);
		break;
	case KR_ACT_LOOKUP:
		kr_transfer_look_up(t, a);
		break;
	case KR_ACT_BAD:
		note_bad_peer(t, a);
		break;
	case KR_ACT_TIMER:
		kr_io_timer_set(t->io, &t->node_timer, a->at_ns, on_node_timer);
		break;
	}
}

/* Give one of the events that are due; false: there is none. */
static bool give_event(struct kr_transfer *t)
{
	struct kr_list *it = kr_list_first(&t->lost);

	if (it != NULL) {
		struct kr_wire *c = KR_CONTAINER_OF(it, struct kr_wire, lost);

		kr_list_del(&c->lost);
		kr_u64_map_del(&t->conns, c->id);
		kr_node_conn_closed(t->node, kr_transfer_now(t), c->id, c->why);
		kr_wire_free_if_idle(c);
		return true;
	}
	it = kr_list_first(&t->answers);
	if (it == NULL)
		return false;
	kr_list_del(it);
	kr_transfer_answer(KR_CONTAINER_OF(it, struct kr_seek, link));
	return true;
}

static void start_output(struct kr_transfer *t)
{
	struct kr_list *it;

	while ((it = kr_list_first(&t->ready)) != NULL) {
		kr_list_del(it);
		kr_wire_start_output(
			KR_CONTAINER_OF(it, struct kr_wire, ready));
	}
}

static void drain(struct kr_transfer *t)
{
	struct kr_action a;

	kr_assert(!t->is_draining);
	t->is_draining = true;
	while (kr_node_next_action(t->node, &a)) {
		dispatch(t, &a);
		if (a.type != KR_ACT_TIMER) /* else it might be idle */
			kr_transfer_stats_soon(t);
	}
	t->is_draining = false;
}

/* Called again from within give_event it only drains: the loop further out
 * goes on with the rest. */
void kr_transfer_pump(struct kr_transfer *t)
{
	drain(t);
	if (t->is_giving)
		return;
	t->is_giving = true;
	while (give_event(t))
		drain(t);
	t->is_giving = false;
	start_output(t);
}

/* ---- call-backs to users */

static void call_bad_peers(struct kr_transfer *t)
{
	struct kr_list *it;

	while ((it = kr_list_first(&t->bad)) != NULL) {
		struct kr_bad_peer *bad =
			KR_CONTAINER_OF(it, struct kr_bad_peer, link);

		kr_list_del(it);
		if (t->bad_peer != NULL && !t->is_closing)
			t->bad_peer(t->ctx, bad->blob, &bad->id, &bad->addr);
		kr_blob_drop(bad->blob);
		free(bad);
	}
}

static void call_notices(struct kr_transfer *t)
{
	struct kr_list *it;

	while ((it = kr_list_first(&t->notices)) != NULL) {
		struct kr_blob *b = KR_CONTAINER_OF(it, struct kr_blob, notice);
		const bool changed = b->is_changed;
		const bool peers = b->want_peers && b->in_node;
		const bool disputed = b->is_disputed && b->in_node;

		kr_list_del(it);
		b->is_changed = b->want_peers = b->is_disputed = false;
		if (changed && t->changed != NULL && !t->is_closing)
			t->changed(t->ctx, b, b->state == KR_BLOB_COMPLETE);
		if (peers && t->need_peers != NULL && !t->is_closing)
			t->need_peers(t->ctx, b);
		if (disputed && t->disputed != NULL && !t->is_closing)
			t->disputed(t->ctx, b);
		kr_blob_drop(b);
	}
}

static void call_waits(struct kr_transfer *t)
{
	struct kr_list *it;

	while ((it = kr_list_first(&t->due_waits)) != NULL) {
		struct kr_blob_wait *w =
			KR_CONTAINER_OF(it, struct kr_blob_wait, link);

		kr_list_del(it);
		w->blob = NULL;
		w->done(w, w->err);
	}
}

static void call_sends(struct kr_transfer *t)
{
	struct kr_list *it;

	while ((it = kr_list_first(&t->due_sends)) != NULL) {
		struct kr_blob_send *s =
			KR_CONTAINER_OF(it, struct kr_blob_send, link);
		struct kr_blob *b = s->blob;

		kr_list_del(it);
		s->blob = NULL;
		s->done(s, s->err, s->moved_bytes);
		kr_blob_put(b);
	}
}

static void on_call_back(struct kr_timer *timer)
{
	struct kr_transfer *t =
		KR_CONTAINER_OF(timer, struct kr_transfer, call_timer);

	t->is_call_due = false;
	call_notices(t);
	call_waits(t);
	call_sends(t);
	call_bad_peers(t);
}

void kr_transfer_call_back(struct kr_transfer *t)
{
	if (t->is_call_due)
		return;
	t->is_call_due = true;
	kr_io_timer_set(t->io, &t->call_timer, kr_transfer_now(t),
			on_call_back);
}

/* ---- opening */

/*
 * The window of requests must fit the block buffers beside what is being
 * verified; a quarter of them is left for that and for uploads.
 */
static enum kr_err set_policy(struct kr_transfer *t,
			      const struct kr_transfer_opts *o)
{
	struct kr_policy *p = &t->policy;
	const uint64_t buffer = kr_io_buffer_size_bytes(t->io);
	const uint64_t conns =
		o->connections_max != 0 ? o->connections_max : 4096;
	/* All are free when a transfer is opened at start; a second one on
	 * the same ring sees what is free, which is what it may use. */
	const uint64_t room = kr_io_buffer_free_count(t->io) * buffer / 4 * 3;

	if (o->policy != NULL)
		*p = *o->policy;
	else
		kr_policy_defaults(p);
	if (p->block_bytes > buffer || room < p->block_bytes) {
		kr_log_error("transfer",
			     "block buffers are too small or too few for the "
			     "block length: raise them or lower block_bytes",
			     KR_U64("block_bytes", p->block_bytes),
			     KR_U64("buffer_bytes", buffer),
			     KR_U64("room_bytes", room));
		return KR_E_CONFIG;
	}
	if (p->window_max_bytes > room)
		p->window_max_bytes = room;
	if (p->window_min_bytes > p->window_max_bytes)
		p->window_min_bytes = p->window_max_bytes;
	if (p->conns_max > conns)
		p->conns_max = conns;
	return KR_OK;
}

static void init_lists(struct kr_transfer *t)
{
	struct kr_list *const lists[] = {
		&t->all_blobs, &t->all_conns,    &t->lost,   &t->answers,
		&t->ready,     &t->notices,      &t->bad,    &t->due_waits,
		&t->due_sends, &t->verify_queue, &t->guests,
	};

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		kr_list_init(lists[i]);
	kr_digest_map_open(&t->blobs, kr_alloc_heap());
	kr_u64_map_open(&t->handles, kr_alloc_heap());
	kr_u64_map_open(&t->conns, kr_alloc_heap());
}

static void set_verify_max(struct kr_transfer *t)
{
	const uint32_t cores = kr_thread_cores();

	t->verify_max = cores < 2 ? 2 : cores;
	if (t->verify_max > KR_VERIFY_JOBS_MAX)
		t->verify_max = KR_VERIFY_JOBS_MAX;
	for (uint32_t i = 0; i < KR_VERIFY_JOBS_MAX; i++)
		t->verifies[i].t = t;
	t->spill.t = t;
}

static void open_paces(struct kr_transfer *t)
{
	const struct kr_policy *p = &t->policy;

	kr_pace_open(&t->up, t->io, p->up_bytes_per_s, p);
	kr_pace_open(&t->down, t->io, p->down_bytes_per_s, p);
}

static void free_transfer(struct kr_transfer *t)
{
	if (t->node != NULL)
		kr_node_close(t->node);
	kr_digest_map_close(&t->blobs);
	kr_u64_map_close(&t->handles);
	kr_u64_map_close(&t->conns);
	free(t);
}

static enum kr_err open_node(struct kr_transfer *t,
			     const struct kr_transfer_opts *o)
{
	const struct kr_node_opts n = {
		.alloc = kr_alloc_heap(),
		.policy = &t->policy,
		.id = o->id,
		.role = o->role,
		.cluster = o->cluster,
		.zone = o->zone != NULL ? o->zone : "",
		.listen_port = t->listener.at.port,
		.seed = kr_clock_entropy(),
	};

	return kr_node_open(&n, &t->node);
}

enum kr_err kr_transfer_open(const struct kr_transfer_opts *opts,
			     struct kr_transfer **ret)
{
	struct kr_transfer *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return KR_E_NOMEM;
	t->io = opts->io;
	t->store = opts->store;
	t->lender = opts->lender;
	t->reactor = opts->reactor;
	t->listener.share = opts->share;
	t->verify_full = opts->verify_full;
	t->ctx = opts->ctx;
	t->need_peers = opts->need_peers;
	t->need_room = opts->need_room;
	t->bad_peer = opts->bad_peer;
	t->disputed = opts->disputed;
	t->changed = opts->changed;
	init_lists(t);
	set_verify_max(t);
	enum kr_err err = set_policy(t, opts);

	open_paces(t);
	if (opts->up != NULL)
		kr_pace_share(&t->up, opts->up);
	if (err == KR_OK)
		err = kr_io_listen(t->io, &t->listener, &opts->listen,
				   t->lender != NULL ? kr_guest_accept
						     : kr_wire_accept);
	if (err != KR_OK) {
		free_transfer(t);
		return err;
	}
	err = open_node(t, opts);
	if (err != KR_OK) {
		kr_io_unlisten(t->io, &t->listener);
		kr_transfer_close(t);
		return err;
	}
	kr_transfer_stats_open(t);
	kr_transfer_pump(t);
	*ret = t;
	return KR_OK;
}

struct kr_addr kr_transfer_addr(const struct kr_transfer *t)
{
	return t->listener.at;
}

void kr_transfer_admit(struct kr_transfer *t, int fd,
		       const struct kr_addr *from, const uint8_t *bytes,
		       uint32_t len)
{
	kr_wire_admit(t, fd, from, bytes, len);
}

/* ---- closing */

static bool is_quiet(const struct kr_transfer *t)
{
	if (!kr_list_empty(&t->all_conns) || t->guest_count > 0 ||
	    t->jobs > 0 || !kr_list_empty(&t->due_waits) ||
	    !kr_list_empty(&t->due_sends) || !kr_list_empty(&t->notices) ||
	    !kr_list_empty(&t->bad) || kr_op_busy(&t->listener.op))
		return false;
	kr_list_for_each (it, &t->all_blobs) {
		const struct kr_blob *b =
			KR_CONTAINER_OF(it, struct kr_blob, link);

		if (b->jobs > 0 || !kr_list_empty(&b->sends))
			return false;
	}
	return true;
}

/* Sees to it that the ring turns while we wait for it to end. */
static void on_close_tick(struct kr_timer *timer)
{
	struct kr_transfer *t =
		KR_CONTAINER_OF(timer, struct kr_transfer, close_timer);

	kr_io_timer_set(t->io, &t->close_timer,
			kr_transfer_now(t) + KR_CLOSE_TICK_NS, on_close_tick);
}

static void let_all_go(struct kr_transfer *t)
{
	kr_list_for_each_safe(it, &t->all_blobs)
	{
		struct kr_blob *b = KR_CONTAINER_OF(it, struct kr_blob, link);

		kr_blob_hold(b);
		kr_blob_sends_fail(b, KR_E_CANCELED);
		if (b->state != KR_BLOB_FAILED)
			kr_blob_fail(b, KR_E_CANCELED, true);
		it_next = b->link.next; /* others may have gone meanwhile */
		kr_blob_drop(b);
	}
}

/* Users may still hold references: those blobs live on without us. */
static void orphan_blobs(struct kr_transfer *t)
{
	kr_list_for_each_safe(it, &t->all_blobs)
		kr_blob_orphan(KR_CONTAINER_OF(it, struct kr_blob, link));
}

void kr_transfer_close(struct kr_transfer *t)
{
	if (t == NULL)
		return;
	t->is_closing = true;
	if (t->node != NULL) {
		kr_io_unlisten(t->io, &t->listener);
		kr_guests_end(t);
		let_all_go(t);
		kr_node_shutdown(t->node, kr_transfer_now(t));
		kr_transfer_pump(t);
	}
	on_close_tick(&t->close_timer);
	while (!is_quiet(t))
		kr_io_turn(t->io);
	kr_transfer_stats_close(t);
	kr_io_timer_stop(t->io, &t->node_timer);
	kr_io_timer_stop(t->io, &t->call_timer);
	kr_io_timer_stop(t->io, &t->stats_timer);
	kr_io_timer_stop(t->io, &t->close_timer);
	kr_pace_close(&t->up);
	kr_pace_close(&t->down);
	orphan_blobs(t);
	free_transfer(t);
}

/* ---- the rest of the interface that is about all blobs */

void kr_transfer_for_each(struct kr_transfer *t, kr_blob_visit_fn *fn,
			  void *ctx)
{
	kr_list_for_each_safe(it, &t->all_blobs)
	{
		struct kr_blob *b = KR_CONTAINER_OF(it, struct kr_blob, link);

		kr_blob_hold(b);
		if (b->is_listed)
			fn(ctx, b);
		it_next = b->link.next;
		kr_blob_drop(b);
	}
}

void kr_transfer_stats(const struct kr_transfer *t, struct kr_node_stats *ret)
{
	kr_node_stats(t->node, ret);
}
