#define _GNU_SOURCE
/*
 * A download, from the disk's side: open the partial, hash again what an
 * earlier run claims, join the swarm; and when all is there, make it a blob.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/transfer_internal.h"
#include "core/alloc.h"
#include "core/log.h"

static struct kr_blob *blob_of(struct kr_job *j)
{
	return KR_CONTAINER_OF(j, struct kr_blob, job);
}

static void work(struct kr_blob *b, kr_job_fn *run, kr_job_fn *done)
{
	kr_blob_job_begin(b);
	kr_io_work(b->t->io, &b->job, run, done);
}

static void log_failure(const struct kr_blob *b, const char *what,
			enum kr_err err)
{
	if (err == KR_E_NOSPC)
		kr_log_error("transfer",
			     "no room for a download: free disk space, raise "
			     "the store's quota, or lower its watermarks; it "
			     "will go on where it stopped",
			     KR_STR("at", what), KR_DIGEST("blob", &b->digest),
			     KR_U64("size_bytes", b->size_bytes));
	else
		kr_log_warn("transfer", "download failed", KR_STR("at", what),
			    KR_DIGEST("blob", &b->digest), KR_ERR("err", err));
}

static void fail(struct kr_blob *b, const char *what, enum kr_err err)
{
	if (b->state == KR_BLOB_FAILED)
		return;
	log_failure(b, what, err);
	kr_blob_fail(b, err, err != KR_E_DIGEST);
}

/* ---- complete */

enum kr_err kr_blob_open_stored(struct kr_blob *b)
{
	struct kr_store_blob *stored;
	const enum kr_err err =
		kr_store_blob_open(b->t->store, &b->digest, &stored);

	if (err != KR_OK)
		return err;
	if (b->fd < 0)
		b->fd = fcntl(kr_store_blob_fd(stored), F_DUPFD_CLOEXEC, 0);
	if (b->fd < 0) {
		kr_store_blob_close(stored);
		return errno == EMFILE ? KR_E_NOFILE : KR_E_IO;
	}
	b->stored = stored;
	b->size_bytes = kr_store_blob_size(stored);
	b->state = KR_BLOB_COMPLETE;
	return KR_OK;
}

/* It is the store's file now; tell those who wait. */
static void become_complete(struct kr_blob *b)
{
	kr_blob_count(b, false);
	if (!b->in_node)
		kr_transfer_answer_all(b);
	kr_transfer_stats_now(b->t);
	b->is_changed = true;
	kr_blob_notice(b);
	kr_blob_wake(b, KR_OK);
	kr_blob_sends_go_on(b);
	kr_blob_linger(b);
}

/* ---- commit */

static void run_commit(struct kr_job *j)
{
	struct kr_blob *b = blob_of(j);

	b->job_err = kr_store_meta_put(b->t->store, &b->digest, b->meta.encoded,
				       b->meta.encoded_len);
	if (b->job_err != KR_OK)
		return;
	if (b->size_bytes == 0)
		b->job_err =
			kr_store_blob_put(b->t->store, &b->digest, NULL, 0);
	else
		b->job_err = kr_store_partial_commit(b->partial);
}

static void on_committed(struct kr_job *j)
{
	struct kr_blob *b = blob_of(j);
	enum kr_err err = b->job_err;

	if (err == KR_OK)
		b->partial = NULL; /* the store closed it */
	if (b->state != KR_BLOB_FAILED) {
		if (err == KR_OK)
			err = kr_blob_open_stored(b);
		if (err == KR_OK)
			become_complete(b);
		else
			fail(b, "commit", err);
	}
	kr_blob_job_over(b);
}

static void on_hashed(struct kr_file_hash *f, enum kr_err err)
{
	struct kr_blob *b = KR_CONTAINER_OF(f, struct kr_blob, full);
	struct kr_digest d;

	if (err == KR_OK)
		err = kr_blob_hash_final(&f->hash, &d, NULL);
	if (err == KR_OK && !kr_digest_equal(&d, &b->digest))
		err = KR_E_DIGEST;
	if (err != KR_OK)
		fail(b, "verification of the whole blob", err);
	else if (b->state != KR_BLOB_FAILED)
		work(b, run_commit, on_committed);
	kr_blob_job_over(b);
}

