#include "core/mp.h"

#include <string.h>

#include <msgpack/pack.h>

void kr_mp_w_init(struct kr_mp_writer *w, uint8_t *buf, size_t cap)
{
	*w = (struct kr_mp_writer){ .buf = buf, .cap = cap };
}

/* msgpack-c's sink.  Its verdict is the sticky flag, so the packer is always
 * told that all went well. */
static int write_bytes(void *data, const char *ptr, size_t len)
{
	struct kr_mp_writer *w = data;

	if (w->overflow || len > w->cap - w->len) {
		w->overflow = true;
		return 0;
	}
	if (len > 0)
		memcpy(w->buf + w->len, ptr, len);
	w->len += len;
	return 0;
}

static msgpack_packer packer_of(struct kr_mp_writer *w)
{
	msgpack_packer pk;

	msgpack_packer_init(&pk, w, write_bytes);
	return pk;
}

void kr_mp_w_nil(struct kr_mp_writer *w)
{
	msgpack_packer pk = packer_of(w);

	msgpack_pack_nil(&pk);
}

void kr_mp_w_bool(struct kr_mp_writer *w, bool v)
{
	msgpack_packer pk = packer_of(w);

	if (v)
		msgpack_pack_true(&pk);
	else
		msgpack_pack_false(&pk);
}

void kr_mp_w_u64(struct kr_mp_writer *w, uint64_t v)
{
	msgpack_packer pk = packer_of(w);

	msgpack_pack_uint64(&pk, v);
}

void kr_mp_w_i64(struct kr_mp_writer *w, int64_t v)
{
	msgpack_packer pk = packer_of(w);

	msgpack_pack_int64(&pk, v);
}

void kr_mp_w_str(struct kr_mp_writer *w, const char *str, size_t len)
{
	msgpack_packer pk = packer_of(w);

	kr_assert(len <= UINT32_MAX);
	msgpack_pack_str(&pk, len);
	msgpack_pack_str_body(&pk, str, len);
}

void kr_mp_w_cstr(struct kr_mp_writer *w, const char *str)
{
	kr_mp_w_str(w, str, strlen(str));
}

void kr_mp_w_bin(struct kr_mp_writer *w, const void *ptr, size_t len)
{
	msgpack_packer pk = packer_of(w);

	kr_assert(len <= UINT32_MAX);
	msgpack_pack_bin(&pk, len);
	msgpack_pack_bin_body(&pk, ptr, len);
}

void kr_mp_w_array(struct kr_mp_writer *w, uint32_t count)
{
	msgpack_packer pk = packer_of(w);

	msgpack_pack_array(&pk, count);
}

void kr_mp_w_map(struct kr_mp_writer *w, uint32_t count)
{
	msgpack_packer pk = packer_of(w);

	msgpack_pack_map(&pk, count);
}

enum kr_err kr_mp_w_done(const struct kr_mp_writer *w, size_t *ret_len)
{
	if (w->overflow)
		return KR_E_TOOBIG;
	*ret_len = w->len;
	return KR_OK;
}
