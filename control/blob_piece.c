#define _GNU_SOURCE
/*
 * Blocks come in, pieces come out.
 *
 * A piece keeps its blocks in block buffers until the node says that all are
 * there; then a thread of the pool writes and hashes them slice by slice, in
 * one cache-warm pass, two pieces at once where two wait (two hash streams
 * cost little more than one, ENGINE.md).
 *
 * When a connection finds no free buffer, the piece that holds most of them is
 * written to the file early (spilled); its verification reads those blocks
 * back.  So buffers always come back, however pieces and peers interleave, and
 * a piece may be larger than all buffers together.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/transfer_internal.h"
#include "core/hash.h"
#include "core/log.h"

static void start_verify(struct kr_transfer *t);

/* ---- pieces in assembly */

static struct kr_blob_piece *find_piece(struct kr_blob *b, uint32_t piece)
{
	kr_list_for_each (it, &b->pieces) {
		struct kr_blob_piece *p =
			KR_CONTAINER_OF(it, struct kr_blob_piece, link);

		if (p->piece == piece)
			return p;
	}
	return NULL;
}

static struct kr_blob_piece *make_piece(struct kr_blob *b, uint32_t piece)
{
	const uint32_t len = kr_metainfo_piece_len(&b->meta, piece);
	const uint32_t blocks = (len + b->block_bytes - 1) / b->block_bytes;
	struct kr_blob_piece *p =
		calloc(1, sizeof(*p) + blocks * sizeof(p->blocks[0]));

	if (p == NULL)
		return NULL;
	p->blob = b;
	p->piece = piece;
	p->len = len;
	p->block_count = blocks;
	kr_list_add_tail(&b->pieces, &p->link);
	return p;
}

static void free_piece(struct kr_blob_piece *p)
{
	struct kr_io *io = p->blob->t->io;

	kr_assert(p->spilling == 0);
	for (uint32_t i = 0; i < p->block_count; i++)
		if (p->blocks[i].buf != NULL)
			kr_io_buffer_give(io, p->blocks[i].buf);
	kr_list_del(&p->link);
	free(p);
}

bool kr_blob_block(struct kr_blob *b, uint32_t piece, uint32_t offset,
		   uint8_t *buf, uint32_t len)
{
	struct kr_io *io = b->t->io;
	struct kr_blob_piece *p;

	if (b->state != KR_BLOB_PARTIAL || kr_bitset_test(&b->have, piece)) {
		kr_io_buffer_give(io, buf);
		return true;
	}
	p = find_piece(b, piece);
	if (p == NULL)
		p = make_piece(b, piece);
	if (p == NULL) {
		kr_io_buffer_give(io, buf);
		return false;
	}
	struct kr_piece_block *block = &p->blocks[offset / b->block_bytes];

	kr_assert(!block->is_there);
	*block = (struct kr_piece_block){ buf, len, true };
	p->there_count++;
	return true;
}

/* Called with actions pending: only queues.  A piece may lack a block that
 * found no memory; then the download is about to fail. */
void kr_blob_verify(struct kr_blob *b, uint32_t piece)
{
	struct kr_blob_piece *p = find_piece(b, piece);

	if (p == NULL || p->there_count < p->block_count)
		return;
	p->is_verifying = true;
	kr_list_del(&p->link);
	kr_list_add_tail(&b->t->verify_queue, &p->link);
	start_verify(b->t);
}

/* Those on the pool go when their job ends. */
void kr_blob_drop_pieces(struct kr_blob *b)
{
	struct kr_transfer *t = b->t;

	kr_list_for_each_safe(it, &b->pieces)
	{
		struct kr_blob_piece *p =
			KR_CONTAINER_OF(it, struct kr_blob_piece, link);

		if (p->spilling == 0)
			free_piece(p);
	}
	kr_list_for_each_safe(it, &t->verify_queue)
	{
		struct kr_blob_piece *p =
			KR_CONTAINER_OF(it, struct kr_blob_piece, link);

		if (p->blob == b && p->spilling == 0)
			free_piece(p);
	}
}

