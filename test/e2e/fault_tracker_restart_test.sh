#!/bin/bash
# A tracker may come and go; an agent that has an image serves it alone.
. "$(dirname "$0")/fault_lib.sh"

readonly OCI="Accept: $OCI_MANIFEST"

# pull AGENT REFERENCE: the manifest and all it names, as a client does it;
# fails where a part does not come
pull()
{
	local base ref
	base=$(registry "$1")/v2/test/image
	curl -fsS -m 20 -H "$OCI" -o "$WORK/manifest" \
		"$base/manifests/$2" 2>>"$WORK/pull.said" || return 1
	for ref in $(jq -r '.config.digest, .layers[].digest' "$WORK/manifest"); do
		curl -fsS -m 20 -o "$WORK/blob" "$base/blobs/$ref" \
			2>>"$WORK/pull.said" || return 1
		expect_eq "$(digest_of "$WORK/blob")" "$ref" "a blob from $1"
	done
}

cluster_start 2 2
for i in 1 2 3; do
	blob_make "$WORK/layer$i" $((6 * MIB + i)) "$i"
done
one=$(image_push test/image one "$WORK/layer1")
pull agent1 one || fail "pull of the first image"

role_kill9 tracker
two=$(image_push test/image two "$WORK/layer2")
start=$(now_ms)
http GET "$(registry agent2)/v2/test/image/blobs/$(digest_of "$WORK/layer2")"
took=$(($(now_ms) - start))
expect_error 503 UNAVAILABLE "a new blob while there is no tracker"
expect_le "$took" 15000 "milliseconds until that was said"
say "without a tracker a new pull is refused after $took ms"
pull agent1 one || fail "pull of a cached image by tag, without a tracker"

role_run tracker
wait_ready tracker
start=$(now_ms)
wait_for 10 pull agent2 two
say "new pull works $(($(now_ms) - start)) ms after the tracker is back"

# The tracker learns again who has what: agent1 announces its blobs by
# itself, so agent2 gets a layer of the first image from it, too.
pull agent2 one || fail "pull of the first image by the second agent"
expect_eq "$(digest_of "$WORK/manifest")" "$one" "manifest of the first image"

role_kill9 tracker
role_kill9 origin1
role_kill9 origin2
role_kill9 build-index
role_kill9 proxy
for digest in "$one" "$two"; do
	start=$(now_ms)
	pull agent2 "$digest" || fail "pull of a cached image, all others down"
	say "cached image, all others down: $(($(now_ms) - start)) ms"
done
http GET "$(registry agent1)/v2/test/image/manifests/two"
expect_error 503 UNAVAILABLE "a tag without a build-index"

# All of them come back, in no order: nothing has to be restarted by hand.
for name in proxy tracker build-index origin2 origin1; do
	role_run "$name"
done
wait_ready "${ROLES[@]}"
image_push test/image three "$WORK/layer3" >/dev/null
wait_for 10 pull agent1 three

# A restart is nothing to be warned of: what a role finds in its own directory
# is its own.
for name in origin1 origin2 build-index proxy; do
	! log_has "$name" ' warn store ' || fail "$name warns of its own files"
done
