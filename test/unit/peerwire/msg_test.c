/*
 * test/unit/peerwire/msg_test.c - messages there and back, cut anywhere, at
 * their limits, and from versions to come.
 *
 * The bytes of each message are in transcript_test.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/mp.h"
#include "peerwire/msg.h"

enum { BUF_LEN = 2048 };

static struct kr_bytes text(const char *s)
{
	return (struct kr_bytes){ (const uint8_t *)s, strlen(s) };
}

static void assert_text(struct kr_bytes got, const char *want)
{
	assert_int_equal(got.len, strlen(want));
	assert_memory_equal(got.ptr, want, got.len);
}

/* The head of a frame just encoded; its body is all that follows. */
static struct kr_frame_head head_of(const uint8_t *buf, size_t len)
{
	struct kr_frame_head h;

	assert_int_equal(kr_frame_head_decode(buf, len, &h), KR_OK);
	assert_int_equal(h.len, len - KR_FRAME_HEAD_LEN);
	return h;
}

/* Any decoder, with its result thrown away. */
static enum kr_err decode_any(const struct kr_frame_head *h,
			      const uint8_t *body)
{
	union {
		struct kr_msg_hello hello;
		struct kr_msg_open open;
		struct kr_msg_opened opened;
		struct kr_msg_have have;
		struct kr_msg_request request;
		struct kr_msg_reject reject;
	} m;

	switch (h->type) {
	case KR_FRAME_HELLO:
		return kr_msg_hello_decode(h, body, &m.hello);
	case KR_FRAME_OPEN:
		return kr_msg_open_decode(h, body, &m.open);
	case KR_FRAME_OPENED:
		return kr_msg_opened_decode(h, body, &m.opened);
	case KR_FRAME_HAVE:
		return kr_msg_have_decode(h, body, 1000, &m.have);
	case KR_FRAME_REJECT:
		return kr_msg_reject_decode(h, body, &m.reject);
	default:
		return kr_msg_request_decode(h, body, &m.request);
	}
}

/* Each shorter body is refused, and so is one byte more.  The body is copied
 * to memory of its exact size, for the sanitizer to watch. */
static void assert_every_cut_is_refused(const uint8_t *frame, size_t frame_len)
{
	struct kr_frame_head h = head_of(frame, frame_len);
	const uint32_t whole = h.len;

	for (h.len = 0; h.len <= whole + 1; h.len++) {
		uint8_t *body = malloc(h.len > 0 ? h.len : 1);
		assert_non_null(body);
		memset(body, 0, h.len);
		memcpy(body, frame + KR_FRAME_HEAD_LEN,
		       h.len < whole ? h.len : whole);
		assert_int_equal(decode_any(&h, body),
				 h.len == whole ? KR_OK : KR_E_PROTO);
		free(body);
	}
}

/* A frame of @type whose body was written by hand. */
static enum kr_err decode_body(enum kr_frame_type type, uint32_t arg,
			       const struct kr_mp_writer *w)
{
	size_t len = 0;

	assert_int_equal(kr_mp_w_done(w, &len), KR_OK);
	const struct kr_frame_head h = { .len = (uint32_t)len,
					 .type = (uint8_t)type,
					 .stream = 2,
					 .arg = arg };
	return decode_any(&h, w->buf);
}

static enum kr_err decode_numbers(enum kr_frame_type type, uint32_t arg,
				  const uint64_t *v, uint32_t count)
{
	uint8_t buf[BUF_LEN];
	struct kr_mp_writer w;

	kr_mp_w_init(&w, buf, sizeof(buf));
	kr_mp_w_array(&w, count);
	for (uint32_t i = 0; i < count; i++)
		kr_mp_w_u64(&w, v[i]);
	return decode_body(type, arg, &w);
}

/* ---- HELLO --------------------------------------------------------------*/

static struct kr_msg_hello some_hello(void)
{
	return (struct kr_msg_hello){
		.version = KR_PROTO_VERSION,
		.id = { { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,
			  16 } },
		.cluster = text("prod-1"),
		.zone = text("rack.7"),
		.role = KR_PEER_PROXY,
		.features = UINT64_MAX,
		.listen_port = 65535,
		.up_bytes_per_s = UINT64_MAX,
		.down_bytes_per_s = UINT64_MAX - 1,
	};
}

