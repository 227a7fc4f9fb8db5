/*
 * control/programs/manifests.h - MANIFEST_PUT of a proxy.
 *
 *	every reference is pushed to its owners, where it is not yet -> the
 *	    manifest is a blob like any other: store, push -> then, at a
 *	    build-index, that it is in the repository, and its tags
 *
 * So a tag never names what cannot be pulled, unless it is told otherwise: an
 * index of which only some platforms were copied is a sparse one.
 *
 * Threads: reactor only.
 */
#ifndef KR_CONTROL_PROGRAMS_MANIFESTS_H
#define KR_CONTROL_PROGRAMS_MANIFESTS_H

#include "control/indexes.h"
#include "control/origins.h"
#include "control/programs/desk.h"
#include "control/push.h"
#include "core/io.h"
#include "core/store.h"

struct kr_manifests {
	struct kr_io *io;
	struct kr_store *store;
	struct kr_origins *origins;
	struct kr_pusher *pusher;
	struct kr_indexes *indexes;
	bool sparse; /* a reference may be missing */
};

/* @m is filled by the caller and outlives the desk. */
void kr_manifests_attach(struct kr_manifests *m, struct kr_desk *desk);

#endif