/* ---- verification, on the pool */

/* A piece under the hash: where its next slice is. */
struct lane {
	const struct kr_blob_piece *p;
	struct kr_hash hash;
	uint8_t *scratch; /* for blocks that are in the file only */
	enum kr_err err;
};

/* Slice of @len bytes at @offset of the piece: written if it is in memory,
 * read if it is not.  Slices do not cross blocks: blocks are powers of two,
 * and so are slices, or the last of the piece. */
static const uint8_t *load_slice(struct lane *l, uint32_t offset, uint32_t len)
{
	const struct kr_blob *b = l->p->blob;
	const struct kr_piece_block *block =
		&l->p->blocks[offset / b->block_bytes];
	const uint64_t at =
		(uint64_t)l->p->piece * b->meta.piece_bytes + offset;

	if (block->buf != NULL) {
		const uint8_t *p = block->buf + offset % b->block_bytes;

		l->err = kr_file_write_all(b->fd, p, len, at);
		return p;
	}
	if (l->scratch == NULL)
		l->scratch = malloc(KR_SLICE_BYTES);
	if (l->scratch == NULL)
		l->err = KR_E_NOMEM;
	else
		l->err = kr_file_read_all(b->fd, l->scratch, len, at);
	return l->scratch;
}

static uint32_t slice_at(const struct kr_blob_piece *p, uint32_t offset)
{
	const uint32_t block_bytes = p->blob->block_bytes;
	const uint32_t step =
		block_bytes < KR_SLICE_BYTES ? block_bytes : KR_SLICE_BYTES;

	return p->len - offset < step ? p->len - offset : step;
}

static enum kr_err end_lane(struct lane *l)
{
	const struct kr_blob *b = l->p->blob;
	struct kr_digest d;

	free(l->scratch);
	if (l->err != KR_OK) {
		kr_hash_fini(&l->hash);
		return l->err;
	}
	kr_hash_final(&l->hash, &d);
	if (memcmp(d.bytes,
		   b->meta.hashes + (size_t)l->p->piece * KR_SHA256_LEN,
		   KR_SHA256_LEN) != 0)
		return KR_E_DIGEST;
	return KR_OK;
}

static void run_one(struct lane *l)
{
	for (uint32_t at = 0; at < l->p->len && l->err == KR_OK;) {
		const uint32_t n = slice_at(l->p, at);
		const uint8_t *p = load_slice(l, at, n);

		if (l->err == KR_OK)
			kr_hash_update(&l->hash, p, n);
		at += n;
	}
}

/* Two pieces of one length and one block length. */
static void run_two(struct lane *a, struct lane *b)
{
	for (uint32_t at = 0;
	     at < a->p->len && a->err == KR_OK && b->err == KR_OK;) {
		const uint32_t n = slice_at(a->p, at);
		const uint8_t *pa = load_slice(a, at, n);
		const uint8_t *pb = load_slice(b, at, n);

		if (a->err == KR_OK && b->err == KR_OK)
			kr_hash_update_pair(&a->hash, pa, &b->hash, pb, n);
		at += n;
	}
	if (a->err == KR_OK && b->err != KR_OK)
		a->err = b->err; /* the disk: it is the same for both */
	else if (b->err == KR_OK && a->err != KR_OK)
		b->err = a->err;
}

static void run_verify(struct kr_job *j)
{
	struct kr_verify *v = KR_CONTAINER_OF(j, struct kr_verify, job);
	struct lane lanes[2] = { { .p = v->pieces[0] }, { .p = v->pieces[1] } };
	const int count = v->pieces[1] != NULL ? 2 : 1;

	for (int i = 0; i < count; i++)
		v->errs[i] = kr_hash_init(&lanes[i].hash, KR_SHA256);
	if (v->errs[0] != KR_OK || v->errs[1] != KR_OK) {
		for (int i = 0; i < count; i++) {
			if (v->errs[i] == KR_OK)
				kr_hash_fini(&lanes[i].hash);
			v->errs[i] = KR_E_NOMEM;
		}
		return;
	}
	if (count == 2)
		run_two(&lanes[0], &lanes[1]);
	else
		run_one(&lanes[0]);
	for (int i = 0; i < count; i++)
		v->errs[i] = end_lane(&lanes[i]);
}

