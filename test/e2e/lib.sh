# test/e2e/lib.sh - a Kraken cluster of real processes for one test script.
# shellcheck shell=bash
#
#	. "$(dirname "$0")/lib.sh"
#	cluster_start 2 2                     # tracker, build-index, origin1,
#	                                      # origin2, proxy, agent1, agent2
#	blob_make "$WORK/layer" $((8 * MIB)) 1
#	digest=$(image_push team/app v1 "$WORK/layer")
#	http GET "$(registry agent1)/v2/team/app/manifests/v1"
#	expect_status 200 "pull of the manifest"
#
# Everything is below $WORK, which is removed at the end (KEEP=1 keeps it), and
# on 127.0.0.1, on ports that belong to this test while it runs.  Every process
# is a group of its own; all are killed when the script ends, however it ends.
# At the end of a test that passed, every role must also stop by itself, with
# status 0, when it is asked to (SIGTERM).
#
# Exit status: 0 passed, 77 skipped (the reason is printed), else failed (the
# logs are printed).

set -Eeuo pipefail
shopt -s inherit_errexit
export LC_ALL=C
unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY all_proxy ALL_PROXY

readonly MIB=$((1024 * 1024))
readonly LOG_LINES=${LOG_LINES:-60}      # of each log when a test fails
readonly STOP_SECONDS=20                 # a role stops within this
readonly PORT_FIRST=20000 PORT_SLOTS=120 PORT_SLOT_SIZE=100

readonly OCI_MANIFEST=application/vnd.oci.image.manifest.v1+json
readonly OCI_INDEX=application/vnd.oci.image.index.v1+json
readonly OCI_CONFIG=application/vnd.oci.image.config.v1+json
readonly OCI_LAYER=application/vnd.oci.image.layer.v1.tar
readonly DOCKER_MANIFEST=application/vnd.docker.distribution.manifest.v2+json
readonly DOCKER_LIST=application/vnd.docker.distribution.manifest.list.v2+json

KRAKEN=${KRAKEN:-$(command -v kraken || true)}
WORK=
HTTP_STATUS=        # of the last http

declare -A ROLE_OF  # name -> role
declare -A PID_OF   # name -> process, as long as it runs
declare -A PORT_OF  # "name kind" -> port; kind: registry, server, peer, rpc
declare -A ARGS_OF  # name -> further arguments, quoted
declare -a ROLES    # names, in the order they were defined
declare -a OTHERS   # processes started by spawn

# ---- saying things -------------------------------------------------------

say() { printf '%s\n' "- $*" >&2; }

fail()
{
	printf 'FAILED: %s\n' "$*" | tee -a "$WORK/failure" >&2
	print_stack
	exit 1
}

skip() { printf 'SKIPPED: %s\n' "$*" >&2; exit 77; }

# need COMMAND...: skip the test where one is missing
need()
{
	local c
	for c in "$@"; do
		command -v "$c" >/dev/null || skip "$c is not installed"
	done
}

