# Cases that push, run on the proxy: end-4, end-5, end-6, end-7, end-11,
# end-13, end-14.  Each has a repository of its own, $OWN.
# shellcheck shell=bash

readonly OCTETS='Content-Type: application/octet-stream'
readonly NO_BODY='Content-Length: 0'

# own_blob BYTES [SEED]: $WORK/own and its DIGEST, unlike any other case's
own_blob()
{
	blob_make "$WORK/own" "$1" "$((CASE_NUMBER * 100 + ${2:-0}))"
	DIGEST=$(digest_of "$WORK/own")
}

# open_upload: UPLOAD is the session's URL
open_upload()
{
	http POST "$PROXY/v2/$OWN/blobs/uploads/${1:-}" -H "$NO_BODY"
	expect_status 202 "POST"
	UPLOAD=$(location "$PROXY")
}

# patch FROM LENGTH: a chunk of $WORK/own, in order or not
patch()
{
	tail -c +$(($1 + 1)) "$WORK/own" | head -c "$2" >"$WORK/chunk" || true
	http PATCH "$UPLOAD" -H "$OCTETS" -H \
		"Content-Range: $1-$(($1 + $2 - 1))" --data-binary "@$WORK/chunk"
}

expect_chunk() # bytes received
{
	expect_status 202 "PATCH"
	expect_eq "$(http_header range)" "0-$(($1 - 1))" "Range"
	UPLOAD=$(location "$PROXY")
}

