/*
 * test/sim/control/tracker_sim.c - a tracker among hundreds of peers that
 * come, go, crash, lie and finish, checked against a model that is too slow
 * and too simple to be wrong.
 *
 *	tracker_sim [first-seed [seeds]]
 *
 * After every announce: the rules of SWARM.md on handouts, by the model; after
 * every step of the short runs: every invariant of the tracker.  A seed that
 * fails is on stderr; the same seed gives the same trace.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/tracker.h"
#include "core/rand.h"

#define SEC UINT64_C(1000000000)
#define TTL (100 * SEC)

enum { PEERS = 150, BLOBS = 6, ZONES = 4, STEPS = 6000, CAP = 40 };

struct fact { /* what the model knows of (peer, blob) */
	bool known, complete;
	uint32_t degree;
	uint64_t expires_ns, quarantine_ns;
};

struct sim {
	struct kr_tracker *t;
	struct kr_rand rand;
	uint64_t now_ns, trace, seed;
	struct fact facts[PEERS][BLOBS];
};

#define REQUIRE(s, cond) ((cond) ? (void)0 : give_up((s), #cond, __LINE__))

_Noreturn static void give_up(const struct sim *s, const char *what, int line)
{
	fprintf(stderr,
		"tracker_sim: line %d: %s; repeat: tracker_sim %llu 1\n", line,
		what, (unsigned long long)s->seed);
	exit(1);
}

static struct kr_tracker_peer make_peer(uint32_t n)
{
	struct kr_tracker_peer p = { .role = KR_PEER_AGENT };

	memcpy(p.id.bytes, &n, sizeof(n));
	p.addr.port = (uint16_t)(n + 1);
	(void)snprintf(p.zone, sizeof(p.zone), "z%u", n % ZONES);
	return p;
}

static struct kr_digest make_digest(uint32_t b)
{
	return (struct kr_digest){ .alg = KR_SHA256,
				   .bytes = { (uint8_t)b, 1 } };
}

static bool alive(const struct sim *s, uint32_t n, uint32_t b)
{
	return s->facts[n][b].known && s->facts[n][b].expires_ns > s->now_ns;
}

static bool may_be_told(const struct sim *s, uint32_t asker, uint32_t n,
			uint32_t b)
{
	const struct fact *f = &s->facts[n][b];

	return n != asker && alive(s, n, b) && f->quarantine_ns <= s->now_ns &&
	       !(f->complete && s->facts[asker][b].complete);
}

struct tally {
	uint32_t seeds, open_seeds, far, all;
};

/* What could be handed out. */
static struct tally count_candidates(const struct sim *s, uint32_t asker,
				     uint32_t b)
{
	struct tally y = { 0 };

	for (uint32_t n = 0; n < PEERS; n++) {
		const struct fact *f = &s->facts[n][b];

		if (!may_be_told(s, asker, n, b))
			continue;
		const bool open = f->degree < CAP;
		y.seeds += f->complete;
		y.open_seeds += f->complete && open;
		y.far += open && n % ZONES != asker % ZONES;
		y.all += open;
	}
	return y;
}

