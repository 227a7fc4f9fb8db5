/*
 * test/fuzz/peerwire/node_fuzz.c - no sequence of events and no bytes from
 * peers may break a node.
 *
 * The input is a program: a byte picks an event, the bytes after it are its
 * arguments.  Frames are made with sound heads (so that most get past the
 * first judgement) around bodies from the input, or are raw bytes.  The oracle
 * is kr_node_check after every event, and the rules of actions below.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/bytes.h"
#include "core/err.h"
#include "peerwire/msg.h"
#include "peerwire/node.h"

enum { CONNS = 4, BLOBS = 3, PIECES = 5, PIECE = 65536, VERIFIES = 64 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct blob {
	bool added;
	uint32_t handle;
	uint32_t have; /* bits */
};

struct state {
	struct kr_node *n;
	uint64_t now_ns;
	const uint8_t *in;
	size_t left;
	uint32_t conns[CONNS]; /* 0: none */
	bool dialling[CONNS], in_body[CONNS], serving[CONNS];
	uint16_t numbers[CONNS]; /* of streams opened by the peer */
	struct blob blobs[BLOBS];
	struct {
		uint32_t blob, piece;
	} verifies[VERIFIES];
	uint32_t verify_count;
	uint32_t lookups[8], lookup_count;
	uint64_t timer_ns;
};

static uint8_t take(struct state *s)
{
	if (s->left == 0)
		return 0;
	s->left--;
	return *s->in++;
}

static int slot_of(const struct state *s, uint32_t conn)
{
	for (int i = 0; i < CONNS; i++)
		if (s->conns[i] == conn && conn != 0)
			return i;
	return -1;
}

static struct blob *blob_of(struct state *s, uint32_t handle)
{
	for (int i = 0; i < BLOBS; i++)
		if (s->blobs[i].added && s->blobs[i].handle == handle)
			return &s->blobs[i];
	return NULL;
}

static void on_dial(struct state *s, const struct kr_action *a)
{
	for (int i = 0; i < CONNS; i++) {
		if (s->conns[i] != 0)
			continue;
		s->conns[i] = a->conn;
		s->dialling[i] = true;
		s->in_body[i] = s->serving[i] = false;
		s->numbers[i] = 1;
		return;
	}
}

static void on_action(struct state *s, const struct kr_action *a)
{
	const int i = slot_of(s, a->conn);
	const struct blob *b = blob_of(s, a->blob);

	switch (a->type) {
	case KR_ACT_DIAL:
		on_dial(s, a);
		break;
	case KR_ACT_SEND:
		kr_assert(a->len > 0 && a->bytes != NULL);
		break;
	case KR_ACT_SERVE:
		kr_assert(i >= 0 && !s->serving[i] && b != NULL);
		kr_assert(b->have >> a->piece & 1);
		kr_assert(a->offset == 0 && a->len == PIECE);
		s->serving[i] = true;
		break;
	case KR_ACT_BODY:
		kr_assert(i >= 0 && !s->in_body[i]);
		kr_assert(a->discard || (b != NULL && a->piece < PIECES));
		kr_assert(a->discard || !(b->have >> a->piece & 1));
		s->in_body[i] = true;
		break;
	case KR_ACT_VERIFY:
		kr_assert(b != NULL && !(b->have >> a->piece & 1));
		kr_assert(s->verify_count < VERIFIES);
		s->verifies[s->verify_count].blob = a->blob;
		s->verifies[s->verify_count++].piece = a->piece;
		break;
	case KR_ACT_LOOKUP:
		kr_assert(a->lookup != 0);
		s->lookups[s->lookup_count++ % 8] = a->lookup;
		break;
	case KR_ACT_DONE:
		kr_assert(b != NULL && b->have == (1u << PIECES) - 1);
		break;
	case KR_ACT_CLOSE:
		if (i >= 0)
			s->conns[i] = 0;
		break;
	case KR_ACT_TIMER:
		s->timer_ns = a->at_ns;
		break;
	default:
		break;
	}
}

static void drain(struct state *s)
{
	struct kr_action a;

	while (kr_node_next_action(s->n, &a))
		on_action(s, &a);
	kr_node_check(s->n);
}

static struct kr_digest digest_of(uint32_t blob)
{
	struct kr_digest d = { .alg = KR_SHA256, .bytes = { (uint8_t)blob } };

	return d;
}

static void add_blob(struct state *s, uint32_t blob, bool complete,
		     uint32_t lookup)
{
	struct blob *b = &s->blobs[blob];
	const uint64_t have = b->have;
	const struct kr_blob_opts o = {
		.digest = digest_of(blob),
		.ns = "x",
		.size_bytes = PIECES * PIECE,
		.piece_bytes = PIECE,
		.complete = complete,
		.have_words = &have,
		.lookup = lookup,
		.rank = (uint8_t)blob,
	};

	if (b->added)
		return;
	if (complete)
		b->have = (1u << PIECES) - 1;
	if (kr_node_blob_add(s->n, s->now_ns, &o, &b->handle) == KR_OK)
		b->added = true;
}

