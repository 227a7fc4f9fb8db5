#!/bin/sh
# plot.sh CSV OUT - the ratios of dataplane.csv as OUT.svg and OUT.png
#
# Below 1 we are better where less is better; throughput (GB/s) is turned over
# for that.  The lines are from the least to the greatest ratio of a round.
set -eu
data=$(mktemp)
trap 'rm -f "$data"' EXIT
awk -F, 'NR > 1 && $6 != "alone" && $6 != "sendfile" && $6 != "bound" {
	r = $8; lo = $10; hi = $11
	if (r <= 0 || lo <= 0 || hi <= 0) next
	if ($7 == "GB/s") { r = 1 / r; t = lo; lo = 1 / hi; hi = 1 / t }
	if (lo > r) lo = r
	if (hi < r) hi = r
	printf "\"%s %s %s %s, %s\" %s %s %s %d\n", $1, $2, $3,
		$7 == "GB/s" ? "s/GB" : $7, $6, r, lo, hi, r <= 1 }' "$1" >"$data"
for term in svg png; do
	[ $term = svg ] && kind="svg size 1000,760 background 'white'" ||
		kind="pngcairo size 1000,760"
	gnuplot -e "
set terminal $kind noenhanced; set output '$2.$term';
set logscale y 2; set ylabel 'ours / peer (lower is better)';
set yrange [0.03:8]; set grid y; set boxwidth 0.7; set style fill solid 0.6;
set xtics rotate by -60 font ',8'; set bmargin 15; set rmargin 12; unset key;
set arrow from graph 0, first 1 to graph 1, first 1 nohead lw 2;
plot '$data' using 0:2:xtic(1) with boxes lc rgb '#4477aa', '' using 0:2:3:4 with yerrorbars pt 0 lc rgb '#222222'"
done
