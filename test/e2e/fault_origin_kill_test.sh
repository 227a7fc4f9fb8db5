#!/bin/bash
# With two replicas, one origin may die: pulls and pushes go on.
FAULT_NETWORK=1
. "$(dirname "$0")/fault_lib.sh"

readonly SIZE=$((160 * MIB))

cluster_start 2 2
blob_make "$WORK/layer" "$SIZE" 2
digest=$(blob_push "$WORK/layer" test/origins)
# The second owner follows in the background.
for o in origin1 origin2; do
	wait_for 20 metric_ge "$o" 'kraken_ingest_total{result="ok"}' 1
done
shape origin1 160mbit
shape origin2 160mbit

get_start agent1 test/origins "$digest" "$WORK/pulled"
wait_for 30 bytes_in_ge agent1 $((SIZE * 3 / 10))
role_kill9 origin1
at=$(bytes_in agent1) start=$(now_ms)
get_end "$GET_PID"
expect_eq "$GET_STATUS" 0 "curl while an origin dies ($(cat "$WORK/pulled.said"))"
expect_same "$WORK/pulled" "$WORK/layer" "the pulled blob"
expect_le "$at" $((SIZE * 8 / 10)) "bytes received when the origin was killed"
say "origin1 killed at $at of $SIZE bytes; complete $(($(now_ms) - start)) ms later"

# A push while only one origin lives, and a pull of it by a second agent.
unshape
blob_make "$WORK/second" $((20 * MIB)) 3
start=$(now_ms)
second=$(blob_push "$WORK/second" test/origins)
took=$(($(now_ms) - start))
expect_le "$took" 15000 "milliseconds of a push with one origin down"
get_same agent2 test/origins "$second"
say "push with one origin of two took $took ms, and is readable"

# The first comes back: all is readable, also by it alone.
role_run origin1
wait_ready origin1
get_same agent2 test/origins "$digest"
