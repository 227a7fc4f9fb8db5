#!/bin/bash
# An agent that was given another cluster than its tracker: its clients are told
# so, instead of waiting for bytes that nobody will send; once it is mended, it
# pulls.
. "$(dirname "$0")/fault_lib.sh"

cluster_start 1 1
blob_make "$WORK/layer" $((3 * MIB)) 1
layer=$(blob_push "$WORK/layer" team/app)
role_stop agent1
ARGS_OF[agent1]="--set cluster=elsewhere"
role_run agent1
wait_for 10 is_listening "${PORT_OF["agent1 registry"]}"
http GET "$(registry agent1)/v2/team/app/blobs/$layer"
expect_status 503 "pull by an agent of another cluster"
expect_match "$(cat "$WORK/http.body")" 'cluster.*e2e.*elsewhere' "what it says"
grep -q 'error.*cluster' "$WORK/log/agent1" || fail "the log does not say why"
ARGS_OF[agent1]=
role_restart agent1
blob_get agent1 team/app "$layer" "$WORK/got"
expect_status 200 "pull by an agent of this cluster"
expect_same "$WORK/layer" "$WORK/got" "pull by an agent of this cluster"
