# bench/dataplane/case_serve.sh - a server whose blob is in memory, and clients
# that throw it away.  Sourced by dataplane.sh.
#
# Files are on a disk, as those of a real store, and in the page cache.
#
# Servers have one core and the client the other: where the scheduler puts two
# busy threads of two processes decides more than what they do.
# shellcheck shell=bash

# On loopback a segment is delivered, and acknowledged, in the time of whoever
# is at it, so what both sides use together is told as well.
SERVE_METRICS="gbs:GB/s server_cpu:CPU-s/GB total_cpu:CPU-s/GB_of_both"

drain() # SERVER PORT PATH CONNECTIONS
{
	taskset -c 1 "$BIN/dp_drain" --port "$2" --path "$3" --connections "$4" \
		--spread "$(stat -c %s "$BLOBS/$BLOB")" \
		--seconds "$SECONDS_EACH" --pids "${PID[$1]}"
}

serve_ours() { drain agent $AGENT "$(url_path "$BLOB")" "$CONNS"; }
serve_nginx() { drain nginx $NGINX "/$BLOB" "$CONNS"; }
serve_ceiling() { drain ceiling $CEILING / "$CONNS"; }

case_serve()
{
	local SERVER_CORE=0
	use "$DISK"
	nginx_start
	blob_make layer "$SIZE"
	blob_make small $((4 << 20))
	store_fill "$DATA/agent" layer
	store_fill "$DATA/agent" small
	nginx_blob layer
	nginx_blob small
	agent_start agent $AGENT "limits: {http_connections: 4096}"
	for CONNS in 1 64 1000; do
		BLOB=layer
		[ "$CONNS" != 1000 ] || BLOB=small
		ceiling_start $BLOB
		compare http_get "$CONNS" warm "$SERVE_METRICS" serve_ours \
			nginx=serve_nginx sendfile=serve_ceiling
		stop ceiling
	done
}

serve_blocks() { drain blocks $BLOCKS / "$CONNS"; }

# 24 MiB are what an agent with the default block buffers has asked for while
# one seeder feeds it as fast as it can; when an eighth of them has come it asks
# for more.  With fewer than its receive buffer holds (32 MiB here) a client
# acknowledges each second segment while the server sends it, in the time of
# the server; those of the others, who asked for all of a layer, do not.
peer_ours()
{
	taskset -c 1 "$BIN/dp_drain" --way peer --port $((ORIGIN + 1)) \
		--meta "$BLOBS/layer.meta" --connections "$CONNS" --due $((24 << 20)) \
		--seconds "$SECONDS_EACH" --pids "${PID[origin]}"
}

case_peer()
{
	local SERVER_CORE=0
	use "$DISK"
	nginx_start
	blob_make layer "$SIZE"
	store_fill "$DATA/origin" layer
	nginx_blob layer
	origin_start "swarm: {upload_slots: 64, degree_seed_max: 4096, connections: 4096}"
	ceiling_start layer
	blocks_start layer
	BLOB=layer
	for CONNS in 1 64; do
		compare peer_blocks "$CONNS" warm "$SERVE_METRICS" peer_ours \
			nginx=serve_nginx sendfile=serve_ceiling \
			blocks=serve_blocks
	done
}
