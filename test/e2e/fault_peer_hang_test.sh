#!/bin/bash
# A peer that hangs in the middle of a transfer, connection open, is left: what
# was asked of it is asked of others.
FAULT_NETWORK=1
. "$(dirname "$0")/fault_lib.sh"

readonly SIZE=$((96 * MIB)) ORIGIN_RATE=10000000 # bytes a second

cluster_start 1 2
blob_make "$WORK/layer" "$SIZE" 12
digest=$(blob_push "$WORK/layer" test/hang)
get_same agent1 test/hang "$digest"
shape origin1 $((ORIGIN_RATE * 8 / 1000))kbit
shape agent1 160mbit

get_start agent2 test/hang "$digest" "$WORK/pulled"
wait_for 20 bytes_in_ge agent2 $((SIZE / 4))
kill -STOP "${PID_OF[agent1]}"
start=$(now_ms) had=$(bytes_in agent2)
get_end "$GET_PID"
took=$(($(now_ms) - start))
kill -CONT "${PID_OF[agent1]}"
expect_eq "$GET_STATUS" 0 "curl ($(<"$WORK/pulled.said"))"
expect_same "$WORK/pulled" "$WORK/layer" "the pulled blob"
from=$(metric agent2 'kraken_transfer_bytes_total{direction="in",peer="agent"}')
alone=$(((SIZE - had) / (ORIGIN_RATE / 1000)))
say "hung after $had of $SIZE bytes ($from from it); the rest took $took ms," \
	"the origin alone needs $alone"
expect_ge "$from" $((SIZE / 20)) "bytes from the peer before it hung"
expect_le "$took" $((alone + 5000)) "milliseconds of the rest"
