#include "bench/swarm_sim/sim.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "bench/swarm_sim/mem.h"
#include "core/err.h"

enum { EV_START = 1, EV_KILL, EV_RESET, EV_PROGRESS, EV_SAMPLE };

uint64_t sim_draw(struct sim *s, uint64_t below)
{
	if (below <= 1)
		return 0;
	if (below <= UINT32_MAX)
		return kr_rand_below(&s->rand, (uint32_t)below);
	return kr_rand_u64(&s->rand) % below;
}

void sim_trace(struct sim *s, uint64_t v)
{
	s->trace_hash = (s->trace_hash ^ v) * UINT64_C(0x100000001b3);
	s->trace_hash ^= s->trace_hash >> 29;
}

bool sim_tracker_answers(const struct sim *s, uint64_t at_ns)
{
	const uint64_t from = SIM_EPOCH_MS * SIM_MS + s->sc->tracker_lost_at_ns;

	return at_ns < from || at_ns >= from + s->sc->tracker_lost_for_ns;
}

uint64_t sim_tracker_delay_ns(struct sim *s)
{
	return s->sc->tracker_min_ns +
	       sim_draw(s, s->sc->tracker_max_ns - s->sc->tracker_min_ns + 1);
}

static bool is_counted(const struct sim_host *h)
{
	return !h->origin && !h->slow && h->kill_ns == SIM_NO;
}

void sim_done(struct sim *s, uint32_t host)
{
	struct sim_host *h = &s->hosts[host];

	kr_assert(h->done_ns == SIM_NO);
	h->done_ns = s->net.now_ns;
	if (is_counted(h))
		s->left--;
}

/* ---- who is what -------------------------------------------------------- */

static uint64_t some_rate(struct sim *s, uint64_t rate, uint64_t divisor)
{
	const uint64_t spread = s->sc->spread_permille;

	return rate / 1000 * (1000 - spread + sim_draw(s, 2 * spread + 1)) /
	       divisor;
}

static void make_host(struct sim *s, uint32_t i)
{
	const struct scenario *sc = s->sc;
	struct sim_host *h = &s->hosts[i];
	struct net_host *card = &s->net.hosts[i];
	const uint64_t epoch = SIM_EPOCH_MS * SIM_MS;
	uint64_t divisor = 1;

	*h = (struct sim_host){ .done_ns = SIM_NO,
				.half_ns = SIM_NO,
				.first_byte_ns = SIM_NO,
				.kill_ns = SIM_NO,
				.origin = i < s->origin_count };
	card->up_now = true;
	card->zone = i % (uint32_t)sc->zones;
	if (h->origin) {
		h->start_ns = 0;
		card->up = sc->origin_up != 0 ? sc->origin_up : sc->up;
		card->down = sc->down;
		if (i < sc->origins_lost)
			h->kill_ns = epoch + sc->origins_lost_at_ns;
		return;
	}
	h->start_ns = epoch + sim_draw(s, sc->start_ns + 1);
	h->slow = sim_draw(s, 1000) < sc->slow_permille;
	h->streaming = sim_draw(s, 1000) < sc->streaming_permille;
	if (h->slow)
		divisor = sc->slow_factor;
	const uint64_t lot = sim_draw(s, 1000);
	h->mute = lot < sc->silent_permille;
	if (lot < sc->silent_permille + sc->kill_permille)
		h->kill_ns = epoch + sim_draw(s, sc->kill_within_ns);
	card->up = some_rate(s, sc->up, divisor);
	card->down = some_rate(s, sc->down, divisor);
}

static void plan(struct sim *s)
{
	for (uint32_t i = 0; i < s->host_count; i++) {
		const struct sim_host *h = &s->hosts[i];

		sim_queue_push(s->queue, h->start_ns, EV_START, i, 0, 0);
		if (h->kill_ns != SIM_NO)
			sim_queue_push(s->queue, h->kill_ns, EV_KILL, i, 0, 0);
		s->left += is_counted(h);
	}
	if (s->sc->resets_per_s > 0)
		sim_queue_push(s->queue, SIM_EPOCH_MS * SIM_MS, EV_RESET, 0, 0,
			       0);
	sim_queue_push(s->queue,
		       SIM_EPOCH_MS * SIM_MS +
			       (uint64_t)(scenario_bound_s(s->sc) * 5e8),
		       EV_SAMPLE, 0, 0, 0);
	if (s->verbose)
		sim_queue_push(s->queue, SIM_EPOCH_MS * SIM_MS, EV_PROGRESS, 0,
			       0, 0);
}

