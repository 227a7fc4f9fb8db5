/*
 * control/programs/uploads.h - the pushing half of a registry: upload
 * sessions on this host's disk, and what is pushed to the origins.
 *
 *	UPLOAD_OPEN -> RECV/APPEND... -> COMMIT: verified, in our store ->
 *	    push to the owners -> write quorum -> a build-index knows that it
 *	    is in the repository -> answered
 *
 * A session is on disk; its file stays open while it is used and is closed
 * when idle for KR_UPLOADS_IDLE_NS, to be opened again by the next request,
 * also after a restart, until it has not been used for its time to live; then
 * it is unknown.  A session whose blob is whole but could not be pushed
 * is remembered: the client's next COMMIT pushes again.
 *
 * Threads: reactor only.
 */
#ifndef KR_CONTROL_PROGRAMS_UPLOADS_H
#define KR_CONTROL_PROGRAMS_UPLOADS_H

#include <stdint.h>

#include "control/indexes.h"
#include "control/origins.h"
#include "control/programs/desk.h"
#include "control/push.h"
#include "core/err.h"
#include "core/io.h"
#include "core/store.h"

#define KR_UPLOADS_IDLE_NS UINT64_C(60000000000) /* or the time to live */
enum { KR_UPLOADS_MAX = 512 };                   /* sessions open at once */

struct kr_uploads;

struct kr_uploads_opts {
	struct kr_io *io;
	struct kr_store *store;
	struct kr_origins *origins;
	struct kr_pusher *pusher;
	uint64_t ttl_ns;            /* of a session; the store's */
	struct kr_indexes *indexes; /* NULL: of an origin, where no
				       repository is */
};

KR_NODISCARD enum kr_err kr_uploads_open(const struct kr_uploads_opts *opts,
					 struct kr_uploads **ret);
/* Handle UPLOAD_*, BLOB_MOUNT and BLOB_STAT at @desk. */
void kr_uploads_attach(struct kr_uploads *u, struct kr_desk *desk);
/* Sessions stay on disk.  Every call was ended.  Turns the ring until nothing
 * is in flight. */
void kr_uploads_close(struct kr_uploads *u);

#endif
