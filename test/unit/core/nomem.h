/*
 * test/unit/core/nomem.h - a heap whose n-th allocation fails, for code that
 * calls malloc(3) itself or through a library.
 *
 * The including test file takes the place of the C library's malloc, so it
 * includes this once.  Sanitizers bring a heap of their own: there NOMEM_WORKS
 * is 0 and the test says that it skips.
 *
 *	for (long n = 0; nomem_arm(n), run(), nomem_disarm(); n++)
 *		;
 */
#ifndef KR_TEST_UNIT_CORE_NOMEM_H
#define KR_TEST_UNIT_CORE_NOMEM_H

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define NOMEM_WORKS 0
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#undef NOMEM_WORKS
#define NOMEM_WORKS 0
#endif
#ifndef NOMEM_WORKS
#define NOMEM_WORKS 1
#endif

static long nomem_left = -1; /* allocations that succeed; -1: all */
static long nomem_live;      /* blocks not freed */
static bool nomem_refused;   /* since nomem_arm */

/* The allocations after the next @n fail. */
static inline void nomem_arm(long n)
{
	nomem_left = n;
	nomem_refused = false;
}

/* From now on all succeed.  Did one fail since nomem_arm? */
static inline bool nomem_disarm(void)
{
	nomem_left = -1;
	return nomem_refused;
}

#if NOMEM_WORKS

/* glibc's own names of its heap. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *ptr, size_t size);
void *__libc_memalign(size_t align, size_t size);
void __libc_free(void *ptr);

static bool nomem_refuses(void)
{
	if (nomem_left == 0) {
		errno = ENOMEM;
		nomem_refused = true;
		return true;
	}
	nomem_left -= nomem_left > 0;
	return false;
}

static void *nomem_count(void *ptr)
{
	nomem_live += ptr != NULL;
	return ptr;
}

void *malloc(size_t size)
{
	return nomem_refuses() ? NULL : nomem_count(__libc_malloc(size));
}

void *calloc(size_t count, size_t size)
{
	return nomem_refuses() ? NULL : nomem_count(__libc_calloc(count, size));
}

void *aligned_alloc(size_t align, size_t size)
{
	return nomem_refuses() ? NULL
			       : nomem_count(__libc_memalign(align, size));
}

void *realloc(void *ptr, size_t size)
{
	if (nomem_refuses())
		return NULL;
	return ptr ? __libc_realloc(ptr, size)
		   : nomem_count(__libc_malloc(size));
}

void free(void *ptr)
{
	nomem_live -= ptr != NULL;
	__libc_free(ptr);
}

#endif
#endif
