#include "control/index_rpc.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "control/index_copy.h"
#include "control/index_msg.h"
#include "control/index_rpc_internal.h"
#include "core/clock.h"
#include "core/list.h"

#define COPY_TIMEOUT_NS  UINT64_C(10000000000)
#define COPY_INTERVAL_NS UINT64_C(1000000000)

enum {
	/* a manifest with all it refers to and its descriptor */
	REQUEST_LEN_MAX = KR_INDEX_REFS_MAX + KR_INDEX_DESC_MAX + 256 * 1024,
	PEER_NAME_MAX = 48,
};

static const char schema[] =
	"CREATE TABLE IF NOT EXISTS node ("
	" one INTEGER PRIMARY KEY CHECK (one = 1), id INTEGER NOT NULL);";

struct kr_index_service {
	struct kr_io *io;
	struct kr_rpc_server *server;
	struct kr_db *db;
	struct kr_queue *queue;
	struct kr_index *index;
	struct kr_mirror *mirror;
	uint64_t node;
	char kinds[KR_INDEX_PEERS_MAX][KR_INDEX_COPY_KIND_MAX];
	const char *kind_list[KR_INDEX_PEERS_MAX];
	struct index_copy *copies[KR_INDEX_PEERS_MAX];
	uint32_t copy_count;
};

void kr_index_rpc_fail(struct kr_rpc_request *rpc, enum kr_err err)
{
	static const char *const texts[KR_ERR_COUNT] = {
		[KR_E_NOTFOUND] = "no such repository or tag",
		[KR_E_INVALID] = "malformed repository, tag or digest",
		[KR_E_NOSPC] = "the disk of the build-index is full",
		[KR_E_DENIED] = "a manifest of the repository refers to it",
		[KR_E_EXISTS] = "the tag is immutable",
		[KR_E_TOOBIG] = "more than the build-index keeps of a manifest",
	};

	kr_rpc_fail(rpc, err, texts[err]);
}

void *kr_index_rpc_begin(struct kr_index_service *s, struct kr_rpc_request *rpc,
			 size_t bytes)
{
	struct kr_index_rpc_op *op = calloc(1, bytes);

	if (op == NULL) {
		kr_index_rpc_fail(rpc, KR_E_NOMEM);
		return NULL;
	}
	op->service = s;
	op->rpc = rpc;
	return op;
}

void kr_index_rpc_end(struct kr_index_rpc_op *op, enum kr_err err,
		      struct kr_bytes result)
{
	if (err == KR_OK)
		kr_rpc_reply(op->rpc, result);
	else
		kr_index_rpc_fail(op->rpc, err);
	free(op);
}

static void kick_copies(struct kr_index_service *s)
{
	for (uint32_t i = 0; i < s->copy_count; i++)
		index_copy_kick(s->copies[i]);
}

void kr_index_rpc_end_write(struct kr_index_rpc_op *op, enum kr_err err,
			    bool copied)
{
	static const uint8_t empty_map = 0x80;

	if (err == KR_OK && copied)
		kick_copies(op->service);
	kr_index_rpc_end(op, err, (struct kr_bytes){ &empty_map, 1 });
}

/* ---- index.put, index.delete, index.merge ---- */

struct write_op {
	struct kr_index_rpc_op op;
	struct kr_index_req req;
};

static void on_put(struct kr_index_req *r, enum kr_err err)
{
	struct write_op *w = KR_CONTAINER_OF(r, struct write_op, req);

	kr_index_rpc_end_write(&w->op, err, true);
}

static void on_merge(struct kr_index_req *r, enum kr_err err)
{
	struct write_op *w = KR_CONTAINER_OF(r, struct write_op, req);

	kr_index_rpc_end_write(&w->op, err, false);
}

/* The params, which @need, and memory to work in; NULL: it was answered. */
static void *begin_entry(struct kr_index_service *s, struct kr_rpc_request *rpc,
			 struct kr_bytes params, unsigned need,
			 struct kr_index_entry *ret, size_t bytes)
{
	if (kr_index_msg_entry_decode(params, need, ret) == KR_OK)
		return kr_index_rpc_begin(s, rpc, bytes);
	kr_index_rpc_fail(rpc, KR_E_INVALID);
	return NULL;
}

