# bench/swarm_real/hosts.sh - hosts with a network of their own, one agent
# each, and the difference to what swarm_sim predicts.  Sourced by
# swarm_real.sh.
# shellcheck shell=bash
#
#	host --tbf--> veth --> router (our own namespace) --tbf--> veth --> host
#
# Rates are of payload: tbf counts frames of 1514 bytes that carry 1448.

CAP=${CAP:-3000000}           # bytes per second of a host, each way
SIZE=${SIZE:-$((64 << 20))}   # of the blob
ORIGINS=${ORIGINS:-2}
START_MS=${START_MS:-500}     # clients start evenly within
SEEDS=${SEEDS:-5}             # of the prediction
TOLERANCE=${TOLERANCE:-20}    # percent, of p99
LIMIT=${LIMIT:-256k}          # what a link queues before it drops
BURST=${BURST:-128k}        # no less, or every segment is cut by hand
WITHIN=${WITHIN:-300}         # seconds; then it has failed
SCENARIO=${SCENARIO:-$ROOT/bench/scenarios/real20.yaml}
SIM=${SIM:-$BUILD/bench/swarm_sim}
OUT=${OUT:-}                  # a file for the times of the hosts
SYSCTL=${SYSCTL:-}            # of each host, as net.ipv4.tcp_wmem=...
AGENT_ARGS=${AGENT_ARGS:-}    # as --set swarm.window_min=1MiB
SIM_ARGS=${SIM_ARGS:-}        # the same to swarm_sim

# ip_of INDEX: of host, origins after the hosts
ip_of() { echo "10.$((77 + $1 / 250)).$(($1 % 250 + 1)).2"; }

# host_make INDEX: a namespace h<INDEX>, capped both ways
host_make()
{
	local name=h$1 ip tbf
	ip=$(ip_of "$1")
	tbf="root tbf rate $((CAP * 8 * 1514 / 1448))bit burst $BURST limit $LIMIT"
	ip netns add "$name"
	ip link add "v$1" type veth peer name eth0 netns "$name"
	ip addr add "${ip%.2}.1/30" dev "v$1"
	ip link set "v$1" up
	ip -n "$name" link set lo up
	ip -n "$name" addr add "$ip/30" dev eth0
	ip -n "$name" link set eth0 up
	ip -n "$name" route add default via "${ip%.2}.1"
	# shellcheck disable=SC2086
	tc qdisc add dev "v$1" $tbf
	# shellcheck disable=SC2086
	tc -n "$name" qdisc add dev eth0 $tbf
	# bbr, where it is the default, does not share a shaped link
	ip netns exec "$name" sysctl -qw net.ipv4.tcp_congestion_control=reno
	# shellcheck disable=SC2086
	[ -z "$SYSCTL" ] || ip netns exec "$name" sysctl -qw $SYSCTL
}

run_in() # NAMESPACE ROLE NAME [ARGS]
{
	local ns=$1 role=$2 name=$3
	shift 3
	ip netns exec "$ns" "$BUILD/kraken" "$role" \
		--config "$WORK/conf/$name.yaml" "$@" \
		>"$WORK/log/$name" 2>&1 </dev/null &
}

host_ready()
{
	ip netns exec "h$1" curl -fs -o /dev/null -m 2 \
		"http://$2/health"
}

