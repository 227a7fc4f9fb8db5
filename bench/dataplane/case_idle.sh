# bench/dataplane/case_idle.sh - peers that are connected, know of a blob, and
# want nothing.  Sourced by dataplane.sh.
# shellcheck shell=bash

IDLE=${IDLE:-10000}

anon_kib() # NAME
{
	sed -n 's/^RssAnon:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/${PID[$1]}/status"
}

idle_peers()
{
	local before after
	# Each reactor may have its part of them, and the kernel deals unevenly.
	origin_start "swarm: {degree_seed_max: $((2 * IDLE)), connections: $((IDLE + IDLE / 8))}"
	before=$(anon_kib origin)
	"$BIN/dp_drain" --way peer --port $((ORIGIN + 1)) \
		--meta "$BLOBS/layer.meta" --connections "$IDLE" --due 0 \
		--warm 6 --seconds 8 --pids "${PID[origin]}" >"$WORK/idle" &
	sleep 12
	after=$(anon_kib origin)
	wait $! || return
	stop origin
	awk -v s="$(value server_s "$WORK/idle")" \
		-v t="$(value seconds "$WORK/idle")" \
		-v a="$before" -v b="$after" 'BEGIN {
		printf "mib=%.2f percent=%.3f\n", (b - a) / 1024, 100 * s / t }'
}

# What the issue asks for.
idle_bound() { echo "mib=40 percent=1"; }

case_idle()
{
	local RUNS=1
	use "$WORK"
	blob_make layer $((64 << 20))
	store_fill "$DATA/origin" layer
	compare idle_peers "$IDLE" - "mib:MiB percent:%" idle_peers \
		bound=idle_bound
}