static void run_no_memory(struct kr_job *j)
{
	blob_of(j)->job_err = KR_E_NOMEM;
}

/* Called with actions pending: only starts what ends later. */
void kr_blob_commit(struct kr_blob *b)
{
	if (b->state != KR_BLOB_PARTIAL && b->state != KR_BLOB_OPENING)
		return;
	b->state = KR_BLOB_COMMITTING;
	if (!b->t->verify_full || b->size_bytes == 0) {
		work(b, run_commit, on_committed);
		return;
	}
	kr_blob_job_begin(b);
	if (kr_file_hash_start(b->t->io, &b->full, b->fd, b->size_bytes,
			       (enum kr_digest_alg)b->digest.alg, 0,
			       on_hashed) == KR_OK)
		return;
	/* Nothing may end from inside: the job says that there is no memory. */
	kr_io_work(b->t->io, &b->job, run_no_memory, on_committed);
}

/* ---- resume */

static bool hash_matches(const struct kr_blob *b, uint32_t piece, uint8_t *buf)
{
	const uint32_t len = kr_metainfo_piece_len(&b->meta, piece);
	const uint64_t at = (uint64_t)piece * b->meta.piece_bytes;
	struct kr_hash h;
	struct kr_digest d;

	if (kr_hash_init(&h, KR_SHA256) != KR_OK)
		return false;
	for (uint32_t done = 0; done < len;) {
		const uint32_t n = len - done < KR_SLICE_BYTES ? len - done
							       : KR_SLICE_BYTES;

		if (kr_file_read_all(b->fd, buf, n, at + done) != KR_OK) {
			kr_hash_fini(&h);
			return false;
		}
		kr_hash_update(&h, buf, n);
		done += n;
	}
	kr_hash_final(&h, &d);
	return memcmp(d.bytes, b->meta.hashes + (size_t)piece * KR_SHA256_LEN,
		      KR_SHA256_LEN) == 0;
}

static void run_resume(struct kr_job *j)
{
	struct kr_blob *b = blob_of(j);
	uint8_t *buf = malloc(KR_SLICE_BYTES);
	uint64_t hashed = 0;

	b->job_err = buf == NULL ? KR_E_NOMEM : KR_OK;
	for (; buf != NULL && b->resume_piece < b->meta.piece_count &&
	       hashed < KR_RESUME_TURN_BYTES;
	     b->resume_piece++) {
		const uint32_t p = b->resume_piece;

		if (!kr_store_partial_claims(b->partial, p))
			continue;
		const uint32_t len = kr_metainfo_piece_len(&b->meta, p);

		hashed += len;
		if (!hash_matches(b, p, buf))
			continue;
		kr_store_partial_mark(b->partial, p);
		kr_bitset_set(&b->have, p);
		b->resumed_bytes += len;
	}
	free(buf);
}

static void join(struct kr_blob *b)
{
	kr_blob_count(b, false);
	b->verified_bytes = b->resumed_bytes;
	kr_blob_count(b, true);
	if (b->verified_bytes > 0)
		kr_log_info("transfer", "download goes on",
			    KR_DIGEST("blob", &b->digest),
			    KR_U64("verified_bytes", b->verified_bytes),
			    KR_U64("size_bytes", b->size_bytes));
	if (kr_bitset_all(&b->have)) {
		kr_blob_commit(b);
		return;
	}
	b->state = KR_BLOB_PARTIAL;
	const struct kr_list *asked = kr_list_first(&b->lookups);
	const enum kr_err err = kr_blob_join(
		b,
		asked == NULL
			? 0
			: KR_CONTAINER_OF(asked, struct kr_seek, link)->lookup);

	if (err != KR_OK) {
		fail(b, "joining the swarm", err);
		return;
	}
	kr_transfer_answer_all(b);
	kr_blob_sends_go_on(b);
	kr_blob_linger(b);
}

