#!/bin/bash
# What a client that does it wrong is told, how soon, and what stays intact.
. "$(dirname "$0")/lib.sh"

readonly REPO=wrong/app
readonly SOON_MS=2000 # an answer that needs nothing but a question
readonly ABSENT=sha256:$(printf %064d 1)

# quickly WHAT COMMAND...: within SOON_MS
quickly()
{
	local what=$1 start took
	shift
	start=$(now_ms)
	"$@"
	took=$(($(now_ms) - start))
	expect_le "$took" "$SOON_MS" "milliseconds until $what was answered"
}

check_absent() # agent or proxy
{
	local base
	base=$(registry "$1")/v2
	quickly "an absent tag" http GET "$base/$REPO/manifests/absent"
	expect_error 404 MANIFEST_UNKNOWN "absent tag at $1"
	quickly "an absent tag" http HEAD "$base/$REPO/manifests/absent"
	expect_status 404 "HEAD of an absent tag at $1"
	quickly "an absent repository" http GET "$base/no/such/manifests/v1"
	expect_error 404 MANIFEST_UNKNOWN "tag of an absent repository at $1"
	quickly "an absent manifest" http GET "$base/$REPO/manifests/$ABSENT"
	expect_error 404 MANIFEST_UNKNOWN "absent manifest at $1"
	quickly "an absent blob" http GET "$base/$REPO/blobs/$ABSENT"
	expect_error 404 BLOB_UNKNOWN "absent blob at $1"
	quickly "an absent blob" http HEAD "$base/$REPO/blobs/$ABSENT"
	expect_status 404 "HEAD of an absent blob at $1"
}

check_names() # agent or proxy
{
	local base
	base=$(registry "$1")/v2
	http GET "$base/UPPER/case/manifests/v1"
	expect_error 400 NAME_INVALID "name in upper case at $1"
	http GET "$base/a//b/manifests/v1"
	expect_error 400 NAME_INVALID "name with an empty part at $1"
	http GET "$base/$(printf 'a%.0s' {1..300})/manifests/v1"
	expect_error 400 NAME_INVALID "name of 300 bytes at $1"
	http GET "$base/$REPO/blobs/sha256:12345"
	expect_error 400 DIGEST_INVALID "digest of five letters at $1"
	http GET "$base/$REPO/blobs/md5:$(printf %032d 1)"
	expect_error 400 DIGEST_INVALID "digest of another algorithm at $1"
}

# An agent is for pulling.
check_agent_push()
{
	http POST "$(registry agent1)/v2/$REPO/blobs/uploads/" \
		-H 'Content-Length: 0'
	expect_error 405 UNSUPPORTED "upload to an agent"
	manifest_put "$WORK/manifest" $REPO v1 "$OCI_MANIFEST" \
		"$(registry agent1)"
	expect_error 405 UNSUPPORTED "manifest put to an agent"
}

check_wrong_digest()
{
	local wrong
	blob_make "$WORK/other" 4000 12
	wrong=$(digest_of "$WORK/other")
	upload_open $REPO
	http PATCH "$UPLOAD" -T "$WORK/layer"
	expect_status 202 "PATCH"
	UPLOAD=$(location "$(registry proxy)")
	http PUT "$(with_digest "$UPLOAD" "$wrong")" -H 'Content-Length: 0'
	expect_error 400 DIGEST_INVALID "PUT with the digest of something else"
	http GET "$UPLOAD"
	expect_error 404 BLOB_UPLOAD_UNKNOWN "upload whose digest was wrong"
	http HEAD "$(registry proxy)/v2/$REPO/blobs/$wrong"
	expect_status 404 "blob that was never uploaded"

	upload_open $REPO
	http PUT "$(with_digest "$UPLOAD" nonsense)" -T "$WORK/layer"
	expect_error 400 DIGEST_INVALID "PUT with a digest that is none"
	http PUT "$UPLOAD" -H 'Content-Length: 0'
	expect_error 400 DIGEST_INVALID "PUT without a digest"
}

# send_raw FILE...: to the proxy, and close; the answer is dropped
send_raw()
{
	exec 8<>"/dev/tcp/127.0.0.1/${PORT_OF["proxy registry"]}"
	cat "$@" >&8
	exec 8>&-
}

# raw_head METHOD URL LENGTH: a request's head
raw_head()
{
	printf '%s %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %s\r\n\r\n' "$1" \
		"/${2#*://*/}" "$(registry_host proxy)" "$3"
}

session_has() # bytes
{
	http GET "$UPLOAD"
	expect_status 204 "state of an upload"
	[ "$(http_header range)" = "0-$(($1 - 1))" ]
}

# goes_on FILE OFFSET: 503 while the proxy has not ended with the request before
goes_on()
{
	http PATCH "$UPLOAD" -T "$1" \
		-H "Content-Range: $2-$(($2 + $(size_of "$1") - 1))"
	[ "$HTTP_STATUS" != 503 ] || return 1
	expect_status 202 "PATCH that goes on"
}

