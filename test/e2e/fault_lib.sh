# test/e2e/fault_lib.sh - what fault_*_test.sh and limit_*_test.sh share:
# transfers that can be caught in the middle.  Sources lib.sh.
# shellcheck shell=bash
#
#	FAULT_NETWORK=1                  # before sourcing: see below
#	. "$(dirname "$0")/fault_lib.sh"
#
# With FAULT_NETWORK=1 the script runs itself again in a network and a mount
# namespace of its own, so that links can be shaped and disks be small: both
# vanish with it, however it ends.  Needs root, else the test is skipped.

if [ "${FAULT_NETWORK:-0}" = 1 ] && [ "${FAULT_IS_INSIDE:-0}" != 1 ]; then
	if ! unshare --net --mount true 2>/dev/null; then
		echo "SKIPPED: cannot make namespaces here (not root?)" >&2
		exit 77
	fi
	FAULT_IS_INSIDE=1 exec unshare --net --mount --propagation private \
		bash "$0" "$@"
fi

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

if [ "${FAULT_NETWORK:-0}" = 1 ]; then
	need ip tc
	ip link set lo up
	# bbr, where it is the default, paces badly on loopback
	sysctl -qw net.ipv4.tcp_congestion_control=reno
fi

# ---- links ---------------------------------------------------------------

SHAPED=0

# shape NAME RATE (of tc: 160mbit): what peers get from NAME, in all
shape()
{
	[ "$SHAPED" -gt 0 ] || tc qdisc add dev lo root handle 1: htb ||
		skip "this kernel has no htb: links cannot be shaped"
	SHAPED=$((SHAPED + 1))
	tc class add dev lo parent 1: classid "1:$SHAPED" htb rate "$2" \
		burst 256k cburst 256k quantum 65536
	tc filter add dev lo parent 1: protocol ip prio 1 u32 \
		match ip protocol 6 0xff \
		match ip sport "${PORT_OF["$1 peer"]}" 0xffff \
		flowid "1:$SHAPED"
}

unshape()
{
	tc qdisc del dev lo root
	SHAPED=0
}

# small_disk NAME MIB: the store of NAME (not started yet) is a tmpfs
small_disk()
{
	mkdir -p "$WORK/data/$1"
	mount -t tmpfs -o "size=$2m" none "$WORK/data/$1" ||
		skip "cannot mount a tmpfs here"
	SMALL_DISKS+=("$WORK/data/$1")
}
declare -a SMALL_DISKS

hook_cleanup()
{
	local dir
	for dir in "${SMALL_DISKS[@]}"; do
		mountpoint -q "$dir" && umount -l "$dir"
	done
}

# ---- looking -------------------------------------------------------------

# metric_sum NAME PREFIX: of all series that begin so
metric_sum()
{
	curl -fsS -m 10 "$(server "$1")/metrics" | awk -v prefix="$2" '
		index($0, prefix) == 1 { sum += $NF }
		END { printf "%.0f\n", sum }'
}

# Payload from peers, since the process started.
bytes_in() { metric_sum "$1" 'kraken_transfer_bytes_total{direction="in"'; }
bytes_out() { metric_sum "$1" 'kraken_transfer_bytes_total{direction="out"'; }

bytes_in_ge() { [ "$(bytes_in "$1")" -ge "$2" ]; }
metric_eq() { [ "$(metric "$1" "$2")" = "$3" ]; }
metric_ge() { [ "$(metric "$1" "$2")" -ge "$3" ]; }
log_has() { grep -qE -- "$2" "$WORK/log/$1"; }
descriptors() { find "/proc/${PID_OF[$1]}/fd" -mindepth 1 | wc -l; }

# log_field NAME LINE KEY: of the last line that matches, its KEY=NUMBER
log_field()
{
	grep -E -- "$2" "$WORK/log/$1" | tail -n 1 |
		sed -nE "s/.*$3=\"?([0-9]+).*/\1/p"
}

# stored NAME DIGEST: the file of a complete blob
stored()
{
	local hex=${2#sha256:}
	echo "$WORK/data/$1/blobs/sha256/${hex:0:2}/$hex"
}

# ---- clients -------------------------------------------------------------

# push_chunked FILE REPO: as docker does, who does not know how long it will be;
# prints the digest
push_chunked()
{
	local digest UPLOAD
	digest=$(digest_of "$1")
	upload_open "$2" "$(registry proxy)"
	http PATCH "$UPLOAD" -T - -H 'Transfer-Encoding: chunked' \
		-H 'Content-Type: application/octet-stream' <"$1"
	expect_status 202 "PATCH in chunks"
	http PUT "$(with_digest "$(location "$(registry proxy)")" "$digest")" \
		-H 'Content-Length: 0'
	expect_status 201 "PUT of what came in chunks"
	echo "$digest"
}

# get_start AGENT REPO DIGEST FILE [curl arguments]: in the background;
# GET_PID is the client, its figures go to FILE.said
get_start()
{
	local agent=$1 repo=$2 digest=$3 file=$4
	shift 4
	spawn "$file.said" curl -s -m 80 -o "$file" \
		-w 'status=%{http_code} seconds=%{time_total} bytes=%{size_download}\n' \
		"$@" "$(registry "$agent")/v2/$repo/blobs/$digest"
	GET_PID=$SPAWNED
}

# get_end PID: its exit status in GET_STATUS
get_end()
{
	GET_STATUS=0
	wait "$1" || GET_STATUS=$?
}

# get_same AGENT REPO DIGEST: a whole GET gives the bytes of the digest
get_same()
{
	local got
	got=$(curl -fsS -m 80 "$(registry "$1")/v2/$2/blobs/$3" | sha256sum)
	expect_eq "sha256:${got%% *}" "$3" "content of $3 from $1"
}
