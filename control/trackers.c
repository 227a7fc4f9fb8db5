#define _GNU_SOURCE
#include "control/trackers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/origin_msg.h"
#include "core/list.h"
#include "core/log.h"
#include "core/map.h"
#include "core/rand.h"

enum {
	/* One announce: what is more becomes urgent, and goes with the next. */
	ROUND_BLOBS_MAX = 512,
};
#define RETRY_NS        UINT64_C(300000000)
#define INTERVAL_MIN_NS UINT64_C(1000000000)

struct tracker {
	struct kr_trackers *all;
	char *name;
	struct kr_rpc_client *rpc;
	struct kr_rpc_call call;
	bool failed; /* its last announce did not arrive */
	bool denied; /* it is of another cluster */
};

/* A completed blob that is referred to so that it is announced. */
struct seed {
	struct kr_list link; /* oldest first */
	struct kr_blob *blob;
	uint64_t until_ns;
};

struct kr_trackers {
	struct kr_io *io;
	struct kr_transfer *transfer;
	struct kr_ring ring;
	struct kr_tracker_msg_peer self;
	uint64_t interval_ns, rpc_timeout_ns, seed_ttl_ns;
	uint64_t told_ns; /* the interval a tracker wants; 0: not said yet */
	struct kr_rand rand;
	struct tracker *list;
	uint32_t count;
	struct kr_digest_map urgent; /* -> itself: announce these soon */
	struct kr_digest_map gone;   /* no longer referred to */
	struct kr_list seeds;
	struct kr_digest_map seed_of; /* -> struct seed */
	uint32_t seed_count, seeds_max;
	bool leech_only;
	struct kr_timer soon, interval;
	uint64_t full_due_ns;
	uint8_t *buf;
	size_t buf_cap;
};

static bool tracker_usable(void *ctx, uint32_t index)
{
	const struct kr_trackers *t = ctx;

	return !t->list[index].failed &&
	       kr_rpc_client_healthy(t->list[index].rpc);
}

/* Who is to be told of @d: its tracker, or who stands in for it. */
static uint32_t tracker_of(struct kr_trackers *t, const struct kr_digest *d)
{
	uint32_t index = 0;

	if (kr_ring_owners(&t->ring, d, tracker_usable, t, &index, 1) == 0)
		(void)kr_ring_owners(&t->ring, d, NULL, NULL, &index, 1);
	return index;
}

/* ---- an announce --------------------------------------------------------*/

struct round {
	struct kr_trackers *t;
	uint32_t tracker;
	bool full; /* all blobs, not only the urgent ones */
	struct kr_tracker_msg_blob *blobs;
	uint32_t blob_count;
	struct kr_digest *gone;
	uint32_t gone_count;
};

static void add_blob(void *ctx, struct kr_blob *b)
{
	struct round *r = ctx;
	const struct kr_digest *d = kr_blob_digest(b);
	struct kr_blob_progress progress;

	if (kr_blob_size_bytes(b) == 0)
		return;
	if (!r->full && kr_digest_map_get(&r->t->urgent, d) == NULL)
		return;
	if (tracker_of(r->t, d) != r->tracker)
		return;
	if (r->t->leech_only && kr_blob_complete(b)) {
		kr_digest_map_del(&r->t->urgent, d);
		return;
	}
	if (r->blob_count == ROUND_BLOBS_MAX) {
		if (kr_digest_map_put(&r->t->urgent, d, r->t) != KR_OK)
			kr_log_debug("trackers", "no memory: a blob is not "
						 "announced this round");
		return;
	}
	kr_blob_progress(b, &progress);
	struct kr_tracker_msg_blob *m = &r->blobs[r->blob_count++];
	m->item = (struct kr_tracker_item){
		.digest = *d,
		.complete = kr_blob_complete(b),
		.degree = r->t->leech_only ? UINT32_MAX : progress.neighbours,
		.want = kr_blob_complete(b) ? 0 : KR_TRACKER_WANT_MAX,
	};
	(void)snprintf(m->ns, sizeof(m->ns), "%s", kr_blob_ns(b));
}

