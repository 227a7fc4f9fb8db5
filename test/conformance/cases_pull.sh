# Cases that read, run on the proxy and on an agent: end-1, end-2, end-3,
# end-8, end-12.  $AT is the registry asked; everything was pushed before, see
# fixture.sh.
# shellcheck shell=bash

# ---- end-1: GET /v2/ -----------------------------------------------------

end-1_get_base_200()
{
	http GET "$AT/v2/"
	expect_status 200 "GET /v2/"
}

end-1_head_base_200()
{
	http HEAD "$AT/v2/"
	expect_status 200 "HEAD /v2/"
}

# ---- end-2: blobs --------------------------------------------------------

end-2_get_blob_200()
{
	http GET "$AT/v2/$REPO/blobs/$LAYER"
	expect_status 200 "GET of a blob"
	expect_same "$WORK/http.body" "$SET/layer" "the blob"
	expect_eq "$(http_header docker-content-digest)" "$LAYER" "digest"
	expect_eq "$(http_header content-length)" "$(size_of "$SET/layer")" \
		"Content-Length"
}

end-2_get_blob_sha512_200()
{
	http GET "$AT/v2/$REPO/blobs/$LAYER512"
	expect_status 200 "GET of a blob by sha512"
	expect_same "$WORK/http.body" "$SET/layer512" "the blob"
	expect_eq "$(http_header docker-content-digest)" "$LAYER512" "digest"
}

end-2_get_empty_blob_200()
{
	http GET "$AT/v2/$REPO/blobs/$EMPTY"
	expect_status 200 "GET of the empty blob"
	expect_eq "$(http_header content-length)" 0 "Content-Length"
}

end-2_head_blob_200()
{
	http HEAD "$AT/v2/$REPO/blobs/$LAYER"
	expect_status 200 "HEAD of a blob"
	expect_eq "$(http_header content-length)" "$(size_of "$SET/layer")" \
		"Content-Length"
	expect_eq "$(http_header docker-content-digest)" "$LAYER" "digest"
}

end-2_get_unknown_blob_404()
{
	http GET "$AT/v2/$REPO/blobs/$UNKNOWN"
	expect_error 404 BLOB_UNKNOWN "GET of an unknown blob"
}

end-2_head_unknown_blob_404()
{
	http HEAD "$AT/v2/$REPO/blobs/$UNKNOWN"
	expect_status 404 "HEAD of an unknown blob"
}

end-2_get_blob_malformed_digest_400()
{
	http GET "$AT/v2/$REPO/blobs/sha256:totally-wrong"
	expect_error 400 DIGEST_INVALID "GET by a malformed digest"
}

end-2_get_blob_malformed_name_400()
{
	http GET "$AT/v2/Upper/Case/blobs/$LAYER"
	expect_error 400 NAME_INVALID "GET from a malformed name"
}

end-2_get_range_206()
{
	http GET "$AT/v2/$REPO/blobs/$LAYER" -H 'Range: bytes=10-19'
	expect_status 206 "GET of a range"
	expect_eq "$(http_header content-range)" \
		"bytes 10-19/$(size_of "$SET/layer")" "Content-Range"
	tail -c +11 "$SET/layer" | head -c 10 >"$WORK/part" || true
	expect_same "$WORK/http.body" "$WORK/part" "the range"
}

end-2_get_range_beyond_end_416()
{
	http GET "$AT/v2/$REPO/blobs/$LAYER" -H 'Range: bytes=99999999-'
	expect_error 416 SIZE_INVALID "GET of a range behind the end"
}

# ---- end-3: manifests ----------------------------------------------------

# expect_manifest FILE TYPE DIGEST: the last http's
expect_manifest()
{
	expect_same "$WORK/http.body" "$1" "the manifest"
	expect_manifest_head "$1" "$2" "$3"
}

expect_manifest_head()
{
	expect_eq "$(http_header content-type)" "$2" "Content-Type"
	expect_eq "$(http_header content-length)" "$(size_of "$1")" \
		"Content-Length"
	expect_eq "$(http_header docker-content-digest)" "$3" "digest"
}