static void hello_comes_back(void **state)
{
	const struct kr_msg_hello m = some_hello();
	struct kr_msg_hello back;
	uint8_t buf[KR_MSG_SMALL_MAX];
	size_t len;
	(void)state;

	assert_int_equal(kr_msg_hello_encode(&m, buf, sizeof(buf), &len),
			 KR_OK);
	const struct kr_frame_head h = head_of(buf, len);
	assert_int_equal(kr_msg_hello_decode(&h, buf + 12, &back), KR_OK);
	assert_int_equal(back.version, m.version);
	assert_memory_equal(back.id.bytes, m.id.bytes, KR_PEER_ID_LEN);
	assert_text(back.cluster, "prod-1");
	assert_text(back.zone, "rack.7");
	assert_int_equal(back.role, m.role);
	assert_true(back.features == m.features);
	assert_int_equal(back.listen_port, m.listen_port);
	assert_true(back.up_bytes_per_s == m.up_bytes_per_s);
	assert_true(back.down_bytes_per_s == m.down_bytes_per_s);
	assert_every_cut_is_refused(buf, len);
}

static void the_longest_hello_fits_where_small_ones_do(void **state)
{
	struct kr_msg_hello m = some_hello();
	char name[KR_NAME_MAX];
	uint8_t buf[KR_MSG_SMALL_MAX];
	size_t len;
	(void)state;

	memset(name, 'x', sizeof(name));
	m.cluster = (struct kr_bytes){ (uint8_t *)name, sizeof(name) };
	m.zone = m.cluster;
	m.version = UINT32_MAX;
	assert_int_equal(kr_msg_hello_encode(&m, buf, sizeof(buf), &len),
			 KR_OK);
	for (size_t cap = 0; cap < len; cap++) {
		size_t no;
		assert_int_equal(kr_msg_hello_encode(&m, buf, cap, &no),
				 KR_E_TOOBIG);
	}
}

/* A HELLO by hand; NULL or a negative number leaves a key out. */
static enum kr_err hello_by_hand(int64_t version, size_t id_len,
				 const char *cluster, const char *zone,
				 int64_t role, int64_t port,
				 struct kr_msg_hello *ret)
{
	static const uint8_t id[32];
	uint8_t buf[BUF_LEN];
	struct kr_mp_writer w;
	size_t len = 0;

	kr_mp_w_init(&w, buf, sizeof(buf));
	kr_mp_w_map(&w, 3 + (uint32_t)(version >= 0) + (cluster != NULL) +
				(zone != NULL) + (role >= 0) + (port >= 0));
	kr_mp_w_u64(&w, 42); /* a key that is no string */
	kr_mp_w_nil(&w);
	if (port >= 0) {
		kr_mp_w_cstr(&w, "port");
		kr_mp_w_u64(&w, (uint64_t)port);
	}
	if (role >= 0) {
		kr_mp_w_cstr(&w, "role");
		kr_mp_w_u64(&w, (uint64_t)role);
	}
	kr_mp_w_cstr(&w, "from-the-future");
	kr_mp_w_array(&w, 2);
	kr_mp_w_bool(&w, true);
	kr_mp_w_map(&w, 0);
	if (zone != NULL) {
		kr_mp_w_cstr(&w, "zone");
		kr_mp_w_cstr(&w, zone);
	}
	if (cluster != NULL) {
		kr_mp_w_cstr(&w, "cluster");
		kr_mp_w_cstr(&w, cluster);
	}
	kr_mp_w_cstr(&w, "id");
	kr_mp_w_bin(&w, id, id_len);
	if (version >= 0) {
		kr_mp_w_cstr(&w, "v");
		kr_mp_w_u64(&w, (uint64_t)version);
	}
	assert_int_equal(kr_mp_w_done(&w, &len), KR_OK);
	const struct kr_frame_head h = { .len = (uint32_t)len,
					 .type = KR_FRAME_HELLO };
	return kr_msg_hello_decode(&h, buf, ret);
}

static void hello_keys_come_in_any_order_among_others(void **state)
{
	struct kr_msg_hello m;
	(void)state;

	assert_int_equal(hello_by_hand(1, 16, "c", "z", 1, 80, &m), KR_OK);
	assert_int_equal(m.role, KR_PEER_ORIGIN);
	assert_int_equal(m.listen_port, 80);
	assert_text(m.zone, "z");
}