put_upload() # DIGEST [curl arguments]
{
	local url
	url=$(with_digest "$UPLOAD" "$1")
	shift
	[ $# -gt 0 ] || set -- -H "$NO_BODY"
	http PUT "$url" "$@"
}

# expect_blob FILE DIGEST: created, and what its Location gives back
expect_blob()
{
	expect_status 201 "the end of the upload"
	expect_eq "$(http_header docker-content-digest)" "$2" "digest"
	http GET "$(location "$PROXY")"
	expect_status 200 "GET of the Location"
	expect_same "$WORK/http.body" "$1" "what was pushed"
}

# ---- end-4a + end-6: POST then PUT ---------------------------------------

end-4a_post_202()
{
	http POST "$PROXY/v2/$OWN/blobs/uploads/" -H "$NO_BODY"
	expect_status 202 "POST"
	expect_match "$(http_header location)" "/v2/$OWN/blobs/uploads/" \
		"Location"
}

end-4a_post_malformed_name_400()
{
	http POST "$PROXY/v2/Not/Valid/blobs/uploads/" -H "$NO_BODY"
	expect_error 400 NAME_INVALID "POST to a malformed name"
}

end-4a_post_digest_algorithm_202()
{
	own_blob 5000
	open_upload '?digest-algorithm=sha512'
	DIGEST=$(digest512_of "$WORK/own")
	put_upload "$DIGEST" -H "$OCTETS" --data-binary "@$WORK/own"
	expect_blob "$WORK/own" "$DIGEST"
}

end-4a_post_unknown_digest_algorithm_400()
{
	http POST "$PROXY/v2/$OWN/blobs/uploads/?digest-algorithm=md5" \
		-H "$NO_BODY"
	expect_error 400 DIGEST_INVALID "POST for an unknown algorithm"
}

end-6_put_after_post_201()
{
	own_blob 5000
	open_upload
	put_upload "$DIGEST" -H "$OCTETS" --data-binary "@$WORK/own"
	expect_blob "$WORK/own" "$DIGEST"
}

end-6_put_sha512_201()
{
	own_blob 5000
	DIGEST=$(digest512_of "$WORK/own")
	open_upload
	put_upload "$DIGEST" -H "$OCTETS" --data-binary "@$WORK/own"
	expect_blob "$WORK/own" "$DIGEST"
}

end-6_put_empty_blob_201()
{
	: >"$WORK/own"
	open_upload
	put_upload "$EMPTY"
	expect_blob "$WORK/own" "$EMPTY"
}

end-6_put_other_bytes_400()
{
	own_blob 5000
	open_upload
	put_upload "$UNKNOWN" -H "$OCTETS" --data-binary "@$WORK/own"
	expect_error 400 DIGEST_INVALID "PUT of other bytes"
	http HEAD "$PROXY/v2/$OWN/blobs/$UNKNOWN"
	expect_status 404 "HEAD of what was refused"
}

end-6_put_other_bytes_sha512_400()
{
	own_blob 5000
	open_upload
	put_upload "$(digest512_of "$SET/layer")" -H "$OCTETS" \
		--data-binary "@$WORK/own"
	expect_error 400 DIGEST_INVALID "PUT of other bytes"
}

end-6_put_without_digest_400()
{
	open_upload
	http PUT "$UPLOAD" -H "$NO_BODY"
	expect_error 400 DIGEST_INVALID "PUT without a digest"
}

end-6_put_malformed_digest_400()
{
	open_upload
	put_upload "sha256:baddigeststring"
	expect_error 400 DIGEST_INVALID "PUT with a malformed digest"
}

end-6_put_unknown_session_404()
{
	UPLOAD="$PROXY/v2/$OWN/blobs/uploads/00000000-0000-4000-8000-000000000000"
	put_upload "$UNKNOWN"
	expect_error 404 BLOB_UPLOAD_UNKNOWN "PUT to an unknown session"
}

# ---- end-4b: POST ?digest= -----------------------------------------------

end-4b_post_digest_single_201()
{
	own_blob 70000
	http POST "$PROXY/v2/$OWN/blobs/uploads/?digest=$DIGEST" -H "$OCTETS" \
		--data-binary "@$WORK/own"
	expect_blob "$WORK/own" "$DIGEST"
}

end-4b_post_digest_sha512_201()
{
	own_blob 70000
	DIGEST=$(digest512_of "$WORK/own")
	http POST "$PROXY/v2/$OWN/blobs/uploads/?digest=$DIGEST" -H "$OCTETS" \
		--data-binary "@$WORK/own"
	expect_blob "$WORK/own" "$DIGEST"
}

end-4b_post_other_bytes_400()
{
	own_blob 5000
	http POST "$PROXY/v2/$OWN/blobs/uploads/?digest=$UNKNOWN" -H "$OCTETS" \
		--data-binary "@$WORK/own"
	expect_error 400 DIGEST_INVALID "POST of other bytes"
}

# ---- end-5: PATCH --------------------------------------------------------

end-5_chunks_in_order_202()
{
	own_blob 3000
	open_upload
	patch 0 1000
	expect_chunk 1000
	patch 1000 1000
	expect_chunk 2000
	patch 2000 1000
	expect_chunk 3000
	put_upload "$DIGEST"
	expect_blob "$WORK/own" "$DIGEST"
}

end-5_last_chunk_with_put_201()
{
	own_blob 3000
	open_upload
	patch 0 2000
	expect_chunk 2000
	tail -c +2001 "$WORK/own" >"$WORK/chunk"
	put_upload "$DIGEST" -H "$OCTETS" -H 'Content-Range: 2000-2999' \
		--data-binary "@$WORK/chunk"
	expect_blob "$WORK/own" "$DIGEST"
}

end-5_first_chunk_not_at_0_416()
{
	own_blob 3000
	open_upload
	patch 1000 1000
	expect_error 416 BLOB_UPLOAD_INVALID "a chunk behind a hole"
}

end-5_chunk_behind_a_hole_416()
{
	own_blob 3000
	open_upload
	patch 0 1000
	expect_chunk 1000
	patch 2000 1000
	expect_error 416 BLOB_UPLOAD_INVALID "a chunk behind a hole"
	expect_eq "$(http_header range)" 0-999 "Range: where it stands"
	UPLOAD=$(location "$PROXY")
	patch 1000 2000
	expect_chunk 3000
	put_upload "$DIGEST"
	expect_blob "$WORK/own" "$DIGEST"
}

end-5_chunk_again_416()
{
	own_blob 3000
	open_upload
	patch 0 1000
	expect_chunk 1000
	patch 0 1000
	expect_error 416 BLOB_UPLOAD_INVALID "a chunk a second time"
	expect_eq "$(http_header range)" 0-999 "Range: where it stands"
}

end-5_last_chunk_with_put_behind_a_hole_416()
{
	own_blob 3000
	open_upload
	patch 0 1000
	expect_chunk 1000
	put_upload "$DIGEST" -H "$OCTETS" -H 'Content-Range: 2000-2999' \
		--data-binary "@$WORK/chunk"
	expect_error 416 BLOB_UPLOAD_INVALID "PUT of a chunk behind a hole"
	expect_eq "$(http_header range)" 0-999 "Range: where it stands"
}

end-5_content_range_and_length_disagree_400()
{
	open_upload
	http PATCH "$UPLOAD" -H "$OCTETS" -H 'Content-Range: 0-9' -d abc
	expect_error 400 SIZE_INVALID "three bytes for ten"
}

end-5_malformed_content_range_400()
{
	open_upload
	http PATCH "$UPLOAD" -H "$OCTETS" -H 'Content-Range: some' -d abc
	expect_error 400 BLOB_UPLOAD_INVALID "a malformed range"
}

end-5_streamed_202()
{
	own_blob 200000
	open_upload
	http PATCH "$UPLOAD" -H "$OCTETS" -H 'Transfer-Encoding: chunked' \
		-T - <"$WORK/own"
	expect_chunk 200000
	put_upload "$DIGEST"
	expect_blob "$WORK/own" "$DIGEST"
}

end-5_unknown_session_404()
{
	UPLOAD="$PROXY/v2/$OWN/blobs/uploads/00000000-0000-4000-8000-000000000000"
	http PATCH "$UPLOAD" -H "$OCTETS" -d abc
	expect_error 404 BLOB_UPLOAD_UNKNOWN "PATCH of an unknown session"
}

# ---- end-13: status, end-14: cancel --------------------------------------

end-13_status_204()
{
	own_blob 3000
	open_upload
	patch 0 1000
	expect_chunk 1000
	http GET "$UPLOAD"
	expect_status 204 "status"
	expect_eq "$(http_header range)" 0-999 "Range"
	expect_match "$(http_header location)" "/v2/$OWN/blobs/uploads/" \
		"Location"
}

end-13_status_of_unknown_session_404()
{
	http GET "$PROXY/v2/$OWN/blobs/uploads/00000000-0000-4000-8000-000000000000"
	expect_error 404 BLOB_UPLOAD_UNKNOWN "status of an unknown session"
}

end-14_cancel_204()
{
	open_upload
	http DELETE "$UPLOAD"
	expect_status 204 "cancel"
	http GET "$UPLOAD"
	expect_error 404 BLOB_UPLOAD_UNKNOWN "status after the cancel"
}

end-14_cancel_unknown_session_404()
{
	http DELETE "$PROXY/v2/$OWN/blobs/uploads/00000000-0000-4000-8000-000000000000"
	expect_error 404 BLOB_UPLOAD_UNKNOWN "cancel of an unknown session"
}

# ---- end-11: mount -------------------------------------------------------

end-11_mount_201()
{
	own_blob 5000
	blob_post "$WORK/own" "$DIGEST" "$OWN/from"
	http POST "$PROXY/v2/$OWN/blobs/uploads/?mount=$DIGEST&from=$OWN/from" \
		-H "$NO_BODY"
	expect_blob "$WORK/own" "$DIGEST"
}

end-11_mount_sha512_201()
{
	own_blob 5000
	DIGEST=$(digest512_of "$WORK/own")
	blob_post "$WORK/own" "$DIGEST" "$OWN/from"
	http POST "$PROXY/v2/$OWN/blobs/uploads/?mount=$DIGEST&from=$OWN/from" \
		-H "$NO_BODY"
	expect_blob "$WORK/own" "$DIGEST"
}

end-11_mount_without_from_201()
{
	own_blob 5000
	blob_post "$WORK/own" "$DIGEST" "$OWN/from"
	http POST "$PROXY/v2/$OWN/blobs/uploads/?mount=$DIGEST" -H "$NO_BODY"
	expect_blob "$WORK/own" "$DIGEST"
}

end-11_mount_of_what_is_not_there_202()
{
	own_blob 5000
	open_upload "?mount=$DIGEST&from=$OWN/from"
	put_upload "$DIGEST" -H "$OCTETS" --data-binary "@$WORK/own"
	expect_blob "$WORK/own" "$DIGEST"
}

end-11_mount_without_from_of_what_is_not_there_202()
{
	own_blob 5000
	open_upload "?mount=$DIGEST"
	put_upload "$DIGEST" -H "$OCTETS" --data-binary "@$WORK/own"
	expect_blob "$WORK/own" "$DIGEST"
}

end-11_mount_of_what_was_deleted_there_202()
{
	own_blob 5000
	blob_post "$WORK/own" "$DIGEST" "$OWN/from"
	http DELETE "$PROXY/v2/$OWN/from/blobs/$DIGEST"
	expect_status 202 "DELETE"
	open_upload "?mount=$DIGEST&from=$OWN/from"
}

# ---- end-7: manifests ----------------------------------------------------

# put_manifest FILE REFERENCE [TYPE]: into $OWN, whatever comes of it
put_manifest()
{
	http PUT "$PROXY/v2/$OWN/manifests/$2" \
		-H "Content-Type: ${3:-$OCI_MANIFEST}" --data-binary "@$1"
}

expect_stored() # FILE DIGEST
{
	expect_status 201 "PUT of a manifest"
	expect_eq "$(http_header docker-content-digest)" "$2" "digest"
	http GET "$(location "$PROXY")"
	expect_status 200 "GET of the Location"
	expect_same "$WORK/http.body" "$1" "the manifest"
}

end-7_put_by_tag_201()
{
	put_manifest "$SET/manifest" latest
	expect_stored "$SET/manifest" "$MANIFEST"
	http GET "$PROXY/v2/$OWN/manifests/latest"
	expect_status 200 "GET by tag"
}

end-7_put_by_digest_201()
{
	put_manifest "$SET/manifest" "$MANIFEST"
	expect_stored "$SET/manifest" "$MANIFEST"
}

end-7_put_by_sha512_201()
{
	DIGEST=$(digest512_of "$SET/manifest")
	put_manifest "$SET/manifest" "$DIGEST"
	expect_stored "$SET/manifest" "$DIGEST"
}

end-7_put_without_content_type_201()
{
	http PUT "$PROXY/v2/$OWN/manifests/x" -H 'Content-Type:' \
		--data-binary "@$SET/manifest"
	expect_stored "$SET/manifest" "$MANIFEST"
}

end-7_put_with_tag_parameters_201()
{
	put_manifest "$SET/manifest" "$MANIFEST?tag=one&tag=two&tag=three"
	expect_status 201 "PUT with three tags"
	expect_eq "$(grep -i '^oci-tag:' "$WORK/http.head" | tr -d '\r' |
		sed 's/.*: *//' | sort | tr '\n' ' ')" "one three two " OCI-Tag
	http GET "$PROXY/v2/$OWN/manifests/two"
	expect_status 200 "GET by a tag of a parameter"
	expect_same "$WORK/http.body" "$SET/manifest" "the manifest"
}

