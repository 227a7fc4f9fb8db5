#define _GNU_SOURCE
#include "core/store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/hash.h"
#include "core/log.h"

/* How stale the recency on disk may get. */
static const uint64_t TOUCH_NS = UINT64_C(60000000000);

struct kr_store_blob {
	struct kr_store *store;
	struct kr_store_entry *entry; /* pinned */
	int fd;
	uint64_t size_bytes;
};

enum kr_err kr_store_stat(struct kr_store *s, const struct kr_digest *d,
			  uint64_t *ret_size)
{
	enum kr_err err = KR_E_NOTFOUND;
	const struct kr_store_entry *e;

	pthread_mutex_lock(&s->lock);
	e = kr_store_find(s, KR_STORE_BLOB, d);
	if (e != NULL && e->state == KR_STORE_READY) {
		*ret_size = e->size_bytes;
		err = KR_OK;
	}
	pthread_mutex_unlock(&s->lock);
	return err;
}

/* The entry of complete blob @d, pinned and used now; or NULL. */
static struct kr_store_entry *pin_blob(struct kr_store *s,
				       const struct kr_digest *d, bool *touch)
{
	struct kr_store_entry *e;

	pthread_mutex_lock(&s->lock);
	e = kr_store_find(s, KR_STORE_BLOB, d);
	if (e != NULL && e->state == KR_STORE_READY) {
		kr_store_pin(s, e);
		e->used_wall_ns = kr_clock_wall_ns();
		*touch = e->used_wall_ns - e->saved_wall_ns > TOUCH_NS;
		if (*touch)
			e->saved_wall_ns = e->used_wall_ns;
	} else {
		e = NULL;
	}
	pthread_mutex_unlock(&s->lock);
	return e;
}

static void unpin_blob(struct kr_store *s, struct kr_store_entry *e)
{
	pthread_mutex_lock(&s->lock);
	kr_store_unpin(s, e);
	pthread_mutex_unlock(&s->lock);
}

/* Somebody removed or changed the file behind our back: forget the blob as
 * soon as nobody reads it. */
static void lose_blob(struct kr_store *s, struct kr_store_entry *e)
{
	kr_log_error("store", "a blob was removed or changed by somebody else",
		     KR_STR("dir", s->dir), KR_DIGEST("blob", &e->digest));
	pthread_mutex_lock(&s->lock);
	kr_store_unpin(s, e);
	if (e->pins == 0 && kr_store_drop(s, e) != KR_OK)
		kr_log_warn("store", "it cannot be deleted",
			    KR_STR("dir", s->dir));
	pthread_mutex_unlock(&s->lock);
}

