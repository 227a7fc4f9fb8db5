#!/bin/sh
# test/lint/headers.sh ROOT - every header compiles alone, with gcc
# and, where it is installed, clang.  _GNU_SOURCE is for those whose .c files
# define it.
set -u
here=$(cd "$(dirname "$0")" && pwd)
. "$here/files.sh"
cd "$1" || exit 1

compilers=gcc
if command -v clang >/dev/null; then
	compilers="gcc clang"
else
	echo "clang is not installed: gcc only"
fi

status=0
count=0
for header in $(files '*.h'); do
	count=$((count + 1))
	for compiler in $compilers; do
		printf '#include "%s"\n' "$header" |
			$compiler -fsyntax-only -std=c17 -Wall -Wextra \
				-Wpedantic -Werror -D_GNU_SOURCE -I . -x c - || {
			echo "$header does not compile alone with $compiler"
			status=1
		}
	done
done
[ "$count" -gt 0 ] || { echo "no headers here"; exit 1; }
exit $status
