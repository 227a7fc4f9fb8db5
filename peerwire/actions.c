/*
 * What comes out of a node waits here until the driver takes it: a list of
 * small records and one run of bytes for all frames of an event.  Both grow to
 * what the busiest event needed and stay, so in the steady state nothing is
 * allocated.  What must not be lost for want of memory does not stand in the
 * list: connections to be closed and blobs that are done are linked lists.
 */
#include <stdalign.h>
#include <string.h>

#include "peerwire/state.h"

enum { ACTS_MIN = 32, OUT_MIN = 2048 };

void *kr_mem_get(struct kr_node *n, size_t bytes)
{
	void *ptr = n->alloc->get(n->alloc->ctx, bytes, alignof(max_align_t));

	if (ptr != NULL)
		memset(ptr, 0, bytes);
	return ptr;
}

void kr_mem_put(struct kr_node *n, void *ptr)
{
	n->alloc->put(n->alloc->ctx, ptr);
}

void kr_event_begin(struct kr_node *n, uint64_t now_ns)
{
	kr_assert(now_ns >= n->now_ns);
	n->now_ns = now_ns;
	if (n->act_at < n->act_count)
		return; /* two events in a row: nothing is lost */
	n->act_at = n->act_count = 0;
	n->out_len = 0;
}

static bool grow(struct kr_node *n, void **mem, size_t used, size_t want)
{
	void *bigger = kr_mem_get(n, want);

	if (bigger == NULL)
		return false;
	if (used > 0)
		memcpy(bigger, *mem, used);
	kr_mem_put(n, *mem);
	*mem = bigger;
	return true;
}

struct kr_act *kr_act_add(struct kr_node *n, enum kr_action_type type)
{
	if (n->act_count == n->act_cap) {
		const uint32_t cap = n->act_cap ? 2 * n->act_cap : ACTS_MIN;
		void *mem = n->acts;

		if (!grow(n, &mem, n->act_count * sizeof(*n->acts),
			  cap * sizeof(*n->acts)))
			return NULL;
		n->acts = mem;
		n->act_cap = cap;
	}
	struct kr_act *a = &n->acts[n->act_count++];
	*a = (struct kr_act){ .type = type };
	return a;
}

static bool out_has_room(struct kr_node *n, size_t cap)
{
	size_t want = n->out_cap ? n->out_cap : OUT_MIN;
	void *mem = n->out;

	if (n->out_cap - n->out_len >= cap)
		return true;
	while (want - n->out_len < cap)
		want *= 2;
	if (!grow(n, &mem, n->out_len, want))
		return false;
	n->out = mem;
	n->out_cap = want;
	return true;
}

static void break_conn(struct kr_node *n, struct kr_conn *c)
{
	if (c->state == KR_CONN_CLOSING)
		return;
	c->broken = true;
	n->broken = true;
}

uint8_t *kr_send_begin(struct kr_node *n, struct kr_conn *c, size_t cap)
{
	if (!c->broken && out_has_room(n, cap))
		return n->out + n->out_len;
	break_conn(n, c);
	return NULL;
}

void kr_send_end(struct kr_node *n, struct kr_conn *c, size_t len)
{
	struct kr_act *last = NULL;

	if (n->act_count > n->act_at)
		last = &n->acts[n->act_count - 1];
	if (last == NULL || last->type != KR_ACT_SEND ||
	    last->conn != c->handle || last->at + last->len != n->out_len) {
		last = kr_act_add(n, KR_ACT_SEND);
		if (last == NULL) {
			break_conn(n, c);
			return;
		}
		last->conn = c->handle;
		last->at = n->out_len;
	}
	last->len += (uint32_t)len;
	n->out_len += len;
	n->stats.frames_out++;
	n->stats.control_bytes_out += len;
}

void kr_send_plain(struct kr_node *n, struct kr_conn *c,
		   enum kr_frame_type type, uint16_t stream, uint32_t arg)
{
	uint8_t *buf = kr_send_begin(n, c, KR_FRAME_HEAD_LEN);