static void hello_may_leave_out_what_is_optional(void **state)
{
	struct kr_msg_hello m;
	(void)state;

	assert_int_equal(hello_by_hand(1, 16, "c", NULL, -1, -1, &m), KR_OK);
	assert_int_equal(m.role, KR_PEER_AGENT);
	assert_int_equal(m.listen_port, 0);
	assert_int_equal(m.zone.len, 0);
	assert_true(m.features == 0);
	assert_int_equal(hello_by_hand(1, 16, NULL, "z", 0, 0, &m), KR_E_PROTO);
	assert_int_equal(hello_by_hand(-1, 16, "c", "z", 0, 0, &m), KR_E_PROTO);
}

static void hello_beyond_its_limits_is_refused(void **state)
{
	char name[KR_NAME_MAX + 2] = { 0 };
	struct kr_msg_hello m;
	(void)state;

	memset(name, 'n', KR_NAME_MAX);
	assert_int_equal(hello_by_hand(1, 16, name, name, 0, 0, &m), KR_OK);
	name[KR_NAME_MAX] = 'n';
	assert_int_equal(hello_by_hand(1, 16, name, "z", 0, 0, &m), KR_E_PROTO);
	assert_int_equal(hello_by_hand(1, 16, "c", name, 0, 0, &m), KR_E_PROTO);
	assert_int_equal(hello_by_hand(1, 16, "", "z", 0, 0, &m), KR_E_PROTO);
	assert_int_equal(hello_by_hand(1, 16, "c d", "z", 0, 0, &m),
			 KR_E_PROTO);
	assert_int_equal(hello_by_hand(1, 16, "c\x7f", "z", 0, 0, &m),
			 KR_E_PROTO);
	assert_int_equal(hello_by_hand(1, 15, "c", "z", 0, 0, &m), KR_E_PROTO);
	assert_int_equal(hello_by_hand(1, 17, "c", "z", 0, 0, &m), KR_E_PROTO);
	assert_int_equal(hello_by_hand(1, 16, "c", "z", 0, 65536, &m),
			 KR_E_PROTO);
	assert_int_equal(
		hello_by_hand((int64_t)1 << 32, 16, "c", "z", 0, 0, &m),
		KR_E_PROTO);
}

static void an_unknown_role_is_an_agent(void **state)
{
	struct kr_msg_hello m;
	(void)state;

	assert_int_equal(
		hello_by_hand(1, 16, "c", "z", KR_PEER_ROLE_COUNT, 0, &m),
		KR_OK);
	assert_int_equal(m.role, KR_PEER_AGENT);
}

static void of_another_version_only_the_version_is_read(void **state)
{
	struct kr_msg_hello m;
	(void)state;

	assert_int_equal(hello_by_hand(2, 3, "", NULL, 0, 99999, &m), KR_OK);
	assert_int_equal(m.version, 2);
	assert_int_equal(m.cluster.len, 0);
}

/* ---- OPEN, OPENED -------------------------------------------------------*/

static struct kr_msg_open some_open(void)
{
	static const uint8_t have[] = { KR_HAVE_RANGES, 0, 0 };
	struct kr_msg_open m = { .stream = 65535,
				 .ns = text("library/busybox"),
				 .digest = { .alg = KR_SHA512 },
				 .size_bytes = 5000000,
				 .piece_bytes = 1 << 20,
				 .block_bytes = KR_BLOCK_BYTES,
				 .have = { have, sizeof(have) } };

	memset(m.digest.bytes, 0xab, sizeof(m.digest.bytes));
	memset(m.metainfo_id, 0xcd, sizeof(m.metainfo_id));
	return m;
}

