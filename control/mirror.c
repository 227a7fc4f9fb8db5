/*
 * A look-up:
 *
 *	queued --a thread is free--> running --answered--> learning --on disk--+
 *	  |                            |                                       |
 *	  |deadline                    |deadline: those who wait are told      |
 *	  v                            v                                       v
 *	 gone                         late --answered--> learning ---------> gone
 *
 * It can be joined until it is gone, so that a question whose row was read
 * before the look-up's was written does not ask a second time.
 */
#include "control/mirror.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/hash.h"
#include "core/log.h"
#include "core/map.h"
#include "core/metrics.h"
#include "core/pattern.h"

#define TIMEOUT_NS UINT64_C(3000000000)

enum { NAME_MAX_BYTES = KR_INDEX_REPO_MAX + KR_INDEX_TAG_MAX };

struct kr_mirror_source {
	struct kr_backend *backend;
	uint32_t running, late; /* look-ups; late ones run */
	bool failing;           /* the last look-up did */
};

struct rule {
	struct kr_pattern pattern;
	struct kr_freshness policy;
};

struct kr_mirror {
	struct kr_io *io;
	struct kr_index *index;
	const struct kr_backends *backends;
	uint64_t timeout_ns;
	uint64_t (*wall_ns)(void);
	struct rule rules[KR_MIRROR_RULES_MAX];
	uint32_t rule_count;
	struct kr_mirror_source sources[KR_BACKENDS_MAX];
	uint32_t source_count;
	struct kr_list queued;        /* struct lookup */
	struct kr_digest_map by_name; /* -> struct lookup, until it is gone */
	uint32_t queued_count, running, late;
	uint32_t reading; /* questions that wait for the index */
	bool closing;
	struct kr_metric *asked, *errors, *answers[KR_FRESH_COUNT];
};

struct lookup {
	struct kr_list link; /* in queued */
	struct kr_mirror *mirror;
	struct kr_mirror_source *source;
	struct kr_list waits; /* struct kr_mirror_ask */
	struct kr_digest key;
	struct kr_index_entry known; /* as the first who asked found it */
	struct kr_freshness policy;
	char name[NAME_MAX_BYTES]; /* "repository:tag" */
	struct kr_job job;
	struct kr_timer timer;
	struct kr_index_req req;
	enum { QUEUED, RUNNING, LATE, LEARNING } phase;
	struct kr_digest digest;
	enum kr_err err; /* of the backend */
	uint64_t asked_ns;
};

static struct lookup *lookup_of_link(struct kr_list *at)
{
	return KR_CONTAINER_OF(at, struct lookup, link);
}

/* ---- which policy, which upstream ---- */

static struct kr_freshness policy_of(const struct kr_mirror *m,
				     const char *repo)
{
	for (uint32_t i = 0; i < m->rule_count; i++)
		if (kr_pattern_matches(&m->rules[i].pattern, repo))
			return m->rules[i].policy;
	return (struct kr_freshness){ .cache_ns = 0, .stale = true };
}

static struct kr_mirror_source *source_of(struct kr_mirror *m, const char *repo)
{
	struct kr_backend *b = m->backends == NULL
				       ? NULL
				       : kr_backends_find(m->backends, repo);

	if (b == NULL)
		return NULL;
	for (uint32_t i = 0; i < m->source_count; i++)
		if (m->sources[i].backend == b)
			return &m->sources[i];
	kr_assert(m->source_count < KR_BACKENDS_MAX);
	m->sources[m->source_count] = (struct kr_mirror_source){ .backend = b };
	return &m->sources[m->source_count++];
}

/* Why a look-up cannot be begun; KR_OK: it can.  It would only wait where
 * every thread that it could have is held by one that is overdue. */
static enum kr_err check_room(const struct kr_mirror *m,
			      const struct kr_mirror_source *s)
{
	if (m->closing)
		return KR_E_CANCELED;
	if (s->late == KR_MIRROR_SOURCE_MAX || m->late == KR_MIRROR_MAX)
		return KR_E_TIMEDOUT;
	return m->queued_count < KR_MIRROR_WAITING_MAX ? KR_OK : KR_E_BUSY;
}

static bool is_answer(enum kr_err err)
{
	return err == KR_OK || err == KR_E_NOTFOUND;
}

