/*
 * test/unit/peerwire/transcript_test.c - PROTOCOL.md's byte-by-byte exchange is
 * what the code says and understands.
 *
 * The page is read where it stands in the tree, so neither can change alone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/hash.h"
#include "peerwire/msg.h"

enum { FRAMES_MAX = 32, FRAME_LEN_MAX = 512, FRAME_COUNT = 17 };

struct frame {
	char side; /* D, A; M: the metainfo, which is no frame */
	char name[16];
	uint8_t bytes[FRAME_LEN_MAX];
	size_t len;
};

struct fixture {
	struct frame frames[FRAMES_MAX];
	size_t count;
	size_t at; /* next to be compared */
};

/* "   0a 0b  ; comment": the bytes before the semicolon. */
static void take_bytes(struct frame *f, const char *line)
{
	unsigned byte;
	int used;

	while (sscanf(line, " %2x%n", &byte, &used) == 1) {
		assert_true(f->len < FRAME_LEN_MAX);
		f->bytes[f->len++] = (uint8_t)byte;
		line += used;
	}
}

static void take_line(struct fixture *f, const char *line)
{
	if (line[1] == '>') {
		assert_true(f->count < FRAMES_MAX);
		struct frame *next = &f->frames[f->count++];
		next->side = line[0];
		assert_int_equal(sscanf(line + 2, " %15s", next->name), 1);
	} else {
		assert_true(f->count > 0);
		take_bytes(&f->frames[f->count - 1], line);
	}
}

static FILE *open_page(void)
{
	static const char from_here[] = "/../../../peerwire/PROTOCOL.md";
	char path[4096] = __FILE__;
	char *slash = strrchr(path, '/');

	assert_non_null(slash);
	assert_true((size_t)(slash - path) + sizeof(from_here) < sizeof(path));
	memcpy(slash, from_here, sizeof(from_here));
	return fopen(path, "r");
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	FILE *page = open_page();
	char line[256];
	int inside = 0;

	if (f == NULL || page == NULL)
		return -1;
	while (fgets(line, sizeof(line), page) != NULL) {
		if (strncmp(line, "```", 3) == 0)
			inside = strncmp(line, "```hex", 6) == 0;
		else if (inside)
			take_line(f, line);
	}
	fclose(page);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	free(*state);
	return 0;
}

static struct kr_bytes text(const char *s)
{
	return (struct kr_bytes){ (const uint8_t *)s, strlen(s) };
}

static struct kr_digest digest_of_hello(void)
{
	struct kr_digest d = { .alg = KR_SHA256 };

	kr_sha256("hello", 5, d.bytes);
	return d;
}

static void make_metainfo(struct kr_metainfo *ret)
{
	const struct kr_digest d = digest_of_hello();

	assert_int_equal(
		kr_metainfo_make(kr_alloc_heap(), &d, 5, 65536, d.bytes, ret),
		KR_OK);
}

/* ---- what each frame of the page must be --------------------------------*/

static void expect(struct fixture *f, char side, const uint8_t *buf, size_t len)
{
	assert_true(f->at < f->count);
	const struct frame *page = &f->frames[f->at++];

	assert_int_equal(page->side, side);
	assert_int_equal(page->len, len);
	assert_memory_equal(page->bytes, buf, len);
}

static void expect_hello(struct fixture *f, char side, uint8_t id_byte,
			 const char *zone, enum kr_peer_role role,
			 uint16_t port)
{
	uint8_t buf[KR_MSG_SMALL_MAX];
	size_t len;
	struct kr_msg_hello m = { .version = KR_PROTO_VERSION,
				  .cluster = text("dev"),
				  .zone = text(zone),
				  .role = role,
				  .listen_port = port };

	memset(m.id.bytes, id_byte, sizeof(m.id.bytes));
	assert_int_equal(kr_msg_hello_encode(&m, buf, sizeof(buf), &len),
			 KR_OK);
	expect(f, side, buf, len);
}

static void expect_open(struct fixture *f)
{
	uint8_t buf[KR_MSG_OPEN_FIXED_MAX];
	const uint8_t none = KR_HAVE_NONE;
	struct kr_metainfo meta;
	size_t len;

	make_metainfo(&meta);
	struct kr_msg_open m = { .stream = 2,
				 .ns = text("library/hello"),
				 .digest = meta.digest,
				 .size_bytes = meta.size_bytes,
				 .piece_bytes = meta.piece_bytes,
				 .block_bytes = meta.piece_bytes,
				 .have = { &none, 1 } };
	memcpy(m.metainfo_id, meta.id, sizeof(m.metainfo_id));
	kr_metainfo_fini(kr_alloc_heap(), &meta);
	assert_int_equal(kr_msg_open_encode(&m, buf, sizeof(buf), &len), KR_OK);
	expect(f, 'D', buf, len);
}

static void expect_opened(struct fixture *f)
{
	uint8_t buf[KR_MSG_SMALL_MAX];
	const uint8_t none = KR_HAVE_NONE;
	const struct kr_msg_opened m = { 2, { &none, 1 } };
	size_t len;

	assert_int_equal(kr_msg_opened_encode(&m, buf, sizeof(buf), &len),
			 KR_OK);
	expect(f, 'A', buf, len);
}

