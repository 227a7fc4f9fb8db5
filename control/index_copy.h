/*
 * control/index_copy.h - copies what this build-index wrote to another one:
 * takes what is due from a queue, calls index.merge or index.merge_object,
 * says done or failed.
 *
 * A copied tag is in the queue; an object (control/index_object.h), which may
 * be large, is named there and read when its turn has come.
 *
 * Private to index_rpc.c.  Threads: reactor only.
 */
#ifndef KR_CONTROL_INDEX_COPY_H
#define KR_CONTROL_INDEX_COPY_H

#include <stdbool.h>
#include <stdint.h>

#include "control/index.h"
#include "control/queue.h"
#include "control/rpc.h"
#include "core/err.h"
#include "core/io.h"

enum { KR_INDEX_COPY_BATCH = 8, KR_INDEX_COPY_KIND_MAX = KR_QUEUE_KIND_MAX };

struct index_copy;

struct index_copy_opts {
	struct kr_io *io;
	struct kr_queue *queue;
	struct kr_index *index;
	const char *name;
	struct kr_addr to;
	uint64_t timeout_ns, interval_ns;
};

/* The kind of queue that copies to @name wait in. */
void index_copy_kind(const char *name, char kind[KR_INDEX_COPY_KIND_MAX]);

KR_NODISCARD enum kr_err index_copy_open(const struct index_copy_opts *opts,
					 struct index_copy **ret);
/* Something was added. */
void index_copy_kick(struct index_copy *c);
/* Stop; its queue requests still end (kr_db_drain), then free it. */
void index_copy_stop(struct index_copy *c);
void index_copy_free(struct index_copy *c);

#endif
