/*
 * test/fuzz/control/rpc_fuzz.c - a stream of RPC messages: a message is taken
 * whole or not at all, and what it says survives being written again.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "control/rpc_codec.h"

enum { MAX_LEN = 64 * 1024, BUF_LEN = MAX_LEN + KR_RPC_ERROR_MAX };

static void w_raw(struct kr_mp_writer *w, struct kr_bytes value)
{
	kr_assert(value.len <= w->cap - w->len);
	memcpy(w->buf + w->len, value.ptr, value.len);
	w->len += value.len;
}

/* A string of bytes as the C string that the encoder wants, cut at a NUL. */
static const char *c_string(struct kr_bytes b, char *buf, size_t cap)
{
	const size_t len = b.len < cap ? b.len : cap - 1;

	if (len > 0)
		memcpy(buf, b.ptr, len);
	buf[len] = '\0';
	return buf;
}

static void write_again(const struct kr_rpc_msg *m, struct kr_mp_writer *w)
{
	char name[KR_RPC_NAME_MAX + 1], text[KR_RPC_ERROR_TEXT_MAX + 1];

	switch (m->type) {
	case KR_RPC_REQUEST:
		kr_rpc_request_head(w, m->id,
				    c_string(m->method, name, sizeof(name)));
		w_raw(w, m->params);
		break;
	case KR_RPC_NOTIFICATION:
		kr_rpc_notification_head(
			w, c_string(m->method, name, sizeof(name)));
		w_raw(w, m->params);
		break;
	case KR_RPC_RESPONSE:
		if (m->error != KR_OK) {
			kr_rpc_response_error(
				w, m->id, m->error,
				c_string(m->error_text, text, sizeof(text)));
			break;
		}
		kr_rpc_response_head(w, m->id);
		w_raw(w, m->result);
		break;
	}
}

static int same(struct kr_bytes a, struct kr_bytes b)
{
	return a.len == b.len &&
	       (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static void check_again(const struct kr_rpc_msg *m)
{
	static uint8_t buf[BUF_LEN];
	struct kr_rpc_msg back;
	struct kr_mp_writer w;
	size_t len, used;

	kr_mp_w_init(&w, buf, sizeof(buf));
	write_again(m, &w);
	kr_assert(kr_mp_w_done(&w, &len) == KR_OK);
	kr_assert(kr_rpc_decode(buf, len, len + 1, &back, &used) == KR_OK);
	kr_assert(used == len);
	kr_assert(back.type == m->type && back.id == m->id);
	kr_assert(back.error == m->error);
	kr_assert(same(back.method, m->method));
	kr_assert(same(back.params, m->params));
	kr_assert(m->error != KR_OK || same(back.result, m->result));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct kr_rpc_msg m, cut;
	size_t used, no;

	while (kr_rpc_decode(data, size, MAX_LEN, &m, &used) == KR_OK) {
		kr_assert(used > 0 && used <= size && used <= MAX_LEN);
		for (size_t len = used - 1; len > 0; len /= 2)
			kr_assert(kr_rpc_decode(data, len, MAX_LEN, &cut,
						&no) == KR_AGAIN);
		kr_assert(kr_rpc_decode(data, size, used, &cut, &no) == KR_OK);
		kr_assert(kr_rpc_decode(data, size, used - 1, &cut, &no) ==
			  KR_E_TOOBIG);
		/* A name with a NUL in it is no C string. */
		if (m.method.len == 0 ||
		    memchr(m.method.ptr, 0, m.method.len) == NULL)
			check_again(&m);
		data += used;
		size -= used;
	}
	return 0;
}
