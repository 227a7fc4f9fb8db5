/*
 * Bodies are read in two steps: from MessagePack into plain numbers and
 * slices, then from those into the message, with every limit checked on the
 * way.  Maps are read by key, in any order; arrays by position, what is over
 * is passed over.
 */
#include "peerwire/msg.h"

#include <stdbool.h>
#include <string.h>

#include "core/mp.h"

/* ---- writing ------------------------------------------------------------*/

/* The body goes where it will stand; the head is put before it at the end,
 * when its length is known.  Without room for the head there is none for
 * anything. */
static void begin(struct kr_mp_writer *w, uint8_t *buf, size_t cap)
{
	if (cap < KR_FRAME_HEAD_LEN)
		kr_mp_w_init(w, buf, 0);
	else
		kr_mp_w_init(w, buf + KR_FRAME_HEAD_LEN,
			     cap - KR_FRAME_HEAD_LEN);
}

static enum kr_err finish(const struct kr_mp_writer *w, uint8_t *buf,
			  enum kr_frame_type type, uint16_t stream,
			  uint32_t arg, size_t *ret_len)
{
	size_t len;
	const enum kr_err err = kr_mp_w_done(w, &len);

	if (err != KR_OK)
		return err;
	if (len > KR_FRAME_CONTROL_MAX)
		return KR_E_TOOBIG;
	const struct kr_frame_head h = { .len = (uint32_t)len,
					 .type = (uint8_t)type,
					 .stream = stream,
					 .arg = arg };
	kr_frame_head_encode(&h, buf);
	*ret_len = KR_FRAME_HEAD_LEN + len;
	return KR_OK;
}

void kr_msg_plain_encode(enum kr_frame_type type, uint16_t stream, uint32_t arg,
			 uint8_t buf[KR_FRAME_HEAD_LEN])
{
	const struct kr_frame_head h = { .type = (uint8_t)type,
					 .stream = stream,
					 .arg = arg };

	kr_frame_head_encode(&h, buf);
}

static void w_str(struct kr_mp_writer *w, struct kr_bytes s)
{
	kr_mp_w_str(w, (const char *)s.ptr, s.len);
}

/* ---- reading ------------------------------------------------------------*/

enum value_type { V_UINT, V_STR, V_BIN };

/* A key that a map may have, and where its value goes. */
struct key {
	const char *name;
	enum value_type type;
	bool required;
	uint64_t *number;       /* V_UINT */
	struct kr_bytes *bytes; /* V_STR, V_BIN */
};

static enum kr_err read_value(struct kr_mp_reader *r, const struct key *k)
{
	switch (k->type) {
	case V_UINT:
		return kr_mp_r_u64(r, k->number);
	case V_STR:
		return kr_mp_r_str(r, k->bytes);
	case V_BIN:
		return kr_mp_r_bin(r, k->bytes);
	}
	return KR_E_PROTO;
}

static size_t find_key(const struct key *keys, size_t count,
		       struct kr_bytes name)
{
	size_t i = 0;

	while (i < count && (strlen(keys[i].name) != name.len ||
			     memcmp(keys[i].name, name.ptr, name.len) != 0))
		i++;
	return i;
}

static enum kr_err read_pair(struct kr_mp_reader *r, const struct key *keys,
			     size_t count, uint32_t *seen)
{
	struct kr_bytes name;
	enum kr_mp_type type;
	enum kr_err err = kr_mp_r_type(r, &type);

	if (err != KR_OK)
		return err;
	if (type != KR_MP_STR) { /* not a key of ours */
		err = kr_mp_r_skip(r);
		return err == KR_OK ? kr_mp_r_skip(r) : err;
	}
	err = kr_mp_r_str(r, &name);
	if (err != KR_OK)
		return err;
	const size_t i = find_key(keys, count, name);
	if (i == count)
		return kr_mp_r_skip(r);
	*seen |= UINT32_C(1) << i;
	return read_value(r, &keys[i]);
}

