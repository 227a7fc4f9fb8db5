/*
 * `kraken dev`.  What it consists of is in dev_layout.c, the care of its
 * processes in dev_proc.c; here is the order of things:
 *
 *	options -> folders, configuration -> ports free? -> start all ->
 *	    wait until each is ready -> say where everything is ->
 *	    wait for a signal or a death -> stop all -> remove what is ours
 *
 * One thread.  Signals are blocked and waited for, so nothing is interrupted.
 */
#define _GNU_SOURCE
#include "control/programs/dev.h"

#include <errno.h>
#include <ftw.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "control/programs/dev_layout.h"
#include "control/programs/dev_proc.h"
#include "control/programs/tools_get.h"
#include "core/clock.h"

enum { REMOVE_FDS_MAX = 16, WHY_BYTES_MAX = 512 };
static const uint64_t READY_NS = UINT64_C(30000000000);
static const uint64_t ASK_NS = UINT64_C(2000000000); /* one /readiness */
static const uint64_t POLL_NS = UINT64_C(100000000); /* between rounds */

struct dev {
	struct kr_dev_opts opts;
	char dir[PATH_MAX];
	bool is_own_dir; /* made by us, to be removed at the end */
	struct kr_dev_layout layout;
	struct kr_dev_procs procs;
	sigset_t signals;   /* those we wait for */
	sigset_t mask_then; /* the mask we were started with */
};

/* ---- options ------------------------------------------------------------*/

static int usage(FILE *to, int status)
{
	fprintf(to,
		"usage: kraken dev [flags]\n"
		"A whole cluster on loopback, until Ctrl-C.\n"
		"  --dir DIR               where everything is kept "
		"(default: a new directory\n"
		"                          below TMPDIR, removed at the end)\n"
		"  --keep                  do not remove that directory\n"
		"  --agents N              1 to %d (2)\n"
		"  --origins N             1 to %d (2)\n"
		"  --base-port-offset N    added to every port (0)\n",
		KR_DEV_AGENTS_MAX, KR_DEV_ORIGINS_MAX);
	return status;
}

static enum kr_err parse_count(const char *flag, const char *text,
			       uint32_t *ret)
{
	char *end = NULL;
	const long v = strtol(text, &end, 10);

	if (end == text || *end != '\0' || v < 0 || v > UINT16_MAX) {
		fprintf(stderr, "kraken dev: %s: expected a number, got %s\n",
			flag, text);
		return KR_E_INVALID;
	}
	*ret = (uint32_t)v;
	return KR_OK;
}

