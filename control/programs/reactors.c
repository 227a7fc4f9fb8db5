#define _GNU_SOURCE
#include "control/programs/reactors.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "core/log.h"
#include "core/thread.h"

uint32_t kr_reactors_count(enum kr_role role, const struct kr_conf *c)
{
	const uint32_t cores = kr_thread_cores();

	if (role != KR_ROLE_ORIGIN)
		return 1;
	if (c->reactors > 0)
		return (uint32_t)c->reactors;
	return cores < KR_REACTORS_AUTO ? cores : KR_REACTORS_AUTO;
}

static bool has_swarm(enum kr_role role)
{
	return role == KR_ROLE_AGENT || role == KR_ROLE_ORIGIN ||
	       role == KR_ROLE_PROXY;
}

void kr_reactors_ring(enum kr_role role, const struct kr_conf *c,
		      uint32_t reactor, struct kr_ring_opts *ret)
{
	*ret = (struct kr_ring_opts){
		.ops_max = (uint32_t)c->ops_max,
		.sq_entries = (uint32_t)c->sq_entries,
		.buffer_count = 1,
		.buffer_size_bytes = KR_REACTORS_BUFFER_BYTES,
		.recv_buffer_count = (uint32_t)c->recv_buffers,
		.pipe_count = 1,
		.iowq_workers_max = (uint32_t)c->io_workers,
	};
	if (!has_swarm(role))
		return;
	ret->pipe_count = (uint32_t)c->pipes;
	ret->buffer_count =
		reactor == 0 ? (uint32_t)c->block_buffers : KR_SEEDER_BUFFERS;
}

/* ---- CPUs */

static enum kr_err refuse_cpu(const char *text, const char *why)
{
	kr_log_error("reactors", "a reactor cannot be pinned",
		     KR_STR("key", "reactor_cpus"), KR_STR("value", text),
		     KR_STR("why", why),
		     KR_STR("do", "name CPUs that this process may use "
				  "(taskset -p), by number"));
	return KR_E_CONFIG;
}

enum kr_err kr_reactors_pin(const struct kr_conf *c, uint32_t reactor)
{
	cpu_set_t set;
	char *end;

	if (reactor >= c->reactor_cpus.count)
		return KR_OK;
	const char *text = c->reactor_cpus.list[reactor];
	const unsigned long cpu = strtoul(text, &end, 10);

	if (end == text || *end != '\0' || cpu >= CPU_SETSIZE)
		return refuse_cpu(text, "no number of a CPU");
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	const int errnum =
		pthread_setaffinity_np(pthread_self(), sizeof(set), &set);

	if (errnum != 0)
		return refuse_cpu(text, strerror(errnum));
	kr_log_info("reactors", "pinned", KR_U64("reactor", reactor),
		    KR_U64("cpu", cpu));
	return KR_OK;
}

/* ---- seeders */

static enum kr_err open_ring(void *ctx, uint32_t reactor, struct kr_io **ret)
{
	const struct kr_reactors *r = ctx;
	struct kr_ring_opts opts;
	const enum kr_err err = kr_reactors_pin(&r->rt->conf, reactor);

	if (err != KR_OK)
		return err;
	kr_reactors_ring(r->rt->role, &r->rt->conf, reactor, &opts);
	opts.pool = r->rt->pool;
	return kr_ring_open(&opts, ret);
}

static void close_ring(void *ctx, struct kr_io *io)
{
	(void)ctx;
	kr_ring_close(io);
}

void kr_reactors_share(struct kr_reactors *r, struct kr_runtime *rt,
		       struct kr_transfer_opts *opts)
{
	struct kr_policy *p = &rt->conf.policy;
	const uint32_t n = kr_reactors_count(rt->role, &rt->conf);

	r->rt = rt;
	if (n == 1)
		return;
	kr_tokens_init(&r->up, p->up_bytes_per_s, p, kr_io_now_ns(rt->io));
	r->is_shared = true;
	opts->up = &r->up;
	opts->share = KR_LISTEN_FIRST;
	p->conns_max = (p->conns_max + n - 1) / n;
	p->up_bytes_per_s = (p->up_bytes_per_s + n - 1) / n;
}

enum kr_err kr_reactors_start(struct kr_reactors *r,
			      const struct kr_transfer_opts *opts,
			      struct kr_store *store,
			      struct kr_transfer *transfer)
{
	const struct kr_seeders_opts seeders = {
		.io = r->rt->io,
		.store = store,
		.transfer = transfer,
		.count = kr_reactors_count(r->rt->role, &r->rt->conf) - 1,
		.seed = *opts,
		.ctx = r,
		.open_io = open_ring,
		.close_io = close_ring,
	};
	const enum kr_err err = kr_seeders_open(&seeders, &r->seeders);

	if (err != KR_OK && err != KR_E_CONFIG) /* has been said */
		kr_log_error("reactors", "cannot start a further reactor",
			     KR_ERR("why", err),
			     KR_STR("do", "allow this process more threads, "
					  "descriptors and locked memory, or "
					  "lower reactors"));
	return err;
}

void kr_reactors_make_room(struct kr_reactors *r)
{
	if (r->seeders != NULL)
		kr_seeders_make_room(r->seeders);
}

void kr_reactors_stop(struct kr_reactors *r)
{
	struct kr_seeders *s = r->seeders;

	r->seeders = NULL;
	kr_seeders_close(s);
}

void kr_reactors_fini(struct kr_reactors *r)
{
	if (r->is_shared)
		kr_tokens_fini(&r->up);
	r->is_shared = false;
}
