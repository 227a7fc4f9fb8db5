#!/bin/bash
# An upload session outlives a proxy that is killed: it goes on at the end of
# the last request that was answered.
. "$(dirname "$0")/fault_lib.sh"

readonly PART=$((8 * MIB)) SIZE=$((30 * MIB + 12345))

# patch OFFSET BYTES [curl arguments]: that part of the blob
patch()
{
	local from=$1 len=$2
	shift 2
	dd if="$WORK/layer" of="$WORK/part" bs=1M iflag=skip_bytes,count_bytes \
		skip="$from" count="$len" status=none
	http PATCH "$UPLOAD" -T "$WORK/part" "$@" \
		-H 'Content-Type: application/octet-stream' \
		-H "Content-Range: $from-$((from + len - 1))"
}

# Where the session stands, from its Range header.
offset()
{
	local range
	http GET "$UPLOAD"
	expect_status 204 "status of the upload session"
	range=$(http_header range)
	expect_match "$range" '^0-[0-9]+$' "Range of the session"
	echo $((${range#0-} + 1))
}

session_size_ge()
{
	local file=$WORK/data/proxy/uploads/${UPLOAD##*/}
	[ "$(stat -c %s "$file")" -ge "$1" ]
}

cluster_start 2 1
blob_make "$WORK/layer" "$SIZE" 5
digest=$(digest_of "$WORK/layer")

upload_open test/session
patch 0 "$PART"
expect_status 202 "first PATCH"
patch "$PART" "$PART"
expect_status 202 "second PATCH"

# Killed in the middle of the third.
tail -c +$((2 * PART + 1)) "$WORK/layer" >"$WORK/rest"
spawn "$WORK/patch.said" curl -s -m 60 -X PATCH -T "$WORK/rest" \
	--limit-rate 4M -H 'Content-Type: application/octet-stream' "$UPLOAD"
patching=$SPAWNED
wait_for 20 session_size_ge $((2 * PART + MIB))
role_kill9 proxy
get_end "$patching"
[ "$GET_STATUS" != 0 ] || fail "the client of the killed proxy saw no error"

role_run proxy
wait_ready proxy
at=$(offset)
say "after kill -9 the session stands at $at of $SIZE bytes"
expect_eq "$at" $((2 * PART)) "the offset: the end of the last PATCH answered"

# A client that thinks otherwise is told so, and nothing is lost by it.
patch $((at + 1)) 1000
expect_error 416 BLOB_UPLOAD_INVALID "PATCH beyond the offset"

patch "$at" "$PART"
expect_status 202 "PATCH after the restart"
role_restart proxy KILL # between two requests
at=$(offset)
expect_eq "$at" $((3 * PART)) "the offset after a second kill"
patch "$at" $((SIZE - at))
expect_status 202 "last PATCH"
http PUT "$(with_digest "$UPLOAD" "$digest")" -H 'Content-Length: 0'
expect_status 201 "commit"
get_same agent1 test/session "$digest"

wait_for 5 metric_eq proxy 'kraken_store_bytes{kind="upload"}' 0
http GET "$UPLOAD"
expect_error 404 BLOB_UPLOAD_UNKNOWN "the session after the commit"
