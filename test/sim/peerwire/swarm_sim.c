/*
 * test/sim/peerwire/swarm_sim.c - swarms of real nodes over a hostile network.
 *
 * Goal:    every host ends with every piece it wants, each accepted once and
 *          intact, whatever the network, the disks and the peers do meanwhile.
 * Method:  support/swarm_world plays the drivers, in virtual time.  Everything
 *          follows from the seed:   swarm_sim 12345
 * Phases:  SAFETY - faults on, invariants checked all along;
 *          LIVENESS - faults off, all must finish in bounded time.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/err.h"
#include "test/support/swarm_world.h"

#define MIB (UINT64_C(1) << 20)

static struct world w;
static uint64_t seed;

static void on_abort(int sig)
{
	(void)sig;
	fprintf(stderr,
		"FAILED: seed %" PRIu64 " event %" PRIu64 " at %" PRIu64
		" ms\n",
		seed, w.events, w.now_ns / WORLD_MS);
}

static uint32_t draw(uint32_t below)
{
	return kr_rand_below(&w.rand, below);
}

static uint64_t some_rate(void)
{
	static const uint64_t mib_per_s[] = { 5, 30, 100, 300, 1000 };

	return mib_per_s[draw(5)] * MIB;
}

/* Mostly a handful of hosts, now and then a crowd. */
static uint32_t some_host_count(void)
{
	const uint32_t kind = draw(40);

	if (kind == 0)
		return 30 + draw(31);
	return kind < 8 ? 8 + draw(12) : 2 + draw(6);
}

static void some_policy(void)
{
	struct kr_policy *p = &w.policy;

	p->ban_ns = 500 * WORLD_MS; /* the damage is the network's here */
	p->degree_target = 2 + draw(16);
	p->degree_max = p->degree_target * (1 + draw(2));
	p->degree_seed_max = 3 + draw(40);
	p->conns_max = 8 + draw(64);
	p->upload_slots = 1 + draw(4);
	p->upload_queue_max = 4 + draw(200);
	p->reveal = draw(4) != 0;
	p->pipeline_origin_pieces = 1 + draw(2);
	p->have_batch_ns = draw(20) * WORLD_MS;
	p->have_at_once_pieces = draw(16);
	p->endgame_copies_max = 1 + draw(3);
	if (draw(4) == 0)
		p->window_min_bytes = p->window_max_bytes = MIB;
	/* Limits that are told; the network of the world has its own. */
	if (draw(6) == 0)
		p->up_bytes_per_s = (1 + draw(10)) * MIB;
	if (draw(6) == 0)
		p->down_bytes_per_s = (1 + draw(10)) * MIB;
}

static uint64_t some_size(uint32_t piece_bytes)
{
	switch (draw(5)) {
	case 0:
		return 1 + draw(piece_bytes); /* a piece or less */
	case 1:
		return (1 + draw(8)) * (uint64_t)piece_bytes + 1;
	default:
		return piece_bytes * (uint64_t)(2 + draw(60)) + draw(1000);
	}
}

static void build(void)
{
	const uint32_t host_count = some_host_count();
	const uint32_t blob_count = 1 + draw(3);
	const uint32_t seeds = 1 + draw(2);

	world_init(&w, seed);
	some_policy();
	w.check_every = host_count < 10 ? 1 + draw(20) : 200;
	w.latency_max_ns = w.latency_min_ns + draw(10) * WORLD_MS;
	for (uint32_t i = 0; i < blob_count; i++) {
		const uint32_t piece = 65536u << draw(5);

		(void)world_blob_add(&w, some_size(piece), piece);
	}
	for (uint32_t i = 0; i < host_count; i++)
		(void)world_host_add(&w,
				     i < seeds ? KR_PEER_ORIGIN : KR_PEER_AGENT,
				     some_rate(), some_rate());
	for (uint32_t b = 0; b < blob_count; b++)
		for (uint32_t i = 0; i < host_count; i++)
			if (i >= seeds)
				world_want(&w, i, b);
			else if (draw(3) == 0)
				world_store(&w, i, b);
			else
				world_seed(&w, i, b);
}