end-3_get_manifest_by_tag_200()
{
	http GET "$AT/v2/$REPO/manifests/v1"
	expect_status 200 "GET by tag"
	expect_manifest "$SET/manifest" "$OCI_MANIFEST" "$MANIFEST"
}

end-3_get_manifest_by_digest_200()
{
	http GET "$AT/v2/$REPO/manifests/$MANIFEST"
	expect_status 200 "GET by digest"
	expect_manifest "$SET/manifest" "$OCI_MANIFEST" "$MANIFEST"
}

end-3_get_manifest_by_sha512_200()
{
	http GET "$AT/v2/$REPO/manifests/$MANIFEST512"
	expect_status 200 "GET by sha512"
	expect_manifest "$SET/manifest512" "$OCI_MANIFEST" "$MANIFEST512"
}

end-3_get_tag_of_a_sha512_manifest_200()
{
	http GET "$AT/v2/$REPO/manifests/tag512"
	expect_status 200 "GET of a tag that names a sha512 digest"
	expect_manifest "$SET/manifest512" "$OCI_MANIFEST" "$MANIFEST512"
}

end-3_get_index_200()
{
	http GET "$AT/v2/$REPO/manifests/multi"
	expect_status 200 "GET of an index"
	expect_manifest "$SET/index" "$OCI_INDEX" "$INDEX"
}

end-3_get_docker_manifest_as_pushed_200()
{
	http GET "$AT/v2/$REPO/manifests/docker"
	expect_status 200 "GET of a Docker manifest"
	expect_manifest "$SET/docker" "$DOCKER_MANIFEST" "$DOCKER"
}

end-3_get_manifest_without_media_type_as_pushed_200()
{
	http GET "$AT/v2/$REPO/manifests/bare"
	expect_status 200 "GET of a manifest that does not say its type"
	expect_manifest "$SET/bare" "$OCI_MANIFEST" "$BARE"
}

end-3_head_manifest_by_tag_200()
{
	http HEAD "$AT/v2/$REPO/manifests/v1"
	expect_status 200 "HEAD by tag"
	expect_manifest_head "$SET/manifest" "$OCI_MANIFEST" "$MANIFEST"
}

end-3_head_manifest_by_digest_200()
{
	http HEAD "$AT/v2/$REPO/manifests/$MANIFEST"
	expect_status 200 "HEAD by digest"
	expect_manifest_head "$SET/manifest" "$OCI_MANIFEST" "$MANIFEST"
}

end-3_get_unknown_tag_404()
{
	http GET "$AT/v2/$REPO/manifests/no-such-tag"
	expect_error 404 MANIFEST_UNKNOWN "GET of an unknown tag"
}

end-3_get_unknown_digest_404()
{
	http GET "$AT/v2/$REPO/manifests/$UNKNOWN"
	expect_error 404 MANIFEST_UNKNOWN "GET of an unknown digest"
}

end-3_get_digest_of_a_layer_404()
{
	http GET "$AT/v2/$REPO/manifests/$LAYER"
	expect_error 404 MANIFEST_UNKNOWN "GET of a layer as a manifest"
}

end-3_head_unknown_tag_404()
{
	http HEAD "$AT/v2/$REPO/manifests/no-such-tag"
	expect_status 404 "HEAD of an unknown tag"
}

end-3_get_malformed_digest_400()
{
	http GET "$AT/v2/$REPO/manifests/sha256:totally-wrong"
	expect_error 400 DIGEST_INVALID "GET by a malformed digest"
}

# ---- end-8: tags/list ----------------------------------------------------

expect_tags() # space-separated
{
	expect_eq "$(jq -r .name "$WORK/http.body")" "$TAGGED" "name"
	expect_eq "$(jq -r '.tags | join(" ")' "$WORK/http.body")" "$1" "tags"
}

end-8a_list_tags_in_byte_order_200()
{
	http GET "$AT/v2/$TAGGED/tags/list"
	expect_status 200 "list of tags"
	expect_tags "Zz _x a a-b a.b b1 b10 b2"
	expect_eq "$(http_header link)" "" "Link of the whole list"
}

