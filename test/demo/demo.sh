#!/usr/bin/env bash
# test/demo/demo.sh KRAKEN - an image through the whole system, to be watched.
#
#	image -> docker push -> proxy -> origins -> swarm -> agent one, agent
#	two -> docker pull -> docker run
#
# Starts `kraken dev` and a dockerd of its own in a temporary directory, and
# removes all of it at the end, also after Ctrl-C.  Where no Docker engine can
# be started, skopeo pushes and pulls.  Any step that fails ends it, status 1.
#
#	DEMO_LAYER_MIB=512     size of the layer that does not compress
#	DEMO_CLIENT=docker     or skopeo; default: docker where it starts
#	DEMO_PORT_OFFSET=0     added to every port of the cluster
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/image.sh"
. "$here/engine.sh"
. "$here/figures.sh"

kraken=$(realpath "${1:?usage: demo.sh KRAKEN}")
layer_mib=${DEMO_LAYER_MIB:-512}
offset=${DEMO_PORT_OFFSET:-0}
proxy=127.0.0.1:$((15000 + offset))
name=demo/hello
tag=v1
dir=""
dev_pid=""

agent_registry() { echo "127.0.0.1:$((15000 + $1 * 1000 + offset))"; }
agent_server() { echo "127.0.0.1:$((15002 + $1 * 1000 + offset))"; }

say() { printf '\n== %s\n' "$*"; }

fail() {
	printf 'demo: %s\n' "$*" >&2
	exit 1
}

# Whatever ends us, nothing stays: processes, mounts, files.
clean_up() {
	local status=$?
	trap - EXIT INT TERM
	stop_watch
	stop_engine
	if [ -n "$dev_pid" ]; then
		kill -TERM "$dev_pid" 2>/dev/null || true
		wait "$dev_pid" 2>/dev/null || true
	fi
	[ -z "$dir" ] || rm -rf "$dir"
	case $status in
	0) ;;
	130 | 143) echo "demo: stopped" >&2 ;;
	*) echo "demo: FAILED" >&2 ;;
	esac
	exit $status
}

# The layer is kept by docker, the proxy, two origins, the backend, three agents.
check_space() {
	local need_mib=$((layer_mib * 10 + 512)) free_mib
	free_mib=$(($(df --output=avail -k "$dir" | tail -n 1) / 1024))
	[ $free_mib -ge $need_mib ] ||
		fail "$dir has $free_mib MiB free, $need_mib are needed:" \
			"set TMPDIR, or a smaller DEMO_LAYER_MIB"
}

start_cluster() {
	say "start a cluster on loopback: kraken dev --agents 3"
	setpriv --pdeathsig TERM "$kraken" dev --dir "$dir/dev" --agents 3 \
		--base-port-offset "$offset" >"$dir/dev.out" 2>&1 &
	dev_pid=$!
	local deadline=$((SECONDS + 40))
	until grep -q '^kraken dev: ready$' "$dir/dev.out"; do
		if ! kill -0 "$dev_pid" 2>/dev/null ||
			[ $SECONDS -ge $deadline ]; then
			cat "$dir/dev.out" >&2
			fail "the cluster did not start"
		fi
		sleep 0.1
	done
	cat "$dir/dev.out"
}

# As docker stores it, which is what its push compressed: the digest and size
# of the largest layer of the image at the proxy.
find_big_layer() {
	local manifest
	manifest=$(curl -fsS --noproxy '*' --max-time 20 \
		-H 'Accept: application/vnd.docker.distribution.manifest.v2+json' \
		-H 'Accept: application/vnd.oci.image.manifest.v1+json' \
		"http://$proxy/v2/$name/manifests/$tag") ||
		fail "the proxy does not have the manifest"
	big_digest=$(jq -r '.layers | max_by(.size) | .digest' <<<"$manifest")
	big_bytes=$(jq -r '.layers | max_by(.size) | .size' <<<"$manifest")
}

# pull_through NUMBER: with docker or skopeo, watched
pull_through() {
	local number=$1
	say "pull through agent $number ($(agent_registry "$number"))"
	before "$(agent_server "$number")"
	start_watch "$(agent_server "$number")"
	image_pull "$(agent_registry "$number")/$name:$tag" ||
		fail "the pull through agent $number failed"
	stop_watch
	after "$(agent_server "$number")" "agent $number"
}

# fetch_big REGISTRY TO - a client that neither unpacks nor keeps: the engine's
# own speed
fetch_big() {
	curl -fsS --noproxy '*' --max-time 300 -o "$2" \
		-w '%{stderr}%{time_starttransfer}\n' \
		"http://$1/v2/$name/blobs/$big_digest" 2>"$dir/first_byte" ||
		fail "curl of the layer failed: $(cat "$dir/first_byte")"
}

fetch_through() {
	local number=$1 registry began_ns hash
	registry=$(agent_registry "$number")
	say "fetch the big layer through agent $number with curl"
	before "$(agent_server "$number")"
	start_watch "$(agent_server "$number")"
	fetch_big "$registry" /dev/null
	stop_watch
	after "$(agent_server "$number")" "agent $number"
	printf '  first byte after %s s\n' "$(cat "$dir/first_byte")"
	began_ns=$(date +%s%N)
	fetch_big "$registry" /dev/null
	print_rate "again, from the agent's store" "$big_bytes" \
		$(($(date +%s%N) - began_ns))
	hash=$(fetch_big "$registry" - | sha256sum)
	[ "sha256:${hash%% *}" = "$big_digest" ] ||
		fail "the layer that agent $number sent is not what was pushed"
	echo "  and its SHA-256 is that of what was pushed"
}

push_image() {
	say "push $name:$tag to the proxy ($proxy)"
	local began_ns ended_ns
	began_ns=$(date +%s%N)
	image_push "$proxy/$name:$tag" || fail "the push failed"
	ended_ns=$(date +%s%N)
	find_big_layer
	print_rate "pushed, on the disks of two origins" "$big_bytes" \
		$((ended_ns - began_ns))
	[ $client != docker ] ||
		echo "  (most of that is docker, which compresses what it pushes)"
}

main() {
	trap clean_up EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	dir=$(mktemp -d "${TMPDIR:-/tmp}/kraken-demo-XXXXXX")
	check_space
	say "make an image: busybox, a greeting, $layer_mib MiB of noise"
	make_image "$dir/image" "$proxy/$name:$tag" "$layer_mib" ||
		fail "the image could not be made"
	start_cluster
	start_engine
	push_image
	image_forget "$proxy/$name:$tag"
	pull_through 1
	image_run "$(agent_registry 1)/$name:$tag"
	image_forget "$(agent_registry 1)/$name:$tag"
	pull_through 2
	[ "$agents_gave" -gt 0 ] ||
		fail "agent 2 fetched nothing from agent 1: that is no swarm"
	image_run "$(agent_registry 2)/$name:$tag"
	image_forget "$(agent_registry 2)/$name:$tag"
	fetch_through 3
	summary
	say "done; stopping everything"
}

main
