#!/bin/bash
# Kraken's own endpoints, asked as Kraken's clients ask them: an origin takes an
# upload and gives it back, an agent gives tags and blobs, a build-index keeps
# and lists tags, a proxy prefetches.
. "$(dirname "$0")/fault_lib.sh"

readonly NS=team%2Fapp NOBODY=sha256:$(printf %064d 0)

expect_text() # expected, what: the body of the last http
{
	expect_eq "$(<"$WORK/http.body")" "$1" "$2"
}

# kraken_upload SERVER FILE DIGEST: in two chunks, as Kraken's blob client does
kraken_upload()
{
	local url=$1/namespace/$NS/blobs/$3/uploads size half uid
	size=$(size_of "$2")
	half=$((size / 2))
	http POST "$url" -H 'Content-Length: 0'
	expect_status 200 "start of an upload"
	uid=$(http_header location)
	expect_match "$uid" '^[0-9a-f-]{36}$' "Location: nothing but the id"
	head -c $half "$2" >"$WORK/chunk"
	http PATCH "$url/$uid" -H "Content-Range: 0-$half" \
		--data-binary "@$WORK/chunk"
	expect_status 200 "first chunk"
	http PATCH "$url/$uid" -H "Content-Range: 0-$half" \
		--data-binary "@$WORK/chunk"
	expect_status 416 "the first chunk once more"
	http PATCH "$url/$uid" -H "Content-Range: $half-$((2 * half - 1))" \
		--data-binary "@$WORK/chunk"
	expect_status 400 "a range whose end is included"
	tail -c +$((half + 1)) "$2" >"$WORK/chunk"
	http PATCH "$url/$uid" -H "Content-Range: $half-$size" \
		--data-binary "@$WORK/chunk"
	expect_status 200 "second chunk"
	http PUT "$url/$uid" -H 'Content-Length: 0'
	expect_status 200 "commit"
	http PATCH "$url/$uid" -H "Content-Range: 0-$((size - half))" \
		--data-binary "@$WORK/chunk"
	expect_status 404 "a chunk of an upload that is over"
}

in_storage() # digest
{
	find "$WORK/storage" -type f -path "*${1#sha256:}*" | grep -q .
}

# An origin's copy is kept until it is written back, and while it is used.
is_deleted() # URL
{
	http DELETE "$1"
	[ "$HTTP_STATUS" = 202 ] || {
		expect_status 503 "while an origin's copy is in use"
		return 1
	}
}

is_here() # URL
{
	http GET "$1"
	[ "$HTTP_STATUS" = 200 ] || {
		expect_status 202 "while the origin fetches it"
		return 1
	}
}

check_origin() # server
{
	local size
	size=$(size_of "$WORK/blob")
	kraken_upload "$1" "$WORK/blob" "$digest"
	http GET "$1/namespace/$NS/blobs/$digest"
	expect_status 200 "blob of an origin"
	expect_same "$WORK/http.body" "$WORK/blob" "blob of an origin"
	http GET "$1/namespace/$NS/blobs/${digest#*:}" -H 'Range: bytes=5-9'
	expect_status 206 "by its hash alone, in part"
	http POST "$1/namespace/$NS/blobs/$digest/uploads" \
		-H 'Content-Length: 0'
	expect_status 409 "upload of what is there"
	http GET "$(server origin2)/namespace/$NS/blobs/$digest"
	expect_same "$WORK/http.body" "$WORK/blob" "blob of the other origin"
	http HEAD "$1/internal/namespace/$NS/blobs/$digest"
	expect_status 200 "stat"
	expect_eq "$(http_header content-length)" "$size" "stat: size"
	http HEAD "$1/internal/namespace/$NS/blobs/$digest?local=true"
	expect_status 200 "stat of what is on the origin"
	http GET "$1/blobs/$digest/locations"
	expect_status 200 "locations"
	expect_eq "$(http_header origin-locations | tr , '\n' | sort)" \
		"$(printf '%s\n' "$(server origin1)" "$(server origin2)" |
			cut -d/ -f3 | sort)" "locations"
	http POST "$1/namespace/$NS/blobs/$digest/prefetch"
	expect_status 200 "prefetch of what is there"
}

