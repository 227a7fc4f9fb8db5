#include "control/programs/ready.h"

#include <stdlib.h>

#include "core/list.h"

struct work {
	struct kr_desk_job job;
	struct kr_ready *ready;
	struct kr_trackers_ask trackers;
	struct kr_indexes_ask indexes;
};

static void end(struct work *w, enum kr_err err, const char *text)
{
	kr_desk_end(&w->job, err, text);
	free(w);
}

static void index_answered(struct kr_indexes_ask *a, enum kr_err err,
			   struct kr_bytes result, const char *text)
{
	(void)result;
	end(KR_CONTAINER_OF(a, struct work, indexes), err, text);
}

static void ask_index(struct work *w)
{
	kr_indexes_ping(w->ready->indexes, &w->indexes, index_answered);
}

static void tracker_answered(struct kr_trackers_ask *a, enum kr_err err,
			     struct kr_bytes result, const char *text)
{
	struct work *w = KR_CONTAINER_OF(a, struct work, trackers);

	(void)result;
	if (err == KR_OK)
		ask_index(w);
	else
		end(w, err, text);
}

static void on_ready(void *ctx, struct kr_reg_call *call)
{
	struct kr_ready *r = ctx;
	/* Not canceled: it ends within two seconds. */
	struct work *w = kr_desk_work(call, sizeof(*w), NULL);

	if (w == NULL)
		return;
	w->ready = r;
	if (r->trackers != NULL)
		kr_trackers_ping(r->trackers, &w->trackers, tracker_answered);
	else if (kr_origins_healthy_count(r->origins) > 0)
		ask_index(w);
	else
		end(w, KR_E_UNAVAILABLE, "no origin answers");
}

void kr_ready_attach(struct kr_ready *r, struct kr_desk *desk)
{
	kr_desk_handle(desk, KR_REG_READY, on_ready, r);
}
