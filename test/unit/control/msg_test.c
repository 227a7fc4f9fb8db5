/*
 * test/unit/control/msg_test.c - control/tracker_msg, origin_msg and
 * index_msg, one behaviour per test.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "control/index_msg.h"
#include "control/origin_msg.h"
#include "control/tracker_msg.h"
#include "core/rand.h"

static struct kr_digest digest(uint8_t n)
{
	struct kr_digest d = { .alg = n % 2 ? KR_SHA512 : KR_SHA256 };

	memset(d.bytes, n, kr_digest_len((enum kr_digest_alg)d.alg));
	return d;
}

static struct kr_tracker_msg_peer peer(uint8_t n)
{
	struct kr_tracker_msg_peer p = { .port = 65535, .role = KR_PEER_PROXY };

	memset(p.id.bytes, n, sizeof(p.id.bytes));
	memset(p.zone, 'z', KR_NAME_MAX);
	memset(p.cluster, 'c', KR_NAME_MAX);
	strcpy(p.ip, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
	return p;
}

/* The longest message of each kind, to try every bound. */
struct message {
	uint8_t *buf;
	size_t len;
};

static struct message encode_announce(uint32_t blobs, uint32_t gone)
{
	const size_t cap = kr_tracker_msg_announce_max(blobs, gone);
	const struct kr_tracker_msg_peer p = peer(3);
	struct kr_tracker_msg_blob *b = calloc(blobs + 1, sizeof(*b));
	struct kr_digest *g = calloc(gone + 1, sizeof(*g));
	struct message m = { .buf = malloc(cap) };
	struct kr_mp_writer w;

	assert_true(b != NULL && g != NULL && m.buf != NULL);
	for (uint32_t i = 0; i < blobs; i++) {
		b[i].item.digest = digest(1);
		b[i].item.complete = i % 2;
		b[i].item.degree = UINT32_MAX;
		b[i].item.want = UINT32_MAX - i;
		memset(b[i].ns, 'n', KR_NAMESPACE_MAX);
	}
	for (uint32_t i = 0; i < gone; i++)
		g[i] = digest(1);
	kr_mp_w_init(&w, m.buf, cap);
	kr_tracker_msg_announce_encode(&w, &p, b, blobs, g, gone);
	assert_int_equal(kr_mp_w_done(&w, &m.len), KR_OK);
	free(b);
	free(g);
	return m;
}

static struct message encode_reply(uint32_t blobs)
{
	const size_t cap = kr_tracker_msg_reply_max(blobs);
	struct kr_tracker_pick picks[KR_TRACKER_MSG_PICKS_MAX] = { 0 };
	struct message m = { .buf = malloc(cap) };
	struct kr_mp_writer w;

	assert_non_null(m.buf);
	for (uint32_t i = 0; i < KR_TRACKER_MSG_PICKS_MAX; i++) {
		memset(&picks[i].id, (int)i, sizeof(picks[i].id));
		memset(&picks[i].addr, 0xff, sizeof(picks[i].addr));
		picks[i].role = KR_PEER_ORIGIN;
		picks[i].complete = i % 2;
		memset(picks[i].zone, 'z', KR_NAME_MAX);
	}
	kr_mp_w_init(&w, m.buf, cap);
	kr_tracker_msg_reply_begin(&w, 30000, blobs);
	for (uint32_t i = 0; i < blobs; i++) {
		const struct kr_digest d = digest(1);
		kr_tracker_msg_reply_blob(&w, &d, picks,
					  KR_TRACKER_MSG_PICKS_MAX);
	}
	assert_int_equal(kr_mp_w_done(&w, &m.len), KR_OK);
	return m;
}

static struct message encode_ingest(uint32_t peers)
{
	static const uint8_t metainfo[1000];
	const size_t cap = kr_origin_msg_ingest_max(sizeof(metainfo), peers);
	struct kr_tracker_msg_peer p[KR_ORIGIN_MSG_PEERS_MAX];
	struct message m = { .buf = malloc(cap) };
	char ns[KR_NAMESPACE_MAX + 1] = { 0 };
	const struct kr_digest d = digest(1);
	struct kr_mp_writer w;

	assert_non_null(m.buf);
	memset(ns, 'n', KR_NAMESPACE_MAX);
	for (uint32_t i = 0; i < peers; i++)
		p[i] = peer((uint8_t)i);
	kr_mp_w_init(&w, m.buf, cap);
	kr_origin_msg_ingest_encode(
		&w, ns, &d, (struct kr_bytes){ metainfo, sizeof(metainfo) }, p,
		peers);
	assert_int_equal(kr_mp_w_done(&w, &m.len), KR_OK);
	return m;
}

