#!/bin/bash
# Blobs of every awkward size go in by every way of uploading and come out of
# both agents, whole and in ranges; mount, cancel, tags.
. "$(dirname "$0")/lib.sh"

readonly KIB=1024
readonly REPO=shapes/blobs
readonly PIECE=$((256 * KIB))  # of a blob of up to 64 MiB
readonly SMALL_SIZES=(1 "$PIECE" $((PIECE + 1)) $((512 * KIB))
	$((512 * KIB + 1)))
# Of unknown length: a piece is 1 MiB, whatever comes.
readonly CHUNKED_SIZES=($MIB $((MIB + 1)))
readonly BIG=$((65 * MIB))     # a piece is 1 MiB

# ---- ways to upload ------------------------------------------------------

expect_created() # digest, what
{
	expect_status 201 "$2"
	expect_eq "$(http_header docker-content-digest)" "$1" "$2: digest"
	expect_match "$(http_header location)" "/v2/$REPO/blobs/$1\$" \
		"$2: location"
}

expect_offset() # bytes, what: the Range header of an upload
{
	local last=$(($1 > 0 ? $1 - 1 : 0))
	expect_eq "$(http_header range)" "0-$last" "$2: bytes received"
}

finish() # digest, what, curl arguments
{
	local digest=$1 what=$2
	shift 2
	http PUT "$(with_digest "$UPLOAD" "$digest")" "$@"
	expect_created "$digest" "$what"
}

push_length() # file, digest
{
	upload_open $REPO
	http PATCH "$UPLOAD" -T "$1"
	expect_status 202 "PATCH with Content-Length"
	expect_offset "$(size_of "$1")" "PATCH with Content-Length"
	UPLOAD=$(location "$(registry proxy)")
	finish "$2" "PUT after PATCH" -H 'Content-Length: 0'
}

push_chunked()
{
	upload_open $REPO
	# curl sends no last chunk for an empty file that it knows to be empty
	http PATCH "$UPLOAD" -T - -H 'Transfer-Encoding: chunked' <"$1"
	expect_status 202 "chunked PATCH"
	expect_offset "$(size_of "$1")" "chunked PATCH"
	UPLOAD=$(location "$(registry proxy)")
	finish "$2" "PUT after chunked PATCH" -H 'Content-Length: 0'
}

# Thirds: two by PATCH, the last with the PUT.
push_many()
{
	local size third part
	size=$(size_of "$1")
	third=$((size / 3))
	upload_open $REPO
	if [ "$third" -gt 0 ]; then
		for part in 0 1; do
			tail -c +$((part * third + 1)) "$1" |
				head -c "$third" >"$WORK/part" || true
			http PATCH "$UPLOAD" -T "$WORK/part" -H "Content-Range: \
$((part * third))-$(((part + 1) * third - 1))"
			expect_status 202 "PATCH $part"
			expect_offset $(((part + 1) * third)) "PATCH $part"
			UPLOAD=$(location "$(registry proxy)")
		done
		http PATCH "$UPLOAD" -T "$WORK/part" \
			-H "Content-Range: 0-$((third - 1))"
		expect_error 416 BLOB_UPLOAD_INVALID "PATCH at the wrong offset"
		expect_offset $((2 * third)) "PATCH at the wrong offset"
	fi
	tail -c +$((2 * third + 1)) "$1" >"$WORK/part"
	finish "$2" "PUT with the last part" -T "$WORK/part"
}

push_put()
{
	upload_open $REPO
	finish "$2" "monolithic PUT" -T "$1"
}

push_post()
{
	http POST "$(registry proxy)/v2/$REPO/blobs/uploads/?digest=$2" \
		-H 'Content-Type: application/octet-stream' \
		--data-binary "@$1"
	expect_created "$2" "monolithic POST"
}

# ---- ways to download ----------------------------------------------------