enum { NAME = KR_INDEX_MSG_REPO | KR_INDEX_MSG_TAG };

static void method_put(void *ctx, struct kr_rpc_request *rpc,
		       struct kr_bytes params)
{
	struct kr_index_service *s = ctx;
	struct kr_index_entry e;
	struct write_op *w = begin_entry(
		s, rpc, params, NAME | KR_INDEX_MSG_DIGEST, &e, sizeof(*w));

	if (w != NULL)
		kr_index_put(s->index, &w->req, e.repo, e.tag, &e.digest,
			     on_put);
}

static void method_delete(void *ctx, struct kr_rpc_request *rpc,
			  struct kr_bytes params)
{
	struct kr_index_service *s = ctx;
	struct kr_index_entry e;
	struct write_op *w = begin_entry(s, rpc, params, NAME, &e, sizeof(*w));

	if (w != NULL)
		kr_index_untag(s->index, &w->req, e.repo, e.tag, on_put);
}

static void method_merge(void *ctx, struct kr_rpc_request *rpc,
			 struct kr_bytes params)
{
	struct kr_index_service *s = ctx;
	struct kr_index_entry e;
	struct write_op *w = begin_entry(
		s, rpc, params, NAME | KR_INDEX_MSG_DIGEST | KR_INDEX_MSG_STAMP,
		&e, sizeof(*w));

	if (w != NULL)
		kr_index_merge(s->index, &w->req, &e, on_merge);
}

/* ---- index.get ---- */

struct get_op {
	struct kr_index_rpc_op op;
	struct kr_mirror_ask ask;
};

/* "Deleted" is an answer: the next index, which may not know it yet, must not
 * be asked. */
static void on_get(struct kr_mirror_ask *a, enum kr_err err, const char *text)
{
	struct get_op *g = KR_CONTAINER_OF(a, struct get_op, ask);
	const struct kr_index_entry *e = &a->req.entry;
	uint8_t buf[KR_DIGEST_TEXT_MAX + 16];
	struct kr_mp_writer w;

	if (text[0] != '\0') {
		kr_rpc_fail(g->op.rpc, err, text);
		free(g);
		return;
	}
	kr_mp_w_init(&w, buf, sizeof(buf));
	if (err == KR_E_NOTFOUND && e->deleted) {
		kr_index_msg_deleted_encode(&w, true);
		err = KR_OK;
	} else {
		kr_index_msg_digest_encode(&w, &e->digest);
	}
	kr_assert(!w.overflow);
	kr_index_rpc_end(&g->op, err, (struct kr_bytes){ buf, w.len });
}

static void method_get(void *ctx, struct kr_rpc_request *rpc,
		       struct kr_bytes params)
{
	struct kr_index_service *s = ctx;
	struct kr_index_entry e;
	struct get_op *g = begin_entry(s, rpc, params, NAME, &e, sizeof(*g));

	if (g != NULL)
		kr_mirror_get(s->mirror, &g->ask, e.repo, e.tag, on_get);
}

/* ---- index.list, index.repos ---- */

struct list_op {
	struct kr_index_rpc_op op;
	struct kr_index_req req;
	const char *key; /* "tags", "repos" */
};

static void on_names(struct kr_index_req *r, enum kr_err err)
{
	struct list_op *l = KR_CONTAINER_OF(r, struct list_op, req);
	/* Each name costs its bytes and a head of 5 at most. */
	const size_t cap = 64 + r->names.len + 5 * (size_t)r->name_count;
	struct kr_mp_writer w;
	uint8_t *buf = NULL;

	if (err == KR_OK) {
		buf = malloc(cap);
		if (buf == NULL)
			err = KR_E_NOMEM;
	}
	kr_mp_w_init(&w, buf, buf == NULL ? 0 : cap);
	if (err == KR_OK) {
		kr_index_msg_names_encode(&w, l->key,
					  (const char *)r->names.ptr,
					  r->name_count, r->more);
		kr_assert(!w.overflow);
	}
	kr_buf_fini(&r->names);
	kr_index_rpc_end(&l->op, err, (struct kr_bytes){ buf, w.len });
	free(buf);
}