static void open_comes_back(void **state)
{
	const struct kr_msg_open m = some_open();
	struct kr_msg_open back;
	uint8_t buf[BUF_LEN];
	size_t len;
	(void)state;

	assert_int_equal(kr_msg_open_encode(&m, buf, sizeof(buf), &len), KR_OK);
	const struct kr_frame_head h = head_of(buf, len);
	assert_int_equal(kr_msg_open_decode(&h, buf + 12, &back), KR_OK);
	assert_int_equal(back.stream, m.stream);
	assert_text(back.ns, "library/busybox");
	assert_true(kr_digest_equal(&back.digest, &m.digest));
	assert_memory_equal(back.metainfo_id, m.metainfo_id, KR_SHA256_LEN);
	assert_true(back.size_bytes == m.size_bytes);
	assert_int_equal(back.piece_bytes, m.piece_bytes);
	assert_int_equal(back.block_bytes, m.block_bytes);
	assert_int_equal(back.have.len, m.have.len);
	assert_memory_equal(back.have.ptr, m.have.ptr, m.have.len);
	assert_every_cut_is_refused(buf, len);
}

static void the_longest_open_fits_where_promised(void **state)
{
	struct kr_msg_open m = some_open();
	char ns[KR_NAMESPACE_MAX];
	uint8_t buf[KR_MSG_OPEN_FIXED_MAX + 3];
	size_t len;
	(void)state;

	memset(ns, 'n', sizeof(ns));
	m.ns = (struct kr_bytes){ (uint8_t *)ns, sizeof(ns) };
	m.piece_bytes = m.block_bytes = KR_PIECE_BYTES_MAX;
	m.size_bytes = (uint64_t)KR_PIECE_BYTES_MAX * KR_METAINFO_PIECES_MAX;
	assert_int_equal(kr_msg_open_encode(&m, buf, sizeof(buf), &len), KR_OK);
	for (size_t cap = 0; cap < len; cap++) {
		size_t no;
		assert_int_equal(kr_msg_open_encode(&m, buf, cap, &no),
				 KR_E_TOOBIG);
	}
}

static void a_have_set_too_long_for_a_frame_is_told(void **state)
{
	const size_t have_len = KR_FRAME_CONTROL_MAX;
	const size_t cap = have_len + KR_MSG_OPEN_FIXED_MAX;
	uint8_t *have = calloc(1, have_len), *buf = malloc(cap);
	struct kr_msg_open m = some_open();
	struct kr_msg_opened opened = { 1, { have, have_len } };
	size_t len;
	(void)state;

	assert_non_null(have);
	assert_non_null(buf);
	m.have = opened.have;
	assert_int_equal(kr_msg_open_encode(&m, buf, cap, &len), KR_E_TOOBIG);
	assert_int_equal(kr_msg_opened_encode(&opened, buf, cap, &len),
			 KR_E_TOOBIG);
	free(have);
	free(buf);
}

/* An OPEN by hand, with one value replaced. */
static enum kr_err open_by_hand(const char *ns, const char *digest,
				size_t meta_len, uint64_t size, uint64_t piece,
				uint64_t block, size_t have_len)
{
	static const uint8_t zeros[64];
	uint8_t buf[BUF_LEN];
	struct kr_mp_writer w;

	kr_mp_w_init(&w, buf, sizeof(buf));
	kr_mp_w_map(&w, 7);
	kr_mp_w_cstr(&w, "have");
	kr_mp_w_bin(&w, zeros, have_len);
	kr_mp_w_cstr(&w, "block");
	kr_mp_w_u64(&w, block);
	kr_mp_w_cstr(&w, "piece");
	kr_mp_w_u64(&w, piece);
	kr_mp_w_cstr(&w, "size");
	kr_mp_w_u64(&w, size);
	kr_mp_w_cstr(&w, "meta");
	kr_mp_w_bin(&w, zeros, meta_len);
	kr_mp_w_cstr(&w, "digest");
	kr_mp_w_cstr(&w, digest);
	kr_mp_w_cstr(&w, "ns");
	kr_mp_w_cstr(&w, ns);
	return decode_body(KR_FRAME_OPEN, 0, &w);
}