check_origin_unknown() # server
{
	http GET "$1/namespace/$NS/blobs/$NOBODY"
	expect_status 404 "unknown blob of an origin"
	http HEAD "$1/internal/namespace/$NS/blobs/$NOBODY"
	expect_status 404 "stat of an unknown blob"
	http HEAD "$1/internal/namespace/$NS/blobs/$NOBODY?local=true"
	expect_status 404 "local stat of an unknown blob"
	http POST "$1/namespace/$NS/blobs/$NOBODY/prefetch"
	expect_status 404 "prefetch of an unknown blob"
	http GET "$1/namespace/$NS/blobs/sha256:abc"
	expect_status 400 "malformed digest"
	http GET "$1/tags/$NS:v1"
	expect_status 404 "an origin has no tags"
}

# from_origins DIGEST: all copies but the one in storage go
from_origins()
{
	local origin url
	wait_for 20 in_storage "$1"
	for origin in origin1 origin2; do
		url=$(server $origin)/internal
		wait_for 10 metric_eq $origin kraken_writeback_pending 0
		wait_for 20 is_deleted "$url/blobs/$1"
		http HEAD "$url/namespace/$NS/blobs/$1?local=true"
		expect_status 404 "local stat of what was deleted at $origin"
	done
}

# What is in storage only is fetched: 202 until it is here.
check_origin_refill() # server
{
	from_origins "$digest"
	http HEAD "$1/internal/namespace/$NS/blobs/$digest"
	expect_status 200 "stat: storage has it"
	wait_for 20 is_here "$1/namespace/$NS/blobs/$digest"
	expect_same "$WORK/http.body" "$WORK/blob" "blob out of storage"
}

check_agent() # server
{
	http GET "$1/tags/$NS:v1"
	expect_status 200 "tag of an agent"
	expect_text "$manifest" "tag of an agent"
	http GET "$1/tags/$NS:absent"
	expect_status 404 "absent tag of an agent"
	http GET "$1/namespace/$NS/blobs/$digest"
	expect_status 200 "blob of an agent"
	expect_same "$WORK/http.body" "$WORK/blob" "blob of an agent"
	http GET "$1/namespace/$NS/blobs/$NOBODY"
	expect_status 404 "unknown blob of an agent"
	[ -e "$(stored agent1 "$digest")" ] || fail "the agent has no copy"
	http DELETE "$1/blobs/$digest"
	expect_status 200 "delete of an agent's copy"
	[ ! -e "$(stored agent1 "$digest")" ] || fail "the agent has a copy"
	http DELETE "$1/blobs/$digest"
	expect_status 404 "delete of what is not there"
	http GET "$1/namespace/$NS/blobs/$digest"
	expect_same "$WORK/http.body" "$WORK/blob" "blob of an agent, again"
	http GET "$1/preload/tags/$NS:v1?runtime=other"
	expect_status 400 "preload by an unknown runtime"
	http GET "$1/preload/tags/$NS:v1"
	expect_status 503 "preload by a docker that is not there"
}

expect_list() # url, result, what
{
	http GET "$1"
	expect_status 200 "$3"
	expect_eq "$(jq -c .result "$WORK/http.body")" "$2" "$3"
	expect_eq "$(jq .size "$WORK/http.body")" \
		"$(jq '.result | length' "$WORK/http.body")" "$3: size"
}

