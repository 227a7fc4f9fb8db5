#!/bin/bash
# Images that nobody pushed: a storage in Kraken's layout (or another registry,
# by its backend) is the upstream of the namespace.  skopeo pulls them through
# an agent; tags follow upstream as tags.freshness says, and are served stale
# while it is away.
. "$(dirname "$0")/lib.sh"
need skopeo jq

STORE=$WORK/storage/docker/registry/v2

# ---- an image in Kraken's layout, as its build-index and origins write it -----

# store_blob FILE: prints its digest
store_blob()
{
	local digest hex
	digest=$(digest_of "$1")
	hex=${digest#sha256:}
	mkdir -p "$STORE/blobs/sha256/${hex:0:2}/$hex"
	cp "$1" "$STORE/blobs/sha256/${hex:0:2}/$hex/data"
	echo "$digest"
}

link_of() { echo "$STORE/repositories/$1/_manifests/tags/$2/current/link"; }

# store_tag REPO TAG DIGEST
store_tag()
{
	local link
	link=$(link_of "$1" "$2")
	mkdir -p "$(dirname "$link")"
	printf %s "$3" >"$link.new"
	mv "$link.new" "$link"
}

# store_image SEED: an image of its own; prints the manifest's digest
store_image()
{
	local dir=$WORK/image.$1
	mkdir "$dir"
	layer_make "$dir/layer" $((3 * MIB + $1)) "$1"
	config_make "$dir/config" "$dir/layer"
	manifest_make "$dir/manifest" "$dir/config" "$dir/layer"
	store_blob "$dir/layer" >/dev/null
	store_blob "$dir/config" >/dev/null
	store_blob "$dir/manifest"
}

# ---- questions -------------------------------------------------------------

# tag_head REPO TAG WANT: the digest that an agent says, or a status
tag_head()
{
	http HEAD "$(registry agent1)/v2/$1/manifests/$2" \
		-H "Accept: $OCI_MANIFEST"
	if [ "$HTTP_STATUS" = 200 ]; then
		expect_eq "$(http_header docker-content-digest)" "$3" "$1:$2"
	else
		expect_eq "$HTTP_STATUS" "$3" "$1:$2"
	fi
}

tag_is()
{
	http HEAD "$(registry agent1)/v2/$1/manifests/$2"
	[ "$(http_header docker-content-digest)" = "$3" ]
}

mirror() { metric build-index "kraken_mirror_$1"; }
answered() { mirror "answers_total{answer=\"$1\"}"; }

# pull REPO:TAG DIRECTORY SEED: by skopeo; every blob is the one of the image
pull()
{
	skopeo copy --src-tls-verify=false \
		"docker://$(registry_host agent1)/$1" "dir:$2" >"$2.said" 2>&1 ||
		fail "skopeo copy of $1: $(cat "$2.said")"
	local dir=$WORK/image.$3 digest
	expect_same "$2/manifest.json" "$dir/manifest" "manifest of $1"
	digest=$(digest_of "$dir/layer")
	expect_same "$2/${digest#sha256:}" "$dir/layer" "layer of $1"
}

# --------------------------------------------------------------------------

cat >"$WORK/conf/mirror.yaml" <<EOF
backends:
  - namespace: "^mirror/"
    backend: {file: {root_directory: $WORK/storage, name_path: docker_tag}}
tags:
  freshness:
    - {repository: "^mirror/cached", cache: 2s}
    - {repository: "^mirror/hours", cache: 3h}
    - {repository: "^mirror/strict", stale: false}
EOF
INDEX_ARGS=(--secrets "$WORK/conf/mirror.yaml")
one=$(store_image 1)
two=$(store_image 2)
for repo in always cached hours strict; do
	store_tag "mirror/$repo" v1 "$one"
done
cluster_start 2 2

say "an image that nobody pushed"
pull mirror/always:v1 "$WORK/pulled" 1
http GET "$(server build-index)/tags/mirror/always:v1"
expect_eq "$(cat "$WORK/http.body")" "$one" "Kraken's endpoint"
tag_head mirror/always absent 404
tag_head elsewhere/always v1 404 # no upstream
http GET "$(registry proxy)/v2/mirror/always/manifests/v1"
expect_status 200 "by the proxy"
http GET "$(registry proxy)/v2/mirror/always/tags/list"
expect_eq "$(jq -c .tags "$WORK/http.body")" '["v1"]' "tags: what is known"

say "by digest, what no origin has yet"
three=$(store_image 3)
http GET "$(registry agent2)/v2/mirror/always/manifests/$three"
expect_status 200 "a manifest by digest"
expect_same "$WORK/http.body" "$WORK/image.3/manifest" "a manifest by digest"

say "twenty first pulls at once are one question to upstream"
before=$(mirror asked_total)
for i in $(seq 20); do
	curl -fsS -m 30 -o "$WORK/first.$i" -H "Accept: $OCI_MANIFEST" \
		"$(registry "agent$((i % 2 + 1))")/v2/mirror/hours/manifests/v1" &
	clients[i]=$!
done
for i in $(seq 20); do
	wait "${clients[i]}" || fail "client $i ended with status $?"
	expect_same "$WORK/first.$i" "$WORK/image.1/manifest" "client $i"
done
expect_eq "$(($(mirror asked_total) - before))" 1 "questions to upstream"

say "a tag that moves"
tag_head mirror/cached v1 "$one"
for repo in always cached hours strict; do
	store_tag "mirror/$repo" v1 "$two"
done
tag_head mirror/always v1 "$two" # at once
tag_head mirror/strict v1 "$two"
tag_head mirror/hours v1 "$one" # not yet
wait_for 10 tag_is mirror/cached v1 "$two"
pull mirror/cached:v1 "$WORK/pulled2" 2

say "upstream is away"
mv "$WORK/storage" "$WORK/away"
before=$(answered stale)
tag_head mirror/always v1 "$two"
expect_eq "$(($(answered stale) - before))" 1 "answers that were stale"
expect_ge "$(mirror errors_total)" 1 "errors of upstream"
http GET "$(registry agent1)/v2/mirror/strict/manifests/v1"
expect_status 503 "where stale is off"
expect_match "$(cat "$WORK/http.body")" 'upstream of mirror/strict' "the reason"
tag_head mirror/always unknown 503
grep -q 'upstream cannot be asked.*do=' "$WORK/log/build-index" ||
	fail "expected the log to say what to do"
say "also after a restart"
role_restart build-index KILL
tag_head mirror/always v1 "$two"
expect_eq "$(answered stale)" 1 "answers that were stale"
pull mirror/always:v1 "$WORK/pulled3" 2
mv "$WORK/away" "$WORK/storage"
store_tag mirror/always v1 "$one"
tag_head mirror/always v1 "$one"
grep -q 'upstream answers again' "$WORK/log/build-index" ||
	fail "expected the log to say that upstream is well"

say "what upstream removed is gone"
rm "$(link_of mirror/always v1)"
tag_head mirror/always v1 404
http GET "$(registry proxy)/v2/mirror/always/tags/list"
expect_status 404 "tags of a repository of which none is known"

say "what is pushed here hides upstream's, until it is deleted"
layer_make "$WORK/own.tar" 10000 9
own=$(image_push mirror/strict v1 "$WORK/own.tar")
tag_head mirror/strict v1 "$own"
http DELETE "$(registry proxy)/v2/mirror/strict/manifests/v1"
expect_status 202 "DELETE of the tag"
tag_head mirror/strict v1 "$two"

say "what is no digest is said"
store_tag mirror/strict v1 "latest"
tag_head mirror/strict v1 503
grep -q 'no digest.*mirror/strict:v1' "$WORK/log/build-index" ||
	fail "expected the log to name the tag"