static void open_beyond_its_limits_is_refused(void **state)
{
	static const char ok[] = "sha256:0123456789abcdef0123456789abcdef"
				 "0123456789abcdef0123456789abcdef";
	const uint64_t K = 1024, most = K * K * K * 64;
	(void)state;

	assert_int_equal(open_by_hand("n", ok, 32, 1, 64 * K, 16 * K, 1),
			 KR_OK);
	assert_int_equal(open_by_hand("n", ok, 32, most, 64 * K, 64 * K, 1),
			 KR_OK);
	/* name, digest, metainfo id, have-set */
	assert_int_equal(open_by_hand("", ok, 32, 1, 64 * K, 16 * K, 1),
			 KR_E_PROTO);
	assert_int_equal(open_by_hand("a b", ok, 32, 1, 64 * K, 16 * K, 1),
			 KR_E_PROTO);
	assert_int_equal(open_by_hand("n", ok + 1, 32, 1, 64 * K, 16 * K, 1),
			 KR_E_PROTO);
	assert_int_equal(open_by_hand("n", "md5:00", 32, 1, 64 * K, 16 * K, 1),
			 KR_E_PROTO);
	assert_int_equal(open_by_hand("n", ok, 31, 1, 64 * K, 16 * K, 1),
			 KR_E_PROTO);
	assert_int_equal(open_by_hand("n", ok, 33, 1, 64 * K, 16 * K, 1),
			 KR_E_PROTO);
	assert_int_equal(open_by_hand("n", ok, 32, 1, 64 * K, 16 * K, 0),
			 KR_E_PROTO);
	/* size, piece */
	assert_int_equal(open_by_hand("n", ok, 32, 0, 64 * K, 16 * K, 1),
			 KR_E_PROTO);
	assert_int_equal(open_by_hand("n", ok, 32, most + 1, 64 * K, 16 * K, 1),
			 KR_E_PROTO);
	assert_int_equal(
		open_by_hand("n", ok, 32, UINT64_MAX, 64 * K * K, 16 * K, 1),
		KR_E_PROTO);
	assert_int_equal(open_by_hand("n", ok, 32, 1, 32 * K, 16 * K, 1),
			 KR_E_PROTO);
	assert_int_equal(open_by_hand("n", ok, 32, 1, 96 * K, 16 * K, 1),
			 KR_E_PROTO);
	assert_int_equal(open_by_hand("n", ok, 32, 1, 128 * K * K, 16 * K, 1),
			 KR_E_PROTO);
	assert_int_equal(
		open_by_hand("n", ok, 32, 1, K * K * K * 4 + 64 * K, 16 * K, 1),
		KR_E_PROTO);
	/* block */
	assert_int_equal(open_by_hand("n", ok, 32, 1, 64 * K, 8 * K, 1),
			 KR_E_PROTO);
	assert_int_equal(open_by_hand("n", ok, 32, 1, 64 * K, 128 * K, 1),
			 KR_E_PROTO);
	assert_int_equal(open_by_hand("n", ok, 32, 1, 64 * K, 24 * K, 1),
			 KR_E_PROTO);
}

static void opened_comes_back(void **state)
{
	static const uint8_t have[] = { KR_HAVE_BITMAP, 0x80 };
	const struct kr_msg_opened m = { 7, { have, sizeof(have) } };
	struct kr_msg_opened back;
	uint8_t buf[KR_MSG_SMALL_MAX];
	size_t len;
	(void)state;

	assert_int_equal(kr_msg_opened_encode(&m, buf, sizeof(buf), &len),
			 KR_OK);
	const struct kr_frame_head h = head_of(buf, len);
	assert_int_equal(kr_msg_opened_decode(&h, buf + 12, &back), KR_OK);
	assert_int_equal(back.stream, 7);
	assert_int_equal(back.have.len, 2);
	assert_memory_equal(back.have.ptr, have, 2);
	assert_every_cut_is_refused(buf, len);
}

static void opened_without_a_set_is_refused(void **state)
{
	uint8_t buf[BUF_LEN];
	struct kr_mp_writer w;
	(void)state;

	kr_mp_w_init(&w, buf, sizeof(buf));
	kr_mp_w_map(&w, 0);
	assert_int_equal(decode_body(KR_FRAME_OPENED, 0, &w), KR_E_PROTO);
	kr_mp_w_init(&w, buf, sizeof(buf));
	kr_mp_w_map(&w, 1);
	kr_mp_w_cstr(&w, "have");
	kr_mp_w_bin(&w, NULL, 0);
	assert_int_equal(decode_body(KR_FRAME_OPENED, 0, &w), KR_E_PROTO);
}

/* ---- HAVE ---------------------------------------------------------------*/

