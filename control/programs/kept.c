#include "control/programs/kept.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/list.h"
#include "core/log.h"

enum { OWNERS_MAX = 16, LOCATIONS_MAX = 4096 };
#define LOOK_NS UINT64_C(10000000)

/* ---- BLOB_FORGET --------------------------------------------------------*/

struct forget {
	struct kr_desk_job job;
	struct kr_kept *kept;
	struct kr_timer timer;
	struct kr_digest digest;
	uint64_t end_ns;
};

static void end_forget(struct forget *f, enum kr_err err)
{
	if (err == KR_OK)
		kr_log_info("kept", "blob deleted as asked",
			    KR_DIGEST("digest", &f->digest));
	if (err == KR_E_BUSY)
		kr_desk_end(&f->job, KR_E_UNAVAILABLE,
			    "the blob is in use, or not written back yet");
	else
		kr_desk_end(&f->job, err, NULL);
	free(f);
}

static void try_again(struct kr_timer *t)
{
	struct forget *f = KR_CONTAINER_OF(t, struct forget, timer);
	const enum kr_err err = kr_store_delete(f->kept->store, &f->digest);
	const uint64_t now = kr_io_now_ns(f->kept->io);

	if (err == KR_E_BUSY && now < f->end_ns)
		kr_io_timer_set(f->kept->io, t, now + LOOK_NS, try_again);
	else
		end_forget(f, err);
}

/* An announced blob is held open by us: that ends soon, but not at once. */
static void let_go(struct kr_kept *k, const struct kr_digest *d)
{
	struct kr_blob *b;

	if (k->trackers != NULL)
		kr_trackers_forget(k->trackers, d);
	if (k->seeders != NULL)
		kr_seeders_forget(k->seeders, d);
	if (kr_transfer_open_blob(k->transfer, d, &b) != KR_OK)
		return;
	kr_blob_abort(b, KR_E_CANCELED);
	kr_blob_put(b);
}

static void on_forget(void *ctx, struct kr_reg_call *call)
{
	struct kr_kept *k = ctx;
	struct forget *f = kr_desk_work(call, sizeof(*f), NULL);

	if (f == NULL)
		return;
	f->kept = k;
	f->digest = call->digest;
	f->end_ns = kr_io_now_ns(k->io) + KR_KEPT_FORGET_NS;
	let_go(k, &f->digest);
	try_again(&f->timer);
}

/* ---- BLOB_PREFETCH ------------------------------------------------------*/

struct work {
	struct kr_desk_job job;
	struct kr_origins_ask ask;
};

/* That an origin answers with the metainfo means that it has the blob: what it
 * has not it begins to fetch, and says so. */
static void asked(struct kr_origins_ask *a, enum kr_err err,
		  struct kr_bytes result, const char *text)
{
	struct work *w = KR_CONTAINER_OF(a, struct work, ask);

	(void)result;
	kr_desk_end(&w->job, err, text);
	free(w);
}

static void on_prefetch(void *ctx, struct kr_reg_call *call)
{
	struct kr_kept *k = ctx;
	/* An ask has a deadline of seconds: it is not canceled. */
	struct work *w = kr_desk_work(call, sizeof(*w), NULL);

	if (w != NULL)
		kr_origins_metainfo(k->origins, &w->ask, call->repo,
				    &call->digest, asked);
}

/* ---- BLOB_LOCATE --------------------------------------------------------*/

/* The HTTP server of origin @index: what is configured, or its host with our
 * own port. */
static enum kr_err print_server(const struct kr_kept *k, uint32_t index,
				struct kr_buf *out)
{
	const char *name = kr_origins_name(k->origins, index);
	const char *colon = strrchr(name, ':');

	if (k->servers != NULL && index < k->servers->count)
		return kr_buf_append_str(out, k->servers->list[index]);
	return kr_buf_printf(
		out, "%.*s:%u",
		(int)(colon ? (size_t)(colon - name) : strlen(name)), name,
		(unsigned)k->server_port);
}

static void on_locate(void *ctx, struct kr_reg_call *call)
{
	struct kr_kept *k = ctx;
	uint32_t owners[OWNERS_MAX];
	struct kr_buf out;
	enum kr_err err = KR_OK;
	const uint32_t n = kr_origins_owners(k->origins, &call->digest, owners,
					     OWNERS_MAX);

	kr_buf_init(&out, LOCATIONS_MAX);
	for (uint32_t i = 0; i < n && err == KR_OK; i++) {
		if (i > 0)
			err = kr_buf_append_str(&out, ",");
		if (err == KR_OK)
			err = print_server(k, owners[i], &out);
	}
	if (err == KR_OK)
		err = kr_buf_append(&out, "", 1);
	if (err == KR_OK && n == 0)
		err = KR_E_UNAVAILABLE;
	if (err != KR_OK) {
		kr_buf_fini(&out);
		kr_desk_refuse(call, err, "no origin is healthy");
		return;
	}
	call->bytes = out.ptr; /* moved */
	call->len = out.len;
	kr_desk_refuse(call, KR_OK, NULL);
}

void kr_kept_attach(struct kr_kept *k, struct kr_desk *desk)
{
	kr_desk_handle(desk, KR_REG_BLOB_FORGET, on_forget, k);
	if (k->origins == NULL)
		return;
	kr_desk_handle(desk, KR_REG_BLOB_PREFETCH, on_prefetch, k);
	kr_desk_handle(desk, KR_REG_BLOB_LOCATE, on_locate, k);
}
