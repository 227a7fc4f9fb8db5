#define _GNU_SOURCE
#include "control/indexes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/index_msg.h"
#include "core/list.h"

struct index_host {
	char *name;
	struct kr_rpc_client *rpc;
};

struct kr_indexes {
	struct kr_io *io;
	uint64_t rpc_timeout_ns;
	struct index_host *list;
	uint32_t count;
	uint32_t preferred; /* the last one that answered */
};

_Static_assert(sizeof(((struct kr_indexes_ask *)0)->small) >=
			       KR_INDEX_MSG_ENTRY_MAX &&
		       sizeof(((struct kr_indexes_ask *)0)->small) >=
			       KR_INDEX_MSG_REFERRERS_MAX,
	       "the longest question fits");

static void ask_next(struct kr_indexes_ask *a);

static uint32_t host_of(const struct kr_indexes_ask *a)
{
	return (a->first + a->tried) % a->indexes->count;
}

static void finish(struct kr_indexes_ask *a, enum kr_err err, const char *text)
{
	const struct kr_bytes nothing = { NULL, 0 };
	char why[KR_RPC_TEXT_MAX];

	if (a->answered) {
		a->done(a, KR_E_NOTFOUND, nothing, "");
		return;
	}
	(void)snprintf(why, sizeof(why), "build-index %s: %s",
		       a->indexes->list[host_of(a)].name,
		       text[0] != '\0' ? text : kr_err_text(err));
	a->done(a, KR_E_UNAVAILABLE, nothing, why);
}

static void ask_done(struct kr_rpc_call *call, enum kr_err err,
		     struct kr_bytes result, const char *text)
{
	struct kr_indexes_ask *a =
		KR_CONTAINER_OF(call, struct kr_indexes_ask, call);
	const enum kr_err_class cls = kr_err_class_of(err);

	if (err == KR_OK) {
		a->indexes->preferred = host_of(a);
		a->done(a, KR_OK, result, "");
		return;
	}
	if (err == KR_E_NOTFOUND) {
		a->answered = true;
	} else if (cls == KR_ERR_CLASS_REQUEST || err == KR_E_NOSPC) {
		a->done(a, err, result, text);
		return;
	}
	if (a->tried + 1 == a->indexes->count) {
		finish(a, err, text);
		return;
	}
	a->tried++;
	ask_next(a);
}

static void ask_next(struct kr_indexes_ask *a)
{
	struct kr_indexes *x = a->indexes;

	kr_rpc_call(x->list[host_of(a)].rpc, &a->call, a->method, a->params,
		    a->timeout_ns, ask_done);
}

static void begin(struct kr_indexes *x, struct kr_indexes_ask *a,
		  const char *method, kr_indexes_ask_fn *done,
		  struct kr_mp_writer *w)
{
	memset(&a->call, 0, sizeof(a->call));
	a->indexes = x;
	a->method = method;
	a->timeout_ns = x->rpc_timeout_ns;
	a->done = done;
	a->first = x->preferred;
	a->tried = 0;
	a->answered = false;
	kr_mp_w_init(w, a->small, sizeof(a->small));
}

static void send_ask(struct kr_indexes_ask *a, const struct kr_mp_writer *w)
{
	size_t len;
	const enum kr_err err = kr_mp_w_done(w, &len);

	kr_assert(err == KR_OK); /* names are bounded, see the assertion */
	a->params = (struct kr_bytes){ a->small, len };
	ask_next(a);
}

void kr_indexes_call(struct kr_indexes *x, struct kr_indexes_ask *a,
		     const char *method, struct kr_bytes params,
		     kr_indexes_ask_fn *done)
{
	struct kr_mp_writer w;

	begin(x, a, method, done, &w);
	a->params = params;
	ask_next(a);
}

void kr_indexes_get(struct kr_indexes *x, struct kr_indexes_ask *a,
		    const char *repo, const char *tag, kr_indexes_ask_fn *done)
{
	struct kr_mp_writer w;

	begin(x, a, "index.get", done, &w);
	kr_index_msg_get_encode(&w, repo, tag);
	send_ask(a, &w);
}

void kr_indexes_put(struct kr_indexes *x, struct kr_indexes_ask *a,
		    const char *repo, const char *tag,
		    const struct kr_digest *d, kr_indexes_ask_fn *done)
{
	struct kr_mp_writer w;

	begin(x, a, "index.put", done, &w);
	kr_index_msg_put_encode(&w, repo, tag, d);
	send_ask(a, &w);
}

void kr_indexes_list(struct kr_indexes *x, struct kr_indexes_ask *a,
		     const char *repo, const char *last, uint32_t limit,
		     kr_indexes_ask_fn *done)
{
	struct kr_mp_writer w;

	begin(x, a, "index.list", done, &w);
	kr_index_msg_list_encode(&w, repo, last, limit);
	send_ask(a, &w);
}

