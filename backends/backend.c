#include "backends/backend.h"

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

void kr_backend_close(struct kr_backend *b)
{
	if (b != NULL)
		b->ops->close(b);
}
