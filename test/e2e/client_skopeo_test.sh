#!/bin/bash
# skopeo puts images in through the proxy and gets them back from the agents,
# byte for byte: OCI, Docker schema 2, an index of two architectures, by tag and
# by digest.
. "$(dirname "$0")/lib.sh"
need skopeo

# ---- an OCI layout (image-layout.md of the OCI image-spec) -----------------

layout_add() # layout, file: prints its digest
{
	local digest
	digest=$(digest_of "$2")
	cp "$2" "$1/blobs/sha256/${digest#*:}"
	echo "$digest"
}

# layout_image LAYOUT ARCHITECTURE LAYER...: prints the manifest's descriptor
layout_image()
{
	local layout=$1 arch=$2 layer
	shift 2
	for layer in "$@"; do
		layout_add "$layout" "$layer" >/dev/null
	done
	config_make "$WORK/config" "$@"
	sed -i "s/amd64/$arch/" "$WORK/config"
	layout_add "$layout" "$WORK/config" >/dev/null
	manifest_make "$WORK/manifest" "$WORK/config" "$@"
	layout_add "$layout" "$WORK/manifest" >/dev/null
	descriptor "$OCI_MANIFEST" "$WORK/manifest" |
		jq -c --arg arch "$arch" \
			'.platform = {os: "linux", architecture: $arch}'
}

# layout_make LAYOUT: tag "one" is an image, "both" an index of two
layout_make()
{
	local one two index
	mkdir -p "$1/blobs/sha256"
	echo '{"imageLayoutVersion":"1.0.0"}' >"$1/oci-layout"
	layer_make "$WORK/base.tar" $((8 * MIB)) 1
	layer_make "$WORK/amd64.tar" $((5 * MIB + 3)) 2
	layer_make "$WORK/arm64.tar" 70000 3
	one=$(layout_image "$1" amd64 "$WORK/base.tar" "$WORK/amd64.tar")
	two=$(layout_image "$1" arm64 "$WORK/base.tar" "$WORK/arm64.tar")
	printf '{"schemaVersion":2,"mediaType":"%s","manifests":[%s,%s]}' \
		"$OCI_INDEX" "$one" "$two" >"$WORK/index"
	layout_add "$1" "$WORK/index" >/dev/null
	index=$(descriptor "$OCI_INDEX" "$WORK/index")
	jq -nc --argjson one "$one" --argjson both "$index" \
		'def tag(t): .annotations["org.opencontainers.image.ref.name"] = t;
		{schemaVersion: 2, manifests: [($one | tag("one")),
			($both | tag("both"))]}' >"$1/index.json"
}

layout_digest() # layout, tag
{
	jq -r --arg tag "$2" '.manifests[] | select(.annotations
		["org.opencontainers.image.ref.name"] == $tag) | .digest' \
		"$1/index.json"
}