expect_head() # name, digest, size
{
	http HEAD "$(registry "$1")/v2/$REPO/blobs/$2"
	expect_status 200 "HEAD of $2 at $1"
	expect_eq "$(http_header content-length)" "$3" "HEAD at $1: length"
	expect_eq "$(http_header docker-content-digest)" "$2" \
		"HEAD at $1: digest"
}

expect_part() # agent, file, digest, range, offset, length
{
	blob_get "$1" $REPO "$3" "$WORK/got" "$4"
	expect_status 206 "bytes=$4 of $(size_of "$2") at $1"
	expect_eq "$(http_header content-range)" \
		"bytes $5-$(($5 + $6 - 1))/$(size_of "$2")" "bytes=$4 at $1"
	tail -c +$(($5 + 1)) "$2" | head -c "$6" >"$WORK/part" || true
	expect_same "$WORK/got" "$WORK/part" "bytes=$4 at $1"
}

expect_no_part() # agent, file, digest, range
{
	http GET "$(registry "$1")/v2/$REPO/blobs/$3" -H "Range: bytes=$4"
	expect_status 416 "bytes=$4 of $(size_of "$2") at $1"
	expect_eq "$(http_header content-range)" "bytes */$(size_of "$2")" \
		"bytes=$4 at $1"
}

pull_ranges() # agent, file, digest, piece
{
	local size
	size=$(size_of "$2")
	expect_no_part "$1" "$2" "$3" "$size-"
	[ "$size" -gt 0 ] || return 0
	expect_part "$1" "$2" "$3" 0-0 0 1
	expect_part "$1" "$2" "$3" "$((size - 1))-" $((size - 1)) 1
	expect_part "$1" "$2" "$3" -1 $((size - 1)) 1
	expect_part "$1" "$2" "$3" "0-$((size + 5))" 0 "$size"
	[ "$size" -gt "$4" ] || return 0
	expect_part "$1" "$2" "$3" "$(($4 - 1))-$4" $(($4 - 1)) 2
}

pull_whole() # agent, file, digest
{
	blob_get "$1" $REPO "$3" "$WORK/got"
	expect_status 200 "GET of $(size_of "$2") bytes at $1"
	expect_same "$WORK/got" "$2" "GET of $(size_of "$2") bytes at $1"
	expect_eq "$(http_header docker-content-digest)" "$3" "GET at $1"
}

# The first agent is asked for the whole, the second for a range, first.  What
# lies whole on an agent is the same however it was pushed.
check() # way, file, piece
{
	local digest
	digest=$(digest_of "$2")
	"push_$1" "$2" "$digest"
	expect_head proxy "$digest" "$(size_of "$2")"
	expect_head agent1 "$digest" "$(size_of "$2")"
	pull_whole agent1 "$2" "$digest"
	pull_ranges agent2 "$2" "$digest" "$3"
	pull_whole agent2 "$2" "$digest"
	[ "$1" != length ] || pull_ranges agent1 "$2" "$digest" "$3"
}

# ---- mount, cancel -------------------------------------------------------

check_mount()
{
	local digest absent base
	base=$(registry proxy)/v2/shapes/other/blobs
	absent=sha256:$(printf %064d 7)
	blob_make "$WORK/mounted" 100000 77
	digest=$(blob_push "$WORK/mounted" $REPO)
	http POST "$base/uploads/?mount=$digest&from=$REPO" \
		-H 'Content-Length: 0'
	expect_status 201 "mount of a blob"
	expect_eq "$(http_header docker-content-digest)" "$digest" "mount"
	expect_match "$(http_header location)" \
		"/v2/shapes/other/blobs/$digest\$" "mount: location"
	http HEAD "$base/$digest"
	expect_status 200 "HEAD of a mounted blob"
	blob_get agent1 shapes/other "$digest" "$WORK/got"
	expect_same "$WORK/got" "$WORK/mounted" "mounted blob at agent1"

	http POST "$base/uploads/?mount=$absent&from=$REPO" \
		-H 'Content-Length: 0'
	expect_status 202 "mount of a blob that does not exist"
	expect_match "$(http_header location)" '/v2/shapes/other/blobs/uploads/' \
		"mount of a blob that does not exist: location"
}

