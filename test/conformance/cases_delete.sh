# Cases that delete, run on the proxy: end-9, end-10.
# shellcheck shell=bash

readonly REFERENCED=UNSUPPORTED # 405: our word for "something refers to it"

# own_image [TAG]: an image of its own in $OWN: OWN_LAYER, OWN_CONFIG,
# OWN_MANIFEST (also files of $WORK)
own_image()
{
	own_blob 4000 1
	cp "$WORK/own" "$WORK/own.layer"
	config_make "$WORK/own.config" "$WORK/own.layer"
	manifest_make "$WORK/own.manifest" "$WORK/own.config" "$WORK/own.layer"
	OWN_LAYER=$(digest_of "$WORK/own.layer")
	OWN_CONFIG=$(digest_of "$WORK/own.config")
	OWN_MANIFEST=$(digest_of "$WORK/own.manifest")
	blob_post "$WORK/own.layer" "$OWN_LAYER" "$OWN"
	blob_post "$WORK/own.config" "$OWN_CONFIG" "$OWN"
	put "$WORK/own.manifest" "${1:-v1}" "$OCI_MANIFEST" "$OWN"
}

delete_manifest() { http DELETE "$PROXY/v2/$OWN/manifests/$1"; }
delete_blob() { http DELETE "$PROXY/v2/$OWN/blobs/$1"; }

expect_there() # PATH WHAT
{
	http GET "$PROXY/v2/$OWN/$1"
	expect_status 200 "$2"
}

expect_gone() # PATH CODE WHAT
{
	http GET "$PROXY/v2/$OWN/$1"
	expect_error 404 "$2" "$3"
	http HEAD "$PROXY/v2/$OWN/$1"
	expect_status 404 "$3, HEAD"
}

# ---- end-9: manifests and tags -------------------------------------------

end-9_delete_tag_202()
{
	own_image v1
	put "$WORK/own.manifest" v2 "$OCI_MANIFEST" "$OWN"
	delete_manifest v1
	expect_status 202 "DELETE of a tag"
	expect_gone manifests/v1 MANIFEST_UNKNOWN "the tag"
	expect_there manifests/v2 "the other tag"
	expect_there "manifests/$OWN_MANIFEST" "the manifest"
	http GET "$AGENT/v2/$OWN/manifests/v1"
	expect_error 404 MANIFEST_UNKNOWN "the tag, at an agent"
	http GET "$PROXY/v2/$OWN/tags/list"
	expect_eq "$(jq -c .tags "$WORK/http.body")" '["v2"]' "tags"
}

end-9_delete_tag_again_404()
{
	own_image v1
	delete_manifest v1
	expect_status 202 "DELETE of a tag"
	delete_manifest v1
	expect_error 404 MANIFEST_UNKNOWN "DELETE of it again"
}

end-9_deleted_tag_can_be_pushed_again_201()
{
	own_image v1
	delete_manifest v1
	put "$WORK/own.manifest" v1 "$OCI_MANIFEST" "$OWN"
	expect_there manifests/v1 "the tag"
}

end-9_delete_digest_202()
{
	own_image v1
	put "$WORK/own.manifest" v2 "$OCI_MANIFEST" "$OWN"
	delete_manifest "$OWN_MANIFEST"
	expect_status 202 "DELETE by digest"
	expect_gone "manifests/$OWN_MANIFEST" MANIFEST_UNKNOWN "the manifest"
	expect_gone manifests/v1 MANIFEST_UNKNOWN "a tag of it"
	expect_gone manifests/v2 MANIFEST_UNKNOWN "another tag of it"
	http GET "$PROXY/v2/$OWN/tags/list"
	expect_error 404 NAME_UNKNOWN "tags of a repository of nothing"
}

end-9_delete_sha512_202()
{
	DIGEST=$(digest512_of "$SET/manifest")
	put "$SET/manifest" "$DIGEST?tag=x" "$OCI_MANIFEST" "$OWN"
	delete_manifest "$DIGEST"
	expect_status 202 "DELETE by sha512"
	expect_gone "manifests/$DIGEST" MANIFEST_UNKNOWN "the manifest"
	expect_gone manifests/x MANIFEST_UNKNOWN "its tag"
}

