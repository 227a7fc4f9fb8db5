# bench/dataplane/world.sh - the servers that are measured, on loopback in a
# network namespace of our own.  Sourced by dataplane.sh.
# shellcheck shell=bash
#
# A blob is one file; stores, web server and registry have links to it, so that
# all serve the same pages.

NAME=bench/blob
readonly NGINX=8080 REGISTRY=5000 CEILING=8081 BLOCKS=8082
declare -A PID # by the name of a server

# use FOLDER: blobs, stores and what the web server shows are in it
use()
{
	BLOBS=$1/blob DATA=$1/data WWW=$1/www
	mkdir -p "$BLOBS" "$DATA" "$WWW"
}

now_ms() { local t=${EPOCHREALTIME/[.,]/}; echo $((t / 1000)); }

# wait_for SECONDS COMMAND...
wait_for()
{
	local end=$(($(now_ms) + $1 * 1000))
	shift
	until "$@"; do
		[ "$(now_ms)" -lt "$end" ] || fail "not in time: $*"
		sleep 0.05
	done
}

listens() { # PORT
	: 2>/dev/null <"/dev/tcp/127.0.0.1/$1"
}

# start NAME PORT COMMAND...: in the background, until it listens; on the core
# that SERVER_CORE names, if it does
start()
{
	local name=$1 port=$2
	shift 2
	# shellcheck disable=SC2086
	${SERVER_CORE:+taskset -c $SERVER_CORE} "$@" \
		>"$WORK/log/$name" 2>&1 </dev/null &
	PID[$name]=$!
	wait_for 30 listens "$port"
}

stop() # NAME...
{
	local name
	for name in "$@"; do
		[ -n "${PID[$name]:-}" ] || continue
		kill "${PID[$name]}" 2>/dev/null || :
		wait "${PID[$name]}" 2>/dev/null || :
		unset "PID[$name]"
	done
}

# ---- blobs ------------------------------------------------------------------

# blob_make NAME BYTES: a file $BLOBS/NAME, incompressible, always the
# same, and $BLOBS/NAME.{hex,meta}
blob_make()
{
	local f=$BLOBS/$1
	[ ! -e "$f.hex" ] || return 0
	# in slices as our store writes them: the kernel's folios are as large
	head -c "$2" /dev/zero |
		openssl enc -aes-128-ctr -nosalt -iv 0 -K 5eed 2>/dev/null |
		dd of="$f" bs=256k iflag=fullblock status=none
	sync "$f" # none of it is to be written while something is measured
	"$BIN/dp_meta" "$f" "$f.meta" >"$f.hex"
}

blob_hex() { cat "$BLOBS/$1.hex"; }

# store_fill DIR BLOB: as if it had been pushed there
store_fill()
{
	local hex
	hex=$(blob_hex "$2")
	mkdir -p "$1/blobs/sha256/${hex:0:2}" "$1/meta"
	ln -f "$BLOBS/$2" "$1/blobs/sha256/${hex:0:2}/$hex"
	cp "$BLOBS/$2.meta" "$1/meta/$hex"
}

# partial_fill DIR BLOB: a download that has begun and has nothing, whose file
# is in memory already: what is written goes to pages that are there
partial_fill()
{
	local hex size
	hex=$(blob_hex "$2")
	size=$(stat -c %s "$BLOBS/$2")
	mkdir -p "$1/partial"
	[ -e "$BLOBS/$2.scratch" ] ||
		head -c "$size" /dev/zero >"$BLOBS/$2.scratch"
	ln -f "$BLOBS/$2.scratch" "$1/partial/$hex"
	"$BIN/dp_meta" --pieces "$BLOBS/$2.meta" \
		>"$1/partial/$hex.pieces"
}

url_path() { echo "/v2/$NAME/blobs/sha256:$(blob_hex "$1")"; }

# ---- peers ------------------------------------------------------------------

nginx_start()
{
	mkdir -p "$WORK/nginx"
	cat >"$WORK/nginx/conf" <<-END
	daemon off;
	master_process off;
	pid $WORK/nginx/pid;
	error_log $WORK/log/nginx_errors;
	worker_rlimit_nofile 20000;
	events { worker_connections 8192; }
	http {
		access_log off;
		sendfile on;
		tcp_nopush on;
		keepalive_requests 1000000;
		client_body_temp_path $WORK/nginx/body;
		proxy_temp_path $WORK/nginx/proxy;
		fastcgi_temp_path $WORK/nginx/fastcgi;
		uwsgi_temp_path $WORK/nginx/uwsgi;
		scgi_temp_path $WORK/nginx/scgi;
		server {
			listen 127.0.0.1:$NGINX backlog=4096;
			root $WWW;
		}
	}
	END
	start nginx $NGINX nginx -p "$WORK/nginx" -c "$WORK/nginx/conf"
}

