/*
 * control/tracker_msg.h - params and results of tracker.* (RPC.md) to and from
 * bytes.
 *
 * PURE.  Encoders write one MessagePack value; overflow is the writer's
 * (kr_mp_w_done).  A decoder walks the whole value before it says KR_OK, so
 * the iterators that follow cannot fail.  Unknown keys are skipped.  Every
 * decoder: KR_E_PROTO for anything that is not what is documented, with counts
 * above the limits below.
 */
#ifndef KR_CONTROL_TRACKER_MSG_H
#define KR_CONTROL_TRACKER_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control/tracker.h"
#include "core/bytes.h"
#include "core/digest.h"
#include "core/err.h"
#include "core/mp.h"
#include "peerwire/node.h"

enum {
	KR_TRACKER_MSG_BLOBS_MAX = 1024, /* of one announce */
	KR_TRACKER_MSG_GONE_MAX = 4096,
	KR_TRACKER_MSG_PICKS_MAX = KR_TRACKER_WANT_MAX + 8, /* and origins */
	KR_TRACKER_MSG_IP_MAX = 46,                         /* with the NUL */
};

/* ---- tracker.announce, question -----------------------------------------*/

struct kr_tracker_msg_peer {
	struct kr_peer_id id;
	char ip[KR_TRACKER_MSG_IP_MAX]; /* "": the connection's address */
	uint16_t port;
	enum kr_peer_role role;
	char zone[KR_NAME_MAX + 1];
	char cluster[KR_NAME_MAX + 1];
};

struct kr_tracker_msg_blob {
	struct kr_tracker_item item;
	char ns[KR_NAMESPACE_MAX + 1];
};

/* Bytes that encode needs at most. */
size_t kr_tracker_msg_announce_max(uint32_t blob_count, uint32_t gone_count);

/* @blob_count and @gone_count are within the limits (asserted). */
void kr_tracker_msg_announce_encode(struct kr_mp_writer *w,
				    const struct kr_tracker_msg_peer *peer,
				    const struct kr_tracker_msg_blob *blobs,
				    uint32_t blob_count,
				    const struct kr_digest *gone,
				    uint32_t gone_count);

struct kr_tracker_msg_announce {
	struct kr_tracker_msg_peer peer;
	uint32_t blob_count, gone_count; /* not yet taken */
	struct kr_mp_reader blobs, gone; /* private */
};

/* @params is borrowed as long as the iterators are used. */
KR_NODISCARD enum kr_err kr_tracker_msg_announce_decode(
	struct kr_bytes params, struct kr_tracker_msg_announce *ret);
/* Take the next one; false: none left. */
bool kr_tracker_msg_next_blob(struct kr_tracker_msg_announce *a,
			      struct kr_tracker_msg_blob *ret);
bool kr_tracker_msg_next_gone(struct kr_tracker_msg_announce *a,
			      struct kr_digest *ret);

/* ---- tracker.announce, answer -------------------------------------------*/

size_t kr_tracker_msg_reply_max(uint32_t blob_count);

/* Begin an answer; @blob_count times _reply_blob must follow. */
void kr_tracker_msg_reply_begin(struct kr_mp_writer *w, uint32_t interval_ms,
				uint32_t blob_count);
void kr_tracker_msg_reply_blob(struct kr_mp_writer *w,
			       const struct kr_digest *digest,
			       const struct kr_tracker_pick *picks,
			       uint32_t count);

struct kr_tracker_msg_reply {
	uint32_t interval_ms;      /* announce again after this */
	uint32_t blob_count;       /* not yet taken */
	struct kr_mp_reader blobs; /* private */
};
KR_NODISCARD enum kr_err kr_tracker_msg_reply_decode(
	struct kr_bytes result, struct kr_tracker_msg_reply *ret);
/* Take the next blob and its peers; false: none left. */
bool kr_tracker_msg_reply_next(
	struct kr_tracker_msg_reply *r, struct kr_digest *ret_digest,
	struct kr_tracker_pick ret_picks[KR_TRACKER_MSG_PICKS_MAX],
	uint32_t *ret_count);

/* A peer as a value within another message. */
void kr_tracker_msg_peer_write(struct kr_mp_writer *w,
			       const struct kr_tracker_msg_peer *peer);
KR_NODISCARD enum kr_err kr_tracker_msg_peer_read(
	struct kr_mp_reader *r, struct kr_tracker_msg_peer *ret);

/* ---- tracker.report -----------------------------------------------------*/

void kr_tracker_msg_report_encode(struct kr_mp_writer *w,
				  const struct kr_digest *digest,
				  const struct kr_peer_id *id);
KR_NODISCARD enum kr_err kr_tracker_msg_report_decode(
	struct kr_bytes params, struct kr_digest *ret_digest,
	struct kr_peer_id *ret_id);

/* A pick as a hint for kr_blob_peers, for a host in zone @zone. */
void kr_tracker_pick_hint(const struct kr_tracker_pick *pick, const char *zone,
			  struct kr_peer_hint *ret);

/* A pick as a peer of a message; its cluster is left empty. */
void kr_tracker_pick_peer(const struct kr_tracker_pick *pick,
			  struct kr_tracker_msg_peer *ret);

/* The address of a peer that was told over a connection with @from: its ip, or
 * that of @from (NULL: none) where it is "", and its port.  KR_E_PROTO: not an
 * address. */
KR_NODISCARD enum kr_err kr_tracker_msg_peer_addr(
	const struct kr_tracker_msg_peer *peer, const struct kr_addr *from,
	struct kr_addr *ret);

#endif
