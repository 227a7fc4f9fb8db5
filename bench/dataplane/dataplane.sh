#!/usr/bin/env bash
# bench/dataplane/dataplane.sh - how fast the engine moves bytes, beside
# programs that people would use instead.
#
#	dataplane.sh [CASE...]     # all; their names: dataplane.sh --list
#
# Ours and each peer run in turn, RUNS times, on the same files; a row of
# results/dataplane.csv has the medians, the ratio of the medians, and the
# least and greatest ratio of two runs of one round.  Exit status: 0 as good
# as gate.csv, 1 worse, 2 cannot run here.
#
# BUILD is the build folder, RUNS, SECONDS_EACH and SIZE the effort.
#
# Needs root: everything happens in network, mount and process namespaces of
# its own, with reno for all, and vanishes with them.

set -Eeuo pipefail
shopt -s inherit_errexit
export LC_ALL=C
unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY all_proxy ALL_PROXY

HERE=$(cd "$(dirname "$0")" && pwd)
ROOT=$(cd "$HERE/../.." && pwd)
BUILD=${BUILD:-$ROOT/build/bench}
KRAKEN=${KRAKEN:-$BUILD/kraken}
BIN=$BUILD/bench
RUNS=${RUNS:-7}
SECONDS_EACH=${SECONDS_EACH:-2}     # of a run that has no end of its own
SIZE=${SIZE:-$((1 << 30))}          # of a layer
COLD_SIZE=${COLD_SIZE:-$((4 << 30))}
OUT=${OUT:-$ROOT/bench/results}
WORK=/mnt                           # a tmpfs there, in our mount namespace

readonly CASES="serve peer scaling download get push latency idle cold syscalls"

cannot() { echo "dataplane: $*" >&2; exit 2; }

if [ "${1:-}" = --list ]; then
	echo "$CASES"
	exit 0
fi

if [ "${DATAPLANE_INSIDE:-0}" != 1 ]; then
	unshare --net --mount --pid --fork true 2>/dev/null ||
		cannot "needs root, to make namespaces"
	[ -x "$KRAKEN" ] || cannot "$KRAKEN is not built"
	DATAPLANE_INSIDE=1 exec unshare --net --mount --pid --fork \
		--kill-child --mount-proc --propagation private \
		bash "$0" "$@"
fi

# ---- inside: we are process 1, and all others end with us ------------------

trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'echo "dataplane: failed in line $LINENO: $BASH_COMMAND" >&2' ERR

DISK=$(mktemp -d "${TMPDIR:-/var/tmp}/dataplane.XXXXXX") # on a real disk
trap 'rm -rf "$DISK"' EXIT
# Huge pages: a virtual machine pays for each page that it touches first.
mount -t tmpfs -o size=90%,huge=always none "$WORK"
mkdir "$WORK/log" "$WORK/conf"
ip link set lo up
sysctl -qw net.ipv4.tcp_congestion_control=reno
ulimit -n "$(ulimit -Hn)"

fail()
{
	echo "FAILED: $*" >&2
	for log in "$WORK"/log/*; do
		[ ! -s "$log" ] || { echo "---- ${log##*/}"; tail -n 3 "$log"; }
	done >&2
	exit 1
}

# shellcheck source=/dev/null
. "$HERE/world.sh"
. "$HERE/compare.sh"
. "$HERE/gate.sh"
for file in "$HERE"/case_*.sh; do
	. "$file"
done

for case in ${*:-$CASES}; do
	echo "$case"
	(
		trap 'stop "${!PID[@]}"' EXIT
		"case_$case"
	) || fail "case $case"
done

sh "$HERE/plot.sh" "$CSV" "${CSV%.csv}" || cannot "gnuplot draws no plot"
gate "$WORK/measured" || exit 1