static struct message encode_entry(void)
{
	struct message m = { .buf = malloc(KR_INDEX_MSG_ENTRY_MAX) };
	struct kr_index_entry e = { .digest = digest(1),
				    .clock = UINT64_MAX,
				    .node = UINT64_MAX };
	struct kr_mp_writer w;

	assert_non_null(m.buf);
	memset(e.repo, 'r', sizeof(e.repo) - 1);
	memset(e.tag, 't', sizeof(e.tag) - 1);
	kr_mp_w_init(&w, m.buf, KR_INDEX_MSG_ENTRY_MAX);
	kr_index_msg_entry_encode(&w, &e);
	assert_int_equal(kr_mp_w_done(&w, &m.len), KR_OK);
	return m;
}

static struct kr_bytes bytes_of(const struct message *m)
{
	return (struct kr_bytes){ m->buf, m->len };
}

/* ---- round trips at the bounds ---- */

static void test_the_longest_announce_comes_back(void **state)
{
	struct message m = encode_announce(KR_TRACKER_MSG_BLOBS_MAX,
					   KR_TRACKER_MSG_GONE_MAX);
	const struct kr_tracker_msg_peer want = peer(3);
	const struct kr_digest d = digest(1);
	struct kr_tracker_msg_announce a;
	struct kr_tracker_msg_blob b;
	struct kr_digest g;
	uint32_t count = 0;
	(void)state;

	assert_int_equal(kr_tracker_msg_announce_decode(bytes_of(&m), &a),
			 KR_OK);
	assert_memory_equal(&a.peer.id, &want.id, sizeof(want.id));
	assert_string_equal(a.peer.ip, want.ip);
	assert_string_equal(a.peer.zone, want.zone);
	assert_string_equal(a.peer.cluster, want.cluster);
	assert_int_equal(a.peer.port, 65535);
	assert_int_equal(a.peer.role, KR_PEER_PROXY);
	while (kr_tracker_msg_next_blob(&a, &b)) {
		assert_true(kr_digest_equal(&b.item.digest, &d));
		assert_int_equal(b.item.complete, count % 2);
		assert_int_equal(b.item.want, UINT32_MAX - count);
		assert_int_equal(strlen(b.ns), KR_NAMESPACE_MAX);
		count++;
	}
	assert_int_equal(count, KR_TRACKER_MSG_BLOBS_MAX);
	for (count = 0; kr_tracker_msg_next_gone(&a, &g); count++)
		assert_true(kr_digest_equal(&g, &d));
	assert_int_equal(count, KR_TRACKER_MSG_GONE_MAX);
	free(m.buf);
}

static void test_the_longest_answer_comes_back(void **state)
{
	static struct kr_tracker_pick picks[KR_TRACKER_MSG_PICKS_MAX];
	struct message m = encode_reply(KR_TRACKER_MSG_BLOBS_MAX);
	struct kr_tracker_msg_reply r;
	struct kr_digest d;
	uint32_t count, blobs = 0;
	(void)state;

	assert_int_equal(kr_tracker_msg_reply_decode(bytes_of(&m), &r), KR_OK);
	assert_int_equal(r.interval_ms, 30000);
	while (kr_tracker_msg_reply_next(&r, &d, picks, &count)) {
		assert_int_equal(count, KR_TRACKER_MSG_PICKS_MAX);
		assert_int_equal(picks[7].id.bytes[3], 7);
		assert_true(picks[7].complete && !picks[8].complete);
		assert_int_equal(picks[7].addr.port, 65535);
		assert_int_equal(picks[7].addr.ip[5], 0xff);
		assert_int_equal(picks[7].role, KR_PEER_ORIGIN);
		blobs++;
	}
	assert_int_equal(blobs, KR_TRACKER_MSG_BLOBS_MAX);
	free(m.buf);
}

static void test_the_longest_ingest_comes_back(void **state)
{
	static struct kr_origin_msg_ingest in;
	struct message m = encode_ingest(KR_ORIGIN_MSG_PEERS_MAX);
	(void)state;

	assert_int_equal(kr_origin_msg_ingest_decode(bytes_of(&m), &in), KR_OK);
	assert_int_equal(in.metainfo.len, 1000);
	assert_int_equal(in.peer_count, KR_ORIGIN_MSG_PEERS_MAX);
	assert_int_equal(in.peers[9].id.bytes[0], 9);
	assert_int_equal(strlen(in.ref.ns), KR_NAMESPACE_MAX);
	free(m.buf);
}