static uint32_t min(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

static void judge(struct sim *s, uint32_t asker, uint32_t b, uint32_t want,
		  const struct kr_tracker_pick *picks, uint32_t count)
{
	const struct tally can = count_candidates(s, asker, b);
	bool seen[PEERS] = { 0 };
	struct tally got = { 0 };
	uint32_t full = 0;

	REQUIRE(s, count <= want);
	for (uint32_t i = 0; i < count; i++) {
		uint32_t n;
		memcpy(&n, picks[i].id.bytes, sizeof(n));
		REQUIRE(s, n < PEERS && !seen[n]);
		seen[n] = true;
		REQUIRE(s, may_be_told(s, asker, n, b));
		REQUIRE(s, picks[i].complete == s->facts[n][b].complete);
		REQUIRE(s, picks[i].addr.port == n + 1);
		got.seeds += picks[i].complete;
		got.far += n % ZONES != asker % ZONES;
		full += s->facts[n][b].degree >= CAP;
		s->trace = (s->trace ^ n) * UINT64_C(0x100000001b3);
	}
	REQUIRE(s,
		got.seeds >= min(min(want, can.seeds), KR_TRACKER_SEEDS_MIN));
	/* One over its cap is there only for want of another seed. */
	REQUIRE(s, full <= KR_TRACKER_SEEDS_MIN -
				   min(KR_TRACKER_SEEDS_MIN, can.open_seeds));
	REQUIRE(s, count == min(want, can.all + full));
	REQUIRE(s, got.far >= min(min(KR_TRACKER_FAR_MIN, can.far),
				  want - min(want, KR_TRACKER_SEEDS_MIN)));
}

static void announce(struct sim *s, uint32_t n, uint32_t b)
{
	static const uint32_t wants[] = { 0, 1, 2, 5, 20, 50, 50, 50 };
	struct fact *f = &s->facts[n][b];
	struct kr_tracker_pick picks[KR_TRACKER_WANT_MAX];
	const struct kr_tracker_peer p = make_peer(n);
	const uint32_t want = wants[kr_rand_below(&s->rand, 8)];
	uint32_t count;

	if (!alive(s, n, b))
		*f = (struct fact){ .known = true };
	f->complete = f->complete || kr_rand_below(&s->rand, 10) == 0;
	f->degree = kr_rand_below(&s->rand, 50);
	f->expires_ns = s->now_ns + TTL;
	const struct kr_tracker_item item = { .digest = make_digest(b),
					      .complete = f->complete,
					      .degree = f->degree,
					      .want = want };
	REQUIRE(s, kr_tracker_announce(s->t, s->now_ns, &p, &item, picks,
				       KR_TRACKER_WANT_MAX, &count) == KR_OK);
	judge(s, n, b, want, picks, count);
}

static void leave(struct sim *s, uint32_t n, uint32_t b)
{
	const struct kr_tracker_peer p = make_peer(n);
	const struct kr_digest d = make_digest(b);

	kr_tracker_leave(s->t, s->now_ns, &p.id, &d);
	if (s->facts[n][b].quarantine_ns <= s->now_ns)
		s->facts[n][b].known = false;
}

/* Members that expired may or may not be forgotten yet. */
static void report(struct sim *s, uint32_t n, uint32_t b)
{
	const struct kr_tracker_peer p = make_peer(n);
	const struct kr_digest d = make_digest(b);

	if (!alive(s, n, b))
		return;
	REQUIRE(s, kr_tracker_report(s->t, s->now_ns, &p.id, &d) == KR_OK);
	s->facts[n][b].quarantine_ns = s->now_ns + TTL;
	s->facts[n][b].expires_ns = s->now_ns + TTL;
}

static void step(struct sim *s)
{
	const uint32_t n = kr_rand_below(&s->rand, PEERS);
	const uint32_t b = kr_rand_below(&s->rand, BLOBS);
	const uint32_t what = kr_rand_below(&s->rand, 100);

	s->now_ns += kr_rand_u64(&s->rand) % (SEC / 2);
	if (kr_rand_below(&s->rand, 2000) == 0)
		s->now_ns += 2 * TTL; /* everybody was away */
	if (what < 85)
		announce(s, n, b);
	else if (what < 95)
		leave(s, n, b);
	else if (what < 98)
		report(s, n, b);
	else
		(void)kr_tracker_expire(s->t, s->now_ns, what);
}

static uint64_t run(uint64_t seed, bool check)
{
	const struct kr_tracker_opts opts = { .alloc = kr_alloc_heap(),
					      .seed = seed,
					      .ttl_ns = TTL,
					      .quarantine_ns = TTL,
					      .degree_cap = CAP,
					      .peers_max = 2 * PEERS };
	static struct sim sim;
	struct sim *s = &sim;
	struct kr_tracker_stats stats;

	memset(s, 0, sizeof(*s));
	s->seed = seed;
	s->now_ns = SEC;
	kr_rand_init(&s->rand, seed);
	REQUIRE(s, kr_tracker_open(&opts, &s->t) == KR_OK);
	for (int i = 0; i < STEPS; i++) {
		step(s);
		if (check && i % 16 == 0)
			kr_tracker_check(s->t);
	}
	kr_tracker_check(s->t);
	/* Liveness: with nobody there any more, nothing is kept. */
	(void)kr_tracker_expire(s->t, s->now_ns + 2 * TTL, UINT32_MAX);
	kr_tracker_stats_get(s->t, &stats);
	REQUIRE(s, stats.members == 0 && stats.blobs == 0 && stats.peers == 0);
	REQUIRE(s, stats.handed > STEPS);
	kr_tracker_close(s->t);
	return s->trace;
}

int main(int argc, char **argv)
{
	const uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
	const uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 10) : 20;

	for (uint64_t seed = first; seed < first + count; seed++) {
		const uint64_t trace = run(seed, true);

		if (run(seed, false) != trace) {
			fprintf(stderr,
				"tracker_sim: seed %llu: the trace "
				"differs\n",
				(unsigned long long)seed);
			return 1;
		}
	}
	printf("tracker_sim: %llu seeds, %d steps each\n",
	       (unsigned long long)count, STEPS);
	return 0;
}
