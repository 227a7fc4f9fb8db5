#include "control/tracker_msg.h"

#include <string.h>

#include "control/msg_util.h"

enum {
	/* Encoded lengths, generously: keys, heads, the longest values. */
	PEER_MAX =
		KR_PEER_ID_LEN + KR_TRACKER_MSG_IP_MAX + 2 * KR_NAME_MAX + 96,
	BLOB_MAX = KR_DIGEST_TEXT_MAX + KR_NAMESPACE_MAX + 64,
	GONE_MAX = KR_DIGEST_TEXT_MAX + 4,
	PICK_MAX = KR_PEER_ID_LEN + KR_TRACKER_MSG_IP_MAX + KR_NAME_MAX + 80,
	REPLY_BLOB_MAX =
		KR_DIGEST_TEXT_MAX + 32 + KR_TRACKER_MSG_PICKS_MAX * PICK_MAX,
};

/* ---- announce: encode ---- */

void kr_tracker_msg_peer_write(struct kr_mp_writer *w,
			       const struct kr_tracker_msg_peer *p)
{
	kr_mp_w_map(w, 6);
	kr_msg_w_id(w, "id", &p->id);
	kr_msg_w_str(w, "ip", p->ip);
	kr_msg_w_u64(w, "port", p->port);
	kr_msg_w_role(w, "role", p->role);
	kr_msg_w_str(w, "zone", p->zone);
	kr_msg_w_str(w, "cluster", p->cluster);
}

static void write_blob(struct kr_mp_writer *w,
		       const struct kr_tracker_msg_blob *b)
{
	kr_mp_w_map(w, 5);
	kr_msg_w_digest(w, "digest", &b->item.digest);
	kr_msg_w_str(w, "ns", b->ns);
	kr_mp_w_cstr(w, "complete");
	kr_mp_w_bool(w, b->item.complete);
	kr_msg_w_u64(w, "degree", b->item.degree);
	kr_msg_w_u64(w, "want", b->item.want);
}

size_t kr_tracker_msg_announce_max(uint32_t blob_count, uint32_t gone_count)
{
	return 64 + PEER_MAX + (size_t)blob_count * BLOB_MAX +
	       (size_t)gone_count * GONE_MAX;
}

void kr_tracker_msg_announce_encode(struct kr_mp_writer *w,
				    const struct kr_tracker_msg_peer *peer,
				    const struct kr_tracker_msg_blob *blobs,
				    uint32_t blob_count,
				    const struct kr_digest *gone,
				    uint32_t gone_count)
{
	char text[KR_DIGEST_TEXT_MAX];

	kr_assert(blob_count <= KR_TRACKER_MSG_BLOBS_MAX &&
		  gone_count <= KR_TRACKER_MSG_GONE_MAX);
	kr_mp_w_map(w, 3);
	kr_mp_w_cstr(w, "peer");
	kr_tracker_msg_peer_write(w, peer);
	kr_mp_w_cstr(w, "blobs");
	kr_mp_w_array(w, blob_count);
	for (uint32_t i = 0; i < blob_count; i++)
		write_blob(w, &blobs[i]);
	kr_mp_w_cstr(w, "gone");
	kr_mp_w_array(w, gone_count);
	for (uint32_t i = 0; i < gone_count; i++)
		kr_mp_w_cstr(w, kr_digest_print(&gone[i], text));
}

/* ---- announce: decode ---- */

struct peer_ctx {
	struct kr_tracker_msg_peer *peer;
	bool has_id, has_port;
};

static enum kr_err peer_field(void *ctx, struct kr_bytes key,
			      struct kr_mp_reader *r)
{
	struct peer_ctx *c = ctx;
	struct kr_tracker_msg_peer *p = c->peer;
	uint32_t port = 0;
	enum kr_err err;

	if (kr_msg_is(key, "id")) {
		c->has_id = true;
		return kr_msg_id(r, &p->id);
	}
	if (kr_msg_is(key, "port")) {
		c->has_port = true;
		err = kr_msg_u32(r, UINT16_MAX, &port);
		p->port = (uint16_t)port;
		return err;
	}
	if (kr_msg_is(key, "ip"))
		return kr_msg_str(r, p->ip, sizeof(p->ip));
	if (kr_msg_is(key, "role"))
		return kr_msg_role(r, &p->role);
	if (kr_msg_is(key, "zone"))
		return kr_msg_str(r, p->zone, sizeof(p->zone));
	if (kr_msg_is(key, "cluster"))
		return kr_msg_str(r, p->cluster, sizeof(p->cluster));
	return KR_OK;
}

