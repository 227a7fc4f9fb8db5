# bench/dataplane/case_scaling.sh - what a second reactor adds.  Sourced by
# dataplane.sh.
# shellcheck shell=bash
#
# Clients need the same two cores, so that one reactor with a core and two with
# two cannot be compared here.  Instead, with clients that leave the bytes in
# the kernel:
#
#	1-reactor    each reactor has SHARE_MS of SHARE_PERIOD_MS, whatever
#	             else runs, and no more (SCHED_DEADLINE, sched(7)): two
#	             have twice the time of one
#	2-processes  nothing is limited; of two origins with a reactor each
#	             nothing is shared but the kernel

readonly SHARE_MS=10 SHARE_PERIOD_MS=100
readonly LIMITED1=15500 LIMITED2=15600 TWIN=15700

# share_of_core NAME: each reactor of that server
share_of_core()
{
	local task name
	for task in "/proc/${PID[$1]}"/task/*; do
		name=$(cat "$task/comm")
		# the first thread is a reactor, others of its name are not
		case $name:${task##*/} in
		kraken:"${PID[$1]}" | reactor-*) ;;
		*) continue ;;
		esac
		chrt --reset-on-fork --deadline \
			--sched-runtime ${SHARE_MS}000000 \
			--sched-period ${SHARE_PERIOD_MS}000000 \
			--pid 0 "${task##*/}" || return
	done
}

scaling_client() # CONNECTIONS SERVER PORT [CORE]
{
	taskset -c "${4:-0-1}" "$BIN/dp_drain" --way peer --port $(($3 + 1)) \
		--meta "$BLOBS/layer.meta" --connections "$1" --due $((24 << 20)) \
		--discard 1 --seconds "$SECONDS_EACH" --pids "${PID[$2]}"
}

limited_two() { scaling_client 128 limited2 $LIMITED2; }
limited_one() { scaling_client 64 limited1 $LIMITED1; }

# four_clients SERVER PORT SERVER PORT: one on each core for each of the two,
# which may be the same
four_clients()
{
	local i pids=() pid
	for i in 0 1; do
		scaling_client 16 "$1" "$2" $i >"$WORK/client.$i" &
		pids+=($!)
		scaling_client 16 "$3" "$4" $i >"$WORK/client.$((i + 2))" &
		pids+=($!)
	done
	for pid in "${pids[@]}"; do
		wait "$pid" || return
	done
	# Two clients of one server have both counted its time.
	for i in 0 1 2 3; do
		echo "$(value gbs "$WORK/client.$i")" \
			"$(value bytes "$WORK/client.$i")" \
			"$(value server_s "$WORK/client.$i")"
	done | awk -v servers="$([ "$1" = "$3" ] && echo 1 || echo 2)" '
		{ gbs += $1; bytes += $2; s += $3 }
		END { printf "gbs=%.4f server_cpu=%.4f\n", gbs,
			s / NR * servers / bytes * 1e9 }'
}

free_two() { four_clients origin $ORIGIN origin $ORIGIN; }
free_twins() { four_clients twin1 $TWIN twin2 $((TWIN + 100)); }

case_scaling()
{
	local name metrics="gbs:GB/s server_cpu:CPU-s/GB"
	local swarm="swarm: {upload_slots: 64, degree_seed_max: 4096, connections: 4096}"
	use "$DISK"
	blob_make layer "$SIZE"
	for name in limited1 limited2 origin twin1 twin2; do
		store_fill "$DATA/$name" layer
	done
	kraken_start limited1 origin $LIMITED1 "$swarm" "reactors: 1"
	kraken_start limited2 origin $LIMITED2 "$swarm" "reactors: 2"
	share_of_core limited1
	share_of_core limited2
	compare scaling_limited 64 warm "$metrics" limited_two \
		1-reactor=limited_one
	stop limited1 limited2
	origin_start "$swarm" "reactors: 2" 'reactor_cpus: ["0", "1"]'
	kraken_start twin1 origin $TWIN "$swarm" "reactors: 1" \
		'reactor_cpus: ["0"]'
	kraken_start twin2 origin $((TWIN + 100)) "$swarm" "reactors: 1" \
		'reactor_cpus: ["1"]'
	compare scaling 64 warm "$metrics" free_two 2-processes=free_twins
}
