#!/bin/bash
# What an origin acknowledged reaches the storage backend, whatever happens to
# origin and backend meanwhile; and comes back from it when the origin's disk
# is lost.
. "$(dirname "$0")/fault_lib.sh"

readonly SIZE=$((24 * MIB))

# in_storage DIGEST FILE: the backend has it, whole
in_storage()
{
	local file
	file=$(find "$WORK/storage" -type f -size "$(size_of "$2")c" \
		-path "*${1#sha256:}*" | head -n 1)
	[ -n "$file" ] && cmp -s "$file" "$2"
}
nothing_pending() { metric_eq origin1 kraken_writeback_pending 0; }

cluster_start 1 1
for i in 1 2; do
	blob_make "$WORK/layer$i" "$SIZE" "3$i"
done

# The backend cannot be written to: the push is acknowledged all the same.
rm -r "$WORK/storage"
: >"$WORK/storage"
one=$(blob_push "$WORK/layer1" test/writeback)
wait_for 20 log_has origin1 'the backend did not take a blob'
expect_ge "$(metric origin1 kraken_writeback_pending)" 1 "blobs to be written"

# The origin is killed with it still to do; the backend is mended.
role_kill9 origin1
rm "$WORK/storage"
mkdir "$WORK/storage"
role_run origin1
wait_ready origin1
start=$(now_ms)
wait_for 40 nothing_pending
in_storage "$one" "$WORK/layer1" || fail "the backend does not have $one"
say "written back $(($(now_ms) - start)) ms after the origin was restarted"

# Killed right after the acknowledgement.
two=$(blob_push "$WORK/layer2" test/writeback)
role_kill9 origin1
role_run origin1
wait_ready origin1
wait_for 40 nothing_pending
in_storage "$two" "$WORK/layer2" || fail "the backend does not have $two"

# The disk of the only origin is lost.
role_kill9 origin1
rm -r "$WORK/data/origin1"
role_run origin1
wait_ready origin1
start=$(now_ms)
get_same agent1 test/writeback "$one"
get_same agent1 test/writeback "$two"
say "two blobs of $SIZE bytes back from storage: $(($(now_ms) - start)) ms"
