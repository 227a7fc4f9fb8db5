# bench/dataplane/case_latency.sh - a small blob while others take large ones.
# Sourced by dataplane.sh.
# shellcheck shell=bash

# beside BACKGROUND FOREGROUND...: the background runs a little longer
beside()
{
	local background=$1
	shift
	"$background" >"$WORK/background" &
	sleep 0.5
	"$@" || return
	kill $! || return # it ended early
	wait $! 2>/dev/null || :
}

# bulk SERVER PORT PATH: 64 connections that never stop
bulk()
{
	exec taskset -c 1 "$BIN/dp_drain" --port "$2" --path "$3" \
		--connections 64 --spread "$SIZE" --seconds 600
}

# probe SERVER PORT PATH: one request after the other, 1 ms between them.  It
# is to wait for the server, not for the slice of the other client.
probe()
{
	chrt --fifo 1 taskset -c 1 "$BIN/dp_drain" --port "$2" --path "$3" \
		--gap-us 1000 --warm 0.1 --seconds "$SECONDS_EACH"
}

bulk_ours() { bulk agent $AGENT "$(url_path layer)"; }
bulk_nginx() { bulk nginx $NGINX /layer; }
small_ours() { beside bulk_ours probe agent $AGENT "$(url_path small)"; }
small_nginx() { beside bulk_nginx probe nginx $NGINX /small; }

case_latency()
{
	local SERVER_CORE=0
	use "$DISK"
	nginx_start
	blob_make layer "$SIZE"
	blob_make small 1024
	for blob in layer small; do
		store_fill "$DATA/agent" $blob
		nginx_blob $blob
	done
	agent_start agent $AGENT
	compare small_beside_bulk 64 warm "p99_us:us_p99 p50_us:us_p50" small_ours \
		nginx=small_nginx
}
