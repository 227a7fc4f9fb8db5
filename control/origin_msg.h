/*
 * control/origin_msg.h - params and results of origin.* and tracker.metainfo
 * (RPC.md) to and from bytes.
 *
 * PURE; the rules of tracker_msg.h.
 */
#ifndef KR_CONTROL_ORIGIN_MSG_H
#define KR_CONTROL_ORIGIN_MSG_H

#include <stddef.h>
#include <stdint.h>

#include "control/tracker.h"
#include "control/tracker_msg.h"
#include "core/bytes.h"
#include "core/digest.h"
#include "core/err.h"
#include "core/mp.h"

enum {
	KR_ORIGIN_MSG_REF_MAX = KR_NAMESPACE_MAX + KR_DIGEST_TEXT_MAX + 32,
	KR_ORIGIN_MSG_SEEK_MAX = KR_ORIGIN_MSG_REF_MAX + KR_NAME_MAX + 16,
	KR_ORIGIN_MSG_INFO_MAX = 256,
	KR_ORIGIN_MSG_PEERS_MAX = 64,
};

/* {ns, digest}: a blob, and the repository it is asked for in.  Params of
 * origin.metainfo, origin.stat. */
struct kr_origin_msg_ref {
	char ns[KR_NAMESPACE_MAX + 1];
	struct kr_digest digest;
};
void kr_origin_msg_ref_encode(struct kr_mp_writer *w, const char *ns,
			      const struct kr_digest *digest);
KR_NODISCARD enum kr_err kr_origin_msg_ref_decode(
	struct kr_bytes params, struct kr_origin_msg_ref *ret);

/* {ns, digest, cluster}: params of tracker.metainfo; cluster "": it was not
 * said. */
struct kr_origin_msg_seek {
	struct kr_origin_msg_ref ref;
	char cluster[KR_NAME_MAX + 1];
};
void kr_origin_msg_seek_encode(struct kr_mp_writer *w, const char *ns,
			       const struct kr_digest *digest,
			       const char *cluster);
KR_NODISCARD enum kr_err kr_origin_msg_seek_decode(
	struct kr_bytes params, struct kr_origin_msg_seek *ret);

/* {metainfo}: result of origin.metainfo and tracker.metainfo.  @ret points
 * into @result. */
void kr_origin_msg_metainfo_encode(struct kr_mp_writer *w,
				   struct kr_bytes metainfo);
KR_NODISCARD enum kr_err kr_origin_msg_metainfo_decode(struct kr_bytes result,
						       struct kr_bytes *ret);

/* {size}: result of origin.stat. */
void kr_origin_msg_stat_encode(struct kr_mp_writer *w, uint64_t size_bytes);
KR_NODISCARD enum kr_err kr_origin_msg_stat_decode(struct kr_bytes result,
						   uint64_t *ret_size_bytes);

/* {id, ip, port, role, zone}: result of origin.info.  ip "": where the
 * question was sent to. */
void kr_origin_msg_info_encode(struct kr_mp_writer *w,
			       const struct kr_tracker_msg_peer *peer);
KR_NODISCARD enum kr_err kr_origin_msg_info_decode(
	struct kr_bytes result, struct kr_tracker_msg_peer *ret);

/* {ns, digest, metainfo, peers}: params of origin.ingest.  A peer with an
 * empty ip is at the address the request came from. */
struct kr_origin_msg_ingest {
	struct kr_origin_msg_ref ref;
	struct kr_bytes metainfo; /* points into the params */
	uint32_t peer_count;
	struct kr_tracker_msg_peer peers[KR_ORIGIN_MSG_PEERS_MAX];
};
size_t kr_origin_msg_ingest_max(size_t metainfo_len, uint32_t peer_count);
void kr_origin_msg_ingest_encode(struct kr_mp_writer *w, const char *ns,
				 const struct kr_digest *digest,
				 struct kr_bytes metainfo,
				 const struct kr_tracker_msg_peer *peers,
				 uint32_t peer_count);
KR_NODISCARD enum kr_err kr_origin_msg_ingest_decode(
	struct kr_bytes params, struct kr_origin_msg_ingest *ret);

#endif