/* Read the map that is the whole of @body. */
static enum kr_err read_map(const uint8_t *body, size_t len,
			    const struct key *keys, size_t count)
{
	struct kr_mp_reader r;
	uint32_t pairs, seen = 0;

	kr_mp_r_init_whole(&r, body, len);
	enum kr_err err = kr_mp_r_map(&r, &pairs);
	for (uint32_t i = 0; err == KR_OK && i < pairs; i++)
		err = read_pair(&r, keys, count, &seen);
	if (err == KR_OK)
		err = kr_mp_r_end(&r);
	for (size_t i = 0; err == KR_OK && i < count; i++)
		if (keys[i].required && (seen & (UINT32_C(1) << i)) == 0)
			err = KR_E_PROTO;
	return err;
}

/* Pass over the elements of an array that are left, and expect the end. */
static enum kr_err skip_rest(struct kr_mp_reader *r, uint32_t left)
{
	enum kr_err err = KR_OK;

	while (err == KR_OK && left-- > 0)
		err = kr_mp_r_skip(r);
	return err == KR_OK ? kr_mp_r_end(r) : err;
}

/* Read the array that is the whole of @body, of @count u32 and what is over. */
static enum kr_err read_numbers(const uint8_t *body, size_t len, uint32_t *ret,
				uint32_t count)
{
	struct kr_mp_reader r;
	uint32_t elements;

	kr_mp_r_init_whole(&r, body, len);
	enum kr_err err = kr_mp_r_array(&r, &elements);
	if (err == KR_OK && elements < count)
		err = KR_E_PROTO;
	for (uint32_t i = 0; err == KR_OK && i < count; i++) {
		uint64_t v;
		err = kr_mp_r_u64(&r, &v);
		if (err == KR_OK && v > UINT32_MAX)
			err = KR_E_PROTO;
		if (err == KR_OK)
			ret[i] = (uint32_t)v;
	}
	return err == KR_OK ? skip_rest(&r, elements - count) : err;
}

/* Names are printed in logs and made into keys: ASCII without blanks. */
bool kr_msg_is_name(struct kr_bytes s, size_t min, size_t max)
{
	if (s.len < min || s.len > max)
		return false;
	for (size_t i = 0; i < s.len; i++)
		if (s.ptr[i] < 0x21 || s.ptr[i] > 0x7e)
			return false;
	return true;
}

static bool is_power_of_two(uint64_t v)
{
	return v != 0 && (v & (v - 1)) == 0;
}

/* ---- HELLO --------------------------------------------------------------*/

enum kr_err kr_msg_hello_encode(const struct kr_msg_hello *m, uint8_t *buf,
				size_t cap, size_t *ret_len)
{
	const uint32_t limits = (m->up_bytes_per_s != 0 ? 1u : 0u) +
				(m->down_bytes_per_s != 0 ? 1u : 0u);
	struct kr_mp_writer w;

	kr_assert(kr_msg_is_name(m->cluster, 1, KR_NAME_MAX));
	kr_assert(kr_msg_is_name(m->zone, 0, KR_NAME_MAX));
	begin(&w, buf, cap);
	kr_mp_w_map(&w, 7 + limits);
	kr_mp_w_cstr(&w, "v");
	kr_mp_w_u64(&w, m->version);
	kr_mp_w_cstr(&w, "id");
	kr_mp_w_bin(&w, m->id.bytes, KR_PEER_ID_LEN);
	kr_mp_w_cstr(&w, "cluster");
	w_str(&w, m->cluster);
	kr_mp_w_cstr(&w, "zone");
	w_str(&w, m->zone);
	kr_mp_w_cstr(&w, "role");
	kr_mp_w_u64(&w, m->role);
	kr_mp_w_cstr(&w, "features");
	kr_mp_w_u64(&w, m->features);
	kr_mp_w_cstr(&w, "port");
	kr_mp_w_u64(&w, m->listen_port);
	if (m->up_bytes_per_s != 0) {
		kr_mp_w_cstr(&w, "up");
		kr_mp_w_u64(&w, m->up_bytes_per_s);
	}
	if (m->down_bytes_per_s != 0) {
		kr_mp_w_cstr(&w, "down");
		kr_mp_w_u64(&w, m->down_bytes_per_s);
	}
	return finish(&w, buf, KR_FRAME_HELLO, 0, 0, ret_len);
}

