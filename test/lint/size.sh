#!/bin/sh
# test/lint/size.sh ROOT - no .c or .h file of the tree is above 1,000 lines:
# a file that grows so long is a hub, and is split by noun.
set -u
here=$(cd "$(dirname "$0")" && pwd)
. "$here/files.sh"
cd "$1" || exit 1

max=1000
status=0
count=0
for file in $(files '*.c' '*.h'); do
	count=$((count + 1))
	lines=$(wc -l <"$file")
	if [ "$lines" -gt "$max" ]; then
		echo "$file has $lines lines, $max is the limit: split it by noun"
		status=1
	fi
done
[ "$count" -gt 0 ] || { echo "no files here"; exit 1; }
exit $status