	if (buf == NULL)
		return;
	kr_msg_plain_encode(type, stream, arg, buf);
	kr_send_end(n, c, KR_FRAME_HEAD_LEN);
}

void kr_tell_swarm(struct kr_node *n, struct kr_swarm *s)
{
	if (kr_list_empty(&s->tell))
		kr_list_add_tail(&n->tell, &s->tell);
}

static bool take_act(struct kr_node *n, struct kr_action *ret)
{
	if (n->act_at == n->act_count)
		return false;
	const struct kr_act *a = &n->acts[n->act_at++];
	*ret = (struct kr_action){
		.type = a->type,
		.conn = a->conn,
		.blob = a->blob,
		.piece = a->piece,
		.offset = a->offset,
		.len = a->len,
		.discard = a->discard,
		.addr = a->addr,
		.peer = a->peer,
		.lookup = a->lookup,
	};
	if (a->type == KR_ACT_SEND)
		ret->bytes = n->out + a->at;
	if (a->type == KR_ACT_SERVE) {
		ret->head_len = KR_FRAME_BLOCK_LEN;
		memcpy(ret->head, a->head, KR_FRAME_BLOCK_LEN);
	}
	return true;
}

/* A lookup may have been answered meanwhile: then there is nothing to say. */
static bool fill_lookup(const struct kr_node *n, struct kr_action *a)
{
	const struct kr_lookup *l = kr_lookup_find(n, a->lookup, NULL);

	if (l == NULL)
		return false;
	a->digest = l->digest;
	memcpy(a->ns, l->ns, sizeof(a->ns));
	return true;
}

static bool take_tell(struct kr_node *n, struct kr_action *ret)
{
	struct kr_list *first = kr_list_first(&n->tell);

	if (first == NULL)
		return false;
	struct kr_swarm *s = KR_CONTAINER_OF(first, struct kr_swarm, tell);
	*ret = (struct kr_action){ .blob = s->handle };
	if (s->done_due) {
		s->done_due = false;
		ret->type = KR_ACT_DONE;
	} else {
		s->idle_due = false;
		ret->type = KR_ACT_IDLE;
	}
	if (!s->done_due && !s->idle_due)
		kr_list_del(&s->tell);
	return true;
}

static bool take_close(struct kr_node *n, struct kr_action *ret)
{
	struct kr_list *first = kr_list_first(&n->closing);

	if (first == NULL)
		return false;
	struct kr_conn *c = KR_CONTAINER_OF(first, struct kr_conn, all);
	*ret = (struct kr_action){ .type = KR_ACT_CLOSE,
				   .conn = c->handle,
				   .reason = c->reason };
	kr_conn_free(n, c);
	return true;
}

/* When the driver must call next; KR_NEVER if nothing waits for time. */
static uint64_t next_due_ns(const struct kr_node *n)
{
	uint64_t due = n->tick_ns;

	kr_list_for_each (it, &n->swarms) {
		const struct kr_swarm *s =
			KR_CONTAINER_OF(it, struct kr_swarm, all);
		if (s->fresh_count > 0 && s->fresh_due_ns < due)
			due = s->fresh_due_ns;
	}
	return due;
}

static bool take_timer(struct kr_node *n, struct kr_action *ret)
{
	const uint64_t due = next_due_ns(n);

	if (due == n->timer_ns || due == KR_NEVER)
		return false;
	n->timer_ns = due;
	*ret = (struct kr_action){ .type = KR_ACT_TIMER, .at_ns = due };
	return true;
}

bool kr_node_next_action(struct kr_node *n, struct kr_action *ret)
{
	while (take_act(n, ret))
		if (ret->type != KR_ACT_LOOKUP || fill_lookup(n, ret))
			return true;
	return take_tell(n, ret) || take_close(n, ret) || take_timer(n, ret);
}
