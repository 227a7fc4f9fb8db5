#!/bin/sh
# test/lint/asserts.sh ROOT - nobody uses assert(3): CMake's release builds
# define NDEBUG, which turns it into nothing - in a fuzz target or a simulation
# that would be a test that cannot fail.  kr_assert is always on.
set -u
here=$(cd "$(dirname "$0")" && pwd)
. "$here/files.sh"
cd "$1" || exit 1

list=$(files '*.c' '*.h')
[ -n "$list" ] || { echo "no files here"; exit 1; }
# shellcheck disable=SC2086 # names in this tree have no blanks
if grep -n '^#[[:space:]]*include[[:space:]]*<assert.h>' $list /dev/null; then
	echo "use kr_assert of core/err.h: it stays on in release builds"
	exit 1
fi
