#!/bin/bash
# The agent hands out a blob while it downloads it: the first byte comes
# before a tenth is there.
FAULT_NETWORK=1
. "$(dirname "$0")/fault_lib.sh"

readonly SIZE=$((512 * MIB))
readonly RATE=100000000    # bytes a second
readonly LAG_MS=250        # metrics may be that old (control: KR_STATS_NS)

cluster_start 1 1
blob_make "$WORK/layer" "$SIZE" 10
digest=$(blob_push "$WORK/layer" test/first-byte)
shape origin1 $((RATE * 8 / 1000))kbit

# The client: notes the figures at its first byte, then goes on reading.
client()
{
	head -c 1 >"$WORK/byte"
	now_ms >"$WORK/first_ms"
	bytes_in agent1 >"$WORK/first_in"
	cat "$WORK/byte" - | sha256sum | cut -d' ' -f1 >"$WORK/sum"
}
start=$(now_ms)
curl -fsSN -m 80 "$(registry agent1)/v2/test/first-byte/blobs/$digest" | client
took=$(($(now_ms) - start))

first=$(($(<"$WORK/first_ms") - start))
in=$(<"$WORK/first_in")
most=$((in + RATE / 1000 * LAG_MS))
say "512 MiB at $((RATE / 1000000)) MB/s: first byte after $first ms," \
	"$in bytes received by then ($most at most), last after $took ms"
expect_le "$most" $((SIZE / 10)) "bytes received when the first byte came"
expect_eq "sha256:$(<"$WORK/sum")" "$digest" "content"

# The client was kept up with: it does not end long after the link could.
expect_le "$took" $((SIZE / (RATE / 1000) * 3 / 2)) "milliseconds in all"