static void add_gone(struct round *r)
{
	const struct kr_digest *d;
	uint32_t at = 0;
	void *value;

	while (r->gone_count < ROUND_BLOBS_MAX &&
	       kr_digest_map_next(&r->t->gone, &at, &d, &value)) {
		if (tracker_of(r->t, d) == r->tracker)
			r->gone[r->gone_count++] = *d;
	}
}

static void arm_interval(struct kr_trackers *t);
static uint64_t interval_ns(const struct kr_trackers *t);

static void take_interval(struct kr_trackers *t, uint32_t interval_ms)
{
	const uint64_t now = kr_io_now_ns(t->io);

	t->told_ns = interval_ms * UINT64_C(1000000);
	if (t->full_due_ns > now + 2 * interval_ns(t))
		arm_interval(t); /* it was set before we were told */
}

static void take_reply(struct kr_trackers *t, struct kr_bytes result)
{
	struct kr_tracker_pick picks[KR_TRACKER_MSG_PICKS_MAX];
	struct kr_peer_hint hints[KR_TRACKER_MSG_PICKS_MAX];
	struct kr_tracker_msg_reply reply;
	struct kr_digest digest;
	uint32_t count;

	if (kr_tracker_msg_reply_decode(result, &reply) != KR_OK) {
		kr_log_warn("trackers", "tracker sent a malformed answer");
		return;
	}
	take_interval(t, reply.interval_ms);
	while (kr_tracker_msg_reply_next(&reply, &digest, picks, &count)) {
		struct kr_blob *b;
		if (count == 0 ||
		    kr_transfer_open_blob(t->transfer, &digest, &b) != KR_OK)
			continue;
		for (uint32_t i = 0; i < count; i++) {
			kr_tracker_pick_hint(&picks[i], t->self.zone,
					     &hints[i]);
		}
		kr_blob_peers(b, hints, count);
		kr_blob_put(b);
	}
}

static void run_soon(struct kr_timer *timer);

static void arm_soon(struct kr_trackers *t, uint64_t in_ns)
{
	if (t->soon.heap_index == 0)
		kr_io_timer_set(t->io, &t->soon, kr_io_now_ns(t->io) + in_ns,
				run_soon);
}

/* Every tracker is of another cluster: nobody will send us a byte. */
static bool is_outcast(const struct kr_trackers *t)
{
	for (uint32_t i = 0; i < t->count; i++)
		if (!t->list[i].denied)
			return false;
	return true;
}

static void end_download(void *ctx, struct kr_blob *b)
{
	(void)ctx;
	if (kr_blob_metainfo_id(b) != NULL)
		kr_blob_abort(b, KR_E_UNAVAILABLE);
}

/* What a tracker has to say about us. */
static void note_cluster(struct tracker *tr, enum kr_err err, const char *text)
{
	if (err == KR_E_DENIED && !tr->denied)
		kr_log_error("trackers",
			     "a tracker refuses this host: no pull will work "
			     "by it until `cluster` is the same",
			     KR_STR("tracker", tr->name), KR_STR("text", text));
	if (err == KR_OK || err == KR_E_DENIED)
		tr->denied = err == KR_E_DENIED;
	if (err == KR_E_DENIED && is_outcast(tr->all) &&
	    tr->all->transfer != NULL)
		kr_transfer_for_each(tr->all->transfer, end_download, NULL);
}

static void announce_done(struct kr_rpc_call *call, enum kr_err err,
			  struct kr_bytes result, const char *text)
{
	struct tracker *tr = KR_CONTAINER_OF(call, struct tracker, call);
	struct kr_trackers *t = tr->all;

	note_cluster(tr, err, text);
	if (err == KR_OK) {
		if (tr->failed)
			kr_log_info("trackers", "tracker answers again",
				    KR_STR("tracker", tr->name));
		tr->failed = false;
		take_reply(t, result);
		if (kr_digest_map_count(&t->urgent) > 0)
			arm_soon(t, KR_TRACKERS_BATCH_NS);
		return;
	}
	if (!tr->failed)
		kr_log_warn("trackers",
			    "announce failed; the next tracker "
			    "stands in",
			    KR_STR("tracker", tr->name), KR_ERR("why", err),
			    KR_STR("text", text));
	tr->failed = true;
	t->full_due_ns = 0; /* everything it was to know, told to another */
	arm_soon(t, RETRY_NS + kr_rand_u64(&t->rand) % RETRY_NS);
}