world_start()
{
	local i list= origins=()
	ROUTER=10.77.1.1
	sysctl -qw net.ipv4.ip_forward=1
	for ((i = 0; i < HOSTS + ORIGINS; i++)); do
		host_make "$i"
	done
	for ((i = HOSTS; i < HOSTS + ORIGINS; i++)); do
		list+="${list:+, }\"$(ip_of "$i"):15002\""
		conf_origin "h$i" "$(ip_of "$i")" 15001 15005 15002
		store_fill "$WORK/data/h$i" "$WORK/blob" "$HEX"
		run_in "h$i" origin "h$i"
	done
	conf_tracker "$ROUTER" 15006 15003 "$list" "$ORIGINS"
	"$BUILD/kraken" tracker --config "$WORK/conf/tracker.yaml" \
		>"$WORK/log/tracker" 2>&1 </dev/null &
	for ((i = 0; i < HOSTS; i++)); do
		conf_agent "h$i" "$(ip_of "$i")" "\"$ROUTER:15003\""
		# shellcheck disable=SC2086
		run_in "h$i" agent "h$i" $AGENT_ARGS
	done
	for ((i = 0; i < HOSTS; i++)); do
		wait_for 30 host_ready "$i" 127.0.0.1:16002
	done
	for ((i = HOSTS; i < HOSTS + ORIGINS; i++)); do
		wait_for 30 host_ready "$i" "$(ip_of "$i"):15001"
	done
	wait_for 30 metainfo_known "$URL" ip netns exec h0
	for ((i = HOSTS; i < HOSTS + ORIGINS; i++)); do
		origins+=("h$i")
	done
	meta_spread "$HEX" "${origins[@]}"
}

client() # INDEX MS-TO-START-AT
{
	local wait=$(($2 - $(now_ms)))
	[ "$wait" -le 0 ] || sleep "$((wait / 1000)).$(printf %03d $((wait % 1000)))"
	ip netns exec "h$1" curl -fs -o /dev/null -m "$WITHIN" \
		-w '%{time_total} %{time_starttransfer} %{size_download}\n' \
		"$URL" >"$WORK/client/$1"
}

clients_run()
{
	local i at pids=()
	mkdir -p "$WORK/client"
	at=$(($(now_ms) + 1500))
	for ((i = 0; i < HOSTS; i++)); do
		client "$i" $((at + i * START_MS / HOSTS)) &
		pids+=($!)
	done
	for i in "${pids[@]}"; do
		wait "$i" || fail "a client got no blob within $WITHIN s"
	done
}

# metric SERIES-PREFIX INDEX ADDRESS: the sum
metric()
{
	ip netns exec "h$2" curl -fs -m 5 "http://$3/metrics" |
		awk -v p="$1" 'index($0, p) == 1 { s += $NF }
			END { printf "%.0f\n", s }'
}

# sum SERIES-PREFIX: over the agents
sum()
{
	local i total=0
	for ((i = 0; i < HOSTS; i++)); do
		total=$((total + $(metric "$1" "$i" 127.0.0.1:16002)))
	done
	echo "$total"
}

stores_check()
{
	local i got
	for ((i = 0; i < HOSTS; i++)); do
		got=$(sha256sum <"$WORK/data/h$i/blobs/sha256/${HEX:0:2}/$HEX")
		[ "${got%% *}" = "$HEX" ] || fail "h$i: stored something else"
	done
}

report_traffic()
{
	local piece=kraken_transfer_pieces_total in=kraken_transfer_bytes_total
	local verified failed
	verified=$(sum "$piece{verdict=\"verified\"}")
	failed=$(sum "$piece{verdict=\"failed\"}")
	echo "  pieces verified $verified, failed $failed;" \
		"from origins $(sum "$in{direction=\"in\",peer=\"origin\"}" |
			awk -v s="$SIZE" '{ printf "%.2f", $1 / s }') copies;" \
		"duplicate $(sum kraken_transfer_duplicate_bytes_total)," \
		"discarded $(sum kraken_transfer_discarded_bytes_total) bytes;" \
		"overdue $(sum kraken_transfer_overdue_total)"
	[ "$failed" = 0 ] || fail "pieces that did not match"
}