/* An upstream that fails is told of once, and when it is well again. */
static void note_answer(struct lookup *l, enum kr_err err)
{
	struct kr_mirror *m = l->mirror;

	if (!is_answer(err))
		kr_metric_add(m->errors, 1);
	if (err == KR_E_CORRUPT) {
		kr_log_error(
			"mirror", "what upstream has for a tag is no digest",
			KR_STR("tag", l->name),
			KR_STR("do", "correct the tag there; what is known "
				     "is served where tags.freshness lets "
				     "it"));
		return;
	}
	if (l->source->failing != is_answer(err))
		return;
	l->source->failing = !is_answer(err);
	if (l->source->failing)
		kr_log_warn("mirror", "upstream cannot be asked for tags",
			    KR_STR("backend", l->source->backend->ops->type),
			    KR_STR("tag", l->name), KR_ERR("why", err),
			    KR_STR("do",
				   "see that the backend answers and lets "
				   "us in; meanwhile what is known is "
				   "served where tags.freshness lets it"));
	else
		kr_log_info("mirror", "upstream answers again",
			    KR_STR("backend", l->source->backend->ops->type),
			    KR_STR("tag", l->name));
}

/* ---- one question's answer ---- */

static void say_why(const struct kr_mirror_ask *a, enum kr_err err,
		    char text[KR_MIRROR_TEXT_MAX])
{
	(void)snprintf(text, KR_MIRROR_TEXT_MAX,
		       "the upstream of %.64s: %s; %s", a->req.entry.repo,
		       err == KR_E_CORRUPT ? "what it has for the tag is no "
					     "digest"
					   : kr_err_text(err),
		       a->req.entry.learned_ns != 0
			       ? "what is known of the tag may not be served "
				 "(tags.freshness, stale)"
			       : "nothing is known of the tag");
}

/* Upstream said @answer, with KR_OK @digest. */
static void settle(struct kr_mirror_ask *a, enum kr_err answer,
		   const struct kr_digest *digest)
{
	struct kr_mirror *m = a->mirror;
	struct kr_index_entry *e = &a->req.entry;
	char text[KR_MIRROR_TEXT_MAX];
	const enum kr_fresh fresh = kr_freshness_decide(
		&a->policy, e->learned_ns, m->wall_ns(), answer);

	kr_assert(fresh != KR_FRESH_ASK && fresh != KR_FRESH_KNOWN);
	kr_metric_add(m->answers[fresh], 1);
	if (fresh == KR_FRESH_FAILED) {
		say_why(a, answer, text);
		a->done(a, KR_E_UNAVAILABLE, text);
		return;
	}
	if (fresh == KR_FRESH_NEW) {
		e->digest = *digest;
		e->deleted = false;
	}
	a->done(a, fresh == KR_FRESH_GONE ? KR_E_NOTFOUND : KR_OK, "");
}

/* ---- look-ups ---- */

static void settle_all(struct lookup *l, enum kr_err answer)
{
	struct kr_list *at;

	while ((at = kr_list_first(&l->waits)) != NULL) {
		kr_list_del(at);
		settle(KR_CONTAINER_OF(at, struct kr_mirror_ask, link), answer,
		       &l->digest);
	}
}

/* Nobody can join it any more, also not from a done(). */
static void finish(struct lookup *l, enum kr_err answer)
{
	(void)kr_digest_map_del(&l->mirror->by_name, &l->key);
	kr_io_timer_stop(l->mirror->io, &l->timer);
	settle_all(l, answer);
	free(l);
}

static void run_next(struct kr_mirror *m);

static void on_learned(struct kr_index_req *r, enum kr_err err)
{
	struct lookup *l = KR_CONTAINER_OF(r, struct lookup, req);

	if (err != KR_OK)
		kr_log_warn("mirror", "cannot remember what upstream said",
			    KR_STR("tag", l->name), KR_ERR("why", err),
			    KR_STR("do", "see what is wrong with store.dir"));
	else if (l->err == KR_OK)
		l->digest = r->entry.digest; /* a put was faster */
	finish(l, l->err);
}

/* What is to be served for a while must be known to be new. */
static bool is_worth_writing(const struct lookup *l)
{
	return l->known.learned_ns == 0 || l->policy.cache_ns > 0 ||
	       !kr_digest_equal(&l->known.digest, &l->digest);
}

static void remember(struct lookup *l)
{
	struct kr_index *ix = l->mirror->index;
	const struct kr_index_entry *k = &l->known;

	l->phase = LEARNING;
	if (l->err == KR_OK && is_worth_writing(l))
		kr_index_learn(ix, &l->req, k->repo, k->tag, &l->digest,
			       l->asked_ns, on_learned);
	else if (l->err == KR_E_NOTFOUND && k->learned_ns != 0)
		kr_index_forget(ix, &l->req, k->repo, k->tag, on_learned);
	else
		finish(l, l->err);
}

