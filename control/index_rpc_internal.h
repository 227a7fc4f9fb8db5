/*
 * control/index_rpc_internal.h - what index_rpc.c and index_rpc_object.c
 * share.  Private to them.
 */
#ifndef KR_CONTROL_INDEX_RPC_INTERNAL_H
#define KR_CONTROL_INDEX_RPC_INTERNAL_H

#include "control/index_rpc.h"
#include "control/rpc.h"

/* Say what @err means to a caller of index.*. */
void kr_index_rpc_fail(struct kr_rpc_request *rpc, enum kr_err err);

/* Copies were queued. */
void kr_index_rpc_kick(struct kr_index_service *s);

/* Methods; ctx is the struct kr_index_service. */
void kr_index_rpc_put_object(void *ctx, struct kr_rpc_request *rpc,
			     struct kr_bytes params);
void kr_index_rpc_delete_object(void *ctx, struct kr_rpc_request *rpc,
				struct kr_bytes params);
void kr_index_rpc_find_object(void *ctx, struct kr_rpc_request *rpc,
			      struct kr_bytes params);
void kr_index_rpc_merge_object(void *ctx, struct kr_rpc_request *rpc,
			       struct kr_bytes params);
void kr_index_rpc_referrers(void *ctx, struct kr_rpc_request *rpc,
			    struct kr_bytes params);

#endif