static void have_comes_back(void **state)
{
	static const struct kr_have_range ranges[] = { { 3, 4 }, { 900, 100 } };
	struct kr_msg_have back;
	struct kr_have_range r;
	uint8_t buf[KR_MSG_SMALL_MAX];
	size_t len;
	(void)state;

	assert_int_equal(
		kr_msg_have_encode(5, ranges, 2, buf, sizeof(buf), &len),
		KR_OK);
	const struct kr_frame_head h = head_of(buf, len);
	assert_int_equal(kr_msg_have_decode(&h, buf + 12, 1000, &back), KR_OK);
	assert_int_equal(back.stream, 5);
	assert_int_equal(back.range_count, 2);
	for (size_t i = 0; i < 2; i++) {
		assert_true(kr_have_iter_next(&back.ranges, &r));
		assert_int_equal(r.first, ranges[i].first);
		assert_int_equal(r.count, ranges[i].count);
	}
	assert_false(kr_have_iter_next(&back.ranges, &r));
	assert_int_equal(kr_msg_have_decode(&h, buf + 12, 999, &back),
			 KR_E_PROTO);
	assert_every_cut_is_refused(buf, len);
	for (size_t cap = 0; cap < len; cap++)
		assert_int_equal(
			kr_msg_have_encode(5, ranges, 2, buf, cap, &len),
			KR_E_TOOBIG);
}

static void have_that_miscounts_its_ranges_is_refused(void **state)
{
	static const struct kr_have_range ranges[] = { { 3, 4 }, { 90, 1 } };
	struct kr_msg_have back;
	uint8_t buf[KR_MSG_SMALL_MAX];
	size_t len;
	(void)state;

	assert_int_equal(
		kr_msg_have_encode(5, ranges, 2, buf, sizeof(buf), &len),
		KR_OK);
	struct kr_frame_head h = head_of(buf, len);
	for (h.arg = 0; h.arg < 5; h.arg++)
		assert_int_equal(kr_msg_have_decode(&h, buf + 12, 1000, &back),
				 h.arg == 2 ? KR_OK : KR_E_PROTO);
}

static void have_too_long_for_a_frame_is_told(void **state)
{
	const uint32_t count = KR_FRAME_CONTROL_MAX / 2;
	const size_t cap = (size_t)count * KR_HAVE_RANGE_LEN_MAX;
	struct kr_have_range *ranges = calloc(count, sizeof(*ranges));
	uint8_t *buf = malloc(cap);
	size_t len;
	(void)state;

	assert_non_null(ranges);
	assert_non_null(buf);
	for (uint32_t i = 0; i < count; i++)
		ranges[i] = (struct kr_have_range){ i * 2, 1 };
	assert_int_equal(kr_msg_have_encode(2, ranges, count, buf, cap, &len),
			 KR_E_TOOBIG);
	assert_int_equal(
		kr_msg_have_encode(2, ranges, count - 3, buf, cap, &len),
		KR_OK);
	assert_int_equal(len, KR_FRAME_HEAD_LEN + KR_FRAME_CONTROL_MAX);
	free(ranges);
	free(buf);
}

static void have_elements_to_come_are_passed_over(void **state)
{
	static const uint8_t packed[] = { 0, 0 };
	uint8_t buf[BUF_LEN];
	struct kr_mp_writer w;
	(void)state;

	kr_mp_w_init(&w, buf, sizeof(buf));
	kr_mp_w_array(&w, 2);
	kr_mp_w_bin(&w, packed, sizeof(packed));
	kr_mp_w_cstr(&w, "new");
	assert_int_equal(decode_body(KR_FRAME_HAVE, 1, &w), KR_OK);
	kr_mp_w_init(&w, buf, sizeof(buf));
	kr_mp_w_array(&w, 0);
	assert_int_equal(decode_body(KR_FRAME_HAVE, 0, &w), KR_E_PROTO);
	kr_mp_w_init(&w, buf, sizeof(buf));
	kr_mp_w_array(&w, 1);
	kr_mp_w_bin(&w, NULL, 0);
	assert_int_equal(decode_body(KR_FRAME_HAVE, 0, &w), KR_E_PROTO);
}

/* ---- REQUEST, CANCEL, REJECT --------------------------------------------*/

