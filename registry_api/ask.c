#define _GNU_SOURCE
#include "registry_api/ask.h"

#include <string.h>

static void on_call_done(struct kr_reg_call *call)
{
	struct kr_ask *ask = call->http;

	kr_assert(ask->flying);
	ask->flying = false;
	kr_list_del(&ask->link);
	ask->done(ask);
}

static void on_messages(h2o_multithread_receiver_t *receiver,
			h2o_linklist_t *messages)
{
	(void)receiver;
	while (!h2o_linklist_is_empty(messages)) {
		h2o_multithread_message_t *m = KR_CONTAINER_OF(
			messages->next, h2o_multithread_message_t, link);
		struct kr_ask *ask = KR_CONTAINER_OF(m, struct kr_ask, message);
		h2o_linklist_unlink(&m->link);
		ask->call.on_done(&ask->call);
	}
}

void kr_ask_queue_init(struct kr_ask_queue *q, h2o_multithread_queue_t *mq,
		       const struct kr_registry *registry)
{
	memset(q, 0, sizeof(*q));
	q->registry = registry;
	kr_list_init(&q->flying);
	h2o_multithread_register_receiver(mq, &q->receiver, on_messages);
}

void kr_ask_queue_fini(struct kr_ask_queue *q)
{
	kr_assert(kr_ask_queue_is_idle(q));
	h2o_multithread_unregister_receiver(q->receiver.queue, &q->receiver);
}

struct kr_reg_call *kr_ask_prepare(struct kr_ask *ask, enum kr_reg_op op)
{
	kr_assert(!ask->flying);
	memset(&ask->call, 0, sizeof(ask->call));
	ask->call.op = op;
	ask->call.fd = -1;
	return &ask->call;
}

void kr_ask_start(struct kr_ask_queue *q, struct kr_ask *ask, void *owner,
		  kr_ask_done_fn *done)
{
	kr_assert(!ask->flying);
	ask->queue = q;
	ask->owner = owner;
	ask->done = done;
	ask->flying = true;
	ask->canceled = false;
	ask->call.http = ask;
	ask->call.on_done = on_call_done;
	memset(&ask->message, 0, sizeof(ask->message));
	kr_list_add_tail(&q->flying, &ask->link);
	q->registry->submit(q->registry->ctx, &ask->call);
}

void kr_ask_cancel(struct kr_ask *ask)
{
	if (!ask->flying || ask->canceled)
		return;
	ask->canceled = true;
	ask->queue->registry->cancel(ask->queue->registry->ctx, &ask->call);
}

void kr_ask_cancel_all(struct kr_ask_queue *q)
{
	kr_list_for_each_safe(it, &q->flying)
	{
		struct kr_ask *ask = KR_CONTAINER_OF(it, struct kr_ask, link);
		/* What gives something back runs to its end. */
		if (ask->call.op != KR_REG_BLOB_CLOSE &&
		    ask->call.op != KR_REG_UPLOAD_CANCEL)
			kr_ask_cancel(ask);
	}
}

/* Between the two counts @message may be gone, and with it what holds it. */
static void send_message(struct kr_ask_queue *q,
			 h2o_multithread_message_t *message)
{
	atomic_fetch_add(&q->senders, 1);
	h2o_multithread_send_message(&q->receiver, message);
	atomic_fetch_sub(&q->senders, 1);
}

void kr_reg_done(struct kr_reg_call *call)
{
	struct kr_ask *ask = call->http;

	send_message(ask->queue, &ask->message);
}

void kr_ask_queue_tell(struct kr_ask_queue *q, atomic_bool *flag)
{
	atomic_fetch_add(&q->senders, 1);
	atomic_store(flag, true);
	h2o_multithread_send_message(&q->receiver, NULL);
	atomic_fetch_sub(&q->senders, 1);
}

bool kr_ask_queue_is_idle(const struct kr_ask_queue *q)
{
	return kr_list_empty(&q->flying) && atomic_load(&q->senders) == 0;
}
