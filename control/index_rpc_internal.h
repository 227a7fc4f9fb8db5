/*
 * control/index_rpc_internal.h - what index_rpc.c and index_rpc_object.c
 * share.  Private to them.
 */
#ifndef KR_CONTROL_INDEX_RPC_INTERNAL_H
#define KR_CONTROL_INDEX_RPC_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>

#include "control/index_rpc.h"
#include "control/rpc.h"

/* A request on its way through the index: embedded first in what works on
 * it. */
struct kr_index_rpc_op {
	struct kr_index_service *service;
	struct kr_rpc_request *rpc;
};

/* @bytes of zeroed memory that begin with the op, until kr_index_rpc_end.
 * NULL: the request was answered. */
void *kr_index_rpc_begin(struct kr_index_service *s, struct kr_rpc_request *rpc,
			 size_t bytes);
/* Answer, and free the op. */
void kr_index_rpc_end(struct kr_index_rpc_op *op, enum kr_err err,
		      struct kr_bytes result);
/* The same with an empty result; @copied: copies were queued. */
void kr_index_rpc_end_write(struct kr_index_rpc_op *op, enum kr_err err,
			    bool copied);

/* Say what @err means to a caller of index.*. */
void kr_index_rpc_fail(struct kr_rpc_request *rpc, enum kr_err err);

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
