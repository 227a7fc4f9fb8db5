/* An upload session: its life, and the end that makes it a blob. */
#include <stdlib.h>
#include <string.h>

#include "control/upload_internal.h"
#include "core/alloc.h"
#include "core/log.h"

void kr_upload_forget_hash(struct kr_upload *u)
{
	if (u->is_hashing)
		kr_blob_hash_fini(&u->hash);
	u->is_hashing = false;
}

static void free_upload(struct kr_upload *u)
{
	kr_upload_forget_hash(u);
	kr_metainfo_fini(kr_alloc_heap(), &u->meta);
	free(u);
}

/* ---- opening */

static void opened(struct kr_upload *u, enum kr_err err)
{
	kr_upload_open_fn *done = u->opened;
	void *ctx = u->ctx;

	u->phase = KR_UPLOAD_IDLE;
	if (err == KR_OK) {
		done(ctx, KR_OK, u);
		return;
	}
	if (u->stored != NULL)
		kr_store_upload_close(u->stored, true);
	free_upload(u);
	done(ctx, err, NULL);
}

static void on_hashed_again(struct kr_file_hash *f, enum kr_err err)
{
	struct kr_upload *u = KR_CONTAINER_OF(f, struct kr_upload, file);

	if (err == KR_OK) {
		u->hash = f->hash;
		u->is_hashing = true;
	} else if (err == KR_E_TOOBIG) {
		err = KR_OK; /* in longer pieces, at finish */
	}
	opened(u, err);
}

static bool load_hash(struct kr_upload *u)
{
	size_t len;
	const void *state = kr_store_upload_state(u->stored, &len);

	if (len == 0 || kr_blob_hash_load(&u->hash, state, len) != KR_OK)
		return false;
	u->is_hashing = true;
	if (u->hash.total_bytes != u->size_bytes)
		kr_upload_forget_hash(u);
	return u->is_hashing;
}

static void run_open(struct kr_job *j)
{
	struct kr_upload *u = KR_CONTAINER_OF(j, struct kr_upload, job);

	if (u->uuid[0] == '\0')
		u->job_err = kr_store_upload_create(u->store, &u->stored);
	else
		u->job_err =
			kr_store_upload_open(u->store, u->uuid, &u->stored);
}

static void on_open(struct kr_job *j)
{
	struct kr_upload *u = KR_CONTAINER_OF(j, struct kr_upload, job);
	enum kr_err err = u->job_err;

	if (err == KR_OK) {
		u->size_bytes = kr_store_upload_size(u->stored);
		if (u->size_bytes > 0 && !load_hash(u)) {
			err = kr_file_hash_start(
				u->io, &u->file, kr_store_upload_fd(u->stored),
				u->size_bytes, KR_SHA256, KR_UPLOAD_PIECE_BYTES,
				on_hashed_again);
			if (err == KR_OK)
				return;
		}
	} else {
		u->stored = NULL;
	}
	opened(u, err);
}

static enum kr_err begin(struct kr_io *io, struct kr_store *s, const char *uuid,
			 void *ctx, kr_upload_open_fn *done)
{
	struct kr_upload *u;

	if (strlen(uuid) > KR_STORE_UUID_LEN)
		return KR_E_INVALID;
	u = calloc(1, sizeof(*u));
	if (u == NULL)
		return KR_E_NOMEM;
	u->io = io;
	u->store = s;
	u->ctx = ctx;
	u->opened = done;
	u->phase = KR_UPLOAD_OPENING;
	memcpy(u->uuid, uuid, strlen(uuid));
	kr_io_work(io, &u->job, run_open, on_open);
	return KR_OK;
}

enum kr_err kr_upload_create(struct kr_io *io, struct kr_store *s, void *ctx,
			     kr_upload_open_fn *done)
{
	return begin(io, s, "", ctx, done);
}