static void some_faults(void)
{
	const uint32_t scale = draw(4);
	struct world_faults *f = &w.chance;

	if (scale == 0)
		return;
	f->reset_ppm = draw(5000 * scale);
	f->blackhole_ppm = draw(1500 * scale);
	f->freeze_ppm = draw(1000 * scale);
	f->damage_ppm = draw(20000 * scale);
	f->garble_ppm = draw(2) * draw(10000 * scale);
	f->dial_fail_ppm = draw(300000);
	f->memory_ppm = draw(3) == 0 ? draw(20000 * scale) : 0;
	f->crash_ppm = draw(300 * scale);
}

/* What drivers do besides: readers come, move and go; blobs are left and
 * joined again. */
static void disturb(void)
{
	const uint32_t host = draw(w.host_count), blob = draw(w.blob_count);
	const struct world_copy *c = &w.hosts[host].copies[blob];

	if (!w.hosts[host].up || !c->wanted)
		return;
	if (!c->added) {
		world_add_again(&w, host, blob);
	} else if (draw(8) == 0 && !c->done) {
		world_remove(&w, host, blob);
	} else {
		world_reader(&w, host, blob, draw(3),
			     draw(4) == 0 ? UINT32_MAX
					  : draw(w.blobs[blob].piece_count));
	}
}

/* All that should be in a swarm is in it again. */
static void end_disturbances(void)
{
	for (uint32_t i = 0; i < w.host_count; i++)
		for (uint32_t b = 0; b < w.blob_count; b++)
			if (w.hosts[i].up && !w.hosts[i].copies[b].stored &&
			    !w.hosts[i].copies[b].added)
				world_add_again(&w, i, b);
}

static uint64_t run(void)
{
	uint64_t until_ns;
	bool disturbed;

	memset(&w, 0, sizeof(w));
	kr_rand_init(&w.rand, seed * 77); /* for what is drawn before init */
	build();
	some_faults();
	disturbed = draw(2) == 0;
	until_ns = w.now_ns + (100 + draw(2000)) * WORLD_MS;
	while (w.now_ns < until_ns) {
		world_run(&w, w.now_ns + 10 * WORLD_MS);
		if (disturbed)
			disturb();
	}
	memset(&w.chance, 0, sizeof(w.chance));
	end_disturbances();
	kr_assert(world_run_until_done(&w, w.now_ns + 300 * WORLD_S));
	world_check(&w);
	for (uint32_t i = 0; i < w.host_count; i++)
		for (uint32_t b = 0; b < w.blob_count; b++)
			kr_assert(w.hosts[i].copies[b].accepted <=
				  w.blobs[b].piece_count);
	return w.trace_hash;
}

int main(int argc, char **argv)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	const uint64_t some = 150;
#else
	const uint64_t some = 2000;
#endif
	const uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
	uint64_t count = argc > 1 ? 1 : some;
	uint64_t faults = 0, events = 0, slowest_ns = 0;
	uint64_t slowest_seed = 0;

	if (argc > 2)
		count = strtoull(argv[2], NULL, 0);
	signal(SIGABRT, on_abort);
	for (seed = first; seed < first + count; seed++) {
		const uint64_t hash = run();

		faults += w.faults;
		events += w.events;
		if (w.now_ns > slowest_ns) {
			slowest_ns = w.now_ns;
			slowest_seed = seed;
		}
		world_fini(&w);
		if (seed % 100 == 0) {
			kr_assert(run() ==
				  hash); /* determinism is tested too */
			world_fini(&w);
		}
	}
	printf("%" PRIu64 " seeds, %" PRIu64 " events, %" PRIu64
	       " faults, slowest %" PRIu64 " ms (seed %" PRIu64 "): ok\n",
	       count, events, faults, slowest_ns / WORLD_MS, slowest_seed);
	return 0;
}
