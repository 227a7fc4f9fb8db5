#include "peerwire/slab.h"

#include <stdalign.h>
#include <string.h>

enum { HEAD_BYTES = 16 }; /* of a chunk; keeps objects aligned */

static size_t round_up(size_t n)
{
	return (n + HEAD_BYTES - 1) / HEAD_BYTES * HEAD_BYTES;
}

void kr_slab_open(struct kr_slab *s, const struct kr_alloc *alloc,
		  size_t object_bytes, uint32_t chunk_count, uint32_t max)
{
	kr_assert(object_bytes >= sizeof(void *) && chunk_count > 0);
	*s = (struct kr_slab){ .alloc = alloc,
			       .object_bytes = round_up(object_bytes),
			       .chunk_count = chunk_count,
			       .max = max };
}

void kr_slab_close(struct kr_slab *s)
{
	while (s->chunks != NULL) {
		void *next;

		memcpy(&next, s->chunks, sizeof(next));
		s->alloc->put(s->alloc->ctx, s->chunks);
		s->chunks = next;
	}
	s->spare = NULL;
	s->taken = 0;
}

static void push_spare(struct kr_slab *s, void *object)
{
	memcpy(object, &s->spare, sizeof(s->spare));
	s->spare = object;
}

static void grow(struct kr_slab *s)
{
	uint8_t *chunk = s->alloc->get(
		s->alloc->ctx, HEAD_BYTES + s->chunk_count * s->object_bytes,
		alignof(max_align_t));

	if (chunk == NULL)
		return;
	memcpy(chunk, &s->chunks, sizeof(s->chunks));
	s->chunks = chunk;
	for (uint32_t i = s->chunk_count; i-- > 0;)
		push_spare(s, chunk + HEAD_BYTES + i * s->object_bytes);
}

void *kr_slab_take(struct kr_slab *s)
{
	void *object;

	if (s->taken == s->max)
		return NULL;
	if (s->spare == NULL)
		grow(s);
	object = s->spare;
	if (object == NULL)
		return NULL;
	memcpy(&s->spare, object, sizeof(s->spare));
	memset(object, 0, s->object_bytes);
	s->taken++;
	return object;
}

void kr_slab_give(struct kr_slab *s, void *object)
{
	kr_assert(s->taken > 0);
	s->taken--;
	push_spare(s, object);
}