# expect_layout LAYOUT FILE...: has these blobs and no others
expect_layout()
{
	local layout=$1 file hex
	shift
	for file in "$@"; do
		hex=$(digest_of "$file")
		hex=${hex#*:}
		[ -f "$layout/blobs/sha256/$hex" ] ||
			fail "$layout has no ${file##*/} ($hex)"
		expect_same "$layout/blobs/sha256/$hex" "$file" "${file##*/}"
	done
	expect_eq "$(find "$layout/blobs/sha256" -type f | wc -l)" $# \
		"number of blobs in $layout"
}

# --------------------------------------------------------------------------

copy()
{
	skopeo --insecure-policy copy -q --src-tls-verify=false \
		--dest-tls-verify=false "$@" 2>"$WORK/log/skopeo" ||
		fail "skopeo copy $*: $(tail -1 "$WORK/log/skopeo")"
}

remote() { echo "docker://$(registry_host "$1")/skopeo/app"; }

check_oci()
{
	local digest agent
	copy --preserve-digests "oci:$WORK/src:one" "$(remote proxy):one"
	digest=$(layout_digest "$WORK/src" one)
	layout_image "$WORK/src" amd64 "$WORK/base.tar" "$WORK/amd64.tar" \
		>/dev/null # config and manifest of it again
	for agent in agent1 agent2; do
		copy --preserve-digests "$(remote $agent):one" \
			"oci:$WORK/$agent:one"
		expect_eq "$(layout_digest "$WORK/$agent" one)" "$digest" \
			"digest at $agent"
		expect_layout "$WORK/$agent" "$WORK/base.tar" \
			"$WORK/amd64.tar" "$WORK/config" "$WORK/manifest"
	done
	copy --preserve-digests "$(remote agent2)@$digest" \
		"oci:$WORK/by-digest:one"
	expect_layout "$WORK/by-digest" "$WORK/base.tar" "$WORK/amd64.tar" \
		"$WORK/config" "$WORK/manifest"
}

# "dir:" keeps manifests as they are.
check_docker()
{
	local agent
	copy --format v2s2 "oci:$WORK/src:one" "$(remote proxy):docker"
	copy "$(remote proxy):docker" "dir:$WORK/dir"
	expect_eq "$(jq -r .mediaType "$WORK/dir/manifest.json")" \
		"$DOCKER_MANIFEST" "media type"
	for agent in agent1 agent2; do
		copy "$(remote $agent):docker" "dir:$WORK/dir-$agent"
		diff -r "$WORK/dir" "$WORK/dir-$agent" ||
			fail "what $agent gives is not what was pushed"
	done
	for agent in base amd64; do
		expect_unpacked "$WORK/$agent.tar"
	done
}

# expect_unpacked TAR: among the layers of $WORK/dir, which skopeo compressed
expect_unpacked()
{
	local digest layer
	digest=$(digest_of "$1")
	for layer in $(jq -r '.layers[].digest' "$WORK/dir/manifest.json"); do
		gzip -dcf "$WORK/dir/${layer#*:}" >"$WORK/unpacked"
		[ "$(digest_of "$WORK/unpacked")" != "$digest" ] || return 0
	done
	fail "no layer of the Docker image is ${1##*/}"
}

check_index()
{
	local agent digest
	copy --all --preserve-digests "oci:$WORK/src:both" \
		"$(remote proxy):both"
	digest=$(layout_digest "$WORK/src" both)
	for agent in agent1 agent2; do
		copy --all --preserve-digests "$(remote $agent):both" \
			"oci:$WORK/both-$agent:both"
		expect_eq "$(layout_digest "$WORK/both-$agent" both)" \
			"$digest" "digest of the index at $agent"
		diff -r "$WORK/src/blobs" "$WORK/both-$agent/blobs" ||
			fail "index at $agent: blobs differ"
	done
	copy --override-arch arm64 "$(remote agent1):both" "dir:$WORK/arm64"
	expect_eq "$(jq -r '.layers[1].digest' "$WORK/arm64/manifest.json")" \
		"$(digest_of "$WORK/arm64.tar")" "layer of arm64"
	skopeo inspect --raw --tls-verify=false "$(remote agent2)@$digest" \
		>"$WORK/raw"
	expect_same "$WORK/raw" "$WORK/index" "index by digest"
}

check_docker_list()
{
	local agent
	copy --all --format v2s2 "oci:$WORK/src:both" "$(remote proxy):list"
	copy --all "$(remote proxy):list" "dir:$WORK/list"
	expect_eq "$(jq -r .mediaType "$WORK/list/manifest.json")" \
		"$DOCKER_LIST" "media type"
	for agent in agent1 agent2; do
		copy --all "$(remote $agent):list" "dir:$WORK/list-$agent"
		diff -r "$WORK/list" "$WORK/list-$agent" ||
			fail "what $agent gives is not what was pushed"
	done
}

# What was pushed as one thing comes out as another, and goes from an agent to
# the proxy without touching a disk of ours.
check_conversions()
{
	local agent layer
	for agent in agent1 agent2; do
		copy --format oci "$(remote $agent):docker" \
			"oci:$WORK/converted-$agent:docker"
		expect_eq "$(manifest_type "$WORK/converted-$agent" docker)" \
			"$OCI_MANIFEST" "Docker image pulled as OCI"
		copy --format v2s2 "$(remote $agent):one" "dir:$WORK/v2s2-$agent"
		expect_eq "$(jq -r .mediaType "$WORK/v2s2-$agent/manifest.json")" \
			"$DOCKER_MANIFEST" "OCI image pulled as Docker's"
	done
	copy --all --preserve-digests "$(remote agent1):both" \
		"docker://$(registry_host proxy)/skopeo/copy:both"
	skopeo inspect --raw --tls-verify=false \
		"docker://$(registry_host agent2)/skopeo/copy:both" >"$WORK/raw"
	expect_same "$WORK/raw" "$WORK/index" "index copied to another name"
	copy --all --format v2s2 "$(remote agent1):both" \
		"docker://$(registry_host proxy)/skopeo/copy:list"
	copy --all --format oci "docker://$(registry_host agent2)/skopeo/copy:list" \
		"oci:$WORK/there-and-back:both"
	for layer in base amd64 arm64; do
		grep -qF "$(digest_of "$WORK/$layer.tar")" \
			"$WORK"/there-and-back/blobs/sha256/* ||
			fail "${layer}.tar is not in the image that came back"
	done
}

manifest_type() # layout, tag
{
	local hex
	hex=$(layout_digest "$1" "$2")
	jq -r '.mediaType // "'"$OCI_MANIFEST"'"' "$1/blobs/sha256/${hex#*:}"
}

check_tags()
{
	skopeo list-tags --tls-verify=false "$(remote proxy)" >"$WORK/tags"
	expect_eq "$(jq -r '.Tags | join(" ")' "$WORK/tags")" \
		"both docker list one" "tags"
}

check_absent()
{
	if skopeo inspect --raw --tls-verify=false "$(remote agent1):absent" \
		>/dev/null 2>"$WORK/answer"; then
		fail "an absent tag was found"
	fi
	expect_match "$(cat "$WORK/answer")" 'manifest unknown' "absent tag"
}

cluster_start 2 2
layout_make "$WORK/src"
say "OCI image"
check_oci
say "Docker image"
check_docker
say "index of two architectures"
check_index
say "Docker manifest list"
check_docker_list
say "conversions, copies from registry to registry"
check_conversions
check_tags
check_absent
