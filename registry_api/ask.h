/*
 * registry_api/ask.h - a call to the role, and what the HTTP thread does when
 * it comes back.
 *
 *	idle -- kr_ask_start --> flying -- kr_reg_done, any thread -->
 *	     <-- done(ask), on the HTTP thread --
 *
 * HTTP thread only, but for kr_reg_done (registry_api/registry.h), which
 * sends the ask through h2o's message queue.
 */
#ifndef KR_REGISTRY_API_ASK_H
#define KR_REGISTRY_API_ASK_H

#include "registry_api/h2o_wrap.h" /* first: it asks for GNU declarations */

#include <stdatomic.h>
#include <stdbool.h>

#include "core/list.h"
#include "registry_api/registry.h"

struct kr_ask;
typedef void kr_ask_done_fn(struct kr_ask *ask);

struct kr_ask_queue {
	h2o_multithread_receiver_t receiver;
	const struct kr_registry *registry; /* borrowed */
	struct kr_list flying;
	/* Threads inside kr_reg_done or kr_ask_queue_tell.  The message may be
	 * seen before its sender is back from h2o, so the queue outlives
	 * nobody while this is not 0. */
	atomic_uint senders;
};

struct kr_ask { /* embedded by its owner; zero it before first use */
	struct kr_reg_call call;
	h2o_multithread_message_t message;
	struct kr_list link; /* queue->flying */
	struct kr_ask_queue *queue;
	kr_ask_done_fn *done;
	void *owner;
	bool flying, canceled;
};

void kr_ask_queue_init(struct kr_ask_queue *q, h2o_multithread_queue_t *mq,
		       const struct kr_registry *registry);
void kr_ask_queue_fini(struct kr_ask_queue *q); /* nothing is flying */

/*
 * From any thread: set @flag and let the HTTP thread have a turn.  The queue is
 * not idle from before the flag can be seen until the thread was woken, so a
 * thread that ends because of the flag does not take the queue away under us.
 */
void kr_ask_queue_tell(struct kr_ask_queue *q, atomic_bool *flag);

/* Nothing is flying and no thread is sending: fini is allowed. */
bool kr_ask_queue_is_idle(const struct kr_ask_queue *q);

/* Empty the call for operation @op; the caller fills the rest in. */
struct kr_reg_call *kr_ask_prepare(struct kr_ask *ask, enum kr_reg_op op);

/* Lend the call to the role; @done comes later, never from inside. */
void kr_ask_start(struct kr_ask_queue *q, struct kr_ask *ask, void *owner,
		  kr_ask_done_fn *done);

/* Tell the role that nobody waits for the answer.  done() still comes. */
void kr_ask_cancel(struct kr_ask *ask);
void kr_ask_cancel_all(struct kr_ask_queue *q);

#endif
