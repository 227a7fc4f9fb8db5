#define _GNU_SOURCE
#include "backends/backend.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum kr_err kr_backend_stat(struct kr_backend *b, const char *name,
			    uint64_t *ret_size_bytes)
{
	return b->ops->stat(b, name, ret_size_bytes);
}

enum kr_err kr_backend_get(struct kr_backend *b, const char *name,
			   uint64_t offset_bytes, uint64_t len_bytes, int fd)
{
	return b->ops->get(b, name, offset_bytes, len_bytes, fd);
}

enum kr_err kr_backend_put(struct kr_backend *b, const char *name, int fd,
			   uint64_t size_bytes)
{
	return b->ops->put(b, name, fd, size_bytes);
}

enum kr_err kr_backend_list(struct kr_backend *b, const char *prefix,
			    kr_backend_list_fn *fn, void *ctx)
{
	if (b->ops->list == NULL)
		return KR_E_UNSUPPORTED;
	return b->ops->list(b, prefix, fn, ctx);
}

/* The text of @fd as a digest. */
static enum kr_err parse_tag(int fd, struct kr_digest *ret)
{
	char text[KR_BACKEND_TAG_MAX + 1];
	ssize_t len = pread(fd, text, sizeof(text), 0);

	if (len < 0)
		return kr_err_from_errno(errno);
	if (len == sizeof(text))
		return KR_E_CORRUPT;
	while (len > 0 && strchr(" \t\r\n", text[len - 1]) != NULL)
		len--;
	return kr_digest_parse(text, (size_t)len, ret) == KR_OK ? KR_OK
								: KR_E_CORRUPT;
}

/* The object is small, else it is none: its size is asked for first. */
static enum kr_err read_tag(struct kr_backend *b, const char *name,
			    struct kr_digest *ret)
{
	uint64_t size;
	enum kr_err err = b->ops->stat(b, name, &size);
	int fd;

	if (err != KR_OK)
		return err;
	if (size > KR_BACKEND_TAG_MAX)
		return KR_E_CORRUPT;
	fd = memfd_create("tag", MFD_CLOEXEC);
	if (fd < 0)
		return kr_err_from_errno(errno);
	err = b->ops->get(b, name, 0, UINT64_MAX, fd);
	if (err == KR_OK)
		err = parse_tag(fd, ret);
	(void)close(fd);
	return err;
}

enum kr_err kr_backend_tag(struct kr_backend *b, const char *name,
			   struct kr_digest *ret)
{
	return b->ops->tag != NULL ? b->ops->tag(b, name, ret)
				   : read_tag(b, name, ret);
}

void kr_backend_close(struct kr_backend *b)
{
	if (b != NULL)
		b->ops->close(b);
}
