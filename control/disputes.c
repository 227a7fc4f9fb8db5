#include "control/disputes.h"

#include <stdlib.h>
#include <string.h>

#include "core/log.h"

struct dispute {
	struct kr_list link;
	struct kr_disputes *all;
	struct kr_blob *blob;
	uint64_t seen_bytes; /* verified when it was asked last */
	uint32_t tries;
	bool asking;
	struct kr_timer again;
	struct kr_locate locate;
};

static uint64_t verified_bytes(const struct kr_blob *b)
{
	struct kr_blob_progress progress;

	kr_blob_progress(b, &progress);
	return progress.verified_bytes;
}

static void end(struct dispute *q)
{
	kr_io_timer_stop(q->all->io, &q->again);
	kr_list_del(&q->link);
	kr_blob_put(q->blob);
	free(q);
}

static bool is_other(const struct dispute *q, struct kr_bytes metainfo)
{
	const uint8_t *id = kr_blob_metainfo_id(q->blob);
	struct kr_metainfo m;
	bool other;

	if (id == NULL || kr_metainfo_decode(kr_alloc_heap(), metainfo.ptr,
					     metainfo.len, &m) != KR_OK)
		return false;
	other = kr_digest_equal(&m.digest, kr_blob_digest(q->blob)) &&
		memcmp(m.id, id, sizeof(m.id)) != 0;
	kr_metainfo_fini(kr_alloc_heap(), &m);
	return other;
}

static void give_up(struct dispute *q)
{
	kr_log_warn("disputes",
		    "the origins have another metainfo of a blob than its "
		    "download was begun with: begun anew when it is asked for",
		    KR_DIGEST("digest", kr_blob_digest(q->blob)),
		    KR_U64("verified_bytes", q->seen_bytes));
	kr_blob_abort(q->blob, KR_E_UNAVAILABLE);
	end(q);
}

static void ask(struct dispute *q);

static void ask_again(struct kr_timer *t)
{
	ask(KR_CONTAINER_OF(t, struct dispute, again));
}

static void answered(struct kr_locate *l, enum kr_err err,
		     struct kr_bytes metainfo, const char *text)
{
	struct dispute *q = KR_CONTAINER_OF(l, struct dispute, locate);
	struct kr_io *io = q->all->io;

	(void)text;
	q->asking = false;
	if (err == KR_OK && is_other(q, metainfo) &&
	    verified_bytes(q->blob) == q->seen_bytes)
		give_up(q);
	else if (++q->tries == KR_DISPUTES_TRIES)
		end(q);
	else
		kr_io_timer_set(io, &q->again,
				kr_io_now_ns(io) + (KR_DISPUTES_AGAIN_NS
						    << (q->tries - 1)),
				ask_again);
}

static void ask(struct dispute *q)
{
	if (kr_blob_metainfo_id(q->blob) == NULL) {
		end(q); /* it is not downloaded any more */
		return;
	}
	q->seen_bytes = verified_bytes(q->blob);
	q->asking = true;
	kr_locate(&q->locate, q->all->trackers, q->all->origins,
		  kr_blob_ns(q->blob), kr_blob_digest(q->blob), answered);
}

void kr_disputes_settle(struct kr_disputes *d, struct kr_blob *b)
{
	struct dispute *q;

	kr_list_for_each (it, &d->open) {
		if (KR_CONTAINER_OF(it, struct dispute, link)->blob == b)
			return;
	}
	q = calloc(1, sizeof(*q));
	if (q == NULL)
		return;
	q->all = d;
	q->blob = kr_blob_get(b);
	kr_list_add_tail(&d->open, &q->link);
	ask(q);
}

void kr_disputes_open(struct kr_disputes *d, struct kr_io *io,
		      struct kr_trackers *trackers, struct kr_origins *origins)
{
	d->io = io;
	d->trackers = trackers;
	d->origins = origins;
	kr_list_init(&d->open);
}

void kr_disputes_close(struct kr_disputes *d)
{
	struct kr_list *it;

	while (d->io != NULL && (it = kr_list_first(&d->open)) != NULL) {
		struct dispute *q = KR_CONTAINER_OF(it, struct dispute, link);

		if (q->asking)
			kr_locate_cancel(&q->locate);
		end(q);
	}
	d->io = NULL;
}
