/*
 * test/unit/peerwire/script.h - a node and a peer that is played by the test.
 *
 * The peer says whole frames; what the node answers is kept, frame by frame,
 * until the next thing is said.  Included by tests of this folder only.
 */
#ifndef KR_TEST_PEERWIRE_SCRIPT_H
#define KR_TEST_PEERWIRE_SCRIPT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "peerwire/msg.h"
#include "peerwire/node.h"
#include "test/support/fault_alloc.h"

enum { SCRIPT_ACTS = 256, SCRIPT_OUT = 1 << 20, PIECE = 2 * KR_BLOCK_BYTES };

struct script {
	struct fault_alloc fa;
	struct kr_policy policy;
	struct kr_node *node;
	uint64_t now_ns;
	uint32_t conn; /* of the peer */
	bool dialled;  /* by the node */
	/* since the last thing said */
	uint32_t act_count;
	struct kr_action acts[SCRIPT_ACTS];
	uint8_t out[SCRIPT_OUT]; /* all SEND bytes to .conn */
	size_t out_len;
	uint64_t timer_ns;
	size_t untaken;
};

static inline void script_drain(struct script *s)
{
	struct kr_action a;

	s->act_count = 0;
	s->out_len = 0;
	while (kr_node_next_action(s->node, &a)) {
		if (a.type == KR_ACT_SEND && a.conn == s->conn) {
			assert_true(s->out_len + a.len <= SCRIPT_OUT);
			memcpy(s->out + s->out_len, a.bytes, a.len);
			s->out_len += a.len;
		} else if (a.type == KR_ACT_TIMER) {
			s->timer_ns = a.at_ns;
		} else if (a.type != KR_ACT_SEND) {
			assert_true(s->act_count < SCRIPT_ACTS);
			s->acts[s->act_count++] = a;
		}
	}
	kr_node_check(s->node);
}

static inline struct kr_action *script_find(struct script *s,
					    enum kr_action_type type)
{
	for (uint32_t i = 0; i < s->act_count; i++)
		if (s->acts[i].type == type)
			return &s->acts[i];
	return NULL;
}

/* The @nth frame of @type that was sent; its head in *h, its body returned. */
static inline const uint8_t *script_frame(const struct script *s, uint8_t type,
					  uint32_t nth, struct kr_frame_head *h)
{
	for (size_t at = 0; at < s->out_len;) {
		assert_int_equal(
			kr_frame_head_decode(s->out + at, s->out_len - at, h),
			KR_OK);
		if (h->type == type && nth-- == 0)
			return s->out + at + KR_FRAME_HEAD_LEN;
		at += KR_FRAME_HEAD_LEN + h->len;
	}
	return NULL;
}

static inline uint32_t script_frame_count(const struct script *s, uint8_t type)
{
	struct kr_frame_head h;
	uint32_t count = 0;

	while (script_frame(s, type, count, &h) != NULL)
		count++;
	return count;
}

static inline void script_bytes(struct script *s, const uint8_t *buf,
				size_t len)
{
	size_t taken;

	kr_node_conn_bytes(s->node, s->now_ns, s->conn, buf, len, &taken);
	s->untaken = len - taken;
	script_drain(s);
}

static inline void script_plain(struct script *s, enum kr_frame_type type,
				uint16_t stream, uint32_t arg)
{
	uint8_t buf[KR_FRAME_HEAD_LEN];

	kr_msg_plain_encode(type, stream, arg, buf);
	script_bytes(s, buf, sizeof(buf));
}

static inline struct kr_peer_id script_id(uint8_t first)
{
	struct kr_peer_id id = { { first, 1, 2, 3 } };

	return id;
}

static inline size_t script_hello_bytes(uint8_t *buf, uint8_t id,
					const char *cluster, const char *zone,
					enum kr_peer_role role)
{
	const struct kr_msg_hello m = {
		.version = KR_PROTO_VERSION,
		.id = script_id(id),
		.cluster = { (const uint8_t *)cluster, strlen(cluster) },
		.zone = { (const uint8_t *)zone, strlen(zone) },
		.role = role,
		.listen_port = 9000,
	};
	size_t len;