typedef void names_fn(struct kr_index *ix, struct kr_index_req *r,
		      const char *name, const char *last, uint32_t max,
		      kr_index_done_fn *done);

static void list_names(struct kr_index_service *s, struct kr_rpc_request *rpc,
		       struct kr_bytes params, const char *key, names_fn *list)
{
	struct kr_index_msg_list m;
	struct list_op *l;

	if (kr_index_msg_list_decode(params, &m) != KR_OK) {
		kr_index_rpc_fail(rpc, KR_E_INVALID);
		return;
	}
	l = kr_index_rpc_begin(s, rpc, sizeof(*l));
	if (l == NULL)
		return;
	l->key = key;
	list(s->index, &l->req, m.name, m.last, m.limit, on_names);
}

static void method_list(void *ctx, struct kr_rpc_request *rpc,
			struct kr_bytes params)
{
	list_names(ctx, rpc, params, "tags", kr_index_list);
}

static void method_repos(void *ctx, struct kr_rpc_request *rpc,
			 struct kr_bytes params)
{
	list_names(ctx, rpc, params, "repos", kr_index_repos);
}

static const struct kr_rpc_method methods[] = {
	{ "index.put", method_put },
	{ "index.get", method_get },
	{ "index.list", method_list },
	{ "index.repos", method_repos },
	{ "index.merge", method_merge },
	{ "index.delete", method_delete },
	{ "index.put_object", kr_index_rpc_put_object },
	{ "index.delete_object", kr_index_rpc_delete_object },
	{ "index.find_object", kr_index_rpc_find_object },
	{ "index.merge_object", kr_index_rpc_merge_object },
	{ "index.referrers", kr_index_rpc_referrers },
};

/* ---- life ---- */

struct node_req {
	struct kr_db_req db;
	enum kr_err err;
	uint64_t id;
};

/* The id drawn at the first start, or @id where none is there. */
static enum kr_err run_node(struct kr_db_req *db, struct sqlite3 *sql)
{
	struct node_req *n = KR_CONTAINER_OF(db, struct node_req, db);
	sqlite3_stmt *st;
	int rc = sqlite3_prepare_v2(sql,
				    "INSERT OR IGNORE INTO node VALUES (1, ?1)",
				    -1, &st, NULL);

	if (rc != SQLITE_OK)
		return kr_db_err(rc);
	(void)sqlite3_bind_int64(st, 1, (sqlite3_int64)n->id);
	rc = sqlite3_step(st);
	(void)sqlite3_finalize(st);
	if (rc == SQLITE_DONE)
		rc = sqlite3_prepare_v2(sql, "SELECT id FROM node", -1, &st,
					NULL);
	if (rc != SQLITE_OK)
		return kr_db_err(rc);
	rc = sqlite3_step(st);
	if (rc == SQLITE_ROW)
		n->id = (uint64_t)sqlite3_column_int64(st, 0);
	(void)sqlite3_finalize(st);
	return kr_db_err(rc);
}

static void on_node(struct kr_db_req *db, enum kr_err err)
{
	KR_CONTAINER_OF(db, struct node_req, db)->err = err;
}

static enum kr_err learn_node(struct kr_index_service *s, uint64_t node)
{
	struct node_req n = { .id = kr_clock_entropy() | 1 };

	if (node != 0) {
		s->node = node;
		return KR_OK;
	}
	kr_db_submit(s->db, &n.db, run_node, on_node);
	kr_db_drain(s->db);
	s->node = n.id;
	return n.err;
}

