/*
 * The .pieces file: a header that says what the bits are about, then a bit per
 * piece (bit i is bit i % 8 of byte i / 8).  A header that does not match what
 * the caller asks for, or a file of another length, restarts the download.
 *
 * What earlier runs claimed is copied when the partial is opened and stays on
 * disk beside the marks of this run, so that two crashes in a row lose no more
 * than one.  Only the marks of this run, which are also kept in memory, make a
 * blob complete.
 */
#define _GNU_SOURCE
#include "core/store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/bytes.h"
#include "core/clock.h"
#include "core/log.h"

enum {
	HEADER_LEN = 64, /* magic, size, piece length, zeros */
	PIECE_COUNT_MAX = 1 << 26,
	ZEROS_LEN = 4096,
};
static const uint8_t magic[8] = { 'k', 'r', 'p', 'i', 'e', 'c', 'e', '1' };

struct kr_store_partial {
	struct kr_store *store;
	struct kr_store_entry *entry; /* pinned */
	int fd;
	uint64_t size_bytes;
	uint32_t piece_bytes;
	uint32_t piece_count;
	uint8_t *map; /* the .pieces file, shared */
	size_t map_len;
	uint8_t *claims;      /* bits of earlier runs */
	atomic_uchar *marked; /* bits of this run */
	atomic_uint_fast32_t marked_count;
};

static size_t bits_len(const struct kr_store_partial *p)
{
	return ((size_t)p->piece_count + 7) / 8;
}

/* ---- the .pieces file ---------------------------------------------------*/

static void header_encode(const struct kr_store_partial *p,
			  uint8_t buf[HEADER_LEN])
{
	memset(buf, 0, HEADER_LEN);
	memcpy(buf, magic, sizeof(magic));
	kr_put_be64(buf + 8, p->size_bytes);
	kr_put_be32(buf + 16, p->piece_bytes);
}

/* fallocate(2), or where the file system cannot, a size without the room. */
static enum kr_err reserve(int fd, uint64_t size_bytes)
{
	int rc = 0;

	if (size_bytes == 0)
		return KR_OK;
	do
		rc = fallocate(fd, 0, 0, (off_t)size_bytes);
	while (rc < 0 && errno == EINTR);
	if (rc < 0 && (errno == EOPNOTSUPP || errno == ENOSYS))
		rc = ftruncate(fd, (off_t)size_bytes);
	return rc < 0 ? kr_store_err(errno) : KR_OK;
}

/* Written, not only sized: a mapping of a hole would die of SIGBUS when the
 * disk is full. */
static enum kr_err write_pieces_file(const struct kr_store_partial *p, int fd)
{
	static const uint8_t zeros[ZEROS_LEN];
	uint8_t header[HEADER_LEN];
	size_t left = bits_len(p);
	enum kr_err err;

	header_encode(p, header);
	err = kr_store_write_all(fd, header, sizeof(header));
	while (err == KR_OK && left > 0) {
		const size_t n = left < ZEROS_LEN ? left : ZEROS_LEN;
		err = kr_store_write_all(fd, zeros, n);
		left -= n;
	}
	return err;
}

static enum kr_err map_pieces_file(struct kr_store_partial *p, int fd)
{
	void *map;

