#include "bench/swarm_sim/scenario.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "peerwire/metainfo.h"

#define S        struct scenario
#define HUGE_U64 UINT64_MAX

static const char *const models[] = { "swarm", "kraken", NULL };
static const char *const measures[] = { "own", "first", NULL };

/* clang-format off */
static const struct kr_config_row rows[] = {
	KR_CONFIG_STRING(S, name, "name", NULL, "in the table and the CSV"),
	KR_CONFIG_ENUM(S, model, "model", "swarm", models,
		       "the shipped node, or a model of Kraken's policies"),
	KR_CONFIG_ENUM(S, measure, "measure", "own", measures,
		       "a host's time counts from its own or the first start"),
	KR_CONFIG_U64(S, hosts, "hosts", "2600", 1, 60000, "that download"),
	KR_CONFIG_U64(S, origins, "origins", "5", 1, 1000, "that have it all"),
	KR_CONFIG_U64(S, layers, "layers", "2", 1, 8, "blobs of equal size"),
	KR_CONFIG_BYTES(S, size_bytes, "size", "3GB", 1, HUGE_U64,
			"of all layers together"),
	KR_CONFIG_BYTES(S, piece_bytes, "piece", "0", 0, 1 << 26,
			"0: as kr_metainfo_piece_bytes_for says"),
	KR_CONFIG_BYTES(S, up, "up", "300MB", 1000, HUGE_U64, "per second"),
	KR_CONFIG_BYTES(S, down, "down", "300MB", 1000, HUGE_U64, "per second"),
	KR_CONFIG_BYTES(S, origin_up, "origin_up", "0", 0, HUGE_U64,
			"0: as the hosts"),
	KR_CONFIG_DURATION(S, start_ns, "start", "500ms", 0, HUGE_U64,
			   "hosts start evenly distributed within"),
	KR_CONFIG_DURATION(S, latency_min_ns, "latency.min", "250us", 1000,
			   1000000000, "one way, per pair of hosts"),
	KR_CONFIG_DURATION(S, latency_max_ns, "latency.max", "1ms", 1000,
			   1000000000, "one way, per pair of hosts"),
	KR_CONFIG_DURATION(S, dial_ns, "latency.dial", "200us", 0, 1000000000,
			   "of an accept, beside the round trip"),
	KR_CONFIG_DURATION(S, tracker_min_ns, "tracker.min", "2ms", 0,
			   HUGE_U64, "until a handout arrives"),
	KR_CONFIG_DURATION(S, tracker_max_ns, "tracker.max", "10ms", 0,
			   HUGE_U64, "until a handout arrives"),
	KR_CONFIG_DURATION(S, announce_ns, "tracker.announce", "30s",
			   1000000000, HUGE_U64, "between announces"),
	KR_CONFIG_BYTES(S, verify_rate, "verify_rate", "2GB", 1, HUGE_U64,
			"per second, of SHA-256 on a host"),
	KR_CONFIG_BYTES(S, socket_bytes, "socket_buffer", "2MiB", 0, HUGE_U64,
			"of a link, that kernels hold when a receiver lags"),
	KR_CONFIG_U64(S, spread_permille, "spread", "0", 0, 900,
		      "rates are within +- this many permille"),
	KR_CONFIG_U64(S, zones, "zones.count", "1", 1, 64, "hosts alternate"),
	KR_CONFIG_BYTES(S, zone_uplink, "zones.uplink", "0", 0, HUGE_U64,
			"bytes per second of a zone each way; 0: no limit"),
	KR_CONFIG_U64(S, slow_permille, "slow.permille", "0", 0, 1000,
		      "of hosts that are slow both ways"),
	KR_CONFIG_U64(S, slow_factor, "slow.factor", "10", 1, 10000,
		      "how many times slower"),
	KR_CONFIG_U64(S, kill_permille, "kill.permille", "0", 0, 1000,
		      "of hosts that die, resetting their connections"),
	KR_CONFIG_U64(S, silent_permille, "kill.silent", "0", 0, 1000,
		      "of hosts that die without a word"),
	KR_CONFIG_DURATION(S, kill_within_ns, "kill.within", "10s", 1,
			   HUGE_U64, "at random times within"),
	KR_CONFIG_U64(S, resets_per_s, "resets", "0", 0, 1000000,
		      "connections reset per second, in all"),
	KR_CONFIG_U64(S, damage_ppm, "damage_ppm", "0", 0, 1000000,
		      "of blocks damaged on the way"),
	KR_CONFIG_U64(S, origins_lost, "origin_loss.count", "0", 0, 1000,
		      "origins that die"),
	KR_CONFIG_DURATION(S, origins_lost_at_ns, "origin_loss.at", "1s", 0,
			   HUGE_U64, "when they do"),
	KR_CONFIG_DURATION(S, tracker_lost_at_ns, "tracker_loss.at", "0", 0,
			   HUGE_U64, "it does not answer from then on"),
	KR_CONFIG_DURATION(S, tracker_lost_for_ns, "tracker_loss.for", "0", 0,
			   HUGE_U64, "for so long"),
	KR_CONFIG_U64(S, streaming_permille, "streaming", "0", 0, 1000,
		      "of hosts with a client that reads in order"),
	KR_CONFIG_DURATION(S, give_up_ns, "give_up", "300s", 1, HUGE_U64,
			   "who has not finished by then is counted so"),
	KR_CONFIG_U64(S, tie_random, "kraken.tie_random", "0", 0, 1,
		      "Kraken's model: ties between pieces at random"),
	KR_CONFIG_STRINGS(S, policy, "policy", "", 0, 64,
			  "field=value of struct kr_policy"),
};
/* clang-format on */