static enum kr_err open_index(struct kr_index_service *s,
			      const struct kr_index_service_opts *o)
{
	const struct kr_queue_opts q = { .db = s->db,
					 .seed = o->seed,
					 .backoff_min_ns = o->backoff_min_ns,
					 .backoff_max_ns = o->backoff_max_ns };
	enum kr_err err = kr_queue_open(&q, &s->queue);

	if (err == KR_OK)
		err = learn_node(s, o->node);
	if (err != KR_OK)
		return err;
	for (uint32_t i = 0; i < o->peer_count; i++) {
		if (strlen(o->peers[i].name) > PEER_NAME_MAX)
			return KR_E_INVALID;
		index_copy_kind(o->peers[i].name, s->kinds[i]);
		s->kind_list[i] = s->kinds[i];
	}
	const struct kr_index_opts ix = { .db = s->db,
					  .node = s->node,
					  .copy_kinds = s->kind_list,
					  .copy_kind_count = o->peer_count,
					  .immutable = o->immutable,
					  .immutable_count =
						  o->immutable_count };
	return kr_index_open(&ix, &s->index);
}

static enum kr_err open_mirror(struct kr_index_service *s,
			       const struct kr_index_service_opts *o)
{
	const struct kr_mirror_opts m = {
		.io = s->io,
		.index = s->index,
		.backends = o->backends,
		.rules = o->rules,
		.rule_count = o->rule_count,
		.timeout_ns = o->upstream_timeout_ns,
	};
	return kr_mirror_open(&m, &s->mirror);
}

static enum kr_err open_copies(struct kr_index_service *s,
			       const struct kr_index_service_opts *o)
{
	enum kr_err err = KR_OK;

	for (uint32_t i = 0; err == KR_OK && i < o->peer_count; i++) {
		const struct index_copy_opts c = {
			.io = s->io,
			.queue = s->queue,
			.index = s->index,
			.name = o->peers[i].name,
			.to = o->peers[i].rpc,
			.timeout_ns = o->copy_timeout_ns == 0
					      ? COPY_TIMEOUT_NS
					      : o->copy_timeout_ns,
			.interval_ns = o->copy_interval_ns == 0
					       ? COPY_INTERVAL_NS
					       : o->copy_interval_ns,
		};
		err = index_copy_open(&c, &s->copies[i]);
		s->copy_count += err == KR_OK;
	}
	return err;
}

static enum kr_err open_parts(struct kr_index_service *s,
			      const struct kr_index_service_opts *o)
{
	const struct kr_rpc_server_opts r = {
		.listen = o->listen,
		.methods = methods,
		.method_count = sizeof(methods) / sizeof(methods[0]),
		.ctx = s,
		.request_len_max = REQUEST_LEN_MAX,
		.connections_max = o->connections_max,
	};
	enum kr_err err;

	if (o->peer_count > KR_INDEX_PEERS_MAX)
		return KR_E_LIMIT;
	err = kr_db_open(s->io, o->path, schema, &s->db);
	if (err == KR_OK)
		err = open_index(s, o);
	if (err == KR_OK)
		err = open_mirror(s, o);
	if (err == KR_OK)
		err = open_copies(s, o);
	if (err == KR_OK)
		err = kr_rpc_server_open(s->io, &r, &s->server);
	return err;
}

enum kr_err kr_index_service_open(const struct kr_index_service_opts *opts,
				  struct kr_index_service **ret)
{
	struct kr_index_service *s = calloc(1, sizeof(*s));
	enum kr_err err;

	if (s == NULL)
		return KR_E_NOMEM;
	s->io = opts->io;
	err = open_parts(s, opts);
	if (err != KR_OK) {
		kr_index_service_close(s);
		return err;
	}
	*ret = s;
	return KR_OK;
}

void kr_index_service_close(struct kr_index_service *s)
{
	if (s == NULL)
		return;
	kr_rpc_server_close(s->server);
	for (uint32_t i = 0; i < s->copy_count; i++)
		index_copy_stop(s->copies[i]);
	kr_mirror_close(s->mirror);
	if (s->db != NULL)
		kr_db_drain(s->db);
	for (uint32_t i = 0; i < s->copy_count; i++)
		index_copy_free(s->copies[i]);
	kr_index_close(s->index);
	kr_queue_close(s->queue);
	kr_db_close(s->db);
	free(s);
}

struct kr_addr kr_index_service_addr(const struct kr_index_service *s)
{
	return kr_rpc_server_addr(s->server);
}

struct kr_index *kr_index_service_index(struct kr_index_service *s)
{
	return s->index;
}

struct kr_mirror *kr_index_service_mirror(struct kr_index_service *s)
{
	return s->mirror;
}
