#define _GNU_SOURCE
#include "backends/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/log.h"

enum { COPY_BYTES = 256 * 1024, TEMP_MAX = 64 };
#define TEMP_PREFIX ".kraken-tmp-"

struct file_backend {
	struct kr_backend base;
	enum kr_backend_layout layout;
	char *root;
	bool is_ours; /* the root was made by us, and may be empty */
	atomic_uint temp_seq;
	atomic_bool is_away; /* which was said */
};

static struct file_backend *self(struct kr_backend *b)
{
	return (struct file_backend *)(void *)b;
}

/* What errno means to the caller; what is nobody's fault but the disk's is
 * also told to the operator. */
static enum kr_err fail(struct file_backend *f, const char *what,
			const char *path, int errnum)
{
	const enum kr_err err = kr_err_from_errno(errnum);

	if (err != KR_E_NOTFOUND)
		kr_log_error("backend-file", what, KR_STR("root", f->root),
			     KR_STR("path", path), KR_ERR("error", err),
			     KR_STR("errno", strerror(errnum)));
	return err;
}

/* Once, until something was found there again. */
static enum kr_err say_away(struct file_backend *f, const char *what)
{
	if (!atomic_exchange(&f->is_away, true))
		kr_log_error("backend-file", what, KR_STR("root", f->root),
			     KR_STR("do", "mount it, or make it, or correct "
					  "backend.file.root_directory"));
	return KR_E_UNAVAILABLE;
}

static enum kr_err fail_root(struct file_backend *f, int errnum)
{
	return errnum == ENOENT || errnum == ENOTDIR
		       ? say_away(f, "the root directory is gone")
		       : fail(f, "cannot open the root", "", errnum);
}

/* The root is what has its name now: a descriptor that is kept would go on
 * reading what was moved away or is mounted no more.  Where there is none, the
 * storage cannot be asked, which is not "no such object". */
static enum kr_err open_root(struct file_backend *f, int *ret_fd)
{
	const int fd = open(f->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return fail_root(f, errno);
	*ret_fd = fd;
	return KR_OK;
}

/* An object is not there.  What an unmounted file system leaves is an empty
 * directory, which would say that of everything. */
static enum kr_err judge_absent(struct file_backend *f)
{
	DIR *dir;
	const struct dirent *e;

