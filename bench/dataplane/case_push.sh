# bench/dataplane/case_push.sh - curl pushes a layer: POST, PATCH, PUT; through
# the proxy to one origin, and to a registry.  Sourced by dataplane.sh.
# shellcheck shell=bash

# curl_push PORT NAME...: of servers, whose time counts
curl_push()
{
	local port=$1 at before from to
	shift
	before=$(cpu_s "$@")
	from=$EPOCHREALTIME
	at=$(push_location "$port" -X POST \
		"http://127.0.0.1:$port/v2/$NAME/blobs/uploads/")
	at=$(push_location "$port" -X PATCH -T "$BLOBS/layer" \
		-H "Content-Type: application/octet-stream" "$at")
	case $at in *\?*) at+="&" ;; *) at+="?" ;; esac
	curl -fsS -o /dev/null -m 120 -X PUT -H "Content-Length: 0" \
		"${at}digest=sha256:$(blob_hex layer)" || return
	to=$EPOCHREALTIME
	echo "$before $(cpu_s "$@") $from $to $SIZE" | awk '{
		printf "seconds=%.4f server_cpu=%.4f\n", $4 - $3,
			($2 - $1) * 1e9 / $5 }'
}

# push_location PORT ARGS...: what the answer says is next
push_location()
{
	local port=$1 at
	shift
	at=$(curl -fsS -D - -o /dev/null -m 120 "$@" | tr -d '\r' |
		sed -n 's/^[Ll]ocation: //p')
	case $at in /*) at="http://127.0.0.1:$port$at" ;; esac
	echo "$at"
}

push_ours()
{
	rm -rf "$DATA/proxy" "$DATA/origin" "$DATA/index"
	index_start
	origin_start
	proxy_start
	curl_push $PROXY proxy origin index || return
	stop proxy origin index
}

push_registry()
{
	rm -rf "$DATA/registry"
	mkdir -p "$DATA/registry"
	registry_start "$DATA/registry"
	curl_push $REGISTRY registry || return
	stop registry
}

case_push()
{
	local metrics="seconds:s server_cpu:CPU-s/GB"
	use "$WORK"
	blob_make layer "$SIZE"
	compare push 1 memory "$metrics" push_ours docker-registry=push_registry
	use "$DISK"
	blob_make layer "$SIZE"
	compare push 1 disk "$metrics" push_ours docker-registry=push_registry
}
