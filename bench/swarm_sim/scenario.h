/*
 * bench/swarm_sim/scenario.h - what is simulated, as a YAML file says it.
 *
 * Keys, defaults and bounds are the table in scenario.c; `swarm_sim --help`
 * prints them.
 */
#ifndef KR_BENCH_SCENARIO_H
#define KR_BENCH_SCENARIO_H

#include <stdint.h>

#include "core/config.h"
#include "peerwire/policy.h"

enum scenario_model { SCENARIO_SWARM, SCENARIO_KRAKEN };
enum scenario_measure { SCENARIO_OWN, SCENARIO_FIRST };
enum { SCENARIO_PIECE_BLOCKS_MAX = 8 }; /* a bit each of a byte */

struct scenario {
	char *name;
	uint32_t model;   /* enum scenario_model */
	uint32_t measure; /* enum scenario_measure */
	uint64_t hosts, origins, layers, size_bytes, piece_bytes;
	uint64_t up, down, origin_up; /* bytes/s */
	uint64_t start_ns;            /* hosts start evenly within */
	uint64_t latency_min_ns, latency_max_ns, dial_ns;
	uint64_t tracker_min_ns, tracker_max_ns, announce_ns;
	uint64_t verify_rate, socket_bytes;
	uint64_t spread_permille; /* of rates */
	uint64_t zones, zone_uplink;
	uint64_t slow_permille, slow_factor;
	uint64_t kill_permille, silent_permille, kill_within_ns;
	uint64_t resets_per_s, damage_ppm;
	uint64_t origins_lost, origins_lost_at_ns;
	uint64_t tracker_lost_at_ns, tracker_lost_for_ns;
	uint64_t streaming_permille;
	uint64_t give_up_ns;
	uint64_t tie_random; /* Kraken's model: 1 breaks its ties at random */
	struct kr_config_strings policy; /* "field=value" */
};

extern const struct kr_config_schema scenario_schema;

/* The policy of the hosts: the defaults and what `policy` says.  false: a
 * word of it is wrong and has been complained about on stderr. */
bool scenario_policy(const struct scenario *sc, struct kr_policy *ret);

uint32_t scenario_piece_bytes(const struct scenario *sc);

/* The lower bound of SWARM.md, in seconds. */
double scenario_bound_s(const struct scenario *sc);

#endif
