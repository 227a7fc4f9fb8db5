/*
 * core/alloc.h - where memory comes from in code that must not call malloc
 * itself: the PURE folders, and whatever a test wants to see fail.
 */
#ifndef KR_CORE_ALLOC_H
#define KR_CORE_ALLOC_H

#include <stddef.h>

struct kr_alloc {
	void *ctx;
	/* @align is a power of two.  NULL when there is no memory. */
	void *(*get)(void *ctx, size_t size_bytes, size_t align);
	/* @ptr may be NULL. */
	void (*put)(void *ctx, void *ptr);
};

/* The process's heap (aligned_alloc, free); static. */
const struct kr_alloc *kr_alloc_heap(void);

#endif
