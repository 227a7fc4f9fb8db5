#!/bin/sh
# test/lint/routes.sh ROOT - the request table of registry_api/README.md and
# the route table of registry_api/dispatch.c have the same routes with the same
# methods, each once, and every status in it is one that errors.c can print.
set -u
cd "$1" || exit 1

code=registry_api/dispatch.c
page=registry_api/README.md
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT

# "blob GET", one a line
awk '
/^static handler_fn \*const handlers/ { on = 1 }
on && /^};/ { exit }
on {
	line = $0
	while (match(line, /KR_ROUTE_[A-Z_]+|KR_(GET|HEAD|POST|PUT|PATCH|DELETE)\]/)) {
		word = substr(line, RSTART + 3, RLENGTH - 3)
		line = substr(line, RSTART + RLENGTH)
		if (word ~ /^ROUTE_/)
			route = tolower(substr(word, 7))
		else
			print route, substr(word, 1, length(word) - 1)
	}
}' "$code" | sort >"$tmp/code"

# The same of rows "| route | methods | path | spec | role | statuses |"
awk -F ' *[|] *' '
/^## Requests/ { on = 1; next }
/^## / { on = 0 }
on && /^\|/ && $2 != "route" && $2 !~ /^-/ {
	n = split($3, methods, " ")
	for (i = 1; i <= n; i++)
		print $2, methods[i] > (dir "/page")
	if ($6 == "" || $7 == "") {
		print "row of " $2 " " $3 ": no role or no status"
		bad = 1
	}
	n = split($7, statuses, " ")
	for (i = 1; i <= n; i++)
		print statuses[i] > (dir "/statuses")
}
END { exit bad }' dir="$tmp" "$page" || exit 1

[ -s "$tmp/code" ] || { echo "$code: no route table found"; exit 1; }
[ -s "$tmp/page" ] || { echo "$page: no request table found"; exit 1; }
sort -o "$tmp/page" "$tmp/page"
status=0
if ! diff "$tmp/page" "$tmp/code" >"$tmp/diff"; then
	sed -n "s,^< ,in $page only: ,p; s,^> ,in $code only: ,p" "$tmp/diff"
	status=1
fi
for number in $(sort -u "$tmp/statuses"); do
	grep -q "{ $number, \"" registry_api/errors.c || {
		echo "$page: status $number is not in errors.c"
		status=1
	}
done
exit $status