end-7_put_with_malformed_tag_parameter_400()
{
	put_manifest "$SET/manifest" "$MANIFEST?tag=.no"
	expect_error 400 MANIFEST_INVALID "PUT with a malformed tag"
	http HEAD "$PROXY/v2/$OWN/tags/list"
}

end-7_tag_moves_at_once_201()
{
	put_manifest "$SET/manifest" moving
	expect_status 201 "first"
	put_manifest "$SET/bare" moving
	expect_status 201 "second"
	http HEAD "$PROXY/v2/$OWN/manifests/moving"
	expect_eq "$(http_header docker-content-digest)" "$BARE" "proxy"
	http HEAD "$AGENT/v2/$OWN/manifests/moving"
	expect_eq "$(http_header docker-content-digest)" "$BARE" "agent"
}

# A rule of the build-index (conformance_test.sh): the specification knows of
# no such tags, but of DENIED.
end-7_immutable_tag_does_not_move_403()
{
	put_manifest "$SET/manifest" immutable
	expect_stored "$SET/manifest" "$MANIFEST"
	put_manifest "$SET/manifest" immutable
	expect_status 201 "the same once more"
	put_manifest "$SET/bare" immutable
	expect_error 403 DENIED "another manifest"
	http DELETE "$PROXY/v2/$OWN/manifests/immutable"
	expect_error 403 DENIED "DELETE of the tag"
	http HEAD "$PROXY/v2/$OWN/manifests/immutable"
	expect_eq "$(http_header docker-content-digest)" "$MANIFEST" "the tag"
}