static void send_announce(struct round *r)
{
	struct kr_trackers *t = r->t;
	struct tracker *tr = &t->list[r->tracker];
	struct kr_mp_writer w;
	size_t len;

	kr_mp_w_init(&w, t->buf, t->buf_cap);
	kr_tracker_msg_announce_encode(&w, &t->self, r->blobs, r->blob_count,
				       r->gone, r->gone_count);
	if (kr_mp_w_done(&w, &len) != KR_OK) {
		kr_log_error("trackers", "announce does not fit its buffer",
			     KR_U64("blobs", r->blob_count));
		return;
	}
	kr_rpc_call(tr->rpc, &tr->call, "tracker.announce",
		    (struct kr_bytes){ t->buf, len }, t->rpc_timeout_ns,
		    announce_done);
	for (uint32_t i = 0; i < r->blob_count; i++)
		kr_digest_map_del(&t->urgent, &r->blobs[i].item.digest);
	for (uint32_t i = 0; i < r->gone_count; i++)
		kr_digest_map_del(&t->gone, &r->gone[i]);
}

static void announce_to(struct kr_trackers *t, uint32_t index, bool full)
{
	struct round r = { .t = t, .tracker = index, .full = full };

	if (t->list[index].call.busy) /* its answer comes back here */
		return;
	r.blobs = calloc(ROUND_BLOBS_MAX, sizeof(*r.blobs));
	r.gone = calloc(ROUND_BLOBS_MAX, sizeof(*r.gone));
	if (r.blobs != NULL && r.gone != NULL) {
		kr_transfer_for_each(t->transfer, add_blob, &r);
		add_gone(&r);
		if (r.blob_count + r.gone_count > 0)
			send_announce(&r);
	}
	free(r.blobs);
	free(r.gone);
}

/* What is urgent but belongs to no blob any more would be urgent for ever. */
static void forget_stale(struct kr_trackers *t)
{
	const struct kr_digest *d;
	uint32_t at = 0;
	void *value;

	while (kr_digest_map_next(&t->urgent, &at, &d, &value)) {
		const struct kr_digest key = *d;
		struct kr_blob *b;
		if (kr_transfer_open_blob(t->transfer, &key, &b) == KR_OK)
			kr_blob_put(b);
		else
			kr_digest_map_del(&t->urgent, &key);
	}
}

static void tell_gone(struct kr_trackers *t, const struct kr_digest *d)
{
	if (kr_digest_map_put(&t->gone, d, t) != KR_OK)
		kr_log_debug("trackers", "no memory to tell that a blob is "
					 "gone: the tracker's ttl does");
}

static void drop_seed(struct kr_trackers *t, struct seed *s)
{
	const struct kr_digest d = *kr_blob_digest(s->blob);

	tell_gone(t, &d);
	kr_digest_map_del(&t->seed_of, &d);
	kr_list_del(&s->link);
	t->seed_count--;
	kr_blob_put(s->blob);
	free(s);
}

static void expire_seeds(struct kr_trackers *t, uint64_t now_ns)
{
	while (!kr_list_empty(&t->seeds)) {
		struct seed *s =
			KR_CONTAINER_OF(t->seeds.next, struct seed, link);
		if (s->until_ns > now_ns && t->seed_count <= t->seeds_max)
			break;
		drop_seed(t, s);
	}
}

static void run_interval(struct kr_timer *timer);

/* A tracker forgets who is silent for its ttl: it says how often it wants to
 * be told, and ours only counts where it is shorter. */
static uint64_t interval_ns(const struct kr_trackers *t)
{
	uint64_t ns = t->interval_ns;

	if (t->told_ns != 0 && t->told_ns < ns)
		ns = t->told_ns;
	return ns < INTERVAL_MIN_NS ? INTERVAL_MIN_NS : ns;
}

