#!/bin/bash
# containerd uses an agent as the mirror of another registry: it asks for
# repositories of registry.example.com with ?ns=registry.example.com.
. "$(dirname "$0")/engine_lib.sh"
need containerd ctr busybox

readonly NAME=registry.example.com/team/app
readonly GREETING="hello from the mirror"

ctr_() { ctr -a "$ENGINE/containerd.sock" "$@"; }

containerd_start()
{
	cat >"$ENGINE/config.toml" <<-EOT
		version = 2
		root = "$ENGINE/root"
		state = "$ENGINE/state"
		disabled_plugins = ["io.containerd.grpc.v1.cri"]
		[grpc]
		  address = "$ENGINE/containerd.sock"
		[plugins."io.containerd.internal.v1.opt"]
		  path = "$ENGINE/opt"
	EOT
	engine_start containerd "ctr_ version" \
		containerd -c "$ENGINE/config.toml"
}

# mirror AGENT: where containerd asks; the registry itself is never reached
mirror()
{
	"$KRAKEN" runtime-config --containerd --path "$WORK/certs.d" \
		--agent "$(registry_host "$1")" --apply \
		--upstream registry.example.com >"$WORK/log/runtime-config" ||
		fail "runtime-config: $(<"$WORK/log/runtime-config")"
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
	ctr_ --debug images pull --hosts-dir "$WORK/certs.d" "$NAME:v1" \
		>"$WORK/log/pull" 2>&1 ||
		fail "ctr images pull through $1: $(tail -1 "$WORK/log/pull")"
	grep -q "$(registry "$1")/v2/team/app/manifests/v1?ns=registry\.example" \
		"$WORK/log/pull" ||
		fail "containerd did not ask $1 with ns=registry.example.com"
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

# --------------------------------------------------------------------------

containerd_start
AGENT_ARGS=(--set "container_runtime.containerd.address=$ENGINE/containerd.sock")
cluster_start 2 2
push_image
for agent in agent1 agent2; do
	say "pull and run through $agent"
	check_agent $agent
	check_namespace $agent
done
say "preload"
http GET "$(server agent1)/preload/tags/team%2Fapp:v1?runtime=containerd"
expect_status 200 "preload"
ctr_ images ls -q | grep -qx "$(registry_host agent1)/team/app:v1" ||
	fail "the preloaded image is not there"
http GET "$(server agent1)/preload/tags/team%2Fapp:absent?runtime=containerd"
expect_status 503 "preload of an absent tag"
engine_stop
# Without --upstream all go that we wrote, and nothing else.
mkdir "$WORK/certs.d/other"
echo 'server = "https://other"' >"$WORK/certs.d/other/hosts.toml"
"$KRAKEN" runtime-config --containerd --path "$WORK/certs.d" --remove >/dev/null
expect_eq "$(<"$WORK/certs.d/other/hosts.toml")" 'server = "https://other"' \
	"what somebody else wrote"
rm -r "$WORK/certs.d/other"
expect_eq "$(ls "$WORK/certs.d")" "" "what --remove left in certs.d"
