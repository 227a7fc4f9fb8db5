/*
 * control/programs/ready.h - /readiness of an agent and a proxy: can it do what
 * it is for, now?
 *
 * The others are asked when the question comes, with less than a second to
 * answer; nothing is checked between questions.
 *
 * Threads: reactor only.
 */
#ifndef KR_CONTROL_PROGRAMS_READY_H
#define KR_CONTROL_PROGRAMS_READY_H

#include "control/indexes.h"
#include "control/origins.h"
#include "control/programs/desk.h"
#include "control/trackers.h"

struct kr_ready {
	struct kr_indexes *indexes;
	struct kr_trackers *trackers; /* one of these two is NULL */
	struct kr_origins *origins;
};

/* Handle READY at @desk.  @r is filled by the caller and outlives the desk. */
void kr_ready_attach(struct kr_ready *r, struct kr_desk *desk);

#endif
