#!/bin/bash
# Hosts that speak nonsense, too much, or only half of a sentence to every port
# of every role: pulls and pushes go on beside them, nobody dies of it, and what
# they held is given back.
. "$(dirname "$0")/fault_lib.sh"

readonly SIZE=$((24 * MIB)) CROWD=100

# say_to PORT: what is on the standard input, then hang up after a moment
say_to()
{
	exec 7<>"/dev/tcp/127.0.0.1/$1" 2>/dev/null || return 0
	timeout 1 cat >&7 2>/dev/null || true
	exec 7>&- 7<&-
}

# Kinds of nonsense, one after another, to one port.
nonsense()
{
	local port=$1 i
	head -c 100000 /dev/urandom | say_to "$port"
	head -c 100000 /dev/zero | say_to "$port"
	# lengths: of a frame, of an array, of a string, of a request's body
	printf '\377\377\377\377\001\000\000\000\000\000\000\000' |
		say_to "$port"
	printf '\335\377\377\377\377' | say_to "$port"
	printf '\224\000\001\333\177\377\377\377' | say_to "$port"
	printf '%s\r\n' 'POST /v2/a/blobs/uploads/ HTTP/1.1' 'Host: x' \
		'Content-Length: 99999999999999999999' '' | say_to "$port"
	{
		printf 'GET /v2/ HTTP/1.1\r\nHost: x\r\nA: '
		head -c 300000 /dev/zero | tr '\0' a
	} | say_to "$port"
	# deep, and many that nobody reads the answers of
	head -c 100000 /dev/zero | tr '\0' '\221' | say_to "$port"
	for ((i = 0; i < 300; i++)); do
		printf '\224\000\001\256tracker.status\200'
	done | say_to "$port"
}

# CROWD connections to PORT that say the half of something, or nothing
crowd()
{
	local fd i
	for ((i = 0; i < CROWD; i++)); do
		exec {fd}<>"/dev/tcp/127.0.0.1/$1" || break
		case $((i % 3)) in
		0) printf 'GET /v2/ HT' >&"$fd" ;;
		1) printf '\000\000\000\104\001\000' >&"$fd" ;;
		esac
	done 2>/dev/null
	exec sleep 600
}

declare -A FILES
is_at_base() { [ "$(descriptors "$1")" -le $((FILES[$1] + 24)) ]; }

cluster_start 2 2
blob_make "$WORK/first" "$SIZE" 1
blob_make "$WORK/second" "$SIZE" 2
first=$(blob_push "$WORK/first" test/hostile)
get_same agent1 test/hostile "$first"
for name in "${ROLES[@]}"; do
	FILES[$name]=$(descriptors "$name")
done

# The names of the cluster are checked before anybody is told of them.
status=0
"$KRAKEN" config check agent --config "$WORK/conf/agent1.yaml" \
	--set "cluster=two words" >"$WORK/said" 2>&1 || status=$?
expect_eq "$status" 1 "a cluster name that no frame can carry"
expect_match "$(<"$WORK/said")" 'key `cluster`' "what is said of it"

declare -a crowds=() talkers=()
for key in "${!PORT_OF[@]}"; do
	# /metrics and the registries answer us, too: they keep room
	case $key in
	*server) ;;
	*) (trap - ERR EXIT; crowd "${PORT_OF[$key]}") & crowds+=($!) ;;
	esac
	(trap - ERR EXIT; nonsense "${PORT_OF[$key]}") & talkers+=($!)
done
OTHERS+=("${crowds[@]}" "${talkers[@]}")

get_same agent2 test/hostile "$first"
second=$(blob_push "$WORK/second" test/hostile)
get_same agent1 test/hostile "$second"
wait "${talkers[@]}"
get_same agent2 test/hostile "$second"
say "pulled and pushed beside $((${#crowds[@]} * CROWD)) idle connections"

kill -KILL "${crowds[@]}"
wait "${crowds[@]}" 2>/dev/null || true
wait_ready "${ROLES[@]}"
for name in "${ROLES[@]}"; do
	wait_for 10 is_at_base "$name"
done