void kr_indexes_repos(struct kr_indexes *x, struct kr_indexes_ask *a,
		      const char *last, uint32_t limit, kr_indexes_ask_fn *done)
{
	struct kr_mp_writer w;

	begin(x, a, "index.repos", done, &w);
	kr_index_msg_repos_encode(&w, "", last, limit);
	send_ask(a, &w);
}

void kr_indexes_untag(struct kr_indexes *x, struct kr_indexes_ask *a,
		      const char *repo, const char *tag,
		      kr_indexes_ask_fn *done)
{
	struct kr_mp_writer w;

	begin(x, a, "index.delete", done, &w);
	kr_index_msg_get_encode(&w, repo, tag);
	send_ask(a, &w);
}

/* ---- objects ---- */

void kr_indexes_find_object(struct kr_indexes *x, struct kr_indexes_ask *a,
			    enum kr_index_kind kind, const char *repo,
			    const struct kr_digest *d, kr_indexes_ask_fn *done)
{
	struct kr_mp_writer w;

	begin(x, a, "index.find_object", done, &w);
	a->timeout_ns = KR_INDEXES_PING_NS;
	kr_index_msg_object_name_encode(&w, kind, repo, d, false);
	send_ask(a, &w);
}

void kr_indexes_delete_object(struct kr_indexes *x, struct kr_indexes_ask *a,
			      enum kr_index_kind kind, const char *repo,
			      const struct kr_digest *d, bool force,
			      kr_indexes_ask_fn *done)
{
	struct kr_mp_writer w;

	begin(x, a, "index.delete_object", done, &w);
	kr_index_msg_object_name_encode(&w, kind, repo, d, force);
	send_ask(a, &w);
}

void kr_indexes_put_blob(struct kr_indexes *x, struct kr_indexes_ask *a,
			 const char *repo, const struct kr_digest *d,
			 kr_indexes_ask_fn *done)
{
	struct kr_mp_writer w;

	begin(x, a, "index.put_object", done, &w);
	kr_index_msg_object_name_encode(&w, KR_INDEX_BLOB, repo, d, false);
	send_ask(a, &w);
}

void kr_indexes_referrers(struct kr_indexes *x, struct kr_indexes_ask *a,
			  const struct kr_index_msg_referrers *m,
			  kr_indexes_ask_fn *done)
{
	struct kr_mp_writer w;

	begin(x, a, "index.referrers", done, &w);
	kr_index_msg_referrers_encode(&w, m);
	send_ask(a, &w);
}

void kr_indexes_ask_cancel(struct kr_indexes_ask *a)
{
	kr_rpc_call_cancel(&a->call);
}

void kr_indexes_ping(struct kr_indexes *x, struct kr_indexes_ask *a,
		     kr_indexes_ask_fn *done)
{
	struct kr_mp_writer w;

	begin(x, a, "index.repos", done, &w);
	a->timeout_ns = KR_INDEXES_PING_NS;
	kr_index_msg_repos_encode(&w, "", "", 1);
	send_ask(a, &w);
}

static enum kr_err open_host(struct kr_indexes *x, const char *name,
			     const struct kr_addr *addr)
{
	const struct kr_rpc_client_opts opts = { .to = *addr };
	struct index_host *host = &x->list[x->count++];

	host->name = strdup(name);
	if (host->name == NULL)
		return KR_E_NOMEM;
	return kr_rpc_client_open(x->io, &opts, &host->rpc);
}

enum kr_err kr_indexes_open(const struct kr_indexes_opts *opts,
			    struct kr_indexes **ret)
{
	struct kr_indexes *x;
	enum kr_err err = KR_OK;

	if (opts->count == 0 || opts->count > KR_INDEXES_MAX)
		return KR_E_LIMIT;
	x = calloc(1, sizeof(*x));
	if (x == NULL)
		return KR_E_NOMEM;
	x->io = opts->io;
	x->rpc_timeout_ns = opts->rpc_timeout_ns;
	x->list = calloc(opts->count, sizeof(*x->list));
	if (x->list == NULL)
		err = KR_E_NOMEM;
	for (uint32_t i = 0; err == KR_OK && i < opts->count; i++)
		err = open_host(x, opts->names[i], &opts->addrs[i]);
	if (err != KR_OK) {
		kr_indexes_close(x);
		return err;
	}
	*ret = x;
	return KR_OK;
}

void kr_indexes_close(struct kr_indexes *x)
{
	for (uint32_t i = 0; i < x->count; i++) {
		if (x->list[i].rpc != NULL)
			kr_rpc_client_close(x->list[i].rpc);
		free(x->list[i].name);
	}
	free(x->list);
	free(x);
}
