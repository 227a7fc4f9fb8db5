#!/bin/bash
# A peer whose disk lies is found by the pieces' hashes, closed and reported;
# the pieces come from elsewhere.
. "$(dirname "$0")/fault_lib.sh"

readonly SIZE=$((64 * MIB)) PIECE=$MIB

pieces_failed() { metric "$1" 'kraken_transfer_pieces_total{verdict="failed"}'; }

cluster_start 2 2
blob_make "$WORK/layer" "$SIZE" 4
digest=$(blob_push "$WORK/layer" test/liar)
get_same agent1 test/liar "$digest"

# Every second MiB on the disk of agent one is another one now: whichever it
# is asked for first, it is soon asked for a bad one.
file=$(stored agent1 "$digest")
[ -s "$file" ] || fail "agent1 does not store $digest"
for ((i = 1; i < SIZE / PIECE; i += 2)); do
	head -c 4096 /dev/zero | dd of="$file" bs=1 seek=$((i * PIECE + 8192)) \
		conv=notrunc status=none obs=4096
done
cmp -s "$file" "$WORK/layer" && fail "the file was not altered"

get_same agent2 test/liar "$digest"
failed=$(pieces_failed agent2)
from_liar=$(metric agent2 'kraken_transfer_bytes_total{direction="in",peer="agent"}')
closes=$(metric agent2 'kraken_transfer_closes_total{reason="corrupt"}')
say "pieces failed: $failed, bytes from the liar: $from_liar," \
	"connections closed for it: $closes"
expect_ge "$failed" 1 "pieces that failed"
expect_ge "$closes" 1 "connections closed for bytes that do not match"
wait_for 5 log_has agent2 'do not match their hash'
expect_same "$(stored agent2 "$digest")" "$WORK/layer" "what agent2 stored"

# The tracker does not send others to it any more: a third agent sees none.
wait_for 5 log_has tracker 'peer quarantined'
role_start agent3 agent
wait_ready agent3
get_same agent3 test/liar "$digest"
expect_eq "$(pieces_failed agent3)" 0 "pieces that failed on a third agent"