static void arm_interval(struct kr_trackers *t)
{
	const uint64_t ns = interval_ns(t);
	const uint64_t jitter = kr_rand_u64(&t->rand) % (ns / 4 + 1);

	t->full_due_ns = kr_io_now_ns(t->io) + ns - ns / 8 + jitter;
	kr_io_timer_set(t->io, &t->interval, t->full_due_ns, run_interval);
}

static void run_soon(struct kr_timer *timer)
{
	struct kr_trackers *t =
		KR_CONTAINER_OF(timer, struct kr_trackers, soon);
	const bool full = t->full_due_ns <= kr_io_now_ns(t->io);

	if (t->transfer == NULL)
		return;
	if (!full)
		forget_stale(t);
	for (uint32_t i = 0; i < t->count; i++)
		announce_to(t, i, full);
	if (full)
		arm_interval(t);
}

static void run_interval(struct kr_timer *timer)
{
	struct kr_trackers *t =
		KR_CONTAINER_OF(timer, struct kr_trackers, interval);

	expire_seeds(t, kr_io_now_ns(t->io));
	/* a tracker that failed is tried again with everything */
	for (uint32_t i = 0; i < t->count; i++)
		t->list[i].failed = false;
	run_soon(&t->soon);
}

void kr_trackers_need_peers(struct kr_trackers *t, struct kr_blob *b)
{
	if (kr_digest_map_put(&t->urgent, kr_blob_digest(b), t) != KR_OK)
		return; /* no memory: the interval announces it */
	arm_soon(t, KR_TRACKERS_BATCH_NS);
}

static void prolong(struct kr_trackers *t, struct seed *s)
{
	s->until_ns = kr_io_now_ns(t->io) + t->seed_ttl_ns;
	kr_list_del(&s->link);
	kr_list_add_tail(&t->seeds, &s->link);
}

void kr_trackers_completed(struct kr_trackers *t, struct kr_blob *b)
{
	struct seed *s = kr_digest_map_get(&t->seed_of, kr_blob_digest(b));

	if (t->leech_only) {
		tell_gone(t, kr_blob_digest(b));
		arm_soon(t, KR_TRACKERS_BATCH_NS);
		return;
	}
	kr_trackers_need_peers(t, b);
	if (s != NULL) {
		prolong(t, s);
		return;
	}
	s = calloc(1, sizeof(*s));
	if (s == NULL)
		return;
	if (kr_digest_map_put(&t->seed_of, kr_blob_digest(b), s) != KR_OK) {
		free(s);
		return;
	}
	s->blob = kr_blob_get(b);
	kr_list_init(&s->link);
	prolong(t, s);
	t->seed_count++;
	kr_digest_map_del(&t->gone, kr_blob_digest(b));
}

void kr_trackers_make_room(struct kr_trackers *t, uint64_t bytes)
{
	uint64_t given = 0;

	while (!kr_list_empty(&t->seeds) && given / 2 < bytes) {
		struct seed *s =
			KR_CONTAINER_OF(t->seeds.next, struct seed, link);

		given += kr_blob_size_bytes(s->blob);
		drop_seed(t, s);
	}
}

void kr_trackers_used(struct kr_trackers *t, struct kr_blob *b)
{
	struct seed *s = kr_digest_map_get(&t->seed_of, kr_blob_digest(b));

	if (s == NULL)
		kr_trackers_completed(t, b);
	else
		prolong(t, s);
}

void kr_trackers_forget(struct kr_trackers *t, const struct kr_digest *d)
{
	struct seed *s = kr_digest_map_get(&t->seed_of, d);

	if (s != NULL)
		drop_seed(t, s);
}

/* ---- reports ------------------------------------------------------------*/

struct report {
	struct kr_rpc_call call;
};

static void report_done(struct kr_rpc_call *call, enum kr_err err,
			struct kr_bytes result, const char *text)
{
	(void)result;
	if (err != KR_OK)
		kr_log_debug("trackers", "report was not taken",
			     KR_ERR("why", err), KR_STR("text", text));
	free(KR_CONTAINER_OF(call, struct report, call));
}

