/*
 * test/fuzz/registry_api/http_head_fuzz.c - no bytes may break the parser of
 * request heads, and what it passes on must mean the same as what it read.
 *
 * Oracle: a rewritten head parses again, to the same method, target and
 * version, without a body and with nothing behind it.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "registry_api/head.h"

static void same(struct kr_bytes a, struct kr_bytes b)
{
	kr_assert(a.len == b.len);
	kr_assert(a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct kr_head head, again;
	struct kr_buf out;

	if (kr_head_parse(data, size, 0, &head) != KR_OK)
		return 0;
	kr_assert(head.head_len <= size);
	kr_assert(head.head_len <= KR_HEAD_BYTES_MAX);
	kr_buf_init(&out, (size_t)KR_HEAD_BYTES_MAX * 2);
	kr_assert(kr_head_rewrite(&head, &out) == KR_OK);
	if (out.len < KR_HEAD_BYTES_MAX) {
		kr_assert(kr_head_parse(out.ptr, out.len, 0, &again) == KR_OK);
		kr_assert(again.head_len == out.len);
		kr_assert(again.framing == KR_BODY_ABSENT);
		kr_assert(!again.wants_continue && !again.unknown_expectation);
		kr_assert(again.minor_version == head.minor_version);
		same(again.method_text, head.method_text);
		same(again.path, head.path);
		same(again.query, head.query);
	}
	kr_buf_fini(&out);
	return 0;
}