bool sim_open(struct sim *s, const struct scenario *sc, uint64_t seed)
{
	memset(s, 0, sizeof(*s));
	if (!scenario_policy(sc, &s->policy))
		return false;
	s->sc = sc;
	s->seed = seed;
	kr_rand_init(&s->rand, seed);
	s->origin_count = (uint32_t)sc->origins;
	s->host_count = (uint32_t)(sc->hosts + sc->origins);
	s->piece_bytes = scenario_piece_bytes(sc);
	s->layer_bytes = sc->size_bytes / sc->layers;
	s->queue = sim_queue_open();
	net_init(&s->net, s->queue, s->host_count, kr_rand_u64(&s->rand));
	s->net.latency_min_ns = sc->latency_min_ns;
	s->net.latency_max_ns = sc->latency_max_ns;
	s->net.dial_ns = sc->dial_ns;
	s->net.socket_bytes = sc->socket_bytes;
	s->net.uplink = sc->zone_uplink;
	s->hosts = sim_get(s->host_count * sizeof(*s->hosts));
	for (uint32_t i = 0; i < s->host_count; i++)
		make_host(s, i);
	s->model = sc->model == SCENARIO_KRAKEN ? &sim_kraken_model
						: &sim_swarm_model;
	s->model_ctx = s->model->open(s);
	return true;
}

void sim_close(struct sim *s)
{
	s->model->close(s->model_ctx);
	net_fini(&s->net);
	sim_queue_close(s->queue);
	sim_put(s->hosts);
}

/* ---- running ------------------------------------------------------------ */

static void kill(struct sim *s, uint32_t host)
{
	struct sim_host *h = &s->hosts[host];

	if (h->dead)
		return;
	h->dead = true;
	s->model->kill(s->model_ctx, host);
	net_kill(&s->net, host, h->mute);
}

static void reset_some(struct sim *s)
{
	if (s->net.link_count > 1)
		net_reset(&s->net,
			  1 + (uint32_t)sim_draw(s, s->net.link_count - 1));
	sim_queue_push(s->queue, s->net.now_ns + SIM_S / s->sc->resets_per_s,
		       EV_RESET, 0, 0, 0);
}

static void say_progress(struct sim *s)
{
	uint64_t got = 0;

	for (uint32_t i = s->origin_count; i < s->host_count; i++)
		got += s->net.hosts[i].got_bytes;
	fprintf(stderr,
		"%6.2f s: %u hosts to go, %" PRIu64
		" MB moved, %u links, %" PRIu64 " M events\n",
		(double)(s->net.now_ns - SIM_EPOCH_MS * SIM_MS) / 1e9, s->left,
		got / 1000000, s->net.links_used,
		sim_queue_popped(s->queue) / 1000000);
	sim_queue_push(s->queue, s->net.now_ns + SIM_S, EV_PROGRESS, 0, 0, 0);
}

static void happen(struct sim *s, const struct sim_event *ev)
{
	s->net.now_ns = ev->at_ns;
	switch (ev->type) {
	case EV_START:
		if (!s->hosts[ev->a].dead)
			s->model->start(s->model_ctx, ev->a);
		break;
	case EV_KILL:
		kill(s, ev->a);
		break;
	case EV_RESET:
		reset_some(s);
		break;
	case EV_SAMPLE:
		s->model->sample(s->model_ctx);
		break;
	case EV_PROGRESS:
		say_progress(s);
		break;
	default:
		if (ev->type >= NET_EV_FIRST)
			net_happen(&s->net, ev);
		else
			s->model->happen(s->model_ctx, ev);
	}
}

void sim_run(struct sim *s)
{
	const uint64_t until_ns = SIM_EPOCH_MS * SIM_MS + s->sc->give_up_ns;
	struct sim_event ev;

	plan(s);
	while (s->left > 0 && sim_queue_pop(s->queue, &ev) &&
	       ev.at_ns < until_ns)
		happen(s, &ev);
}