static void test_the_longest_entry_comes_back(void **state)
{
	struct message m = encode_entry();
	struct kr_index_entry e;
	(void)state;

	assert_int_equal(
		kr_index_msg_entry_decode(bytes_of(&m), KR_INDEX_MSG_STAMP, &e),
		KR_OK);
	assert_true(e.clock == UINT64_MAX && e.node == UINT64_MAX);
	assert_int_equal(strlen(e.repo), KR_INDEX_REPO_MAX - 1);
	assert_int_equal(strlen(e.tag), KR_INDEX_TAG_MAX - 1);
	free(m.buf);
}

/* The longest names fit, too. */
static void seek_comes_back(const char *cluster, const struct kr_digest *d)
{
	uint8_t buf[KR_ORIGIN_MSG_SEEK_MAX];
	struct kr_origin_msg_seek seek;
	char ns[KR_NAMESPACE_MAX + 1];
	struct kr_mp_writer w;

	memset(ns, 'n', sizeof(ns));
	ns[KR_NAMESPACE_MAX] = '\0';
	kr_mp_w_init(&w, buf, sizeof(buf));
	kr_origin_msg_seek_encode(&w, ns, d, cluster);
	assert_false(w.overflow);
	assert_int_equal(kr_origin_msg_seek_decode(
				 (struct kr_bytes){ buf, w.len }, &seek),
			 KR_OK);
	assert_string_equal(seek.ref.ns, ns);
	assert_string_equal(seek.cluster, cluster);
	assert_true(kr_digest_equal(&seek.ref.digest, d));
}

static void test_small_messages_come_back(void **state)
{
	const struct kr_digest d = digest(4);
	const struct kr_tracker_msg_peer p = peer(5);
	struct kr_tracker_msg_peer got;
	struct kr_origin_msg_ref ref;
	struct kr_peer_id id;
	struct kr_digest back;
	struct kr_bytes bin;
	struct kr_mp_writer w;
	uint8_t buf[512];
	char longest[KR_NAME_MAX + 1];
	uint64_t size;
	(void)state;

	memset(longest, 'c', sizeof(longest));
	longest[KR_NAME_MAX] = '\0';
	kr_mp_w_init(&w, buf, KR_ORIGIN_MSG_REF_MAX);
	kr_origin_msg_ref_encode(&w, "a/b", &d);
	assert_int_equal(
		kr_origin_msg_ref_decode((struct kr_bytes){ buf, w.len }, &ref),
		KR_OK);
	assert_string_equal(ref.ns, "a/b");
	seek_comes_back("", &d);
	seek_comes_back("prod", &d);
	seek_comes_back(longest, &d);
	kr_mp_w_init(&w, buf, sizeof(buf));
	kr_origin_msg_metainfo_encode(&w, (struct kr_bytes){ d.bytes, 9 });
	assert_int_equal(kr_origin_msg_metainfo_decode(
				 (struct kr_bytes){ buf, w.len }, &bin),
			 KR_OK);
	assert_int_equal(bin.len, 9);
	kr_mp_w_init(&w, buf, sizeof(buf));
	kr_origin_msg_stat_encode(&w, UINT64_MAX);
	assert_int_equal(kr_origin_msg_stat_decode(
				 (struct kr_bytes){ buf, w.len }, &size),
			 KR_OK);
	assert_true(size == UINT64_MAX);
	kr_mp_w_init(&w, buf, KR_ORIGIN_MSG_INFO_MAX);
	kr_origin_msg_info_encode(&w, &p);
	assert_false(w.overflow);
	assert_int_equal(kr_origin_msg_info_decode(
				 (struct kr_bytes){ buf, w.len }, &got),
			 KR_OK);
	assert_memory_equal(&got, &p, sizeof(p));
	kr_mp_w_init(&w, buf, sizeof(buf));
	kr_tracker_msg_report_encode(&w, &d, &p.id);
	assert_int_equal(kr_tracker_msg_report_decode(
				 (struct kr_bytes){ buf, w.len }, &back, &id),
			 KR_OK);
	assert_true(kr_digest_equal(&back, &d));
	assert_memory_equal(&id, &p.id, sizeof(id));
}

