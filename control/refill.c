#define _GNU_SOURCE
#include "control/refill.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/blob_hash.h"
#include "core/log.h"
#include "core/map.h"
#include "peerwire/metainfo.h"
#include "peerwire/node.h"

/* One blob that is wanted, and by whom. */
struct fetch {
	struct kr_list link; /* in the order of the first question */
	struct kr_refill *all;
	struct kr_job job;
	struct kr_digest digest;
	char ns[KR_NAMESPACE_MAX + 1];
	struct kr_list waits;
	enum kr_err err;
	bool running;
};

struct kr_refill {
	struct kr_io *io;
	struct kr_store *store;
	const struct kr_backends *backends;
	struct kr_list fetches;
	struct kr_digest_map by_digest; /* -> struct fetch */
	uint32_t running;
	bool closing;
};

/* Digest and pieces of the first @size bytes of @fd. */
static enum kr_err hash_file(int fd, uint64_t size, const struct kr_digest *d,
			     struct kr_metainfo *ret)
{
	static const size_t slice = 256 * 1024;
	struct kr_digest got;
	struct kr_blob_hash h;
	uint8_t *buf = malloc(slice);
	enum kr_err err = KR_E_NOMEM;

	if (buf == NULL)
		return KR_E_NOMEM;
	err = kr_blob_hash_init(&h, (enum kr_digest_alg)d->alg,
				kr_metainfo_piece_bytes_for(size));
	if (err != KR_OK)
		goto out;
	for (uint64_t at = 0; at < size && err == KR_OK;) {
		const size_t want =
			size - at < slice ? (size_t)(size - at) : slice;
		const ssize_t n = pread(fd, buf, want, (off_t)at);
		if (n <= 0) {
			err = n == 0 ? KR_E_IO : kr_err_from_errno(errno);
			break;
		}
		err = kr_blob_hash_update(&h, buf, (size_t)n);
		at += (uint64_t)n;
	}
	if (err != KR_OK) {
		kr_blob_hash_fini(&h);
		goto out;
	}
	err = kr_blob_hash_final(&h, &got, ret);
	if (err == KR_OK && !kr_digest_equal(&got, d)) {
		kr_metainfo_fini(kr_alloc_heap(), ret);
		err = KR_E_DIGEST;
	}
out:
	free(buf);
	return err;
}

/* The bytes are in @u: verify them, make them a blob with its metainfo. */
static enum kr_err adopt(struct fetch *f, struct kr_store_upload *u,
			 uint64_t size)
{
	struct kr_metainfo m;
	enum kr_err err =
		hash_file(kr_store_upload_fd(u), size, &f->digest, &m);

	if (err != KR_OK)
		return err;
	err = kr_store_meta_put(f->all->store, &m.digest, m.encoded,
				m.encoded_len);
	kr_metainfo_fini(kr_alloc_heap(), &m);
	if (err == KR_OK)
		err = kr_store_upload_save(u, size, NULL, 0);
	if (err == KR_OK)
		err = kr_store_upload_commit(u, &f->digest);
	return err;
}

static enum kr_err fetch_blob(struct fetch *f, struct kr_backend *backend)
{
	char hex[KR_DIGEST_TEXT_MAX];
	struct kr_store_upload *u;
	uint64_t size;
	enum kr_err err;

	kr_digest_print_hex(&f->digest, hex);
	err = kr_backend_stat(backend, hex, &size);
	if (err != KR_OK)
		return err;
	err = kr_store_upload_create(f->all->store, &u);
	if (err != KR_OK)
		return err;
	err = kr_store_upload_reserve(u, size);
	if (err == KR_OK)
		err = kr_backend_get(backend, hex, 0, size,
				     kr_store_upload_fd(u));
	if (err == KR_OK)
		err = adopt(f, u, size);
	if (err != KR_OK)
		kr_store_upload_close(u, false);
	return err;
}