/* ---- verdicts */

static void log_disk(const struct kr_blob *b, enum kr_err err)
{
	kr_log_error("transfer",
		     err == KR_E_NOSPC
			     ? "disk full while downloading: free space on the "
			       "store's file system; the download is kept and "
			       "goes on when it is asked for again"
			     : "download cannot be written or read back: look "
			       "at the store's disk",
		     KR_DIGEST("blob", &b->digest), KR_ERR("err", err));
}

static void accept_piece(struct kr_blob *b, uint32_t piece, uint32_t len)
{
	kr_store_partial_mark(b->partial, piece);
	kr_bitset_set(&b->have, piece);
	b->verified_bytes += len;
	kr_metric_add(b->t->metrics.download_verified, len);
}

static void settle(struct kr_blob_piece *p, enum kr_err err)
{
	struct kr_blob *b = p->blob;
	struct kr_transfer *t = b->t;
	const uint32_t piece = p->piece, len = p->len;

	free_piece(p);
	if (b->state != KR_BLOB_PARTIAL) {
		kr_blob_job_over(b);
		return;
	}
	if (err == KR_OK)
		accept_piece(b, piece, len);
	if (err == KR_OK || err == KR_E_DIGEST) {
		kr_node_piece_verified(t->node, kr_transfer_now(t), b->handle,
				       piece, err == KR_OK);
		kr_transfer_pump(t);
		kr_blob_sends_go_on(b);
	} else {
		log_disk(b, err);
		kr_blob_fail(b, err, true);
	}
	kr_blob_job_over(b);
}

static void on_verified(struct kr_job *j)
{
	struct kr_verify *v = KR_CONTAINER_OF(j, struct kr_verify, job);
	struct kr_transfer *t = v->t;
	struct kr_blob_piece *const pieces[2] = { v->pieces[0], v->pieces[1] };
	const enum kr_err errs[2] = { v->errs[0], v->errs[1] };

	v->busy = false;
	t->jobs--;
	start_verify(t);
	for (int i = 0; i < 2; i++)
		if (pieces[i] != NULL)
			settle(pieces[i], errs[i]);
}

/* The next piece that may be verified: like @other, if that is not NULL. */
static struct kr_blob_piece *take_piece(struct kr_transfer *t,
					const struct kr_blob_piece *other)
{
	kr_list_for_each (it, &t->verify_queue) {
		struct kr_blob_piece *p =
			KR_CONTAINER_OF(it, struct kr_blob_piece, link);

		if (p->spilling > 0)
			continue;
		if (other != NULL &&
		    (p->len != other->len ||
		     p->blob->block_bytes != other->blob->block_bytes))
			continue;
		kr_list_del(&p->link);
		kr_blob_job_begin(p->blob);
		return p;
	}
	return NULL;
}

static void start_one(struct kr_transfer *t, struct kr_verify *v)
{
	v->pieces[0] = take_piece(t, NULL);
	v->pieces[1] = take_piece(t, v->pieces[0]);
	v->errs[0] = v->errs[1] = KR_OK;
	v->busy = true;
	t->jobs++;
	kr_io_work(t->io, &v->job, run_verify, on_verified);
}

/* Pieces that may be verified, counted up to @max. */
static uint32_t count_pieces(const struct kr_transfer *t, uint32_t max)
{
	uint32_t count = 0;

	kr_list_for_each (it, &t->verify_queue) {
		if (count == max)
			break;
		if (KR_CONTAINER_OF(it, struct kr_blob_piece, link)->spilling ==
		    0)
			count++;
	}
	return count;
}

/*
 * A piece that comes alone goes at once where nothing runs.  While something
 * does it waits for a second, or for that to end: two side by side cost a core
 * little more than one, so a second thread is for what one with pairs cannot
 * do.
 */
