/*
 * swarm_real - a crowd of agents in a few processes, and what came of them.
 *
 *	swarm_real --tracker IP:PORT --digest sha256:HEX --dir DIR
 *	           [--agents N] [--processes N] [--start-ms N] [--window BYTES]
 *	           [--degree N] [--deadline-s N]
 *
 * DIR is on a disk that has room for the blob times the agents.  The parent
 * has children and a clock; the children have a ring each (agents.h).
 * Exit: 0 every agent has the blob and verified every piece of it, 1 not so,
 * 2 the command line is wrong or something could not be had.
 */
#define _GNU_SOURCE
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench/swarm_real/agents.h"
#include "core/clock.h"
#include "core/log.h"
#include "peerwire/metainfo.h"

enum { AGENTS_MAX = 20000, OPEN_S = 120, CLOSE_S = 60 };
#define S_NS UINT64_C(1000000000)

static int usage(void)
{
	fputs("usage: swarm_real --tracker IP:PORT --digest sha256:HEX --dir "
	      "DIR\n"
	      "                  [--agents N] [--processes N] [--start-ms N]\n"
	      "                  [--window BYTES] [--degree N] [--deadline-s "
	      "N]\n",
	      stderr);
	return 2;
}

static bool take(const char *name, const char *value, struct crowd_opts *o)
{
	const uint64_t n = strtoull(value, NULL, 0);

	if (strcmp(name, "--tracker") == 0) {
		o->tracker_name = value;
		return kr_addr_parse(value, strlen(value), &o->tracker) ==
		       KR_OK;
	}
	if (strcmp(name, "--digest") == 0)
		return kr_digest_parse(value, strlen(value), &o->digest) ==
		       KR_OK;
	if (strcmp(name, "--dir") == 0)
		o->dir = value;
	else if (strcmp(name, "--agents") == 0)
		o->agents = (uint32_t)n;
	else if (strcmp(name, "--processes") == 0)
		o->processes = (uint32_t)n;
	else if (strcmp(name, "--start-ms") == 0)
		o->start_ns = n * 1000000;
	else if (strcmp(name, "--degree") == 0)
		o->degree = (uint32_t)n;
	else if (strcmp(name, "--window") == 0)
		o->window_bytes = n;
	else if (strcmp(name, "--deadline-s") == 0)
		o->deadline_ns = n * S_NS;
	else
		return false;
	return true;
}

static bool parse(int argc, char **argv, struct crowd_opts *o)
{
	*o = (struct crowd_opts){ .agents = 100,
				  .processes = 4,
				  .start_ns = S_NS / 2,
				  .window_bytes = 1 << 20,
				  .degree = 8,
				  .deadline_ns = 300 * S_NS };
	for (int i = 1; i < argc; i += 2)
		if (i + 1 == argc || !take(argv[i], argv[i + 1], o))
			return false;
	return o->tracker_name != NULL && o->digest.alg == KR_SHA256 &&
	       o->dir != NULL && o->agents > 0 && o->agents <= AGENTS_MAX &&
	       o->processes > 0 && o->processes <= CROWD_PROCESSES_MAX &&
	       o->processes <= o->agents && o->window_bytes > 0 &&
	       o->degree > 0 && o->degree < 1000;
}

/* ---- children ----------------------------------------------------------- */

static void raise_limits(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) != 0)
		return;
	r.rlim_cur = r.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &r);
}

static pid_t start_process(struct crowd *c, uint32_t index)
{
	const pid_t parent = getpid(), pid = fork();

	if (pid != 0)
		return pid;
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	signal(SIGPIPE, SIG_IGN);
	kr_log_set_level(KR_LOG_ERROR);
	_exit(agents_run(c, index) ? 0 : 1);
}

static void nap(void)
{
	const struct timespec t = { .tv_nsec = 20000000 };

	(void)nanosleep(&t, NULL);
}

