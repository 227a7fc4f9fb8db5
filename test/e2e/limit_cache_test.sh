#!/bin/bash
# An agent's cache that is smaller than what is pulled through it: the least
# recently used blobs make way, although all are announced and just used.
. "$(dirname "$0")/fault_lib.sh"

readonly SIZE=$((24 * MIB))
readonly QUOTA=96MiB

cluster_start 1 1
role_stop agent1
sed -i "s|^store: {dir: \([^,}]*\)}|store: {dir: \1, quota: $QUOTA}|" \
	"$WORK/conf/agent1.yaml"
grep -q "quota: $QUOTA" "$WORK/conf/agent1.yaml" ||
	fail "the configuration of agent1 has no store to limit"
role_run agent1
wait_ready agent1

for i in 1 2 3 4 5 6 7 8; do
	blob_make "$WORK/layer" "$SIZE" "$i"
	digest=$(blob_push "$WORK/layer" test/cache)
	get_same agent1 test/cache "$digest"
done
evicted=$(metric agent1 'kraken_store_evictions_total')
say "8 blobs of 24 MiB through a cache of $QUOTA: $evicted deleted"
expect_ge "$evicted" 4 "blobs that made way"
