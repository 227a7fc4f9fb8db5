# bench/dataplane/gate.sh - is any ratio worse than the one that is kept?
# Sourced by dataplane.sh.
# shellcheck shell=bash
#
# gate.csv: case,connections,cache,peer_name,unit,ratio.  Of GB/s more is
# better, of all other units less.  Worse is a ratio of medians that is more
# than GATE_PERCENT off, if no single round was as good as what is kept: on a
# machine that others use too medians alone cry wolf.

readonly GATE_PERCENT=15

# gate MEASURED: of the rows that this run has measured
gate()
{
	awk -F, -v percent=$GATE_PERCENT '
		{ gsub(/\r/, "") }
		FNR == NR { if (FNR > 1) kept[$1, $2, $3, $4, $5] = $6; next }
		{ key = $1 SUBSEP $2 SUBSEP $3 SUBSEP $6 SUBSEP $7
		  if (!(key in kept)) next
		  n++
		  more = $7 == "GB/s"
		  by = more ? kept[key] / $8 : $8 / kept[key]
		  reached = more ? $11 >= kept[key] : $10 <= kept[key]
		  if (by > 1 + percent / 100 && !reached) {
			bad++
			printf "  WORSE %s %s %s %s, %s: %s, kept %s\n", $1, $2,
				$3, $7, $6, $8, kept[key]
		  } }
		END { printf "gate: %d ratios, %d more than %d %% worse\n", n,
			bad, percent; exit bad > 0 }' "$HERE/gate.csv" "$1"
}
