/*
 * A request body into an upload session.
 *
 * Two block buffers: one is filled from the socket while the other is written
 * and hashed on the pool.  advance() looks at where things stand and starts
 * whatever can be started; every completion calls it.
 */
#include <stdlib.h>
#include <string.h>

#include "control/upload_internal.h"
#include "core/log.h"

static void advance(struct kr_upload *u);

/* ---- the end */

static void run_save(struct kr_job *j)
{
	struct kr_upload *u = KR_CONTAINER_OF(j, struct kr_upload, job);
	uint8_t state[KR_STORE_STATE_MAX];
	size_t len = 0;

	if (!u->is_hashing ||
	    kr_blob_hash_save(&u->hash, state, sizeof(state), &len) != KR_OK)
		len = 0; /* hashed again when the session is opened */
	u->job_err = kr_store_upload_save(u->stored, u->size_bytes, state, len);
}

static void give(struct kr_upload *u, struct kr_upload_part *p)
{
	if (p->buf != NULL)
		kr_io_buffer_give(u->io, p->buf);
	*p = (struct kr_upload_part){ 0 };
}

static void on_saved(struct kr_job *j)
{
	struct kr_upload *u = KR_CONTAINER_OF(j, struct kr_upload, job);
	const enum kr_err err = u->err != KR_OK ? u->err : u->job_err;
	struct kr_upload_got got = u->got;
	uint8_t *surplus = u->surplus;

	got.moved_bytes = u->size_bytes - u->start_bytes;
	if (err != KR_OK)
		got.surplus_len = 0;
	u->surplus = NULL;
	u->is_saving = false;
	u->phase = KR_UPLOAD_IDLE;
	u->received(u->ctx, err, &got); /* @u may be gone now */
	free(surplus);
}

static void save(struct kr_upload *u)
{
	u->is_saving = true;
	kr_io_buffer_unwait(u->io, &u->waiter); /* where a write failed */
	give(u, &u->filling);
	kr_io_work(u->io, &u->job, run_save, on_saved);
}

/* ---- writing, on the pool */

static enum kr_err write_slice(struct kr_upload *u, uint32_t at, uint32_t len,
			       bool hash)
{
	const uint8_t *p = u->writing.buf + at;
	enum kr_err err = kr_file_write_all(kr_store_upload_fd(u->stored), p,
					    len, u->size_bytes + at);

	if (err == KR_OK && hash)
		u->is_hashing = kr_blob_hash_update(&u->hash, p, len) == KR_OK;
	return err;
}

static void run_write(struct kr_job *j)
{
	struct kr_upload *u = KR_CONTAINER_OF(j, struct kr_upload, job);
	const uint32_t len = u->writing.len;
	const bool was_hashing = u->is_hashing;
	enum kr_err err = kr_store_upload_reserve(u->stored, len);

	for (uint32_t at = 0; at < len && err == KR_OK;) {
		const uint32_t n = len - at < KR_FILE_HASH_SLICE_BYTES
					   ? len - at
					   : KR_FILE_HASH_SLICE_BYTES;

		err = write_slice(u, at, n, u->is_hashing);
		at += n;
	}
	/* The pass may be ahead of what counts. */
	if (err != KR_OK)
		u->is_hashing = false;
	if (was_hashing && !u->is_hashing)
		kr_blob_hash_fini(&u->hash);
	u->job_err = err;
}

static void on_written(struct kr_job *j)
{
	struct kr_upload *u = KR_CONTAINER_OF(j, struct kr_upload, job);

	u->is_writing = false;
	if (u->job_err == KR_OK)
		u->size_bytes += u->writing.len;
	else if (u->err == KR_OK)
		u->err = u->job_err;
	give(u, &u->writing);
	if (u->job_err != KR_OK) {
		/* What was received behind it cannot be kept. */
		u->filling.len = 0;
		kr_io_cancel(u->io, &u->op);
		if (u->job_err == KR_E_NOSPC)
			kr_log_error("upload",
				     "no room for an upload: free disk space "
				     "or raise the store's quota; the session "
				     "keeps what it has",
				     KR_U64("size_bytes", u->size_bytes));
	}
	advance(u);
}

static void write_part(struct kr_upload *u)
{
	u->writing = u->filling;
	u->filling = (struct kr_upload_part){ 0 };
	u->is_writing = true;
	kr_io_work(u->io, &u->job, run_write, on_written);
}

/* ---- taking bytes */

static uint32_t room(const struct kr_upload *u)
{
	return kr_io_buffer_size_bytes(u->io) - u->filling.len;
}

/* @n raw bytes stand at the end of filling: make body bytes of them.  Returns
 * how many were of the body (with its coding). */
static size_t take_raw(struct kr_upload *u, size_t n)
{
	size_t used = n, data = n;

	if (u->is_chunked) {
		const enum kr_err err = kr_chunked_decode(
			&u->chunked, u->filling.buf + u->filling.len, n, &used,
			&data);

		if (err != KR_OK)
			u->err = err;
		u->has_ended = kr_chunked_ended(&u->chunked);
	} else {
		u->left_bytes -= n;
		u->has_ended = u->left_bytes == 0;
	}
	u->filling.len += (uint32_t)data;
	return used;
}

/* From what came with the head. */
static void take_prefix(struct kr_upload *u)
{
	size_t n = u->prefix_len < room(u) ? u->prefix_len : room(u);

	if (!u->is_chunked && n > u->left_bytes)
		n = (size_t)u->left_bytes;
	memcpy(u->filling.buf + u->filling.len, u->prefix, n);
	n = take_raw(u, n);
	u->prefix += n;
	u->prefix_len -= n;
	if (!u->has_ended)
		return;
	u->got.surplus = u->prefix;
	u->got.surplus_len = u->prefix_len;
}

