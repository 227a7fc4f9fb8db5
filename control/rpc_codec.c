#include "control/rpc_codec.h"

#include <stdbool.h>
#include <string.h>

static enum kr_err read_u32(struct kr_mp_reader *r, uint32_t *ret)
{
	uint64_t v;
	const enum kr_err err = kr_mp_r_u64(r, &v);

	if (err != KR_OK)
		return err;
	if (v > UINT32_MAX)
		return KR_E_PROTO;
	*ret = (uint32_t)v;
	return KR_OK;
}

/* Pass over one value and keep where it stands. */
static enum kr_err read_slice(struct kr_mp_reader *r, struct kr_bytes *ret)
{
	const size_t from = r->at;
	const enum kr_err err = kr_mp_r_skip(r);

	if (err == KR_OK)
		*ret = (struct kr_bytes){ r->ptr + from, r->at - from };
	return err;
}

static enum kr_err read_method(struct kr_mp_reader *r, struct kr_bytes *ret)
{
	struct kr_bytes name;
	const enum kr_err err = kr_mp_r_str(r, &name);

	if (err != KR_OK)
		return err;
	if (name.len == 0 || name.len > KR_RPC_NAME_MAX)
		return KR_E_PROTO;
	*ret = name;
	return KR_OK;
}

static enum kr_err read_params(struct kr_mp_reader *r, struct kr_bytes *ret)
{
	enum kr_mp_type type;
	const enum kr_err err = kr_mp_r_type(r, &type);

	if (err != KR_OK)
		return err;
	if (type != KR_MP_ARRAY && type != KR_MP_MAP && type != KR_MP_NIL)
		return KR_E_PROTO;
	return read_slice(r, ret);
}

/* ---- errors -------------------------------------------------------------*/

static bool bytes_are(struct kr_bytes b, const char *text)
{
	return b.len == strlen(text) && memcmp(b.ptr, text, b.len) == 0;
}

/* A code that says "no error" is no code of an error. */
static enum kr_err code_of(struct kr_bytes name)
{
	for (int e = 0; e < KR_ERR_COUNT; e++)
		if (e != KR_OK && e != KR_AGAIN &&
		    bytes_are(name, kr_err_name((enum kr_err)e)))
			return (enum kr_err)e;
	return KR_E_UNAVAILABLE;
}

/* The string that @value is, or else nothing. */
static struct kr_bytes as_text(struct kr_bytes value)
{
	struct kr_mp_reader r;
	struct kr_bytes text;

	kr_mp_r_init_whole(&r, value.ptr, value.len);
	if (kr_mp_r_str(&r, &text) != KR_OK)
		return (struct kr_bytes){ 0 };
	return text;
}

/* Other programs may say errors as they like: what is not ours is still an
 * error, of no particular kind. */
static void interpret_error(struct kr_bytes value, struct kr_rpc_msg *m)
{
	struct kr_mp_reader r;
	struct kr_bytes key, val;
	uint32_t pairs;

	m->error = KR_E_UNAVAILABLE;
	m->error_text = as_text(value);
	kr_mp_r_init_whole(&r, value.ptr, value.len);
	if (kr_mp_r_map(&r, &pairs) != KR_OK)
		return;
	for (uint32_t i = 0; i < pairs; i++) {
		if (read_slice(&r, &key) != KR_OK ||
		    read_slice(&r, &val) != KR_OK)
			return;
		if (bytes_are(as_text(key), "code"))
			m->error = code_of(as_text(val));
		else if (bytes_are(as_text(key), "text"))
			m->error_text = as_text(val);
	}
}

static enum kr_err read_outcome(struct kr_mp_reader *r, struct kr_rpc_msg *m)
{
	struct kr_bytes error;
	enum kr_mp_type type;
	enum kr_err err = kr_mp_r_type(r, &type);

	if (err == KR_OK)
		err = read_slice(r, &error);
	if (err == KR_OK)
		err = read_slice(r, &m->result);
	if (err == KR_OK && type != KR_MP_NIL)
		interpret_error(error, m);
	return err;
}

/* ---- messages -----------------------------------------------------------*/

static enum kr_err read_msg(struct kr_mp_reader *r, struct kr_rpc_msg *m)
{
	uint32_t elements, type;
	enum kr_err err = kr_mp_r_array(r, &elements);

	if (err == KR_OK)
		err = read_u32(r, &type);
	if (err != KR_OK)
		return err;
	if (type > KR_RPC_NOTIFICATION ||
	    elements != (type == KR_RPC_NOTIFICATION ? 3U : 4U))
		return KR_E_PROTO;
	m->type = (enum kr_rpc_type)type;
	if (m->type != KR_RPC_NOTIFICATION)
		err = read_u32(r, &m->id);
	if (err != KR_OK)
		return err;
	if (m->type == KR_RPC_RESPONSE)
		return read_outcome(r, m);
	err = read_method(r, &m->method);
	return err == KR_OK ? read_params(r, &m->params) : err;
}

enum kr_err kr_rpc_decode(const uint8_t *buf, size_t len, size_t max_len,
			  struct kr_rpc_msg *ret, size_t *ret_used)
{
	struct kr_rpc_msg m = { 0 };
	struct kr_mp_reader r;

	/* Three or four elements: the array is told by its first byte.  A
	 * longer head than need be is none that a peer would send. */
	if (len > 0 && buf[0] != 0x93 && buf[0] != 0x94)
		return KR_E_PROTO;
	kr_mp_r_init(&r, buf, len < max_len ? len : max_len);
	const enum kr_err err = read_msg(&r, &m);
	if (err == KR_AGAIN && len >= max_len)
		return KR_E_TOOBIG;
	if (err != KR_OK)
		return err;
	*ret = m;
	*ret_used = r.at;
	return KR_OK;
}

static void w_method(struct kr_mp_writer *w, const char *method)
{
	const size_t len = strlen(method);

	kr_assert(len > 0 && len <= KR_RPC_NAME_MAX);
	kr_mp_w_str(w, method, len);
}

void kr_rpc_request_head(struct kr_mp_writer *w, uint32_t id,
			 const char *method)
{
	kr_mp_w_array(w, 4);
	kr_mp_w_u64(w, KR_RPC_REQUEST);
	kr_mp_w_u64(w, id);
	w_method(w, method);
}

void kr_rpc_notification_head(struct kr_mp_writer *w, const char *method)
{
	kr_mp_w_array(w, 3);
	kr_mp_w_u64(w, KR_RPC_NOTIFICATION);
	w_method(w, method);
}

void kr_rpc_response_head(struct kr_mp_writer *w, uint32_t id)
{
	kr_mp_w_array(w, 4);
	kr_mp_w_u64(w, KR_RPC_RESPONSE);
	kr_mp_w_u64(w, id);
	kr_mp_w_nil(w);
}

void kr_rpc_response_error(struct kr_mp_writer *w, uint32_t id, enum kr_err err,
			   const char *text)
{
	const size_t len = text != NULL ? strlen(text) : 0;

	kr_assert(err != KR_OK && err != KR_AGAIN);
	kr_mp_w_array(w, 4);
	kr_mp_w_u64(w, KR_RPC_RESPONSE);
	kr_mp_w_u64(w, id);
	kr_mp_w_map(w, 2);
	kr_mp_w_cstr(w, "code");
	kr_mp_w_cstr(w, kr_err_name(err));
	kr_mp_w_cstr(w, "text");
	kr_mp_w_str(w, text,
		    len < KR_RPC_ERROR_TEXT_MAX ? len : KR_RPC_ERROR_TEXT_MAX);
	kr_mp_w_nil(w);
}
