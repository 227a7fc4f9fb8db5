#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/programs/runtime_config.h"

enum kr_err kr_rtc_read(const char *path, struct kr_buf *out)
{
	const int fd = open(path, O_RDONLY | O_CLOEXEC);
	enum kr_err err = KR_OK;
	ssize_t n = 1;

	if (fd < 0)
		return kr_err_from_errno(errno);
	while (err == KR_OK && n > 0) {
		err = kr_buf_reserve(out, 4096);
		if (err != KR_OK)
			break;
		n = read(fd, out->ptr + out->len, out->cap - out->len);
		if (n < 0)
			err = kr_err_from_errno(errno);
		else
			out->len += (size_t)n;
	}
	(void)close(fd);
	return err;
}

static enum kr_err make_parents(const char *path)
{
	char text[KR_RTC_PATH_MAX];

	if (snprintf(text, sizeof(text), "%s", path) >= (int)sizeof(text))
		return KR_E_TOOBIG;
	for (char *p = text + 1; *p != '\0'; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		if (mkdir(text, 0755) != 0 && errno != EEXIST)
			return kr_err_from_errno(errno);
		*p = '/';
	}
	return KR_OK;
}

static enum kr_err fill(int fd, struct kr_bytes text)
{
	for (size_t at = 0; at < text.len;) {
		const ssize_t n = write(fd, text.ptr + at, text.len - at);

		if (n < 0)
			return kr_err_from_errno(errno);
		at += (size_t)n;
	}
	return fsync(fd) == 0 ? KR_OK : kr_err_from_errno(errno);
}

static void keep_owner(int fd, const char *path)
{
	struct stat st;

	if (stat(path, &st) != 0) {
		(void)fchmod(fd, 0644);
		return;
	}
	(void)fchmod(fd, st.st_mode & 07777);
	/* Fails without privilege: then it is ours already, or cannot be. */
	if (fchown(fd, st.st_uid, st.st_gid) != 0)
		errno = 0;
}

/* The file that is to be replaced, through links, not over them.  NULL: there
 * is none. */
static enum kr_err find_target(const char *path, char **ret)
{
	struct stat st;

	*ret = realpath(path, NULL);
	if (*ret == NULL && lstat(path, &st) == 0)
		return KR_E_NOTFOUND; /* a link to nowhere, in a circle, ... */
	return KR_OK;
}

enum kr_err kr_rtc_write(const char *path, struct kr_bytes text)
{
	char temp[KR_RTC_PATH_MAX + 8];
	char *real = NULL;
	enum kr_err err = find_target(path, &real);
	const char *target = real != NULL ? real : path;
	int fd = -1;

	if (err == KR_OK)
		err = make_parents(target);
	if (err != KR_OK)
		goto out;
	if (snprintf(temp, sizeof(temp), "%s.XXXXXX", target) >=
	    (int)sizeof(temp)) {
		err = KR_E_TOOBIG;
		goto out;
	}
	fd = mkostemp(temp, O_CLOEXEC);
	if (fd < 0) {
		err = kr_err_from_errno(errno);
		goto out;
	}
	keep_owner(fd, target);
	err = fill(fd, text);
	(void)close(fd);
	if (err == KR_OK && rename(temp, target) != 0)
		err = kr_err_from_errno(errno);
	if (err != KR_OK)
		(void)unlink(temp);
out:
	free(real);
	return err;
}

enum kr_err kr_rtc_delete(const char *path, bool and_dir)
{
	char dir[KR_RTC_PATH_MAX];

	if (snprintf(dir, sizeof(dir), "%s", path) >= (int)sizeof(dir))
		return KR_E_TOOBIG;
	if (unlink(path) != 0)
		return kr_err_from_errno(errno);
	if (and_dir)
		(void)rmdir(dirname(dir)); /* only if it is empty */
	return KR_OK;
}