end-9_delete_digest_again_404()
{
	own_image
	delete_manifest "$OWN_MANIFEST"
	expect_status 202 "DELETE by digest"
	delete_manifest "$OWN_MANIFEST"
	expect_error 404 MANIFEST_UNKNOWN "DELETE of it again"
}

end-9_delete_unknown_digest_404()
{
	delete_manifest "$UNKNOWN"
	expect_error 404 MANIFEST_UNKNOWN "DELETE of an unknown digest"
}

end-9_delete_unknown_tag_404()
{
	delete_manifest no-such-tag
	expect_error 404 MANIFEST_UNKNOWN "DELETE of an unknown tag"
}

end-9_delete_malformed_digest_400()
{
	delete_manifest sha256:1
	expect_error 400 DIGEST_INVALID "DELETE by a malformed digest"
}

end-9_deleted_digest_can_be_pushed_again_201()
{
	own_image
	delete_manifest "$OWN_MANIFEST"
	put "$WORK/own.manifest" "$OWN_MANIFEST" "$OCI_MANIFEST" "$OWN"
	expect_there "manifests/$OWN_MANIFEST" "the manifest"
}

end-9_another_repository_keeps_it_202()
{
	own_image
	put "$WORK/own.manifest" v1 "$OCI_MANIFEST" "$OWN/other"
	delete_manifest "$OWN_MANIFEST"
	expect_status 202 "DELETE by digest"
	http GET "$PROXY/v2/$OWN/other/manifests/$OWN_MANIFEST"
	expect_status 200 "the manifest in another repository"
	http GET "$PROXY/v2/$OWN/other/manifests/v1"
	expect_status 200 "its tag there"
}

end-9_manifest_of_an_index_is_kept_405()
{
	own_image
	printf '{"schemaVersion":2,"mediaType":"%s","manifests":[%s]}' \
		"$OCI_INDEX" "$(descriptor "$OCI_MANIFEST" "$WORK/own.manifest")" \
		>"$WORK/own.index"
	put "$WORK/own.index" multi "$OCI_INDEX" "$OWN"
	delete_manifest "$OWN_MANIFEST"
	expect_error 405 "$REFERENCED" "DELETE of what an index refers to"
	expect_there "manifests/$OWN_MANIFEST" "the manifest"
	expect_there manifests/v1 "its tag"
	delete_manifest "$(digest_of "$WORK/own.index")"
	expect_status 202 "DELETE of the index"
	delete_manifest "$OWN_MANIFEST"
	expect_status 202 "DELETE of what it referred to"
}

end-9_deleted_referrer_is_not_listed_202()
{
	own_image
	referrer_make "$WORK/own" "$OWN_MANIFEST" ''
	DIGEST=$(digest_of "$WORK/own")
	put "$WORK/own" "$DIGEST" "$OCI_MANIFEST" "$OWN"
	delete_manifest "$DIGEST"
	expect_status 202 "DELETE of a referrer"
	http GET "$PROXY/v2/$OWN/referrers/$OWN_MANIFEST"
	expect_status 200 "referrers"
	expect_eq "$(jq -c .manifests "$WORK/http.body")" "[]" "referrers"
}

end-9_referrers_outlive_their_subject_202()
{
	own_image
	referrer_make "$WORK/own" "$OWN_MANIFEST" ''
	DIGEST=$(digest_of "$WORK/own")
	put "$WORK/own" "$DIGEST" "$OCI_MANIFEST" "$OWN"
	delete_manifest "$OWN_MANIFEST"
	expect_status 202 "DELETE of a subject"
	http GET "$PROXY/v2/$OWN/referrers/$OWN_MANIFEST"
	expect_eq "$(jq -r '.manifests[].digest' "$WORK/http.body")" "$DIGEST" \
		"referrers"
}

# ---- end-10: blobs -------------------------------------------------------

end-10_delete_blob_202()
{
	own_blob 4000
	blob_post "$WORK/own" "$DIGEST" "$OWN"
	delete_blob "$DIGEST"
	expect_status 202 "DELETE of a blob"
	expect_gone "blobs/$DIGEST" BLOB_UNKNOWN "the blob"
}

