/*
 * control/programs/lists.h - TAGS_LIST, CATALOG and REFERRERS: questions to a
 * build-index, of agent and proxy alike.
 *
 * Threads: reactor only.
 */
#ifndef KR_CONTROL_PROGRAMS_LISTS_H
#define KR_CONTROL_PROGRAMS_LISTS_H

#include "control/indexes.h"
#include "control/programs/desk.h"

struct kr_lists {
	struct kr_indexes *indexes;
};

/* @l is filled by the caller and outlives the desk. */
void kr_lists_attach(struct kr_lists *l, struct kr_desk *desk);

#endif