# A client announces more than it sends and goes; it comes back and goes on
# where the session says.
check_short_body()
{
	local size half
	size=$(size_of "$WORK/layer")
	half=$((size / 2 + 1))
	upload_open $REPO
	head -c "$half" "$WORK/layer" >"$WORK/first"
	tail -c +$((half + 1)) "$WORK/layer" >"$WORK/second"
	raw_head PATCH "$UPLOAD" "$size" >"$WORK/head"
	send_raw "$WORK/head" "$WORK/first"
	wait_for 5 session_has "$half"
	wait_for 5 goes_on "$WORK/second" "$half"
	expect_eq "$(http_header range)" "0-$((size - 1))" "PATCH that goes on"
	http PUT "$(with_digest "$(location "$(registry proxy)")" \
		"$(digest_of "$WORK/layer")")" -H 'Content-Length: 0'
	expect_status 201 "PUT of an upload that was continued"
}

# finishes URL: the same
finishes()
{
	http PUT "$1" -H 'Content-Length: 0'
	[ "$HTTP_STATUS" != 503 ] || return 1
	expect_status 201 "PUT of what was announced"
}

# What comes after the announced length is not part of the blob.
check_long_body()
{
	local size less
	size=$(size_of "$WORK/layer")
	less=$((size - 1000))
	upload_open $REPO
	raw_head PATCH "$UPLOAD" "$less" >"$WORK/head"
	send_raw "$WORK/head" "$WORK/layer"
	wait_for 5 session_has "$less"
	head -c "$less" "$WORK/layer" >"$WORK/less"
	wait_for 5 finishes "$(with_digest "$UPLOAD" "$(digest_of "$WORK/less")")"
	blob_get agent1 $REPO "$(digest_of "$WORK/less")" "$WORK/got"
	expect_same "$WORK/got" "$WORK/less" "blob of what was announced"
}

check_broken_chunks()
{
	upload_open $REPO
	printf 'PATCH %s HTTP/1.1\r\nHost: %s\r\n%s\r\n\r\n%s' \
		"/${UPLOAD#*://*/}" "$(registry_host proxy)" \
		"Transfer-Encoding: chunked" $'5\r\nhello\r\nzz\r\n' \
		>"$WORK/head"
	exec 8<>"/dev/tcp/127.0.0.1/${PORT_OF["proxy registry"]}"
	cat "$WORK/head" >&8
	timeout 5 cat <&8 >"$WORK/answer" ||
		fail "broken chunks: the connection stays open"
	exec 8>&-
	expect_match "$(head -1 "$WORK/answer")" '^HTTP/1.1 400 ' \
		"broken chunks"
}

check_manifests()
{
	local i
	blob_make "$WORK/never" 3000 9
	config_make "$WORK/config" "$WORK/layer" "$WORK/never"
	manifest_make "$WORK/broken" "$WORK/config" "$WORK/layer" "$WORK/never"
	blob_push "$WORK/config" $REPO >/dev/null
	for i in 1 2; do
		manifest_put "$WORK/broken" $REPO "broken$i"
		expect_error 404 MANIFEST_BLOB_UNKNOWN \
			"manifest whose layer is missing"
		expect_eq "$(jq -r '.errors[0].detail.digest' \
			"$WORK/http.body")" "$(digest_of "$WORK/never")" \
			"the layer that is missing"
		http GET "$(registry agent1)/v2/$REPO/manifests/broken$i"
		expect_error 404 MANIFEST_UNKNOWN "tag of a refused manifest"
	done

	echo 'this is no manifest' >"$WORK/garbage"
	manifest_put "$WORK/garbage" $REPO garbage
	expect_error 400 MANIFEST_INVALID "manifest of garbage"
	echo '{"schemaVersion":2,"layers":17}' >"$WORK/garbage"
	manifest_put "$WORK/garbage" $REPO garbage
	expect_error 400 MANIFEST_INVALID "manifest without a configuration"
	: >"$WORK/garbage"
	manifest_put "$WORK/garbage" $REPO garbage
	expect_error 400 MANIFEST_INVALID "empty manifest"
	manifest_put "$WORK/manifest" $REPO "$ABSENT"
	expect_error 400 DIGEST_INVALID "manifest put by another digest"
	manifest_put "$WORK/manifest" $REPO "-dash"
	[[ $HTTP_STATUS == 40[04] ]] ||
		fail "malformed tag: expected 400 or 404, got $HTTP_STATUS"

	head -c $((4 * MIB + 1)) /dev/zero | tr '\0' ' ' >"$WORK/garbage"
	manifest_put "$WORK/garbage" $REPO huge
	expect_error 413 SIZE_INVALID "manifest of more than 4 MiB"
}

cluster_start 2 1
blob_make "$WORK/layer" $((2 * MIB + 17)) 3
blob_make "$WORK/intact" 70000 4
digest=$(image_push $REPO v1 "$WORK/intact")
http GET "$(registry agent1)/v2/$REPO/manifests/v1"
expect_status 200 "manifest"
cp "$WORK/http.body" "$WORK/manifest"

say "absent things and bad names"
for name in agent1 proxy; do
	check_absent $name
	check_names $name
done
check_agent_push
say "wrong digests and bodies"
check_wrong_digest
check_short_body
check_long_body
check_broken_chunks
say "manifests that cannot be"
check_manifests

say "nothing of that did harm"
http GET "$(registry agent1)/v2/$REPO/manifests/v1"
expect_eq "$(digest_of "$WORK/http.body")" "$digest" "manifest afterwards"
blob_get agent1 $REPO "$(digest_of "$WORK/intact")" "$WORK/got"
expect_same "$WORK/got" "$WORK/intact" "layer afterwards"
