/*
 * A leecher that keeps nothing: it opens a stream for the blob, asks for one
 * piece after the other, round and round, and counts what comes.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/dataplane/drain.h"
#include "bench/dataplane/tool.h"
#include "core/alloc.h"
#include "peerwire/metainfo.h"
#include "peerwire/msg.h"
#include "peerwire/policy.h"

enum {
	META_BYTES_MAX = 4 << 20,
	ASK_BYTES_MAX = 4096,
	STREAM = 2, /* the dialler's first */
};
#define AGAIN_NS (DP_S_NS / 1000)

struct peer {
	struct kr_metainfo meta;
	uint32_t block_bytes;
	uint32_t due;  /* blocks asked for at once, by a connection */
	uint32_t room; /* so many fewer, and it asks again */
};

static struct peer the_peer;

static void init(struct drain *d, int argc, char **argv)
{
	struct peer *p = &the_peer;
	uint8_t *buf = malloc(META_BYTES_MAX);
	struct kr_policy policy;
	size_t len;

	if (buf == NULL)
		dp_die("memory");
	len = dp_read_file(dp_arg(argc, argv, "--meta", NULL), buf,
			   META_BYTES_MAX);
	if (kr_metainfo_decode(kr_alloc_heap(), buf, len, &p->meta) != KR_OK)
		dp_die_text("--meta", "not a metainfo");
	free(buf);
	p->block_bytes = KR_BLOCK_BYTES;
	if (p->block_bytes > p->meta.piece_bytes)
		p->block_bytes = p->meta.piece_bytes;
	p->due = (uint32_t)atoi(dp_arg(argc, argv, "--due", "8388608")) /
		 p->block_bytes;
	d->is_idle = p->due == 0;
	kr_policy_defaults(&policy);
	p->room = (uint32_t)(p->due * policy.window_room_permille / 1000);
	d->peer = p;
}

static void send_hello(const struct drain_conn *c)
{
	uint8_t buf[KR_MSG_SMALL_MAX];
	struct kr_msg_hello hello = {
		.version = KR_PROTO_VERSION,
		.cluster = { (const uint8_t *)"bench", 5 },
		.features = KR_FEATURE_LEECH,
	};
	size_t len;

	arc4random_buf(hello.id.bytes, sizeof(hello.id.bytes));
	if (kr_msg_hello_encode(&hello, buf, sizeof(buf), &len) != KR_OK)
		dp_die_text("hello", "does not encode");
	dp_send_small(c->fd, buf, len);
}

static void send_open(const struct peer *p, const struct drain_conn *c)
{
	static const uint8_t none[1] = { KR_HAVE_NONE };
	uint8_t buf[KR_MSG_OPEN_FIXED_MAX + sizeof(none)];
	struct kr_msg_open open = {
		.stream = STREAM,
		.ns = { (const uint8_t *)"bench/blob", 10 },
		.digest = p->meta.digest,
		.size_bytes = p->meta.size_bytes,
		.piece_bytes = p->meta.piece_bytes,
		.block_bytes = p->block_bytes,
		.have = { none, sizeof(none) },
	};
	size_t len;

	memcpy(open.metainfo_id, p->meta.id, sizeof(open.metainfo_id));
	if (kr_msg_open_encode(&open, buf, sizeof(buf), &len) != KR_OK)
		dp_die_text("open", "does not encode");
	dp_send_small(c->fd, buf, len);
}

static void start(struct drain *d, struct drain_conn *c)
{
	send_hello(c);
	send_open(d->peer, c);
	/* Not all at the same place. */
	c->piece = (uint32_t)((uint64_t)the_peer.meta.piece_count * c->index /
			      d->count);
}

/* As a node does, swarm.c: several at once, in one segment. */
static void ask(struct drain *d, struct drain_conn *c)
{
	const struct peer *p = d->peer;
	uint8_t buf[ASK_BYTES_MAX];
	size_t len, all = 0;

	if (c->asked + p->room > p->due)
		return;
	while (c->is_open && c->again_ns == 0 && c->asked < p->due) {
		const uint32_t bytes =
			kr_metainfo_piece_len(&p->meta, c->piece);
		const struct kr_msg_request r = {
			.stream = STREAM,
			.piece = c->piece,
			.block_count =
				(bytes + p->block_bytes - 1) / p->block_bytes,
		};

		if (c->asked == 0)
			c->began_ns = dp_now_ns();
		if (kr_msg_request_encode(KR_FRAME_REQUEST, &r, buf + all,
					  sizeof(buf) - all, &len) != KR_OK)
			dp_die_text("request", "does not encode");
		all += len;
		if (sizeof(buf) - all < KR_MSG_SMALL_MAX) {
			dp_send_small(c->fd, buf, all);
			all = 0;
		}
		c->asked += r.block_count;
		c->piece = (c->piece + 1) % p->meta.piece_count;
	}
	if (all > 0)
		dp_send_small(c->fd, buf, all);
}

