#include "uring/slots.h"

#include <stdlib.h>

#define NO_SLOT UINT32_MAX

enum kr_err kr_op_slots_init(struct kr_op_slots *s, uint32_t count)
{
	kr_assert(count > 0 && count <= KR_OP_SLOTS_MAX);
	struct kr_op_slot *table = calloc(count, sizeof(*table));

	if (table == NULL)
		return KR_E_NOMEM;
	for (uint32_t i = 0; i < count; i++)
		table[i].next_free = i + 1 < count ? i + 1 : NO_SLOT;
	*s = (struct kr_op_slots){ .table = table, .max_count = count };
	return KR_OK;
}

void kr_op_slots_fini(struct kr_op_slots *s)
{
	free(s->table);
	*s = (struct kr_op_slots){ 0 };
}

bool kr_op_slots_take(struct kr_op_slots *s, struct kr_op *op)
{
	if (s->first_free == NO_SLOT)
		return false;
	struct kr_op_slot *slot = &s->table[s->first_free];

	op->slot = s->first_free;
	op->generation = slot->generation;
	s->first_free = slot->next_free;
	s->used_count++;
	slot->op = op;
	return true;
}

void kr_op_slots_give(struct kr_op_slots *s, struct kr_op *op)
{
	struct kr_op_slot *slot = &s->table[op->slot];

	kr_assert(op->slot < s->max_count && slot->op == op);
	slot->op = NULL;
	slot->generation++;
	slot->next_free = s->first_free;
	s->first_free = op->slot;
	s->used_count--;
}

uint64_t kr_op_slots_tag(const struct kr_op *op)
{
	return (uint64_t)op->generation << 32 | op->slot;
}

struct kr_op *kr_op_slots_find(const struct kr_op_slots *s, uint64_t tag)
{
	const uint32_t index = (uint32_t)tag;

	kr_assert(index < s->max_count);
	const struct kr_op_slot *slot = &s->table[index];
	return slot->generation == tag >> 32 ? slot->op : NULL;
}
