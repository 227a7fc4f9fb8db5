#define _GNU_SOURCE
#include "core/store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/log.h"

static const uint64_t NOSPC_LOG_NS = UINT64_C(10000000000);

enum kr_err kr_store_err(int errnum)
{
	const enum kr_err err = kr_err_from_errno(errnum);

	switch (err) {
	case KR_E_NOSPC:
	case KR_E_NOMEM:
	case KR_E_NOFILE:
	case KR_E_NOTFOUND:
		return err;
	default:
		return KR_E_IO;
	}
}

char *kr_store_name(const struct kr_digest *d, char buf[KR_STORE_NAME_MAX])
{
	size_t prefix = 0;

	if (d->alg != KR_SHA256)
		prefix = (size_t)snprintf(buf, KR_STORE_NAME_MAX, "%s-",
					  kr_digest_alg_name(d->alg));
	kr_digest_print_hex(d, buf + prefix);
	return buf;
}

enum kr_err kr_store_name_parse(const char *name, size_t len,
				struct kr_digest *ret)
{
	static const char sha256[] = "sha256:";
	const char *dash = memchr(name, '-', len);
	const size_t prefix = dash ? 0 : strlen(sha256);
	char text[KR_DIGEST_TEXT_MAX];

	if (len >= sizeof(text) - prefix)
		return KR_E_INVALID;
	memcpy(text, sha256, prefix);
	memcpy(text + prefix, name, len);
	if (dash != NULL)
		text[dash - name] = ':';
	if (kr_digest_parse(text, prefix + len, ret) != KR_OK ||
	    (dash != NULL) != (ret->alg != KR_SHA256))
		return KR_E_INVALID;
	return KR_OK;
}

void kr_store_path_blob(char *path, const struct kr_digest *d)
{
	char hex[KR_DIGEST_TEXT_MAX];

	kr_digest_print_hex(d, hex);
	snprintf(path, KR_STORE_PATH_MAX, "blobs/%s/%.2s/%s",
		 kr_digest_alg_name(d->alg), hex, hex);
}

static void join(char *path, const char *folder, const struct kr_digest *d,
		 const char *suffix)
{
	char name[KR_STORE_NAME_MAX];

	snprintf(path, KR_STORE_PATH_MAX, "%s/%s%s", folder,
		 kr_store_name(d, name), suffix);
}

void kr_store_path_partial(char *path, const struct kr_digest *d)
{
	join(path, "partial", d, "");
}

void kr_store_path_pieces(char *path, const struct kr_digest *d)
{
	join(path, "partial", d, ".pieces");
}

void kr_store_path_meta(char *path, const struct kr_digest *d)
{
	join(path, "meta", d, "");
}

void kr_store_path_keep(char *path, const struct kr_digest *d)
{
	join(path, "meta", d, ".keep");
}

void kr_store_path_temp(struct kr_store *s, char *path)
{
	const uint64_t seq = atomic_fetch_add(&s->temp_seq, 1);

	snprintf(path, KR_STORE_PATH_MAX, "trash/%" PRIu64, seq);
}

enum kr_err kr_store_write_all(int fd, const void *buf, size_t len)
{
	const uint8_t *p = buf;

	while (len > 0) {
		const ssize_t n = write(fd, p, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return kr_store_err(errno);
		p += n;
		len -= (size_t)n;
	}
	return KR_OK;
}

enum kr_err kr_store_sync_dir(struct kr_store *s, const char *path)
{
	enum kr_err err = KR_OK;
	const int fd =
		openat(s->dir_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return kr_store_err(errno);
	if (fsync(fd) < 0)
		err = kr_store_err(errno);
	close(fd);
	return err;
}

static enum kr_err read_exactly(int fd, uint8_t *buf, size_t len)
{
	size_t done = 0;

