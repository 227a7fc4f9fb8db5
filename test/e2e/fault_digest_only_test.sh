#!/bin/bash
# Proxy and build-index are down: what is asked for by digest is pulled all the
# same, by an agent that has it and by one that must fetch it from the origins.
# A tag is "unavailable" then, not "not found".
. "$(dirname "$0")/fault_lib.sh"
need skopeo

readonly REPO=test/digest-only

# expect_image AGENT: manifest, configuration and layers, by digest
expect_image()
{
	local blob url
	url=$(registry "$1")/v2/$REPO
	http HEAD "$url/manifests/$digest"
	expect_status 200 "HEAD of the manifest at $1"
	expect_eq "$(http_header docker-content-digest)" "$digest" "its digest"
	expect_eq "$(http_header content-type)" "$OCI_MANIFEST" "its type"
	http GET "$url/manifests/$digest"
	expect_status 200 "manifest by digest at $1"
	expect_same "$WORK/http.body" "$WORK/manifest" "manifest from $1"
	for blob in $(jq -r '.config.digest, .layers[].digest' \
		"$WORK/manifest"); do
		get_same "$1" "$REPO" "$blob"
	done
}

# head_is_cheap AGENT DIGEST SIZE: nothing is downloaded for it
head_is_cheap()
{
	local before
	before=$(bytes_in "$1")
	http HEAD "$(registry "$1")/v2/$REPO/blobs/$2"
	expect_status 200 "HEAD of a blob at $1"
	expect_eq "$(http_header content-length)" "$3" "its length"
	sleep 1 # the figures may be that old
	expect_eq "$(bytes_in "$1")" "$before" "bytes downloaded for a HEAD"
}

cluster_start 2 2
layer_make "$WORK/one.tar" $((9 * MIB)) 21
layer_make "$WORK/two.tar" 100000 22
digest=$(image_push "$REPO" v1 "$WORK/one.tar" "$WORK/two.tar")
http GET "$(registry proxy)/v2/$REPO/manifests/v1"
mv "$WORK/http.body" "$WORK/manifest"
expect_image agent1

role_kill9 proxy
role_kill9 build-index
say "proxy and build-index are down"
head_is_cheap agent2 "$(digest_of "$WORK/one.tar")" "$(size_of "$WORK/one.tar")"
expect_image agent1
expect_image agent2
skopeo --insecure-policy copy -q --src-tls-verify=false \
	"docker://$(registry_host agent2)/$REPO@$digest" "oci:$WORK/oci:v1" \
	2>"$WORK/log/skopeo" ||
	fail "skopeo copy by digest: $(tail -1 "$WORK/log/skopeo")"
http GET "$(registry agent1)/v2/$REPO/manifests/v1"
expect_status 503 "a tag that nobody can be asked for"

role_kill9 origin1
role_kill9 origin2
role_kill9 tracker
say "so are origins and tracker"
expect_image agent1
expect_image agent2
