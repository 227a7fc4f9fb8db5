# bench/swarm_real/crowd.sh - thousands of agents in a few processes, on
# loopback, with a store each.  Sourced by swarm_real.sh.
# shellcheck shell=bash

SIZE=${SIZE:-$((4 << 20))}      # of the blob: pieces of 256 KiB
ORIGINS=${ORIGINS:-2}
PROCESSES=${PROCESSES:-8}       # of agents, that may have 20,000 descriptors
DEGREE=${DEGREE:-8}             # neighbours wanted, of 18: twice as many at
                                # most, and four times as many connections
START_MS=${START_MS:-}          # agents start within; nothing: 8 ms each, some
                                # 500 MB/s, which is more than two cores serve
WINDOW=${WINDOW:-$((1 << 20))}  # asked for at once, per agent
WITHIN=${WITHIN:-300}           # seconds

role_ready() { curl -fs -o /dev/null -m 2 "http://127.0.0.1:$1/health"; }

services_start()
{
	local i list= names=()
	for ((i = 0; i < ORIGINS; i++)); do
		list+="${list:+, }\"127.0.0.1:$((1100 + i))\""
		conf_origin "origin$i" 127.0.0.1 $((1200 + i)) \
			$((1300 + i)) $((1100 + i))
		store_fill "$WORK/data/origin$i" "$WORK/blob" "$HEX"
		"$BUILD/kraken" origin --config "$WORK/conf/origin$i.yaml" \
			>"$WORK/log/origin$i" 2>&1 </dev/null &
	done
	conf_tracker 127.0.0.1 1000 1001 "$list" "$ORIGINS"
	"$BUILD/kraken" tracker --config "$WORK/conf/tracker.yaml" \
		>"$WORK/log/tracker" 2>&1 </dev/null &
	wait_for 30 role_ready 1000
	for ((i = 0; i < ORIGINS; i++)); do
		wait_for 30 role_ready $((1200 + i))
		names+=("origin$i")
	done
	metainfo_make
	meta_spread "$HEX" "${names[@]}"
}

# By a HEAD to an agent, which downloads nothing and is stopped then.
metainfo_make()
{
	conf_agent warm 127.0.0.1 '"127.0.0.1:1001"'
	"$BUILD/kraken" agent --config "$WORK/conf/warm.yaml" \
		>"$WORK/log/warm" 2>&1 </dev/null &
	wait_for 30 metainfo_known "http://127.0.0.1:16000/v2/bench/crowd/blobs/sha256:$HEX"
	kill "$!"
	wait "$!" || fail "the agent did not stop well"
}

need_memory() # MIB
{
	local have
	have=$(awk '$1 == "MemAvailable:" { print int($2 / 1024) }' \
		/proc/meminfo)
	[ "$have" -ge "$1" ] ||
		cannot "the stores are in memory: $1 MiB are needed," \
			"$have there"
}

main()
{
	local agents=${1:-2600} ticks
	need_memory $((agents * SIZE / 1048576 + 3000))
	START_MS=${START_MS:-$((8 * agents))}
	[ "$PROCESSES" -le "$agents" ] || PROCESSES=$agents
	blob_make "$WORK/blob" "$SIZE"
	HEX=$(sha256sum <"$WORK/blob")
	HEX=${HEX%% *}
	sysctl -qw net.ipv4.ip_local_port_range="15000 65535"
	services_start
	mkdir "$WORK/stores"
	ticks=$(cpu_ticks)
	"$BUILD/bench/swarm_real" --tracker 127.0.0.1:1001 \
		--digest "sha256:$HEX" --dir "$WORK/stores" \
		--agents "$agents" --processes "$PROCESSES" \
		--start-ms "$START_MS" --window "$WINDOW" --degree "$DEGREE" \
		--deadline-s "$WITHIN" ||
		fail "not every agent has the blob, or not every piece was verified"
	echo "  all cores $(cpu_busy "$ticks") % busy, opening and checking" \
		"included"
}
