#define _GNU_SOURCE
#include "control/programs/dev_proc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/clock.h"

enum {
	PATH_BYTES_MAX = 4096,
	TAIL_BYTES = 16 * 1024, /* of a log that is looked at */
	TAIL_LINES = 10,        /* and shown */
	EXIT_NO_EXEC = 127,
};
static const uint64_t STOP_NS = UINT64_C(10000000000);

/* ---- start --------------------------------------------------------------*/

/* What runs between fork and exec: system calls only. */
static _Noreturn void run_child(const struct kr_dev_procs *ps,
				char *const argv[], int log_fd, pid_t parent)
{
	const int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	if (setpgid(0, 0) == 0 && prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 &&
	    getppid() == parent && null_fd >= 0 && dup2(null_fd, 0) == 0 &&
	    dup2(log_fd, 1) == 1 && dup2(log_fd, 2) == 2 &&
	    sigprocmask(SIG_SETMASK, &ps->child_mask, NULL) == 0)
		(void)execv("/proc/self/exe", argv);
	_exit(EXIT_NO_EXEC);
}

static enum kr_err say(const char *what, const char *of)
{
	const int errnum = errno;

	fprintf(stderr, "kraken dev: cannot %s %s: %s\n", what, of,
		strerror(errnum));
	return kr_err_from_errno(errnum);
}

enum kr_err kr_dev_proc_start(struct kr_dev_procs *ps,
			      const struct kr_dev_member *m)
{
	char conf[PATH_BYTES_MAX], log[PATH_BYTES_MAX];
	char role[KR_DEV_NAME_MAX];
	char exe[] = "kraken", flag[] = "--config";
	char *const argv[] = { exe, role, flag, conf, NULL };
	struct kr_dev_proc *p = &ps->list[ps->count];
	const pid_t self = getpid();
	enum kr_err err = kr_dev_layout_path(ps->layout, "conf", m->name,
					     ".yaml", conf, sizeof(conf));

	if (err == KR_OK)
		err = kr_dev_layout_path(ps->layout, "log", m->name, ".log",
					 log, sizeof(log));
	if (err != KR_OK)
		return err;
	(void)snprintf(role, sizeof(role), "%s", kr_role_name(m->role));
	const int fd =
		open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (fd < 0)
		return say("write", log);
	*p = (struct kr_dev_proc){ .member = m, .pid = fork() };
	if (p->pid == 0)
		run_child(ps, argv, fd, self);
	(void)close(fd);
	if (p->pid < 0) {
		p->pid = 0;
		return say("start", m->name);
	}
	ps->count++;
	return KR_OK;
}

/* ---- what became of them ------------------------------------------------*/

static struct kr_dev_proc *find(struct kr_dev_procs *ps, pid_t pid)
{
	for (size_t i = 0; i < ps->count; i++) {
		if (ps->list[i].pid == pid)
			return &ps->list[i];
	}
	return NULL;
}

const struct kr_dev_proc *kr_dev_procs_reap(struct kr_dev_procs *ps)
{
	const struct kr_dev_proc *first = NULL;
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		struct kr_dev_proc *p = find(ps, pid);
		if (p == NULL)
			continue;
		p->pid = 0;
		p->wait_status = status;
		p->ready = false;
		if (first == NULL)
			first = p;
	}
	return first;
}

/* The start of the last @lines lines of @text. */
static const char *last_lines(const char *text, size_t len, int lines)
{
	const char *it = text + len;

	if (it > text && it[-1] == '\n')
		it--;
	while (it > text && (it[-1] != '\n' || --lines > 0))
		it--;
	return it;
}

static void show_tail(const char *path)
{
	static char text[TAIL_BYTES + 1];
	const int fd = open(path, O_RDONLY | O_CLOEXEC);
	off_t size;
	ssize_t n;

	if (fd < 0)
		return;
	size = lseek(fd, 0, SEEK_END);
	n = pread(fd, text, TAIL_BYTES,
		  size > TAIL_BYTES ? size - TAIL_BYTES : 0);
	(void)close(fd);
	if (n <= 0) {
		fprintf(stderr, "  (its log is empty)\n");
		return;
	}
	text[n] = '\0';
	fprintf(stderr, "%s%s", last_lines(text, (size_t)n, TAIL_LINES),
		text[n - 1] == '\n' ? "" : "\n");
}