nginx_blob() { ln -f "$BLOBS/$1" "$WWW/$1"; }

registry_start() # DIR
{
	cat >"$WORK/conf/registry.yml" <<-END
	version: 0.1
	log: {accesslog: {disabled: true}, level: error}
	storage: {filesystem: {rootdirectory: $1}, delete: {enabled: true}}
	http: {addr: 127.0.0.1:$REGISTRY}
	END
	start registry $REGISTRY docker-registry serve "$WORK/conf/registry.yml"
}

# registry_blob DIR BLOB
registry_blob()
{
	local hex at=$1/docker/registry/v2
	hex=$(blob_hex "$2")
	mkdir -p "$at/blobs/sha256/${hex:0:2}/$hex" \
		"$at/repositories/$NAME/_layers/sha256/$hex"
	ln -f "$BLOBS/$2" "$at/blobs/sha256/${hex:0:2}/$hex/data"
	printf %s "sha256:$hex" \
		>"$at/repositories/$NAME/_layers/sha256/$hex/link"
}

ceiling_start() # BLOB
{
	start ceiling $CEILING "$BIN/dp_ceiling" --port $CEILING \
		--file "$BLOBS/$1"
}

blocks_start() # BLOB, as peers are sent it
{
	start blocks $BLOCKS "$BIN/dp_ceiling" --port $BLOCKS \
		--file "$BLOBS/$1" --block $((1 << 20))
}

# ---- ours -------------------------------------------------------------------

# Ports of a role: its own, +1 peers, +2 health, +3 RPC
readonly AGENT=16000 COLD=16100 ORIGIN=15100 PROXY=15000 TRACKER=15200 INDEX=15300
KRAKEN_ARGS=${KRAKEN_ARGS:-} # to each of ours, as --set swarm.window_min=1MiB

# kraken_start NAME ROLE PORT LINE...: with LINEs in its configuration
kraken_start()
{
	local name=$1 role=$2 port=$3 ready=$(($3 + 2))
	shift 3
	mkdir -p "$DATA"
	{
		cat <<-END
		cluster: bench
		bind_ip: 127.0.0.1
		server: {port: $ready}
		log: {level: ${LOG_LEVEL:-warn}}
		END
		case $role in
		agent | proxy) echo "registry: {ip: 127.0.0.1, port: $port}" ;;
		*) echo "rpc: {port: $((port + 3))}" ;;
		esac
		case $role in
		agent | proxy | origin)
			echo "peer: {ip: 127.0.0.1, port: $((port + 1))}" ;;
		esac
		[ "$role" = tracker ] || echo "store: {dir: $DATA/$name}"
		[ $# = 0 ] || printf '%s\n' "$@"
	} >"$WORK/conf/$name.yaml"
	# shellcheck disable=SC2086
	start "$name" $ready "$KRAKEN" "$role" --config \
		"$WORK/conf/$name.yaml" $KRAKEN_ARGS
}

origin_start() # LINE...
{
	kraken_start origin origin $ORIGIN "$@"
}

tracker_start()
{
	kraken_start tracker tracker $TRACKER \
		"origin: {hosts: {static: [\"127.0.0.1:$((ORIGIN + 3))\"]}, replicas: 1}" \
		"health: {interval: 200ms}"
}

# agent_start NAME PORT LINE...
agent_start()
{
	local name=$1 port=$2
	shift 2
	kraken_start "$name" agent "$port" \
		"tracker: {hosts: {static: [\"127.0.0.1:$((TRACKER + 3))\"]}}" \
		'build_index: {hosts: {static: ["127.0.0.1:9"]}}' "$@"
}

index_start()
{
	kraken_start index build-index $INDEX
}

proxy_start()
{
	kraken_start proxy proxy $PROXY \
		"origin: {hosts: {static: [\"127.0.0.1:$((ORIGIN + 3))\"]}, replicas: 1, write_quorum: 1}" \
		"build_index: {hosts: {static: [\"127.0.0.1:$((INDEX + 3))\"]}}" \
		"health: {interval: 200ms}"
}
