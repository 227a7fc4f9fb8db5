#!/bin/sh
# plot_cdf.sh OUT FILE... - draw what swarm_sim --cdf wrote as OUT.svg, OUT.png
set -eu
out=$1
shift
plots=
for file in "$@"; do
	name=$(basename "$file" .cdf)
	plots="$plots${plots:+, }'$file' using 1:(100*\$2) with steps lw 2 title '$name'"
done
bound=$(sed -n '1s/.*bound //p' "$1")
for term in svg png; do
	[ $term = svg ] && kind="svg size 900,540 background 'white'" ||
		kind="pngcairo size 900,540"
	gnuplot -e "
set terminal $kind noenhanced; set output '$out.$term';
set xlabel 'time to have every layer, s'; set ylabel 'hosts, %';
set xrange [0.95*$bound:*]; set yrange [0:100]; set grid; set key above;
set arrow from $bound, graph 0 to $bound, graph 1 nohead dt 2;
plot NaN with lines dt 2 lc 'black' title 'bound $bound s', $plots"
done
