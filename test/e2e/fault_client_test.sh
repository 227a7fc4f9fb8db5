#!/bin/bash
# Clients that leave, that read slowly, that say nothing: the others do not
# notice.
. "$(dirname "$0")/fault_lib.sh"

readonly SMALL=$((32 * MIB)) BIG=$((256 * MIB))
readonly CLIENTS=20

descriptors_le() { [ "$(descriptors "$1")" -le "$2" ]; }
connections_le() { [ "$(metric_sum "$1" 'kraken_http_connections{role="agent"')" -le "$2" ]; }

cluster_start 1 1
blob_make "$WORK/small" "$SMALL" 6
small=$(blob_push "$WORK/small" test/clients)
blob_make "$WORK/big" "$BIG" 7
big=$(blob_push "$WORK/big" test/clients)
get_same agent1 test/clients "$small"
url=$(registry agent1)/v2/test/clients/blobs

# ---- those who leave in the middle

# As many at once as leave below, but to the end: what is pooled is pooled.
pids=()
for ((i = 0; i < CLIENTS; i++)); do
	get_start agent1 test/clients "$small" "$WORK/out$i" --limit-rate 40M
	pids+=("$GET_PID")
done
for pid in "${pids[@]}"; do
	get_end "$pid"
	expect_eq "$GET_STATUS" 0 "one of $CLIENTS clients at once"
done
rm "$WORK"/out*
wait_for 10 connections_le agent1 1
base=$(descriptors agent1)

pids=()
for ((i = 0; i < CLIENTS; i++)); do
	spawn "$WORK/said" curl -s --max-time 0.3 --limit-rate 1M \
		-o /dev/null "$url/$small"
	pids+=("$SPAWNED")
done
for pid in "${pids[@]}"; do
	get_end "$pid"
	expect_eq "$GET_STATUS" 28 "curl that leaves after 0.3 s"
done
for ((i = 0; i < CLIENTS; i++)); do
	curl -s "$url/$small" 2>/dev/null | head -c 1000 >/dev/null || true
done
wait_for 10 descriptors_le agent1 "$base"
say "descriptors: $base before, $(descriptors agent1) after" \
	"$((2 * CLIENTS)) clients that left in the middle"
get_same agent1 test/clients "$small"

# And of a blob that is not here yet.
for ((i = 0; i < CLIENTS; i++)); do
	curl -s "$url/$big" 2>/dev/null | head -c 1000 >/dev/null || true
done
get_same agent1 test/clients "$big"
# The download is over; the blob's own file may stay open while it seeds.
wait_for 10 descriptors_le agent1 $((base + 4))
wait_for 5 metric_eq agent1 kraken_blob_downloads 0

# ---- one who reads slowly

# best VARIABLE: milliseconds of the fastest of five GETs
best()
{
	local i start took min=1000000
	for i in 1 2 3 4 5; do
		start=$(now_ms)
		curl -fsS -m 60 -o /dev/null "$url/$big"
		took=$(($(now_ms) - start))
		[ "$took" -ge "$min" ] || min=$took
	done
	printf -v "$1" %s "$min"
}

best alone
slow=()
for i in 1 2 3; do
	spawn "$WORK/said" curl -s -m 80 --limit-rate 1M -o /dev/null \
		"$url/$big"
	slow+=("$SPAWNED")
done
wait_for 5 metric_ge agent1 'kraken_http_connections{role="agent"}' 3
best beside
for pid in "${slow[@]}"; do
	is_running "$pid" || fail "the slow client is gone already"
	kill "$pid"
	get_end "$pid"
done
say "256 MiB: $alone ms alone, $beside ms beside three that read at 1 MB/s"
expect_le "$beside" $((2 * alone + 20)) "milliseconds beside slow clients"

# ---- those who say nothing

port=${PORT_OF["agent1 registry"]}
for ((i = 0; i < 50; i++)); do
	exec {fd}<>"/dev/tcp/127.0.0.1/$port"
	[ $((i % 2)) = 0 ] || printf 'GET /v2/ HTTP/1.1\r\nHost: a\r\nX-' >&"$fd"
done
wait_for 5 metric_ge agent1 'kraken_http_connections{role="agent"}' 50
start=$(now_ms)
http GET "$(registry agent1)/v2/"
expect_status 200 "GET /v2/ beside 50 silent clients"
get_same agent1 test/clients "$small"
took=$(($(now_ms) - start))
say "GET of 32 MiB beside 50 silent clients: $took ms"
expect_le "$took" 5000 "milliseconds of a GET beside silent clients"
