# bench/dataplane/case_cold.sh - warm blobs while a cold one is read.  Sourced
# by dataplane.sh.
#
# What is measured is the server, so the client that takes the time must not
# wait for the other one, with whom it shares a core.  It has a real-time
# priority: else the scheduler leaves the other one there for up to 3 ms.  A
# kernel without preemption lets nobody in before a system call ends, and a
# copy of 256 KiB that a disk has just written takes 0.7 ms on some virtual
# machines: so the other one has its bytes thrown away in the kernel.  Both hold
# for ours, alone, and nginx.
# shellcheck shell=bash

# warm_probe PORT PATH: one request after the other, 1 ms between them
warm_probe()
{
	chrt --fifo 1 taskset -c 1 "$BIN/dp_drain" --port "$1" --path "$2" \
		--gap-us 1000 --warm 0.1 --seconds 1
}

# is_read BLOB: all of it is in the page cache
is_read()
{
	[ "$(fincore --noheadings --bytes --output RES "$BLOBS/$1")" -ge \
		"$(stat -c %s "$BLOBS/$1")" ]
}

# cold_beside PORT COLD WARM: the probe, while COLD is read from a disk
cold_beside()
{
	dd if="$BLOBS/cold" iflag=nocache count=0 status=none
	taskset -c 1 "$BIN/dp_drain" --port "$1" --path "$2" --discard 1 \
		--seconds 600 >"$WORK/background" &
	sleep 0.1
	warm_probe "$1" "$3" || return
	kill $! || return # it ended early
	wait $! 2>/dev/null || :
	! is_read cold || fail "cold: all was read before the end; COLD_SIZE?"
}

warm_ours() { warm_probe $AGENT "$(url_path warm)"; }
warm_ours_beside()
{
	cold_beside $AGENT "$(url_path cold)" "$(url_path warm)"
}
warm_nginx_beside() { cold_beside $NGINX /cold /warm; }

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
