# bench/dataplane/case_download.sh - receive, verify, store; one seeder.
# Sourced by dataplane.sh.
# shellcheck shell=bash

# fetch_ours FRESH? ARGS...
fetch_to() # HOW ARGS...
{
	local how=$1
	shift
	rm -rf "$DATA/fetch"
	mkdir -p "$DATA/fetch"
	[ "$how" = fresh ] || partial_fill "$DATA/fetch" layer
	"$BIN/dp_fetch" --peer 127.0.0.1:$((ORIGIN + 1)) \
		--meta "$BLOBS/layer.meta" --dir "$DATA/fetch" \
		--pids "${PID[origin]}" "$@"
}

get_to() # FILE
{
	"$BIN/dp_epollget" --port $NGINX --path /layer --file "$1" \
		--digest "$(blob_hex layer)" --pids "${PID[nginx]}"
}

fetch_resident() { fetch_to resident; }
fetch_fresh() { fetch_to fresh; }
fetch_evp() { fetch_to resident --hash evp; }
get_resident() { get_to "$BLOBS/layer.scratch"; }
get_fresh()
{
	rm -f "$WORK/got"
	get_to "$WORK/got"
	rm -f "$WORK/got"
}

get_aria2()
{
	local from to
	rm -f "$WORK/aria"
	from=$EPOCHREALTIME
	/usr/bin/time -f %U+%S -o "$WORK/aria.cpu" aria2c -q -d "$WORK" \
		-o aria --checksum="sha-256=$(blob_hex layer)" \
		--file-allocation=falloc -x 1 "http://127.0.0.1:$NGINX/layer"
	to=$EPOCHREALTIME
	rm -f "$WORK/aria"
	awk -v s="$from" -v e="$to" -v cpu="$(cat "$WORK/aria.cpu")" \
		-v size="$SIZE" 'BEGIN { split(cpu, c, "+")
		printf "seconds=%.4f gbs=%.4f total_cpu=%.4f\n", e - s,
			size / 1e9 / (e - s), (c[1] + c[2]) * 1e9 / size }'
}

case_download()
{
	local metrics="gbs:GB/s total_cpu:CPU-s/GB"
	use "$WORK"
	nginx_start
	blob_make layer "$SIZE"
	store_fill "$DATA/origin" layer
	nginx_blob layer
	origin_start
	head -c "$SIZE" /dev/zero >"$BLOBS/layer.scratch"
	compare download 1 resident "$metrics" fetch_resident \
		nginx+epoll=get_resident
	compare download_evp 1 resident "$metrics" fetch_evp \
		nginx+epoll=get_resident
	compare download 1 fresh "$metrics" fetch_fresh \
		nginx+epoll=get_fresh nginx+aria2c=get_aria2
}
