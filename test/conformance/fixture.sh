# What the reading cases find.
# shellcheck shell=bash disable=SC2034

readonly REPO=conformance/set TAGGED=conformance/tagged
readonly SBOM_TYPE=application/vnd.example.sbom%2Bjson

digest512_of() { local s; s=$(sha512sum <"$1"); echo "sha512:${s%% *}"; }
digest_of_text() { printf %s "$1" >"$WORK/text"; digest_of "$WORK/text"; }

# blob_post FILE DIGEST [REPO]: in one request
blob_post()
{
	http POST "$PROXY/v2/${3:-$REPO}/blobs/uploads/?digest=$2" \
		-H 'Content-Type: application/octet-stream' \
		--data-binary "@$1"
	expect_status 201 "POST of $2"
}

# put FILE REFERENCE [TYPE] [REPO]
put()
{
	manifest_put "$1" "${4:-$REPO}" "$2" "${3:-$OCI_MANIFEST}" "$PROXY"
	expect_status 201 "PUT of $2"
}

# referrer_make FILE SUBJECT FIELDS: an artifact manifest with the empty config
referrer_make()
{
	printf '{"schemaVersion":2,"mediaType":"%s","config":{"mediaType":"%s",
		"digest":"%s","size":2},"layers":[],"subject":{"mediaType":"%s",
		"digest":"%s","size":7}%s}' "$OCI_MANIFEST" \
		"${4:-application/vnd.oci.empty.v1+json}" "$BRACES" \
		"$OCI_MANIFEST" "$2" "$3" >"$1"
}

fixture_blobs()
{
	blob_make "$SET/layer" 300000 1
	blob_make "$SET/layer512" 2000 2
	config_make "$SET/config" "$SET/layer"
	: >"$SET/empty"
	printf '{}' >"$SET/braces"
	LAYER=$(digest_of "$SET/layer") LAYER512=$(digest512_of "$SET/layer512")
	EMPTY=$(digest_of "$SET/empty") BRACES=$(digest_of "$SET/braces")
	UNKNOWN=$(digest_of_text "nobody pushed this")
	blob_post "$SET/layer" "$LAYER"
	blob_post "$SET/layer512" "$LAYER512"
	blob_post "$SET/config" "$(digest_of "$SET/config")"
	blob_post "$SET/empty" "$EMPTY"
	blob_post "$SET/braces" "$BRACES"
}

fixture_manifests()
{
	manifest_make "$SET/manifest" "$SET/config" "$SET/layer"
	MANIFEST=$(digest_of "$SET/manifest")
	put "$SET/manifest" v1
	sed "s|$OCI_MANIFEST|$DOCKER_MANIFEST|" "$SET/manifest" >"$SET/docker"
	DOCKER=$(digest_of "$SET/docker")
	put "$SET/docker" docker "$DOCKER_MANIFEST"
	jq -c 'del(.mediaType)' "$SET/manifest" >"$SET/bare"
	BARE=$(digest_of "$SET/bare")
	put "$SET/bare" bare
	jq -c --arg d "$LAYER512" '.layers[0].digest = $d |
		.layers[0].size = 2000' "$SET/manifest" >"$SET/manifest512"
	MANIFEST512=$(digest512_of "$SET/manifest512")
	put "$SET/manifest512" "$MANIFEST512?tag=tag512"
	printf '{"schemaVersion":2,"mediaType":"%s","manifests":[%s]}' \
		"$OCI_INDEX" "$(descriptor "$OCI_MANIFEST" "$SET/manifest")" \
		>"$SET/index"
	INDEX=$(digest_of "$SET/index")
	put "$SET/index" multi "$OCI_INDEX"
}

fixture_referrers()
{
	local type='application/vnd.example.sbom+json'
	MISSING=$(digest_of_text "this subject is missing")
	MISSING_TWO=$(digest_of_text "and so is this")
	referrer_make "$SET/sbom" "$MANIFEST" ",\"artifactType\":\"$type\",
		\"annotations\":{\"org.example.made\":\"today \\\"quoted\\\"\"}"
	referrer_make "$SET/signature" "$MANIFEST" '' \
		application/vnd.example.signature
	printf '{"schemaVersion":2,"mediaType":"%s","manifests":[],"subject":%s,
		"artifactType":"application/vnd.example.list"}' "$OCI_INDEX" \
		"$(descriptor "$OCI_MANIFEST" "$SET/manifest")" >"$SET/artifacts"
	referrer_make "$SET/orphan" "$MISSING" ''
	referrer_make "$SET/two1" "$MISSING_TWO" ",\"artifactType\":\"$type\""
	referrer_make "$SET/two2" "$MISSING_TWO" ",\"artifactType\":\"$type\",
		\"annotations\":{\"a\":\"b\"}"
	SBOM=$(digest_of "$SET/sbom") SIGNATURE=$(digest_of "$SET/signature")
	ARTIFACTS=$(digest_of "$SET/artifacts") ORPHAN=$(digest_of "$SET/orphan")
	put "$SET/sbom" "$SBOM"
	put "$SET/signature" "$SIGNATURE"
	put "$SET/artifacts" "$ARTIFACTS" "$OCI_INDEX"
	put "$SET/orphan" "$ORPHAN"
	put "$SET/two1" "$(digest_of "$SET/two1")"
	put "$SET/two2" "$(digest_of "$SET/two2")"
}

fixture_names()
{
	local tag repo
	for tag in b2 a Zz a.b _x b10 a-b b1; do
		put "$SET/manifest" "$tag" "$OCI_MANIFEST" "$TAGGED"
	done
	put "$SET/manifest" "$MANIFEST" "$OCI_MANIFEST" conformance/untagged
	for repo in c a b; do
		put "$SET/manifest" x "$OCI_MANIFEST" "conformance/catalog/$repo"
	done
}

fixture_make()
{
	SET=$WORK/set
	mkdir "$SET"
	fixture_blobs
	fixture_manifests
	fixture_referrers
	fixture_names
}