	while (done < len) {
		const ssize_t n = read(fd, buf + done, len - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return kr_store_err(errno);
		if (n == 0)
			return KR_E_IO;
		done += (size_t)n;
	}
	return KR_OK;
}

enum kr_err kr_store_read_file(struct kr_store *s, const char *path,
			       size_t max_bytes, uint8_t **ret, size_t *ret_len)
{
	enum kr_err err = KR_OK;
	uint8_t *buf = NULL;
	struct stat st;
	const int fd = openat(s->dir_fd, path,
			      O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

	if (fd < 0)
		return kr_store_err(errno);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		err = KR_E_IO;
	else if ((uint64_t)st.st_size > max_bytes)
		err = KR_E_TOOBIG;
	if (err == KR_OK) {
		buf = malloc((size_t)st.st_size + 1);
		err = buf ? read_exactly(fd, buf, (size_t)st.st_size)
			  : KR_E_NOMEM;
	}
	if (err == KR_OK) {
		*ret = buf;
		*ret_len = (size_t)st.st_size;
		buf = NULL;
	}
	free(buf);
	close(fd);
	return err;
}

enum kr_err kr_store_write_temp(struct kr_store *s, char *temp, const void *buf,
				size_t len)
{
	enum kr_err err;
	int fd;

	kr_store_path_temp(s, temp);
	fd = openat(s->dir_fd, temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
		    0640);
	if (fd < 0)
		return kr_store_err(errno);
	err = kr_store_write_all(fd, buf, len);
	if (err == KR_OK && fdatasync(fd) < 0)
		err = kr_store_err(errno);
	if (close(fd) < 0 && err == KR_OK)
		err = kr_store_err(errno);
	if (err != KR_OK)
		unlinkat(s->dir_fd, temp, 0);
	return err;
}

enum kr_err kr_store_replace_file(struct kr_store *s, const char *path,
				  const void *buf, size_t len)
{
	char temp[KR_STORE_PATH_MAX];
	enum kr_err err = kr_store_write_temp(s, temp, buf, len);

	if (err != KR_OK)
		return err;
	if (renameat(s->dir_fd, temp, s->dir_fd, path) < 0) {
		err = kr_store_err(errno);
		unlinkat(s->dir_fd, temp, 0);
	}
	return err;
}

bool kr_store_trash(struct kr_store *s, const char *path)
{
	char temp[KR_STORE_PATH_MAX];
	const char *last = path;

	kr_store_path_temp(s, temp);
	if (renameat(s->dir_fd, path, s->dir_fd, temp) == 0)
		last = temp;
	else if (errno == ENOENT)
		return true;
	if (unlinkat(s->dir_fd, last, 0) == 0 || errno == ENOENT)
		return true;
	kr_log_error("store", "cannot delete a file; check the disk",
		     KR_STR("dir", s->dir), KR_STR("file", last),
		     KR_STR("cause", strerror(errno)));
	return last == temp; /* out of sight; the next open tries again */
}

/* Make blobs/<algorithm>/<aa>, whose path is in @folder, durably. */
static enum kr_err make_folder(struct kr_store *s, const char *folder,
			       const struct kr_digest *d)
{
	char parent[KR_STORE_PATH_MAX];

	if (mkdirat(s->dir_fd, folder, 0750) < 0)
		return errno == EEXIST ? KR_OK : kr_store_err(errno);
	snprintf(parent, sizeof(parent), "blobs/%s",
		 kr_digest_alg_name(d->alg));
	return kr_store_sync_dir(s, parent);
}

enum kr_err kr_store_publish_file(struct kr_store *s, const char *path,
				  const struct kr_digest *d)
{
	char blob[KR_STORE_PATH_MAX], folder[KR_STORE_PATH_MAX];
	enum kr_err err;

	kr_store_path_blob(blob, d);
	memcpy(folder, blob, sizeof(folder));
	*strrchr(folder, '/') = '\0';
	err = make_folder(s, folder, d);
	if (err != KR_OK)
		return err;
	if (renameat(s->dir_fd, path, s->dir_fd, blob) < 0)
		return kr_store_err(errno);
	err = kr_store_sync_dir(s, folder);
	if (err != KR_OK && renameat(s->dir_fd, blob, s->dir_fd, path) < 0) {
		kr_log_error("store", "a blob that is not durable is lost",
			     KR_STR("dir", s->dir), KR_DIGEST("blob", d),
			     KR_STR("cause", strerror(errno)));
		(void)kr_store_trash(s, blob);
	}
	return err;
}

uint64_t kr_store_free_bytes(struct kr_store *s)
{
	struct statvfs fs;

	if (fstatvfs(s->dir_fd, &fs) < 0)
		return UINT64_MAX; /* let the write find out */
	return (uint64_t)fs.f_bavail * fs.f_frsize;
}

void kr_store_touch(int fd, uint64_t wall_ns)
{
	const struct timespec times[2] = {
		{ .tv_nsec = UTIME_OMIT },
		{ .tv_sec = (time_t)(wall_ns / 1000000000u),
		  .tv_nsec = (long)(wall_ns % 1000000000u) },
	};

	/* Losing it costs a less good choice of what to evict. */
	(void)futimens(fd, times);
}

void kr_store_log_nospc(struct kr_store *s, const char *what,
			uint64_t wanted_bytes, bool is_quota)
{
	const uint64_t now_ns = kr_clock_mono_ns();
	uint_fast64_t last_ns = atomic_load(&s->nospc_logged_ns);
	struct kr_store_usage use;

	if (last_ns != 0 && now_ns - last_ns < NOSPC_LOG_NS)
		return;
	if (!atomic_compare_exchange_strong(&s->nospc_logged_ns, &last_ns,
					    now_ns))
		return;
	kr_store_usage(s, &use);
	kr_log_warn("store",
		    is_quota ? "quota reached and nothing left to evict: raise "
			       "the store's quota, or wait until blobs in use "
			       "or pending write-back are released"
			     : "disk full: free space on the file system or "
			       "lower the store's quota below its size",
		    KR_STR("dir", s->dir), KR_STR("refused", what),
		    KR_U64("wanted_bytes", wanted_bytes),
		    KR_U64("quota_bytes", use.quota_bytes),
		    KR_U64("blob_bytes", use.blob_bytes),
		    KR_U64("partial_bytes", use.partial_bytes),
		    KR_U64("upload_bytes", use.upload_bytes));
}