static void on_resumed(struct kr_job *j)
{
	struct kr_blob *b = blob_of(j);

	if (b->job_err != KR_OK)
		fail(b, "resume", b->job_err);
	else if (b->state == KR_BLOB_OPENING &&
		 b->resume_piece < b->meta.piece_count)
		work(b, run_resume, on_resumed);
	else if (b->state == KR_BLOB_OPENING)
		join(b);
	kr_blob_job_over(b);
}

/* ---- open */

static void run_open(struct kr_job *j)
{
	struct kr_blob *b = blob_of(j);

	b->job_err =
		kr_store_partial_open(b->t->store, &b->digest, b->size_bytes,
				      b->meta.piece_bytes, &b->partial);
}

static void on_retry(struct kr_timer *timer)
{
	kr_blob_open_partial(KR_CONTAINER_OF(timer, struct kr_blob, timer));
}

/* Complete by now, or open: by a download that is just ending, or by another
 * reactor.  The first is good news, the second may pass. */
static void open_again(struct kr_blob *b)
{
	const enum kr_err err = kr_blob_open_stored(b);

	if (err == KR_OK)
		become_complete(b);
	else if (err != KR_E_NOTFOUND)
		fail(b, "open", err);
	else if (++b->open_tries == KR_OPEN_TRIES_MAX)
		fail(b, "open", KR_E_BUSY);
	else
		kr_io_timer_set(b->t->io, &b->timer,
				kr_transfer_now(b->t) + KR_OPEN_RETRY_NS,
				on_retry);
}

/*
 * The store is full of blobs that are pinned because they are open: announced,
 * or lingering.  Those are of less use than one that is asked for now.
 */
static void make_room(struct kr_blob *b)
{
	struct kr_transfer *t = b->t;

	if (b->room_tries++ == KR_ROOM_TRIES_MAX || t->is_closing) {
		fail(b, "open", KR_E_NOSPC);
		return;
	}
	if (t->need_room != NULL)
		t->need_room(t->ctx, b->size_bytes);
	kr_blobs_let_go(t);
	kr_io_timer_set(t->io, &b->timer, kr_transfer_now(t) + KR_OPEN_RETRY_NS,
			on_retry);
}

static enum kr_err prepare(struct kr_blob *b)
{
	const size_t words = kr_bitset_words(b->meta.piece_count);

	b->fd = fcntl(kr_store_partial_fd(b->partial), F_DUPFD_CLOEXEC, 0);
	if (b->fd < 0)
		return errno == EMFILE ? KR_E_NOFILE : KR_E_IO;
	b->have.words = calloc(words, sizeof(uint64_t));
	if (b->have.words == NULL)
		return KR_E_NOMEM;
	kr_bitset_init(&b->have, b->have.words, b->meta.piece_count);
	b->block_bytes = (uint32_t)b->t->policy.block_bytes;
	if (b->block_bytes > b->meta.piece_bytes)
		b->block_bytes = b->meta.piece_bytes;
	return KR_OK;
}

static void on_open(struct kr_job *j)
{
	struct kr_blob *b = blob_of(j);
	enum kr_err err = b->job_err;

	if (b->state == KR_BLOB_OPENING) {
		if (err == KR_OK)
			err = prepare(b);
		if (err == KR_OK)
			kr_blob_wake_room(b);
		if (err == KR_OK)
			work(b, run_resume, on_resumed);
		else if (err == KR_E_EXISTS)
			open_again(b);
		else if (err == KR_E_NOSPC)
			make_room(b);
		else
			fail(b, "open", err);
	}
	kr_blob_job_over(b);
}

/* An empty blob has no pieces and no swarm. */
void kr_blob_open_partial(struct kr_blob *b)
{
	if (b->size_bytes == 0)
		kr_blob_commit(b);
	else
		work(b, run_open, on_open);
}