enum kr_err kr_upload_open(struct kr_io *io, struct kr_store *s,
			   const char *uuid, void *ctx, kr_upload_open_fn *done)
{
	if (uuid[0] == '\0')
		return KR_E_INVALID;
	return begin(io, s, uuid, ctx, done);
}

/* ---- what there is */

const char *kr_upload_uuid(const struct kr_upload *u)
{
	return kr_store_upload_uuid(u->stored);
}

uint64_t kr_upload_size(const struct kr_upload *u)
{
	return u->size_bytes;
}

bool kr_upload_busy(const struct kr_upload *u)
{
	return u->phase != KR_UPLOAD_IDLE;
}

static void let_go(struct kr_upload *u, bool keep)
{
	kr_assert(u->phase == KR_UPLOAD_IDLE);
	kr_store_upload_close(u->stored, keep);
	free_upload(u);
}

void kr_upload_close(struct kr_upload *u)
{
	let_go(u, true);
}

void kr_upload_abort(struct kr_upload *u)
{
	let_go(u, false);
}

/* ---- finish */

/* u->hash has seen all bytes, with the digest's own algorithm. */
static void run_finish(struct kr_job *j)
{
	struct kr_upload *u = KR_CONTAINER_OF(j, struct kr_upload, job);
	struct kr_digest d;

	u->is_hashing = false;
	u->job_err = kr_blob_hash_final(&u->hash, &d, &u->meta);
	if (u->job_err == KR_OK && !kr_digest_equal(&d, &u->digest))
		u->job_err = KR_E_DIGEST;
	if (u->job_err == KR_OK)
		u->job_err =
			kr_store_meta_put(u->store, &u->digest, u->meta.encoded,
					  u->meta.encoded_len);
	if (u->job_err == KR_OK)
		u->job_err = kr_store_upload_commit(u->stored, &u->digest);
}

static void finished(struct kr_upload *u, enum kr_err err)
{
	kr_upload_finish_fn *done = u->finished;
	struct kr_metainfo m = u->meta;
	void *ctx = u->ctx;

	u->meta = (struct kr_metainfo){ 0 };
	u->phase = KR_UPLOAD_IDLE;
	if (err == KR_OK) {
		free_upload(u);
		done(ctx, KR_OK, &m);
		return;
	}
	kr_metainfo_fini(kr_alloc_heap(), &m);
	done(ctx, err, NULL);
}

static void on_finished(struct kr_job *j)
{
	struct kr_upload *u = KR_CONTAINER_OF(j, struct kr_upload, job);

	finished(u, u->job_err);
}

static void finish_by_hash(struct kr_upload *u)
{
	kr_io_work(u->io, &u->job, run_finish, on_finished);
}

static void on_whole_file(struct kr_file_hash *f, enum kr_err err)
{
	struct kr_upload *u = KR_CONTAINER_OF(f, struct kr_upload, file);

	if (err != KR_OK) {
		finished(u, err);
		return;
	}
	u->hash = f->hash;
	u->is_hashing = true;
	finish_by_hash(u);
}

enum kr_err kr_upload_finish(struct kr_upload *u, const struct kr_digest *d,
			     void *ctx, kr_upload_finish_fn *done)
{
	if (u->phase != KR_UPLOAD_IDLE)
		return KR_E_BUSY;
	u->ctx = ctx;
	u->finished = done;
	u->digest = *d;
	const uint32_t piece = kr_metainfo_piece_bytes_for(u->size_bytes);

	if (u->is_hashing && d->alg == KR_SHA256 &&
	    u->hash.piece_bytes == piece) {
		u->phase = KR_UPLOAD_FINISHING;
		finish_by_hash(u);
		return KR_OK;
	}
	kr_upload_forget_hash(u);
	const enum kr_err err = kr_file_hash_start(
		u->io, &u->file, kr_store_upload_fd(u->stored), u->size_bytes,
		(enum kr_digest_alg)d->alg, piece, on_whole_file);

	if (err == KR_OK)
		u->phase = KR_UPLOAD_FINISHING;
	return err;
}