enum kr_err kr_tracker_msg_peer_read(struct kr_mp_reader *r,
				     struct kr_tracker_msg_peer *ret)
{
	struct peer_ctx c = { .peer = ret };
	enum kr_err err;

	memset(ret, 0, sizeof(*ret));
	err = kr_msg_map(r, peer_field, &c);
	if (err == KR_OK && !(c.has_id && c.has_port))
		err = KR_E_PROTO;
	return err;
}

struct blob_ctx {
	struct kr_tracker_msg_blob *blob;
	bool has_digest;
};

static enum kr_err blob_field(void *ctx, struct kr_bytes key,
			      struct kr_mp_reader *r)
{
	struct blob_ctx *c = ctx;
	struct kr_tracker_item *item = &c->blob->item;

	if (kr_msg_is(key, "digest")) {
		c->has_digest = true;
		return kr_msg_digest(r, &item->digest);
	}
	if (kr_msg_is(key, "ns"))
		return kr_msg_str(r, c->blob->ns, sizeof(c->blob->ns));
	if (kr_msg_is(key, "complete"))
		return kr_mp_r_bool(r, &item->complete);
	if (kr_msg_is(key, "degree"))
		return kr_msg_u32(r, UINT32_MAX, &item->degree);
	if (kr_msg_is(key, "want"))
		return kr_msg_u32(r, UINT32_MAX, &item->want);
	return KR_OK;
}

static enum kr_err read_blob(struct kr_mp_reader *r,
			     struct kr_tracker_msg_blob *ret)
{
	struct blob_ctx c = { .blob = ret };
	enum kr_err err;

	memset(ret, 0, sizeof(*ret));
	err = kr_msg_map(r, blob_field, &c);
	return err == KR_OK && !c.has_digest ? KR_E_PROTO : err;
}

/* Walk the arrays once; the iterators walk them again. */
static enum kr_err announce_blobs(struct kr_tracker_msg_announce *a,
				  struct kr_mp_reader *r)
{
	struct kr_tracker_msg_blob blob;
	enum kr_err err =
		kr_msg_array(r, KR_TRACKER_MSG_BLOBS_MAX, &a->blob_count);

	a->blobs = *r;
	for (uint32_t i = 0; err == KR_OK && i < a->blob_count; i++)
		err = read_blob(r, &blob);
	return err;
}

static enum kr_err announce_gone(struct kr_tracker_msg_announce *a,
				 struct kr_mp_reader *r)
{
	struct kr_digest d;
	enum kr_err err =
		kr_msg_array(r, KR_TRACKER_MSG_GONE_MAX, &a->gone_count);

	a->gone = *r;
	for (uint32_t i = 0; err == KR_OK && i < a->gone_count; i++)
		err = kr_msg_digest(r, &d);
	return err;
}

struct announce_ctx {
	struct kr_tracker_msg_announce *a;
	bool has_peer;
};

static enum kr_err announce_field(void *ctx, struct kr_bytes key,
				  struct kr_mp_reader *r)
{
	struct announce_ctx *c = ctx;

	if (kr_msg_is(key, "peer")) {
		c->has_peer = true;
		return kr_tracker_msg_peer_read(r, &c->a->peer);
	}
	if (kr_msg_is(key, "blobs"))
		return announce_blobs(c->a, r);
	if (kr_msg_is(key, "gone"))
		return announce_gone(c->a, r);
	return KR_OK;
}

enum kr_err kr_tracker_msg_announce_decode(struct kr_bytes params,
					   struct kr_tracker_msg_announce *ret)
{
	struct announce_ctx c = { .a = ret };
	enum kr_err err;

	memset(ret, 0, sizeof(*ret));
	err = kr_msg_map_whole(params, announce_field, &c);
	return err == KR_OK && !c.has_peer ? KR_E_PROTO : err;
}

bool kr_tracker_msg_next_blob(struct kr_tracker_msg_announce *a,
			      struct kr_tracker_msg_blob *ret)
{
	if (a->blob_count == 0)
		return false;
	a->blob_count--;
	const enum kr_err err = read_blob(&a->blobs, ret);
	kr_assert(err == KR_OK);
	return true;
}

bool kr_tracker_msg_next_gone(struct kr_tracker_msg_announce *a,
			      struct kr_digest *ret)
{
	if (a->gone_count == 0)
		return false;
	a->gone_count--;
	const enum kr_err err = kr_msg_digest(&a->gone, ret);
	kr_assert(err == KR_OK);
	return true;
}

/* ---- answer: encode ---- */