/* Of another version nothing is known but where the version stands. */
static enum kr_err hello_version(const struct kr_frame_head *h,
				 const uint8_t *body, uint32_t *ret)
{
	uint64_t version = 0;
	const struct key keys[] = {
		{ .name = "v",
		  .type = V_UINT,
		  .required = true,
		  .number = &version },
	};
	const enum kr_err err = read_map(body, h->len, keys, 1);

	if (err != KR_OK)
		return err;
	if (version > UINT32_MAX)
		return KR_E_PROTO;
	*ret = (uint32_t)version;
	return KR_OK;
}

static enum kr_err hello_fields(const struct kr_frame_head *h,
				const uint8_t *body, struct kr_msg_hello *m)
{
	uint64_t role = KR_PEER_AGENT, port = 0;
	struct kr_bytes id = { 0 };
	/* clang-format off */
	const struct key keys[] = {
		{ "id",       V_BIN,  true,  NULL,         &id },
		{ "cluster",  V_STR,  true,  NULL,         &m->cluster },
		{ "zone",     V_STR,  false, NULL,         &m->zone },
		{ "role",     V_UINT, false, &role,        NULL },
		{ "features", V_UINT, false, &m->features, NULL },
		{ "port",     V_UINT, false, &port,        NULL },
		{ "up",       V_UINT, false, &m->up_bytes_per_s,   NULL },
		{ "down",     V_UINT, false, &m->down_bytes_per_s, NULL },
	};
	/* clang-format on */
	const enum kr_err err =
		read_map(body, h->len, keys, sizeof(keys) / sizeof(keys[0]));

	if (err != KR_OK)
		return err;
	if (id.len != KR_PEER_ID_LEN || port > UINT16_MAX ||
	    !kr_msg_is_name(m->cluster, 1, KR_NAME_MAX) ||
	    !kr_msg_is_name(m->zone, 0, KR_NAME_MAX))
		return KR_E_PROTO;
	memcpy(m->id.bytes, id.ptr, KR_PEER_ID_LEN);
	m->role = role < KR_PEER_ROLE_COUNT ? (enum kr_peer_role)role
					    : KR_PEER_AGENT;
	m->listen_port = (uint16_t)port;
	return KR_OK;
}

enum kr_err kr_msg_hello_decode(const struct kr_frame_head *h,
				const uint8_t *body, struct kr_msg_hello *ret)
{
	struct kr_msg_hello m = { 0 };

	kr_assert(h->type == KR_FRAME_HELLO);
	enum kr_err err = hello_version(h, body, &m.version);
	if (err == KR_OK && m.version == KR_PROTO_VERSION)
		err = hello_fields(h, body, &m);
	if (err == KR_OK)
		*ret = m;
	return err;
}

/* ---- OPEN, OPENED -------------------------------------------------------*/

static bool open_sizes_ok(uint64_t size, uint64_t piece, uint64_t block)
{
	return size > 0 && is_power_of_two(piece) &&
	       piece >= KR_PIECE_BYTES_MIN && piece <= KR_PIECE_BYTES_MAX &&
	       is_power_of_two(block) && block >= KR_MSG_BLOCK_BYTES_MIN &&
	       block <= piece &&
	       kr_metainfo_piece_count_for(size, (uint32_t)piece) <=
		       KR_METAINFO_PIECES_MAX;
}