static void ask_upstream(struct kr_job *j)
{
	struct lookup *l = KR_CONTAINER_OF(j, struct lookup, job);

	l->err = kr_backend_tag(l->source->backend, l->name, &l->digest);
}

static void on_asked(struct kr_job *j)
{
	struct lookup *l = KR_CONTAINER_OF(j, struct lookup, job);
	struct kr_mirror *m = l->mirror;
	const bool late = l->phase == LATE;

	m->running--;
	l->source->running--;
	m->late -= late;
	l->source->late -= late;
	kr_io_timer_stop(m->io, &l->timer);
	if (!late || is_answer(l->err)) /* else it was told at the deadline */
		note_answer(l, l->err);
	remember(l);
	run_next(m);
}

static void start(struct lookup *l)
{
	struct kr_mirror *m = l->mirror;

	kr_list_del(&l->link);
	m->queued_count--;
	m->running++;
	l->source->running++;
	l->phase = RUNNING;
	l->asked_ns = m->wall_ns();
	kr_metric_add(m->asked, 1);
	kr_io_work(m->io, &l->job, ask_upstream, on_asked);
}

static void run_next(struct kr_mirror *m)
{
	struct kr_list *at = m->queued.next;

	while (m->running < KR_MIRROR_MAX && at != &m->queued) {
		struct lookup *l = lookup_of_link(at);

		at = at->next;
		if (l->source->running < KR_MIRROR_SOURCE_MAX)
			start(l);
	}
}

static void drop_queued(struct lookup *l, enum kr_err answer)
{
	kr_list_del(&l->link);
	l->mirror->queued_count--;
	finish(l, answer);
}

static void on_deadline(struct kr_timer *t)
{
	struct lookup *l = KR_CONTAINER_OF(t, struct lookup, timer);

	note_answer(l, KR_E_TIMEDOUT);
	if (l->phase == QUEUED) {
		drop_queued(l, KR_E_TIMEDOUT);
		return;
	}
	l->phase = LATE;
	l->mirror->late++;
	l->source->late++;
	settle_all(l, KR_E_TIMEDOUT);
}

static struct kr_digest key_of(const char *name)
{
	struct kr_digest key = { .alg = KR_SHA256 };

	kr_sha256(name, strlen(name), key.bytes);
	return key;
}

static enum kr_err make_lookup(struct kr_mirror *m,
			       const struct kr_mirror_ask *a, const char *name,
			       struct lookup **ret)
{
	struct lookup *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return KR_E_NOMEM;
	l->mirror = m;
	l->source = a->source;
	l->policy = a->policy;
	l->known = a->req.entry;
	l->key = key_of(name);
	memcpy(l->name, name, strlen(name) + 1);
	kr_list_init(&l->waits);
	kr_list_init(&l->link);
	if (kr_digest_map_put(&m->by_name, &l->key, l) != KR_OK) {
		free(l);
		return KR_E_NOMEM;
	}
	kr_list_add_tail(&m->queued, &l->link);
	m->queued_count++;
	kr_io_timer_set(m->io, &l->timer, kr_io_now_ns(m->io) + m->timeout_ns,
			on_deadline);
	*ret = l;
	return KR_OK;
}

/* Join the look-up of the tag, or begin it. */
static void ask(struct kr_mirror_ask *a)
{
	struct kr_mirror *m = a->mirror;
	char name[NAME_MAX_BYTES];
	struct lookup *l;
	enum kr_err err = KR_OK;

	(void)snprintf(name, sizeof(name), "%s:%s", a->req.entry.repo,
		       a->req.entry.tag);
	const struct kr_digest key = key_of(name);
	l = kr_digest_map_get(&m->by_name, &key);
	if (l != NULL && l->phase == LATE)
		err = KR_E_TIMEDOUT;
	else if (l == NULL)
		err = check_room(m, a->source);
	if (err == KR_OK && l == NULL)
		err = make_lookup(m, a, name, &l);
	if (err != KR_OK) {
		settle(a, err, NULL);
		return;
	}
	kr_list_add_tail(&l->waits, &a->link);
	run_next(m);
}

/* ---- questions ---- */

