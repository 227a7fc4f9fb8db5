/*
 * peerwire/blocks.h - the blocks of a piece: how many, how long, which.  PURE.
 *
 * Included by the files of this folder, after state.h.
 */
#ifndef KR_PEERWIRE_BLOCKS_H
#define KR_PEERWIRE_BLOCKS_H

#include "peerwire/state.h"

static inline bool kr_blocks_test(const struct kr_blocks *b, uint32_t i)
{
	return (b->words[i / 64] >> (i % 64)) & 1;
}

static inline void kr_blocks_set(struct kr_blocks *b, uint32_t i)
{
	b->words[i / 64] |= UINT64_C(1) << (i % 64);
}

static inline void kr_blocks_clear(struct kr_blocks *b, uint32_t i)
{
	b->words[i / 64] &= ~(UINT64_C(1) << (i % 64));
}

static inline uint32_t kr_blocks_count(const struct kr_blocks *b)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < KR_BLOCKS_WORDS; i++)
		count += (uint32_t)__builtin_popcountll(b->words[i]);
	return count;
}

/* The first block of [0, @count) at or after @from that is in neither; @count
 * if there is none. */
static inline uint32_t kr_blocks_next_clear(const struct kr_blocks *a,
					    const struct kr_blocks *b,
					    uint32_t from, uint32_t count)
{
	while (from < count &&
	       (kr_blocks_test(a, from) || kr_blocks_test(b, from)))
		from++;
	return from;
}

static inline uint32_t kr_piece_len(const struct kr_swarm *s, uint32_t piece)
{
	const uint64_t at = (uint64_t)piece * s->piece_bytes;
	const uint64_t left = s->size_bytes - at;

	return left < s->piece_bytes ? (uint32_t)left : s->piece_bytes;
}

static inline uint32_t kr_block_count(const struct kr_swarm *s, uint32_t piece)
{
	return (kr_piece_len(s, piece) - 1) / s->block_bytes + 1;
}

static inline uint32_t kr_block_len(const struct kr_swarm *s, uint32_t piece,
				    uint32_t block)
{
	const uint32_t left = kr_piece_len(s, piece) - block * s->block_bytes;

	return left < s->block_bytes ? left : s->block_bytes;
}

#endif