print_stack()
{
	local i
	for ((i = 1; i < ${#FUNCNAME[@]} - 1; i++)); do
		printf '    %s, line %s (%s)\n' "${BASH_SOURCE[i + 1]##*/}" \
			"${BASH_LINENO[i]}" "${FUNCNAME[i]}" >&2
	done
}

on_error() # status, line, command
{
	printf 'FAILED: status %s in line %s of %s: %s\n' "$1" "$2" \
		"${BASH_SOURCE[1]##*/}" "$3" >&2
}

print_logs()
{
	local log
	for log in "$WORK"/log/*; do
		[ -s "$log" ] || continue
		printf -- '---- %s\n' "${log##*/}"
		grep -av " info limits " "$log" | tail -n "$LOG_LINES"
	done >&2
	[ ! -s "$WORK/failure" ] || cat "$WORK/failure" >&2
}

# ---- start and end -------------------------------------------------------

work_open()
{
	[ -x "$KRAKEN" ] || fail "KRAKEN=$KRAKEN is not an executable"
	WORK=$(mktemp -d "${TMPDIR:-/tmp}/kraken-e2e.XXXXXX")
	mkdir "$WORK"/{conf,data,log,storage}
	trap work_close EXIT
	trap 'on_error $? $LINENO "$BASH_COMMAND"' ERR
	trap 'exit 129' HUP
	trap 'exit 130' INT
	trap 'exit 143' TERM
}

work_close()
{
	local status=$?
	trap - ERR EXIT
	trap '' HUP INT TERM
	set +e
	if [ "$status" = 0 ]; then
		roles_stop || status=1
	fi
	kill_everything 2>/dev/null # where the shell reports its dead jobs
	[ "$status" = 0 ] || [ "$status" = 77 ] || print_logs
	if [ "${KEEP:-0}" = 1 ]; then
		say "kept: $WORK"
	else
		rm -rf "$WORK"
	fi
	[ "$status" != 0 ] || say "passed in $SECONDS s"
	exit "$status"
}

kill_everything()
{
	local pid
	for pid in "${PID_OF[@]}" "${OTHERS[@]}"; do
		kill -KILL -- "-$pid" 2>/dev/null
	done
	wait 2>/dev/null
	hook_cleanup
}

# A script that mounts or the like defines this again.
hook_cleanup() { :; }

# spawn LOG COMMAND...: in the background, a group of its own that does not
# outlive us; SPAWNED is the process
spawn()
{
	local log=$1
	shift
	setpriv --pdeathsig KILL setsid "$@" >>"$log" 2>&1 </dev/null &
	SPAWNED=$!
	OTHERS+=("$SPAWNED")
}

# ---- waiting -------------------------------------------------------------

now_ms() { local t=${EPOCHREALTIME/[.,]/}; echo $((t / 1000)); }

# wait_for SECONDS COMMAND...: until it succeeds, asked every 50 ms
wait_for()
{
	local seconds=$1 end
	shift
	end=$(($(now_ms) + seconds * 1000))
	until "$@"; do
		[ "$(now_ms)" -lt "$end" ] ||
			fail "expected within $seconds s: $*"
		sleep 0.05
	done
}

is_running() { kill -0 "$1" 2>/dev/null; }
is_gone() { ! is_running "$1"; }
is_listening() { (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

is_ready()
{
	local name=$1
	is_running "${PID_OF[$name]}" || fail "$name ended while it started"
	curl -fs -o /dev/null -m 5 "$(server "$name")/readiness"
}

# wait_ready NAME...: /readiness says 200
wait_ready()
{
	local name
	for name in "$@"; do
		wait_for 30 is_ready "$name"
	done
}

# ---- ports ---------------------------------------------------------------

# A slot of ports is locked (descriptor 9) as long as we live, and as long as
# any process lives that we left behind.
ports_open()
{
	local i slot start=$RANDOM dir=${TMPDIR:-/tmp}/kraken-e2e-ports
	mkdir -p "$dir"
	for ((i = 0; i < PORT_SLOTS; i++)); do
		slot=$(((start + i) % PORT_SLOTS))
		exec 9>"$dir/$slot"
		if flock -n 9; then
			PORT_NEXT=$((PORT_FIRST + slot * PORT_SLOT_SIZE))
			PORT_END=$((PORT_NEXT + PORT_SLOT_SIZE))
			return
		fi
	done
	fail "no free range of ports: see $dir"
}

# port_take VARIABLE: a port on which nobody listens
port_take()
{
	while is_listening "$PORT_NEXT"; do
		PORT_NEXT=$((PORT_NEXT + 1))
	done
	[ "$PORT_NEXT" -lt "$PORT_END" ] || fail "out of ports"
	printf -v "$1" %s "$PORT_NEXT"
	PORT_NEXT=$((PORT_NEXT + 1))
}

# ---- roles ---------------------------------------------------------------

registry() { echo "http://127.0.0.1:${PORT_OF["$1 registry"]}"; }
registry_host() { echo "127.0.0.1:${PORT_OF["$1 registry"]}"; }
server() { echo "http://127.0.0.1:${PORT_OF["$1 server"]}"; }

# role_define NAME ROLE: reserve its ports, so that others can name it
role_define()
{
	local name=$1 role=$2 kind port kinds=server
	[ -z "${ROLE_OF[$name]:-}" ] || fail "there is a $name already"
	case $role in
	agent | proxy) kinds="server peer registry" ;;
	origin) kinds="server peer rpc" ;;
	tracker | build-index) kinds="server rpc" ;;
	*) fail "no role $role" ;;
	esac
	ROLE_OF[$name]=$role
	ROLES+=("$name")
	for kind in $kinds; do
		port_take port
		PORT_OF["$name $kind"]=$port
	done
}