static void on_known(struct kr_index_req *r, enum kr_err err)
{
	struct kr_mirror_ask *a = KR_CONTAINER_OF(r, struct kr_mirror_ask, req);
	struct kr_mirror *m = a->mirror;

	m->reading--;
	if ((err != KR_OK && err != KR_E_NOTFOUND) ||
	    (err == KR_OK && r->entry.learned_ns == 0)) {
		a->done(a, err, "");
		return;
	}
	a->source = source_of(m, r->entry.repo);
	if (a->source == NULL) {
		a->done(a, KR_E_NOTFOUND, "");
		return;
	}
	a->policy = policy_of(m, r->entry.repo);
	if (kr_freshness_decide(&a->policy, r->entry.learned_ns, m->wall_ns(),
				KR_AGAIN) == KR_FRESH_ASK) {
		ask(a);
		return;
	}
	kr_metric_add(m->answers[KR_FRESH_KNOWN], 1);
	a->done(a, KR_OK, "");
}

void kr_mirror_get(struct kr_mirror *m, struct kr_mirror_ask *a,
		   const char *repo, const char *tag, kr_mirror_fn *done)
{
	a->mirror = m;
	a->done = done;
	kr_list_init(&a->link);
	m->reading++;
	kr_index_get(m->index, &a->req, repo, tag, on_known);
}

/* ---- life ---- */

static void add_metrics(struct kr_mirror *m)
{
	static const char *const labels[KR_FRESH_COUNT] = {
		[KR_FRESH_KNOWN] = "answer=\"known\"",
		[KR_FRESH_NEW] = "answer=\"new\"",
		[KR_FRESH_GONE] = "answer=\"gone\"",
		[KR_FRESH_STALE] = "answer=\"stale\"",
		[KR_FRESH_FAILED] = "answer=\"failed\"",
	};

	m->asked =
		kr_metrics_counter("kraken_mirror_asked_total",
				   "questions for a tag to its upstream", NULL);
	m->errors =
		kr_metrics_counter("kraken_mirror_errors_total",
				   "of those, without answer in time", NULL);
	for (size_t i = 0; i < KR_FRESH_COUNT; i++)
		if (labels[i] != NULL)
			m->answers[i] = kr_metrics_counter(
				"kraken_mirror_answers_total",
				"tags of upstreams as they were answered",
				labels[i]);
}

static enum kr_err add_rule(struct kr_mirror *m, const struct kr_mirror_rule *r)
{
	struct rule *rule = &m->rules[m->rule_count];
	char why[KR_PATTERN_ERROR_MAX] = "";
	const enum kr_err err =
		kr_pattern_init(&rule->pattern, "tags.freshness", m->rule_count,
				r->repository, why);

	if (err != KR_OK) {
		kr_log_error("mirror", "rule cannot be used",
			     KR_ERR("err", err), KR_STR("text", why));
		return err;
	}
	rule->policy = r->policy;
	m->rule_count++;
	return KR_OK;
}

static bool has_upstream(void *ctx, const char *repo)
{
	const struct kr_mirror *m = ctx;

	return m->backends != NULL &&
	       kr_backends_find(m->backends, repo) != NULL;
}

enum kr_err kr_mirror_open(const struct kr_mirror_opts *opts,
			   struct kr_mirror **ret)
{
	struct kr_mirror *m = calloc(1, sizeof(*m));
	enum kr_err err = KR_OK;

	kr_assert(opts->rule_count <= KR_MIRROR_RULES_MAX);
	if (m == NULL)
		return KR_E_NOMEM;
	m->io = opts->io;
	m->index = opts->index;
	m->backends = opts->backends;
	m->timeout_ns = opts->timeout_ns == 0 ? TIMEOUT_NS : opts->timeout_ns;
	m->wall_ns = opts->wall_ns == NULL ? kr_clock_wall_ns : opts->wall_ns;
	kr_list_init(&m->queued);
	kr_digest_map_open(&m->by_name, kr_alloc_heap());
	add_metrics(m);
	for (uint32_t i = 0; err == KR_OK && i < opts->rule_count; i++)
		err = add_rule(m, &opts->rules[i]);
	if (err == KR_OK)
		err = kr_index_unlearn(m->index, has_upstream, m);
	if (err != KR_OK) {
		kr_mirror_close(m);
		return err;
	}
	*ret = m;
	return KR_OK;
}

void kr_mirror_close(struct kr_mirror *m)
{
	struct kr_list *at;

	if (m == NULL)
		return;
	m->closing = true;
	while ((at = kr_list_first(&m->queued)) != NULL)
		drop_queued(lookup_of_link(at), KR_E_CANCELED);
	while (m->reading > 0 || kr_digest_map_count(&m->by_name) > 0)
		kr_io_turn(m->io);
	kr_digest_map_close(&m->by_name);
	for (uint32_t i = 0; i < m->rule_count; i++)
		kr_pattern_fini(&m->rules[i].pattern);
	free(m);
}