static void bytes(struct state *s, int i, const uint8_t *buf, size_t len)
{
	size_t at = 0;

	while (at < len && s->conns[i] != 0 && !s->in_body[i]) {
		size_t taken = 0;

		kr_node_conn_bytes(s->n, s->now_ns, s->conns[i], buf + at,
				   len - at, &taken);
		kr_assert(taken <= len - at);
		drain(s);
		at += taken;
	}
}

/* ---- frames ------------------------------------------------------------- */

static size_t make_hello(struct state *s, uint8_t *buf, size_t cap)
{
	const struct kr_msg_hello m = {
		.version = KR_PROTO_VERSION,
		.id = { { take(s) % 4 } },
		.cluster = { (const uint8_t *)"c", 1 },
		.role = take(s) % KR_PEER_ROLE_COUNT,
	};
	size_t len = 0;

	return kr_msg_hello_encode(&m, buf, cap, &len) == KR_OK ? len : 0;
}

static size_t make_open(struct state *s, int i, uint8_t *buf, size_t cap)
{
	const uint8_t arg = take(s);
	const uint8_t have = arg >> 4 & 1;
	const struct kr_msg_open m = {
		.stream = (uint16_t)(s->numbers[i] += 2),
		.ns = { (const uint8_t *)"x", 1 },
		.digest = digest_of(arg % 4),
		.size_bytes = PIECES * PIECE,
		.piece_bytes = PIECE,
		.block_bytes = PIECE,
		.have = { &have, 1 },
	};
	size_t len = 0;

	return kr_msg_open_encode(&m, buf, cap, &len) == KR_OK ? len : 0;
}

static size_t make_on_stream(struct state *s, uint8_t kind, uint8_t *buf,
			     size_t cap)
{
	const uint16_t stream = 1 + take(s) % 12;
	const uint8_t arg = take(s);
	const struct kr_have_range range = { arg % 6, 1 + arg / 64 };
	const struct kr_msg_request q = { stream, arg % 6, arg >> 7, 1,
					  arg & 0xff };
	const struct kr_msg_reject r = {
		.stream = stream,
		.piece = arg & 8 ? KR_MSG_NO_PIECE : arg % 6,
		.reason = (arg >> 4) % KR_REJECT_REASON_COUNT,
		.block_count = arg & 8 ? 0 : 1,
		.retry_ms = arg,
	};
	const uint8_t have[] = { KR_HAVE_BITMAP, arg & 0xf8 };
	const struct kr_msg_opened o = { stream, { have, 2 } };
	const struct kr_block_head b = { 0, arg };
	size_t len = 0;
	enum kr_err err = KR_OK;

	switch (kind) {
	case 0:
		err = kr_msg_opened_encode(&o, buf, cap, &len);
		break;
	case 1:
		err = kr_msg_have_encode(stream, &range, 1, buf, cap, &len);
		break;
	case 2:
		err = kr_msg_request_encode(KR_FRAME_REQUEST, &q, buf, cap,
					    &len);
		break;
	case 3:
		err = kr_msg_request_encode(KR_FRAME_CANCEL, &q, buf, cap,
					    &len);
		break;
	case 4:
		err = kr_msg_reject_encode(&r, buf, cap, &len);
		break;
	case 5:
		kr_block_encode(stream, arg % 6, &b, PIECE, buf);
		len = KR_FRAME_BLOCK_LEN;
		break;
	default:
		kr_msg_plain_encode(KR_FRAME_CLOSE, stream, 0, buf);
		len = KR_FRAME_HEAD_LEN;
		break;
	}
	return err == KR_OK ? len : 0;
}

static void say(struct state *s, int i)
{
	const uint8_t kind = take(s) % 14;
	uint8_t buf[2048];
	size_t len;

	if (kind == 0) {
		len = make_hello(s, buf, sizeof(buf));
	} else if (kind == 1) {
		len = make_open(s, i, buf, sizeof(buf));
	} else if (kind < 10) {
		len = make_on_stream(s, kind - 2, buf, sizeof(buf));
	} else if (kind == 10) { /* raw */
		for (len = 0; len < 40; len++)
			buf[len] = take(s);
	} else {
		static const uint8_t plain[] = { KR_FRAME_LOAD, KR_FRAME_PING,
						 KR_FRAME_PONG };

		kr_msg_plain_encode(plain[kind - 11], 0, take(s), buf);
		len = KR_FRAME_HEAD_LEN;
	}
	if (kind > 1 && (take(s) & 0x3f) == 0x3f) /* spoil a byte */
		buf[take(s) % (len ? len : 1)] ^= take(s);
	bytes(s, i, buf, len);
}

/* ---- events ------------------------------------------------------------- */

static void accept_conn(struct state *s, int i)
{
	struct kr_addr from = { .port = 7 };

	from.ip[15] = take(s) % 5;
	if (s->conns[i] != 0)
		return;
	if (kr_node_conn_accepted(s->n, s->now_ns, &from, &s->conns[i]) !=
	    KR_OK) {
		s->conns[i] = 0;
		return;
	}
	s->dialling[i] = s->in_body[i] = s->serving[i] = false;
	s->numbers[i] = 0;
}

