/*
 * The block buffers: one arena, a stack of free indices, and a queue of those
 * who were refused.
 *
 * While somebody waits, a buffer that comes back belongs to the head of the
 * queue: whoever gives and takes in one breath would otherwise starve those
 * who went to wait.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/log.h"
#include "uring/engine.h"

/* One registered buffer may be 1 GiB (io_uring_register_buffers(3)). */
#define REGISTER_MAX_BYTES ((size_t)1 << 30)

static void register_arena(struct kr_io *io, size_t total_bytes)
{
	struct kr_arena *a = &io->arena;
	const struct iovec iov = { .iov_base = a->bytes,
				   .iov_len = total_bytes };

	if (total_bytes > REGISTER_MAX_BYTES)
		return;
	a->registered = io_uring_register_buffers(&io->ring, &iov, 1) == 0;
	io->features.row[KR_FEATURE_FIXED_BUFFERS].have = a->registered;
}

enum kr_err kr_arena_init(struct kr_io *io, uint32_t count, uint32_t size_bytes)
{
	struct kr_arena *a = &io->arena;
	const size_t total_bytes = (size_t)count * size_bytes;

	kr_assert(size_bytes % (uint32_t)sysconf(_SC_PAGESIZE) == 0);
	*a = (struct kr_arena){ .count = count, .size_bytes = size_bytes };
	a->free = calloc(count, sizeof(*a->free));
	a->out = calloc(count, sizeof(*a->out));
	void *p = mmap(NULL, total_bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p != MAP_FAILED)
		a->bytes = p;
	if (a->free == NULL || a->out == NULL || a->bytes == NULL)
		return KR_E_NOMEM;
	for (uint32_t i = 0; i < count; i++)
		a->free[a->free_count++] = count - 1 - i;
	/* A child of fork(2) has no use for them, and copying on write does
	 * not go with pages the kernel writes to. */
	(void)madvise(a->bytes, total_bytes, MADV_DONTFORK);
	register_arena(io, total_bytes);
	return KR_OK;
}

void kr_arena_fini(struct kr_io *io)
{
	struct kr_arena *a = &io->arena;

	if (a->bytes != NULL)
		munmap(a->bytes, (size_t)a->count * a->size_bytes);
	free(a->free);
	free(a->out);
	*a = (struct kr_arena){ 0 };
}

bool kr_arena_is_registered(const struct kr_arena *a, const uint8_t *buf,
			    uint32_t len_bytes)
{
	const uint8_t *end = a->bytes + (size_t)a->count * a->size_bytes;

	return a->registered && buf >= a->bytes && buf < end &&
	       len_bytes <= (size_t)(end - buf);
}

static uint32_t free_for_all(const struct kr_arena *a)
{
	if (a->serving)
		return a->free_count;
	return a->free_count > a->waiting_count
		       ? a->free_count - a->waiting_count
		       : 0;
}

uint32_t kr_io_buffer_size_bytes(const struct kr_io *io)
{
	return io->arena.size_bytes;
}

uint32_t kr_io_buffer_free_count(const struct kr_io *io)
{
	return free_for_all(&io->arena);
}

uint8_t *kr_io_buffer_take(struct kr_io *io)
{
	struct kr_arena *a = &io->arena;

	if (free_for_all(a) == 0)
		return NULL;
	const uint32_t i = a->free[--a->free_count];

	a->out[i] = true;
	return a->bytes + (size_t)i * a->size_bytes;
}

void kr_io_buffer_give(struct kr_io *io, uint8_t *buf)
{
	struct kr_arena *a = &io->arena;
	const size_t offset = (size_t)(buf - a->bytes);
	const size_t i = offset / a->size_bytes;

	kr_assert(buf >= a->bytes && i < a->count);
	kr_assert(offset % a->size_bytes == 0 && a->out[i]);
	a->out[i] = false;
	a->free[a->free_count++] = (uint32_t)i;
}

void kr_io_buffer_wait(struct kr_io *io, struct kr_waiter *w, kr_waiter_fn *fn)
{
	struct kr_arena *a = &io->arena;

	if (w->waiting)
		return;
	*w = (struct kr_waiter){ .fn = fn, .waiting = true };
	if (a->last != NULL)
		a->last->next = w;
	else
		a->first = w;
	a->last = w;
	a->waiting_count++;
}

void kr_io_buffer_unwait(struct kr_io *io, struct kr_waiter *w)
{
	struct kr_arena *a = &io->arena;
	struct kr_waiter *before = NULL;

	if (!w->waiting)
		return;
	for (struct kr_waiter *x = a->first; x != w; x = x->next)
		before = x;
	if (before != NULL)
		before->next = w->next;
	else
		a->first = w->next;
	if (a->last == w)
		a->last = before;
	w->waiting = false;
	a->waiting_count--;
}

bool kr_arena_has_news(const struct kr_arena *a)
{
	return a->waiting_count > 0 && a->free_count > 0;
}

/* Those who wait again from their call-back are for the next turn. */
void kr_arena_wake(struct kr_io *io)
{
	struct kr_arena *a = &io->arena;

	for (uint32_t n = a->waiting_count; n > 0 && kr_arena_has_news(a);
	     n--) {
		struct kr_waiter *w = a->first;

		kr_io_buffer_unwait(io, w);
		a->serving = true;
		w->fn(w);
		a->serving = false;
	}
}
