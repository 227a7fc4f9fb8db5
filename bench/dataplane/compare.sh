# bench/dataplane/compare.sh - runs in turn, and what is made of them.
# Sourced by dataplane.sh.
# shellcheck shell=bash

CSV=${CSV:-$OUT/dataplane.csv}
readonly COLUMNS_CSV=case,connections,cache,ours,peer,peer_name,unit,ratio,runs,min,max

# value NAME FILE: of "name=value name=value"
value() { tr ' ' '\n' <"$2" | sed -n "s/^$1=//p"; }

# compare CASE CONNECTIONS CACHE "METRIC:UNIT..." OURS PEER=FUNCTION...
#
# OURS and FUNCTION are functions that print METRIC=VALUE.  Each round runs all
# of them, every second round the other way round; a first one does not count,
# for memory and caches are as they happen to be.
compare()
{
	local case=$1 conns=$2 cache=$3 metrics=$4 ours=$5 i what list back
	shift 5
	rm -rf "$WORK/runs"
	mkdir -p "$WORK/runs"
	list="ours=$ours $*"
	back=
	for what in $list; do back="$what $back"; done
	for ((i = 0; i <= RUNS; i++)); do
		for what in $([ $((i % 2)) = 1 ] && echo "$list" || echo "$back"); do
			"${what#*=}" >"$WORK/runs/${what%%=*}.$i" ||
				fail "$case: $what"
		done
	done
	for what in "$@"; do
		for metric in $metrics; do
			row "$case" "$conns" "$cache" "${metric%%:*}" \
				"${metric#*:}" "${what%%=*}"
		done
	done
}

# row CASE CONNECTIONS CACHE METRIC UNIT PEER: of the runs, to the CSV
row()
{
	local i a b line
	for ((i = 1; i <= RUNS; i++)); do
		a=$(value "$4" "$WORK/runs/ours.$i")
		b=$(value "$4" "$WORK/runs/$6.$i")
		[ -n "$a" ] && [ -n "$b" ] || fail "$1: a run without $4"
		echo "$a $b"
	done >"$WORK/pairs"
	line=$(awk -v head="$1,$2,$3" -v peer="$6" -v unit="$5" '
		function median(a, n,    i, j, t) {
			for (i = 2; i <= n; i++)
				for (j = i; j > 1 && a[j] < a[j - 1]; j--) {
					t = a[j]; a[j] = a[j - 1]; a[j - 1] = t
				}
			return n % 2 ? a[(n + 1) / 2] \
				: (a[n / 2] + a[n / 2 + 1]) / 2
		}
		{ a[NR] = $1; b[NR] = $2; r = $2 ? $1 / $2 : 0
		  if (NR == 1 || r < least) least = r
		  if (NR == 1 || r > most) most = r }
		END { x = median(a, NR); y = median(b, NR)
		  printf "%s,%.4g,%.4g,%s,%s,%.3f,%d,%.3f,%.3f\n", head, x, y,
			peer, unit, y ? x / y : 0, NR, least, most }' \
		"$WORK/pairs")
	put_line "$line"
}

# Replace the line of the same case, connections, cache, peer and unit.
put_line()
{
	echo "$1" >>"$WORK/measured"
	mkdir -p "${CSV%/*}"
	[ -s "$CSV" ] || echo "$COLUMNS_CSV" >"$CSV"
	awk -F, -v new="$1" 'BEGIN { split(new, f, ",") }
		$1 == f[1] && $2 == f[2] && $3 == f[3] && $6 == f[6] &&
			$7 == f[7] { if (!done) print new; done = 1; next }
		{ print }
		END { if (!done) print new }' "$CSV" >"$CSV.new"
	mv "$CSV.new" "$CSV"
	echo "$1" | awk -F, '{ printf "  %-22s %5s %-9s %9s %-9s %9s (%s)  ratio %s [%s, %s]\n",
		$1, $2, $3, $4, $7, $5, $6, $8, $10, $11 }'
}