# hosts_of ROLE [KIND]: [ "127.0.0.1:PORT", ... ] of the RPC listeners
hosts_of()
{
	local name list= kind=${2:-rpc}
	for name in "${ROLES[@]}"; do
		[ "${ROLE_OF[$name]}" = "$1" ] || continue
		list+="${list:+, }\"127.0.0.1:${PORT_OF["$name $kind"]}\""
	done
	echo "[$list]"
}

count_of()
{
	local name n=0
	for name in "${ROLES[@]}"; do
		[ "${ROLE_OF[$name]}" != "$1" ] || n=$((n + 1))
	done
	echo "$n"
}

# replicas: REPLICAS, or every origin up to 2
conf_origins()
{
	local n
	n=$(count_of origin)
	echo "origin:"
	echo "  hosts: {static: $(hosts_of origin)}"
	echo "  replicas: ${REPLICAS:-$((n < 2 ? n : 2))}"
	[ "$1" = tracker ] || echo "  write_quorum: ${REPLICAS:-$((n < 2 ? n : 2))}"
}

conf_ports()
{
	local name=$1 kind ip
	for kind in registry server peer rpc; do
		[ -n "${PORT_OF["$name $kind"]:-}" ] || continue
		ip=
		case $kind in registry | peer) ip="ip: 127.0.0.1, " ;; esac
		echo "$kind: {${ip}port: ${PORT_OF["$name $kind"]}}"
	done
}

conf_print()
{
	local name=$1 role=${ROLE_OF[$1]}
	echo "cluster: e2e"
	echo "bind_ip: 127.0.0.1"
	conf_ports "$name"
	[ "$role" = tracker ] || echo "store: {dir: $WORK/data/$name}"
	case $role in
	agent)
		echo "tracker: {hosts: {static: $(hosts_of tracker)}}"
		echo "announce_interval: 2s"
		;;
	tracker | proxy)
		conf_origins "$role"
		echo "health: {interval: 200ms}"
		;;
	origin)
		conf_origins "$role"
		echo "  servers: {static: $(hosts_of origin server)}"
		echo "health: {interval: 200ms}"
		echo "backends:"
		echo "  - namespace: \".*\""
		echo "    backend: {file: {root_directory: $WORK/storage}}"
		;;
	esac
	case $role in
	agent | proxy)
		echo "build_index: {hosts: {static: $(hosts_of build-index)}}"
		;;
	esac
}

