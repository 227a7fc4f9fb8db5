#!/bin/sh
# bench_swarm.sh - build swarm_sim optimised as a whole and run scenarios.
#
#	SCENARIO=name SEED=n sh bench/bench_swarm.sh     of bench/scenarios
#	SEED=n sh bench/bench_swarm.sh                   all that are judged
#
# Rows go to bench/results/swarm.csv, what each run printed to NAME.txt, its
# distribution to NAME.cdf, the plots to swarm_*.svg and .png.  All that are
# judged take two hours of one core; the last lines say what was reached.
set -eu
cd "$(dirname "$0")/.."
build=${BUILD_BENCH:-build/bench}
usual="base kraken kraken30 kraken120 ours120 jitter0 jitter2 flash single
	origin_loss sick silent dirty zones streaming n15000 big"

cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release \
	-DCMAKE_INTERPROCEDURAL_OPTIMIZATION=ON >/dev/null
ninja -C "$build" swarm_sim >/dev/null
mkdir -p bench/results
for name in ${SCENARIO:-$usual}; do
	"$build/bench/swarm_sim" "bench/scenarios/$name.yaml" \
		--seed "${SEED:-1}" --csv bench/results/swarm.csv \
		--cdf "bench/results/$name.cdf" >"bench/results/$name.new"
	mv "bench/results/$name.new" "bench/results/$name.txt"
	cat "bench/results/$name.txt"
done
column -s, -t bench/results/swarm.csv
[ -z "${SCENARIO:-}" ] || exit 0
(
	cd bench/results
	sh ../plot_cdf.sh swarm_kraken base.cdf ours120.cdf kraken.cdf \
		kraken30.cdf kraken120.cdf
	sh ../plot_cdf.sh swarm_cdf base.cdf jitter0.cdf jitter2.cdf flash.cdf \
		single.cdf origin_loss.cdf sick.cdf zones.cdf streaming.cdf
)
awk -f bench/swarm_accept.awk bench/results/swarm.csv bench/results/*.txt