/* Wait until @counter is @goal; false: not by @until_ns, or a child is dead. */
static bool wait_count(atomic_uint *counter, uint32_t goal, uint64_t until_ns,
		       const char *what)
{
	const uint64_t began_ns = kr_clock_mono_ns();
	uint64_t said_ns = began_ns;

	while (atomic_load(counter) < goal) {
		const uint64_t now = kr_clock_mono_ns();

		if (now - said_ns > 5 * S_NS) {
			fprintf(stderr, "  %.0f s: %u of %u %s\n",
				(double)(now - began_ns) / 1e9,
				atomic_load(counter), goal, what);
			said_ns = now;
		}
		if (waitpid(-1, NULL, WNOHANG) > 0) {
			fprintf(stderr, "a process of agents has ended\n");
			return false;
		}
		if (now > until_ns) {
			fprintf(stderr, "%u of %u %s in time\n",
				atomic_load(counter), goal, what);
			return false;
		}
		nap();
	}
	return true;
}

/* ---- what came of it ---------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double quantile(const double *t, uint32_t count, double q)
{
	const uint32_t i = (uint32_t)(q * count);

	return count == 0 ? 0 : t[i < count ? i : count - 1];
}

static void print_times(const struct crowd *c)
{
	const uint64_t go_ns = atomic_load(&c->go_ns);
	double *own = calloc(c->opts.agents, sizeof(*own));
	uint32_t count = 0;
	double last = 0;

	for (uint32_t i = 0; own != NULL && i < c->opts.agents; i++) {
		const struct crowd_agent *a = &c->agents[i];

		if (a->done_ns == 0)
			continue;
		own[count++] = (double)(a->done_ns - a->began_ns) / 1e9;
		if ((double)(a->done_ns - go_ns) / 1e9 > last)
			last = (double)(a->done_ns - go_ns) / 1e9;
	}
	if (own != NULL)
		qsort(own, count, sizeof(*own), by_value);
	printf("  seconds since own start: p50 %.2f, p99 %.2f, max %.2f; all "
	       "done %.2f after the first began\n",
	       quantile(own, count, 0.5), quantile(own, count, 0.99),
	       quantile(own, count, 1), last);
	free(own);
}

struct sums {
	uint64_t from[KR_PEER_ROLE_COUNT], size_bytes;
	uint64_t verified, failed, duplicate, discarded, overdue, conns;
	uint64_t done, intact, closes[KR_BYE_REASON_COUNT];
};

static struct sums add_up(const struct crowd *c)
{
	struct sums s = { .done = 0 };

	for (uint32_t i = 0; i < c->opts.agents; i++) {
		const struct crowd_agent *a = &c->agents[i];

		for (int r = 0; r < KR_PEER_ROLE_COUNT; r++)
			s.from[r] += a->stats.block_bytes_in[r];
		for (int r = 0; r < KR_BYE_REASON_COUNT; r++)
			s.closes[r] += a->stats.closes[r];
		if (a->size_bytes > s.size_bytes)
			s.size_bytes = a->size_bytes;
		s.verified += a->stats.pieces_verified;
		s.failed += a->stats.pieces_failed;
		s.duplicate += a->stats.duplicate_bytes;
		s.discarded += a->stats.discarded_bytes;
		s.overdue += a->stats.overdue_requests;
		s.conns += a->conns;
		s.done += a->done_ns != 0;
		s.intact += a->intact;
	}
	return s;
}

static void print_processes(const struct crowd *c, const struct sums *s)
{
	const double n = c->opts.agents;
	uint64_t ring = 0, opened = 0, done = 0, peak = 0;
	uint32_t fds = 0;
	double cpu = 0;

	for (uint32_t i = 0; i < c->opts.processes; i++) {
		const struct crowd_process *p = &c->processes[i];

		ring += p->ring_rss_bytes;
		opened += p->agents_rss_bytes;
		done += p->done_rss_bytes;
		if (p->peak_rss_bytes > peak)
			peak = p->peak_rss_bytes;
		if (p->fds > fds)
			fds = p->fds;
		cpu += p->cpu_s;
	}
	printf("  memory: %.0f KB an agent when open, %.0f KB when done "
	       "(block buffers included: %.0f KB); greatest process %.0f MB, "
	       "%u descriptors\n",
	       (double)(opened - ring) / n / 1e3,
	       (double)(done - ring) / n / 1e3,
	       (double)c->opts.processes * AGENTS_BUFFER_BYTES / n / 1e3,
	       (double)peak / 1e6, fds);
	printf("  processor: %.1f s, %.2f ms a MB; %.1f connections an agent "
	       "at the end\n",
	       cpu, cpu * 1e3 / ((double)s->size_bytes * n / 1e6),
	       (double)s->conns / n);
}

static bool report(const struct crowd *c)
{
	const struct sums s = add_up(c);
	const uint64_t pieces = kr_metainfo_piece_count_for(
		s.size_bytes, kr_metainfo_piece_bytes_for(s.size_bytes));
	const double mb = 1e6, blob = (double)s.size_bytes;

	printf("crowd: %u agents in %u processes, %.1f MB in %" PRIu64
	       " pieces\n",
	       c->opts.agents, c->opts.processes, blob / mb, pieces);
	print_times(c);
	printf("  bytes: from agents %.0f MB, from origins %.1f MB (%.2f "
	       "copies); duplicate %.1f MB, discarded %.1f MB; overdue %" PRIu64
	       "\n",
	       (double)s.from[KR_PEER_AGENT] / mb,
	       (double)s.from[KR_PEER_ORIGIN] / mb,
	       (double)s.from[KR_PEER_ORIGIN] / blob, (double)s.duplicate / mb,
	       (double)s.discarded / mb, s.overdue);
	printf("  closes:");
	for (int r = 0; r < KR_BYE_REASON_COUNT; r++)
		if (s.closes[r] > 0)
			printf(" %s %" PRIu64,
			       kr_bye_reason_name((enum kr_bye_reason)r),
			       s.closes[r]);
	printf("\n");
	print_processes(c, &s);
	printf("  complete %" PRIu64 " of %u; pieces verified %" PRIu64
	       " of %" PRIu64 ", failed %" PRIu64 "; files hashed again and "
	       "right: %" PRIu64 "\n",
	       s.done, c->opts.agents, s.verified, pieces * c->opts.agents,
	       s.failed, s.intact);
	return s.done == c->opts.agents && s.intact == c->opts.agents &&
	       s.verified == pieces * c->opts.agents && s.failed == 0;
}

static void print_errors(const struct crowd *c)
{
	uint32_t shown = 0;

	for (uint32_t i = 0; i < c->opts.agents && shown < 5; i++) {
		const struct crowd_agent *a = &c->agents[i];

		if (a->done_ns != 0)
			continue;
		shown++;
		fprintf(stderr,
			"agent %u: %s; %" PRIu64 " pieces verified, %u "
			"connections\n",
			i,
			a->err == KR_OK ? "not done"
					: kr_err_text((enum kr_err)a->err),
			a->stats.pieces_verified, a->conns);
	}
}

/* ---- a run -------------------------------------------------------------- */

