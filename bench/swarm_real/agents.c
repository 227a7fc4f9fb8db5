#define _GNU_SOURCE
#include "bench/swarm_real/agents.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/blob_hash.h"
#include "control/trackers.h"
#include "control/transfer.h"
#include "core/alloc.h"
#include "core/clock.h"
#include "core/hash.h"
#include "core/list.h"
#include "core/rand.h"
#include "uring/ring.h"

enum {
	OPS_MAX = 65536,
	READ_BYTES = 256 * 1024,
};
#define MS_NS       UINT64_C(1000000)
#define TICK_NS     (10 * MS_NS)
#define AGAIN_NS    (100 * MS_NS)
#define ANNOUNCE_NS (30000 * MS_NS)
#define RPC_NS      (20000 * MS_NS)
#define SEED_TTL_NS (3600000 * MS_NS)

struct process;

struct agent {
	struct process *p;
	struct crowd_agent *ret;
	struct kr_store *store;
	struct kr_transfer *transfer;
	struct kr_trackers *trackers;
	struct kr_trackers_ask ask;
	struct kr_blob *blob;
	struct kr_blob_wait wait;
	struct kr_timer timer; /* its start, or the next try */
	bool ended;
};

struct process {
	struct crowd *c;
	struct crowd_process *ret;
	struct kr_io *io;
	struct kr_work_pool *pool;
	struct kr_policy policy;
	struct kr_timer tick;
	struct agent *agents;
	uint32_t index;
	uint32_t first, count; /* of the crowd's agents, ours */
	bool went;
};

/* ---- what a process takes ----------------------------------------------- */

/* Without what is mapped from files: those are the stores. */
static uint64_t rss_bytes(void)
{
	char line[256];
	unsigned long long kib = 0;
	FILE *f = fopen("/proc/self/status", "r");

	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		if (sscanf(line, "RssAnon: %llu kB", &kib) == 1)
			break;
	if (f != NULL)
		fclose(f);
	return kib * 1024;
}

static uint32_t count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	uint32_t n = 0;

	while (d != NULL && readdir(d) != NULL)
		n++;
	if (d != NULL)
		closedir(d);
	return n;
}

/* ---- an agent ----------------------------------------------------------- */

static void end(struct agent *a, enum kr_err err)
{
	kr_assert(!a->ended);
	a->ended = true;
	a->ret->err = err;
	if (err == KR_OK)
		a->ret->done_ns = kr_clock_mono_ns();
	atomic_fetch_add(&a->p->c->ended, 1);
}

static void need_peers(void *ctx, struct kr_blob *b)
{
	struct agent *a = ctx;

	kr_trackers_need_peers(a->trackers, b);
}

static void bad_peer(void *ctx, struct kr_blob *b, const struct kr_peer_id *id,
		     const struct kr_addr *addr)
{
	struct agent *a = ctx;

	(void)addr;
	kr_trackers_report(a->trackers, kr_blob_digest(b), id);
}

static void changed(void *ctx, struct kr_blob *b, bool complete)
{
	struct agent *a = ctx;

	if (complete)
		kr_trackers_completed(a->trackers, b);
}

static void fetched(struct kr_blob_wait *w, enum kr_err err)
{
	end(KR_CONTAINER_OF(w, struct agent, wait), err);
}

static void begin(struct kr_timer *t);

static void located(struct kr_trackers_ask *ask, enum kr_err err,
		    struct kr_bytes bytes, const char *text)
{
	struct agent *a = KR_CONTAINER_OF(ask, struct agent, ask);
	struct kr_metainfo m;

