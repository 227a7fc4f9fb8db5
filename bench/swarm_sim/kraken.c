#include "bench/swarm_sim/sim.h"
const struct sim_model sim_kraken_model = { .name = "kraken" };