static void rejected(struct drain *d, struct drain_conn *c,
		     const struct kr_frame_head *h)
{
	struct kr_msg_reject m;

	if (kr_msg_reject_decode(h, c->head + KR_FRAME_HEAD_LEN, &m) != KR_OK)
		dp_die_text("reject", "does not decode");
	if (m.piece == KR_MSG_NO_PIECE || m.reason != KR_REJECT_BUSY)
		dp_die_text("refused", kr_reject_reason_name(m.reason));
	d->rejects += m.block_count;
	c->asked -= m.block_count;
	c->again_ns =
		dp_now_ns() +
		(m.retry_ms > 0 ? m.retry_ms * (DP_S_NS / 1000) : AGAIN_NS);
}

/* A frame is whole in c->head; of a BLOCK, what is before its payload. */
static void frame(struct drain *d, struct drain_conn *c,
		  const struct kr_frame_head *h)
{
	uint8_t pong[KR_FRAME_HEAD_LEN];

	switch (h->type) {
	case KR_FRAME_OPENED:
		c->is_open = true;
		break;
	case KR_FRAME_BLOCK:
		c->in_body = true;
		c->left = h->len - KR_BLOCK_HEAD_LEN;
		break;
	case KR_FRAME_REJECT:
		rejected(d, c, h);
		break;
	case KR_FRAME_PING:
		kr_msg_plain_encode(KR_FRAME_PONG, 0, h->arg, pong);
		dp_send_small(c->fd, pong, sizeof(pong));
		break;
	case KR_FRAME_BYE:
	case KR_FRAME_CLOSE:
		dp_die_text("the seeder left",
			    kr_bye_reason_name(kr_msg_bye_reason(h)));
	default: /* HELLO, HAVE, LOAD: nothing to be done */
		break;
	}
	ask(d, c);
}

/* How much of a frame is looked at before the rest moves as payload. */
static size_t wanted(const struct kr_frame_head *h)
{
	if (h->type == KR_FRAME_BLOCK)
		return KR_FRAME_BLOCK_LEN;
	return KR_FRAME_HEAD_LEN + (size_t)h->len;
}

static size_t take_frame(struct drain *d, struct drain_conn *c,
			 const uint8_t *p, size_t n)
{
	struct kr_frame_head h;
	size_t used = 0;

	while (used < n) {
		size_t need = KR_FRAME_HEAD_LEN;

		if (c->head_len >= need) {
			if (kr_frame_head_decode(c->head, c->head_len, &h) !=
			    KR_OK)
				dp_die_text("frame", "does not decode");
			need = wanted(&h);
		}
		if (need > sizeof(c->head))
			dp_die_text("frame", "too long");
		while (used < n && c->head_len < need)
			c->head[c->head_len++] = p[used++];
		if (c->head_len < need)
			return used;
		if (kr_frame_head_decode(c->head, c->head_len, &h) != KR_OK)
			dp_die_text("frame", "does not decode");
		if (c->head_len < wanted(&h))
			continue;
		c->head_len = 0;
		frame(d, c, &h);
		return used;
	}
	return used;
}

static void bytes(struct drain *d, struct drain_conn *c, const uint8_t *p,
		  size_t n)
{
	while (n > 0) {
		size_t used;

		if (!c->in_body) {
			used = take_frame(d, c, p, n);
		} else {
			used = n < c->left ? n : c->left;
			c->left -= used;
			d->bytes += used;
		}
		p += used;
		n -= used;
		if (c->in_body && c->left == 0) {
			c->in_body = false;
			c->asked--;
			drain_answered(d, c);
			ask(d, c);
		}
	}
}

static void tick(struct drain *d, struct drain_conn *c, uint64_t now_ns)
{
	if (c->again_ns == 0 || now_ns < c->again_ns)
		return;
	c->again_ns = 0;
	d->late--;
	ask(d, c);
}

const struct drain_way drain_peer = { init, start, bytes, tick };
