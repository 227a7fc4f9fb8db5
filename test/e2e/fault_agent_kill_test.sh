#!/bin/bash
# An agent that is killed in the middle of a pull goes on where it stopped.
FAULT_NETWORK=1
. "$(dirname "$0")/fault_lib.sh"

readonly SIZE=$((192 * MIB))

cluster_start 2 1
blob_make "$WORK/layer" "$SIZE" 1
digest=$(blob_push "$WORK/layer" test/kill)
shape origin1 200mbit
shape origin2 200mbit

get_start agent1 test/kill "$digest" "$WORK/first"
wait_for 30 bytes_in_ge agent1 $((SIZE * 4 / 10))
before=$(bytes_in agent1)
role_kill9 agent1
get_end "$GET_PID"
[ "$GET_STATUS" != 0 ] || fail "the client of the killed agent saw no error"
[ "$before" -lt $((SIZE * 9 / 10)) ] || fail "the kill came too late: $before"

role_run agent1
wait_ready agent1
get_same agent1 test/kill "$digest"

resumed=$(log_field agent1 'download goes on' verified_bytes)
after=$(bytes_in agent1)
say "$SIZE bytes: $before before the kill, ${resumed:-0} resumed, $after after"
expect_ge "${resumed:-0}" $((SIZE * 2 / 10)) "bytes resumed"
expect_le $((after + resumed)) $((SIZE * 11 / 10)) "resumed + received again"
expect_le "$after" $((SIZE * 8 / 10)) "bytes received by the second run"

wait_for 5 metric_eq agent1 'kraken_store_bytes{kind="blob"}' "$SIZE"
wait_for 5 metric_eq agent1 'kraken_store_bytes{kind="partial"}' 0
left=$(find "$WORK/data/agent1/partial" "$WORK/data/agent1/trash" -type f)
expect_eq "$left" "" "files left over in the store"
expect_same "$(stored agent1 "$digest")" "$WORK/layer" "the stored blob"
