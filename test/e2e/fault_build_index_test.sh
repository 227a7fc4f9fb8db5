#!/bin/bash
# The build-index goes and comes back, and there are two of them: what is named
# by its digest is served meanwhile, a push is refused and can go on later, and
# what was deleted stays deleted at both.
. "$(dirname "$0")/lib.sh"

readonly REPO=index/image

# A second build-index beside the cluster's, each told of the other.
start_cluster()
{
	role_define build-index2 build-index
	role_define build-index build-index
	role_define origin1 origin
	role_define tracker tracker
	role_define proxy proxy
	role_define agent1 agent
	local one="127.0.0.1:${PORT_OF["build-index rpc"]}"
	local two="127.0.0.1:${PORT_OF["build-index2 rpc"]}"
	role_start build-index --set "build_index.hosts.static=$two"
	role_start build-index2 --set "build_index.hosts.static=$one"
	role_start origin1
	role_start tracker
	role_start proxy --set "build_index.hosts.static=$one"
	role_start agent1 --set "build_index.hosts.static=$two"
	wait_ready "${ROLES[@]}"
}

status_of() # ROLE METHOD PATH
{
	http "$2" "$(registry "$1")/v2/$REPO/$3"
	echo "$HTTP_STATUS"
}

answers() { [ "$(status_of "$1" HEAD "$2")" = "$3" ]; } # ROLE PATH STATUS

start_cluster
blob_make "$WORK/layer" 300000 1
blob_make "$WORK/gone" 5000 2
blob_make "$WORK/new" 5000 3
manifest=$(image_push "$REPO" v1 "$WORK/layer")
image_push "$REPO" v2 "$WORK/layer" >/dev/null
layer=$(digest_of "$WORK/layer")
gone=$(blob_push "$WORK/gone" "$REPO")

say "tags and deletions reach the other index, which the agent asks"
wait_for 10 answers agent1 manifests/v1 200
http DELETE "$(registry proxy)/v2/$REPO/manifests/v2"
expect_status 202 "DELETE of a tag"
http DELETE "$(registry proxy)/v2/$REPO/blobs/$gone"
expect_status 202 "DELETE of a blob"
wait_for 10 answers agent1 manifests/v2 404
expect_eq "$(status_of agent1 HEAD manifests/v1)" 200 "the other tag"

say "without its index a proxy serves by digest"
role_kill9 build-index
expect_eq "$(status_of proxy GET "blobs/$layer")" 200 "the layer"
expect_eq "$(status_of proxy GET "manifests/$manifest")" 200 "the manifest"
http GET "$(registry proxy)/v2/$REPO/manifests/v1"
expect_error 503 UNAVAILABLE "a tag"

say "a push is refused, and goes on when the index is back"
upload_open "$REPO"
url=$(with_digest "$UPLOAD" "$(digest_of "$WORK/new")")
http PUT "$url" -H 'Content-Type: application/octet-stream' \
	--data-binary "@$WORK/new"
expect_error 503 UNAVAILABLE "a push without an index"
expect_eq "$(http_header retry-after)" 1 "Retry-After"
role_run build-index
wait_ready build-index
put_again() { http PUT "$url" -H 'Content-Length: 0'; [ "$HTTP_STATUS" = 201 ]; }
wait_for 15 put_again

say "what was deleted is deleted still"
wait_for 10 answers proxy "blobs/$gone" 404
expect_eq "$(status_of proxy GET manifests/v2)" 404 "the tag"
expect_eq "$(status_of proxy GET manifests/v1)" 200 "the other tag"
