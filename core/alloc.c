#include "core/alloc.h"

#include <stdint.h>
#include <stdlib.h>

static void *heap_get(void *ctx, size_t size_bytes, size_t align)
{
	(void)ctx;
	if (size_bytes > SIZE_MAX - align)
		return NULL;
	/* aligned_alloc(3) wants a multiple of the alignment */
	return aligned_alloc(align, (size_bytes + align - 1) & ~(align - 1));
}

static void heap_put(void *ctx, void *ptr)
{
	(void)ctx;
	free(ptr);
}

const struct kr_alloc *kr_alloc_heap(void)
{
	static const struct kr_alloc heap = { NULL, heap_get, heap_put };

	return &heap;
}
