#include "control/msg_util.h"

#include <string.h>

static const char *const role_names[KR_PEER_ROLE_COUNT] = {
	[KR_PEER_AGENT] = "agent",
	[KR_PEER_ORIGIN] = "origin",
	[KR_PEER_PROXY] = "proxy",
};

bool kr_msg_is(struct kr_bytes key, const char *name)
{
	return key.len == strlen(name) && memcmp(key.ptr, name, key.len) == 0;
}

enum kr_err kr_msg_map(struct kr_mp_reader *r, kr_msg_field_fn *field,
		       void *ctx)
{
	uint32_t count;
	enum kr_err err = kr_mp_r_map(r, &count);

	for (; err == KR_OK && count > 0; count--) {
		struct kr_bytes key;

		err = kr_mp_r_str(r, &key);
		if (err != KR_OK)
			break;
		const size_t at = r->at;
		err = field(ctx, key, r);
		if (err == KR_OK && r->at == at)
			err = kr_mp_r_skip(r);
	}
	return err;
}

enum kr_err kr_msg_map_whole(struct kr_bytes bytes, kr_msg_field_fn *field,
			     void *ctx)
{
	struct kr_mp_reader r;
	enum kr_err err;

	kr_mp_r_init_whole(&r, bytes.ptr, bytes.len);
	err = kr_msg_map(&r, field, ctx);
	return err == KR_OK ? kr_mp_r_end(&r) : err;
}

enum kr_err kr_msg_str(struct kr_mp_reader *r, char *buf, size_t cap)
{
	struct kr_bytes text;
	enum kr_err err = kr_mp_r_str(r, &text);

	if (err != KR_OK)
		return err;
	if (text.len >= cap)
		return KR_E_PROTO;
	for (size_t i = 0; i < text.len; i++)
		if (text.ptr[i] == '\0')
			return KR_E_PROTO;
	if (text.len > 0)
		memcpy(buf, text.ptr, text.len);
	memset(buf + text.len, 0, cap - text.len);
	return KR_OK;
}

enum kr_err kr_msg_u32(struct kr_mp_reader *r, uint32_t max, uint32_t *ret)
{
	uint64_t v;
	enum kr_err err = kr_mp_r_u64(r, &v);

	if (err != KR_OK)
		return err;
	if (v > max)
		return KR_E_PROTO;
	*ret = (uint32_t)v;
	return KR_OK;
}

enum kr_err kr_msg_digest(struct kr_mp_reader *r, struct kr_digest *ret)
{
	struct kr_bytes text;
	enum kr_err err = kr_mp_r_str(r, &text);

	if (err != KR_OK)
		return err;
	err = kr_digest_parse((const char *)text.ptr, text.len, ret);
	return err == KR_OK ? KR_OK : KR_E_PROTO;
}

enum kr_err kr_msg_id(struct kr_mp_reader *r, struct kr_peer_id *ret)
{
	struct kr_bytes bin;
	enum kr_err err = kr_mp_r_bin(r, &bin);

	if (err != KR_OK)
		return err;
	if (bin.len != sizeof(ret->bytes))
		return KR_E_PROTO;
	memcpy(ret->bytes, bin.ptr, bin.len);
	return KR_OK;
}

enum kr_err kr_msg_role(struct kr_mp_reader *r, enum kr_peer_role *ret)
{
	struct kr_bytes text;
	enum kr_err err = kr_mp_r_str(r, &text);

	if (err != KR_OK)
		return err;
	for (unsigned i = 0; i < KR_PEER_ROLE_COUNT; i++) {
		if (!kr_msg_is(text, role_names[i]))
			continue;
		*ret = (enum kr_peer_role)i;
		return KR_OK;
	}
	return KR_E_PROTO;
}

enum kr_err kr_msg_array(struct kr_mp_reader *r, uint32_t max,
			 uint32_t *ret_count)
{
	uint32_t count;
	enum kr_err err = kr_mp_r_array(r, &count);

	if (err != KR_OK)
		return err;
	if (count > max)
		return KR_E_PROTO;
	*ret_count = count;
	return KR_OK;
}

void kr_msg_w_str(struct kr_mp_writer *w, const char *key, const char *value)
{
	kr_mp_w_cstr(w, key);
	kr_mp_w_cstr(w, value);
}

void kr_msg_w_u64(struct kr_mp_writer *w, const char *key, uint64_t value)
{
	kr_mp_w_cstr(w, key);
	kr_mp_w_u64(w, value);
}

void kr_msg_w_digest(struct kr_mp_writer *w, const char *key,
		     const struct kr_digest *d)
{
	char text[KR_DIGEST_TEXT_MAX];

	kr_msg_w_str(w, key, kr_digest_print(d, text));
}

void kr_msg_w_id(struct kr_mp_writer *w, const char *key,
		 const struct kr_peer_id *id)
{
	kr_mp_w_cstr(w, key);
	kr_mp_w_bin(w, id->bytes, sizeof(id->bytes));
}

void kr_msg_w_role(struct kr_mp_writer *w, const char *key,
		   enum kr_peer_role role)
{
	kr_assert(role < KR_PEER_ROLE_COUNT);
	kr_msg_w_str(w, key, role_names[role]);
}
