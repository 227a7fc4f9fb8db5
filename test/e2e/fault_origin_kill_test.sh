#!/bin/bash
# With two replicas, one origin may die: pulls and pushes go on.
FAULT_NETWORK=1
. "$(dirname "$0")/fault_lib.sh"

readonly SIZE=$((160 * MIB))

# push_while COMMAND...: push 20 MiB; the command runs between the last byte
# and the commit.  PUSHED is the digest.
push_while()
{
	local start took
	blob_make "$WORK/pushed" $((20 * MIB)) "$RANDOM"
	PUSHED=$(digest_of "$WORK/pushed")
	upload_open test/origins
	http PATCH "$UPLOAD" -T "$WORK/pushed"
	expect_status 202 "PATCH"
	"$@"
	start=$(now_ms)
	http PUT "$(with_digest "$UPLOAD" "$PUSHED")" -H 'Content-Length: 0'
	expect_status 201 "commit right after: $*"
	took=$(($(now_ms) - start))
	say "commit of 20 MiB right after $*: $took ms"
	expect_le "$took" 15000 "milliseconds of that commit"
}

stop_process() { kill -STOP "${PID_OF[$1]}"; }

# says NAME ORIGIN: what NAME logged last of the health of ORIGIN
says()
{
	sed -nE "/origin is .*:${PORT_OF["$2 rpc"]}/p" "$WORK/log/$1" | tail -n 1
}
distrusts() { [[ $(says "$1" "$2") == *'"origin is unhealthy'* ]]; }
trusts() { ! distrusts "$@"; }

PROXY_ARGS=(--set rpc.timeout=1s)
cluster_start 2 2
blob_make "$WORK/layer" "$SIZE" 2
digest=$(blob_push "$WORK/layer" test/origins)
# The second owner follows in the background.
for o in origin1 origin2; do
	wait_for 20 metric_ge "$o" 'kraken_ingest_total{result="ok"}' 1
done
shape origin1 160mbit
shape origin2 160mbit

get_start agent1 test/origins "$digest" "$WORK/pulled"
wait_for 30 bytes_in_ge agent1 $((SIZE * 3 / 10))
role_kill9 origin1
at=$(bytes_in agent1) start=$(now_ms)
get_end "$GET_PID"
expect_eq "$GET_STATUS" 0 "curl while an origin dies ($(cat "$WORK/pulled.said"))"
expect_same "$WORK/pulled" "$WORK/layer" "the pulled blob"
expect_le "$at" $((SIZE * 8 / 10)) "bytes received when the origin was killed"
say "origin1 killed at $at of $SIZE bytes; complete $(($(now_ms) - start)) ms later"

# A push while only one origin lives, and a pull of it.
unshape
wait_for 10 distrusts proxy origin1
push_while true
get_same agent2 test/origins "$PUSHED"

# The first comes back: an origin that was away is used again by itself.
role_run origin1
wait_ready origin1
wait_for 10 trusts proxy origin1
get_same agent2 test/origins "$digest"

# Nobody knows yet that it is gone, or that it hangs.
push_while role_kill9 origin1
get_same agent2 test/origins "$PUSHED"
role_run origin1
wait_ready origin1
push_while stop_process origin1
kill -CONT "${PID_OF[origin1]}"

# A pull that begins while an origin hangs and nobody knows: some of these
# blobs are asked of it first.
for ((i = 0; i < 4; i++)); do
	origin=origin$((i % 2 + 1))
	wait_for 10 trusts tracker origin1
	wait_for 10 trusts tracker origin2
	push_while true
	stop_process "$origin"
	start=$(now_ms)
	get_same agent$((i / 2 + 1)) test/origins "$PUSHED"
	say "pull right after stop_process $origin: $(($(now_ms) - start)) ms"
	kill -CONT "${PID_OF[$origin]}"
done