static void expect_have(struct fixture *f)
{
	uint8_t buf[KR_MSG_SMALL_MAX];
	const struct kr_have_range range = { 0, 1 };
	size_t len;

	assert_int_equal(
		kr_msg_have_encode(2, &range, 1, buf, sizeof(buf), &len),
		KR_OK);
	expect(f, 'A', buf, len);
}

static void expect_request(struct fixture *f, enum kr_frame_type type)
{
	uint8_t buf[KR_MSG_SMALL_MAX];
	const struct kr_msg_request m = { 2, 0, 0, 1, 0 };
	size_t len;

	assert_int_equal(
		kr_msg_request_encode(type, &m, buf, sizeof(buf), &len), KR_OK);
	expect(f, 'D', buf, len);
}

static void expect_reject(struct fixture *f)
{
	uint8_t buf[KR_MSG_SMALL_MAX];
	const struct kr_msg_reject m = { 2, 0, KR_REJECT_BUSY, 0, 1, 50 };
	size_t len;

	assert_int_equal(kr_msg_reject_encode(&m, buf, sizeof(buf), &len),
			 KR_OK);
	expect(f, 'A', buf, len);
}

static void expect_plain(struct fixture *f, char side, enum kr_frame_type type,
			 uint16_t stream, uint32_t arg)
{
	uint8_t buf[KR_FRAME_HEAD_LEN];

	kr_msg_plain_encode(type, stream, arg, buf);
	expect(f, side, buf, sizeof(buf));
}

static void expect_block(struct fixture *f)
{
	uint8_t buf[KR_FRAME_BLOCK_LEN + 5];
	const struct kr_block_head b = { .offset = 0, .queued_kib = 3 };

	kr_block_encode(2, 0, &b, 5, buf);
	memcpy(buf + KR_FRAME_BLOCK_LEN, "hello", 5);
	expect(f, 'A', buf, sizeof(buf));
}

static void the_encoders_make_the_exchange_of_the_page(void **state)
{
	struct fixture *f = *state;
	const uint32_t token = 0x70696e67;

	f->at = 1; /* the metainfo stands first */
	expect_hello(f, 'D', 0x0d, "a", KR_PEER_AGENT, 16001);
	expect_hello(f, 'A', 0x0a, "b", KR_PEER_ORIGIN, 15001);
	expect_open(f);
	expect_opened(f);
	expect_have(f);
	expect_request(f, KR_FRAME_REQUEST);
	expect_reject(f);
	expect_plain(f, 'A', KR_FRAME_LOAD, 0, 0);
	expect_request(f, KR_FRAME_REQUEST);
	expect_plain(f, 'D', KR_FRAME_PING, 0, token);
	expect_plain(f, 'A', KR_FRAME_PONG, 0, token);
	expect_block(f);
	expect_request(f, KR_FRAME_CANCEL);
	expect_plain(f, 'D', KR_FRAME_CLOSE, 2, 0);
	expect_plain(f, 'A', KR_FRAME_CLOSE, 2, 0);
	expect_plain(f, 'D', KR_FRAME_BYE, 0, KR_BYE_USELESS);
	assert_int_equal(f->at, f->count);
	assert_int_equal(f->count, FRAME_COUNT);
}

static void every_frame_of_the_page_has_the_type_and_length_it_says(
	void **state)
{
	const struct fixture *f = *state;

	for (size_t i = 1; i < f->count; i++) {
		const struct frame *page = &f->frames[i];
		struct kr_frame_head h;

		assert_int_equal(
			kr_frame_head_decode(page->bytes, page->len, &h),
			KR_OK);
		assert_string_equal(kr_frame_type_name(h.type), page->name);
		assert_int_equal(h.len, page->len - KR_FRAME_HEAD_LEN);
	}
}

static void the_metainfo_of_the_page_is_ours(void **state)
{
	const struct fixture *f = *state;
	const struct frame *page = &f->frames[0];
	struct kr_metainfo made, read;
	uint8_t buf[FRAME_LEN_MAX];
	size_t len;

	assert_int_equal(page->side, 'M');
	make_metainfo(&made);
	assert_int_equal(kr_metainfo_encode(&made, buf, sizeof(buf), &len),
			 KR_OK);
	assert_int_equal(page->len, len);
	assert_memory_equal(page->bytes, buf, len);
	assert_int_equal(kr_metainfo_decode(kr_alloc_heap(), page->bytes,
					    page->len, &read),
			 KR_OK);
	assert_memory_equal(read.id, made.id, sizeof(read.id));
	kr_metainfo_fini(kr_alloc_heap(), &read);
	kr_metainfo_fini(kr_alloc_heap(), &made);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			the_encoders_make_the_exchange_of_the_page, setup,
			teardown),
		cmocka_unit_test_setup_teardown(
			every_frame_of_the_page_has_the_type_and_length_it_says,
			setup, teardown),
		cmocka_unit_test_setup_teardown(
			the_metainfo_of_the_page_is_ours, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
