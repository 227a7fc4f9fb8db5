#!/bin/bash
# A proxy that is killed while the origins fetch a blob from it: the client
# pushes again, and the origins keep what they have.
FAULT_NETWORK=1
. "$(dirname "$0")/fault_lib.sh"

readonly SIZE=$((64 * MIB))

origins_have() { [ $(($(bytes_in origin1) + $(bytes_in origin2))) -ge "$1" ]; }

cluster_start 2 1
blob_make "$WORK/layer" "$SIZE" 11
digest=$(digest_of "$WORK/layer")
shape proxy 100mbit
upload_open test/push
http PATCH "$UPLOAD" -T "$WORK/layer"
expect_status 202 "PATCH"
spawn "$WORK/put.said" curl -s -m 60 -X PUT -H 'Content-Length: 0' \
	"$(with_digest "$UPLOAD" "$digest")"
put=$SPAWNED
wait_for 20 origins_have $((SIZE / 4))
role_kill9 proxy
get_end "$put"
[ "$GET_STATUS" != 0 ] || fail "the client of the killed proxy saw no error"
before=$(($(bytes_in origin1) + $(bytes_in origin2)))
[ "$before" -lt $((SIZE * 3 / 2)) ] || fail "too late: $before bytes"

role_run proxy
wait_ready proxy
http HEAD "$(registry proxy)/v2/test/push/blobs/$digest"
expect_status 404 "a blob of which the origins have a part"
unshape
start=$(now_ms)
blob_push "$WORK/layer" test/push >/dev/null
say "second push: $(($(now_ms) - start)) ms; the origins had $before of" \
	"$((2 * SIZE)) bytes, and received $(bytes_in origin1) and" \
	"$(bytes_in origin2) in all"
for o in origin1 origin2; do
	expect_le "$(bytes_in "$o")" $((SIZE * 11 / 10)) "bytes received by $o"
done
get_same agent1 test/push "$digest"