/* ---- the negative space ---- */

/* Decode by every decoder; whatever it is, nothing may go wrong, and what was
 * accepted can be walked. */
static uint32_t decode_by_all(struct kr_bytes b)
{
	static struct kr_origin_msg_ingest in;
	static struct kr_tracker_pick picks[KR_TRACKER_MSG_PICKS_MAX];
	struct kr_tracker_msg_announce a;
	struct kr_tracker_msg_reply r;
	struct kr_tracker_msg_blob blob;
	struct kr_tracker_msg_peer p;
	struct kr_index_msg_list l;
	struct kr_index_msg_names names;
	struct kr_index_entry e;
	struct kr_digest d;
	struct kr_peer_id id;
	struct kr_bytes bin;
	uint64_t size;
	uint32_t count, ok = 0;

	if (kr_tracker_msg_announce_decode(b, &a) == KR_OK) {
		ok++;
		while (kr_tracker_msg_next_blob(&a, &blob))
			;
		while (kr_tracker_msg_next_gone(&a, &d))
			;
	}
	if (kr_tracker_msg_reply_decode(b, &r) == KR_OK) {
		ok++;
		while (kr_tracker_msg_reply_next(&r, &d, picks, &count))
			;
	}
	if (kr_index_msg_names_decode(b, "tags", &names) == KR_OK) {
		ok++;
		while (kr_index_msg_names_next(&names, &bin))
			;
	}
	ok += kr_origin_msg_ingest_decode(b, &in) == KR_OK;
	ok += kr_origin_msg_info_decode(b, &p) == KR_OK;
	ok += kr_origin_msg_stat_decode(b, &size) == KR_OK;
	ok += kr_origin_msg_metainfo_decode(b, &bin) == KR_OK;
	ok += kr_tracker_msg_report_decode(b, &d, &id) == KR_OK;
	ok += kr_index_msg_list_decode(b, &l) == KR_OK;
	ok += kr_index_msg_entry_decode(b, 0, &e) == KR_OK;
	return ok;
}

static void test_every_truncation_is_refused_by_all(void **state)
{
	struct message m[] = { encode_announce(2, 2), encode_reply(1),
			       encode_ingest(2), encode_entry() };
	(void)state;

	for (size_t i = 0; i < 4; i++) {
		assert_true(decode_by_all(bytes_of(&m[i])) > 0);
		for (size_t len = 0; len < m[i].len; len++) {
			/* In memory of its own, so that a read beyond it is
			 * seen. */
			uint8_t *copy = malloc(len + 1);
			assert_non_null(copy);
			memcpy(copy, m[i].buf, len);
			copy = realloc(copy, len == 0 ? 1 : len);
			assert_int_equal(
				decode_by_all((struct kr_bytes){ copy, len }),
				0);
			free(copy);
		}
		free(m[i].buf);
	}
}

static void test_no_mutation_breaks_a_decoder(void **state)
{
	struct message m[] = { encode_announce(3, 3), encode_reply(2),
			       encode_ingest(3), encode_entry() };
	struct kr_rand r;
	(void)state;

	kr_rand_init(&r, 11);
	for (uint32_t round = 0; round < 20000; round++) {
		const struct message *from = &m[round % 4];
		uint8_t *copy = malloc(from->len);

		assert_non_null(copy);
		memcpy(copy, from->buf, from->len);
		for (uint32_t n = 1 + kr_rand_below(&r, 4); n > 0; n--)
			copy[kr_rand_below(&r, (uint32_t)from->len)] =
				(uint8_t)kr_rand_u64(&r);
		(void)decode_by_all((struct kr_bytes){ copy, from->len });
		free(copy);
	}
	for (size_t i = 0; i < 4; i++)
		free(m[i].buf);
}