enum kr_err kr_msg_open_encode(const struct kr_msg_open *m, uint8_t *buf,
			       size_t cap, size_t *ret_len)
{
	char digest[KR_DIGEST_TEXT_MAX];
	struct kr_mp_writer w;

	kr_assert(kr_msg_is_name(m->ns, 1, KR_NAMESPACE_MAX));
	kr_assert(open_sizes_ok(m->size_bytes, m->piece_bytes, m->block_bytes));
	kr_assert(m->have.len > 0);
	begin(&w, buf, cap);
	kr_mp_w_map(&w, 7);
	kr_mp_w_cstr(&w, "ns");
	w_str(&w, m->ns);
	kr_mp_w_cstr(&w, "digest");
	kr_mp_w_cstr(&w, kr_digest_print(&m->digest, digest));
	kr_mp_w_cstr(&w, "meta");
	kr_mp_w_bin(&w, m->metainfo_id, KR_SHA256_LEN);
	kr_mp_w_cstr(&w, "size");
	kr_mp_w_u64(&w, m->size_bytes);
	kr_mp_w_cstr(&w, "piece");
	kr_mp_w_u64(&w, m->piece_bytes);
	kr_mp_w_cstr(&w, "block");
	kr_mp_w_u64(&w, m->block_bytes);
	kr_mp_w_cstr(&w, "have");
	kr_mp_w_bin(&w, m->have.ptr, m->have.len);
	return finish(&w, buf, KR_FRAME_OPEN, m->stream, 0, ret_len);
}

enum kr_err kr_msg_open_decode(const struct kr_frame_head *h,
			       const uint8_t *body, struct kr_msg_open *ret)
{
	struct kr_msg_open m = { .stream = h->stream };
	struct kr_bytes digest = { 0 }, meta = { 0 };
	uint64_t piece = 0, block = 0;
	/* clang-format off */
	const struct key keys[] = {
		{ "ns",     V_STR,  true, NULL,          &m.ns },
		{ "digest", V_STR,  true, NULL,          &digest },
		{ "meta",   V_BIN,  true, NULL,          &meta },
		{ "size",   V_UINT, true, &m.size_bytes, NULL },
		{ "piece",  V_UINT, true, &piece,        NULL },
		{ "block",  V_UINT, true, &block,        NULL },
		{ "have",   V_BIN,  true, NULL,          &m.have },
	};
	/* clang-format on */

	kr_assert(h->type == KR_FRAME_OPEN);
	const enum kr_err err =
		read_map(body, h->len, keys, sizeof(keys) / sizeof(keys[0]));
	if (err != KR_OK)
		return err;
	if (!kr_msg_is_name(m.ns, 1, KR_NAMESPACE_MAX) ||
	    meta.len != KR_SHA256_LEN ||
	    !open_sizes_ok(m.size_bytes, piece, block) || m.have.len == 0 ||
	    kr_digest_parse((const char *)digest.ptr, digest.len, &m.digest) !=
		    KR_OK)
		return KR_E_PROTO;
	memcpy(m.metainfo_id, meta.ptr, KR_SHA256_LEN);
	m.piece_bytes = (uint32_t)piece;
	m.block_bytes = (uint32_t)block;
	*ret = m;
	return KR_OK;
}

enum kr_err kr_msg_opened_encode(const struct kr_msg_opened *m, uint8_t *buf,
				 size_t cap, size_t *ret_len)
{
	struct kr_mp_writer w;

	kr_assert(m->have.len > 0);
	begin(&w, buf, cap);
	kr_mp_w_map(&w, 1);
	kr_mp_w_cstr(&w, "have");
	kr_mp_w_bin(&w, m->have.ptr, m->have.len);
	return finish(&w, buf, KR_FRAME_OPENED, m->stream, 0, ret_len);
}

