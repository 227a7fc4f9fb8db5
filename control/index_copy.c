/*
 *	idle --timer, kick--> taking --items--> copying --all ended--> taking ...
 *	  ^                      |
 *	  +------ none is due ---+
 */
#include "control/index_copy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/index_msg.h"
#include "core/clock.h"
#include "core/list.h"
#include "core/log.h"

struct slot {
	struct index_copy *copy;
	const struct kr_queue_item *item;
	struct kr_rpc_call call;
	struct kr_queue_req req;
	struct kr_index_object_req object;
	uint8_t *params; /* of an object */
	bool copied;
	struct kr_timer again; /* what became of it could not be written */
};

struct index_copy {
	struct index_copy_opts opts;
	char kind[KR_INDEX_COPY_KIND_MAX];
	char name[KR_INDEX_COPY_KIND_MAX];
	struct kr_rpc_client *client;
	struct kr_timer timer;
	struct kr_queue_req take;
	enum kr_err take_err;
	struct kr_queue_item items[KR_INDEX_COPY_BATCH];
	struct slot slots[KR_INDEX_COPY_BATCH];
	uint32_t under_way; /* slots */
	bool busy;          /* taking or copying */
	bool kicked, stopped;
	bool failing; /* the last copy did */
};

static void take(struct index_copy *c);

void index_copy_kind(const char *name, char kind[KR_INDEX_COPY_KIND_MAX])
{
	(void)snprintf(kind, KR_INDEX_COPY_KIND_MAX, "index.copy:%s", name);
}

static void on_timer(struct kr_timer *t)
{
	take(KR_CONTAINER_OF(t, struct index_copy, timer));
}

static void rest(struct index_copy *c)
{
	c->busy = false;
	if (c->stopped)
		return;
	if (c->kicked)
		take(c);
	else if (c->take_err != KR_OK || c->take.next_due_ns != UINT64_MAX)
		kr_io_timer_set(c->opts.io, &c->timer,
				kr_io_now_ns(c->opts.io) + c->opts.interval_ns,
				on_timer);
}

static void end_slot(struct slot *s)
{
	struct index_copy *c = s->copy;

	kr_index_object_fini(&s->object);
	free(s->params);
	s->params = NULL;
	c->under_way--;
	if (c->under_way > 0)
		return;
	c->kicked = true; /* there may be more */
	rest(c);
}

static void settle(struct slot *s);

static void settle_again(struct kr_timer *t)
{
	settle(KR_CONTAINER_OF(t, struct slot, again));
}

/* An item that is left at work would not be taken again before a restart. */
static void on_settled(struct kr_queue_req *r, enum kr_err err)
{
	struct slot *s = KR_CONTAINER_OF(r, struct slot, req);
	struct index_copy *c = s->copy;

	if (err == KR_OK || c->stopped) {
		end_slot(s);
		return;
	}
	kr_log_error("index", "the queue cannot be written: tried again",
		     KR_STR("index", c->name), KR_STR("key", s->item->key),
		     KR_ERR("error", err));
	kr_io_timer_set(c->opts.io, &s->again,
			kr_io_now_ns(c->opts.io) + c->opts.interval_ns,
			settle_again);
}

/* Write to the queue what became of the item. */
static void settle(struct slot *s)
{
	struct kr_queue *queue = s->copy->opts.queue;

	if (s->copied)
		kr_queue_done(queue, &s->req, s->item, on_settled);
	else
		kr_queue_fail(queue, &s->req, s->item, kr_clock_wall_ns(),
			      on_settled);
}

static void fail_slot(struct slot *s, enum kr_err err, const char *text)
{
	struct index_copy *c = s->copy;

	if (!c->failing)
		kr_log_warn("index", "cannot copy an entry; will retry",
			    KR_STR("index", c->name),
			    KR_STR("key", s->item->key), KR_ERR("error", err),
			    KR_STR("said", text));
	c->failing = true;
	settle(s);
}

static void on_merged(struct kr_rpc_call *call, enum kr_err err,
		      struct kr_bytes result, const char *text)
{
	struct slot *s = KR_CONTAINER_OF(call, struct slot, call);
	struct index_copy *c = s->copy;

