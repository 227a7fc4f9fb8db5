#!/bin/bash
# A peer whose disk lies is found by the pieces' hashes, closed and reported;
# the pieces come from elsewhere.
. "$(dirname "$0")/fault_lib.sh"

readonly SIZE=$((64 * MIB))

# corrupt FILE: every piece of it (of 256 KiB or more) is another one now, so
# that whoever has it cannot be asked for a good one
corrupt()
{
	local i
	[ -s "$1" ] || fail "there is no $1"
	for ((i = 0; i < SIZE; i += MIB / 4)); do
		head -c 4096 /dev/zero | dd of="$1" bs=4096 conv=notrunc \
			seek=$((i / 4096 + 2)) status=none
	done
	! cmp -s "$1" "$WORK/layer" || fail "$1 was not altered"
}

pieces_failed() { metric "$1" 'kraken_transfer_pieces_total{verdict="failed"}'; }

cluster_start 2 2
blob_make "$WORK/layer" "$SIZE" 4
digest=$(blob_push "$WORK/layer" test/liar)
get_same agent1 test/liar "$digest"

corrupt "$(stored agent1 "$digest")"
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

# An origin's disk may rot, too.  The agent sees nobody else at first, so that it
# meets a bad piece for sure; it gets what it wants when the other is back.
corrupt "$(stored origin1 "$digest")"
role_stop agent1
role_stop agent2
role_stop agent3
role_stop origin2
role_start agent4 agent
wait_ready agent4
get_same agent4 test/liar "$digest" &
reader=$!
has_failed() { [ "$(pieces_failed agent4)" -ge 1 ]; }
wait_for 20 has_failed
role_run origin2
wait "$reader"
failed=$(pieces_failed agent4)
say "pieces from a rotten origin that failed: $failed"
expect_ge "$failed" 1 "pieces of the rotten origin that failed"
expect_same "$(stored agent4 "$digest")" "$WORK/layer" "what agent4 stored"
