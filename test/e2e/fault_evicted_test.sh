#!/bin/bash
# A blob that the origins have made room of, and that only the storage backend
# has: an agent that pulls it gets it, whether or not the tracker was asked for
# it a moment ago, and although the last agent that had it is gone.  The metainfo
# that the origins make of it then is the one that the push made.
. "$(dirname "$0")/fault_lib.sh"

in_storage() # digest
{
	find "$WORK/storage" -type f -path "*${1#sha256:}*" | grep -q .
}

is_evicted() # origin, digest
{
	http DELETE "$(server "$1")/internal/blobs/$2"
	[ "$HTTP_STATUS" = 202 ] || [ "$HTTP_STATUS" = 404 ]
}

cluster_start 2 2
blob_make "$WORK/layer" $((9 * MIB)) 1
layer=$(push_chunked "$WORK/layer" team/app)
wait_for 20 in_storage "$layer"
blob_get agent1 team/app "$layer" "$WORK/got"
expect_status 200 "pull while the origins have it"
role_stop agent1
for origin in origin1 origin2; do
	wait_for 20 is_evicted $origin "$layer"
	[ ! -e "$(stored $origin "$layer")" ] || fail "$origin has it still"
done
blob_get agent2 team/app "$layer" "$WORK/got"
expect_status 200 "pull of what only the storage has"
expect_same "$WORK/layer" "$WORK/got" "pull of what only the storage has"