	assert_int_equal(kr_msg_hello_encode(&m, buf, KR_MSG_SMALL_MAX, &len),
			 KR_OK);
	return len;
}

static inline void script_hello(struct script *s, uint8_t id,
				enum kr_peer_role role)
{
	uint8_t buf[KR_MSG_SMALL_MAX];

	script_bytes(s, buf, script_hello_bytes(buf, id, "test", "", role));
}

static inline void script_hello_from(struct script *s, uint8_t id,
				     const char *zone)
{
	uint8_t buf[KR_MSG_SMALL_MAX];

	script_bytes(s, buf,
		     script_hello_bytes(buf, id, "test", zone, KR_PEER_AGENT));
}

static inline struct kr_digest script_digest(uint8_t n)
{
	struct kr_digest d = { .alg = KR_SHA256, .bytes = { n, 7 } };

	return d;
}

static inline struct kr_addr script_addr(uint8_t host)
{
	struct kr_addr a = { .port = 9000 };

	a.ip[10] = a.ip[11] = 0xff;
	a.ip[12] = 10;
	a.ip[15] = host;
	return a;
}

/* A blob of @pieces pieces of 1 MiB. */
static inline enum kr_err script_add(struct script *s, uint8_t n,
				     uint32_t pieces, bool complete,
				     uint32_t lookup, uint32_t *ret_blob)
{
	const struct kr_blob_opts o = {
		.digest = script_digest(n),
		.ns = "lib/x",
		.metainfo_id = { n },
		.size_bytes = (uint64_t)pieces * PIECE,
		.piece_bytes = PIECE,
		.complete = complete,
		.lookup = lookup,
	};
	const enum kr_err err =
		kr_node_blob_add(s->node, s->now_ns, &o, ret_blob);

	script_drain(s);
	return err;
}

static inline void script_open(struct script *s, uint16_t stream, uint8_t n,
			       uint32_t pieces, enum kr_have_form form)
{
	const uint8_t have = (uint8_t)form;
	const struct kr_msg_open m = {
		.stream = stream,
		.ns = { (const uint8_t *)"lib/x", 5 },
		.digest = script_digest(n),
		.metainfo_id = { n },
		.size_bytes = (uint64_t)pieces * PIECE,
		.piece_bytes = PIECE,
		.block_bytes = KR_BLOCK_BYTES,
		.have = { &have, 1 },
	};
	uint8_t buf[KR_MSG_OPEN_FIXED_MAX + 1];
	size_t len;

	assert_int_equal(kr_msg_open_encode(&m, buf, sizeof(buf), &len), KR_OK);
	script_bytes(s, buf, len);
}

/* The peer connects to the node. */
static inline void script_accept(struct script *s, uint8_t host)
{
	const struct kr_addr from = script_addr(host);

	assert_int_equal(
		kr_node_conn_accepted(s->node, s->now_ns, &from, &s->conn),
		KR_OK);
	script_drain(s);
}

/* A peer connects, says HELLO and opens blob @n on stream 2. */
static inline void script_join(struct script *s, uint8_t id,
			       enum kr_peer_role role, uint8_t n,
			       uint32_t pieces, enum kr_have_form form)
{
	script_accept(s, id);
	script_hello(s, id, role);
	script_open(s, 2, n, pieces, form);
}

/* The @nth REQUEST that was sent since something was said; its piece. */
static inline uint32_t script_requested(const struct script *s, uint32_t nth,
					struct kr_msg_request *ret)
{
	struct kr_frame_head h;
	const uint8_t *body = script_frame(s, KR_FRAME_REQUEST, nth, &h);

	assert_non_null(body);
	assert_int_equal(kr_msg_request_decode(&h, body, ret), KR_OK);
	return ret->piece;
}

