#!/bin/bash
# A client that fetches one layer as containerd 2.1 does: by parallel open-ended
# ranges ("bytes=N-"), each closed when it has its part.  Little is sent that
# nobody reads, a range's pieces come first, and a client that leaves is let go.
FAULT_NETWORK=1
. "$(dirname "$0")/fault_lib.sh"

readonly SIZE=$((128 * MIB)) PARTS=8
readonly PART=$((SIZE / PARTS))
readonly WASTE_MAX=$((256 * 1024)) # for each request that is closed early

# part URL-PATH N: reads part N of the layer from an open-ended range, exactly,
# and closes
part()
{
	local line status got
	exec 5<>"/dev/tcp/127.0.0.1/${PORT_OF["agent1 registry"]}"
	printf 'GET %s HTTP/1.1\r\nHost: a\r\nRange: bytes=%d-\r\n\r\n' \
		"$1" $(($2 * PART)) >&5
	read -r _ status _ <&5
	while read -r line <&5 && [ "$line" != $'\r' ]; do
		[[ ${line,,} != content-range:* ]] || got=${line#*: }
	done
	printf '%s %s\n' "$status" "${got%$'\r'}" >"$WORK/part$2.head"
	head -c "$PART" <&5 >"$WORK/part$2"
	exec 5<&- 5>&-
}

# fetch: all parts at once; the layer must come of it
fetch()
{
	local i pids=() path=/v2/test/ranges/blobs/$digest
	for ((i = 0; i < PARTS; i++)); do
		part "$path" $i &
		pids+=($!)
	done
	wait "${pids[@]}"
	for ((i = 0; i < PARTS; i++)); do
		expect_eq "$(<"$WORK/part$i.head")" \
			"206 bytes $((i * PART))-$((SIZE - 1))/$SIZE" "part $i"
		cat "$WORK/part$i"
		rm "$WORK/part$i"
	done >"$WORK/got"
	expect_same "$WORK/got" "$WORK/layer" "the layer in $PARTS parts"
}

# The metrics of the ring are carried over now and then; once they stand still
# and nobody is connected but us, all is counted.
sent_bytes() { metric agent1 kraken_io_spliced_bytes_total; }
is_alone()
{
	local n
	n=$(metric agent1 'kraken_http_connections{role="agent"}')
	[ "$n" -le 1 ]
}
settled_bytes()
{
	local was=-1 is
	wait_for 5 is_alone
	is=$(sent_bytes)
	while [ "$was" != "$is" ]; do
		was=$is
		sleep 0.5
		is=$(sent_bytes)
	done
	echo "$is"
}

check_waste() # what
{
	local before wasted
	before=$(settled_bytes)
	fetch
	wasted=$(($(settled_bytes) - before - SIZE))
	say "$1: $PARTS ranges, $((wasted / 1024)) KiB sent that nobody read"
	expect_ge "$wasted" 0 "$1: bytes sent"
	# the last range is read to its end
	expect_le "$wasted" $(((PARTS - 1) * WASTE_MAX)) "$1: wasted bytes"
}

# --------------------------------------------------------------------------

cluster_start 1 2
blob_make "$WORK/layer" "$SIZE" 11
digest=$(blob_push "$WORK/layer" test/ranges)

shape origin1 800mbit
check_waste "cold agent"
check_waste "warm agent"

# ---- what is asked for comes first

blob_make "$WORK/slow" "$SIZE" 12
slow=$(blob_push "$WORK/slow" test/ranges)
unshape
shape origin1 160mbit
blob_get agent2 test/ranges "$slow" "$WORK/tail" -1000000
expect_status 206 "suffix of a cold blob"
verified=$(metric agent2 kraken_blob_verified_bytes)
tail -c 1000000 "$WORK/slow" >"$WORK/want"
expect_same "$WORK/tail" "$WORK/want" "the last megabyte"
say "the last megabyte of $SIZE bytes came when $verified were here"
expect_le "$verified" $((SIZE / 4)) "bytes before the last megabyte"

# ---- several at once, of a blob on its way

bytes_of() { tail -c +$(($2 + 1)) "$1" | head -c "$3" || true; }
body_part() # boundary, offset, length
{
	printf -- '--%s\r\nContent-Type: application/octet-stream\r\n' "$1"
	printf 'Content-Range: bytes %d-%d/%d\r\n\r\n' "$2" $(($2 + $3 - 1)) \
		"$SIZE"
	bytes_of "$WORK/slow" "$2" "$3"
	printf '\r\n'
}

http GET "$(registry agent2)/v2/test/ranges/blobs/$slow" \
	-H "Range: bytes=100000000-102999999, 5-9"
expect_status 206 "two ranges of a blob on its way"
type=$(http_header content-type)
expect_match "$type" '^multipart/byteranges; boundary=' "two ranges"
boundary=${type#*boundary=}
{
	body_part "$boundary" 100000000 3000000
	body_part "$boundary" 5 5
	printf -- '--%s--\r\n' "$boundary"
} >"$WORK/want"
expect_same "$WORK/http.body" "$WORK/want" "two ranges"
expect_eq "$(http_header content-length)" "$(size_of "$WORK/want")" \
	"length of two ranges"
http GET "$(registry agent2)/v2/test/ranges/blobs/$slow" \
	-H "Range: bytes=$SIZE-"
expect_status 416 "a range behind the end"
expect_eq "$(http_header content-range)" "bytes */$SIZE" \
	"a range behind the end"

# ---- a client that leaves while it waits is let go at once

role_kill9 origin1
exec 5<>"/dev/tcp/127.0.0.1/${PORT_OF["agent2 registry"]}"
printf 'GET %s HTTP/1.1\r\nHost: a\r\nRange: bytes=%d-\r\n\r\n' \
	"/v2/test/ranges/blobs/$slow" $((SIZE / 2)) >&5
read -r _ status _ <&5
expect_eq "$status" 206 "a range that does not come any more"
cat <&5 >/dev/null &
reader=$!
sleep 1 # it has taken what there was
kill "$reader"
wait "$reader" || true
exec 5<&- 5>&-
is_let_go()
{
	[ "$(metric agent2 'kraken_http_connections{role="agent"}')" -le 1 ]
}
wait_for 2 is_let_go