	p->map_len = HEADER_LEN + bits_len(p);
	map = mmap(NULL, p->map_len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return kr_store_err(errno);
	p->map = map;
	return KR_OK;
}

static enum kr_err alloc_bits(struct kr_store_partial *p)
{
	p->claims = calloc(bits_len(p) + 1, 1);
	p->marked = calloc(bits_len(p) + 1, sizeof(*p->marked));
	return p->claims && p->marked ? KR_OK : KR_E_NOMEM;
}

enum kr_err kr_store_partial_peek(struct kr_store *s, const struct kr_digest *d,
				  uint64_t *ret_size)
{
	char path[KR_STORE_PATH_MAX];
	uint8_t header[HEADER_LEN];
	ssize_t n;
	int fd;

	kr_store_path_pieces(path, d);
	fd = openat(s->dir_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return kr_store_err(errno);
	n = pread(fd, header, sizeof(header), 0);
	close(fd);
	if (n != HEADER_LEN || memcmp(header, magic, sizeof(magic)) != 0)
		return KR_E_CORRUPT;
	*ret_size = kr_get_be64(header + 8);
	return KR_OK;
}

/* ---- open ---------------------------------------------------------------*/

static void release(struct kr_store_partial *p)
{
	if (p->map != NULL)
		munmap(p->map, p->map_len);
	if (p->fd >= 0)
		close(p->fd);
	free(p->claims);
	free(p->marked);
	free(p);
}

static bool delete_files(struct kr_store *s, const struct kr_digest *d)
{
	char path[KR_STORE_PATH_MAX];
	bool gone;

	kr_store_path_partial(path, d);
	gone = kr_store_trash(s, path);
	kr_store_path_pieces(path, d);
	return kr_store_trash(s, path) && gone;
}

/* Open what a previous run left.  KR_E_NOTFOUND: it is of no use. */
static enum kr_err resume(struct kr_store_partial *p, int pieces_fd)
{
	uint8_t header[HEADER_LEN];
	struct stat data, pieces;
	enum kr_err err;

	if (fstat(p->fd, &data) < 0 || fstat(pieces_fd, &pieces) < 0)
		return kr_store_err(errno);
	if ((uint64_t)data.st_size != p->size_bytes ||
	    (uint64_t)pieces.st_size != HEADER_LEN + bits_len(p))
		return KR_E_NOTFOUND;
	err = map_pieces_file(p, pieces_fd);
	if (err != KR_OK)
		return err;
	header_encode(p, header);
	if (memcmp(p->map, header, HEADER_LEN) != 0)
		return KR_E_NOTFOUND;
	memcpy(p->claims, p->map + HEADER_LEN, bits_len(p));
	return KR_OK;
}

static enum kr_err begin(struct kr_store_partial *p, int pieces_fd)
{
	enum kr_err err = write_pieces_file(p, pieces_fd);

	if (err == KR_OK)
		err = map_pieces_file(p, pieces_fd);
	return err == KR_OK ? reserve(p->fd, p->size_bytes) : err;
}

/* Open both files of @p with @flags and do @then with them. */
static enum kr_err with_files(struct kr_store_partial *p, int flags,
			      enum kr_err (*then)(struct kr_store_partial *,
						  int pieces_fd))
{
	const struct kr_digest *d = &p->entry->digest;
	char path[KR_STORE_PATH_MAX];
	enum kr_err err;
	int pieces_fd;

	flags |= O_RDWR | O_CLOEXEC | O_NOFOLLOW;
	kr_store_path_pieces(path, d);
	pieces_fd = openat(p->store->dir_fd, path, flags, 0640);
	if (pieces_fd < 0)
		return kr_store_err(errno);
	kr_store_path_partial(path, d);
	p->fd = openat(p->store->dir_fd, path, flags, 0640);
	err = p->fd < 0 ? kr_store_err(errno) : then(p, pieces_fd);
	close(pieces_fd);
	if (err != KR_OK && p->map != NULL) {
		munmap(p->map, p->map_len);
		p->map = NULL;
	}
	if (err != KR_OK && p->fd >= 0) {
		close(p->fd);
		p->fd = -1;
	}
	return err;
}

/* Fresh files with room for all of it; on ENOSPC others make way. */
static enum kr_err create_files(struct kr_store_partial *p)
{
	enum kr_err err = KR_E_NOSPC;

	for (int i = 0; err == KR_E_NOSPC && i < KR_STORE_NOSPC_TRIES; i++) {
		(void)delete_files(p->store, &p->entry->digest);
		if (i > 0 && !kr_store_make_room(p->store, p->size_bytes))
			break;
		err = with_files(p, O_CREAT | O_EXCL, begin);
	}
	if (err == KR_OK)
		return KR_OK;
	(void)delete_files(p->store, &p->entry->digest);
	if (err == KR_E_NOSPC)
		kr_store_log_nospc(p->store, "download", p->size_bytes, false);
	return err;
}

/* Change what the pinned entry counts for. */
static void recount(struct kr_store *s, struct kr_store_entry *e,
		    uint64_t size_bytes)
{
	pthread_mutex_lock(&s->lock);
	kr_store_count_sub(s, KR_STORE_PARTIAL, e->size_bytes);
	e->size_bytes = size_bytes;
	kr_store_count_add(s, KR_STORE_PARTIAL, size_bytes);
	pthread_mutex_unlock(&s->lock);
}

static enum kr_err start_over(struct kr_store_partial *p)
{
	enum kr_err err;

	recount(p->store, p->entry, 0);
	err = kr_store_take(p->store, KR_STORE_PARTIAL, p->size_bytes,
			    "download");
	if (err != KR_OK) {
		(void)delete_files(p->store, &p->entry->digest);
		return err;
	}
	pthread_mutex_lock(&p->store->lock);
	p->entry->size_bytes = p->size_bytes;
	pthread_mutex_unlock(&p->store->lock);
	return create_files(p);
}

/* Pin the entry of @d, new or old.  @ret_old: a previous run left files. */
static enum kr_err pin_partial(struct kr_store *s, const struct kr_digest *d,
			       struct kr_store_entry **ret, bool *ret_old)
{
	struct kr_store_entry *blob, *e;
	enum kr_err err = KR_OK;

	pthread_mutex_lock(&s->lock);
	kr_store_find_settled(s, d, &blob, &e);
	*ret_old = e != NULL;
	if (blob != NULL || (e != NULL && e->pins > 0))
		err = KR_E_EXISTS;
	else if (e == NULL)
		err = kr_store_entry_add(s, KR_STORE_PARTIAL, d, &e);
	else
		kr_store_pin(s, e);
	if (err == KR_OK) {
		e->state = KR_STORE_COMING;
		s->handle_count++;
		*ret = e;
	}
	pthread_mutex_unlock(&s->lock);
	return err;
}

/* Undo pin_partial.  @old: the files of a previous run are still there. */
static void unpin_partial(struct kr_store *s, struct kr_store_entry *e,
			  bool old)
{
	pthread_mutex_lock(&s->lock);
	s->handle_count--;
	if (old) {
		e->state = KR_STORE_READY;
		kr_store_unpin(s, e);
		pthread_cond_broadcast(&s->changed);
	} else {
		kr_store_count_sub(s, KR_STORE_PARTIAL, e->size_bytes);
		kr_store_entry_free(s, e);
	}
	pthread_mutex_unlock(&s->lock);
}

/* @old becomes false once the files of a previous run are given up. */
static enum kr_err open_pinned(struct kr_store_partial *p, bool *old)
{
	enum kr_err err = alloc_bits(p);

	if (err != KR_OK)
		return err;
	if (*old)
		err = with_files(p, 0, resume);
	if (*old && err != KR_E_NOTFOUND)
		return err;
	*old = false;
	err = start_over(p);
	/* A folder of ours is gone: that is no word about the blob. */
	return err == KR_E_NOTFOUND ? KR_E_IO : err;
}

static enum kr_err new_partial(struct kr_store *s, uint64_t size_bytes,
			       uint32_t piece_bytes,
			       struct kr_store_partial **ret)
{
	struct kr_store_partial *p;
	uint64_t count;

	if (piece_bytes == 0 || size_bytes > INT64_MAX)
		return KR_E_INVALID;
	count = size_bytes / piece_bytes + (size_bytes % piece_bytes != 0);
	if (count > PIECE_COUNT_MAX)
		return KR_E_INVALID;
	p = calloc(1, sizeof(*p));
	if (p == NULL)
		return KR_E_NOMEM;
	p->store = s;
	p->fd = -1;
	p->size_bytes = size_bytes;
	p->piece_bytes = piece_bytes;
	p->piece_count = (uint32_t)count;
	*ret = p;
	return KR_OK;
}

enum kr_err kr_store_partial_open(struct kr_store *s, const struct kr_digest *d,
				  uint64_t size_bytes, uint32_t piece_bytes,
				  struct kr_store_partial **ret)
{
	struct kr_store_partial *p;
	enum kr_err err = new_partial(s, size_bytes, piece_bytes, &p);
	bool old;

	if (err != KR_OK)
		return err;
	err = pin_partial(s, d, &p->entry, &old);
	if (err != KR_OK) {
		free(p);
		return err;
	}
	err = open_pinned(p, &old);
	if (err != KR_OK) {
		unpin_partial(s, p->entry, old);
		release(p);
		return err;
	}
	pthread_mutex_lock(&s->lock);
	p->entry->state = KR_STORE_READY;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
	*ret = p;
	return KR_OK;
}

/* ---- while it is open ---------------------------------------------------*/

int kr_store_partial_fd(const struct kr_store_partial *p)
{
	return p->fd;
}

bool kr_store_partial_claims(const struct kr_store_partial *p, uint32_t piece)
{
	kr_assert(piece < p->piece_count);
	return (p->claims[piece / 8] >> (piece % 8)) & 1;
}

void kr_store_partial_mark(struct kr_store_partial *p, uint32_t piece)
{
	const uint8_t bit = (uint8_t)(1u << (piece % 8));

	kr_assert(piece < p->piece_count);
	if (atomic_fetch_or(&p->marked[piece / 8], bit) & bit)
		return;
	__atomic_fetch_or(&p->map[HEADER_LEN + piece / 8], bit,
			  __ATOMIC_RELAXED);
	atomic_fetch_add(&p->marked_count, 1);
}

/* ---- commit and close ---------------------------------------------------*/

/* [locked] */
static void wait_for_keep(struct kr_store *s, const struct kr_store_entry *e)
{
	while (e->keep_busy)
		pthread_cond_wait(&s->changed, &s->lock);
	kr_assert(e->pins == 1);
}

/* The partial is the blob now: free @p and what stood for it. */
static void become_blob(struct kr_store_partial *p, struct kr_store_entry *blob)
{
	struct kr_store *s = p->store;
	struct kr_store_entry *e = p->entry;
	char path[KR_STORE_PATH_MAX];

	bool keep;

	kr_store_path_pieces(path, &e->digest);
	(void)kr_store_trash(s, path);
	pthread_mutex_lock(&s->lock);
	wait_for_keep(s, e); /* no new one: the blob's entry is COMING */
	keep = e->keep;
	pthread_mutex_unlock(&s->lock);
	kr_store_publish(s, blob, KR_STORE_PARTIAL, p->size_bytes, keep);
	pthread_mutex_lock(&s->lock);
	s->handle_count--;
	kr_store_entry_free(s, e);
	pthread_mutex_unlock(&s->lock);
	release(p);
}

enum kr_err kr_store_partial_commit(struct kr_store_partial *p)
{
	struct kr_store *s = p->store;
	char path[KR_STORE_PATH_MAX];
	struct kr_store_entry *blob;
	enum kr_err err;

	kr_assert(atomic_load(&p->marked_count) == p->piece_count);
	if (fdatasync(p->fd) < 0)
		return kr_store_err(errno);
	err = kr_store_claim(s, &p->entry->digest, &blob);
	if (err == KR_E_EXISTS) {
		kr_store_partial_close(p, false);
		return KR_OK;
	}
	if (err != KR_OK)
		return err;
	kr_store_path_partial(path, &p->entry->digest);
	err = kr_store_publish_file(s, path, &p->entry->digest);
	if (err != KR_OK) {
		kr_store_abandon(s, blob);
		return err;
	}
	become_blob(p, blob);
	return KR_OK;
}

void kr_store_partial_close(struct kr_store_partial *p, bool keep)
{
	struct kr_store_entry *e, *blob;
	struct kr_store *s;

	if (p == NULL)
		return;
	s = p->store;
	e = p->entry;
	if (keep)
		kr_store_touch(p->fd, kr_clock_wall_ns());
	release(p); /* before another may open it */
	pthread_mutex_lock(&s->lock);
	wait_for_keep(s, e);
	s->handle_count--;
	kr_store_unpin(s, e);
	blob = kr_store_find(s, KR_STORE_BLOB, &e->digest);
	if (!keep && e->keep && blob != NULL && blob->state == KR_STORE_READY)
		kr_store_set_keep(s, blob, true); /* came another way */
	if (!keep && kr_store_drop(s, e) != KR_OK)
		kr_log_warn("store", "a canceled download cannot be deleted",
			    KR_STR("dir", s->dir));
	pthread_mutex_unlock(&s->lock);
}
