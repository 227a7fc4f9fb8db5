#include "peerwire/picker.h"

#include <stdalign.h>
#include <string.h>

static size_t word_bytes(uint32_t piece_count)
{
	return kr_bitset_words(piece_count) * sizeof(uint64_t);
}

static void fill_have(struct kr_picker *p, bool complete,
		      const uint64_t *have_words)
{
	if (complete)
		kr_bitset_set_all(&p->have);
	else if (have_words != NULL)
		memcpy(p->have.words, have_words, word_bytes(p->piece_count));
	kr_bitset_set_all(&p->need);
	for (size_t i = 0; i < kr_bitset_words(p->piece_count); i++) {
		p->have.words[i] &= p->need.words[i]; /* no spare bits */
		p->need.words[i] &= ~p->have.words[i];
	}
	p->have_count = kr_bitset_count(&p->have);
	p->need_count = p->piece_count - p->have_count;
}

enum kr_err kr_picker_open(struct kr_picker *p, const struct kr_alloc *alloc,
			   uint32_t piece_count, bool complete,
			   const uint64_t *have_words)
{
	const size_t words = word_bytes(piece_count);
	const size_t avail = piece_count * sizeof(uint16_t);
	uint8_t *mem;

	kr_assert(piece_count > 0);
	mem = alloc->get(alloc->ctx, 2 * words + avail, alignof(max_align_t));
	if (mem == NULL)
		return KR_E_NOMEM;
	*p = (struct kr_picker){ .piece_count = piece_count };
	kr_bitset_init(&p->have, (uint64_t *)(void *)mem, piece_count);
	kr_bitset_init(&p->need, (uint64_t *)(void *)(mem + words),
		       piece_count);
	p->avail = (uint16_t *)(void *)(mem + 2 * words);
	memset(p->avail, 0, avail);
	fill_have(p, complete, have_words);
	return KR_OK;
}

void kr_picker_close(struct kr_picker *p, const struct kr_alloc *alloc)
{
	alloc->put(alloc->ctx, p->have.words);
	*p = (struct kr_picker){ 0 };
}

void kr_picker_take(struct kr_picker *p, uint32_t piece)
{
	kr_assert(kr_bitset_test(&p->need, piece));
	kr_bitset_clear(&p->need, piece);
	p->need_count--;
}

void kr_picker_drop(struct kr_picker *p, uint32_t piece)
{
	kr_assert(!kr_bitset_test(&p->need, piece));
	kr_assert(!kr_bitset_test(&p->have, piece));
	kr_bitset_set(&p->need, piece);
	p->need_count++;
}

void kr_picker_done(struct kr_picker *p, uint32_t piece)
{
	kr_assert(!kr_bitset_test(&p->need, piece));
	kr_assert(!kr_bitset_test(&p->have, piece));
	kr_bitset_set(&p->have, piece);
	p->have_count++;
}

bool kr_picker_complete(const struct kr_picker *p)
{
	return p->have_count == p->piece_count;
}

void kr_picker_gain(struct kr_picker *p, uint32_t piece)
{
	kr_assert(piece < p->piece_count && p->avail[piece] < UINT16_MAX);
	p->avail[piece]++;
}

void kr_picker_lose_one(struct kr_picker *p, uint32_t piece)
{
	kr_assert(piece < p->piece_count && p->avail[piece] > 0);
	p->avail[piece]--;
}

void kr_picker_lose(struct kr_picker *p, const struct kr_bitset *had)
{
	uint32_t i = kr_bitset_next_set(had, 0);

	for (; i < p->piece_count; i = kr_bitset_next_set(had, i + 1))
		kr_picker_lose_one(p, i);
}

uint32_t kr_picker_wanted(const struct kr_picker *p,
			  const struct kr_bitset *peer)
{
	uint32_t count = 0;

	if (peer == NULL)
		return p->need_count;
	for (size_t i = 0; i < kr_bitset_words(p->piece_count); i++)
		count += (uint32_t)__builtin_popcountll(p->need.words[i] &
							peer->words[i]);
	return count;
}

/* The candidates of one word, those outside of [from, to) masked away. */
static uint64_t candidates(const struct kr_picker *p,
			   const struct kr_bitset *peer, uint32_t word,
			   uint32_t from, uint32_t to)
{
	const uint32_t first = word * 64;
	uint64_t bits = p->need.words[word];

	if (peer != NULL)
		bits &= peer->words[word];
	if (first < from)
		bits &= UINT64_MAX << (from - first);
	if (to - first < 64)
		bits &= (UINT64_C(1) << (to - first)) - 1;
	return bits;
}

/* What is left of a search: the best so far, one of @ties equals. */
struct search {
	uint32_t examined, ties, best;
	uint16_t avail;
};

static void examine_word(const struct kr_picker *p, struct kr_rand *rand,
			 uint64_t bits, uint32_t word, struct search *s)
{
	for (; bits != 0; bits &= bits - 1) {
		const uint32_t i = word * 64 + (uint32_t)__builtin_ctzll(bits);
		const uint16_t avail = p->avail[i];

		s->examined++;
		if (s->ties > 0 && avail > s->avail)
			continue;
		if (s->ties == 0 || avail < s->avail) {
			s->avail = avail;
			s->ties = 0;
		}
		/* Each of the equals ends up as the choice equally often. */
		if (kr_rand_below(rand, ++s->ties) == 0)
			s->best = i;
	}
}

bool kr_picker_rarest(const struct kr_picker *p, struct kr_rand *rand,
		      const struct kr_bitset *peer, uint32_t from, uint32_t to,
		      uint32_t *ret_piece)
{
	struct search s = { 0 };

	if (to > p->piece_count)
		to = p->piece_count;
	if (from >= to || p->need_count == 0)
		return false;
	const uint32_t lo = from / 64, count = (to - 1) / 64 - lo + 1;
	const uint32_t start = kr_rand_below(rand, count);
	for (uint32_t k = 0; k < count; k++) {
		const uint32_t word = lo + (start + k) % count;

		examine_word(p, rand, candidates(p, peer, word, from, to), word,
			     &s);
		if (s.examined >= KR_PICKER_EXAMINE_MAX)
			break;
	}
	if (s.ties == 0)
		return false;
	*ret_piece = s.best;
	return true;
}

uint32_t kr_picker_first(const struct kr_picker *p,
			 const struct kr_bitset *peer, uint32_t from,
			 uint32_t to)
{
	if (to > p->piece_count)
		to = p->piece_count;
	if (from >= to)
		return to;
	for (uint32_t word = from / 64; word <= (to - 1) / 64; word++) {
		const uint64_t bits = candidates(p, peer, word, from, to);

		if (bits != 0)
			return word * 64 + (uint32_t)__builtin_ctzll(bits);
	}
	return to;
}

void kr_picker_check(const struct kr_picker *p)
{
	kr_assert(kr_bitset_count(&p->have) == p->have_count);
	kr_assert(kr_bitset_count(&p->need) == p->need_count);
	kr_assert(p->have_count + p->need_count <= p->piece_count);
	for (size_t i = 0; i < kr_bitset_words(p->piece_count); i++)
		kr_assert((p->have.words[i] & p->need.words[i]) == 0);
}