static void print_ip(const struct kr_addr *a, char *buf)
{
	char text[KR_ADDR_TEXT_MAX];
	struct kr_bytes host;
	uint16_t port;

	kr_addr_print(a, text);
	const enum kr_err err = kr_addr_split(text, strlen(text), &host, &port);
	kr_assert(err == KR_OK && host.len < KR_TRACKER_MSG_IP_MAX);
	memcpy(buf, host.ptr, host.len);
	buf[host.len] = '\0';
}

void kr_tracker_pick_peer(const struct kr_tracker_pick *pick,
			  struct kr_tracker_msg_peer *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->id = pick->id;
	print_ip(&pick->addr, ret->ip);
	ret->port = pick->addr.port;
	ret->role = pick->role;
	memcpy(ret->zone, pick->zone, sizeof(ret->zone));
}

static void write_pick(struct kr_mp_writer *w, const struct kr_tracker_pick *p)
{
	char ip[KR_TRACKER_MSG_IP_MAX];

	print_ip(&p->addr, ip);
	kr_mp_w_map(w, 6);
	kr_msg_w_id(w, "id", &p->id);
	kr_msg_w_str(w, "ip", ip);
	kr_msg_w_u64(w, "port", p->addr.port);
	kr_msg_w_role(w, "role", p->role);
	kr_mp_w_cstr(w, "complete");
	kr_mp_w_bool(w, p->complete);
	kr_msg_w_str(w, "zone", p->zone);
}

size_t kr_tracker_msg_reply_max(uint32_t blob_count)
{
	return 64 + (size_t)blob_count * REPLY_BLOB_MAX;
}

void kr_tracker_msg_reply_begin(struct kr_mp_writer *w, uint32_t interval_ms,
				uint32_t blob_count)
{
	kr_mp_w_map(w, 2);
	kr_msg_w_u64(w, "interval_ms", interval_ms);
	kr_mp_w_cstr(w, "blobs");
	kr_mp_w_array(w, blob_count);
}

void kr_tracker_msg_reply_blob(struct kr_mp_writer *w,
			       const struct kr_digest *digest,
			       const struct kr_tracker_pick *picks,
			       uint32_t count)
{
	kr_assert(count <= KR_TRACKER_MSG_PICKS_MAX);
	kr_mp_w_map(w, 2);
	kr_msg_w_digest(w, "digest", digest);
	kr_mp_w_cstr(w, "peers");
	kr_mp_w_array(w, count);
	for (uint32_t i = 0; i < count; i++)
		write_pick(w, &picks[i]);
}

/* ---- answer: decode ---- */

struct pick_ctx {
	struct kr_tracker_msg_peer peer;
	struct peer_ctx of_peer;
	bool complete;
};

static enum kr_err pick_field(void *ctx, struct kr_bytes key,
			      struct kr_mp_reader *r)
{
	struct pick_ctx *c = ctx;

	if (kr_msg_is(key, "complete"))
		return kr_mp_r_bool(r, &c->complete);
	return peer_field(&c->of_peer, key, r);
}

static enum kr_err read_pick(struct kr_mp_reader *r,
			     struct kr_tracker_pick *ret)
{
	struct pick_ctx c = { 0 };
	enum kr_err err;

	c.of_peer.peer = &c.peer;
	err = kr_msg_map(r, pick_field, &c);
	if (err != KR_OK)
		return err;
	if (!c.of_peer.has_id || !c.of_peer.has_port)
		return KR_E_PROTO;
	memset(ret, 0, sizeof(*ret));
	ret->id = c.peer.id;
	ret->role = c.peer.role;
	ret->complete = c.complete;
	memcpy(ret->zone, c.peer.zone, sizeof(ret->zone));
	return kr_tracker_msg_peer_addr(&c.peer, NULL, &ret->addr);
}

struct reply_blob {
	struct kr_digest *digest;
	struct kr_tracker_pick *picks;
	uint32_t count;
	bool has_digest;
};

static enum kr_err reply_blob_field(void *ctx, struct kr_bytes key,
				    struct kr_mp_reader *r)
{
	struct reply_blob *b = ctx;
	enum kr_err err;

	if (kr_msg_is(key, "digest")) {
		b->has_digest = true;
		return kr_msg_digest(r, b->digest);
	}
	if (!kr_msg_is(key, "peers"))
		return KR_OK;
	err = kr_msg_array(r, KR_TRACKER_MSG_PICKS_MAX, &b->count);
	for (uint32_t i = 0; err == KR_OK && i < b->count; i++)
		err = read_pick(r, &b->picks[i]);
	return err;
}

static enum kr_err read_reply_blob(struct kr_mp_reader *r, struct reply_blob *b)
{
	enum kr_err err = kr_msg_map(r, reply_blob_field, b);