static void hint(struct state *s, struct blob *b)
{
	struct kr_peer_hint h = { .addr = { .port = 7 } };
	const uint8_t arg = take(s);

	h.addr.ip[15] = arg % 5;
	h.complete = arg & 8;
	h.id.bytes[0] = arg >> 6;
	if (b->added)
		kr_node_blob_peers(s->n, s->now_ns, b->handle, &h, 1);
}

static void verdict(struct state *s)
{
	const uint8_t arg = take(s);

	if (s->verify_count == 0)
		return;
	const uint32_t k = (arg >> 1) % s->verify_count;
	const uint32_t handle = s->verifies[k].blob;
	const uint32_t piece = s->verifies[k].piece;
	struct blob *b = blob_of(s, handle);

	s->verifies[k] = s->verifies[--s->verify_count];
	if (b != NULL && (arg & 1)) {
		kr_assert(!(b->have >> piece & 1)); /* accepted once */
		b->have |= 1u << piece;
	}
	kr_node_piece_verified(s->n, s->now_ns, handle, piece, arg & 1);
}

static void answer_lookup(struct state *s)
{
	const uint8_t arg = take(s);
	const uint32_t lookup = s->lookups[arg % 8];

	if (arg & 8)
		add_blob(s, (arg >> 4) % BLOBS, arg & 128, lookup);
	else
		kr_node_blob_absent(s->n, s->now_ns, lookup);
}

static void remove_blob(struct state *s, struct blob *b)
{
	if (!b->added)
		return;
	b->added = false;
	kr_node_blob_remove(s->n, s->now_ns, b->handle);
}

static void step(struct state *s)
{
	const uint8_t op = take(s), arg = take(s);
	const int i = arg % CONNS;
	struct blob *b = &s->blobs[(arg >> 2) % BLOBS];

	s->now_ns += (uint64_t)(op >> 4) * (op >> 4) * 1000000;
	switch (op % 16) {
	case 0:
		accept_conn(s, i);
		break;
	case 1:
		if (s->conns[i] != 0 && s->dialling[i]) {
			s->dialling[i] = false;
			kr_node_conn_connected(s->n, s->now_ns, s->conns[i]);
		}
		break;
	case 2:
		if (s->conns[i] != 0) {
			const uint32_t conn = s->conns[i];

			s->conns[i] = 0;
			kr_node_conn_closed(s->n, s->now_ns, conn, KR_E_RESET);
		}
		break;
	case 3:
		if (s->conns[i] != 0 && s->in_body[i]) {
			s->in_body[i] = false;
			kr_node_body_done(s->n, s->now_ns, s->conns[i]);
		}
		break;
	case 4:
		if (s->conns[i] != 0 && s->serving[i]) {
			s->serving[i] = false;
			kr_node_conn_served(s->n, s->now_ns, s->conns[i]);
		}
		break;
	case 5:
		verdict(s);
		break;
	case 6:
		add_blob(s, (uint32_t)(b - s->blobs), arg & 128, 0);
		break;
	case 7:
		if (arg > 240)
			remove_blob(s, b);
		break;
	case 8:
		hint(s, b);
		break;
	case 9:
		answer_lookup(s);
		break;
	case 10:
		if (s->timer_ns == UINT64_MAX)
			break;
		if (s->timer_ns > s->now_ns)
			s->now_ns = s->timer_ns;
		s->timer_ns = UINT64_MAX;
		kr_node_timer(s->n, s->now_ns);
		break;
	case 11:
		if (b->added)
			kr_node_blob_reader(s->n, s->now_ns, b->handle, arg % 3,
					    arg >> 5);
		break;
	default:
		if (s->conns[i] != 0 && !s->dialling[i] && !s->in_body[i])
			say(s, i);
		break;
	}
	drain(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct state s = { .in = data, .left = size, .now_ns = 1000000000 };
	struct kr_policy p;
	struct kr_node_opts o = { .alloc = kr_alloc_heap(),
				  .policy = &p,
				  .id = { { 2 } },
				  .cluster = "c",
				  .zone = "" };

	kr_policy_defaults(&p);
	p.conns_max = CONNS;
	p.blobs_max = BLOBS;
	p.reveal_neighbours_min = 1;
	p.reveal_pieces = 1;
	p.degree_target = p.degree_max = 2;
	p.upload_slots = 1;
	p.upload_queue_max = 4;
	p.ban_ns = 1000000;
	o.role = take(&s) % KR_PEER_ROLE_COUNT;
	o.seed = take(&s);
	if (kr_node_open(&o, &s.n) != KR_OK)
		abort();
	s.timer_ns = UINT64_MAX;
	while (s.left > 0)
		step(&s);
	kr_node_shutdown(s.n, s.now_ns);
	drain(&s);
	kr_node_close(s.n);
	return 0;
}