	(void)result;
	if (c->stopped) {
		end_slot(s);
		return;
	}
	if (err == KR_OK) {
		if (c->failing)
			kr_log_info("index", "entries are copied again",
				    KR_STR("index", c->name));
		c->failing = false;
		s->copied = true;
		settle(s);
		return;
	}
	fail_slot(s, err, text);
}

static void call(struct slot *s, const char *method, struct kr_bytes params)
{
	struct index_copy *c = s->copy;

	kr_rpc_call(c->client, &s->call, method, params, c->opts.timeout_ns,
		    on_merged);
}

/* ---- objects ---- */

static enum kr_err encode_object(struct slot *s, size_t *ret_len)
{
	const struct kr_index_object *o = &s->object.obj;
	const size_t cap = kr_index_msg_object_len(o, "", 0);
	struct kr_mp_writer w;

	s->params = malloc(cap);
	if (s->params == NULL)
		return KR_E_NOMEM;
	kr_mp_w_init(&w, s->params, cap);
	kr_index_msg_object_encode(&w, o, "", 0, true);
	return kr_mp_w_done(&w, ret_len);
}

static void on_read(struct kr_index_object_req *r, enum kr_err err)
{
	struct slot *s = KR_CONTAINER_OF(r, struct slot, object);
	size_t len = 0;

	if (s->copy->stopped) {
		end_slot(s);
		return;
	}
	if (err == KR_OK)
		err = encode_object(s, &len);
	if (err == KR_OK)
		call(s, "index.merge_object",
		     (struct kr_bytes){ s->params, len });
	else
		fail_slot(s, err, "");
}

static void copy_object(struct slot *s)
{
	const struct kr_bytes name = { s->item->payload, s->item->payload_len };
	struct kr_index_msg_object m;
	const enum kr_err err = kr_index_msg_object_decode(name, &m);

	kr_assert(err == KR_OK); /* index_object_sql.c wrote it */
	kr_index_object_read(s->copy->opts.index, &s->object, m.o.kind,
			     m.o.repo, &m.o.digest, on_read);
}

/* ---- batches ---- */

static void begin_slot(struct slot *s)
{
	if (s->item->key[0] == KR_INDEX_KEY_MARK)
		copy_object(s);
	else
		call(s, "index.merge",
		     (struct kr_bytes){ s->item->payload,
					s->item->payload_len });
}

static void on_taken(struct kr_queue_req *r, enum kr_err err)
{
	struct index_copy *c = KR_CONTAINER_OF(r, struct index_copy, take);

	c->take_err = err;
	if (c->stopped || err != KR_OK || r->item_count == 0) {
		rest(c);
		return;
	}
	c->under_way = r->item_count;
	for (uint32_t i = 0; i < r->item_count; i++) {
		struct slot *s = &c->slots[i];

		s->copy = c;
		s->item = &c->items[i];
		s->copied = false;
		begin_slot(s);
	}
}

static void take(struct index_copy *c)
{
	c->busy = true;
	c->kicked = false;
	kr_queue_take(c->opts.queue, &c->take, c->kind, kr_clock_wall_ns(),
		      c->items, KR_INDEX_COPY_BATCH, on_taken);
}

void index_copy_kick(struct index_copy *c)
{
	c->kicked = true;
	if (c->busy || c->stopped)
		return;
	kr_io_timer_stop(c->opts.io, &c->timer);
	take(c);
}

enum kr_err index_copy_open(const struct index_copy_opts *opts,
			    struct index_copy **ret)
{
	const struct kr_rpc_client_opts o = { .to = opts->to };
	struct index_copy *c = calloc(1, sizeof(*c));
	enum kr_err err;

	if (c == NULL)
		return KR_E_NOMEM;
	c->opts = *opts;
	(void)snprintf(c->name, sizeof(c->name), "%s", opts->name);
	index_copy_kind(opts->name, c->kind);
	err = kr_rpc_client_open(opts->io, &o, &c->client);
	if (err != KR_OK) {
		free(c);
		return err;
	}
	take(c);
	*ret = c;
	return KR_OK;
}

void index_copy_stop(struct index_copy *c)
{
	c->stopped = true;
	kr_io_timer_stop(c->opts.io, &c->timer);
	for (uint32_t i = 0; i < KR_INDEX_COPY_BATCH; i++)
		kr_io_timer_stop(c->opts.io, &c->slots[i].again);
	kr_rpc_client_close(c->client);
}

void index_copy_free(struct index_copy *c)
{
	free(c);
}