void kr_dev_proc_report(const struct kr_dev_procs *ps,
			const struct kr_dev_proc *p)
{
	const char *name = p->member->name;
	const int st = p->wait_status;
	char path[PATH_BYTES_MAX];

	if (WIFSIGNALED(st))
		fprintf(stderr, "kraken dev: %s was killed by signal %d (%s)\n",
			name, WTERMSIG(st), strsignal(WTERMSIG(st)));
	else if (WIFEXITED(st) && WEXITSTATUS(st) == EXIT_NO_EXEC)
		fprintf(stderr, "kraken dev: %s could not be executed\n", name);
	else
		fprintf(stderr, "kraken dev: %s ended with exit status %d\n",
			name, WEXITSTATUS(st));
	if (kr_dev_layout_path(ps->layout, "log", name, ".log", path,
			       sizeof(path)) != KR_OK)
		return;
	fprintf(stderr, "kraken dev: the end of %s:\n", path);
	show_tail(path);
}

/* ---- stop ---------------------------------------------------------------*/

/* The whole group of a child; the child alone until it made its group. */
static void send_signal(const struct kr_dev_proc *p, int sig)
{
	if (p->pid != 0 && kill(-p->pid, sig) < 0)
		(void)kill(p->pid, sig);
}

static size_t alive_count(const struct kr_dev_procs *ps)
{
	size_t n = 0;

	for (size_t i = 0; i < ps->count; i++)
		n += ps->list[i].pid != 0;
	return n;
}

/* Wait for a child's end or a person's impatience until @deadline_ns.
 * Returns the signal, or 0. */
static int wait_signal(uint64_t deadline_ns)
{
	const uint64_t now = kr_clock_mono_ns();
	const uint64_t left = deadline_ns > now ? deadline_ns - now : 0;
	const struct timespec ts = {
		.tv_sec = (time_t)(left / UINT64_C(1000000000)),
		.tv_nsec = (long)(left % UINT64_C(1000000000)),
	};
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	const int sig = sigtimedwait(&set, NULL, &ts);
	return sig < 0 ? 0 : sig;
}

static void kill_rest(struct kr_dev_procs *ps)
{
	for (size_t i = 0; i < ps->count; i++) {
		struct kr_dev_proc *p = &ps->list[i];
		if (p->pid == 0)
			continue;
		fprintf(stderr, "kraken dev: %s does not stop: killed\n",
			p->member->name);
		send_signal(p, SIGKILL);
		while (waitpid(p->pid, &p->wait_status, 0) < 0 &&
		       errno == EINTR)
			;
		p->pid = 0;
	}
}

/* Ended as asked to; SIGTERM itself ends one that was only starting. */
static bool stopped_well(int status)
{
	return (WIFEXITED(status) && WEXITSTATUS(status) == 0) ||
	       (WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
}

static bool report_bad_ends(const struct kr_dev_procs *ps,
			    const bool *was_alive)
{
	bool all_well = true;

	for (size_t i = 0; i < ps->count; i++) {
		const struct kr_dev_proc *p = &ps->list[i];
		if (!was_alive[i] || stopped_well(p->wait_status))
			continue;
		kr_dev_proc_report(ps, p);
		all_well = false;
	}
	return all_well;
}

bool kr_dev_procs_stop(struct kr_dev_procs *ps)
{
	const uint64_t deadline_ns = kr_clock_mono_ns() + STOP_NS;
	bool was_alive[KR_DEV_MEMBERS_MAX] = { false };
	int sig = SIGCHLD;

	for (size_t i = ps->count; i-- > 0;) {
		was_alive[i] = ps->list[i].pid != 0;
		send_signal(&ps->list[i], SIGTERM);
	}
	/* SIGCHLD may have been taken for several deaths: reap, then wait. */
	while (sig == SIGCHLD) {
		(void)kr_dev_procs_reap(ps);
		sig = alive_count(ps) > 0 ? wait_signal(deadline_ns) : 0;
	}
	kill_rest(ps);
	return report_bad_ends(ps, was_alive);
}
