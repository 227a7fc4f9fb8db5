/*
 * Messages from other threads.
 *
 * Any thread pushes on a stack with one compare-and-swap; the reactor takes
 * the whole stack with one exchange and turns it round, so there is no ABA and
 * messages of one thread arrive in order.  The eventfd is written only for a
 * reactor that sleeps or is about to: it says so first and looks at the stack
 * after that, a sender pushes first and looks at what it said after that, so
 * one of them sees the other.  Whoever takes the word back writes; all others
 * know that a write is due.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "uring/engine.h"

enum kr_err kr_inbox_init(struct kr_inbox *in)
{
	in->event_fd = eventfd(0, EFD_CLOEXEC);
	if (in->event_fd < 0)
		return kr_err_of(errno);
	atomic_init(&in->newest, NULL);
	atomic_init(&in->asleep, false);
	atomic_init(&in->posting, 0);
	atomic_init(&in->stop, false);
	return KR_OK;
}

void kr_inbox_fini(struct kr_inbox *in)
{
	if (in->event_fd < 0)
		return;
	/* A message may be delivered before its sender has left kr_io_post. */
	while (atomic_load(&in->posting) > 0)
		sched_yield();
	close(in->event_fd);
	in->event_fd = -1;
}

/* Nothing but write(2) and atomics: kr_io_stop may run in a signal handler. */
static void ring_bell(struct kr_inbox *in)
{
	const uint64_t one = 1;
	const int saved = errno;
	ssize_t n;

	do {
		n = write(in->event_fd, &one, sizeof(one));
	} while (n < 0 && errno == EINTR);
	errno = saved;
}

void kr_inbox_arm(struct kr_io *io)
{
	struct io_uring_sqe *sqe = kr_sqe_get(io);

	io_uring_prep_read(sqe, io->inbox.event_fd, &io->inbox.event_value,
			   sizeof(io->inbox.event_value), 0);
	io_uring_sqe_set_data64(sqe, KR_TAG_INBOX);
}

bool kr_inbox_may_sleep(struct kr_inbox *in)
{
	atomic_store(&in->asleep, true);
	if (atomic_load(&in->newest) == NULL)
		return true;
	atomic_store(&in->asleep, false);
	return false;
}

void kr_inbox_deliver(struct kr_io *io)
{
	struct kr_post *p = atomic_exchange_explicit(&io->inbox.newest, NULL,
						     memory_order_acquire);
	struct kr_post *oldest = NULL;

	atomic_store_explicit(&io->inbox.asleep, false, memory_order_relaxed);
	while (p != NULL) {
		struct kr_post *next = p->next;

		p->next = oldest;
		oldest = p;
		p = next;
	}
	while (oldest != NULL) {
		p = oldest;
		oldest = p->next; /* fn may free or post p again */
		p->fn(p);
	}
}

void kr_io_post(struct kr_io *io, struct kr_post *p, kr_post_fn *fn)
{
	struct kr_inbox *in = &io->inbox;
	struct kr_post *head;

	atomic_fetch_add(&in->posting, 1);
	p->fn = fn;
	head = atomic_load_explicit(&in->newest, memory_order_relaxed);
	do {
		p->next = head;
	} while (!atomic_compare_exchange_weak_explicit(&in->newest, &head, p,
							memory_order_seq_cst,
							memory_order_relaxed));
	if (atomic_load(&in->asleep) && atomic_exchange(&in->asleep, false))
		ring_bell(in);
	atomic_fetch_sub(&in->posting, 1);
}

void kr_io_stop(struct kr_io *io)
{
	struct kr_inbox *in = &io->inbox;

	atomic_fetch_add(&in->posting, 1);
	atomic_store(&in->stop, true);
	ring_bell(in);
	atomic_fetch_sub(&in->posting, 1);
}

void kr_io_run(struct kr_io *io)
{
	while (!atomic_exchange(&io->inbox.stop, false))
		kr_io_turn(io);
}