static void request_and_cancel_come_back(void **state)
{
	static const enum kr_frame_type types[] = { KR_FRAME_REQUEST,
						    KR_FRAME_CANCEL };
	const struct kr_msg_request m = { 4, 1 << 19, 4000, 96, 292969 };
	struct kr_msg_request back;
	uint8_t buf[KR_MSG_SMALL_MAX];
	size_t len;
	(void)state;

	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(kr_msg_request_encode(types[i], &m, buf,
						       sizeof(buf), &len),
				 KR_OK);
		const struct kr_frame_head h = head_of(buf, len);
		assert_int_equal(h.type, types[i]);
		assert_int_equal(kr_msg_request_decode(&h, buf + 12, &back),
				 KR_OK);
		assert_int_equal(back.stream, m.stream);
		assert_int_equal(back.piece, m.piece);
		assert_int_equal(back.first_block, m.first_block);
		assert_int_equal(back.block_count, m.block_count);
		assert_int_equal(back.gets_kib_s, i == 0 ? m.gets_kib_s : 0);
		assert_every_cut_is_refused(buf, len);
	}
}

static void requests_beyond_any_piece_are_refused(void **state)
{
	static const struct {
		uint64_t v[3];
		enum kr_err err;
	} cases[] = {
		{ { 0, 1, UINT32_MAX }, KR_OK },
		{ { 0, 1, UINT64_C(1) << 32 }, KR_E_PROTO },
		{ { 0, 1 }, KR_OK },
		{ { 0, KR_MSG_BLOCKS_MAX }, KR_OK },
		{ { KR_MSG_BLOCKS_MAX - 1, 1 }, KR_OK },
		{ { 0, 0 }, KR_E_PROTO },
		{ { 0, KR_MSG_BLOCKS_MAX + 1 }, KR_E_PROTO },
		{ { KR_MSG_BLOCKS_MAX, 1 }, KR_E_PROTO },
		{ { UINT32_MAX, 2 }, KR_E_PROTO },
		{ { 2, UINT32_MAX }, KR_E_PROTO },
		{ { UINT64_C(1) << 32, 1 }, KR_E_PROTO },
		{ { 0, (UINT64_C(1) << 32) + 1 }, KR_E_PROTO },
	};
	(void)state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(
			decode_numbers(KR_FRAME_REQUEST, 0, cases[i].v, 3),
			cases[i].err);
	assert_int_equal(decode_numbers(KR_FRAME_REQUEST, KR_MSG_NO_PIECE,
					cases[0].v, 3),
			 KR_E_PROTO);
}

static void arrays_may_grow_but_not_shrink(void **state)
{
	static const uint64_t v[] = { 0, 0, 1, 0, 7, 8, 9 };
	(void)state;

	assert_int_equal(decode_numbers(KR_FRAME_REQUEST, 0, v + 1, 2),
			 KR_E_PROTO);
	assert_int_equal(decode_numbers(KR_FRAME_CANCEL, 0, v + 1, 1),
			 KR_E_PROTO);
	assert_int_equal(decode_numbers(KR_FRAME_CANCEL, 0, v + 1, 2), KR_OK);
	assert_int_equal(decode_numbers(KR_FRAME_REQUEST, 0, v + 1, 5), KR_OK);
	assert_int_equal(decode_numbers(KR_FRAME_REJECT, 0, v, 3), KR_E_PROTO);
	assert_int_equal(decode_numbers(KR_FRAME_REJECT, 0, v, 7), KR_OK);
}

static void reject_comes_back_for_pieces_and_streams(void **state)
{
	static const struct kr_msg_reject cases[] = {
		{ 3, 17, KR_REJECT_BUSY, 2, 5, 250 },
		{ 3, KR_MSG_NO_PIECE, KR_REJECT_FULL, 0, 0, UINT32_MAX },
		{ 3, KR_MSG_NO_PIECE, KR_REJECT_LIMIT, 0, 0, 0 },
	};
	struct kr_msg_reject back;
	uint8_t buf[KR_MSG_SMALL_MAX];
	size_t len;
	(void)state;

	for (size_t i = 0; i < 3; i++) {
		const struct kr_msg_reject *m = &cases[i];
		assert_int_equal(
			kr_msg_reject_encode(m, buf, sizeof(buf), &len), KR_OK);
		const struct kr_frame_head h = head_of(buf, len);
		assert_int_equal(kr_msg_reject_decode(&h, buf + 12, &back),
				 KR_OK);
		assert_int_equal(back.stream, m->stream);
		assert_int_equal(back.piece, m->piece);
		assert_int_equal(back.reason, m->reason);
		assert_int_equal(back.first_block, m->first_block);
		assert_int_equal(back.block_count, m->block_count);
		assert_int_equal(back.retry_ms, m->retry_ms);
		assert_every_cut_is_refused(buf, len);
	}
}

