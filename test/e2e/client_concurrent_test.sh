#!/bin/bash
# Two agents and two clients at each pull one image of 64 MiB at the same time:
# all get the same bytes, and no agent fetches much more than the image.
. "$(dirname "$0")/lib.sh"

readonly REPO=many/app
readonly LAYER_BYTES=$((32 * MIB))

fetched_bytes() # agent: of blocks, from agents and origins
{
	local a o
	a=$(metric "$1" 'kraken_transfer_bytes_total{direction="in",peer="agent"}')
	o=$(metric "$1" 'kraken_transfer_bytes_total{direction="in",peer="origin"}')
	echo $((a + o))
}

# One client: manifest and every blob it names, one after the other.
client() # agent, folder
{
	local url digest
	url=$(registry "$1")/v2/$REPO
	curl -fsS -m 50 -o "$2/manifest" "$url/manifests/v1"
	for digest in $(jq -r '.config.digest, .layers[].digest' "$2/manifest")
	do
		curl -fsS -m 50 -o "$2/$digest" "$url/blobs/$digest"
	done
}

cluster_start 2 2
blob_make "$WORK/layer1" "$LAYER_BYTES" 1
blob_make "$WORK/layer2" "$LAYER_BYTES" 2
digest=$(image_push $REPO v1 "$WORK/layer1" "$WORK/layer2")

declare -A clients
for agent in agent1 agent2; do
	for number in 1 2; do
		mkdir "$WORK/$agent.$number"
		client $agent "$WORK/$agent.$number" &
		clients[$agent.$number]=$!
	done
done
for c in "${!clients[@]}"; do
	wait "${clients[$c]}" || fail "client $c could not pull"
done

for c in "${!clients[@]}"; do
	expect_eq "$(digest_of "$WORK/$c/manifest")" "$digest" "manifest of $c"
	for layer in layer1 layer2; do
		expect_same "$WORK/$c/$(digest_of "$WORK/$layer")" \
			"$WORK/$layer" "$layer of $c"
	done
done

# The counters follow the node within a moment.
has_fetched() { [ "$(fetched_bytes "$1")" -ge $((2 * LAYER_BYTES)) ]; }
for agent in agent1 agent2; do
	wait_for 5 has_fetched $agent
	bytes=$(fetched_bytes $agent)
	say "$agent fetched $bytes bytes"
	expect_le "$bytes" $((2 * LAYER_BYTES * 11 / 10)) \
		"bytes that $agent fetched for an image of 64 MiB"
done
