# test/demo/engine.sh - sourced: a Docker engine of our own, or skopeo.
#
#	start_engine, stop_engine
#	image_push, image_pull, image_run, image_forget REFERENCE
#
# The engine shares nothing with one that runs already: its directories, its
# socket, its namespaces in containerd.

client=""
engine_pid=""
step_seconds=300 # a push or a pull that takes longer has failed

# docker_ SECONDS ARGS... - Debian's client, without the person's settings
docker_() {
	local seconds=$1 docker=/usr/bin/docker
	shift
	[ -x $docker ] || docker=docker
	timeout --foreground "$seconds" env -u DOCKER_HOST -u DOCKER_CONTEXT "$docker" \
		--config "$dir/docker-config" \
		-H "unix://$dir/engine/docker.sock" "$@"
}

start_dockerd() {
	local e=$dir/engine
	mkdir -p "$e" "$dir/docker-config"
	echo '{}' >"$dir/docker-config/config.json"
	echo '{}' >"$e/daemon.json"
	setpriv --pdeathsig TERM dockerd --iptables=false --bridge=none \
		--config-file "$e/daemon.json" \
		--containerd-namespace kraken-demo \
		--containerd-plugins-namespace kraken-demo-plugins \
		--data-root "$e/data" --exec-root "$e/exec" \
		--host "unix://$e/docker.sock" --pidfile "$e/pid" \
		>"$e/log" 2>&1 &
	engine_pid=$!
	local deadline=$((SECONDS + 30))
	until docker_ 5 version >/dev/null 2>&1; do
		kill -0 "$engine_pid" 2>/dev/null || return 1
		[ $SECONDS -lt $deadline ] || return 1
		sleep 0.2
	done
}

start_engine() {
	client=skopeo
	say "start a Docker engine of our own"
	if [ "${DEMO_CLIENT-docker}" != docker ]; then
		echo "  not wanted (DEMO_CLIENT=$DEMO_CLIENT): skopeo it is"
	elif [ "$(id -u)" -ne 0 ]; then
		echo "  not possible without root: skopeo it is"
	elif ! command -v dockerd >/dev/null; then
		echo "  dockerd is not installed: skopeo it is"
	elif ! start_dockerd; then
		echo "  it does not start: skopeo it is. Its last words:"
		tail -n 3 "$dir/engine/log" | sed 's/^/    /'
		stop_engine
	else
		client=docker
		docker_ 10 version --format '  Docker {{.Server.Version}}'
		load_image
	fi
}

load_image() {
	echo "  docker load"
	tar -C "$dir/image" -cf - manifest.json blobs |
		docker_ $step_seconds load | sed 's/^/  /' ||
		fail "docker refuses to load the image"
}

# Unmount what an engine that was killed left mounted: its files would stay.
unmount_below() {
	awk -v dir="$1/" 'index($5, dir) == 1 { print $5 }' \
		/proc/self/mountinfo | sort -r | while read -r mount; do
		umount -l "$mount" || true
	done
}

stop_engine() {
	[ -n "$engine_pid" ] || return 0
	kill -TERM "$engine_pid" 2>/dev/null || true
	local deadline=$((SECONDS + 15))
	while kill -0 "$engine_pid" 2>/dev/null; do
		[ $SECONDS -lt $deadline ] ||
			kill -KILL "$engine_pid" 2>/dev/null || true
		sleep 0.1
	done
	wait "$engine_pid" 2>/dev/null || true
	engine_pid=""
	unmount_below "$dir/engine"
}

image_push() {
	if [ $client = docker ]; then
		docker_ $step_seconds push "$1"
	else
		timeout --foreground $step_seconds skopeo copy --dest-tls-verify=false \
			--preserve-digests "oci:$dir/image:${1##*:}" \
			"docker://$1"
	fi
}

image_pull() {
	if [ $client = docker ]; then
		docker_ $step_seconds pull "$1"
	else
		mkdir -p "$dir/pulled" && timeout --foreground $step_seconds skopeo copy \
			--src-tls-verify=false --preserve-digests \
			"docker://$1" "dir:$dir/pulled"
	fi
}

# The container has to say what its image was made to say.
image_run() {
	if [ $client != docker ]; then
		echo "  (not run: that takes a Docker engine)"
		return 0
	fi
	say "docker run $1"
	docker_ 60 run --rm --network none "$1" >"$dir/said" ||
		fail "the container does not run"
	sed 's/^/  /' "$dir/said"
	grep -q '^Hello!' "$dir/said" || fail "the container did not greet"
}

image_forget() {
	if [ $client = docker ]; then
		docker_ 60 rmi -f "$1" >/dev/null ||
			fail "docker does not remove $1"
		[ -z "$(docker_ 10 images -q)" ] ||
			fail "docker still has an image: a pull proves nothing"
	else
		rm -rf "$dir/pulled"
	fi
}
