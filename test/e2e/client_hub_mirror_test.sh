#!/bin/bash
# The agent as the Docker engine's mirror of Docker Hub (registry-mirrors), put
# into daemon.json and taken out of it by `kraken runtime-config`.  Docker Hub
# itself is never reached.
. "$(dirname "$0")/engine_lib.sh"
need docker dockerd

readonly DAEMON=$ENGINE/etc/docker/daemon.json

runtime_config()
{
	"$KRAKEN" runtime-config --docker --root "$ENGINE" \
		--agent "$(registry_host agent1)" "$@" >"$WORK/shown" ||
		fail "runtime-config $*: $(<"$WORK/shown")"
}

docker_start()
{
	export DOCKER_HOST=unix://$ENGINE/docker.sock
	export DOCKER_CONFIG=$ENGINE/config
	engine_start dockerd "docker version" dockerd --iptables=false \
		--bridge=none --data-root "$ENGINE/data" \
		--exec-root "$ENGINE/exec" --host "$DOCKER_HOST" \
		--pidfile "$ENGINE/pid" --config-file "$DAEMON"
}

AGENT_ARGS=(--set "container_runtime.docker.docker_host=unix://$ENGINE/docker.sock")
cluster_start 1 1

# ---- the file

mkdir -p "${DAEMON%/*}"
echo '{"debug": true, "registry-mirrors": ["https://mirror.invalid"]}' \
	>"$DAEMON"
cp "$DAEMON" "$WORK/before"
runtime_config
expect_same "$DAEMON" "$WORK/before" "daemon.json, only shown"
runtime_config --apply
expect_eq "$(jq -c . "$DAEMON")" \
	"{\"debug\":true,\"registry-mirrors\":[\"$(registry agent1)\",\"https://mirror.invalid\"]}" \
	"daemon.json"
runtime_config --apply
grep -q '^unchanged: ' "$WORK/shown" || fail "a second time: $(<"$WORK/shown")"

# ---- docker uses it

docker_start
layer_make "$WORK/layer.tar" $((5 * MIB)) 15
image_push library/greeter v1 "$WORK/layer.tar" >/dev/null
image_push team/greeter v1 "$WORK/layer.tar" >/dev/null
for name in greeter:v1 team/greeter:v1; do
	docker pull -q "$name" >"$WORK/log/pull" 2>&1 ||
		fail "docker pull $name: $(tail -1 "$WORK/log/pull")"
	docker image inspect "$name" >/dev/null ||
		fail "$name is not among the images"
done

# ---- and is told to (Kraken's preload)

image_push team/preloaded v1 "$WORK/layer.tar" >/dev/null
http GET "$(server agent1)/preload/tags/team%2Fpreloaded:v1"
expect_status 200 "preload"
docker image inspect "$(registry_host agent1)/team/preloaded:v1" \
	>/dev/null || fail "the preloaded image is not there"
http GET "$(server agent1)/preload/tags/team%2Fpreloaded:absent"
expect_status 503 "preload of an absent tag"
grep -qi 'not found\|unknown' "$WORK/http.body" ||
	fail "expected docker's reason, got: $(<"$WORK/http.body")"
engine_stop

# ---- and no longer

runtime_config --remove
expect_eq "$(jq -c . "$DAEMON")" "$(jq -c . "$WORK/before")" \
	"daemon.json after --remove"