# What TCP and the links did, of all hosts and origins, since they are there.
report_links()
{
	local i
	for ((i = 0; i < HOSTS + ORIGINS; i++)); do
		tc -s qdisc show dev "v$i" >>"$WORK/down"
		tc -n "h$i" -s qdisc show dev eth0 >>"$WORK/up"
		ip netns exec "h$i" cat /proc/net/snmp >>"$WORK/snmp"
	done
	awk 'FILENAME ~ /snmp$/ && $1 == "Tcp:" && $2 ~ /^[0-9]/ {
			out += $12; again += $13 }
		$1 == "Sent" { gsub(/[^0-9 ]/, " "); n = split($0, f, " ")
			bytes[FILENAME] += f[1]; drops[FILENAME] += f[3] }
		END { printf "  tcp: %d segments, %.2f %% again;", out,
				100 * again / out
			for (n in bytes) { short = n; sub(/.*\//, "", short)
				printf " links %s: %.1f MB, %d drops;", short,
					bytes[n] / 1e6, drops[n] }
			printf "\n" }' "$WORK/snmp" "$WORK/up" "$WORK/down"
}

# quantiles FILE-OF-SORTED-NUMBERS: p50 p99 max, as swarm_sim takes them
quantiles()
{
	awk '{ t[NR - 1] = $1 } function q(x) { i = int(x * NR);
		return t[i < NR ? i : NR - 1] }
		END { printf "%.3f %.3f %.3f\n", q(.5), q(.99), t[NR - 1] }' "$1"
}

predict()
{
	local seed
	for ((seed = 1; seed <= SEEDS; seed++)); do
		# shellcheck disable=SC2086
		"$SIM" "$SCENARIO" --seed "$seed" $SIM_ARGS \
			--set "hosts=$HOSTS" --set "origins=$ORIGINS" \
			--set "size=$SIZE" --set "up=$CAP" --set "down=$CAP" \
			--set "start=${START_MS}ms" --csv "$WORK/sim.csv" \
			>"$WORK/sim.$seed" ||
			fail "swarm_sim cannot say what is to be expected"
	done
	# seeds are alike: the mean of each quantile
	awk -F, 'NR > 1 { a += $4; b += $5; c += $7; bound = $8; oc += $10; n++ }
		END { printf "%.3f %.3f %.3f %.3f %.2f\n", a / n, b / n, c / n,
			bound, oc / n }' "$WORK/sim.csv"
}

compare() # real p50 p99 max, simulated p50 p99 max bound copies
{
	echo "$@" | awk -v tolerance="$TOLERANCE" '
		function off(a, b) { return 100 * (a / b - 1) }
		{ printf "  %-12s%9s%9s%9s   lower bound %.3f s\n", "seconds",
			"p50", "p99", "max", $7
		  printf "  %-12s%9.3f%9.3f%9.3f\n", "real", $1, $2, $3
		  printf "  %-12s%9.3f%9.3f%9.3f   (origins %.2f copies)\n",
			"simulated", $4, $5, $6, $8
		  printf "  %-12s%+8.1f%%%+8.1f%%%+8.1f%%\n", "difference",
			off($1, $4), off($2, $5), off($3, $6)
		  d = off($2, $5); exit d > tolerance || d < -tolerance }'
}

main()
{
	local ticks busy cpu real simulated
	HOSTS=${1:-30}
	blob_make "$WORK/blob" "$SIZE"
	HEX=$(sha256sum <"$WORK/blob")
	HEX=${HEX%% *}
	URL=http://127.0.0.1:16000/v2/bench/real/blobs/sha256:$HEX
	world_start
	ticks=$(cpu_ticks)
	clients_run
	busy=$(cpu_busy "$ticks")
	cpu=$(cat /proc/[0-9]*/stat 2>/dev/null | awk '$2 == "(kraken)" {
		s += $14 + $15 } END { printf "%.1f", s / 100 }')
	echo "hosts: $HOSTS, origins $ORIGINS, $((SIZE >> 20)) MiB," \
		"$CAP bytes/s both ways, start within $START_MS ms;" \
		"all cores $busy % busy, kraken $cpu s of them"
	sort -n "$WORK"/client/* >"$WORK/times"
	[ -z "$OUT" ] || cp "$WORK/times" "$OUT"
	report_traffic
	report_links
	stores_check
	real=$(quantiles "$WORK/times")
	simulated=$(predict)
	# shellcheck disable=SC2086
	compare $real $simulated ||
		fail "p99 is not within $TOLERANCE % of the prediction"
}