/* What was received behind the body must outlive the buffer. */
static void keep_surplus(struct kr_upload *u, const uint8_t *p, size_t len)
{
	if (len == 0)
		return;
	u->surplus = malloc(len);
	if (u->surplus == NULL) {
		u->err = KR_E_NOMEM;
		return;
	}
	memcpy(u->surplus, p, len);
	u->got.surplus = u->surplus;
	u->got.surplus_len = len;
}

static void on_bytes(struct kr_op *op, enum kr_err err, uint32_t n)
{
	struct kr_upload *u = KR_CONTAINER_OF(op, struct kr_upload, op);
	const uint8_t *p = u->filling.buf + u->filling.len;

	kr_io_timer_stop(u->io, &u->timer);
	if (err != KR_OK) {
		if (u->err == KR_OK)
			u->err = err;
	} else if (u->err == KR_OK) {
		const size_t used = take_raw(u, n);

		if (u->has_ended)
			keep_surplus(u, p + used, n - used);
	}
	advance(u);
}

static void on_silence(struct kr_timer *timer)
{
	struct kr_upload *u = KR_CONTAINER_OF(timer, struct kr_upload, timer);

	if (u->err == KR_OK)
		u->err = KR_E_TIMEDOUT;
	kr_io_cancel(u->io, &u->op);
}

static void receive(struct kr_upload *u)
{
	uint32_t n = room(u);

	if (!u->is_chunked && n > u->left_bytes)
		n = (uint32_t)u->left_bytes;
	kr_io_timer_set(u->io, &u->timer,
			kr_io_now_ns(u->io) + KR_UPLOAD_IDLE_NS, on_silence);
	kr_io_recv_into(u->io, &u->op, u->fd, u->filling.buf + u->filling.len,
			n, on_bytes);
}

static void on_buffer(struct kr_waiter *w)
{
	advance(KR_CONTAINER_OF(w, struct kr_upload, waiter));
}

static bool is_over(const struct kr_upload *u)
{
	return u->has_ended || u->err != KR_OK;
}

/* Fill the buffer as far as it goes without waiting; then ask the socket. */
static void fill(struct kr_upload *u)
{
	if (u->filling.buf == NULL)
		u->filling.buf = kr_io_buffer_take(u->io);
	if (u->filling.buf == NULL) {
		kr_io_buffer_wait(u->io, &u->waiter, on_buffer);
		return;
	}
	while (!is_over(u) && u->prefix_len > 0 && room(u) > 0)
		take_prefix(u);
	if (!is_over(u) && u->prefix_len == 0 && room(u) > 0)
		receive(u);
}

/* Is there something to be written now?  A full buffer, or the last one. */
static bool is_part_ready(const struct kr_upload *u)
{
	return !u->is_saving && u->filling.len > 0 &&
	       (is_over(u) || room(u) == 0);
}

static void advance(struct kr_upload *u)
{
	bool again = true;

	while (again) {
		again = false;
		if (!kr_op_busy(&u->op) && !is_over(u))
			fill(u);
		if (!kr_op_busy(&u->op) && !u->is_writing && is_part_ready(u)) {
			write_part(u);
			again = !is_over(u);
		}
	}
	if (is_over(u) && !kr_op_busy(&u->op) && !u->is_writing &&
	    !u->is_saving)
		save(u);
}

/* ---- starting */

static enum kr_err start(struct kr_upload *u, const struct kr_upload_body *b,
			 void *ctx, kr_upload_recv_fn *done)
{
	if (u->phase != KR_UPLOAD_IDLE)
		return KR_E_BUSY;
	if (u->size_bytes == 0) {
		const bool known = !b->chunked && b->length_bytes > 0;
		const uint32_t piece =
			known ? kr_metainfo_piece_bytes_for(b->length_bytes)
			      : KR_UPLOAD_PIECE_BYTES;

		kr_upload_forget_hash(u);
		if (kr_blob_hash_init(&u->hash, KR_SHA256, piece) != KR_OK)
			return KR_E_NOMEM;
		u->is_hashing = true;
	}
	u->phase = KR_UPLOAD_RECEIVING;
	u->ctx = ctx;
	u->received = done;
	u->fd = b->fd;
	u->is_chunked = b->chunked;
	u->left_bytes = b->length_bytes;
	u->has_ended = !b->chunked && b->length_bytes == 0;
	u->prefix = b->prefix;
	u->prefix_len = b->prefix_len;
	u->start_bytes = u->size_bytes;
	u->err = KR_OK;
	u->got = (struct kr_upload_got){ 0 };
	if (u->has_ended) {
		u->got.surplus = u->prefix;
		u->got.surplus_len = u->prefix_len;
	}
	kr_chunked_init(&u->chunked);
	advance(u);
	return KR_OK;
}

enum kr_err kr_upload_recv(struct kr_upload *u,
			   const struct kr_upload_body *body, void *ctx,
			   kr_upload_recv_fn *done)
{
	return start(u, body, ctx, done);
}

enum kr_err kr_upload_append(struct kr_upload *u, const void *buf, size_t len,
			     void *ctx, kr_upload_recv_fn *done)
{
	const struct kr_upload_body body = {
		.fd = -1,
		.length_bytes = len,
		.prefix = buf,
		.prefix_len = len,
	};

	return start(u, &body, ctx, done);
}

void kr_upload_cancel(struct kr_upload *u)
{
	if (u->phase != KR_UPLOAD_RECEIVING || u->err != KR_OK)
		return;
	if (!u->has_ended)
		u->err = KR_E_CANCELED;
	kr_io_buffer_unwait(u->io, &u->waiter);
	kr_io_cancel(u->io, &u->op);
	advance(u);
}
