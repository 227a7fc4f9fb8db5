#define _GNU_SOURCE
/* The same of a file, turn by turn on the work pool. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "control/blob_hash.h"
#include "core/list.h"

static void end(struct kr_file_hash *f, enum kr_err err)
{
	if (err != KR_OK)
		kr_blob_hash_fini(&f->hash);
	f->done(f, err);
}

enum kr_err kr_file_read_all(int fd, uint8_t *buf, size_t len,
			     uint64_t offset_bytes)
{
	while (len > 0) {
		const ssize_t n = pread(fd, buf, len, (off_t)offset_bytes);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n == 0 ? KR_E_IO : kr_err_from_errno(errno);
		buf += n;
		offset_bytes += (uint64_t)n;
		len -= (size_t)n;
	}
	return KR_OK;
}

enum kr_err kr_file_write_all(int fd, const uint8_t *buf, size_t len,
			      uint64_t offset_bytes)
{
	while (len > 0) {
		const ssize_t n = pwrite(fd, buf, len, (off_t)offset_bytes);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return kr_err_from_errno(errno);
		buf += n;
		offset_bytes += (uint64_t)n;
		len -= (size_t)n;
	}
	return KR_OK;
}

/* Read and hash until this turn is over. */
static enum kr_err hash_turn(struct kr_file_hash *f, uint8_t *buf)
{
	uint64_t left = f->size_bytes - f->hash.total_bytes;
	enum kr_err err = KR_OK;

	if (left > KR_FILE_HASH_TURN_BYTES)
		left = KR_FILE_HASH_TURN_BYTES;
	while (left > 0 && err == KR_OK) {
		const size_t n = left < KR_FILE_HASH_SLICE_BYTES
					 ? (size_t)left
					 : KR_FILE_HASH_SLICE_BYTES;

		err = kr_file_read_all(f->fd, buf, n, f->hash.total_bytes);
		if (err == KR_OK)
			err = kr_blob_hash_update(&f->hash, buf, n);
		left -= n;
	}
	return err;
}

static void run(struct kr_job *j)
{
	struct kr_file_hash *f = KR_CONTAINER_OF(j, struct kr_file_hash, job);
	uint8_t *buf = malloc(KR_FILE_HASH_SLICE_BYTES);

	f->err = buf == NULL ? KR_E_NOMEM : hash_turn(f, buf);
	free(buf);
}

static void on_turn(struct kr_job *j)
{
	struct kr_file_hash *f = KR_CONTAINER_OF(j, struct kr_file_hash, job);

	if (f->err != KR_OK)
		end(f, f->err);
	else if (f->hash.total_bytes == f->size_bytes)
		end(f, KR_OK);
	else if (f->canceled)
		end(f, KR_E_CANCELED);
	else
		kr_io_work(f->io, &f->job, run, on_turn);
}

enum kr_err kr_file_hash_start(struct kr_io *io, struct kr_file_hash *f, int fd,
			       uint64_t size_bytes, enum kr_digest_alg alg,
			       uint32_t piece_bytes, kr_file_hash_fn *done)
{
	*f = (struct kr_file_hash){
		.io = io,
		.fd = fd,
		.size_bytes = size_bytes,
		.done = done,
	};
	const enum kr_err err = kr_blob_hash_init(&f->hash, alg, piece_bytes);

	if (err == KR_OK)
		kr_io_work(io, &f->job, run, on_turn);
	return err;
}

void kr_file_hash_cancel(struct kr_file_hash *f)
{
	f->canceled = true;
}

/* ---- a metainfo */

struct request {
	struct kr_file_hash file;
	void *ctx;
	kr_metainfo_file_fn *done;
};

static void on_file(struct kr_file_hash *f, enum kr_err err)
{
	struct request *r = KR_CONTAINER_OF(f, struct request, file);
	struct kr_metainfo m;
	struct kr_digest d;

	if (err == KR_OK)
		err = kr_blob_hash_final(&f->hash, &d, &m);
	r->done(r->ctx, err, err == KR_OK ? &m : NULL);
	free(r);
}

enum kr_err kr_metainfo_from_file(struct kr_io *io, int fd, uint64_t size_bytes,
				  enum kr_digest_alg alg, void *ctx,
				  kr_metainfo_file_fn *done)
{
	struct request *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return KR_E_NOMEM;
	r->ctx = ctx;
	r->done = done;
	const enum kr_err err = kr_file_hash_start(
		io, &r->file, fd, size_bytes, alg,
		kr_metainfo_piece_bytes_for(size_bytes), on_file);

	if (err != KR_OK)
		free(r);
	return err;
}
