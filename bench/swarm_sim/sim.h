/*
 * bench/swarm_sim/sim.h - one run: hosts, their faults, the clock, and the
 * model that decides what they do.
 *
 *	scenario + seed -> sim_open -> sim_run -> sim_results -> sim_close
 *
 * Host 0 to origins-1 are origins, the others download.  Everything follows
 * from the seed; the hash of what happened is the trace of a run.
 */
#ifndef KR_BENCH_SIM_H
#define KR_BENCH_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "bench/swarm_sim/net.h"
#include "bench/swarm_sim/queue.h"
#include "bench/swarm_sim/scenario.h"
#include "core/rand.h"
#include "peerwire/node.h"

#define SIM_MS UINT64_C(1000000)
#define SIM_S  UINT64_C(1000000000)
#define SIM_NO UINT64_MAX

enum { SIM_EPOCH_MS = 1000 }; /* hosts start from then on */

struct sim_host {
	uint64_t start_ns, done_ns; /* SIM_NO: has not */
	uint64_t half_ns;           /* the first layer is whole */
	uint64_t first_byte_ns;     /* streaming: piece 0 is there */
	uint64_t lag_ns;            /* the reader's longest wait */
	uint64_t kill_ns;           /* SIM_NO: lives */
	bool origin, slow, mute, streaming, dead;
};

/* What a model adds up at the end of a run. */
struct sim_totals {
	uint64_t frames, control_bytes, payload_bytes;
	uint64_t wasted_bytes; /* received and thrown away */
	uint64_t origin_bytes; /* sent by origins */
	uint64_t cancels, rejects, overdue, bad_pieces, announces;
	uint64_t closes[KR_BYE_REASON_COUNT];
	uint64_t neighbours; /* half-way: of downloading hosts, over blobs */
	uint64_t node_bytes_peak; /* of memory, the greatest of a host */
	uint64_t node_bytes;      /* of memory at the peak, all hosts */
	uint64_t node_bytes_idle; /* of a node without blobs */
	uint64_t neighbour_bytes; /* per blob and neighbour, the mean */
};

struct sim;

struct sim_model {
	const char *name;
	void *(*open)(struct sim *s);
	void (*close)(void *ctx);
	void (*start)(void *ctx, uint32_t host);
	void (*kill)(void *ctx, uint32_t host);
	void (*happen)(void *ctx, const struct sim_event *ev);
	void (*sample)(void *ctx); /* half-way */
	void (*totals)(void *ctx, struct sim_totals *ret);
};

struct sim {
	const struct scenario *sc; /* borrowed */
	struct kr_policy policy;
	uint64_t seed;
	struct sim_queue *queue;
	struct net net;
	struct kr_rand rand;
	struct sim_host *hosts;
	uint32_t host_count, origin_count;
	uint32_t left; /* healthy hosts that have not finished */
	uint64_t trace_hash;
	uint32_t piece_bytes;
	uint64_t layer_bytes;
	bool verbose;
	const struct sim_model *model;
	void *model_ctx;
};

/* false: the scenario's policy is wrong (said on stderr). */
bool sim_open(struct sim *s, const struct scenario *sc, uint64_t seed);
void sim_run(struct sim *s);
void sim_close(struct sim *s);

/* For models: */
uint64_t sim_draw(struct sim *s, uint64_t below);
void sim_trace(struct sim *s, uint64_t v);
void sim_done(struct sim *s, uint32_t host); /* it has everything */
bool sim_tracker_answers(const struct sim *s, uint64_t at_ns);
uint64_t sim_tracker_delay_ns(struct sim *s);

extern const struct sim_model sim_swarm_model, sim_kraken_model;

#endif