check_index() # server
{
	local next
	http PUT "$1/tags/$NS:v2/digest/$manifest"
	expect_status 200 "put of a tag"
	http PUT "$1/tags/other:v1/digest/$manifest"
	expect_status 200 "put of a tag"
	http GET "$1/tags/$NS:v2"
	expect_status 200 "get of a tag"
	expect_text "$manifest" "get of a tag"
	http HEAD "$1/tags/$NS:v2"
	expect_status 200 "head of a tag"
	http HEAD "$1/tags/$NS:absent"
	expect_status 404 "head of an absent tag"
	http GET "$1/tags/$NS:absent"
	expect_status 404 "get of an absent tag"
	http PUT "$1/tags/$NS:v3/digest/sha256:x"
	expect_status 400 "put of a malformed digest"
	http POST "$1/remotes/tags/$NS:v2"
	expect_status 200 "replication, to nobody"
	expect_list "$1/repositories/$NS/tags" '["v1","v2"]' "tags"
	expect_list "$1/list/team" '["team/app:v1","team/app:v2"]' \
		"images with a prefix"
	expect_list "$1/list/" '["other:v1","team/app:v1","team/app:v2"]' \
		"all images"
	expect_list "$1/list/?limit=2" '["other:v1","team/app:v1"]' "page one"
	next=$(jq -r .Links.next "$WORK/http.body")
	expect_list "$1$next" '["team/app:v2"]' "page two"
	expect_eq "$(jq -r .Links.next "$WORK/http.body")" "" "no page three"
}

prefetch() # version, body
{
	http POST "$(server proxy)/proxy/$1/registry/prefetch" \
		-H 'Content-Type: application/json' -d "$2"
}

check_proxy()
{
	local v event
	for v in v1 v2; do
		prefetch $v '{"tag":"reg:80/team/app:v1","trace_id":"t1"}'
		expect_status 200 "prefetch $v"
		expect_eq "$(jq -c '[.prefetched,.status,.tag,.trace_id]' \
			"$WORK/http.body")" \
			'[true,"success","team/app:v1","t1"]' "prefetch $v"
		prefetch $v '{"tag":"reg:80/team/app:absent"}'
		expect_status 500 "prefetch $v of an absent tag"
		expect_eq "$(jq -c '[.prefetched,.status]' "$WORK/http.body")" \
			'[false,"failure"]' "prefetch $v of an absent tag"
		prefetch $v '{"tag":"nothing"}'
		expect_status 400 "prefetch $v of a malformed tag"
		prefetch $v 'not json'
		expect_status 400 "prefetch $v without JSON"
	done
	printf -v event '{"action":"push","target":{"mediaType":"%s",
		"repository":"team/app","digest":"%s"}}' \
		"$OCI_MANIFEST" "$manifest"
	http POST "$(server proxy)/registry/notifications" \
		-d "{\"events\":[{\"action\":\"pull\"},$event,
			${event//$manifest/$NOBODY},$event]}"
	expect_status 200 "notification"
	http POST "$(registry proxy)/registry/notifications" -d '{"events":[]}'
	expect_status 200 "notification on the registry's port"
}

# Prefetching brings to the origin what only storage has.
is_at_an_origin()
{
	[ -e "$(stored origin1 "$1")" ] || [ -e "$(stored origin2 "$1")" ]
}

check_prefetch_refills()
{
	local layer
	layer=$(digest_of "$WORK/layer.tar")
	from_origins "$layer"
	prefetch v1 '{"tag":"reg/team/app:v1"}'
	expect_status 200 "prefetch of what is in storage"
	wait_for 20 is_at_an_origin "$layer"
}

# --------------------------------------------------------------------------

cluster_start 2 1
blob_make "$WORK/blob" $((9 * MIB + 77)) 31
digest=$(digest_of "$WORK/blob")
layer_make "$WORK/layer.tar" $((2 * MIB)) 32
say "origin"
check_origin "$(server origin1)"
check_origin_unknown "$(server origin1)"
check_origin_refill "$(server origin1)"
manifest=$(image_push team/app v1 "$WORK/layer.tar")
say "agent"
check_agent "$(server agent1)"
say "build-index"
check_index "$(server build-index)"
say "proxy"
check_proxy
check_prefetch_refills

say "who cannot be asked is not 'not found'"
role_kill9 build-index
http GET "$(server agent1)/tags/$NS:v1"
expect_status 503 "a tag, without build-index"
[ -s "$WORK/http.body" ] || fail "expected a reason"
role_kill9 origin1
role_kill9 origin2
http GET "$(server agent1)/namespace/$NS/blobs/$NOBODY"
expect_match "$HTTP_STATUS" '^5' "an unknown blob, without origins"
[ -s "$WORK/http.body" ] || fail "expected a reason"