enum kr_err kr_msg_opened_decode(const struct kr_frame_head *h,
				 const uint8_t *body, struct kr_msg_opened *ret)
{
	struct kr_msg_opened m = { .stream = h->stream };
	const struct key keys[] = { { "have", V_BIN, true, NULL, &m.have } };

	kr_assert(h->type == KR_FRAME_OPENED);
	const enum kr_err err = read_map(body, h->len, keys, 1);
	if (err != KR_OK)
		return err;
	if (m.have.len == 0)
		return KR_E_PROTO;
	*ret = m;
	return KR_OK;
}

/* ---- HAVE ---------------------------------------------------------------*/

enum {
	MP_ARRAY_OF_1 = 0x91,
	MP_BIN_32 = 0xc6, /* a u32 of length follows */
	HAVE_FRONT_LEN = KR_FRAME_HEAD_LEN + 1 + 5,
};

/* The ranges are packed where they will stand.  Their length is known only
 * then, so their MessagePack head is the one whose size does not depend on it,
 * put there by hand. */
enum kr_err kr_msg_have_encode(uint16_t stream,
			       const struct kr_have_range *ranges,
			       uint32_t count, uint8_t *buf, size_t cap,
			       size_t *ret_len)
{
	uint8_t *front = buf + KR_FRAME_HEAD_LEN;
	size_t len;

	kr_assert(count > 0);
	if (cap < HAVE_FRONT_LEN)
		return KR_E_TOOBIG;
	const enum kr_err err =
		kr_have_ranges_encode(ranges, count, buf + HAVE_FRONT_LEN,
				      cap - HAVE_FRONT_LEN, &len);
	if (err != KR_OK)
		return err;
	len += HAVE_FRONT_LEN;
	if (len - KR_FRAME_HEAD_LEN > KR_FRAME_CONTROL_MAX)
		return KR_E_TOOBIG;
	front[0] = MP_ARRAY_OF_1;
	front[1] = MP_BIN_32;
	kr_put_be32(front + 2, (uint32_t)(len - HAVE_FRONT_LEN));
	const struct kr_frame_head h = {
		.len = (uint32_t)(len - KR_FRAME_HEAD_LEN),
		.type = KR_FRAME_HAVE,
		.stream = stream,
		.arg = count,
	};
	kr_frame_head_encode(&h, buf);
	*ret_len = len;
	return KR_OK;
}

enum kr_err kr_msg_have_decode(const struct kr_frame_head *h,
			       const uint8_t *body, uint32_t piece_count,
			       struct kr_msg_have *ret)
{
	struct kr_msg_have m = { .stream = h->stream };
	struct kr_mp_reader r;
	struct kr_bytes packed;
	uint32_t elements;

	kr_assert(h->type == KR_FRAME_HAVE);
	kr_mp_r_init_whole(&r, body, h->len);
	enum kr_err err = kr_mp_r_array(&r, &elements);
	if (err == KR_OK && elements == 0)
		err = KR_E_PROTO;
	if (err == KR_OK)
		err = kr_mp_r_bin(&r, &packed);
	if (err == KR_OK)
		err = skip_rest(&r, elements - 1);
	if (err == KR_OK)
		err = kr_have_iter_init(&m.ranges, packed, piece_count,
					&m.range_count);
	if (err == KR_OK && m.range_count != h->arg)
		err = KR_E_PROTO;
	if (err == KR_OK)
		*ret = m;
	return err;
}

/* ---- REQUEST, CANCEL, REJECT --------------------------------------------*/

static bool blocks_ok(uint32_t first, uint32_t count)
{
	return count > 0 && count <= KR_MSG_BLOCKS_MAX &&
	       first <= KR_MSG_BLOCKS_MAX - count;
}