end-7_put_other_digest_400()
{
	put_manifest "$SET/manifest" "$UNKNOWN"
	expect_error 400 DIGEST_INVALID "PUT of other bytes"
}

end-7_put_malformed_digest_400()
{
	put_manifest "$SET/manifest" sha256:baddigeststring
	expect_error 400 DIGEST_INVALID "PUT by a malformed digest"
}

end-7_put_malformed_tag_400()
{
	put_manifest "$SET/manifest" .dot
	expect_error 400 MANIFEST_INVALID "PUT by a malformed tag"
}

end-7_put_missing_blob_404()
{
	jq -c --arg d "$UNKNOWN" '.layers[0].digest = $d' "$SET/manifest" \
		>"$WORK/own"
	put_manifest "$WORK/own" x
	expect_error 404 MANIFEST_BLOB_UNKNOWN "PUT without a layer"
	expect_eq "$(jq -r '.errors[0].detail.digest' "$WORK/http.body")" \
		"$UNKNOWN" "detail"
}

end-7_put_missing_manifest_in_index_404()
{
	jq -c --arg d "$UNKNOWN" '.manifests[0].digest = $d' "$SET/index" \
		>"$WORK/own"
	put_manifest "$WORK/own" x "$OCI_INDEX"
	expect_error 404 MANIFEST_BLOB_UNKNOWN "PUT of a sparse index"
}

