#include "control/origin_msg.h"

#include <string.h>

#include "control/msg_util.h"

enum { PEER_MAX = 384 };

/* ---- a blob ---- */

struct ref_ctx {
	struct kr_origin_msg_ref *ref;
	bool has_digest;
};

static enum kr_err ref_field(void *ctx, struct kr_bytes key,
			     struct kr_mp_reader *r)
{
	struct ref_ctx *c = ctx;

	if (kr_msg_is(key, "digest")) {
		c->has_digest = true;
		return kr_msg_digest(r, &c->ref->digest);
	}
	if (kr_msg_is(key, "ns"))
		return kr_msg_str(r, c->ref->ns, sizeof(c->ref->ns));
	return KR_OK;
}

void kr_origin_msg_ref_encode(struct kr_mp_writer *w, const char *ns,
			      const struct kr_digest *digest)
{
	kr_mp_w_map(w, 2);
	kr_msg_w_str(w, "ns", ns);
	kr_msg_w_digest(w, "digest", digest);
}

enum kr_err kr_origin_msg_ref_decode(struct kr_bytes params,
				     struct kr_origin_msg_ref *ret)
{
	struct ref_ctx c = { .ref = ret };
	enum kr_err err;

	memset(ret, 0, sizeof(*ret));
	err = kr_msg_map_whole(params, ref_field, &c);
	return err == KR_OK && !c.has_digest ? KR_E_PROTO : err;
}

/* ---- who asks a tracker for one ---- */

struct seek_ctx {
	struct ref_ctx ref;
	struct kr_origin_msg_seek *seek;
};

static enum kr_err seek_field(void *ctx, struct kr_bytes key,
			      struct kr_mp_reader *r)
{
	struct seek_ctx *c = ctx;

	if (kr_msg_is(key, "cluster"))
		return kr_msg_str(r, c->seek->cluster,
				  sizeof(c->seek->cluster));
	return ref_field(&c->ref, key, r);
}

void kr_origin_msg_seek_encode(struct kr_mp_writer *w, const char *ns,
			       const struct kr_digest *digest,
			       const char *cluster)
{
	kr_mp_w_map(w, 3);
	kr_msg_w_str(w, "ns", ns);
	kr_msg_w_digest(w, "digest", digest);
	kr_msg_w_str(w, "cluster", cluster);
}

enum kr_err kr_origin_msg_seek_decode(struct kr_bytes params,
				      struct kr_origin_msg_seek *ret)
{
	struct seek_ctx c = { .ref = { .ref = &ret->ref }, .seek = ret };
	enum kr_err err;

	memset(ret, 0, sizeof(*ret));
	err = kr_msg_map_whole(params, seek_field, &c);
	return err == KR_OK && !c.ref.has_digest ? KR_E_PROTO : err;
}

/* ---- metainfo, size ---- */

struct value_ctx {
	struct kr_bytes bin;
	uint64_t number;
	bool has;
};

static enum kr_err metainfo_field(void *ctx, struct kr_bytes key,
				  struct kr_mp_reader *r)
{
	struct value_ctx *c = ctx;

	if (!kr_msg_is(key, "metainfo"))
		return KR_OK;
	c->has = true;
	return kr_mp_r_bin(r, &c->bin);
}

void kr_origin_msg_metainfo_encode(struct kr_mp_writer *w,
				   struct kr_bytes metainfo)
{
	kr_mp_w_map(w, 1);
	kr_mp_w_cstr(w, "metainfo");
	kr_mp_w_bin(w, metainfo.ptr, metainfo.len);
}

enum kr_err kr_origin_msg_metainfo_decode(struct kr_bytes result,
					  struct kr_bytes *ret)
{
	struct value_ctx c = { 0 };
	enum kr_err err = kr_msg_map_whole(result, metainfo_field, &c);

	if (err != KR_OK || !c.has)
		return err != KR_OK ? err : KR_E_PROTO;
	*ret = c.bin;
	return KR_OK;
}

static enum kr_err stat_field(void *ctx, struct kr_bytes key,
			      struct kr_mp_reader *r)
{
	struct value_ctx *c = ctx;