end-8a_list_tags_of_unknown_repository_404()
{
	http GET "$AT/v2/conformance/nowhere/tags/list"
	expect_error 404 NAME_UNKNOWN "tags of an unknown repository"
}

end-8b_n_limits_and_links_200()
{
	http GET "$AT/v2/$TAGGED/tags/list?n=3"
	expect_status 200 "first page"
	expect_tags "Zz _x a"
	expect_match "$(http_header link)" \
		'^</v2/conformance/tagged/tags/list\?.*>; ?rel="?next"?$' Link
}

end-8b_last_is_exclusive_200()
{
	http GET "$AT/v2/$TAGGED/tags/list?last=a.b"
	expect_status 200 "after a.b"
	expect_tags "b1 b10 b2"
}

end-8b_last_need_not_exist_200()
{
	http GET "$AT/v2/$TAGGED/tags/list?n=2&last=a0"
	expect_status 200 "after a0, which is no tag"
	expect_tags "b1 b10"
}

end-8b_links_lead_to_the_end_200()
{
	local url="$AT/v2/$TAGGED/tags/list?n=3" all='' pages=0 link
	while [ -n "$url" ]; do
		http GET "$url"
		expect_status 200 "page $pages"
		all+=" $(jq -r '.tags | join(" ")' "$WORK/http.body")"
		link=$(http_header link)
		url=
		[ -z "$link" ] || url=$AT$(sed 's/^<\([^>]*\)>.*/\1/' <<<"$link")
		pages=$((pages + 1))
	done
	expect_eq "$all" " Zz _x a a-b a.b b1 b10 b2" "all pages"
	expect_eq "$pages" 3 "pages"
}

end-8b_n_0_is_empty_and_links_nowhere_200()
{
	http GET "$AT/v2/$TAGGED/tags/list?n=0"
	expect_status 200 "n=0"
	expect_tags ""
	expect_eq "$(http_header link)" "" "Link"
}

end-8b_n_that_is_no_number_400()
{
	http GET "$AT/v2/$TAGGED/tags/list?n=some"
	expect_error 400 UNSUPPORTED "n=some"
}

end-8_tags_of_a_repository_without_any_200()
{
	http GET "$AT/v2/conformance/untagged/tags/list"
	expect_status 200 "tags of a repository of one manifest by digest"
	expect_eq "$(jq -c .tags "$WORK/http.body")" "[]" "tags"
}

# ---- _catalog: reserved by the specification, not required ----------------

catalog_pages_by_repository_200()
{
	http GET "$AT/v2/_catalog?n=2&last=conformance/catalog"
	expect_status 200 "catalog"
	expect_eq "$(jq -r '.repositories | join(" ")' "$WORK/http.body")" \
		"conformance/catalog/a conformance/catalog/b" "repositories"
	expect_match "$(http_header link)" \
		'^</v2/_catalog\?n=2&last=conformance/catalog/b>; rel="next"$' \
		Link
}

# ---- end-12: referrers ---------------------------------------------------

expect_referrers() # digests in order
{
	expect_eq "$(http_header content-type)" "$OCI_INDEX" "Content-Type"
	expect_eq "$(jq -r .schemaVersion "$WORK/http.body")" 2 schemaVersion
	expect_eq "$(jq -r .mediaType "$WORK/http.body")" "$OCI_INDEX" mediaType
	expect_eq "$(jq -r '[.manifests[].digest] | sort | join(" ")' \
		"$WORK/http.body")" "$*" "referrers"
}

end-12a_referrers_200()
{
	http GET "$AT/v2/$REPO/referrers/$MANIFEST"
	expect_status 200 "referrers"
	# shellcheck disable=SC2046 # one word each
	expect_referrers $(printf '%s\n' "$SBOM" "$SIGNATURE" "$ARTIFACTS" |
		sort)
	expect_eq "$(http_header oci-filters-applied)" "" "filters"
}

