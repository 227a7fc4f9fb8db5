# bench/dataplane/case_get.sh - curl of a layer: through an agent that does not
# have it, through one that has, and from a registry.  Sourced by dataplane.sh.
# shellcheck shell=bash

# cpu_s NAME...: processor seconds of the servers, up to now
cpu_s()
{
	local name list=
	for name in "$@"; do list+=${list:+,}${PID[$name]}; done
	"$BIN/dp_drain" --cpu "$list"
}

# curl_get PORT NAME...: of servers, whose time counts
curl_get()
{
	local port=$1 before seconds
	shift
	before=$(cpu_s "$@")
	seconds=$(curl -fsS -o /dev/null -m 120 -w '%{time_total}' \
		"http://127.0.0.1:$port$(url_path layer)") || return
	echo "$before $(cpu_s "$@") $seconds $SIZE" | awk '{
		printf "seconds=%.4f server_cpu=%.4f\n", $3,
			($2 - $1) * 1e9 / $4 }'
}

get_warm() { curl_get $AGENT agent; }
get_registry() { curl_get $REGISTRY registry; }

# Each time an agent that has just been started and has nothing.
get_cold()
{
	rm -rf "$DATA/cold"
	[ "$COLD_HOW" = fresh ] || partial_fill "$DATA/cold" layer
	agent_start cold $COLD
	curl_get $COLD cold origin tracker || return
	stop cold
}

case_get()
{
	local metrics="seconds:s server_cpu:CPU-s/GB"
	use "$WORK"
	blob_make layer "$SIZE"
	head -c "$SIZE" /dev/zero >"$BLOBS/layer.scratch"
	store_fill "$DATA/origin" layer
	store_fill "$DATA/agent" layer
	registry_blob "$WORK/registry" layer
	registry_start "$WORK/registry"
	origin_start
	tracker_start
	agent_start agent $AGENT
	compare get_warm 1 warm "$metrics" get_warm docker-registry=get_registry
	COLD_HOW=resident
	compare get_cold 1 resident "$metrics" get_cold \
		docker-registry=get_registry
	COLD_HOW=fresh
	compare get_cold 1 fresh "$metrics" get_cold \
		docker-registry=get_registry
}