	(void)text;
	if (err == KR_E_BUSY || err == KR_E_UNAVAILABLE) {
		kr_io_timer_set(a->p->io, &a->timer,
				kr_io_now_ns(a->p->io) + AGAIN_NS, begin);
		return;
	}
	if (err == KR_OK)
		err = kr_metainfo_decode(kr_alloc_heap(), bytes.ptr, bytes.len,
					 &m);
	if (err == KR_OK) {
		a->ret->size_bytes = m.size_bytes;
		err = kr_digest_equal(&m.digest, &a->p->c->opts.digest)
			      ? kr_transfer_fetch(a->transfer, "bench/crowd",
						  &m, 1, &a->blob)
			      : KR_E_CORRUPT;
		kr_metainfo_fini(kr_alloc_heap(), &m);
	}
	if (err == KR_OK)
		kr_blob_wait(a->blob, &a->wait, fetched);
	else
		end(a, err);
}

static void begin(struct kr_timer *t)
{
	struct agent *a = KR_CONTAINER_OF(t, struct agent, timer);

	if (a->ret->began_ns == 0)
		a->ret->began_ns = kr_clock_mono_ns();
	kr_trackers_metainfo(a->trackers, &a->ask, "bench/crowd",
			     &a->p->c->opts.digest, located);
}

static struct kr_peer_id random_id(void)
{
	struct kr_peer_id id;

	for (size_t i = 0; i < sizeof(id.bytes); i += sizeof(uint64_t)) {
		const uint64_t v = kr_clock_entropy();

		memcpy(&id.bytes[i], &v, sizeof(v));
	}
	return id;
}

static enum kr_err open_transfer(struct agent *a)
{
	struct kr_transfer_opts o = {
		.io = a->p->io,
		.store = a->store,
		.policy = &a->p->policy,
		.id = random_id(),
		.role = KR_PEER_AGENT,
		.cluster = "bench",
		.zone = "",
		.ctx = a,
		.need_peers = need_peers,
		.bad_peer = bad_peer,
		.changed = changed,
	};
	enum kr_err err = kr_addr_parse("127.0.0.1:0", 11, &o.listen);

	if (err == KR_OK)
		err = kr_transfer_open(&o, &a->transfer);
	if (err == KR_OK)
		kr_trackers_attach(a->trackers, a->transfer, &o.id,
				   kr_transfer_addr(a->transfer).port);
	return err;
}

static enum kr_err open_agent(struct process *p, struct agent *a,
			      uint32_t index)
{
	const struct crowd_opts *o = &p->c->opts;
	char dir[256];
	struct kr_store_opts so = { .dir = dir };
	struct kr_trackers_opts to = {
		.io = p->io,
		.names = &o->tracker_name,
		.addrs = &o->tracker,
		.count = 1,
		.self = { .role = KR_PEER_AGENT, .cluster = "bench" },
		.interval_ns = ANNOUNCE_NS,
		.rpc_timeout_ns = RPC_NS,
		.seed_ttl_ns = SEED_TTL_NS,
		.seeds_max = 4,
		.seed = kr_clock_entropy(),
	};
	enum kr_err err;

	a->p = p;
	a->ret = &p->c->agents[index];
	snprintf(dir, sizeof(dir), "%s/%u", o->dir, index);
	err = kr_store_open(&so, &a->store);
	if (err == KR_OK)
		err = kr_trackers_open(&to, &a->trackers);
	if (err == KR_OK)
		err = open_transfer(a);
	if (err != KR_OK)
		fprintf(stderr, "agent %u: %s\n", index, kr_err_text(err));
	return err;
}

/* The stored file, read and hashed by nobody's leave. */
static bool is_intact(struct agent *a, uint8_t *buf)
{
	struct kr_store_blob *b;
	struct kr_hash h;
	struct kr_digest got;
	enum kr_err err =
		kr_store_blob_open(a->store, &a->p->c->opts.digest, &b);

	if (err != KR_OK)
		return false;
	err = kr_hash_init(&h, KR_SHA256);
	for (uint64_t at = 0, size = kr_store_blob_size(b);
	     err == KR_OK && at < size;) {
		const size_t n = size - at < READ_BYTES ? (size_t)(size - at)
							: READ_BYTES;

		err = kr_file_read_all(kr_store_blob_fd(b), buf, n, at);
		kr_hash_update(&h, buf, n);
		at += n;
	}
	kr_hash_final(&h, &got);
	kr_store_blob_close(b);
	return err == KR_OK && kr_digest_equal(&got, &a->p->c->opts.digest);
}

