#!/bin/bash
# containerd uses an agent as the mirror of another registry: it asks for
# repositories of registry.example.com with ?ns=registry.example.com.
. "$(dirname "$0")/lib.sh"
need containerd ctr busybox

readonly NAME=registry.example.com/team/app
readonly GREETING="hello from the mirror"

ctr_() { ctr -a "$WORK/ctr/containerd.sock" "$@"; }

engine_answers() { ctr_ version >/dev/null 2>&1; }

engine_start()
{
	[ "$(id -u)" = 0 ] || skip "containerd needs root"
	mkdir -p "$WORK/ctr"
	cat >"$WORK/ctr/config.toml" <<-EOT
		version = 2
		root = "$WORK/ctr/root"
		state = "$WORK/ctr/state"
		disabled_plugins = ["io.containerd.grpc.v1.cri"]
		[grpc]
		  address = "$WORK/ctr/containerd.sock"
		[plugins."io.containerd.internal.v1.opt"]
		  path = "$WORK/ctr/opt"
	EOT
	spawn "$WORK/log/containerd" containerd -c "$WORK/ctr/config.toml"
	engine=$SPAWNED
	until engine_answers; do
		is_running "$engine" ||
			skip "containerd does not start here: $(tail -1 \
				"$WORK/log/containerd")"
		[ "$SECONDS" -lt 40 ] || skip "containerd does not answer"
		sleep 0.05
	done
}

# Shims and mounts must be gone before $WORK is.
hook_cleanup()
{
	local pid mount
	for pid in $(pgrep -f "$WORK/ctr/" || true); do
		kill -KILL "$pid" 2>/dev/null
	done
	for mount in $(awk -v dir="$WORK/" 'index($2, dir) == 1 { print $2 }' \
		/proc/self/mounts | sort -r); do
		umount -l "$mount" 2>/dev/null
	done
}

# mirror AGENT: where containerd asks; the registry itself is never reached
mirror()
{
	mkdir -p "$WORK/certs.d/registry.example.com"
	cat >"$WORK/certs.d/registry.example.com/hosts.toml" <<-EOT
		server = "https://registry.example.com"
		[host."$(registry "$1")"]
		  capabilities = ["pull", "resolve"]
	EOT
}

# The image: a busybox that greets, and a layer of 12 MiB.
push_image()
{
	local root=$WORK/root
	mkdir -p "$root/bin"
	cp "$(readlink -f "$(command -v busybox)")" "$root/bin/busybox"
	tar -C "$root" --owner=0 --group=0 -cf "$WORK/tools.tar" bin
	layer_make "$WORK/data.tar" $((12 * MIB)) 6
	config_make "$WORK/config" "$WORK/tools.tar" "$WORK/data.tar"
	jq -c --arg text "$GREETING" \
		'.config = {Cmd: ["/bin/busybox", "echo", $text]}' \
		"$WORK/config" >"$WORK/config.json"
	manifest_make "$WORK/manifest" "$WORK/config.json" "$WORK/tools.tar" \
		"$WORK/data.tar"
	for layer in config.json tools.tar data.tar; do
		blob_push "$WORK/$layer" team/app >/dev/null
	done
	manifest_put "$WORK/manifest" team/app v1
	expect_status 201 "manifest"
}

expect_content() # file, agent
{
	ctr_ content get "$(digest_of "$1")" >"$WORK/got" ||
		fail "containerd does not have ${1##*/}"
	expect_same "$WORK/got" "$1" "${1##*/} from $2"
}

check_agent() # agent
{
	local file
	mirror "$1"
	ctr_ images pull --hosts-dir "$WORK/certs.d" "$NAME:v1" \
		>"$WORK/log/pull" 2>&1 ||
		fail "ctr images pull through $1: $(tail -1 "$WORK/log/pull")"
	for file in manifest config.json tools.tar data.tar; do
		expect_content "$WORK/$file" "$1"
	done
	expect_eq "$(ctr_ run --rm "$NAME:v1" "greet-$1")" "$GREETING" \
		"what the container prints"
	ctr_ images rm --sync "$NAME:v1" >/dev/null
	expect_eq "$(ctr_ content ls -q)" "" "content that containerd has"
}

# What containerd asks, by hand.
check_namespace() # agent
{
	local url
	url=$(registry "$1")/v2/team/app
	http HEAD "$url/manifests/v1?ns=registry.example.com"
	expect_status 200 "HEAD of a manifest with ns="
	expect_eq "$(http_header docker-content-digest)" \
		"$(digest_of "$WORK/manifest")" "HEAD of a manifest with ns="
	http GET "$url/blobs/$(digest_of "$WORK/data.tar")?ns=registry.example.com"
	expect_status 200 "GET of a blob with ns="
	expect_same "$WORK/http.body" "$WORK/data.tar" "blob with ns="
}

engine_start
cluster_start 2 2
push_image
for agent in agent1 agent2; do
	say "pull and run through $agent"
	check_agent $agent
	check_namespace $agent
done