void kr_trackers_report(struct kr_trackers *t, const struct kr_digest *d,
			const struct kr_peer_id *id)
{
	struct report *r = calloc(1, sizeof(*r));
	struct kr_mp_writer w;
	uint8_t params[256];
	size_t len;

	if (r == NULL)
		return;
	kr_mp_w_init(&w, params, sizeof(params));
	kr_tracker_msg_report_encode(&w, d, id);
	if (kr_mp_w_done(&w, &len) != KR_OK) {
		free(r);
		return;
	}
	kr_rpc_call(t->list[tracker_of(t, d)].rpc, &r->call, "tracker.report",
		    (struct kr_bytes){ params, len }, t->rpc_timeout_ns,
		    report_done);
}

/* ---- metainfo -----------------------------------------------------------*/

static void ask_next(struct kr_trackers_ask *a);

static void ask_done(struct kr_rpc_call *call, enum kr_err err,
		     struct kr_bytes result, const char *text)
{
	struct kr_trackers_ask *a =
		KR_CONTAINER_OF(call, struct kr_trackers_ask, call);
	const struct kr_bytes nothing = { NULL, 0 };
	struct kr_bytes metainfo;

	if (err == KR_E_DENIED)
		note_cluster(&a->trackers->list[a->order[a->at]], err, text);
	if (err == KR_OK && a->params_len == 0) /* a ping */
		metainfo = nothing;
	else if (err == KR_OK)
		err = kr_origin_msg_metainfo_decode(result, &metainfo);
	if (err == KR_OK) {
		a->done(a, KR_OK, metainfo, "");
		return;
	}
	if (err == KR_E_NOTFOUND || err == KR_E_BUSY) { /* the origins' word */
		a->done(a, err, nothing, text);
		return;
	}
	if (a->at + 1 == a->order_count) {
		char why[KR_RPC_TEXT_MAX];
		(void)snprintf(why, sizeof(why), "tracker %s: %s",
			       a->trackers->list[a->order[a->at]].name,
			       text[0] != '\0' ? text : kr_err_text(err));
		a->done(a, KR_E_UNAVAILABLE, nothing, why);
		return;
	}
	a->at++;
	ask_next(a);
}

static void ask_next(struct kr_trackers_ask *a)
{
	struct kr_trackers *t = a->trackers;

	kr_rpc_call(t->list[a->order[a->at]].rpc, &a->call, a->method,
		    (struct kr_bytes){ a->params, a->params_len },
		    a->timeout_ns, ask_done);
}

/* The trackers of @d, those that answer first. */
static void make_order(struct kr_trackers_ask *a, const struct kr_digest *d)
{
	struct kr_trackers *t = a->trackers;
	uint32_t all[KR_TRACKERS_MAX];
	const uint32_t count =
		kr_ring_order(&t->ring, d, NULL, NULL, all, KR_TRACKERS_MAX);

	a->order_count = 0;
	for (uint32_t i = 0; i < count; i++) {
		if (tracker_usable(t, all[i]))
			a->order[a->order_count++] = all[i];
	}
	for (uint32_t i = 0; i < count; i++) {
		if (!tracker_usable(t, all[i]))
			a->order[a->order_count++] = all[i];
	}
}

static void begin_ask(struct kr_trackers *t, struct kr_trackers_ask *a,
		      const char *method, uint64_t timeout_ns,
		      kr_trackers_ask_fn *done)
{
	memset(&a->call, 0, sizeof(a->call));
	a->trackers = t;
	a->method = method;
	a->timeout_ns = timeout_ns;
	a->done = done;
	a->at = 0;
}

void kr_trackers_metainfo(struct kr_trackers *t, struct kr_trackers_ask *a,
			  const char *ns, const struct kr_digest *d,
			  kr_trackers_ask_fn *done)
{
	struct kr_mp_writer w;
	enum kr_err err;

	begin_ask(t, a, "tracker.metainfo", t->rpc_timeout_ns, done);
	kr_mp_w_init(&w, a->params, sizeof(a->params));
	kr_origin_msg_seek_encode(&w, ns, d, t->self.cluster);
	err = kr_mp_w_done(&w, &a->params_len);
	kr_assert(err == KR_OK); /* params holds KR_ORIGIN_MSG_SEEK_MAX */
	make_order(a, d);
	ask_next(a);
}

