#!/bin/bash
# An origin with two reactors serves agents from both, each where it was pinned;
# the SHA-256 in use and what it was chosen from are told by every role.
. "$(dirname "$0")/fault_lib.sh"

readonly SIZE=$((4 * MIB)) ROUNDS_MAX=40

cpu=$(sed -nE 's/^Cpus_allowed_list:\s*([0-9]+).*/\1/p' /proc/self/status)
ORIGIN_ARGS=(--set reactors=2 --set "reactor_cpus=$cpu,$cpu")
cluster_start 1 2

# ---- both serve

sent() { metric origin1 "kraken_reactor_sent_bytes_total{reactor=\"$1\"}"; }

# An agent keeps its connection: the next one comes when it starts anew.
pull_round()
{
	blob_make "$WORK/layer$1" "$SIZE" "$1"
	local digest
	digest=$(blob_push "$WORK/layer$1" test/reactors)
	get_same agent1 test/reactors "$digest"
	get_same agent2 test/reactors "$digest"
}

rounds=0
until [ "$rounds" -gt 0 ] && [ "$(sent 0)" -gt 0 ] && [ "$(sent 1)" -gt 0 ]; do
	[ "$rounds" -lt "$ROUNDS_MAX" ] ||
		fail "after $rounds rounds: reactor 0 sent $(sent 0) bytes," \
			"reactor 1 $(sent 1)"
	[ "$rounds" = 0 ] || {
		role_restart agent1
		role_restart agent2
	}
	rounds=$((rounds + 1))
	pull_round "$rounds"
	sent_all() { [ $(($(sent 0) + $(sent 1))) = "$(bytes_out origin1)" ]; }
	wait_for 5 sent_all
done
say "$rounds rounds: reactor 0 sent $(sent 0) bytes, reactor 1 $(sent 1)"
log_has origin1 'limits reactors value=2' || fail "the limits do not say two reactors"

# ---- a seeded blob is not in the way of its deletion

digest=$(digest_of "$WORK/layer$rounds")
[ -f "$(stored origin1 "$digest")" ] || fail "the origin has no copy"
deletes() # until it is written back it is kept
{
	http DELETE "$(server origin1)/internal/blobs/$digest"
	[ "$HTTP_STATUS" = 202 ]
}
wait_for 10 deletes
[ ! -f "$(stored origin1 "$digest")" ] || fail "the origin has a copy"

# ---- pinned

# cpus_of TASK-NAME: where that thread of the origin may run
cpus_of()
{
	local task
	for task in "/proc/${PID_OF[origin1]}/task/"*; do
		[ "$(cat "$task/comm")" != "$1" ] ||
			sed -nE 's/^Cpus_allowed_list:\s*//p' "$task/status"
	done
}

expect_eq "$(cpus_of reactor-1)" "$cpu" "CPUs of reactor 1"
expect_eq "$(sed -nE 's/^Cpus_allowed_list:\s*//p' \
	"/proc/${PID_OF[origin1]}/status")" "$cpu" "CPUs of reactor 0"

# ---- SHA-256

for name in "${ROLES[@]}"; do
	used=$(metric_sum "$name" kraken_hash_implementation_info)
	expect_eq "$used" 1 "SHA-256 implementations in use by $name"
	for impl in openssl-evp portable; do
		expect_ge "$(metric "$name" \
			"kraken_hash_rate_bytes_per_second{implementation=\"$impl\"}")" \
			1000000 "bytes per second of $impl in $name"
	done
	log_has "$name" 'SHA-256 measured.*used' ||
		fail "the log of $name does not say which SHA-256 is used"
done

# ---- a CPU that is not there is refused

role_stop origin1
"$KRAKEN" origin --config "$WORK/conf/origin1.yaml" --set reactor_cpus=1023 \
	>"$WORK/log/refused" 2>&1 && fail "CPU 1023 was not refused"
log_has refused 'cannot be pinned' || fail "no word of the CPU"
role_run origin1
wait_ready origin1