	if (!kr_msg_is(key, "size"))
		return KR_OK;
	c->has = true;
	return kr_mp_r_u64(r, &c->number);
}

void kr_origin_msg_stat_encode(struct kr_mp_writer *w, uint64_t size_bytes)
{
	kr_mp_w_map(w, 1);
	kr_msg_w_u64(w, "size", size_bytes);
}

enum kr_err kr_origin_msg_stat_decode(struct kr_bytes result,
				      uint64_t *ret_size_bytes)
{
	struct value_ctx c = { 0 };
	enum kr_err err = kr_msg_map_whole(result, stat_field, &c);

	if (err != KR_OK || !c.has)
		return err != KR_OK ? err : KR_E_PROTO;
	*ret_size_bytes = c.number;
	return KR_OK;
}

/* ---- info ---- */

void kr_origin_msg_info_encode(struct kr_mp_writer *w,
			       const struct kr_tracker_msg_peer *peer)
{
	kr_tracker_msg_peer_write(w, peer);
}

enum kr_err kr_origin_msg_info_decode(struct kr_bytes result,
				      struct kr_tracker_msg_peer *ret)
{
	struct kr_mp_reader r;
	enum kr_err err;

	kr_mp_r_init_whole(&r, result.ptr, result.len);
	err = kr_tracker_msg_peer_read(&r, ret);
	return err == KR_OK ? kr_mp_r_end(&r) : err;
}

/* ---- ingest ---- */

size_t kr_origin_msg_ingest_max(size_t metainfo_len, uint32_t peer_count)
{
	return KR_ORIGIN_MSG_REF_MAX + 64 + metainfo_len +
	       (size_t)peer_count * PEER_MAX;
}

void kr_origin_msg_ingest_encode(struct kr_mp_writer *w, const char *ns,
				 const struct kr_digest *digest,
				 struct kr_bytes metainfo,
				 const struct kr_tracker_msg_peer *peers,
				 uint32_t peer_count)
{
	kr_assert(peer_count <= KR_ORIGIN_MSG_PEERS_MAX);
	kr_mp_w_map(w, 4);
	kr_msg_w_str(w, "ns", ns);
	kr_msg_w_digest(w, "digest", digest);
	kr_mp_w_cstr(w, "metainfo");
	kr_mp_w_bin(w, metainfo.ptr, metainfo.len);
	kr_mp_w_cstr(w, "peers");
	kr_mp_w_array(w, peer_count);
	for (uint32_t i = 0; i < peer_count; i++)
		kr_tracker_msg_peer_write(w, &peers[i]);
}

struct ingest_ctx {
	struct kr_origin_msg_ingest *ingest;
	struct ref_ctx ref;
	struct value_ctx metainfo;
};

static enum kr_err ingest_field(void *ctx, struct kr_bytes key,
				struct kr_mp_reader *r)
{
	struct ingest_ctx *c = ctx;
	struct kr_origin_msg_ingest *in = c->ingest;
	enum kr_err err;

	if (kr_msg_is(key, "metainfo"))
		return metainfo_field(&c->metainfo, key, r);
	if (!kr_msg_is(key, "peers"))
		return ref_field(&c->ref, key, r);
	err = kr_msg_array(r, KR_ORIGIN_MSG_PEERS_MAX, &in->peer_count);
	for (uint32_t i = 0; err == KR_OK && i < in->peer_count; i++)
		err = kr_tracker_msg_peer_read(r, &in->peers[i]);
	return err;
}

enum kr_err kr_origin_msg_ingest_decode(struct kr_bytes params,
					struct kr_origin_msg_ingest *ret)
{
	struct ingest_ctx c = { .ingest = ret, .ref = { .ref = &ret->ref } };
	enum kr_err err;

	memset(ret, 0, sizeof(*ret));
	err = kr_msg_map_whole(params, ingest_field, &c);
	if (err == KR_OK && !(c.ref.has_digest && c.metainfo.has))
		err = KR_E_PROTO;
	ret->metainfo = c.metainfo.bin;
	return err;
}
