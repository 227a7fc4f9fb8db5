/*
 * control/programs/index_desk.h - Kraken's HTTP endpoints of a build-index:
 * tags are got, put and listed in the index of the same process.
 *
 * Threads: reactor only.
 */
#ifndef KR_CONTROL_PROGRAMS_INDEX_DESK_H
#define KR_CONTROL_PROGRAMS_INDEX_DESK_H

#include "control/index.h"
#include "control/programs/desk.h"

/* Handle TAG_GET, TAG_PUT, TAGS_LIST, IMAGES_LIST and READY (which a process
 * that runs is) at @desk; @ix outlives it. */
void kr_index_desk_attach(struct kr_index *ix, struct kr_desk *desk);

#endif
