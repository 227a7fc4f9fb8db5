/*
 * control/programs/index_desk.h - Kraken's HTTP endpoints of a build-index:
 * tags are got, put and listed at the index of the same process, or got from
 * their upstream.
 *
 * Threads: reactor only.
 */
#ifndef KR_CONTROL_PROGRAMS_INDEX_DESK_H
#define KR_CONTROL_PROGRAMS_INDEX_DESK_H

#include "control/index_rpc.h"
#include "control/programs/desk.h"

/* Handle TAG_GET, TAG_PUT, TAGS_LIST, IMAGES_LIST and READY (which a process
 * that runs is) at @desk; @s outlives it. */
void kr_index_desk_attach(struct kr_index_service *s, struct kr_desk *desk);

#endif