static void fetch_run(struct kr_job *j)
{
	struct fetch *f = KR_CONTAINER_OF(j, struct fetch, job);
	struct kr_backend *backend = kr_backends_find(f->all->backends, f->ns);

	/* A sha512 blob has no name in Kraken's layouts. */
	if (backend == NULL || f->digest.alg != KR_SHA256)
		f->err = KR_E_NOTFOUND;
	else
		f->err = fetch_blob(f, backend);
}

static void run_next(struct kr_refill *r);

static void answer(struct fetch *f, enum kr_err err)
{
	kr_list_del(&f->link);
	kr_digest_map_del(&f->all->by_digest, &f->digest);
	while (!kr_list_empty(&f->waits)) {
		struct kr_refill_wait *w = KR_CONTAINER_OF(
			f->waits.next, struct kr_refill_wait, link);
		kr_list_del(&w->link);
		w->done(w,
			w->joined_other && err != KR_OK && err != KR_E_CANCELED
				? KR_E_BUSY
				: err);
	}
	free(f);
}

static void fetch_done(struct kr_job *j)
{
	struct fetch *f = KR_CONTAINER_OF(j, struct fetch, job);
	struct kr_refill *r = f->all;

	r->running--;
	if (f->err == KR_E_DIGEST)
		kr_log_error("refill",
			     "the backend's object is not what its "
			     "name says: not used",
			     KR_DIGEST("digest", &f->digest),
			     KR_STR("namespace", f->ns));
	else if (f->err != KR_OK && f->err != KR_E_NOTFOUND)
		kr_log_warn("refill", "cannot fetch a blob from the backend",
			    KR_DIGEST("digest", &f->digest),
			    KR_STR("namespace", f->ns), KR_ERR("why", f->err));
	answer(f, f->err);
	run_next(r);
}

static void run_next(struct kr_refill *r)
{
	kr_list_for_each (at, &r->fetches) {
		struct fetch *f = KR_CONTAINER_OF(at, struct fetch, link);

		if (r->running == KR_REFILL_MAX || r->closing)
			return;
		if (f->running)
			continue;
		f->running = true;
		r->running++;
		kr_io_work(r->io, &f->job, fetch_run, fetch_done);
	}
}

enum kr_err kr_refill_want(struct kr_refill *r, struct kr_refill_wait *w,
			   const char *ns, const struct kr_digest *d,
			   kr_refill_fn *done)
{
	struct fetch *f = kr_digest_map_get(&r->by_digest, d);

	w->done = done;
	w->joined_other = f != NULL && strcmp(f->ns, ns) != 0;
	if (f != NULL) {
		kr_list_add_tail(&f->waits, &w->link);
		return KR_OK;
	}
	f = calloc(1, sizeof(*f));
	if (f == NULL)
		return KR_E_NOMEM;
	if (kr_digest_map_put(&r->by_digest, d, f) != KR_OK) {
		free(f);
		return KR_E_NOMEM;
	}
	f->all = r;
	f->digest = *d;
	kr_assert(strlen(ns) <= KR_NAMESPACE_MAX);
	memcpy(f->ns, ns, strlen(ns) + 1);
	kr_list_init(&f->waits);
	kr_list_add_tail(&f->waits, &w->link);
	kr_list_add_tail(&r->fetches, &f->link);
	run_next(r);
	return KR_OK;
}

enum kr_err kr_refill_open(struct kr_io *io, struct kr_store *store,
			   const struct kr_backends *backends,
			   struct kr_refill **ret)
{
	struct kr_refill *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return KR_E_NOMEM;
	r->io = io;
	r->store = store;
	r->backends = backends;
	kr_list_init(&r->fetches);
	kr_digest_map_open(&r->by_digest, kr_alloc_heap());
	*ret = r;
	return KR_OK;
}

void kr_refill_unwant(struct kr_refill_wait *w)
{
	kr_list_del(&w->link);
}

void kr_refill_close(struct kr_refill *r)
{
	r->closing = true;
	while (r->running > 0)
		kr_io_turn(r->io);
	while (!kr_list_empty(&r->fetches))
		answer(KR_CONTAINER_OF(r->fetches.next, struct fetch, link),
		       KR_E_CANCELED);
	kr_digest_map_close(&r->by_digest);
	free(r);
}
