# bench/dataplane/case_latency.sh - a small blob while others take large ones,
# and warm blobs while a cold one is read.  Sourced by dataplane.sh.
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
# is to wait for the server, not for the other client: hence the priority.
probe()
{
	taskset -c 1 "$BIN/dp_drain" --port "$2" --path "$3" \
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

# ---- cold beside warm -------------------------------------------------------

# Out of the page cache, then read from its beginning.
read_cold() # PORT PATH
{
	dd if="$BLOBS/cold" iflag=nocache count=0 status=none
	exec taskset -c 1 "$BIN/dp_drain" --port "$1" --path "$2" \
		--seconds 600
}

cold_ours() { read_cold $AGENT "$(url_path cold)"; }
cold_nginx() { read_cold $NGINX /cold; }
warm_ours() { probe agent $AGENT "$(url_path warm)"; }
warm_nginx() { probe nginx $NGINX /warm; }
warm_ours_beside() { beside cold_ours warm_ours; }
warm_nginx_beside() { beside cold_nginx warm_nginx; }

case_cold()
{
	local SERVER_CORE=0
	use "$DISK"
	nginx_start
	blob_make warm $((1 << 20))
	blob_make cold "$COLD_SIZE"
	for blob in warm cold; do
		store_fill "$DATA/agent" $blob
		nginx_blob $blob
	done
	agent_start agent $AGENT
	compare warm_beside_cold 1 cold "p99_us:us_p99 p50_us:us_p50" \
		warm_ours_beside alone=warm_ours nginx=warm_nginx_beside
}
