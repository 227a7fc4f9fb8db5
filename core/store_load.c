/*
 * The walk at open.  The names on disk are the truth; what does not fit them
 * is moved to trash/ (and deleted by the next open, so that there is time to
 * look), or, where we do not know what it is, reported and left alone.
 *
 * Nobody else uses the store yet: no lock is taken.
 */
#define _GNU_SOURCE
#include "core/store_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/log.h"

typedef enum kr_err found_fn(struct kr_store *s, const char *folder,
			     const char *name, const struct stat *st);

static uint64_t ns_of(const struct timespec *t)
{
	return (uint64_t)t->tv_sec * 1000000000u + (uint64_t)t->tv_nsec;
}

/* Out of the way until the next open. */
static void put_aside(struct kr_store *s, const char *path, const char *why)
{
	char temp[KR_STORE_PATH_MAX];
	int failed;

	kr_store_path_temp(s, temp);
	failed = renameat(s->dir_fd, path, s->dir_fd, temp);
	kr_log_warn("store", failed ? "cannot move to trash" : "moved to trash",
		    KR_STR("dir", s->dir), KR_STR("file", path),
		    KR_STR("why", why), KR_STR("to", failed ? NULL : temp));
}

static enum kr_err for_each_file(struct kr_store *s, const char *folder,
				 found_fn *found)
{
	enum kr_err err = KR_OK;
	const struct dirent *it;
	const int fd =
		openat(s->dir_fd, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (d == NULL) {
		err = kr_store_err(errno);
		if (fd >= 0)
			close(fd);
		return err;
	}
	while (errno = 0, err == KR_OK && (it = readdir(d)) != NULL) {
		struct stat st;
		if (strcmp(it->d_name, ".") == 0 ||
		    strcmp(it->d_name, "..") == 0)
			continue;
		if (fstatat(fd, it->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
			err = found(s, folder, it->d_name, &st);
		else if (errno != ENOENT)
			err = kr_store_err(errno);
	}
	if (err == KR_OK && errno != 0) /* else what is there is not counted */
		err = kr_store_err(errno);
	closedir(d);
	return err;
}

/* folder/name, cut if the name is longer than any of ours. */
static void path_of(char *path, const char *folder, const char *name)
{
	snprintf(path, KR_STORE_PATH_MAX, "%.50s/%.200s", folder, name);
}

static enum kr_err add_entry(struct kr_store *s, enum kr_store_kind kind,
			     const struct kr_digest *d, uint64_t size_bytes,
			     uint64_t used_wall_ns)
{
	struct kr_store_entry *e;
	const enum kr_err err = kr_store_entry_add(s, kind, d, &e);

	if (err != KR_OK)
		return err;
	e->size_bytes = size_bytes;
	e->used_wall_ns = e->saved_wall_ns = used_wall_ns;
	e->state = KR_STORE_READY;
	e->pins = 0; /* into the LRU list once all are known */
	kr_store_count_add(s, kind, size_bytes);
	return KR_OK;
}

/* ---- blobs --------------------------------------------------------------*/

static enum kr_err found_blob(struct kr_store *s, const char *folder,
			      const char *name, const struct stat *st)
{
	char path[KR_STORE_PATH_MAX], right[KR_STORE_PATH_MAX];
	char text[KR_STORE_PATH_MAX];
	struct kr_digest d;
	int len;

	path_of(path, folder, name);
	/* folder is blobs/<algorithm>/<aa> */
	len = snprintf(text, sizeof(text), "%.6s:%.200s",
		       folder + strlen("blobs/"), name);
	if (kr_digest_parse(text, (size_t)len, &d) == KR_OK) {
		kr_store_path_blob(right, &d);
		if (strcmp(path, right) == 0 && S_ISREG(st->st_mode))
			return add_entry(s, KR_STORE_BLOB, &d,
					 (uint64_t)st->st_size,
					 ns_of(&st->st_mtim));
	}
	put_aside(s, path, "not a blob's name");
	return KR_OK;
}

static enum kr_err found_shard(struct kr_store *s, const char *folder,
			       const char *name, const struct stat *st)
{
	char path[KR_STORE_PATH_MAX];

	path_of(path, folder, name);
	if (S_ISDIR(st->st_mode) && strlen(name) == 2 &&
	    strspn(name, "0123456789abcdef") == 2)
		return for_each_file(s, path, found_blob);
	put_aside(s, path, "not a folder of blobs");
	return KR_OK;
}

/* ---- partials -----------------------------------------------------------*/

static enum kr_err found_partial(struct kr_store *s, const char *folder,
				 const char *name, const struct stat *st)
{
	static const char suffix[] = ".pieces";
	const size_t cut = sizeof(suffix) - 1, len = strlen(name);
	char path[KR_STORE_PATH_MAX];
	struct kr_digest d;
	uint64_t size_bytes;
	struct stat data;

	path_of(path, folder, name);
	if (len > cut && strcmp(name + len - cut, suffix) == 0 &&
	    kr_store_name_parse(name, len - cut, &d) == KR_OK) {
		kr_store_path_partial(path, &d);
		if (fstatat(s->dir_fd, path, &data, AT_SYMLINK_NOFOLLOW) == 0)
			return KR_OK; /* counted with its data */
		path_of(path, folder, name);
		put_aside(s, path, "claims without data");
		return KR_OK;
	}
	if (kr_store_name_parse(name, len, &d) != KR_OK ||
	    !S_ISREG(st->st_mode)) {
		put_aside(s, path, "not a partial's name");
		return KR_OK;
	}
	if (kr_store_find(s, KR_STORE_BLOB, &d) == NULL &&
	    kr_store_partial_peek(s, &d, &size_bytes) == KR_OK &&
	    (uint64_t)st->st_size == size_bytes)
		return add_entry(s, KR_STORE_PARTIAL, &d, size_bytes,
				 ns_of(&st->st_mtim));
	put_aside(s, path, "complete already, or cannot be resumed");
	kr_store_path_pieces(path, &d);
	(void)kr_store_trash(s, path);
	return KR_OK;
}

/* ---- uploads ------------------------------------------------------------*/

static enum kr_err found_upload(struct kr_store *s, const char *folder,
				const char *name, const struct stat *st)
{
	static const char suffix[] = ".state";
	const size_t len = strlen(name);
	struct kr_store_session *u;
	char path[KR_STORE_PATH_MAX];
	struct stat data;

	path_of(path, folder, name);
	if (len == KR_STORE_UUID_LEN + sizeof(suffix) - 1 &&
	    kr_store_uuid_ok(name, KR_STORE_UUID_LEN) &&
	    strcmp(name + KR_STORE_UUID_LEN, suffix) == 0) {
		path[strlen(path) - strlen(suffix)] = '\0';
		if (fstatat(s->dir_fd, path, &data, AT_SYMLINK_NOFOLLOW) == 0)
			return KR_OK;
		path_of(path, folder, name);
		put_aside(s, path, "state without an upload");
		return KR_OK;
	}
	if (!kr_store_uuid_ok(name, len) || !S_ISREG(st->st_mode)) {
		put_aside(s, path, "not an upload's name");
		return KR_OK;
	}
	u = calloc(1, sizeof(*u));
	if (u == NULL)
		return KR_E_NOMEM;
	memcpy(u->uuid, name, KR_STORE_UUID_LEN);
	u->size_bytes = (uint64_t)st->st_size;
	u->used_wall_ns = ns_of(&st->st_mtim);
	kr_list_add_tail(&s->sessions, &u->link);
	s->count[KR_STORE_UPLOAD]++;
	kr_store_count_add(s, KR_STORE_UPLOAD, u->size_bytes);
	return KR_OK;
}

/* ---- metainfo and keep markers ------------------------------------------*/

static enum kr_err found_meta(struct kr_store *s, const char *folder,
			      const char *name, const struct stat *st)
{
	static const char suffix[] = ".keep";
	size_t len = strlen(name);
	struct kr_store_entry *blob, *partial;
	char path[KR_STORE_PATH_MAX];
	bool is_keep = false;
	struct kr_digest d;

	path_of(path, folder, name);
	if (len > strlen(suffix) &&
	    strcmp(name + len - strlen(suffix), suffix) == 0) {
		len -= strlen(suffix);
		is_keep = true;
	}
	if (kr_store_name_parse(name, len, &d) != KR_OK ||
	    !S_ISREG(st->st_mode)) {
		put_aside(s, path, "not a metainfo's name");
		return KR_OK;
	}
	blob = kr_store_find(s, KR_STORE_BLOB, &d);
	partial = kr_store_find(s, KR_STORE_PARTIAL, &d);
	if (blob == NULL && partial == NULL)
		put_aside(s, path, "there is no such blob");
	else if (is_keep)
		(blob ? blob : partial)->keep = true;
	return KR_OK;
}

/* ---- the root, and all together -----------------------------------------*/

static enum kr_err found_in_root(struct kr_store *s, const char *folder,
				 const char *name, const struct stat *st)
{
	static const char *const ours[] = { "blobs", "partial", "uploads",
					    "meta",  "trash",   "lost+found" };

	(void)folder;
	if (!S_ISDIR(st->st_mode))
		return KR_OK; /* the process keeps files of its own beside us */
	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		if (strcmp(name, ours[i]) == 0)
			return KR_OK;
	kr_log_warn("store", "a folder that is not ours is left alone",
		    KR_STR("dir", s->dir), KR_STR("name", name));
	return KR_OK;
}

static int by_use(const void *a, const void *b)
{
	const struct kr_store_entry *const *x = a, *const *y = b;

	return ((*x)->used_wall_ns > (*y)->used_wall_ns) -
	       ((*x)->used_wall_ns < (*y)->used_wall_ns);
}

/* Build the LRU list: oldest first, without what is kept. */
static enum kr_err sort_entries(struct kr_store *s)
{
	const size_t count =
		s->count[KR_STORE_BLOB] + s->count[KR_STORE_PARTIAL];
	struct kr_store_entry **all =
		calloc(count + 1, sizeof(struct kr_store_entry *));
	size_t n = 0;

	if (all == NULL)
		return KR_E_NOMEM;
	for (int kind = KR_STORE_BLOB; kind <= KR_STORE_PARTIAL; kind++) {
		uint32_t cursor = 0;
		void *e;
		while (kr_digest_map_next(&s->entries[kind], &cursor, NULL, &e))
			all[n++] = e;
	}
	kr_assert(n == count);
	qsort(all, n, sizeof(struct kr_store_entry *), by_use);
	for (size_t i = 0; i < n; i++)
		kr_store_set_keep(s, all[i], all[i]->keep);
	free(all);
	return KR_OK;
}

enum kr_err kr_store_load(struct kr_store *s)
{
	static const struct {
		const char *folder;
		found_fn *found;
	} steps[] = {
		{ ".", found_in_root },
		{ "blobs/sha256", found_shard },
		{ "blobs/sha512", found_shard },
		{ "partial", found_partial }, /* knows the blobs */
		{ "meta", found_meta },       /* knows blobs and partials */
		{ "uploads", found_upload },
	};
	enum kr_err err = KR_OK;

	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		err = for_each_file(s, steps[i].folder, steps[i].found);
		if (err != KR_OK)
			return err;
	}
	err = sort_entries(s);
	if (err == KR_OK)
		kr_store_expire_sessions(s);
	return err;
}
