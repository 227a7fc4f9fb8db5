#!/usr/bin/env bash
# bench/swarm_real/swarm_real.sh - real agents, real sockets, the real engine.
#
#	swarm_real.sh crowd [AGENTS]    # many agents in a few processes
#	swarm_real.sh hosts [HOSTS]     # a process and a network each, against
#	                                # what swarm_sim predicts
#
# What can be set is at the top of crowd.sh and hosts.sh, by environment.
# BUILD is the build folder.
#
# Needs root: everything happens in network, mount and process namespaces of
# its own, which vanish with all that is in them, however this ends.
# Exit status: 0 as it should be, 1 not so, 2 cannot run here.

set -Eeuo pipefail
shopt -s inherit_errexit
export LC_ALL=C
unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY all_proxy ALL_PROXY

HERE=$(cd "$(dirname "$0")" && pwd)
ROOT=$(cd "$HERE/../.." && pwd)
BUILD=${BUILD:-$ROOT/build/bench}
WORK=/mnt # a tmpfs there, in our mount namespace

cannot() { echo "swarm_real: $*" >&2; exit 2; }

case ${1:-} in
crowd | hosts) ;;
*) cannot "usage: swarm_real.sh crowd|hosts [COUNT]" ;;
esac

if [ "${SWARM_REAL_INSIDE:-0}" != 1 ]; then
	unshare --net --mount --pid --fork true 2>/dev/null ||
		cannot "needs root, to make namespaces"
	for f in kraken bench/swarm_real bench/swarm_sim; do
		[ -x "$BUILD/$f" ] || cannot "$BUILD/$f is not built"
	done
	SWARM_REAL_INSIDE=1 exec unshare --net --mount --pid --fork \
		--kill-child --mount-proc --propagation private \
		bash "$0" "$@"
fi

# ---- inside: we are process 1, and all others end with us ------------------

trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'echo "swarm_real: failed in line $LINENO: $BASH_COMMAND" >&2' ERR

mount -t tmpfs -o size=90% none "$WORK"
mount -t tmpfs none /run # of ip-netns(8)
mkdir "$WORK/log" "$WORK/conf" "$WORK/data" /run/netns
ip link set lo up
ulimit -n "$(ulimit -Hn)"

fail()
{
	echo "FAILED: $*" >&2
	for log in "$WORK"/log/*; do
		if grep -aqE ' (warn|error) ' "$log"; then
			echo "---- ${log##*/}" >&2
			grep -aE ' (warn|error) ' "$log" | tail -n 5 >&2
		fi
	done
	exit 1
}

now_ms() { local t=${EPOCHREALTIME/[.,]/}; echo $((t / 1000)); }

# wait_for SECONDS COMMAND...
wait_for()
{
	local end=$(($(now_ms) + $1 * 1000))
	shift
	until "$@"; do
		[ "$(now_ms)" -lt "$end" ] || fail "not in time: $*"
		sleep 0.1
	done
}

# blob_make FILE BYTES: incompressible, always the same
blob_make()
{
	head -c "$2" /dev/zero |
		openssl enc -aes-128-ctr -nosalt -iv 0 -K 5eed 2>/dev/null >"$1"
}

# store_fill DIR FILE HEX: as if it had been pushed there
store_fill()
{
	mkdir -p "$1/blobs/sha256/${3:0:2}"
	cp "$2" "$1/blobs/sha256/${3:0:2}/$3"
}

# meta_spread HEX NAME...: what one origin has made is given to the others, as
# a push does; an origin serves no peer a blob whose metainfo it never made
meta_spread()
{
	local hex=$1 name from=
	shift
	for name in "$@"; do
		[ ! -e "$WORK/data/$name/meta/$hex" ] ||
			from=$WORK/data/$name/meta/$hex
	done
	[ -n "$from" ] || fail "no origin has made the metainfo"
	for name in "$@"; do
		[ -e "$WORK/data/$name/meta/$hex" ] ||
			cp "$from" "$WORK/data/$name/meta/$hex"
	done
}

# conf_origin NAME IP PORT-OF-SERVER PEER RPC
conf_origin()
{
	cat >"$WORK/conf/$1.yaml" <<-END
	cluster: bench
	bind_ip: $2
	server: {port: $3}
	peer: {ip: $2, port: $4}
	rpc: {port: $5}
	store: {dir: $WORK/data/$1}
	log: {level: warn}
	END
}

# conf_tracker IP SERVER RPC ORIGIN,... REPLICAS
conf_tracker()
{
	cat >"$WORK/conf/tracker.yaml" <<-END
	cluster: bench
	bind_ip: $1
	server: {port: $2}
	rpc: {port: $3}
	origin: {hosts: {static: [$4]}, replicas: $5}
	health: {interval: 200ms}
	log: {level: warn}
	END
}

# conf_agent NAME IP TRACKER: nobody asks for a tag, so its build-index is a
# port where nobody listens
conf_agent()
{
	cat >"$WORK/conf/$1.yaml" <<-END
	cluster: bench
	registry: {ip: 127.0.0.1, port: 16000}
	server: {port: 16002}
	peer: {ip: $2, port: 16001}
	tracker: {hosts: {static: [$3]}}
	build_index: {hosts: {static: ["$2:9"]}}
	store: {dir: $WORK/data/$1}
	limits: {work_threads: 2}
	log: {level: warn}
	END
}

# metainfo_known URL [COMMAND...]: a HEAD of the blob by way of an agent.  It
# downloads nothing; an origin makes the metainfo, the tracker remembers it.
metainfo_known()
{
	local url=$1
	shift
	"$@" curl -fsI -o /dev/null -m 5 "$url"
}

# cpu_ticks: busy and all, of the whole machine
cpu_ticks()
{
	awk '$1 == "cpu" { print $2 + $3 + $4 + $7 + $8, \
		$2 + $3 + $4 + $5 + $6 + $7 + $8 }' /proc/stat
}

# cpu_busy "TICKS BEFORE": percent busy since
cpu_busy()
{
	echo "$1 $(cpu_ticks)" |
		awk '{ printf "%.0f\n", 100 * ($3 - $1) / ($4 - $2) }'
}

# shellcheck source=/dev/null
. "$HERE/$1.sh"
shift
main "$@"