	if (f->is_ours)
		return KR_E_NOTFOUND;
	dir = opendir(f->root);
	if (dir == NULL)
		return fail_root(f, errno);
	do
		e = readdir(dir);
	while (e != NULL &&
	       (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0));
	const bool is_empty = e == NULL;
	(void)closedir(dir);
	return is_empty ? say_away(f, "the root directory is empty; is it "
				      "mounted?")
			: KR_E_NOTFOUND;
}

/* ---- reading ---- */

static enum kr_err open_object(struct file_backend *f, const char *name,
			       char *path, int *ret_fd, struct stat *st)
{
	enum kr_err err =
		kr_backend_path(f->layout, name, path, KR_BACKEND_PATH_MAX);
	int root = -1, fd;

	if (err != KR_OK)
		return err == KR_E_TOOBIG ? KR_E_INVALID : err;
	err = open_root(f, &root);
	if (err != KR_OK)
		return err;
	fd = openat(root, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	const int errnum = errno;
	(void)close(root);
	if (fd < 0 && errnum == ENOENT)
		return judge_absent(f);
	if (fd < 0)
		return fail(f, "cannot open", path, errnum);
	atomic_store(&f->is_away, false);
	if (fstat(fd, st) < 0) {
		err = fail(f, "cannot stat", path, errno);
		(void)close(fd);
		return err;
	}
	if (!S_ISREG(st->st_mode)) {
		(void)close(fd);
		return KR_E_NOTFOUND;
	}
	*ret_fd = fd;
	return KR_OK;
}

static enum kr_err file_stat(struct kr_backend *b, const char *name,
			     uint64_t *ret_size_bytes)
{
	char path[KR_BACKEND_PATH_MAX];
	struct stat st;
	int fd = -1;
	enum kr_err err = open_object(self(b), name, path, &fd, &st);

	if (err != KR_OK)
		return err;
	(void)close(fd);
	*ret_size_bytes = (uint64_t)st.st_size;
	return KR_OK;
}

static int write_all(int fd, const char *buf, size_t len, off_t at)
{
	while (len > 0) {
		const ssize_t n = pwrite(fd, buf, len, at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno;
		buf += n;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

/* Copy @len bytes at @at from @in to @out at the same offsets.  *ret_short:
 * @in ended before.  Returns an errno. */
static int copy_range(int in, int out, uint64_t at, uint64_t len,
		      bool *ret_short)
{
	char *buf = malloc(COPY_BYTES);
	int errnum = 0;

	*ret_short = false;
	if (buf == NULL)
		return ENOMEM;
	while (len > 0 && errnum == 0) {
		const size_t want = len < COPY_BYTES ? (size_t)len : COPY_BYTES;
		const ssize_t n = pread(in, buf, want, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			errnum = n < 0 ? errno : 0;
			*ret_short = n == 0;
			break;
		}
		errnum = write_all(out, buf, (size_t)n, (off_t)at);
		at += (uint64_t)n;
		len -= (uint64_t)n;
	}
	free(buf);
	return errnum;
}

static enum kr_err file_get(struct kr_backend *b, const char *name,
			    uint64_t offset_bytes, uint64_t len_bytes, int fd)
{
	struct file_backend *f = self(b);
	char path[KR_BACKEND_PATH_MAX];
	struct stat st;
	bool cut;
	int in = -1;
	enum kr_err err = open_object(f, name, path, &in, &st);

	if (err != KR_OK)
		return err;
	const uint64_t size = (uint64_t)st.st_size;
	if (offset_bytes > size ||
	    (len_bytes != UINT64_MAX && len_bytes > size - offset_bytes)) {
		err = KR_E_RANGE;
		goto out;
	}
	if (len_bytes == UINT64_MAX)
		len_bytes = size - offset_bytes;
	const int errnum = copy_range(in, fd, offset_bytes, len_bytes, &cut);
	if (errnum != 0)
		err = fail(f, "cannot copy", path, errnum);
	else if (cut)
		err = KR_E_RANGE;
out:
	(void)close(in);
	return err;
}

/* ---- writing ---- */

static int sync_dir(int dir_fd)
{
	return fsync(dir_fd) < 0 ? errno : 0;
}

/* Step into @name below *dir_fd, making it (durably) if it is missing. */
static int step_into(int *dir_fd, const char *name)
{
	int errnum = 0;

	if (mkdirat(*dir_fd, name, 0755) == 0)
		errnum = sync_dir(*dir_fd);
	else if (errno != EEXIST)
		errnum = errno;
	if (errnum != 0)
		return errnum;
	const int next =
		openat(*dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (next < 0)
		return errno;
	(void)close(*dir_fd);
	*dir_fd = next;
	return 0;
}

/* The directory of @path, made; *ret_leaf is the rest of @path. */
static enum kr_err open_dir_of(struct file_backend *f, char *path, int *ret_fd,
			       const char **ret_leaf)
{
	char *part = path, *slash;
	int fd = -1, errnum = 0;
	const enum kr_err err = open_root(f, &fd);

	if (err != KR_OK)
		return err;
	atomic_store(&f->is_away, false);
	while (errnum == 0 && (slash = strchr(part, '/')) != NULL) {
		*slash = '\0';
		errnum = step_into(&fd, part);
		*slash = '/';
		part = slash + 1;
	}
	if (errnum != 0) {
		(void)close(fd);
		return fail(f, "cannot make the directory", path, errnum);
	}
	*ret_fd = fd;
	*ret_leaf = part;
	return KR_OK;
}

/* Fill, sync and rename the temporary file @temp.  Returns an errno. */
static int fill_and_rename(int dir_fd, const char *temp, const char *leaf,
			   int fd, uint64_t size, bool *ret_short)
{
	const int out = openat(dir_fd, temp,
			       O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	int errnum;

	if (out < 0)
		return errno;
	errnum = copy_range(fd, out, 0, size, ret_short);
	if (errnum == 0 && fdatasync(out) < 0)
		errnum = errno;
	if (close(out) < 0 && errnum == 0)
		errnum = errno;
	if (errnum == 0 && !*ret_short &&
	    renameat(dir_fd, temp, dir_fd, leaf) < 0)
		errnum = errno;
	if (errnum != 0 || *ret_short)
		(void)unlinkat(dir_fd, temp, 0);
	else
		errnum = sync_dir(dir_fd);
	return errnum;
}

static enum kr_err file_put(struct kr_backend *b, const char *name, int fd,
			    uint64_t size_bytes)
{
	struct file_backend *f = self(b);
	char path[KR_BACKEND_PATH_MAX], temp[TEMP_MAX];
	const char *leaf = path;
	bool cut = false;
	int dir_fd = -1, errnum;
	enum kr_err err = kr_backend_path(f->layout, name, path, sizeof(path));

	if (err != KR_OK)
		return err == KR_E_TOOBIG ? KR_E_INVALID : err;
	err = open_dir_of(f, path, &dir_fd, &leaf);
	if (err != KR_OK)
		return err;
	(void)snprintf(temp, sizeof(temp), TEMP_PREFIX "%ld-%u", (long)getpid(),
		       atomic_fetch_add(&f->temp_seq, 1));
	/* Of a process of the same id that crashed. */
	(void)unlinkat(dir_fd, temp, 0);
	errnum = fill_and_rename(dir_fd, temp, leaf, fd, size_bytes, &cut);
	(void)close(dir_fd);
	if (errnum != 0)
		return fail(f, "cannot store", path, errnum);
	return cut ? KR_E_CORRUPT : KR_OK;
}

/* ---- listing ---- */

/* false: the visitor has had enough. */
static bool visit(struct file_backend *f, const FTSENT *e, const char *prefix,
		  kr_backend_list_fn *fn, void *ctx)
{
	char name[KR_BACKEND_PATH_MAX];

	if (e->fts_info != FTS_F ||
	    strncmp(e->fts_name, TEMP_PREFIX, strlen(TEMP_PREFIX)) == 0)
		return true;
	if (kr_backend_name(f->layout, e->fts_path + strlen(f->root) + 1, name,
			    sizeof(name)) != KR_OK ||
	    strncmp(name, prefix, strlen(prefix)) != 0)
		return true;
	return fn(ctx, name);
}

static enum kr_err file_list(struct kr_backend *b, const char *prefix,
			     kr_backend_list_fn *fn, void *ctx)
{
	struct file_backend *f = self(b);
	char *roots[] = { f->root, NULL };
	FTSENT *e;
	int root = -1, errnum = 0;
	const enum kr_err err = open_root(f, &root);

	if (err != KR_OK)
		return err;
	(void)close(root);
	FTS *fts = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
	if (fts == NULL)
		return fail(f, "cannot list", "", errno);
	while (errno = 0, (e = fts_read(fts)) != NULL) {
		if (e->fts_info == FTS_DNR || e->fts_info == FTS_ERR)
			errnum = e->fts_errno;
		else if (!visit(f, e, prefix, fn, ctx))
			break;
	}
	if (e == NULL && errno != 0)
		errnum = errno;
	(void)fts_close(fts);
	return errnum == 0 ? KR_OK : fail(f, "cannot list", "", errnum);
}

static void file_close(struct kr_backend *b)
{
	struct file_backend *f = self(b);

	free(f->root);
	free(f);
}

static const struct kr_backend_ops file_ops = { .type = "file",
						.stat = file_stat,
						.get = file_get,
						.put = file_put,
						.list = file_list,
						.close = file_close };

static enum kr_err make(const char *root, enum kr_backend_layout layout,
			struct file_backend **ret)
{
	struct file_backend *f = calloc(1, sizeof(*f));

	if (f == NULL)
		return KR_E_NOMEM;
	f->base.ops = &file_ops;
	f->layout = layout;
	f->root = strdup(root);
	if (f->root == NULL) {
		free(f);
		return KR_E_NOMEM;
	}
	for (size_t n = strlen(f->root); n > 1 && f->root[n - 1] == '/'; n--)
		f->root[n - 1] = '\0';
	*ret = f;
	return KR_OK;
}

enum kr_err kr_backend_file_open(const char *root,
				 enum kr_backend_layout layout,
				 struct kr_backend **ret)
{
	struct file_backend *f;
	int fd = -1;
	enum kr_err err = make(root, layout, &f);

	if (err != KR_OK)
		return err;
	f->is_ours = true;
	if (mkdir(root, 0755) < 0 && errno != EEXIST)
		err = fail(f, "cannot make the root", "", errno);
	if (err == KR_OK)
		err = open_root(f, &fd);
	if (err != KR_OK) {
		file_close(&f->base);
		return err;
	}
	(void)close(fd);
	*ret = &f->base;
	return KR_OK;
}

enum kr_err kr_backend_file_attach(const char *root,
				   enum kr_backend_layout layout,
				   struct kr_backend **ret)
{
	struct file_backend *f;
	const enum kr_err err = make(root, layout, &f);

	if (err == KR_OK)
		*ret = &f->base;
	return err;
}
