/* index.*_object and index.referrers (RPC.md). */
#include <stdlib.h>
#include <string.h>

#include "control/index_msg.h"
#include "control/index_object.h"
#include "control/index_rpc_internal.h"
#include "core/list.h"

struct op {
	struct kr_index_rpc_op rpc;
	struct kr_index_object_req req;
};

static struct op *op_of(struct kr_index_object_req *r)
{
	return KR_CONTAINER_OF(r, struct op, req);
}

static void end(struct op *op, enum kr_err err, struct kr_bytes result)
{
	kr_index_object_fini(&op->req);
	kr_index_rpc_end(&op->rpc, err, result);
}

static void end_write(struct op *op, enum kr_err err, bool copied)
{
	kr_index_object_fini(&op->req);
	kr_index_rpc_end_write(&op->rpc, err, copied);
}

/* The params, and an op; NULL: the request was answered. */
static struct op *begin_object(struct kr_index_service *s,
			       struct kr_rpc_request *rpc,
			       struct kr_bytes params,
			       struct kr_index_msg_object *m)
{
	if (kr_index_msg_object_decode(params, m) != KR_OK) {
		kr_index_rpc_fail(rpc, KR_E_INVALID);
		return NULL;
	}
	return kr_index_rpc_begin(s, rpc, sizeof(struct op));
}

static void on_written(struct kr_index_object_req *r, enum kr_err err)
{
	end_write(op_of(r), err, true);
}

/* ---- index.put_object ---- */

/* The tags of @m, each with a NUL, on the heap.  A name that would not be one
 * with its NUL is KR_E_INVALID. */
static enum kr_err copy_tags(struct kr_index_msg_names *tags, char **ret)
{
	char *names = malloc((size_t)tags->count * KR_INDEX_TAG_MAX + 1);
	struct kr_bytes tag;
	size_t at = 0;

	if (names == NULL)
		return KR_E_NOMEM;
	while (kr_index_msg_names_next(tags, &tag)) {
		if (!kr_index_tag_valid((const char *)tag.ptr, tag.len)) {
			free(names);
			return KR_E_INVALID;
		}
		memcpy(names + at, tag.ptr, tag.len);
		at += tag.len;
		names[at++] = '\0';
	}
	*ret = names;
	return KR_OK;
}

void kr_index_rpc_put_object(void *ctx, struct kr_rpc_request *rpc,
			     struct kr_bytes params)
{
	struct kr_index_service *s = ctx;
	struct kr_index_msg_object m;
	struct op *op = begin_object(s, rpc, params, &m);
	char *tags = NULL;

	if (op == NULL)
		return;
	const uint32_t count = m.tags.count;
	const enum kr_err err = copy_tags(&m.tags, &tags);
	if (err != KR_OK) {
		end(op, err, (struct kr_bytes){ NULL, 0 });
		return;
	}
	kr_index_object_put(kr_index_service_index(s), &op->req, &m.o, tags,
			    count, on_written);
	free(tags);
}

/* ---- index.delete_object, index.merge_object ---- */

void kr_index_rpc_delete_object(void *ctx, struct kr_rpc_request *rpc,
				struct kr_bytes params)
{
	struct kr_index_service *s = ctx;
	struct kr_index_msg_object m;
	struct op *op = begin_object(s, rpc, params, &m);

	if (op != NULL)
		kr_index_object_delete(kr_index_service_index(s), &op->req,
				       m.o.kind, m.o.repo, &m.o.digest, m.force,
				       on_written);
}

static void on_merged(struct kr_index_object_req *r, enum kr_err err)
{
	end_write(op_of(r), err, false);
}

void kr_index_rpc_merge_object(void *ctx, struct kr_rpc_request *rpc,
			       struct kr_bytes params)
{
	struct kr_index_service *s = ctx;
	struct kr_index_msg_object m;
	struct op *op = begin_object(s, rpc, params, &m);

	if (op == NULL)
		return;
	if (!m.stamped) {
		end(op, KR_E_INVALID, (struct kr_bytes){ NULL, 0 });
		return;
	}
	kr_index_object_merge(kr_index_service_index(s), &op->req, &m.o,
			      on_merged);
}

/* ---- index.find_object ---- */

static void on_found(struct kr_index_object_req *r, enum kr_err err)
{
	uint8_t buf[16];
	struct kr_mp_writer w;

	kr_mp_w_init(&w, buf, sizeof(buf));
	kr_index_msg_deleted_encode(&w, r->obj.deleted);
	kr_assert(!w.overflow);
	end(op_of(r), err, (struct kr_bytes){ buf, w.len });
}

void kr_index_rpc_find_object(void *ctx, struct kr_rpc_request *rpc,
			      struct kr_bytes params)
{
	struct kr_index_service *s = ctx;
	struct kr_index_msg_object m;
	struct op *op = begin_object(s, rpc, params, &m);

	if (op != NULL)
		kr_index_object_find(kr_index_service_index(s), &op->req,
				     m.o.kind, m.o.repo, &m.o.digest, on_found);
}

/* ---- index.referrers ---- */

static void on_referrers(struct kr_index_object_req *r, enum kr_err err)
{
	/* Each has a head of 4 bytes in the page, of 5 at most here. */
	const size_t cap =
		KR_DIGEST_TEXT_MAX + 64 + r->page.len + r->page_count;
	struct kr_mp_writer w;
	uint8_t *buf = NULL;

	if (err == KR_OK) {
		buf = malloc(cap);
		if (buf == NULL)
			err = KR_E_NOMEM;
	}
	kr_mp_w_init(&w, buf, buf == NULL ? 0 : cap);
	if (err == KR_OK) {
		kr_index_msg_page_encode(
			&w, (struct kr_bytes){ r->page.ptr, r->page.len },
			r->page_count, r->last, r->more);
		kr_assert(!w.overflow);
	}
	end(op_of(r), err, (struct kr_bytes){ buf, w.len });
	free(buf);
}

void kr_index_rpc_referrers(void *ctx, struct kr_rpc_request *rpc,
			    struct kr_bytes params)
{
	struct kr_index_service *s = ctx;
	struct kr_index_msg_referrers m;
	struct op *op;

	if (kr_index_msg_referrers_decode(params, &m) != KR_OK) {
		kr_index_rpc_fail(rpc, KR_E_INVALID);
		return;
	}
	op = kr_index_rpc_begin(s, rpc, sizeof(*op));
	if (op != NULL)
		kr_index_referrers(kr_index_service_index(s), &op->req, m.repo,
				   &m.subject, m.artifact_type, m.last, m.limit,
				   on_referrers);
}