check_cancel()
{
	upload_open $REPO
	http PATCH "$UPLOAD" -T "$WORK/mounted"
	expect_status 202 "PATCH"
	http DELETE "$UPLOAD"
	expect_status 204 "DELETE of an upload"
	http GET "$UPLOAD"
	expect_error 404 BLOB_UPLOAD_UNKNOWN "a cancelled upload"
	http PATCH "$UPLOAD" -T "$WORK/mounted"
	expect_error 404 BLOB_UPLOAD_UNKNOWN "PATCH of a cancelled upload"
}

# ---- tags ----------------------------------------------------------------

expect_tags() # query, tags
{
	http GET "$(registry proxy)/v2/shapes/tags/tags/list$1"
	expect_status 200 "tags/list$1"
	expect_eq "$(jq -r '.name' "$WORK/http.body")" shapes/tags "name"
	expect_eq "$(jq -r '.tags | join(" ")' "$WORK/http.body")" "$2" \
		"tags/list$1"
}

check_tags()
{
	local tag link digest
	blob_make "$WORK/one" 5000 81
	for tag in v10 latest v2 v1; do
		image_push shapes/tags "$tag" "$WORK/one" >/dev/null
	done
	expect_tags "" "latest v1 v10 v2"
	expect_eq "$(http_header link)" "" "Link of a whole list"
	expect_tags "?n=3" "latest v1 v10"
	link=$(http_header link)
	expect_match "$link" '^<.*/v2/shapes/tags/tags/list\?.*>; rel="next"$' \
		"Link of a first page"
	link=${link#*\?}
	expect_tags "?${link%%>*}" v2
	expect_eq "$(http_header link)" "" "Link of the last page"
	expect_tags "?n=2&last=v1" "v10 v2"
	expect_tags "?last=v10" v2
	expect_tags "?n=0" ""
	http GET "$(registry proxy)/v2/shapes/nothing/tags/list"
	expect_error 404 NAME_UNKNOWN "tags of a repository without any"
}

expect_tag() # agent, digest, what
{
	http GET "$(registry "$1")/v2/shapes/moved/manifests/latest"
	expect_status 200 "$3 at $1"
	expect_eq "$(digest_of "$WORK/http.body")" "$2" "$3 at $1"
	expect_eq "$(http_header docker-content-digest)" "$2" "$3 at $1"
	expect_eq "$(http_header content-type)" "$OCI_MANIFEST" "$3 at $1"
}

check_moved_tag()
{
	local before after agent
	blob_make "$WORK/two" 6000 82
	before=$(image_push shapes/moved latest "$WORK/one")
	for agent in agent1 agent2; do
		expect_tag "$agent" "$before" "tag before it moves"
	done
	after=$(image_push shapes/moved latest "$WORK/two")
	for agent in agent1 agent2; do
		expect_tag "$agent" "$after" "tag after it moved"
	done
}

# --------------------------------------------------------------------------

cluster_start 2 2
seed=0
: >"$WORK/blob"
for way in length chunked many put post; do
	say "upload by $way"
	sizes=("${SMALL_SIZES[@]}") piece=$PIECE
	if [ $way = chunked ]; then
		sizes+=("${CHUNKED_SIZES[@]}") piece=$MIB
	fi
	check "$way" "$WORK/blob" "$piece"
	for size in "${sizes[@]}"; do
		seed=$((seed + 1))
		blob_make "$WORK/$way" "$size" "$seed"
		check "$way" "$WORK/$way" "$piece"
	done
done
for way in many length; do
	say "65 MiB by $way"
	seed=$((seed + 1))
	blob_make "$WORK/$way" "$BIG" "$seed"
	check "$way" "$WORK/$way" "$MIB"
done
say "mount, cancel, tags"
check_mount
check_cancel
check_tags
check_moved_tag
