/*
 * peerwire/picker.h - which piece of one blob to fetch next.  PURE.
 *
 * A piece is in one of three states:
 *
 *	need  --take-->  busy  --done-->  have
 *	  ^                |
 *	  +------drop------+
 *
 * and is held by avail[piece] neighbours (those that have everything are not
 * counted: they would add the same to each).  Among the pieces a peer has and
 * we need the rarest is chosen, ties broken at random: a fixed tie-break sends
 * every host after the same piece (81.8 s instead of 10.2).
 *
 * Cost: the search looks at KR_PICKER_EXAMINE_MAX candidates at most, from a
 * random place on, so a blob of a million pieces costs no more per choice than
 * one of some thousands.
 */
#ifndef KR_PEERWIRE_PICKER_H
#define KR_PEERWIRE_PICKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/alloc.h"
#include "core/bitset.h"
#include "core/err.h"
#include "core/rand.h"

enum { KR_PICKER_EXAMINE_MAX = 8192 };

struct kr_picker { /* private to picker.c, but may be read */
	struct kr_bitset have, need;
	uint16_t *avail;
	uint32_t piece_count;
	uint32_t have_count, need_count;
};

/*
 * @have_words: pieces we have, or NULL for none; ignored if @complete.
 * @piece_count > 0.
 *
 * KR_E_NOMEM  nothing was kept
 */
KR_NODISCARD enum kr_err kr_picker_open(struct kr_picker *p,
					const struct kr_alloc *alloc,
					uint32_t piece_count, bool complete,
					const uint64_t *have_words);
void kr_picker_close(struct kr_picker *p, const struct kr_alloc *alloc);

/* Somebody begins to fetch @piece / gives up / has verified it. */
void kr_picker_take(struct kr_picker *p, uint32_t piece);
void kr_picker_drop(struct kr_picker *p, uint32_t piece);
void kr_picker_done(struct kr_picker *p, uint32_t piece);

bool kr_picker_complete(const struct kr_picker *p);

/* A neighbour has @piece / has it no more / the neighbour that had all of @had is gone. */
void kr_picker_gain(struct kr_picker *p, uint32_t piece);
void kr_picker_lose_one(struct kr_picker *p, uint32_t piece);
void kr_picker_lose(struct kr_picker *p, const struct kr_bitset *had);

/* Needed pieces that are in @peer; NULL: a peer that has everything. */
uint32_t kr_picker_wanted(const struct kr_picker *p,
			  const struct kr_bitset *peer);

/*
 * The rarest needed piece of @peer (NULL: it has everything) in [from, to).
 * false: there is none.  Nothing is taken.
 */
bool kr_picker_rarest(const struct kr_picker *p, struct kr_rand *rand,
		      const struct kr_bitset *peer, uint32_t from, uint32_t to,
		      uint32_t *ret_piece);

/* The first needed piece of @peer (NULL: it has everything) in [from, to); @to
 * if there is none. */
uint32_t kr_picker_first(const struct kr_picker *p,
			 const struct kr_bitset *peer, uint32_t from,
			 uint32_t to);

/* Assert every invariant. */
void kr_picker_check(const struct kr_picker *p);

#endif
