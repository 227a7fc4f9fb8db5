# test/demo/figures.sh - sourced: what a step took, and where its bytes came
# from, as the metrics of the processes tell.

watch_pid=""
report=""

# metric TEXT NAME - the value of a metric in the text of /metrics, or 0
metric() {
	awk -v name="$2" '$1 == name { v = $2 } END { printf "%.0f", v }' \
		<<<"$1"
}

metrics_of() {
	curl -fsS --noproxy '*' --max-time 5 "http://$1/metrics"
}

# bytes_in TEXT ROLE
bytes_in() {
	metric "$1" "kraken_transfer_bytes_total{direction=\"in\",peer=\"$2\"}"
}

mib() { awk -v b="$1" 'BEGIN { printf "%.1f MiB", b / 1048576 }'; }

# print_rate LABEL BYTES NANOSECONDS
print_rate() {
	awk -v label="$1" -v b="$2" -v ns="$3" 'BEGIN {
		printf "  %s: %.1f MiB in %.2f s, %.0f MiB/s\n", label,
			b / 1048576, ns / 1e9, b / 1048576 / (ns / 1e9) }'
}

# before SERVER ... after SERVER LABEL: the step between them
before() {
	local text
	text=$(metrics_of "$1") || fail "no metrics at $1"
	agents_then=$(bytes_in "$text" agent)
	origins_then=$(bytes_in "$text" origin)
	step_then_ns=$(date +%s%N)
}

# What is counted is told within a moment; ask until nothing changes.
settled_metrics() {
	local text last=""
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		text=$(metrics_of "$1") || return 1
		[ "$(bytes_in "$text" agent)/$(bytes_in "$text" origin)" != \
			"$last" ] || break
		last=$(bytes_in "$text" agent)/$(bytes_in "$text" origin)
		sleep 0.3
	done
	printf '%s\n' "$text"
}

after() {
	local ns text agents origins
	ns=$(($(date +%s%N) - step_then_ns))
	text=$(settled_metrics "$1") || fail "no metrics at $1"
	agents=$(($(bytes_in "$text" agent) - agents_then))
	origins=$(($(bytes_in "$text" origin) - origins_then))
	print_rate "$2" "$big_bytes" $ns
	printf '  from origins %s, from other agents %s\n' \
		"$(mib $origins)" "$(mib $agents)"
	report+=$(printf '  %-10s %12s %12s %12s' "$2" \
		"$(awk -v ns=$ns 'BEGIN { printf "%.2f s", ns / 1e9 }')" \
		"$(mib $origins)" "$(mib $agents)")$'\n'
	[ $((agents + origins)) -ge "$big_bytes" ] ||
		fail "$2 did not fetch the layer from the swarm"
	agents_gave=$agents
}

summary() {
	say "where the bytes of each agent came from"
	printf '  %-10s %12s %12s %12s\n' "" "time" "origins" "other agents"
	printf '%s' "$report"
}

# A line a second while a client works.
watch() {
	local text
	while sleep 1; do
		text=$(metrics_of "$1" 2>/dev/null) || continue
		printf '  ... from origins %s, from other agents %s\n' \
			"$(mib $(($(bytes_in "$text" origin) - origins_then)))" \
			"$(mib $(($(bytes_in "$text" agent) - agents_then)))"
	done
}

start_watch() {
	watch "$1" &
	watch_pid=$!
}

stop_watch() {
	[ -n "$watch_pid" ] || return 0
	kill "$watch_pid" 2>/dev/null || true
	wait "$watch_pid" 2>/dev/null || true
	watch_pid=""
}
