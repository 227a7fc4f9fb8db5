#!/bin/bash
# podman and buildah, told of the agent by `kraken runtime-config`: buildah
# pushes through the proxy, podman pulls docker.io/... and a private registry's
# image through the agent, by a mirror entry with and without the host in the
# path.  The registries themselves are never reached.
. "$(dirname "$0")/engine_lib.sh"
need podman buildah busybox skopeo

# Nothing of this host's own configuration or storage.
export CONTAINERS_STORAGE_CONF=$ENGINE/storage.conf
export CONTAINERS_REGISTRIES_CONF=$ENGINE/registries.conf
export REGISTRY_AUTH_FILE=$ENGINE/auth.json
export CONTAINERS_CONF=$ENGINE/containers.conf
export XDG_RUNTIME_DIR=$ENGINE/run TMPDIR=$ENGINE/tmp
readonly CONF_D=$ENGINE/registries.conf.d
readonly GREETING="hello from podman"

setup()
{
	mkdir -p "$ENGINE"/{run,tmp,graph,runroot} "$CONF_D"
	cat >"$CONTAINERS_STORAGE_CONF" <<-EOT
		[storage]
		driver = "vfs"
		graphroot = "$ENGINE/graph"
		runroot = "$ENGINE/runroot"
	EOT
	echo '{}' >"$REGISTRY_AUTH_FILE"
	echo '{"default": [{"type": "insecureAcceptAnything"}]}' \
		>"$ENGINE/policy.json"
	cat >"$CONTAINERS_CONF" <<-EOT
		[engine]
		cgroup_manager = "cgroupfs"
		events_logger = "file"
		[containers]
		netns = "host"
		utsns = "host"
	EOT
	echo 'unqualified-search-registries = ["docker.io"]' \
		>"$CONTAINERS_REGISTRIES_CONF"
	mount --bind "$CONF_D" /etc/containers/registries.conf.d
	podman info >"$WORK/log/podman" 2>&1 ||
		skip "podman does not work here: $(tail -1 "$WORK/log/podman")"
}

podman_()
{
	podman --log-level=debug "$@" 2>"$WORK/log/podman" ||
		fail "podman $*: $(grep -v 'level=debug' "$WORK/log/podman" |
			tail -1)"
}

runtime_config()
{
	"$KRAKEN" runtime-config --podman --path "$CONF_D/50-kraken.conf" "$@"
}

# buildah: an image from nothing, pushed as REPOSITORY:v1
build() # repository
{
	local container
	mkdir -p "$WORK/root/bin"
	cp "$(readlink -f "$(command -v busybox)")" "$WORK/root/bin/busybox"
	layer_make "$WORK/data.tar" $((6 * MIB)) 14
	container=$(buildah from scratch)
	buildah add -q "$container" "$WORK/root" / >/dev/null
	buildah add -q "$container" "$WORK/data.tar" / >/dev/null
	buildah config --cmd '["/bin/busybox","echo","'"$GREETING"'"]' \
		"$container"
	buildah commit -q --rm "$container" "localhost/$1:v1" >/dev/null
	buildah push -q --tls-verify=false "localhost/$1:v1" \
		"docker://$(registry_host proxy)/$1:v1" \
		2>"$WORK/log/buildah" ||
		fail "buildah push: $(tail -1 "$WORK/log/buildah")"
	buildah rmi -f -a >/dev/null
}

has_greeted()
{
	local said
	said=$(podman logs greet 2>/dev/null)
	[ "$said" = "$GREETING" ]
}

expect_pull() # image, path that the agent is asked for
{
	podman_ pull -q "$1" >/dev/null
	grep -qF "GET http://$(registry_host agent1)/v2/$2/manifests/v1" \
		"$WORK/log/podman" ||
		fail "podman did not ask the agent for $2"
	# not in the foreground: podman would wait 20 s for an orphan that the
	# shell, which is process 1 here, does not reap
	podman_ run -d --name greet --network host "$1" >/dev/null
	wait_for 20 has_greeted
	podman_ rm -f greet >/dev/null
	podman_ rmi -f "$1" >/dev/null
}

# --------------------------------------------------------------------------

AGENT_ARGS=()
cluster_start 1 1
setup
say "buildah push"
build team/app
build quay.io/team/app

say "podman pull through a mirror entry"
runtime_config --agent "$(registry_host agent1)" --upstream reg.example.com \
	>"$WORK/shown"
[ ! -e "$CONF_D/50-kraken.conf" ] || fail "written without --apply"
runtime_config --agent "$(registry_host agent1)" --upstream reg.example.com \
	--apply >"$WORK/shown"
grep -q "^wrote $CONF_D/50-kraken.conf" "$WORK/shown" ||
	fail "expected to be told of the file: $(<"$WORK/shown")"
expect_pull reg.example.com/team/app:v1 team/app

say "podman pull with the host in the path"
runtime_config --agent "$(registry_host agent1)" --upstream quay.io \
	--keep-host --apply >/dev/null
expect_pull quay.io/team/app:v1 quay.io/team/app

say "the agent has a table of upstreams"
role_stop agent1
conf_print agent1 >"$WORK/conf/agent1.yaml"
sed -i 's/^registry: {/&upstreams: [{host: quay.io, prefix: ""}], /' \
	"$WORK/conf/agent1.yaml"
role_run agent1
wait_ready agent1
expect_pull quay.io/team/app:v1 quay.io/team/app
http GET "$(registry agent1)/v2/team/app/manifests/v1?ns=quay.io"
expect_status 200 "containerd's way to the same repository"

runtime_config --remove >"$WORK/shown"
[ ! -e "$CONF_D/50-kraken.conf" ] || fail "--remove left the file"
