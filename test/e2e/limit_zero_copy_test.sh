#!/bin/bash
# A cached blob goes from the file to the socket without passing through the
# agent's memory.
. "$(dirname "$0")/fault_lib.sh"

readonly SIZE=$((64 * MIB))

cluster_start 1 1
blob_make "$WORK/layer" "$SIZE" 9
digest=$(blob_push "$WORK/layer" test/zero-copy)
get_same agent1 test/zero-copy "$digest"

# ---- the engine's counters

spliced=$(metric agent1 kraken_io_spliced_bytes_total)
sent=$(metric agent1 kraken_io_sent_bytes_total)
read=$(metric agent1 kraken_io_read_bytes_total)
get_same agent1 test/zero-copy "$digest"
spliced_ge() { metric_ge agent1 kraken_io_spliced_bytes_total "$1"; }
wait_for 5 spliced_ge $((spliced + SIZE))
spliced=$(($(metric agent1 kraken_io_spliced_bytes_total) - spliced))
sent=$(($(metric agent1 kraken_io_sent_bytes_total) - sent))
read=$(($(metric agent1 kraken_io_read_bytes_total) - read))
say "GET of $SIZE bytes: $spliced spliced, $sent sent from memory, $read read"
expect_eq "$spliced" "$SIZE" "bytes spliced"
expect_le "$sent" $((SIZE / 1000)) "bytes sent from memory"
expect_le "$read" $((SIZE / 1000)) "bytes read into memory"

# ---- the system calls

without()
{
	say "system calls not looked at: $*"
	exit 0
}

is_tracing() { grep -q 'attached' "$WORK/strace.said"; }
command -v strace >/dev/null || without "strace is not installed"
strace -qq true 2>/dev/null || without "ptrace is not allowed here"

# bytes_by CALL...: what these returned in all
bytes_by()
{
	local calls
	calls=$(IFS='|' && echo "$*")
	sed -nE "s/^[0-9]* *($calls)\(.* = ([0-9]+)$/\2/p;
		s/^[0-9]* *<\.\.\. ($calls) resumed>.* = ([0-9]+)$/\2/p" \
		"$WORK/strace" | awk '{ sum += $1 } END { printf "%d\n", sum }'
}

spawn "$WORK/strace.said" strace -f -p "${PID_OF[agent1]}" -o "$WORK/strace" \
	-s 0 -e trace=sendfile,splice,read,readv,pread64,write,writev,sendto,sendmsg
tracer=$SPAWNED
wait_for 10 is_tracing
get_same agent1 test/zero-copy "$digest"
kill -INT "$tracer"
wait "$tracer" || true
moved=$(bytes_by sendfile splice)
written=$(bytes_by write writev sendto sendmsg)
read=$(bytes_by read readv pread64)
say "strace: $moved bytes by sendfile and splice, $written written," \
	"$read read"
expect_ge "$moved" "$SIZE" "bytes moved by sendfile and splice"
expect_le "$written" $((SIZE / 1000)) "bytes written from memory"
expect_le "$read" $((SIZE / 1000)) "bytes read into memory"
