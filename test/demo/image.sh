# test/demo/image.sh - sourced: make_image, an image by hand.
#
# One directory that is both an OCI layout (for skopeo) and a docker archive
# (for docker load): the blobs are the same, only the lists differ.

# sha_of FILE - lower-case hex
sha_of() {
	local line
	line=$(sha256sum "$1") && echo "${line%% *}"
}

# add_blob FILE - move it to where its digest says; prints "hex size"
add_blob() {
	local hex size
	hex=$(sha_of "$1") && size=$(stat -c %s "$1") &&
		mv "$1" "$image/blobs/sha256/$hex" && echo "$hex $size"
}

# layer_of ROOT - the tar of a tree as a blob
layer_of() {
	tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 \
		-C "$1" -cf "$image/layer.tar" . && add_blob "$image/layer.tar"
}

greeting() {
	cat <<'EOT'
#!/bin/sh
echo "Hello! This container came out of the swarm:"
echo "$(wc -c </noise) bytes of noise came with it, all of them verified."
EOT
}

# make_image DIR REFERENCE MIB
make_image() {
	local image=$1 reference=$2 mib=$3 root=$1/root
	local base noise config
	mkdir -p "$image/blobs/sha256" "$root/bin" || return
	cp /bin/busybox "$root/bin/busybox" && ln -s busybox "$root/bin/sh" &&
		ln -s busybox "$root/bin/wc" && greeting >"$root/bin/hello" &&
		chmod 755 "$root/bin/hello" && base=$(layer_of "$root") || return
	rm -rf "$root" && mkdir "$root" &&
		head -c $((mib * 1024 * 1024)) /dev/urandom >"$root/noise" &&
		noise=$(layer_of "$root") && rm -rf "$root" || return
	jq -cn --arg base "sha256:${base% *}" --arg noise "sha256:${noise% *}" \
		--arg arch "$(dpkg --print-architecture)" '{
		architecture: $arch, os: "linux",
		config: {Cmd: ["/bin/hello"], Env: ["PATH=/bin"]},
		rootfs: {type: "layers", diff_ids: [$base, $noise]}
	}' >"$image/config.json" && config=$(add_blob "$image/config.json") ||
		return
	write_oci_lists && write_docker_list
}

# descriptor TYPE "HEX SIZE"
descriptor() {
	jq -cn --arg type "$1" --arg digest "sha256:${2% *}" \
		--argjson size "${2#* }" \
		'{mediaType: $type, digest: $digest, size: $size}'
}

write_oci_lists() {
	local type=application/vnd.oci.image manifest
	jq -cn --argjson config "$(descriptor $type.config.v1+json "$config")" \
		--argjson base "$(descriptor $type.layer.v1.tar "$base")" \
		--argjson noise "$(descriptor $type.layer.v1.tar "$noise")" \
		'{schemaVersion: 2, config: $config, layers: [$base, $noise]}' \
		>"$image/manifest" && manifest=$(add_blob "$image/manifest") &&
		jq -cn --argjson manifest \
			"$(descriptor $type.manifest.v1+json "$manifest")" \
			--arg tag "${reference##*:}" '{
		schemaVersion: 2,
		manifests: [$manifest + {annotations:
			{"org.opencontainers.image.ref.name": $tag}}]
	}' >"$image/index.json" &&
		echo '{"imageLayoutVersion":"1.0.0"}' >"$image/oci-layout"
}

write_docker_list() {
	local blobs=blobs/sha256
	jq -cn --arg config "$blobs/${config% *}" --arg tag "$reference" \
		--arg base "$blobs/${base% *}" --arg noise "$blobs/${noise% *}" \
		'[{Config: $config, RepoTags: [$tag], Layers: [$base, $noise]}]' \
		>"$image/manifest.json"
}