	return err == KR_OK && !b->has_digest ? KR_E_PROTO : err;
}

static enum kr_err reply_field(void *ctx, struct kr_bytes key,
			       struct kr_mp_reader *r)
{
	struct kr_tracker_msg_reply *reply = ctx;
	struct kr_tracker_pick picks[KR_TRACKER_MSG_PICKS_MAX];
	struct kr_digest digest;
	enum kr_err err;

	if (kr_msg_is(key, "interval_ms"))
		return kr_msg_u32(r, UINT32_MAX, &reply->interval_ms);
	if (!kr_msg_is(key, "blobs"))
		return KR_OK;
	err = kr_msg_array(r, KR_TRACKER_MSG_BLOBS_MAX, &reply->blob_count);
	reply->blobs = *r;
	for (uint32_t i = 0; err == KR_OK && i < reply->blob_count; i++) {
		struct reply_blob b = { .digest = &digest, .picks = picks };
		err = read_reply_blob(r, &b);
	}
	return err;
}

enum kr_err kr_tracker_msg_reply_decode(struct kr_bytes result,
					struct kr_tracker_msg_reply *ret)
{
	memset(ret, 0, sizeof(*ret));
	return kr_msg_map_whole(result, reply_field, ret);
}

bool kr_tracker_msg_reply_next(
	struct kr_tracker_msg_reply *r, struct kr_digest *ret_digest,
	struct kr_tracker_pick ret_picks[KR_TRACKER_MSG_PICKS_MAX],
	uint32_t *ret_count)
{
	struct reply_blob b = { .digest = ret_digest, .picks = ret_picks };

	if (r->blob_count == 0)
		return false;
	r->blob_count--;
	const enum kr_err err = read_reply_blob(&r->blobs, &b);
	kr_assert(err == KR_OK);
	*ret_count = b.count;
	return true;
}

/* ---- report ---- */

void kr_tracker_msg_report_encode(struct kr_mp_writer *w,
				  const struct kr_digest *digest,
				  const struct kr_peer_id *id)
{
	kr_mp_w_map(w, 2);
	kr_msg_w_digest(w, "digest", digest);
	kr_msg_w_id(w, "id", id);
}

struct report_ctx {
	struct kr_digest *digest;
	struct kr_peer_id *id;
	bool has_digest, has_id;
};

static enum kr_err report_field(void *ctx, struct kr_bytes key,
				struct kr_mp_reader *r)
{
	struct report_ctx *c = ctx;

	if (kr_msg_is(key, "digest")) {
		c->has_digest = true;
		return kr_msg_digest(r, c->digest);
	}
	if (kr_msg_is(key, "id")) {
		c->has_id = true;
		return kr_msg_id(r, c->id);
	}
	return KR_OK;
}

enum kr_err kr_tracker_msg_report_decode(struct kr_bytes params,
					 struct kr_digest *ret_digest,
					 struct kr_peer_id *ret_id)
{
	struct report_ctx c = { .digest = ret_digest, .id = ret_id };
	enum kr_err err = kr_msg_map_whole(params, report_field, &c);

	return err == KR_OK && !(c.has_digest && c.has_id) ? KR_E_PROTO : err;
}

/* ---- peers as others need them ---- */

enum kr_err kr_tracker_msg_peer_addr(const struct kr_tracker_msg_peer *peer,
				     const struct kr_addr *from,
				     struct kr_addr *ret)
{
	char text[KR_TRACKER_MSG_IP_MAX + 8];
	struct kr_addr a;
	size_t len = strlen(peer->ip);

	if (len == 0) {
		if (from == NULL)
			return KR_E_PROTO;
		a = *from;
	} else {
		bool v6 = false;
		size_t at = 0;

		for (size_t i = 0; i < len; i++)
			v6 = v6 || peer->ip[i] == ':';

		if (v6)
			text[at++] = '[';
		memcpy(text + at, peer->ip, len);
		at += len;
		if (v6)
			text[at++] = ']';
		memcpy(text + at, ":0", 2);
		if (kr_addr_parse(text, at + 2, &a) != KR_OK)
			return KR_E_PROTO;
	}
	a.port = peer->port;
	*ret = a;
	return KR_OK;
}

void kr_tracker_pick_hint(const struct kr_tracker_pick *pick, const char *zone,
			  struct kr_peer_hint *ret)
{
	const size_t len = strlen(zone);

	*ret = (struct kr_peer_hint){
		.addr = pick->addr,
		.id = pick->id,
		.role = pick->role,
		.complete = pick->complete,
		.same_zone = strlen(pick->zone) == len &&
			     memcmp(pick->zone, zone, len) == 0,
	};
}
