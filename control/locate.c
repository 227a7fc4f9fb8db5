#include "control/locate.h"

#include "control/origin_msg.h"

static void by_tracker(struct kr_trackers_ask *a, enum kr_err err,
		       struct kr_bytes metainfo, const char *text)
{
	struct kr_locate *l =
		KR_CONTAINER_OF(a, struct kr_locate, ask.trackers);

	l->done(l, err, metainfo, text);
}

static void by_origin(struct kr_origins_ask *a, enum kr_err err,
		      struct kr_bytes result, const char *text)
{
	struct kr_locate *l = KR_CONTAINER_OF(a, struct kr_locate, ask.origins);
	struct kr_bytes metainfo = { NULL, 0 };

	if (err == KR_OK)
		err = kr_origin_msg_metainfo_decode(result, &metainfo);
	l->done(l, err, metainfo, text);
}

void kr_locate(struct kr_locate *l, struct kr_trackers *trackers,
	       struct kr_origins *origins, const char *ns,
	       const struct kr_digest *d, kr_locate_fn *done)
{
	l->done = done;
	l->of_trackers = trackers != NULL;
	if (l->of_trackers)
		kr_trackers_metainfo(trackers, &l->ask.trackers, ns, d,
				     by_tracker);
	else
		kr_origins_metainfo(origins, &l->ask.origins, ns, d, by_origin);
}

void kr_locate_cancel(struct kr_locate *l)
{
	if (l->of_trackers)
		kr_trackers_ask_cancel(&l->ask.trackers);
	else
		kr_origins_ask_cancel(&l->ask.origins);
}