/* ---- a process ---------------------------------------------------------- */

static void go(struct process *p, uint64_t go_ns)
{
	const struct crowd_opts *o = &p->c->opts;

	p->went = true;
	for (uint32_t i = 0; i < p->count; i++) {
		/* neighbours in time are in different processes */
		const uint64_t nth = (uint64_t)i * o->processes + p->index;

		kr_io_timer_set(p->io, &p->agents[i].timer,
				go_ns + o->start_ns * nth / o->agents, begin);
	}
}

static void on_tick(struct kr_timer *t)
{
	struct process *p = KR_CONTAINER_OF(t, struct process, tick);
	const uint64_t go_ns = atomic_load(&p->c->go_ns);

	if (atomic_load(&p->c->stop)) {
		kr_io_stop(p->io);
		return;
	}
	if (go_ns != 0 && !p->went)
		go(p, go_ns);
	kr_io_timer_set(p->io, t, kr_io_now_ns(p->io) + TICK_NS, on_tick);
}

static bool open_process(struct process *p)
{
	struct kr_ring_opts o = {
		.ops_max = OPS_MAX,
		.buffer_count = AGENTS_BUFFERS,
		.buffer_size_bytes = AGENTS_BUFFER_EACH_BYTES,
		.recv_buffer_count = 256,
	};
	enum kr_err err = kr_work_pool_open(2, &p->pool);

	o.pool = p->pool;
	if (err == KR_OK)
		err = kr_ring_open(&o, &p->io);
	if (err != KR_OK) {
		fprintf(stderr, "ring: %s\n", kr_err_text(err));
		return false;
	}
	kr_policy_defaults(&p->policy);
	p->policy.window_max_bytes = p->c->opts.window_bytes;
	p->policy.window_min_bytes = p->c->opts.window_bytes;
	p->policy.degree_target = p->c->opts.degree;
	p->policy.degree_max = 2 * p->c->opts.degree;
	p->policy.conns_max = 4 * p->c->opts.degree;
	p->policy.dials_max = (p->c->opts.degree + 1) / 2;
	p->ret->ring_rss_bytes = rss_bytes();
	for (uint32_t i = 0; i < p->count; i++) {
		if (open_agent(p, &p->agents[i], p->first + i) != KR_OK)
			return false;
		atomic_fetch_add(&p->c->ready, 1);
	}
	p->ret->agents_rss_bytes = rss_bytes();
	return true;
}

static void look(struct process *p)
{
	struct rusage ru;

	p->ret->done_rss_bytes = rss_bytes();
	p->ret->fds = count_fds();
	getrusage(RUSAGE_SELF, &ru);
	p->ret->peak_rss_bytes = (uint64_t)ru.ru_maxrss * 1024;
	p->ret->cpu_s =
		(double)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) +
		(double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) / 1e6;
	for (uint32_t i = 0; i < p->count; i++) {
		struct agent *a = &p->agents[i];

		kr_transfer_stats(a->transfer, &a->ret->stats);
		a->ret->conns = a->ret->stats.conns_open;
	}
}

bool agents_run(struct crowd *c, uint32_t index)
{
	const uint32_t n = c->opts.agents, of = c->opts.processes;
	struct process p = {
		.c = c,
		.ret = &c->processes[index],
		.index = index,
		.first = (uint32_t)((uint64_t)n * index / of),
	};
	uint8_t *buf = malloc(READ_BYTES);

	p.count = (uint32_t)((uint64_t)n * (index + 1) / of) - p.first;
	p.agents = calloc(p.count, sizeof(*p.agents));
	if (buf == NULL || p.agents == NULL || !open_process(&p))
		return false; /* the process ends, and all with it */
	on_tick(&p.tick);
	kr_io_run(p.io);
	look(&p);
	for (uint32_t i = 0; i < p.count; i++)
		p.agents[i].ret->intact = is_intact(&p.agents[i], buf);
	return true;
}
