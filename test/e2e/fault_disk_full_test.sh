#!/bin/bash
# Disks that are full: an agent's, a proxy's, an origin's.  The client is told,
# the log says what to do, and what fits still passes.
FAULT_NETWORK=1
. "$(dirname "$0")/fault_lib.sh"

readonly DISK=64 # MiB
readonly REPO=test/full

# expect_refused STATUS CODE WHAT: of the last http, and soon
expect_refused()
{
	expect_error "$1" "$2" "$3"
	say "$3: status $HTTP_STATUS after $TOOK ms:" \
		"$(jq -r '.errors[0].message' "$WORK/http.body")"
	expect_le "$TOOK" 15000 "milliseconds until it was said ($3)"
}

timed() # as http
{
	local start
	start=$(now_ms)
	http "$@"
	TOOK=$(($(now_ms) - start))
}

# start_small NAME: stop it, give it a small store, start it again
start_small()
{
	role_stop "$1"
	small_disk "$1" "$DISK"
	role_run "$1"
	wait_ready "$1"
}

cluster_start 1 1
blob_make "$WORK/large" $((96 * MIB)) 8
for i in 1 2 3 4 5 6; do
	blob_make "$WORK/small$i" $((8 * MIB)) "1$i"
done
large=$(blob_push "$WORK/large" $REPO)
small=$(blob_push "$WORK/small1" $REPO)

# ---- the agent's

start_small agent1
timed GET "$(registry agent1)/v2/$REPO/blobs/$large"
expect_refused 507 NO_SPACE "pull of 96 MiB to a disk of 64"
wait_for 5 log_has agent1 'no room for a download: free disk space'
get_same agent1 $REPO "$small"
timed GET "$(registry agent1)/v2/$REPO/blobs/$large"
expect_refused 507 NO_SPACE "the same a second time"
wait_for 5 metric_eq agent1 'kraken_store_bytes{kind="partial"}' 0
wait_for 5 metric_eq agent1 kraken_blob_downloads 0

# ---- the proxy's

start_small proxy
wait_for 10 is_ready agent1
# One request: nothing of it is left.
timed POST "$(registry proxy)/v2/$REPO/blobs/uploads/?digest=$large" \
	--data-binary "@$WORK/large" -H 'Content-Type: application/octet-stream'
expect_refused 507 NO_SPACE "push of 96 MiB in one request to a disk of 64"
wait_for 5 log_has proxy 'no room for an upload: free disk space'
wait_for 5 metric_eq proxy 'kraken_store_bytes{kind="upload"}' 0

# A session, whose length nobody announced.  It is the client's to delete.
upload_open $REPO
timed PATCH "$UPLOAD" -T - -H 'Content-Type: application/octet-stream' \
	-H 'Transfer-Encoding: chunked' <"$WORK/large"
expect_refused 507 NO_SPACE "chunked PATCH of 96 MiB to a disk of 64"
http DELETE "$UPLOAD"
expect_status 204 "end of the session"
wait_for 5 metric_eq proxy 'kraken_store_bytes{kind="upload"}' 0
left=$(find "$WORK/data/proxy/uploads" -type f)
expect_eq "$left" "" "files left over of the uploads"

digest=$(blob_push "$WORK/small2" $REPO)
get_same agent1 $REPO "$digest"

# Blobs that were handed over make way for new ones.
for i in 3 4 5 6; do
	blob_push "$WORK/small$i" $REPO >/dev/null
done
umount -l "$WORK/data/proxy" # and the proxy is as large as before
role_restart proxy

# ---- the origin's

start_small origin1
wait_ready proxy
name=127.0.0.1:${PORT_OF["origin1 rpc"]}
upload_open $REPO
http PATCH "$UPLOAD" -T "$WORK/large"
expect_status 202 "PATCH to a proxy that has room"
timed PUT "$(with_digest "$UPLOAD" "$large")" -H 'Content-Length: 0'
expect_refused 507 NO_SPACE "push of 96 MiB, the origin has 64"
expect_match "$(jq -r '.errors[0].message' "$WORK/http.body")" "$name" \
	"the message names the origin"
wait_for 5 log_has origin1 'no room for a download: free disk space'
digest=$(blob_push "$WORK/small6" $REPO)
get_same agent1 $REPO "$digest"