static bool run(struct crowd *c)
{
	atomic_uint *const ready = &c->ready, *const ended = &c->ended;
	const uint32_t n = c->opts.agents;
	pid_t pids[CROWD_PROCESSES_MAX];
	bool ok = true;
	int status;

	for (uint32_t i = 0; i < c->opts.processes; i++)
		ok &= (pids[i] = start_process(c, i)) > 0;
	if (!ok || !wait_count(ready, n, kr_clock_mono_ns() + OPEN_S * S_NS,
			       "agents open"))
		return false; /* the children die with us */
	const uint64_t now = kr_clock_mono_ns() + S_NS / 5;
	atomic_store(&c->go_ns, now);
	ok = wait_count(ended, n, now + c->opts.deadline_ns, "agents done");
	atomic_store(&c->stop, true);
	(void)alarm(CLOSE_S); /* that is fatal */
	for (uint32_t i = 0; i < c->opts.processes; i++)
		if (waitpid(pids[i], &status, 0) != pids[i] || status != 0)
			ok = false;
	ok &= report(c);
	print_errors(c);
	return ok;
}

int main(int argc, char **argv)
{
	struct crowd_opts o;

	if (!parse(argc, argv, &o))
		return usage();
	const size_t len =
		sizeof(struct crowd) + o.agents * sizeof(struct crowd_agent);
	struct crowd *c = mmap(NULL, len, PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (c == MAP_FAILED) {
		perror("mmap");
		return 2;
	}
	c->opts = o;
	raise_limits();
	const bool ok = run(c);
	(void)munmap(c, len);
	return ok ? 0 : 1;
}
