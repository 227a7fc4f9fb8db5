#define _GNU_SOURCE
#include "core/store_internal.h"

enum { META_MAX = 64 << 20 };

enum kr_err kr_store_meta_put(struct kr_store *s, const struct kr_digest *d,
			      const void *buf, size_t len)
{
	char path[KR_STORE_PATH_MAX];
	enum kr_err err;

	if (len > META_MAX)
		return KR_E_TOOBIG;
	kr_store_path_meta(path, d);
	err = kr_store_replace_file(s, path, buf, len);
	if (err == KR_E_NOSPC && kr_store_make_room(s, len))
		err = kr_store_replace_file(s, path, buf, len);
	if (err == KR_E_NOSPC)
		kr_store_log_nospc(s, "metainfo", len, false);
	return err == KR_OK ? kr_store_sync_dir(s, "meta") : err;
}

enum kr_err kr_store_meta_get(struct kr_store *s, const struct kr_digest *d,
			      uint8_t **ret, size_t *ret_len)
{
	char path[KR_STORE_PATH_MAX];

	kr_store_path_meta(path, d);
	return kr_store_read_file(s, path, META_MAX, ret, ret_len);
}