void kr_trackers_ask_cancel(struct kr_trackers_ask *a)
{
	kr_rpc_call_cancel(&a->call);
}

void kr_trackers_ping(struct kr_trackers *t, struct kr_trackers_ask *a,
		      kr_trackers_ask_fn *done)
{
	const struct kr_digest any = { .alg = KR_SHA256 };

	begin_ask(t, a, "tracker.status", KR_TRACKERS_PING_NS, done);
	a->params_len = 0;
	make_order(a, &any);
	ask_next(a);
}

/* ---- life ---------------------------------------------------------------*/

static enum kr_err open_tracker(struct kr_trackers *t, const char *name,
				const struct kr_addr *addr)
{
	const struct kr_rpc_client_opts opts = { .to = *addr };
	struct tracker *tr = &t->list[t->count++];

	tr->all = t;
	tr->name = strdup(name);
	if (tr->name == NULL)
		return KR_E_NOMEM;
	return kr_rpc_client_open(t->io, &opts, &tr->rpc);
}

static enum kr_err open_parts(struct kr_trackers *t,
			      const struct kr_trackers_opts *opts)
{
	enum kr_err err;

	t->buf_cap =
		kr_tracker_msg_announce_max(ROUND_BLOBS_MAX, ROUND_BLOBS_MAX);
	t->buf = malloc(t->buf_cap);
	t->list = calloc(opts->count, sizeof(*t->list));
	if (t->buf == NULL || t->list == NULL)
		return KR_E_NOMEM;
	err = kr_ring_init(&t->ring, opts->names, opts->count, 1);
	for (uint32_t i = 0; err == KR_OK && i < opts->count; i++)
		err = open_tracker(t, opts->names[i], &opts->addrs[i]);
	return err;
}

enum kr_err kr_trackers_open(const struct kr_trackers_opts *opts,
			     struct kr_trackers **ret)
{
	struct kr_trackers *t;
	enum kr_err err;

	if (opts->count > KR_TRACKERS_MAX)
		return KR_E_LIMIT;
	t = calloc(1, sizeof(*t));
	if (t == NULL)
		return KR_E_NOMEM;
	t->io = opts->io;
	t->self = opts->self;
	t->interval_ns = opts->interval_ns;
	t->rpc_timeout_ns = opts->rpc_timeout_ns;
	t->seed_ttl_ns = opts->seed_ttl_ns;
	t->seeds_max = opts->seeds_max;
	t->leech_only = opts->leech_only;
	kr_rand_init(&t->rand, opts->seed);
	kr_digest_map_open(&t->urgent, kr_alloc_heap());
	kr_digest_map_open(&t->gone, kr_alloc_heap());
	kr_digest_map_open(&t->seed_of, kr_alloc_heap());
	kr_list_init(&t->seeds);
	err = open_parts(t, opts);
	if (err != KR_OK) {
		kr_trackers_close(t);
		return err;
	}
	arm_interval(t);
	*ret = t;
	return KR_OK;
}

void kr_trackers_attach(struct kr_trackers *t, struct kr_transfer *transfer,
			const struct kr_peer_id *id, uint16_t port)
{
	t->transfer = transfer;
	t->self.id = *id;
	t->self.port = port;
}

void kr_trackers_close(struct kr_trackers *t)
{
	kr_io_timer_stop(t->io, &t->soon);
	kr_io_timer_stop(t->io, &t->interval);
	while (!kr_list_empty(&t->seeds))
		drop_seed(t, KR_CONTAINER_OF(t->seeds.next, struct seed, link));
	for (uint32_t i = 0; i < t->count; i++) {
		/* closing ends reports under way, whose memory is their own */
		if (t->list[i].call.busy)
			kr_rpc_call_cancel(&t->list[i].call);
		if (t->list[i].rpc != NULL)
			kr_rpc_client_close(t->list[i].rpc);
		free(t->list[i].name);
	}
	kr_digest_map_close(&t->urgent);
	kr_digest_map_close(&t->gone);
	kr_digest_map_close(&t->seed_of);
	free(t->list);
	free(t->buf);
	free(t);
}
