#!/bin/sh
# bench_swarm.sh - build swarm_sim optimised as a whole and run scenarios.
#
#	SCENARIO=name SEED=n sh bench/bench_swarm.sh     one of bench/scenarios
#	SEED=n sh bench/bench_swarm.sh                   the usual ones
#
# Rows go to bench/results/swarm.csv, the distribution of each scenario to
# bench/results/NAME.cdf, the plot of the usual ones to swarm_cdf.svg, .png.
set -eu
cd "$(dirname "$0")/.."
build=${BUILD_BENCH:-build/bench}
usual="base kraken kraken30 jitter0 jitter2 flash single origin_loss sick silent dirty zones streaming"

cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release \
	-DCMAKE_INTERPROCEDURAL_OPTIMIZATION=ON >/dev/null
ninja -C "$build" swarm_sim >/dev/null
mkdir -p bench/results
for name in ${SCENARIO:-$usual}; do
	"$build/bench/swarm_sim" "bench/scenarios/$name.yaml" \
		--seed "${SEED:-1}" --csv bench/results/swarm.csv \
		--cdf "bench/results/$name.cdf"
done
if [ -z "${SCENARIO:-}" ]; then
	sh bench/plot_cdf.sh bench/results/swarm_cdf bench/results/base.cdf \
		bench/results/sick.cdf bench/results/kraken.cdf \
		bench/results/kraken30.cdf
fi
column -s, -t bench/results/swarm.csv