end-7_put_nondistributable_layer_need_not_exist_201()
{
	jq -c --arg d "$UNKNOWN" '.layers += [{mediaType:
		"application/vnd.oci.image.layer.nondistributable.v1.tar",
		digest: $d, size: 5}]' "$SET/manifest" >"$WORK/own"
	put_manifest "$WORK/own" x
	expect_stored "$WORK/own" "$(digest_of "$WORK/own")"
}

end-7_put_no_json_400()
{
	printf '{"schemaVersion":2,' >"$WORK/own"
	put_manifest "$WORK/own" x
	expect_error 400 MANIFEST_INVALID "PUT of half a manifest"
}

end-7_put_type_and_content_disagree_400()
{
	put_manifest "$SET/manifest" x "$OCI_INDEX"
	expect_error 400 MANIFEST_INVALID "PUT of a manifest as an index"
}

end-7_put_manifest_and_index_at_once_400()
{
	jq -c '. + {manifests: []}' "$SET/manifest" >"$WORK/own"
	put_manifest "$WORK/own" x
	expect_error 400 MANIFEST_INVALID "PUT of what is both"
}

# manifest_of BYTES: $WORK/own of exactly that size
manifest_of()
{
	local plain pad
	plain=$(jq -c '. + {annotations: {pad: ""}}' "$SET/manifest")
	pad=$(head -c $(($1 - ${#plain})) /dev/zero | tr '\0' A)
	printf '%s' "${plain/\"pad\":\"\"/\"pad\":\"$pad\"}" >"$WORK/own"
	expect_eq "$(size_of "$WORK/own")" "$1" "size of the manifest"
}

end-7_put_manifest_of_4_MiB_201()
{
	manifest_of $((4 * MIB))
	put_manifest "$WORK/own" big
	expect_stored "$WORK/own" "$(digest_of "$WORK/own")"
}

end-7_put_manifest_above_the_limit_413()
{
	manifest_of $((4 * MIB + 1))
	put_manifest "$WORK/own" big
	expect_error 413 SIZE_INVALID "PUT above the limit"
}

end-7_put_with_subject_oci_subject_201()
{
	referrer_make "$WORK/own" "$MANIFEST" ',"artifactType":"a/subject"'
	put_manifest "$WORK/own" "$(digest_of "$WORK/own")"
	expect_status 201 "PUT with a subject"
	expect_eq "$(http_header oci-subject)" "$MANIFEST" OCI-Subject
}

end-7_put_with_missing_subject_201()
{
	referrer_make "$WORK/own" "$UNKNOWN" ''
	put_manifest "$WORK/own" "$(digest_of "$WORK/own")"
	expect_status 201 "PUT with a subject that does not exist"
	expect_eq "$(http_header oci-subject)" "$UNKNOWN" OCI-Subject
}

end-7_put_without_subject_says_none_201()
{
	put_manifest "$SET/manifest" x
	expect_status 201 "PUT"
	expect_eq "$(http_header oci-subject)" "" OCI-Subject
}

# A client that knows of no referrers API keeps an index under this tag.
end-7_referrers_tag_schema_201()
{
	put_manifest "$SET/index" "${MANIFEST/:/-}" "$OCI_INDEX"
	expect_stored "$SET/index" "$INDEX"
}
