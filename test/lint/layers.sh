#!/bin/sh
# test/lint/layers.sh ROOT - every #include "folder/..." of a folder names a
# layer it may stand on.  The table is DESIGN.md's diagram.
set -u
here=$(cd "$(dirname "$0")" && pwd)
. "$here/files.sh"
cd "$1" || exit 1

allowed() {
	case $1 in
	core) echo "core" ;;
	uring | peerwire | registry_api | backends) echo "$1 core" ;;
	control) echo "control core peerwire backends" ;;
	control/programs)
		echo "control control/programs core uring peerwire" \
			"registry_api backends"
		;;
	test | bench)
		echo "test bench control control/programs core uring peerwire" \
			"registry_api backends"
		;;
	*) echo "" ;;
	esac
}

# The layer of a path inside the tree.
layer_of() {
	case $1 in
	control/programs/*) echo control/programs ;;
	*/*) echo "${1%%/*}" ;;
	*) echo "" ;;
	esac
}

status=0
count=0
for file in $(files '*.c' '*.h'); do
	from=$(layer_of "$file")
	ok=" $(allowed "$from") "
	count=$((count + 1))
	for name in $(sed -n 's/^#[ \t]*include[ \t]*"\([^"]*\)".*/\1/p' "$file"); do
		to=$(layer_of "$name")
		if [ -z "$to" ]; then
			echo "$file: \"$name\" is not written from the top" \
				"of the tree (folder/name.h)"
			status=1
			continue
		fi
		case $ok in
		*" $to "*) ;;
		*)
			echo "$file: $from may not include \"$name\"" \
				"(it may:$ok)"
			status=1
			;;
		esac
	done
done
[ "$count" -gt 0 ] || { echo "no files here"; exit 1; }
exit $status