/* KR_E_CANCELED: help was printed. */
static enum kr_err parse_options(int argc, char **argv, struct dev *d,
				 const char **ret_dir, bool *ret_keep)
{
	static const struct option options[] = {
		{ "dir", required_argument, NULL, 'd' },
		{ "agents", required_argument, NULL, 'a' },
		{ "origins", required_argument, NULL, 'o' },
		{ "base-port-offset", required_argument, NULL, 'p' },
		{ "keep", no_argument, NULL, 'k' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	enum kr_err err = KR_OK;
	int opt;

	optind = 0;
	while (err == KR_OK &&
	       (opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == 'd')
			*ret_dir = optarg;
		else if (opt == 'k')
			*ret_keep = true;
		else if (opt == 'a')
			err = parse_count("--agents", optarg, &d->opts.agents);
		else if (opt == 'o')
			err = parse_count("--origins", optarg,
					  &d->opts.origins);
		else if (opt == 'p')
			err = parse_count("--base-port-offset", optarg,
					  &d->opts.port_offset);
		else
			err = opt == 'h' ? KR_E_CANCELED : KR_E_INVALID;
	}
	if (err == KR_OK && optind < argc) {
		fprintf(stderr, "kraken dev: unexpected argument %s\n",
			argv[optind]);
		err = KR_E_INVALID;
	}
	return err;
}

/* ---- its directory ------------------------------------------------------*/

static enum kr_err say_dir(const char *dir)
{
	const int errnum = errno;

	fprintf(stderr, "kraken dev: cannot use the directory %s: %s\n", dir,
		strerror(errnum));
	return kr_err_from_errno(errnum);
}

/* @dir as asked for, or NULL: a new one. */
static enum kr_err take_dir(struct dev *d, const char *dir, bool keep)
{
	const char *tmp = getenv("TMPDIR");
	char path[PATH_MAX];

	if (dir != NULL) {
		if (mkdir(dir, 0755) < 0 && errno != EEXIST)
			return say_dir(dir);
	} else {
		const int n =
			snprintf(path, sizeof(path), "%s/kraken-dev-XXXXXX",
				 tmp != NULL && *tmp ? tmp : "/tmp");
		if (n < 0 || (size_t)n >= sizeof(path))
			return KR_E_TOOBIG;
		if (mkdtemp(path) == NULL)
			return say_dir(path);
		dir = path;
		d->is_own_dir = !keep;
	}
	if (realpath(dir, d->dir) == NULL)
		return say_dir(dir);
	d->opts.dir = d->dir;
	return KR_OK;
}

static int remove_entry(const char *path, const struct stat *st, int type,
			struct FTW *where)
{
	(void)st;
	(void)type;
	(void)where;
	return remove(path);
}

static void give_dir(struct dev *d)
{
	if (d->dir[0] == '\0')
		return;
	if (!d->is_own_dir)
		printf("kraken dev: the data stay in %s\n", d->dir);
	else if (nftw(d->dir, remove_entry, REMOVE_FDS_MAX,
		      FTW_DEPTH | FTW_PHYS) != 0)
		fprintf(stderr, "kraken dev: cannot remove %s: %s\n", d->dir,
			strerror(errno));
}

/* ---- signals ------------------------------------------------------------*/

static void block_signals(struct dev *d)
{
	struct sigaction hup;

	sigemptyset(&d->signals);
	sigaddset(&d->signals, SIGCHLD);
	sigaddset(&d->signals, SIGINT);
	sigaddset(&d->signals, SIGTERM);
	if (sigaction(SIGHUP, NULL, &hup) == 0 && hup.sa_handler != SIG_IGN)
		sigaddset(&d->signals, SIGHUP); /* else: nohup(1) */
	sigprocmask(SIG_BLOCK, &d->signals, &d->mask_then);
	/* A reader of our output that goes away is no reason to die without
	 * stopping the others. */
	signal(SIGPIPE, SIG_IGN);
	d->procs.child_mask = d->mask_then;
}

/* KR_OK: nothing happened; KR_E_CANCELED: we are to stop; KR_E_CLOSED: a child
 * died, which was said. */
static enum kr_err look_around(struct dev *d, const struct timespec *timeout)
{
	const int sig = timeout != NULL
				? sigtimedwait(&d->signals, NULL, timeout)
				: sigwaitinfo(&d->signals, NULL);
	const struct kr_dev_proc *dead;

	if (sig < 0)
		return KR_OK;
	if (sig != SIGCHLD) {
		printf("kraken dev: stopping (%s)\n", strsignal(sig));
		return KR_E_CANCELED;
	}
	dead = kr_dev_procs_reap(&d->procs);
	if (dead == NULL)
		return KR_OK;
	kr_dev_proc_report(&d->procs, dead);
	return KR_E_CLOSED;
}

/* ---- ready --------------------------------------------------------------*/

/* One /readiness; false: @why says what is missing. */
static bool ask_ready(const struct kr_dev_member *m, char *why, size_t cap)
{
	char host[KR_ADDR_TEXT_MAX];
	struct kr_buf body;
	int status = 0;
	enum kr_err err;

	(void)snprintf(host, sizeof(host), "127.0.0.1:%u", m->server_port);
	kr_buf_init(&body, KR_TOOLS_GET_BYTES_MAX);
	err = kr_tools_get(host, "/readiness", ASK_NS, &body, &status);
	if (err != KR_OK)
		(void)snprintf(why, cap, "%s", kr_err_text(err));
	else if (status != 200)
		(void)snprintf(why, cap, "%d %.*s", status,
			       (int)(body.len < cap ? body.len : cap - 1),
			       body.len > 0 ? (const char *)body.ptr : "");
	kr_buf_fini(&body);
	why[strcspn(why, "\r\n")] = '\0';
	return err == KR_OK && status == 200;
}

/* One round over those that are not ready.  How many are not, the first of
 * them in @ret_last with its reason in @why. */
static size_t ask_round(struct dev *d, uint64_t since_ns, const char **ret_last,
			char *why, size_t cap)
{
	char reason[WHY_BYTES_MAX] = "";
	size_t waiting = 0;

	for (size_t i = 0; i < d->procs.count; i++) {
		struct kr_dev_proc *p = &d->procs.list[i];
		if (p->ready)
			continue;
		p->ready = ask_ready(p->member, reason, sizeof(reason));
		if (p->ready) {
			printf("kraken dev: %s is ready (%.1f s)\n",
			       p->member->name,
			       (double)(kr_clock_mono_ns() - since_ns) / 1e9);
			(void)fflush(stdout);
		} else if (waiting++ == 0) {
			*ret_last = p->member->name;
			(void)snprintf(why, cap, "%s", reason);
		}
	}
	return waiting;
}

static enum kr_err wait_ready(struct dev *d)
{
	const uint64_t since_ns = kr_clock_mono_ns();
	const struct timespec pause = { .tv_nsec = (long)POLL_NS };
	const char *name = "";
	char why[WHY_BYTES_MAX] = "";
	enum kr_err err = KR_OK;

	while (ask_round(d, since_ns, &name, why, sizeof(why)) > 0) {
		err = look_around(d, &pause);
		if (err != KR_OK)
			return err;
		if (kr_clock_mono_ns() - since_ns > READY_NS) {
			fprintf(stderr,
				"kraken dev: %s is not ready after %d s: %s; "
				"see %s/log/%s.log\n",
				name, (int)(READY_NS / UINT64_C(1000000000)),
				why, d->dir, name);
			return KR_E_TIMEDOUT;
		}
	}
	return KR_OK;
}

/* ---- where everything is ------------------------------------------------*/

static void print_port(uint16_t port)
{
	if (port == 0)
		printf("  %8s", "-");
	else
		printf("  %8u", port);
}

static void print_table(const struct dev *d)
{
	printf("\n  %-12s  %8s  %8s  %8s  %8s  %8s\n", "process", "registry",
	       "peer", "server", "rpc", "pid");
	for (size_t i = 0; i < d->procs.count; i++) {
		const struct kr_dev_proc *p = &d->procs.list[i];
		printf("  %-12s", p->member->name);
		print_port(p->member->registry_port);
		print_port(p->member->peer_port);
		print_port(p->member->server_port);
		print_port(p->member->rpc_port);
		printf("  %8d\n", (int)p->pid);
	}
	printf("  all on 127.0.0.1\n\n");
}

static const struct kr_dev_member *first_of(const struct dev *d,
					    enum kr_role role)
{
	for (size_t i = 0; i < d->layout.count; i++) {
		if (d->layout.members[i].role == role)
			return &d->layout.members[i];
	}
	return NULL;
}

static void print_help(const struct dev *d)
{
	const struct kr_dev_member *proxy = first_of(d, KR_ROLE_PROXY);
	const struct kr_dev_member *agent = first_of(d, KR_ROLE_AGENT);

	print_table(d);
	printf("  configuration  %s/conf/NAME.yaml\n"
	       "  logs           %s/log/NAME.log\n"
	       "  stores         %s/data/NAME\n"
	       "  backend        %s/storage\n\n",
	       d->dir, d->dir, d->dir, d->dir);
	printf("  push     docker push 127.0.0.1:%u/NAME:TAG\n"
	       "  pull     docker pull 127.0.0.1:%u/NAME:TAG\n"
	       "  status   kraken status 127.0.0.1:%u\n"
	       "  metrics  curl http://127.0.0.1:%u/metrics\n"
	       "  stop     Ctrl-C\n\n",
	       proxy->registry_port, agent->registry_port, agent->server_port,
	       agent->server_port);
	printf("kraken dev: ready\n");
	(void)fflush(stdout);
}

/* ---- run ----------------------------------------------------------------*/

static enum kr_err run(struct dev *d)
{
	enum kr_err err = kr_dev_layout_make(&d->opts, &d->layout);

	d->procs.layout = &d->layout;
	if (err == KR_OK)
		err = kr_dev_layout_check_ports(&d->layout);
	if (err == KR_OK)
		err = kr_dev_layout_write(&d->layout);
	if (err != KR_OK)
		return err;
	block_signals(d);
	printf("kraken dev: starting %zu processes in %s\n", d->layout.count,
	       d->dir);
	(void)fflush(stdout);
	for (size_t i = 0; err == KR_OK && i < d->layout.count; i++)
		err = kr_dev_proc_start(&d->procs, &d->layout.members[i]);
	if (err == KR_OK)
		err = wait_ready(d);
	if (err == KR_OK)
		print_help(d);
	while (err == KR_OK)
		err = look_around(d, NULL);
	(void)fflush(stdout);
	return kr_dev_procs_stop(&d->procs) ? err : KR_E_IO;
}

int kr_dev_main(int argc, char **argv)
{
	struct dev d = { .opts = { .agents = 2, .origins = 2 } };
	const char *dir = NULL;
	bool keep = false;
	enum kr_err err = parse_options(argc, argv, &d, &dir, &keep);

	if (err != KR_OK)
		return err == KR_E_CANCELED ? usage(stdout, EXIT_SUCCESS)
					    : usage(stderr, EXIT_FAILURE);
	err = take_dir(&d, dir, keep);
	if (err == KR_OK)
		err = run(&d);
	give_dir(&d);
	/* Stopped by a person: that is how it is meant to end. */
	return err == KR_E_CANCELED ? EXIT_SUCCESS : EXIT_FAILURE;
}
