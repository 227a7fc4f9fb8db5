/*
 * peerwire/slab.h - objects of one size, given out and taken back.  PURE.
 *
 * Memory is got in chunks, so a node that talks to five peers does not pay
 * for a thousand, and is kept until the slab is closed: what was needed once
 * is there the next time.  Objects keep their address.  One thread.
 */
#ifndef KR_PEERWIRE_SLAB_H
#define KR_PEERWIRE_SLAB_H

#include <stddef.h>
#include <stdint.h>

#include "core/alloc.h"
#include "core/err.h"

struct kr_slab { /* fields are private to slab.c, but may be read */
	const struct kr_alloc *alloc;
	void *chunks; /* each begins with a pointer to the next */
	void *spare;  /* so do objects that are not taken */
	size_t object_bytes;
	uint32_t chunk_count; /* objects in a chunk */
	uint32_t max;         /* objects that may be taken at once */
	uint32_t taken;
};

/* Nothing is allocated before the first take.  @alloc is borrowed. */
void kr_slab_open(struct kr_slab *s, const struct kr_alloc *alloc,
		  size_t object_bytes, uint32_t chunk_count, uint32_t max);

/* Frees everything, objects not given back included. */
void kr_slab_close(struct kr_slab *s);

/* An object of zero bytes; NULL at the maximum or when there is no memory. */
void *kr_slab_take(struct kr_slab *s);
void kr_slab_give(struct kr_slab *s, void *object);

#endif
