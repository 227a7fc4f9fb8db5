# test/e2e/engine_lib.sh - a container engine of our own, for the tests that
# use one.  Sources lib.sh.
# shellcheck shell=bash
#
#	. "$(dirname "$0")/engine_lib.sh"
#	engine_start dockerd "docker version" dockerd --host ...
#	...
#	engine_stop
#
# An engine starts processes of its own and mounts things, which do not all go
# with it.  So the script runs itself again in a process and a mount namespace,
# where it is process 1 and everything ends when it does, however it does.  Needs
# root.

if [ $$ != 1 ]; then
	if ! unshare --mount --pid --fork true 2>/dev/null; then
		echo "SKIPPED: a container engine needs root and namespaces" >&2
		exit 77
	fi
	exec unshare --mount --propagation private --pid --fork \
		--kill-child --mount-proc bash "$0" "$@"
fi

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

readonly ENGINE=$WORK/engine
readonly ENGINE_SECONDS=40

mkdir -p "$ENGINE"

# engine_start NAME QUESTION COMMAND...: until QUESTION is answered; where it
# does not start the test is skipped
engine_start()
{
	local name=$1 question=$2 log=$WORK/log/$1
	local end=$((SECONDS + ENGINE_SECONDS))
	shift 2
	spawn "$log" "$@"
	engine_pid=$SPAWNED
	until $question >/dev/null 2>&1; do
		is_running "$engine_pid" ||
			skip "$name does not start here: $(tail -1 "$log")"
		[ "$SECONDS" -lt "$end" ] ||
			skip "$name does not answer in $ENGINE_SECONDS s"
		sleep 0.05
	done
}

engine_stop()
{
	kill -TERM "$engine_pid"
	wait_for 20 is_gone "$engine_pid"
}

# Mounts that are left would be in the way when $WORK is removed.
hook_cleanup()
{
	local mount
	for mount in $(awk -v dir="$ENGINE/" 'index($2, dir) == 1 { print $2 }' \
		/proc/self/mounts | sort -r); do
		umount -l "$mount"
	done
}