# role_start NAME [ROLE] [--set KEY=VALUE ...]: does not wait (wait_ready)
role_start()
{
	local name=$1
	shift
	if [ $# -gt 0 ] && [[ $1 != --* ]]; then
		[ -n "${ROLE_OF[$name]:-}" ] || role_define "$name" "$1"
		shift
	fi
	ARGS_OF[$name]=${*@Q}
	conf_print "$name" >"$WORK/conf/$name.yaml"
	role_run "$name"
}

role_run()
{
	local name=$1 args
	[ -z "${PID_OF[$name]:-}" ] || fail "$name runs already"
	eval "args=(${ARGS_OF[$name]})"
	setpriv --pdeathsig KILL setsid "$KRAKEN" "${ROLE_OF[$name]}" \
		--config "$WORK/conf/$name.yaml" "${args[@]}" \
		>>"$WORK/log/$name" 2>&1 </dev/null &
	PID_OF[$name]=$!
}

# role_wait NAME SECONDS: ROLE_STATUS is its exit status
role_wait()
{
	local pid=${PID_OF[$1]}
	ROLE_STATUS=0
	wait_for "$2" is_gone "$pid"
	wait "$pid" 2>/dev/null || ROLE_STATUS=$?
	unset "PID_OF[$1]"
}

# role_stop NAME [SIGNAL]: it must end well; SIGTERM
role_stop()
{
	kill "-${2:-TERM}" "${PID_OF[$1]}" 2>/dev/null ||
		fail "$1 is not running any more"
	role_wait "$1" "$STOP_SECONDS"
	[ "$ROLE_STATUS" = 0 ] ||
		fail "$1: expected to stop with status 0, got $ROLE_STATUS"
}

role_kill9()
{
	kill -KILL "${PID_OF[$1]}" 2>/dev/null ||
		fail "$1 is not running any more"
	role_wait "$1" "$STOP_SECONDS"
	[ "$ROLE_STATUS" = 137 ] ||
		fail "$1: expected to be killed (137), got $ROLE_STATUS"
}

# role_restart NAME [SIGNAL]: same configuration, ready again at return
role_restart()
{
	if [ "${2:-TERM}" = KILL ]; then
		role_kill9 "$1"
	else
		role_stop "$1" "${2:-TERM}"
	fi
	role_run "$1"
	wait_ready "$1"
}

# roles_stop: all, whoever uses others first; fails where one does not end
# well.  Called at the end, where nothing may exit any more.
roles_stop()
{
	local i name pid end status failed=0
	for ((i = ${#ROLES[@]} - 1; i >= 0; i--)); do
		name=${ROLES[i]} pid=${PID_OF[${ROLES[i]}]:-} status=0
		[ -n "$pid" ] || continue
		end=$(($(now_ms) + STOP_SECONDS * 1000))
		kill -TERM "$pid" 2>/dev/null
		while is_running "$pid" && [ "$(now_ms)" -lt "$end" ]; do
			sleep 0.05
		done
		kill -KILL -- "-$pid" 2>/dev/null
		wait "$pid" 2>/dev/null || status=$?
		unset "PID_OF[$name]"
		[ "$status" = 0 ] && continue
		echo "FAILED: $name: expected to stop with status 0 within" \
			"$STOP_SECONDS s, got $status" >&2
		failed=1
	done
	return "$failed"
}

# cluster_start [ORIGINS] [AGENTS]: everything, ready.  <ROLE>_ARGS (AGENT_,
# ORIGIN_, PROXY_, TRACKER_, INDEX_) are arrays of further arguments.
declare -a AGENT_ARGS ORIGIN_ARGS PROXY_ARGS TRACKER_ARGS INDEX_ARGS
cluster_start()
{
	local origins=${1:-2} agents=${2:-2} i
	role_define build-index build-index
	for ((i = 1; i <= origins; i++)); do
		role_define "origin$i" origin
	done
	role_define tracker tracker
	role_define proxy proxy
	for ((i = 1; i <= agents; i++)); do
		role_define "agent$i" agent
	done
	role_start build-index "${INDEX_ARGS[@]}"
	for ((i = 1; i <= origins; i++)); do
		role_start "origin$i" "${ORIGIN_ARGS[@]}"
	done
	role_start tracker "${TRACKER_ARGS[@]}"
	role_start proxy "${PROXY_ARGS[@]}"
	for ((i = 1; i <= agents; i++)); do
		role_start "agent$i" "${AGENT_ARGS[@]}"
	done
	wait_ready "${ROLES[@]}"
}

# metric NAME SERIES: its value, e.g.
#	metric agent1 'kraken_transfer_bytes_total{direction="in",peer="agent"}'
metric()
{
	local value
	value=$(curl -fsS -m 10 "$(server "$1")/metrics" |
		awk -v series="$2" 'index($0, series " ") == 1 { print $NF }')
	[ -n "$value" ] || fail "$1 has no metric $2"
	echo "$value"
}

# ---- expectations --------------------------------------------------------

expect_eq() # got, expected, what
{
	[ "$1" = "$2" ] || fail "$3: expected '$2', got '$1'"
}

expect_ge() { [ "$1" -ge "$2" ] || fail "$3: expected at least $2, got $1"; }
expect_le() { [ "$1" -le "$2" ] || fail "$3: expected at most $2, got $1"; }

expect_match() # got, extended regular expression, what
{
	[[ $1 =~ $2 ]] || fail "$3: expected a match of '$2', got '$1'"
}

expect_same() # file, file, what
{
	cmp -s "$1" "$2" ||
		fail "$3: files differ: $(cmp "$1" "$2" 2>&1 | head -1)," \
			"$(stat -c %s "$1") and $(stat -c %s "$2") bytes"
}

# expect_status CODE WHAT: of the last http
expect_status()
{
	[ "$HTTP_STATUS" = "$1" ] ||
		fail "$2: expected status $1, got $HTTP_STATUS:" \
			"$(head -c 300 "$WORK/http.body")"
}

# expect_error STATUS CODE WHAT: an error as the OCI distribution-spec has it
expect_error()
{
	local code
	expect_status "$1" "$3"
	code=$(jq -r '.errors[0].code' "$WORK/http.body" 2>/dev/null) ||
		fail "$3: expected an error body, got:" \
			"$(head -c 300 "$WORK/http.body")"
	expect_eq "$code" "$2" "$3: error code"
	expect_match "$(http_header content-type)" '^application/json' \
		"$3: content type"
}

# ---- HTTP ----------------------------------------------------------------

# http METHOD URL [curl arguments]: HTTP_STATUS, $WORK/http.head and .body.
# HTTP_STATUS is 000 when the connection ended early.
http()
{
	local method=$1 url=$2 how
	shift 2
	how=(-X "$method")
	[ "$method" != HEAD ] || how=(--head)
	: >"$WORK/http.head"
	: >"$WORK/http.body"
	HTTP_STATUS=$(curl -s -m 60 "${how[@]}" -D "$WORK/http.head" \
		-o "$WORK/http.body" -w '%{http_code}' \
		-H 'Expect:' "$@" "$url") || true
}

# http_header NAME: of the last http, "" where it is missing
http_header()
{
	local name value got=
	while IFS=: read -r name value; do
		[ "${name,,}" != "${1,,}" ] || got=${value%$'\r'}
	done <"$WORK/http.head"
	echo "${got#"${got%%[! ]*}"}"
}

# location BASE: the last Location header, made absolute
location()
{
	local l
	l=$(http_header location)
	[ -n "$l" ] || fail "expected a Location header"
	[[ $l == http* ]] || l=$1$l
	echo "$l"
}

# with_digest URL DIGEST: the URL that ends an upload
with_digest()
{
	[[ $1 == *\?* ]] && echo "$1&digest=$2" || echo "$1?digest=$2"
}

# ---- blobs and images ----------------------------------------------------

digest_of() { local s; s=$(sha256sum <"$1"); echo "sha256:${s%% *}"; }
size_of() { stat -c %s "$1"; }

# blob_make FILE BYTES [SEED]: incompressible, the same for the same seed
blob_make()
{
	local key
	printf -v key %032x "$((0x5eed0000 + ${3:-0}))"
	head -c "$2" /dev/zero | openssl enc -aes-128-ctr -nosalt -K "$key" \
		-iv 00000000000000000000000000000000 >"$1"
}

# upload_open REPO [REGISTRY]: UPLOAD is the session's URL
upload_open()
{
	local base=${2:-$(registry proxy)}
	http POST "$base/v2/$1/blobs/uploads/" -H 'Content-Length: 0'
	expect_status 202 "start of an upload to $1"
	UPLOAD=$(location "$base")
}

# blob_push FILE REPO [REGISTRY]: POST, PATCH, PUT; prints the digest
blob_push()
{
	local file=$1 digest base=${3:-$(registry proxy)} UPLOAD
	digest=$(digest_of "$file")
	upload_open "$2" "$base"
	http PATCH "$UPLOAD" -T "$file" \
		-H 'Content-Type: application/octet-stream'
	expect_status 202 "PATCH of $(size_of "$file") bytes to $2"
	UPLOAD=$(location "$base")
	http PUT "$(with_digest "$UPLOAD" "$digest")" -H 'Content-Length: 0'
	expect_status 201 "PUT of $digest to $2"
	echo "$digest"
}

# descriptor TYPE FILE
descriptor()
{
	printf '{"mediaType":"%s","digest":"%s","size":%s}' "$1" \
		"$(digest_of "$2")" "$(size_of "$2")"
}

# config_make FILE LAYER...: an OCI image configuration
config_make()
{
	local file=$1 layer ids=
	shift
	for layer in "$@"; do
		ids+="${ids:+,}\"$(digest_of "$layer")\""
	done
	printf '{"architecture":"amd64","os":"linux","config":{},%s}' \
		"\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[$ids]}" >"$file"
}

# manifest_make FILE CONFIG LAYER...: an OCI manifest
manifest_make()
{
	local file=$1 config=$2 layer layers=
	shift 2
	for layer in "$@"; do
		layers+="${layers:+,}$(descriptor "$OCI_LAYER" "$layer")"
	done
	printf '{"schemaVersion":2,"mediaType":"%s","config":%s,"layers":[%s]}' \
		"$OCI_MANIFEST" "$(descriptor "$OCI_CONFIG" "$config")" \
		"$layers" >"$file"
}

# manifest_put FILE REPO REFERENCE [TYPE] [REGISTRY]: sets HTTP_STATUS
manifest_put()
{
	http PUT "${5:-$(registry proxy)}/v2/$2/manifests/$3" \
		-H "Content-Type: ${4:-$OCI_MANIFEST}" --data-binary "@$1"
}

# image_push REPO TAG LAYER...: configuration, layers, manifest, tag; prints
# the manifest's digest
image_push()
{
	local repo=$1 tag=$2 dir layer
	shift 2
	dir=$(mktemp -d "$WORK/image.XXXXXX")
	config_make "$dir/config" "$@"
	manifest_make "$dir/manifest" "$dir/config" "$@"
	for layer in "$dir/config" "$@"; do
		blob_push "$layer" "$repo" >/dev/null
	done
	manifest_put "$dir/manifest" "$repo" "$tag"
	expect_status 201 "PUT of manifest $repo:$tag"
	digest_of "$dir/manifest"
}

# blob_get AGENT REPO DIGEST FILE [RANGE]: whole, or bytes=RANGE; sets
# HTTP_STATUS, and the body is moved to FILE
blob_get()
{
	http GET "$(registry "$1")/v2/$2/blobs/$3" ${5:+-H "Range: bytes=$5"}
	mv "$WORK/http.body" "$4"
	: >"$WORK/http.body"
}

# layer_make TAR BYTES [SEED]: a real layer: /data of incompressible bytes
layer_make()
{
	local dir
	dir=$(mktemp -d "$WORK/layer.XXXXXX")
	blob_make "$dir/data" "$2" "${3:-0}"
	tar -C "$dir" --sort=name --owner=0 --group=0 --mtime=@0 -cf "$1" data
	rm -rf "$dir"
}

work_open
ports_open
