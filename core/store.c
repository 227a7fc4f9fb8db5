#define _GNU_SOURCE
#include "core/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/log.h"
#include "core/store_internal.h"

enum { HIGH_PERCENT = 95, LOW_PERCENT = 85, OF_FILE_SYSTEM_PERCENT = 90 };
static const uint64_t UPLOAD_TTL_NS = UINT64_C(24) * 3600 * 1000000000;

static const char *const folders[] = {
	"blobs",   "blobs/sha256", "blobs/sha512", "partial",
	"uploads", "meta",         "trash",
};

static uint64_t percent_of(uint64_t value, uint64_t percent)
{
	return value / 100 * percent + value % 100 * percent / 100;
}

static enum kr_err open_folders(struct kr_store *s)
{
	if (mkdir(s->dir, 0750) < 0 && errno != EEXIST)
		return kr_store_err(errno);
	s->dir_fd = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->dir_fd < 0)
		return kr_store_err(errno);
	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++)
		if (mkdirat(s->dir_fd, folders[i], 0750) < 0 && errno != EEXIST)
			return kr_store_err(errno);
	return kr_store_sync_dir(s, ".");
}

static enum kr_err take_lock(struct kr_store *s)
{
	char pid[32] = "";
	int len;

	s->lock_fd =
		openat(s->dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0640);
	if (s->lock_fd < 0)
		return kr_store_err(errno);
	if (flock(s->lock_fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK)
			return kr_store_err(errno);
		if (pread(s->lock_fd, pid, sizeof(pid) - 1, 0) <= 0)
			snprintf(pid, sizeof(pid), "unknown");
		kr_log_error("store",
			     "another process has this store open: stop it or "
			     "choose another directory",
			     KR_STR("dir", s->dir), KR_STR("pid", pid));
		return KR_E_EXISTS;
	}
	/* The number is a courtesy to whoever meets the lock; the lock holds
	 * without it, on a full disk too. */
	len = snprintf(pid, sizeof(pid), "%ld", (long)getpid());
	if (ftruncate(s->lock_fd, 0) == 0 &&
	    pwrite(s->lock_fd, pid, (size_t)len, 0) != len)
		kr_log_debug("store", "no room for the pid in the lock file");
	return KR_OK;
}

static enum kr_err set_quota(struct kr_store *s, const struct kr_store_opts *o)
{
	const uint32_t high = o->high_percent ? o->high_percent : HIGH_PERCENT;
	const uint32_t low = o->low_percent ? o->low_percent : LOW_PERCENT;
	struct statvfs fs;

	if (high > 100 || low > high)
		return KR_E_INVALID;
	s->quota_bytes = o->quota_bytes;
	if (s->quota_bytes == 0) {
		if (fstatvfs(s->dir_fd, &fs) < 0)
			return kr_store_err(errno);
		s->quota_bytes = percent_of((uint64_t)fs.f_blocks * fs.f_frsize,
					    OF_FILE_SYSTEM_PERCENT);
	}
	s->high_bytes = percent_of(s->quota_bytes, high);
	s->low_bytes = percent_of(s->quota_bytes, low);
	s->upload_ttl_ns = o->upload_ttl_ns ? o->upload_ttl_ns : UPLOAD_TTL_NS;
	return KR_OK;
}

/* What a crash or a delete left in trash/.  A folder there was moved by hand;
 * it goes if it is empty. */
static enum kr_err empty_trash(struct kr_store *s)
{
	const int fd =
		openat(s->dir_fd, "trash", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *it;

	if (d == NULL) {
		const enum kr_err err = kr_store_err(errno);
		if (fd >= 0)
			close(fd);
		return err;
	}
	while ((it = readdir(d)) != NULL) {
		if (strcmp(it->d_name, ".") == 0 ||
		    strcmp(it->d_name, "..") == 0)
			continue;
		if (unlinkat(fd, it->d_name, 0) < 0 &&
		    unlinkat(fd, it->d_name, AT_REMOVEDIR) < 0)
			kr_log_warn("store", "cannot empty trash: remove it",
				    KR_STR("dir", s->dir),
				    KR_STR("name", it->d_name),
				    KR_STR("cause", strerror(errno)));
	}
	closedir(d);
	return KR_OK;
}

static void init(struct kr_store *s)
{
	static const char *const labels[KR_STORE_KIND_COUNT] = {
		[KR_STORE_BLOB] = "kind=\"blob\"",
		[KR_STORE_PARTIAL] = "kind=\"partial\"",
		[KR_STORE_UPLOAD] = "kind=\"upload\"",
	};

	s->dir_fd = s->lock_fd = -1;
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->changed, NULL);
	kr_digest_map_open(&s->entries[KR_STORE_BLOB], kr_alloc_heap());
	kr_digest_map_open(&s->entries[KR_STORE_PARTIAL], kr_alloc_heap());
	kr_list_init(&s->lru);
	kr_list_init(&s->sessions);
	for (int kind = 0; kind < KR_STORE_KIND_COUNT; kind++)
		s->bytes_metric[kind] = kr_metrics_gauge(
			"kraken_store_bytes",
			"bytes that count against the store's quota",
			labels[kind]);
	s->evictions_metric =
		kr_metrics_counter("kraken_store_evictions_total",
				   "blobs deleted to make room", NULL);
}

