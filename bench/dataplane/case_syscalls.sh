# bench/dataplane/case_syscalls.sh - system calls and context switches for each
# MiB.  Sourced by dataplane.sh.
# shellcheck shell=bash

switches() # NAME: of all its threads, up to now
{
	cat "/proc/${PID[$1]}"/task/*/status |
		awk '/ctxt_switches/ { s += $2 } END { print s }'
}

# traced SERVER COMMAND...: COMMAND twice, with the server under strace(1) and
# without
traced()
{
	local server=$1 tracer before
	shift
	strace -f -c -o "$WORK/strace" -p "${PID[$server]}" 2>/dev/null &
	tracer=$!
	sleep 0.3
	"$@" >"$WORK/traced" || return
	kill -INT $tracer
	wait $tracer || :
	before=$(switches "$server")
	"$@" >"$WORK/free" || return

	echo "$(awk '$NF == "total" { print $4 }' "$WORK/strace")" \
		"$(value all_bytes "$WORK/traced")" \
		"$(($(switches "$server") - before))" \
		"$(value all_bytes "$WORK/free")" | awk '{
		printf "calls=%.3f switches=%.3f\n", $1 * 1048576 / $2,
			$3 * 1048576 / $4 }'
}

traced_ours() { traced agent serve_ours; }
traced_nginx() { traced nginx serve_nginx; }

# traced_client COMMAND...: the same of a client that moves a layer
traced_client()
{
	local name=$1
	shift
	strace -f -c -o "$WORK/strace_$name.txt" "$@" >/dev/null ||
		return
	/usr/bin/time -f "%c %w" -o "$WORK/switches" "$@" >/dev/null ||
		return
	echo "$(awk '$NF == "total" { print $4 }' \
		"$WORK/strace_$name.txt")" \
		"$(cat "$WORK/switches") $SIZE" | awk '{
		printf "calls=%.3f switches=%.3f\n", $1 * 1048576 / $4,
			($2 + $3) * 1048576 / $4 }'
}

traced_fetch()
{
	rm -rf "$DATA/fetch"
	mkdir -p "$DATA/fetch"
	traced_client fetch bash -c "rm -rf $DATA/fetch/*
		exec $BIN/dp_fetch --peer 127.0.0.1:$((ORIGIN + 1)) \
		--meta $BLOBS/layer.meta --dir $DATA/fetch"
}

traced_epollget()
{
	traced_client epollget "$BIN/dp_epollget" --port $NGINX --path /layer \
		--file "$WORK/got" --digest "$(blob_hex layer)"
}

case_syscalls()
{
	local metrics="calls:calls/MiB switches:switches/MiB" SERVER_CORE=0
	local RUNS=3
	mkdir -p "$OUT"
	use "$DISK"
	nginx_start
	blob_make layer "$SIZE"
	store_fill "$DATA/agent" layer
	nginx_blob layer
	agent_start agent $AGENT
	BLOB=layer
	for CONNS in 1 64; do
		compare syscalls_get "$CONNS" warm "$metrics" traced_ours \
			nginx=traced_nginx
	done
	stop agent nginx
	unset SERVER_CORE
	use "$WORK"
	nginx_start
	blob_make layer "$SIZE"
	store_fill "$DATA/origin" layer
	nginx_blob layer
	origin_start
	compare syscalls_download 1 fresh "$metrics" traced_fetch \
		epollget=traced_epollget
}