enum kr_err kr_msg_request_encode(enum kr_frame_type type,
				  const struct kr_msg_request *m, uint8_t *buf,
				  size_t cap, size_t *ret_len)
{
	struct kr_mp_writer w;

	kr_assert(type == KR_FRAME_REQUEST || type == KR_FRAME_CANCEL);
	kr_assert(m->piece != KR_MSG_NO_PIECE);
	kr_assert(blocks_ok(m->first_block, m->block_count));
	begin(&w, buf, cap);
	kr_mp_w_array(&w, type == KR_FRAME_REQUEST ? 3 : 2);
	kr_mp_w_u64(&w, m->first_block);
	kr_mp_w_u64(&w, m->block_count);
	if (type == KR_FRAME_REQUEST)
		kr_mp_w_u64(&w, m->gets_kib_s);
	return finish(&w, buf, type, m->stream, m->piece, ret_len);
}

enum kr_err kr_msg_request_decode(const struct kr_frame_head *h,
				  const uint8_t *body,
				  struct kr_msg_request *ret)
{
	uint32_t v[3] = { 0 };

	kr_assert(h->type == KR_FRAME_REQUEST || h->type == KR_FRAME_CANCEL);
	const enum kr_err err = read_numbers(
		body, h->len, v, h->type == KR_FRAME_REQUEST ? 3 : 2);
	if (err != KR_OK)
		return err;
	if (h->arg == KR_MSG_NO_PIECE || !blocks_ok(v[0], v[1]))
		return KR_E_PROTO;
	*ret = (struct kr_msg_request){ h->stream, h->arg, v[0], v[1], v[2] };
	return KR_OK;
}

static bool reject_blocks_ok(uint32_t piece, uint32_t first, uint32_t count)
{
	if (piece == KR_MSG_NO_PIECE)
		return first == 0 && count == 0;
	return blocks_ok(first, count);
}

enum kr_err kr_msg_reject_encode(const struct kr_msg_reject *m, uint8_t *buf,
				 size_t cap, size_t *ret_len)
{
	struct kr_mp_writer w;

	kr_assert(m->reason < KR_REJECT_REASON_COUNT);
	kr_assert(reject_blocks_ok(m->piece, m->first_block, m->block_count));
	begin(&w, buf, cap);
	kr_mp_w_array(&w, 4);
	kr_mp_w_u64(&w, m->reason);
	kr_mp_w_u64(&w, m->first_block);
	kr_mp_w_u64(&w, m->block_count);
	kr_mp_w_u64(&w, m->retry_ms);
	return finish(&w, buf, KR_FRAME_REJECT, m->stream, m->piece, ret_len);
}

enum kr_err kr_msg_reject_decode(const struct kr_frame_head *h,
				 const uint8_t *body, struct kr_msg_reject *ret)
{
	uint32_t v[4];

	kr_assert(h->type == KR_FRAME_REJECT);
	const enum kr_err err = read_numbers(body, h->len, v, 4);
	if (err != KR_OK)
		return err;
	if (!reject_blocks_ok(h->arg, v[1], v[2]))
		return KR_E_PROTO;
	*ret = (struct kr_msg_reject){
		.stream = h->stream,
		.piece = h->arg,
		.reason = v[0] < KR_REJECT_REASON_COUNT
				  ? (enum kr_reject_reason)v[0]
				  : KR_REJECT_BUSY,
		.first_block = v[1],
		.block_count = v[2],
		.retry_ms = v[3],
	};
	return KR_OK;
}

const char *kr_reject_reason_name(enum kr_reject_reason r)
{
	static const char *const names[KR_REJECT_REASON_COUNT] = {
		[KR_REJECT_BUSY] = "busy",
		[KR_REJECT_FULL] = "full",
		[KR_REJECT_NOT_FOUND] = "not-found",
		[KR_REJECT_METAINFO] = "metainfo",
		[KR_REJECT_LIMIT] = "limit",
	};

	kr_assert(r < KR_REJECT_REASON_COUNT);
	return names[r];
}

enum kr_bye_reason kr_msg_bye_reason(const struct kr_frame_head *h)
{
	kr_assert(h->type == KR_FRAME_BYE);
	return h->arg < KR_BYE_REASON_COUNT ? (enum kr_bye_reason)h->arg
					    : KR_BYE_NONE;
}
