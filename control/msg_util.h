/*
 * control/msg_util.h - reading maps of known keys from MessagePack: what
 * tracker_msg.c, origin_msg.c and index_msg.c have in common.
 *
 * PURE.  Every read: KR_E_PROTO for another type, a value out of its range,
 * or text that is too long or has a NUL in it.
 */
#ifndef KR_CONTROL_MSG_UTIL_H
#define KR_CONTROL_MSG_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/bytes.h"
#include "core/digest.h"
#include "core/err.h"
#include "core/mp.h"
#include "peerwire/node.h"

/* Called for the value of each key: reads it, or leaves it unread (KR_OK): an
 * unknown key is skipped. */
typedef enum kr_err kr_msg_field_fn(void *ctx, struct kr_bytes key,
				    struct kr_mp_reader *r);

/* Read one map. */
KR_NODISCARD enum kr_err kr_msg_map(struct kr_mp_reader *r,
				    kr_msg_field_fn *field, void *ctx);

/* Read one map that is all of @bytes. */
KR_NODISCARD enum kr_err kr_msg_map_whole(struct kr_bytes bytes,
					  kr_msg_field_fn *field, void *ctx);

bool kr_msg_is(struct kr_bytes key, const char *name);

/* Into @buf of @cap bytes, with a NUL. */
KR_NODISCARD enum kr_err kr_msg_str(struct kr_mp_reader *r, char *buf,
				    size_t cap);
KR_NODISCARD enum kr_err kr_msg_u32(struct kr_mp_reader *r, uint32_t max,
				    uint32_t *ret);
KR_NODISCARD enum kr_err kr_msg_digest(struct kr_mp_reader *r,
				       struct kr_digest *ret);
KR_NODISCARD enum kr_err kr_msg_id(struct kr_mp_reader *r,
				   struct kr_peer_id *ret);
KR_NODISCARD enum kr_err kr_msg_role(struct kr_mp_reader *r,
				     enum kr_peer_role *ret);

/* Enter an array of at most @max elements. */
KR_NODISCARD enum kr_err kr_msg_array(struct kr_mp_reader *r, uint32_t max,
				      uint32_t *ret_count);

/* Write a key, or a key with its value. */
void kr_msg_w_str(struct kr_mp_writer *w, const char *key, const char *value);
void kr_msg_w_u64(struct kr_mp_writer *w, const char *key, uint64_t value);
void kr_msg_w_digest(struct kr_mp_writer *w, const char *key,
		     const struct kr_digest *d);
void kr_msg_w_id(struct kr_mp_writer *w, const char *key,
		 const struct kr_peer_id *id);
void kr_msg_w_role(struct kr_mp_writer *w, const char *key,
		   enum kr_peer_role role);

#endif