static void free_entries(struct kr_store *s, enum kr_store_kind kind)
{
	uint32_t cursor = 0;
	void *e;

	while (kr_digest_map_next(&s->entries[kind], &cursor, NULL, &e))
		free(e);
	kr_digest_map_close(&s->entries[kind]);
}

static void fini(struct kr_store *s)
{
	free_entries(s, KR_STORE_BLOB);
	free_entries(s, KR_STORE_PARTIAL);
	kr_list_for_each_safe(it, &s->sessions)
	{
		kr_list_del(it);
		free(KR_CONTAINER_OF(it, struct kr_store_session, link));
	}
	for (int kind = 0; kind < KR_STORE_KIND_COUNT; kind++)
		kr_metric_sub(s->bytes_metric[kind], s->bytes[kind]);
	pthread_cond_destroy(&s->changed);
	pthread_mutex_destroy(&s->lock);
	if (s->lock_fd >= 0)
		close(s->lock_fd);
	if (s->dir_fd >= 0)
		close(s->dir_fd);
	free(s->dir);
	free(s);
}

/* The watermarks hold from the first moment, also under a smaller quota. */
static void shrink(struct kr_store *s)
{
	if (kr_store_take(s, KR_STORE_BLOB, 0, "open") != KR_OK)
		kr_log_warn("store",
			    "what is kept or uploading is above the quota: "
			    "downloads and uploads are refused until it goes",
			    KR_STR("dir", s->dir),
			    KR_U64("quota_bytes", s->quota_bytes));
}

enum kr_err kr_store_open(const struct kr_store_opts *opts,
			  struct kr_store **ret)
{
	struct kr_store *s = calloc(1, sizeof(*s));
	enum kr_err err;

	if (s == NULL)
		return KR_E_NOMEM;
	init(s);
	errno = 0;
	s->dir = strdup(opts->dir);
	err = s->dir ? open_folders(s) : KR_E_NOMEM;
	if (err == KR_OK)
		err = take_lock(s);
	if (err == KR_OK)
		err = set_quota(s, opts);
	if (err == KR_OK)
		err = empty_trash(s);
	if (err == KR_OK)
		err = kr_store_load(s);
	if (err != KR_OK) {
		if (err != KR_E_EXISTS) /* which has said more already */
			kr_log_error(
				"store", "cannot open the store",
				KR_STR("dir", opts->dir), KR_ERR("error", err),
				KR_STR("cause", errno ? strerror(errno) : ""));
		fini(s);
		return err;
	}
	shrink(s);
	*ret = s;
	return KR_OK;
}

void kr_store_close(struct kr_store *s)
{
	if (s == NULL)
		return;
	kr_assert(s->handle_count == 0);
	fini(s);
}

void kr_store_usage(struct kr_store *s, struct kr_store_usage *ret)
{
	pthread_mutex_lock(&s->lock);
	*ret = (struct kr_store_usage){
		.blob_bytes = s->bytes[KR_STORE_BLOB],
		.partial_bytes = s->bytes[KR_STORE_PARTIAL],
		.upload_bytes = s->bytes[KR_STORE_UPLOAD],
		.quota_bytes = s->quota_bytes,
		.blob_count = s->count[KR_STORE_BLOB],
		.partial_count = s->count[KR_STORE_PARTIAL],
		.upload_count = s->count[KR_STORE_UPLOAD],
		.evicted_count = s->evicted_count,
	};
	pthread_mutex_unlock(&s->lock);
}