static void start_verify(struct kr_transfer *t)
{
	uint32_t running = 0;

	for (uint32_t i = 0; i < t->verify_max; i++)
		running += t->verifies[i].busy ? 1 : 0;
	for (uint32_t i = 0; i < t->verify_max; i++) {
		if (t->verifies[i].busy)
			continue;
		if (count_pieces(t, 2) < (running > 0 ? 2 : 1))
			return;
		start_one(t, &t->verifies[i]);
		running++;
	}
}

/* ---- spilling */

static void run_spill(struct kr_job *j)
{
	struct kr_spill *s = KR_CONTAINER_OF(j, struct kr_spill, job);
	const struct kr_blob_piece *p = s->piece;
	const struct kr_blob *b = p->blob;
	const uint64_t at = (uint64_t)p->piece * b->meta.piece_bytes;

	s->err = KR_OK;
	for (uint32_t i = 0; i < p->block_count && s->err == KR_OK; i++)
		if (s->bufs[i] != NULL)
			s->err = kr_file_write_all(
				b->fd, s->bufs[i], s->lens[i],
				at + (uint64_t)i * b->block_bytes);
}

static void on_spilled(struct kr_job *j)
{
	struct kr_spill *s = KR_CONTAINER_OF(j, struct kr_spill, job);
	struct kr_transfer *t = s->t;
	struct kr_blob_piece *p = s->piece;
	struct kr_blob *b = p->blob;

	s->busy = false;
	t->jobs--;
	p->spilling--;
	for (uint32_t i = 0; i < p->block_count && s->err == KR_OK; i++) {
		if (s->bufs[i] == NULL)
			continue;
		p->blocks[i].buf = NULL;
		kr_io_buffer_give(t->io, s->bufs[i]);
	}
	free(s->bufs);
	if (b->state == KR_BLOB_FAILED) {
		free_piece(p);
	} else if (s->err != KR_OK) {
		log_disk(b, s->err);
		kr_blob_fail(b, s->err, true);
	} else if (p->is_verifying) {
		start_verify(t);
	}
	kr_blob_job_over(b);
}

static uint32_t count_buffers(const struct kr_blob_piece *p)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < p->block_count; i++)
		count += p->blocks[i].buf != NULL ? 1 : 0;
	return count;
}

/* The piece in assembly that holds most buffers. */
static struct kr_blob_piece *largest_piece(struct kr_transfer *t)
{
	struct kr_blob_piece *best = NULL;
	uint32_t best_count = 0;

	kr_list_for_each (blob_it, &t->all_blobs) {
		struct kr_blob *b =
			KR_CONTAINER_OF(blob_it, struct kr_blob, link);

		if (b->state != KR_BLOB_PARTIAL)
			continue;
		kr_list_for_each (it, &b->pieces) {
			struct kr_blob_piece *p =
				KR_CONTAINER_OF(it, struct kr_blob_piece, link);
			const uint32_t count = count_buffers(p);

			if (count > best_count) {
				best = p;
				best_count = count;
			}
		}
	}
	return best;
}

/* A connection found no free buffer.  Called again while one spill is under
 * way it does nothing: its buffers will wake whoever waits. */
void kr_transfer_spill(struct kr_transfer *t)
{
	struct kr_spill *s = &t->spill;
	struct kr_blob_piece *p = s->busy ? NULL : largest_piece(t);

	if (p == NULL)
		return;
	/* Lengths behind the pointers, in one allocation. */
	s->bufs = calloc(p->block_count, sizeof(*s->bufs) + sizeof(*s->lens));
	if (s->bufs == NULL)
		return;
	s->lens = (uint32_t *)(void *)(s->bufs + p->block_count);
	for (uint32_t i = 0; i < p->block_count; i++) {
		s->bufs[i] = p->blocks[i].buf;
		s->lens[i] = p->blocks[i].len;
	}
	s->piece = p;
	s->busy = true;
	p->spilling++;
	t->jobs++;
	kr_blob_job_begin(p->blob);
	kr_io_work(t->io, &s->job, run_spill, on_spilled);
}