static void reject_names_blocks_of_pieces_only(void **state)
{
	static const uint64_t none[] = { 0, 0, 0, 0 }, one[] = { 0, 0, 1, 0 };
	(void)state;

	assert_int_equal(decode_numbers(KR_FRAME_REJECT, 0, none, 4),
			 KR_E_PROTO);
	assert_int_equal(decode_numbers(KR_FRAME_REJECT, 0, one, 4), KR_OK);
	assert_int_equal(
		decode_numbers(KR_FRAME_REJECT, KR_MSG_NO_PIECE, none, 4),
		KR_OK);
	assert_int_equal(
		decode_numbers(KR_FRAME_REJECT, KR_MSG_NO_PIECE, one, 4),
		KR_E_PROTO);
}

static void reasons_to_come_have_a_plain_meaning(void **state)
{
	static const uint8_t body[] = { 0x94, 99, 0, 1, 0 };
	const struct kr_frame_head reject = { sizeof(body), KR_FRAME_REJECT, 0,
					      2, 0 };
	struct kr_frame_head bye = { 0, KR_FRAME_BYE, 0, 0, 0 };
	struct kr_msg_reject m;
	(void)state;

	assert_int_equal(kr_msg_reject_decode(&reject, body, &m), KR_OK);
	assert_int_equal(m.reason, KR_REJECT_BUSY);
	bye.arg = KR_BYE_SHUTDOWN;
	assert_int_equal(kr_msg_bye_reason(&bye), KR_BYE_SHUTDOWN);
	bye.arg = KR_BYE_REASON_COUNT;
	assert_int_equal(kr_msg_bye_reason(&bye), KR_BYE_NONE);
	bye.arg = UINT32_MAX;
	assert_int_equal(kr_msg_bye_reason(&bye), KR_BYE_NONE);
}

static void every_reject_reason_has_a_name(void **state)
{
	(void)state;
	for (int r = 0; r < KR_REJECT_REASON_COUNT; r++)
		assert_non_null(
			kr_reject_reason_name((enum kr_reject_reason)r));
	assert_string_equal(kr_reject_reason_name(KR_REJECT_NOT_FOUND),
			    "not-found");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hello_comes_back),
		cmocka_unit_test(the_longest_hello_fits_where_small_ones_do),
		cmocka_unit_test(hello_keys_come_in_any_order_among_others),
		cmocka_unit_test(hello_may_leave_out_what_is_optional),
		cmocka_unit_test(hello_beyond_its_limits_is_refused),
		cmocka_unit_test(an_unknown_role_is_an_agent),
		cmocka_unit_test(of_another_version_only_the_version_is_read),
		cmocka_unit_test(open_comes_back),
		cmocka_unit_test(the_longest_open_fits_where_promised),
		cmocka_unit_test(a_have_set_too_long_for_a_frame_is_told),
		cmocka_unit_test(open_beyond_its_limits_is_refused),
		cmocka_unit_test(opened_comes_back),
		cmocka_unit_test(opened_without_a_set_is_refused),
		cmocka_unit_test(have_comes_back),
		cmocka_unit_test(have_that_miscounts_its_ranges_is_refused),
		cmocka_unit_test(have_too_long_for_a_frame_is_told),
		cmocka_unit_test(have_elements_to_come_are_passed_over),
		cmocka_unit_test(request_and_cancel_come_back),
		cmocka_unit_test(requests_beyond_any_piece_are_refused),
		cmocka_unit_test(arrays_may_grow_but_not_shrink),
		cmocka_unit_test(reject_comes_back_for_pieces_and_streams),
		cmocka_unit_test(reject_names_blocks_of_pieces_only),
		cmocka_unit_test(reasons_to_come_have_a_plain_meaning),
		cmocka_unit_test(every_reject_reason_has_a_name),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
