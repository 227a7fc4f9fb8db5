#!/bin/sh
# test/lint/format.sh ROOT - clang-format has nothing to change.
set -u
here=$(cd "$(dirname "$0")" && pwd)
. "$here/files.sh"
cd "$1" || exit 1

if ! command -v clang-format >/dev/null; then
	echo "skipped: clang-format is not installed (apt-get install clang-format)"
	exit 77
fi
list=$(files '*.c' '*.h')
[ -n "$list" ] || { echo "no files here"; exit 1; }
# shellcheck disable=SC2086 # names in this tree have no blanks
clang-format --dry-run -Werror $list