/* By somebody who gets @gets_kib_s. */
static inline void script_request_of(struct script *s, enum kr_frame_type type,
				     uint16_t stream, uint32_t piece,
				     uint32_t first, uint32_t count,
				     uint32_t gets_kib_s)
{
	const struct kr_msg_request m = { .stream = stream,
					  .piece = piece,
					  .first_block = first,
					  .block_count = count,
					  .gets_kib_s = gets_kib_s };
	uint8_t buf[KR_MSG_SMALL_MAX];
	size_t len;

	assert_int_equal(
		kr_msg_request_encode(type, &m, buf, sizeof(buf), &len), KR_OK);
	script_bytes(s, buf, len);
}

static inline void script_request(struct script *s, enum kr_frame_type type,
				  uint16_t stream, uint32_t piece,
				  uint32_t first, uint32_t count)
{
	script_request_of(s, type, stream, piece, first, count, 0);
}

static inline void script_have(struct script *s, uint16_t stream,
			       uint32_t first, uint32_t count)
{
	const struct kr_have_range r = { first, count };
	uint8_t buf[KR_MSG_SMALL_MAX];
	size_t len;

	assert_int_equal(
		kr_msg_have_encode(stream, &r, 1, buf, sizeof(buf), &len),
		KR_OK);
	script_bytes(s, buf, len);
}

/* The front of a block, up to its payload. */
static inline void script_block(struct script *s, uint16_t stream,
				uint32_t piece, uint32_t offset, uint32_t len)
{
	const struct kr_block_head h = { .offset = offset };
	uint8_t buf[KR_FRAME_BLOCK_LEN];

	kr_block_encode(stream, piece, &h, len, buf);
	script_bytes(s, buf, sizeof(buf));
}

static inline void script_body_done(struct script *s)
{
	kr_node_body_done(s->node, s->now_ns, s->conn);
	script_drain(s);
}

static inline void script_wait(struct script *s, uint64_t ns)
{
	const uint64_t until = s->now_ns + ns;

	/* Actions of all the time are kept: timers give few. */
	while (s->timer_ns <= until) {
		s->now_ns = s->timer_ns > s->now_ns ? s->timer_ns : s->now_ns;
		s->timer_ns = UINT64_MAX;
		kr_node_timer(s->node, s->now_ns);
		script_drain(s);
		if (s->act_count > 0 || s->out_len > 0)
			return;
	}
	s->now_ns = until;
}

static inline bool script_closed_for(struct script *s, enum kr_bye_reason why)
{
	const struct kr_action *a = script_find(s, KR_ACT_CLOSE);

	return a != NULL && a->conn == s->conn && a->reason == why;
}

/* A node whose policy is the default, changed by @adjust (NULL: not). */
static inline struct script *script_new_with(enum kr_peer_role role,
					     void (*adjust)(struct kr_policy *))
{
	struct script *s = calloc(1, sizeof(*s));
	struct kr_node_opts o = {
		.role = role,
		.cluster = "test",
		.zone = "z",
		.id = { { 50 } },
		.seed = 3,
	};

	assert_non_null(s);
	fault_alloc_init(&s->fa, UINT32_MAX);
	kr_policy_defaults(&s->policy);
	/* Room for two pieces: what is asked is easy to follow. */
	s->policy.window_min_bytes = s->policy.window_max_bytes = 2 * PIECE;
	if (adjust != NULL)
		adjust(&s->policy);
	o.alloc = &s->fa.alloc;
	o.policy = &s->policy;
	s->now_ns = 1000000000;
	s->timer_ns = UINT64_MAX;
	assert_int_equal(kr_node_open(&o, &s->node), KR_OK);
	return s;
}

static inline struct script *script_new(enum kr_peer_role role)
{
	return script_new_with(role, NULL);
}

static inline void script_free(struct script *s)
{
	kr_node_close(s->node);
	assert_int_equal(s->fa.live, 0);
	free(s);
}

#endif