end-10_delete_blob_sha512_202()
{
	own_blob 4000
	DIGEST=$(digest512_of "$WORK/own")
	blob_post "$WORK/own" "$DIGEST" "$OWN"
	delete_blob "$DIGEST"
	expect_status 202 "DELETE of a blob by sha512"
	expect_gone "blobs/$DIGEST" BLOB_UNKNOWN "the blob"
}

end-10_delete_blob_again_404()
{
	own_blob 4000
	blob_post "$WORK/own" "$DIGEST" "$OWN"
	delete_blob "$DIGEST"
	delete_blob "$DIGEST"
	expect_error 404 BLOB_UNKNOWN "DELETE of a blob again"
}

end-10_delete_unknown_blob_404()
{
	delete_blob "$UNKNOWN"
	expect_error 404 BLOB_UNKNOWN "DELETE of an unknown blob"
}

end-10_delete_malformed_digest_400()
{
	delete_blob sha256:1
	expect_error 400 DIGEST_INVALID "DELETE by a malformed digest"
}

end-10_deleted_blob_can_be_pushed_again_201()
{
	own_blob 4000
	blob_post "$WORK/own" "$DIGEST" "$OWN"
	delete_blob "$DIGEST"
	blob_post "$WORK/own" "$DIGEST" "$OWN"
	expect_there "blobs/$DIGEST" "the blob"
}

end-10_deleted_blob_can_be_mounted_again_201()
{
	own_blob 4000
	blob_post "$WORK/own" "$DIGEST" "$OWN"
	blob_post "$WORK/own" "$DIGEST" "$OWN/from"
	delete_blob "$DIGEST"
	http POST "$PROXY/v2/$OWN/blobs/uploads/?mount=$DIGEST&from=$OWN/from" \
		-H "$NO_BODY"
	expect_status 201 "mount"
	expect_there "blobs/$DIGEST" "the blob"
}

end-10_another_repository_keeps_it_202()
{
	own_blob 4000
	blob_post "$WORK/own" "$DIGEST" "$OWN"
	blob_post "$WORK/own" "$DIGEST" "$OWN/other"
	delete_blob "$DIGEST"
	expect_status 202 "DELETE of a blob"
	http GET "$PROXY/v2/$OWN/other/blobs/$DIGEST"
	expect_status 200 "the blob in another repository"
}

end-10_blob_of_a_manifest_is_kept_405()
{
	local digest
	own_image
	for digest in "$OWN_LAYER" "$OWN_CONFIG"; do
		delete_blob "$digest"
		expect_error 405 "$REFERENCED" "DELETE of what is referred to"
		expect_there "blobs/$digest" "the blob"
	done
	delete_manifest "$OWN_MANIFEST"
	expect_status 202 "DELETE of the manifest"
	for digest in "$OWN_LAYER" "$OWN_CONFIG"; do
		delete_blob "$digest"
		expect_status 202 "DELETE of what was referred to"
		expect_gone "blobs/$digest" BLOB_UNKNOWN "the blob"
	done
}

# A client that skips a blob, because it is in the cluster, pushes a manifest
# that refers to one that was deleted here: it is part of the image again.
end-10_manifest_brings_its_blobs_back_201()
{
	own_image
	delete_manifest "$OWN_MANIFEST"
	delete_blob "$OWN_LAYER"
	put "$WORK/own.manifest" v3 "$OCI_MANIFEST" "$OWN"
	expect_there "blobs/$OWN_LAYER" "the layer"
}

# ---- an agent takes none of it -------------------------------------------

end-9_agent_does_not_delete_405()
{
	http DELETE "$AGENT/v2/$REPO/manifests/v1"
	expect_error 405 UNSUPPORTED "DELETE at an agent"
}

end-10_agent_does_not_delete_405()
{
	http DELETE "$AGENT/v2/$REPO/blobs/$LAYER"
	expect_error 405 UNSUPPORTED "DELETE at an agent"
}

end-4a_agent_takes_no_uploads_405()
{
	http POST "$AGENT/v2/$OWN/blobs/uploads/" -H "$NO_BODY"
	expect_error 405 UNSUPPORTED "POST at an agent"
}

end-7_agent_takes_no_manifests_405()
{
	http PUT "$AGENT/v2/$OWN/manifests/x" -H "Content-Type: $OCI_MANIFEST" \
		--data-binary "@$SET/manifest"
	expect_error 405 UNSUPPORTED "PUT at an agent"
}
