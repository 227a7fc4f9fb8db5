#!/bin/bash
# An agent that is killed in the middle of a pull, or asked to stop, goes on
# where it stopped.
FAULT_NETWORK=1
. "$(dirname "$0")/fault_lib.sh"

readonly SIZE=$((192 * MIB))

# interrupt COMMAND...: pull DIGEST, run the command in the middle; start the
# agent again, pull again.  RESUMED and AFTER are what the second run had from
# the first, and received.
interrupt()
{
	local before
	get_start agent1 test/kill "$DIGEST" "$WORK/first"
	wait_for 30 bytes_in_ge agent1 $((SIZE * 4 / 10))
	before=$(bytes_in agent1)
	"$@"
	get_end "$GET_PID"
	[ "$GET_STATUS" != 0 ] || fail "the client saw no error of: $*"
	[ "$before" -lt $((SIZE * 9 / 10)) ] || fail "too late: $before bytes"

	role_run agent1
	wait_ready agent1
	get_same agent1 test/kill "$DIGEST"
	RESUMED=$(log_field agent1 'download goes on' verified_bytes)
	AFTER=$(bytes_in agent1)
	say "$*: of $SIZE bytes $before had come, ${RESUMED:-0} were resumed," \
		"$AFTER came after"
	expect_ge "${RESUMED:-0}" $((SIZE * 2 / 10)) "bytes resumed"
	expect_le $((AFTER + RESUMED)) $((SIZE * 11 / 10)) \
		"bytes resumed and received again"
	expect_le "$AFTER" $((SIZE * 8 / 10)) "bytes received by the second run"
}

# is_clean BYTES: the store counts complete blobs of that size, nothing else
is_clean()
{
	metric_eq agent1 'kraken_store_bytes{kind="blob"}' "$1" &&
		metric_eq agent1 'kraken_store_bytes{kind="partial"}' 0
}

cluster_start 2 1
for i in 1 2; do
	blob_make "$WORK/layer$i" "$SIZE" "$i"
	blob_push "$WORK/layer$i" test/kill >"$WORK/digest$i"
done
shape origin1 200mbit
shape origin2 200mbit

DIGEST=$(<"$WORK/digest1")
interrupt role_kill9 agent1
wait_for 5 is_clean "$SIZE"
expect_same "$(stored agent1 "$DIGEST")" "$WORK/layer1" "the stored blob"

DIGEST=$(<"$WORK/digest2")
role_restart agent1 # its counters begin at 0 again
interrupt role_stop agent1
wait_for 5 is_clean $((2 * SIZE))
expect_same "$(stored agent1 "$DIGEST")" "$WORK/layer2" "the stored blob"

left=$(find "$WORK"/data/agent1/{partial,trash} -type f)
expect_eq "$left" "" "files left over in the store"
