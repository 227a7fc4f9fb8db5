/*
 * uring/slots.h - the table that turns the user_data of a completion back
 * into the request it belongs to.
 *
 * A tag is an index and a generation, never a pointer: a completion that
 * comes late then misses, instead of reaching memory that has a new owner.
 */
#ifndef KR_URING_SLOTS_H
#define KR_URING_SLOTS_H

#include <stdint.h>

#include "core/err.h"
#include "core/io.h"

/* Tags with an index from here on are not slots. */
enum { KR_OP_SLOTS_MAX = 1 << 24 };

struct kr_op_slot {
	struct kr_op *op; /* NULL: free */
	uint32_t generation;
	uint32_t next_free;
};

struct kr_op_slots { /* private */
	struct kr_op_slot *table;
	uint32_t max_count;
	uint32_t used_count;
	uint32_t first_free;
};

/* @count  1 .. KR_OP_SLOTS_MAX
 * KR_E_NOMEM  nothing was kept */
KR_NODISCARD enum kr_err kr_op_slots_init(struct kr_op_slots *s,
					  uint32_t count);
void kr_op_slots_fini(struct kr_op_slots *s);

/* Give @op a slot; false: all are used and @op is as it was. */
KR_NODISCARD bool kr_op_slots_take(struct kr_op_slots *s, struct kr_op *op);

/* Take the slot back; from now on its tag misses. */
void kr_op_slots_give(struct kr_op_slots *s, struct kr_op *op);

uint64_t kr_op_slots_tag(const struct kr_op *op);

/* The request of @tag, or NULL if it is over. */
struct kr_op *kr_op_slots_find(const struct kr_op_slots *s, uint64_t tag);

#endif
