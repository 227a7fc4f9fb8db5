#!/bin/bash
# A blob of any size passes through proxy and agent in constant memory, and is
# written to disk once by each host that stores it.
. "$(dirname "$0")/fault_lib.sh"

readonly SIZE=$((2048 * MIB)) RESIDENT_MAX_KB=$((96 * 1024))

peak_kb() { awk '/^VmHWM:/ { print $2 }' "/proc/${PID_OF[$1]}/status"; }
# proc(5): bytes that the process made dirty; nothing is counted on tmpfs.
written() { awk '/^write_bytes:/ { print $2 }' "/proc/${PID_OF[$1]}/io"; }
zeros() { head -c "$SIZE" /dev/zero; }

# Zeros: what is measured is memory, and they cost the disk less.
room=$(df --output=avail -B 1048576 "$WORK" | tail -n 1)
[ "$room" -ge 10240 ] || skip "$WORK: 10 GiB are needed, $room MiB are free"
cluster_start 1 1
digest=sha256:$(zeros | openssl dgst -sha256 -r | cut -d' ' -f1)

start=$(now_ms)
upload_open test/memory
status=$(zeros | curl -s -m 80 -X PATCH -T - -o "$WORK/said" \
	-w '%{http_code}' -H 'Transfer-Encoding: chunked' \
	-H 'Content-Type: application/octet-stream' "$UPLOAD")
expect_eq "$status" 202 "status of a chunked PATCH of 2 GiB"
http PUT "$(with_digest "$UPLOAD" "$digest")" -H 'Content-Length: 0'
expect_status 201 "commit of 2 GiB"
say "push of 2 GiB: $(($(now_ms) - start)) ms"

start=$(now_ms)
got=$(curl -fsS -m 80 -o /dev/null -w '%{size_download}' \
	"$(registry agent1)/v2/test/memory/blobs/$digest")
expect_eq "$got" "$SIZE" "bytes the client got"
say "pull of 2 GiB: $(($(now_ms) - start)) ms"

for name in proxy agent1 origin1; do
	say "peak resident memory of $name: $(peak_kb "$name") kB"
	expect_le "$(peak_kb "$name")" "$RESIDENT_MAX_KB" \
		"kB of resident memory of $name"
	[ "$(stat -f -c %T "$WORK")" = tmpfs ] && continue
	say "written to disk by $name: $(($(written "$name") / MIB)) MiB"
	expect_le "$SIZE" "$(written "$name")" "bytes written by $name"
	# The origin writes to the storage backend too, a folder here.
	[ "$name" = origin1 ] && copies=2 || copies=1
	expect_le "$(written "$name")" $((copies * SIZE / 100 * 105)) \
		"bytes written by $name, of a blob of $SIZE"
done