/* One more than the limit is refused, though all of it is well-formed. */
static void test_counts_above_their_limit_are_refused(void **state)
{
	static uint8_t buf[1 << 20];
	struct kr_tracker_msg_announce a;
	struct kr_index_msg_names names;
	struct kr_mp_writer w;
	char text[KR_DIGEST_TEXT_MAX];
	const struct kr_digest d = digest(2);
	(void)state;

	kr_mp_w_init(&w, buf, sizeof(buf));
	kr_mp_w_map(&w, 1);
	kr_mp_w_cstr(&w, "gone");
	kr_mp_w_array(&w, KR_TRACKER_MSG_GONE_MAX + 1);
	for (uint32_t i = 0; i <= KR_TRACKER_MSG_GONE_MAX; i++)
		kr_mp_w_cstr(&w, kr_digest_print(&d, text));
	assert_false(w.overflow);
	assert_int_equal(kr_tracker_msg_announce_decode(
				 (struct kr_bytes){ buf, w.len }, &a),
			 KR_E_PROTO);
	kr_mp_w_init(&w, buf, sizeof(buf));
	kr_mp_w_map(&w, 1);
	kr_mp_w_cstr(&w, "tags");
	kr_mp_w_array(&w, KR_INDEX_LIST_MAX + 1);
	for (uint32_t i = 0; i <= KR_INDEX_LIST_MAX; i++)
		kr_mp_w_cstr(&w, "t");
	assert_int_equal(
		kr_index_msg_names_decode((struct kr_bytes){ buf, w.len },
					  "tags", &names),
		KR_E_PROTO);
}

static void test_unknown_keys_are_skipped(void **state)
{
	uint8_t buf[256];
	struct kr_mp_writer w;
	uint64_t size;
	(void)state;

	kr_mp_w_init(&w, buf, sizeof(buf));
	kr_mp_w_map(&w, 2);
	kr_mp_w_cstr(&w, "of the future");
	kr_mp_w_array(&w, 2);
	kr_mp_w_map(&w, 1);
	kr_mp_w_nil(&w);
	kr_mp_w_bool(&w, true);
	kr_mp_w_u64(&w, 3);
	kr_mp_w_cstr(&w, "size");
	kr_mp_w_u64(&w, 77);
	assert_int_equal(kr_origin_msg_stat_decode(
				 (struct kr_bytes){ buf, w.len }, &size),
			 KR_OK);
	assert_int_equal(size, 77);
}

static void test_an_address_is_the_ip_or_the_connections(void **state)
{
	struct kr_tracker_msg_peer p = { .port = 7, .ip = "10.1.2.3" };
	struct kr_addr from, a;
	char text[KR_ADDR_TEXT_MAX];
	(void)state;

	assert_int_equal(kr_addr_parse("9.9.9.9:1234", 12, &from), KR_OK);
	assert_int_equal(kr_tracker_msg_peer_addr(&p, &from, &a), KR_OK);
	assert_string_equal(kr_addr_print(&a, text), "10.1.2.3:7");
	strcpy(p.ip, "fe80::1");
	assert_int_equal(kr_tracker_msg_peer_addr(&p, NULL, &a), KR_OK);
	assert_string_equal(kr_addr_print(&a, text), "[fe80::1]:7");
	strcpy(p.ip, "");
	assert_int_equal(kr_tracker_msg_peer_addr(&p, &from, &a), KR_OK);
	assert_string_equal(kr_addr_print(&a, text), "9.9.9.9:7");
	assert_int_equal(kr_tracker_msg_peer_addr(&p, NULL, &a), KR_E_PROTO);
	strcpy(p.ip, "10.1.2");
	assert_int_equal(kr_tracker_msg_peer_addr(&p, &from, &a), KR_E_PROTO);
}

static void test_a_pick_becomes_a_hint(void **state)
{
	struct kr_tracker_pick p = { .role = KR_PEER_ORIGIN,
				     .complete = true,
				     .zone = "dc1" };
	struct kr_peer_hint h;
	(void)state;

	p.addr.port = 5;
	kr_tracker_pick_hint(&p, "dc1", &h);
	assert_true(h.same_zone && h.complete);
	assert_int_equal(h.role, KR_PEER_ORIGIN);
	assert_int_equal(h.addr.port, 5);
	kr_tracker_pick_hint(&p, "dc2", &h);
	assert_false(h.same_zone);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_longest_announce_comes_back),
		cmocka_unit_test(test_the_longest_answer_comes_back),
		cmocka_unit_test(test_the_longest_ingest_comes_back),
		cmocka_unit_test(test_the_longest_entry_comes_back),
		cmocka_unit_test(test_small_messages_come_back),
		cmocka_unit_test(test_every_truncation_is_refused_by_all),
		cmocka_unit_test(test_no_mutation_breaks_a_decoder),
		cmocka_unit_test(test_counts_above_their_limit_are_refused),
		cmocka_unit_test(test_unknown_keys_are_skipped),
		cmocka_unit_test(test_an_address_is_the_ip_or_the_connections),
		cmocka_unit_test(test_a_pick_becomes_a_hint),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