end-12a_descriptor_has_type_size_annotations_200()
{
	http GET "$AT/v2/$REPO/referrers/$MANIFEST"
	expect_eq "$(jq -cS ".manifests[] | select(.digest == \"$SBOM\")" \
		"$WORK/http.body")" "$(jq -cSn --arg d "$SBOM" \
		--arg m "$OCI_MANIFEST" --argjson s "$(size_of "$SET/sbom")" \
		'{mediaType: $m, digest: $d, size: $s,
		artifactType: "application/vnd.example.sbom+json",
		annotations: {"org.example.made": "today \"quoted\""}}')" \
		"descriptor"
}

end-12a_config_type_stands_in_for_artifact_type_200()
{
	http GET "$AT/v2/$REPO/referrers/$MANIFEST"
	expect_eq "$(jq -r ".manifests[] | select(.digest == \"$SIGNATURE\") |
		.artifactType" "$WORK/http.body")" \
		application/vnd.example.signature "artifactType"
}

end-12a_no_referrers_empty_index_200()
{
	http GET "$AT/v2/$REPO/referrers/$INDEX"
	expect_status 200 "referrers of what has none"
	expect_referrers
}

end-12a_unknown_subject_empty_index_200()
{
	http GET "$AT/v2/$REPO/referrers/$UNKNOWN"
	expect_status 200 "referrers of an unknown digest"
	expect_referrers
}

end-12a_unknown_repository_empty_index_200()
{
	http GET "$AT/v2/conformance/nowhere/referrers/$MANIFEST"
	expect_status 200 "referrers in an unknown repository"
	expect_referrers
}

end-12a_missing_subject_has_referrers_200()
{
	http GET "$AT/v2/$REPO/referrers/$MISSING"
	expect_status 200 "referrers of a manifest that was never pushed"
	expect_referrers "$ORPHAN"
}

end-12a_malformed_digest_400()
{
	http GET "$AT/v2/$REPO/referrers/latest"
	expect_error 400 DIGEST_INVALID "referrers of a tag"
}

end-12b_filter_by_artifact_type_200()
{
	http GET "$AT/v2/$REPO/referrers/$MANIFEST?artifactType=$SBOM_TYPE"
	expect_status 200 "referrers of one type"
	expect_referrers "$SBOM"
	expect_eq "$(http_header oci-filters-applied)" artifactType "filters"
}

end-12b_filter_without_a_match_empty_index_200()
{
	http GET "$AT/v2/$REPO/referrers/$MANIFEST?artifactType=a/b"
	expect_status 200 "referrers of another type"
	expect_referrers
	expect_eq "$(http_header oci-filters-applied)" artifactType "filters"
}

end-12_pages_link_to_the_end_200()
{
	local url="$AT/v2/$REPO/referrers/$MANIFEST?n=1" all='' link
	while [ -n "$url" ]; do
		http GET "$url"
		expect_status 200 "a page of referrers"
		expect_eq "$(jq '.manifests | length' "$WORK/http.body")" 1 "n"
		all+="$(jq -r '.manifests[].digest' "$WORK/http.body") "
		link=$(http_header link)
		url=
		[ -z "$link" ] || url=$AT$(sed 's/^<\([^>]*\)>.*/\1/' <<<"$link")
	done
	expect_eq "$all" "$(printf '%s\n' "$SBOM" "$SIGNATURE" "$ARTIFACTS" |
		sort | tr '\n' ' ')" "all pages"
}

end-12_page_keeps_its_filter_200()
{
	http GET "$AT/v2/$REPO/referrers/$MISSING_TWO?n=1&artifactType=$SBOM_TYPE"
	expect_status 200 "first page of a filtered list"
	local link
	link=$(http_header link)
	expect_match "$link" 'artifactType=application/vnd.example.sbom%2Bjson' \
		Link
	http GET "$AT$(sed 's/^<\([^>]*\)>.*/\1/' <<<"$link")"
	expect_status 200 "second page"
	expect_eq "$(http_header oci-filters-applied)" artifactType "filters"
	expect_eq "$(http_header link)" "" "Link of the last page"
}