const struct kr_config_schema scenario_schema =
	KR_CONFIG_SCHEMA(struct scenario, rows);

static bool set_policy(struct kr_policy *p, const char *text)
{
	size_t count;
	const struct kr_policy_row *r = kr_policy_rows(&count);
	const char *eq = strchr(text, '=');

	for (size_t i = 0; eq != NULL && i < count; i++) {
		const size_t len = (size_t)(eq - text);
		uint64_t value;

		if (strlen(r[i].name) != len ||
		    memcmp(r[i].name, text, len) != 0)
			continue;
		value = strtoull(eq + 1, NULL, 0);
		memcpy((uint8_t *)p + r[i].offset, &value, sizeof(value));
		return true;
	}
	fprintf(stderr, "policy `%s`: not field=value of struct kr_policy\n",
		text);
	return false;
}

bool scenario_policy(const struct scenario *sc, struct kr_policy *ret)
{
	const struct kr_policy_row *row;

	kr_policy_defaults(ret);
	for (size_t i = 0; i < sc->policy.count; i++)
		if (!set_policy(ret, sc->policy.list[i]))
			return false;
	if (kr_policy_check(ret, &row) != KR_OK) {
		fprintf(stderr,
			"policy %s: a value the node cannot work with\n",
			row->name);
		return false;
	}
	if (scenario_piece_bytes(sc) <=
	    ret->block_bytes * SCENARIO_PIECE_BLOCKS_MAX)
		return true;
	fprintf(stderr,
		"a piece may have %d blocks in the simulator: set policy "
		"block_bytes or piece\n",
		SCENARIO_PIECE_BLOCKS_MAX);
	return false;
}

uint32_t scenario_piece_bytes(const struct scenario *sc)
{
	return sc->piece_bytes != 0 ? (uint32_t)sc->piece_bytes
				    : kr_metainfo_piece_bytes_for(
					      sc->size_bytes / sc->layers);
}

static double max_of(double a, double b)
{
	return a > b ? a : b;
}

double scenario_bound_s(const struct scenario *sc)
{
	const double f = (double)sc->size_bytes, n = (double)sc->hosts;
	const double s = (double)sc->origins, up = (double)sc->up;
	const double origin_up =
		sc->origin_up != 0 ? (double)sc->origin_up : up;
	const double pieces = f / (double)scenario_piece_bytes(sc);
	double rounds = 0, have = s;

	while (have < n + s) { /* each round doubles who has a piece */
		have *= 2;
		rounds++;
	}
	double bound = max_of(f / (double)sc->down, f / (s * origin_up));
	bound = max_of(bound, n * f / (n * up + s * origin_up));
	return max_of(bound, (1 + rounds / pieces) * f / (double)sc->down);
}
