#!/bin/bash
# A Docker engine pushes to the proxy, pulls from both agents, runs what it got.
. "$(dirname "$0")/engine_lib.sh"
need docker dockerd busybox

readonly GREETING="hello from the swarm"

docker_start()
{
	export DOCKER_HOST=unix://$ENGINE/docker.sock
	export DOCKER_CONFIG=$ENGINE/config DOCKER_BUILDKIT=0
	engine_start dockerd "docker version" dockerd --iptables=false \
		--bridge=none --data-root "$ENGINE/data" \
		--exec-root "$ENGINE/exec" --host "$DOCKER_HOST" \
		--pidfile "$ENGINE/pid"
}

# A static busybox that greets, and a layer of 24 MiB.
image_build() # name
{
	local dir=$WORK/context
	mkdir "$dir"
	cp "$(readlink -f "$(command -v busybox)")" "$dir/busybox"
	blob_make "$dir/data" $((24 * MIB)) 5
	cat >"$dir/Dockerfile" <<-EOT
		FROM scratch
		COPY busybox /bin/busybox
		COPY data /data
		CMD ["/bin/busybox", "echo", "$GREETING"]
	EOT
	docker build -q -t "$1" "$dir" >"$WORK/log/build" 2>&1 ||
		fail "docker build: $(tail -1 "$WORK/log/build")"
}

forget() # image: and its layers, so that the next pull is one
{
	docker image rm -f "$1" >/dev/null
	expect_eq "$(docker image ls -aq)" "" "images that the engine has"
}

check_agent() # agent, digest
{
	local image got
	image=$(registry_host "$1")/team/app:v1
	docker pull -q "$image" >"$WORK/log/pull" 2>&1 ||
		fail "docker pull $image: $(tail -1 "$WORK/log/pull")"
	got=$(docker image inspect -f '{{index .RepoDigests 0}}' "$image")
	expect_eq "${got#*@}" "$2" "digest of what came from $1"
	expect_eq "$(docker run --rm --network none "$image")" "$GREETING" \
		"what the container of $1 prints"
	got=$(docker run --rm --network none "$image" /bin/busybox \
		sha256sum /data)
	expect_eq "sha256:${got%% *}" "$(digest_of "$WORK/context/data")" \
		"/data of the container of $1"
	forget "$image"
}

check_absent() # agent
{
	local start
	start=$(now_ms)
	if docker pull "$(registry_host "$1")/team/app:absent" \
		>"$WORK/answer" 2>&1; then
		fail "an absent tag was pulled"
	fi
	expect_le $(($(now_ms) - start)) 3000 \
		"milliseconds until an absent tag was refused"
	expect_match "$(cat "$WORK/answer")" 'manifest unknown|not found' \
		"pull of an absent tag"
}

# --------------------------------------------------------------------------

docker_start
cluster_start 2 2
image=$(registry_host proxy)/team/app:v1
image_build "$image"
say "docker push"
docker push "$image" >"$WORK/log/push" 2>&1 ||
	fail "docker push $image: $(tail -1 "$WORK/log/push")"
digest=$(grep -o 'sha256:[0-9a-f]\{64\}' "$WORK/log/push" | tail -1)
forget "$image"
for agent in agent1 agent2; do
	say "docker pull and run through $agent"
	check_agent $agent "$digest"
	check_absent $agent
done
say "docker push of what is there already"
docker pull -q "$(registry_host agent1)/team/app:v1" >/dev/null
docker tag "$(registry_host agent1)/team/app:v1" \
	"$(registry_host proxy)/team/app:v2"
docker push -q "$(registry_host proxy)/team/app:v2" >"$WORK/log/push2" 2>&1 ||
	fail "second docker push: $(tail -1 "$WORK/log/push2")"
http HEAD "$(registry agent2)/v2/team/app/manifests/v2"
expect_status 200 "tag of the second push"
expect_eq "$(http_header docker-content-digest)" "$digest" "second push"
engine_stop