static enum kr_err open_file(struct kr_store *s, const struct kr_store_entry *e,
			     int *ret_fd)
{
	char path[KR_STORE_PATH_MAX];
	struct stat st;
	int fd;

	kr_store_path_blob(path, &e->digest);
	fd = openat(s->dir_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return kr_store_err(errno);
	if (fstat(fd, &st) < 0 || (uint64_t)st.st_size != e->size_bytes) {
		close(fd);
		return KR_E_NOTFOUND;
	}
	/* Nobody wants to know when it was read, and to ask whether that must
	 * be noted is 2 % of sending it.  Of another's file: never mind. */
	(void)fcntl(fd, F_SETFL, O_NOATIME);
	*ret_fd = fd;
	return KR_OK;
}

enum kr_err kr_store_blob_open(struct kr_store *s, const struct kr_digest *d,
			       struct kr_store_blob **ret)
{
	struct kr_store_blob *b = malloc(sizeof(*b));
	bool touch = false;
	enum kr_err err;

	if (b == NULL)
		return KR_E_NOMEM;
	*b = (struct kr_store_blob){ .store = s,
				     .entry = pin_blob(s, d, &touch) };
	if (b->entry == NULL) {
		free(b);
		return KR_E_NOTFOUND;
	}
	err = open_file(s, b->entry, &b->fd);
	if (err != KR_OK) {
		if (err == KR_E_NOTFOUND)
			lose_blob(s, b->entry);
		else
			unpin_blob(s, b->entry);
		free(b);
		return err;
	}
	b->size_bytes = b->entry->size_bytes;
	if (touch)
		kr_store_touch(b->fd, kr_clock_wall_ns());
	pthread_mutex_lock(&s->lock);
	s->handle_count++;
	pthread_mutex_unlock(&s->lock);
	*ret = b;
	return KR_OK;
}

void kr_store_blob_close(struct kr_store_blob *b)
{
	if (b == NULL)
		return;
	close(b->fd);
	pthread_mutex_lock(&b->store->lock);
	b->store->handle_count--;
	kr_store_unpin(b->store, b->entry);
	pthread_mutex_unlock(&b->store->lock);
	free(b);
}

int kr_store_blob_fd(const struct kr_store_blob *b)
{
	return b->fd;
}

uint64_t kr_store_blob_size(const struct kr_store_blob *b)
{
	return b->size_bytes;
}

/* ---- put ----------------------------------------------------------------*/

static enum kr_err verify(const struct kr_digest *d, const void *buf,
			  size_t len)
{
	struct kr_digest got;
	struct kr_hash h;
	const enum kr_err err = kr_hash_init(&h, d->alg);

	if (err != KR_OK)
		return err;
	kr_hash_update(&h, buf, len);
	kr_hash_final(&h, &got);
	return kr_digest_equal(&got, d) ? KR_OK : KR_E_DIGEST;
}

static enum kr_err write_blob(struct kr_store *s, const struct kr_digest *d,
			      const void *buf, size_t len)
{
	char temp[KR_STORE_PATH_MAX];
	enum kr_err err = kr_store_write_temp(s, temp, buf, len);

	if (err == KR_E_NOSPC && kr_store_make_room(s, len))
		err = kr_store_write_temp(s, temp, buf, len);
	if (err == KR_E_NOSPC)
		kr_store_log_nospc(s, "blob", len, false);
	if (err != KR_OK)
		return err;
	err = kr_store_publish_file(s, temp, d);
	if (err != KR_OK)
		(void)kr_store_trash(s, temp);
	return err;
}

enum kr_err kr_store_blob_put(struct kr_store *s, const struct kr_digest *d,
			      const void *buf, size_t len)
{
	struct kr_store_entry *e;
	enum kr_err err = verify(d, buf, len);

	if (err != KR_OK)
		return err;
	err = kr_store_claim(s, d, &e);
	if (err != KR_OK)
		return err == KR_E_EXISTS ? KR_OK : err;
	err = kr_store_take(s, KR_STORE_UPLOAD, len, "blob");
	if (err != KR_OK) {
		kr_store_abandon(s, e);
		return err;
	}
	err = write_blob(s, d, buf, len);
	if (err != KR_OK) {
		kr_store_give(s, KR_STORE_UPLOAD, len);
		kr_store_abandon(s, e);
		return err;
	}
	kr_store_publish(s, e, KR_STORE_UPLOAD, len, false);
	return KR_OK;
}

/* ---- delete, keep, visit ------------------------------------------------*/

enum kr_err kr_store_delete(struct kr_store *s, const struct kr_digest *d)
{
	enum kr_err err = KR_E_NOTFOUND;
	struct kr_store_entry *e;

	pthread_mutex_lock(&s->lock);
	e = kr_store_find(s, KR_STORE_BLOB, d);
	if (e != NULL && e->state == KR_STORE_READY)
		err = e->pins > 0 || e->keep ? KR_E_BUSY : kr_store_drop(s, e);
	pthread_mutex_unlock(&s->lock);
	return err;
}

static enum kr_err write_marker(struct kr_store *s, const struct kr_digest *d)
{
	char path[KR_STORE_PATH_MAX];
	int fd;

	kr_store_path_keep(path, d);
	fd = openat(s->dir_fd, path, O_WRONLY | O_CREAT | O_CLOEXEC, 0640);
	if (fd < 0)
		return kr_store_err(errno);
	close(fd);
	return kr_store_sync_dir(s, "meta");
}

static enum kr_err remove_marker(struct kr_store *s, const struct kr_digest *d)
{
	char path[KR_STORE_PATH_MAX];

	kr_store_path_keep(path, d);
	if (unlinkat(s->dir_fd, path, 0) < 0 && errno != ENOENT)
		return kr_store_err(errno);
	return kr_store_sync_dir(s, "meta");
}

/* The entry that a keep marker of @d is about, pinned and busy; or NULL. */
static struct kr_store_entry *begin_keep(struct kr_store *s,
					 const struct kr_digest *d)
{
	struct kr_store_entry *blob, *partial, *e;

	pthread_mutex_lock(&s->lock);
	kr_store_find_settled(s, d, &blob, &partial);
	e = blob ? blob : partial;
	if (e != NULL) {
		e->keep_busy = true;
		kr_store_pin(s, e);
	}
	pthread_mutex_unlock(&s->lock);
	return e;
}

static void end_keep(struct kr_store *s, struct kr_store_entry *e, bool done,
		     bool keep)
{
	pthread_mutex_lock(&s->lock);
	e->keep_busy = false;
	if (done)
		kr_store_set_keep(s, e, keep);
	kr_store_unpin(s, e);
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
}

enum kr_err kr_store_keep(struct kr_store *s, const struct kr_digest *d,
			  bool keep)
{
	struct kr_store_entry *e = begin_keep(s, d);
	enum kr_err err;

	if (e == NULL)
		return KR_E_NOTFOUND;
	err = keep ? write_marker(s, d) : remove_marker(s, d);
	end_keep(s, e, err == KR_OK, keep);
	return err;
}

void kr_store_for_each(struct kr_store *s, kr_store_visit_fn *fn, void *ctx)
{
	struct item {
		struct kr_digest digest;
		uint64_t size_bytes;
	} * items;
	uint32_t cursor = 0;
	size_t n = 0;
	void *value;

	pthread_mutex_lock(&s->lock);
	items = calloc(s->count[KR_STORE_BLOB] + 1, sizeof(*items));
	while (items != NULL && kr_digest_map_next(&s->entries[KR_STORE_BLOB],
						   &cursor, NULL, &value)) {
		const struct kr_store_entry *e = value;
		if (e->state == KR_STORE_READY)
			items[n++] = (struct item){ e->digest, e->size_bytes };
	}
	pthread_mutex_unlock(&s->lock);
	if (items == NULL)
		kr_log_error("store", "no memory to list the blobs",
			     KR_STR("dir", s->dir));
	for (size_t i = 0; i < n; i++)
		fn(ctx, &items[i].digest, items[i].size_bytes);
	free(items);
}
