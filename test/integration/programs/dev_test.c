/*
 * `kraken dev` with its real children.  This program is all of kraken: `kraken
 * dev` starts /proc/self/exe with a role as first argument, and main() below
 * is that role then.
 */
#define _GNU_SOURCE
#include "control/programs/dev.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "control/programs/runtime.h"
#include "control/programs/tools.h"
#include "core/clock.h"
#include "test/support/test.h"

/* Between the ports of a kraken dev and those of test/e2e. */
enum { OFFSET = 3500, TEXT_BYTES = 32 * 1024 };
#define OFFSET_TEXT "3500"
static const uint64_t WAIT_NS = UINT64_C(40000000000);

struct cluster {
	char dir[64];  /* --dir */
	char out[80];  /* what it printed, stdout and stderr */
	pid_t pid;     /* of `kraken dev` */
	bool is_ended; /* status is there */
	int status;    /* waitpid(2) */
	char text[TEXT_BYTES];
};

/* ---- run it -------------------------------------------------------------*/

static void run_dev(struct cluster *c)
{
	char *argv[] = { "dev",       "--dir",    c->dir, "--base-port-offset",
			 OFFSET_TEXT, "--agents", "1",    "--origins",
			 "1",         NULL };
	const int fd =
		open(c->out, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0 ||
	    prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		_exit(99);
	const int status = kr_dev_main(9, argv);
	(void)fflush(NULL);
	_exit(status);
}

static void start(struct cluster *c)
{
	c->pid = fork();
	assert_true(c->pid >= 0);
	if (c->pid == 0)
		run_dev(c);
}

static const char *printed(struct cluster *c)
{
	const int fd = open(c->out, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, c->text, sizeof(c->text) - 1);

	if (fd >= 0)
		(void)close(fd);
	c->text[n > 0 ? n : 0] = '\0';
	return c->text;
}

static bool has_ended(struct cluster *c)
{
	if (!c->is_ended && waitpid(c->pid, &c->status, WNOHANG) == c->pid)
		c->is_ended = true;
	return c->is_ended;
}

static void pause_a_little(void)
{
	const struct timespec ts = { .tv_nsec = 20000000 };

	(void)nanosleep(&ts, NULL);
}

static void wait_printed(struct cluster *c, const char *what)
{
	const uint64_t deadline_ns = kr_clock_mono_ns() + WAIT_NS;

	while (strstr(printed(c), what) == NULL) {
		if (has_ended(c) || kr_clock_mono_ns() > deadline_ns)
			fail_msg("never printed \"%s\", but:\n%s", what,
				 printed(c));
		pause_a_little();
	}
}

/* Its exit status. */
static int wait_ended(struct cluster *c)
{
	const uint64_t deadline_ns = kr_clock_mono_ns() + WAIT_NS;

	while (!has_ended(c)) {
		if (kr_clock_mono_ns() > deadline_ns)
			fail_msg("does not end:\n%s", printed(c));
		pause_a_little();
	}
	assert_true(WIFEXITED(c->status));
	return WEXITSTATUS(c->status);
}

/* The pid that the table shows for member @name. */
static pid_t pid_of(struct cluster *c, const char *name)
{
	char line[32];
	const char *row;
	int pid = 0;

	(void)snprintf(line, sizeof(line), "\n  %-12s ", name);
	row = strstr(printed(c), line);
	assert_non_null(row);
	assert_int_equal(sscanf(row + strlen(line), "%*s %*s %*s %*s %d", &pid),
			 1);
	return (pid_t)pid;
}

/* Processes whose command line names our directory. */
static int process_count(const struct cluster *c)
{
	DIR *proc = opendir("/proc");
	const struct dirent *it;
	int count = 0;

	assert_non_null(proc);
	while ((it = readdir(proc)) != NULL) {
		char path[300], line[4096];
		(void)snprintf(path, sizeof(path), "/proc/%s/cmdline",
			       it->d_name);
		const int fd = open(path, O_RDONLY | O_CLOEXEC);
		const ssize_t n = fd < 0 ? 0 : read(fd, line, sizeof(line));
		if (fd >= 0)
			(void)close(fd);
		if (n > 0 && memmem(line, (size_t)n, c->dir, strlen(c->dir)))
			count++;
	}
	(void)closedir(proc);
	return count;
}

/* ---- fixture ------------------------------------------------------------*/

static int set_up(void **state)
{
	struct cluster *c = calloc(1, sizeof(*c));

	assert_non_null(c);
	strcpy(c->dir, "/tmp/kraken-dev-test-XXXXXX");
	assert_non_null(mkdtemp(c->dir));
	(void)snprintf(c->out, sizeof(c->out), "%s.out", c->dir);
	*state = c;
	return 0;
}

static int remove_entry(const char *path, const struct stat *st, int type,
			struct FTW *where)
{
	(void)st;
	(void)type;
	(void)where;
	return remove(path);
}

static int tear_down(void **state)
{
	struct cluster *c = *state;

	if (c->pid > 0 && !c->is_ended) {
		(void)kill(c->pid, SIGKILL); /* its children go with it */
		(void)waitpid(c->pid, NULL, 0);
	}
	(void)nftw(c->dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	(void)unlink(c->out);
	free(c);
	return 0;
}

/* ---- tests --------------------------------------------------------------*/

static void it_becomes_ready_and_stops_at_sigterm(void **state)
{
	struct cluster *c = *state;

	start(c);
	wait_printed(c, "\nkraken dev: ready\n");
	assert_int_equal(process_count(c), 5);
	assert_int_equal(kill(c->pid, SIGTERM), 0);
	assert_int_equal(wait_ended(c), EXIT_SUCCESS);
	assert_int_equal(process_count(c), 0);
}

static void the_death_of_a_child_is_told_and_ends_all(void **state)
{
	struct cluster *c = *state;

	start(c);
	wait_printed(c, "\nkraken dev: ready\n");
	assert_int_equal(kill(pid_of(c, "tracker"), SIGKILL), 0);
	assert_int_equal(wait_ended(c), EXIT_FAILURE);
	assert_non_null(strstr(printed(c), "tracker was killed by signal 9"));
	assert_non_null(strstr(c->text, "log/tracker.log:\n"));
	assert_int_equal(process_count(c), 0);
}

static void a_child_that_cannot_start_is_told_with_its_log(void **state)
{
	struct cluster *c = *state;
	char path[128];

	/* The proxy's store cannot be made: there is a file. */
	(void)snprintf(path, sizeof(path), "%s/data", c->dir);
	assert_int_equal(mkdir(path, 0755), 0);
	(void)snprintf(path, sizeof(path), "%s/data/proxy", c->dir);
	const int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	(void)close(fd);

	start(c);
	assert_int_equal(wait_ended(c), EXIT_FAILURE);
	assert_non_null(strstr(printed(c), "proxy ended with exit status 1"));
	assert_non_null(strstr(c->text, "cannot open the store"));
	assert_int_equal(process_count(c), 0);
}

static void children_die_with_a_parent_that_is_killed(void **state)
{
	struct cluster *c = *state;
	const uint64_t deadline_ns = kr_clock_mono_ns() + WAIT_NS;

	start(c);
	wait_printed(c, "\nkraken dev: ready\n");
	assert_int_equal(kill(c->pid, SIGKILL), 0);
	while (process_count(c) > 0) {
		assert_true(kr_clock_mono_ns() < deadline_ns);
		pause_a_little();
	}
	assert_int_equal(waitpid(c->pid, &c->status, 0), c->pid);
	c->is_ended = true;
}

static void a_port_that_is_taken_is_named_before_anything_starts(void **state)
{
	struct cluster *c = *state;
	const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const struct sockaddr_in sa = {
		.sin_family = AF_INET,
		.sin_port = htons(15003 + OFFSET),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};

	const int on = 1;

	assert_true(fd >= 0);
	assert_int_equal(
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
	assert_int_equal(bind(fd, (const struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(fd, 1), 0);
	start(c);
	assert_int_equal(wait_ended(c), EXIT_FAILURE);
	(void)close(fd);
	assert_non_null(strstr(printed(c), "port 18503 (tracker)"));
	assert_null(strstr(c->text, "starting"));
}

static void status_of_a_running_cluster_is_ready_and_of_a_dead_one_not(
	void **state)
{
	struct cluster *c = *state;
	char *argv[] = { "status", "127.0.0.1:19502", NULL };

	assert_int_equal(kr_status_main(2, argv), EXIT_FAILURE);
	start(c);
	wait_printed(c, "\nkraken dev: ready\n");
	assert_int_equal(kr_status_main(2, argv), EXIT_SUCCESS);
	assert_int_equal(kill(c->pid, SIGTERM), 0);
	assert_int_equal(wait_ended(c), EXIT_SUCCESS);
}

static int run_all(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(it_becomes_ready_and_stops_at_sigterm),
		T(the_death_of_a_child_is_told_and_ends_all),
		T(a_child_that_cannot_start_is_told_with_its_log),
		T(children_die_with_a_parent_that_is_killed),
		T(a_port_that_is_taken_is_named_before_anything_starts),
		T(status_of_a_running_cluster_is_ready_and_of_a_dead_one_not),
	};
#undef T
	return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*main)(int argc, char **argv);
	} roles[] = {
		{ "agent", kr_agent_main },
		{ "origin", kr_origin_main },
		{ "tracker", kr_tracker_main },
		{ "proxy", kr_proxy_main },
		{ "build-index", kr_build_index_main },
	};

	for (size_t i = 0; argc > 1 && i < sizeof(roles) / sizeof(roles[0]);
	     i++) {
		if (strcmp(argv[1], roles[i].name) == 0)
			return roles[i].main(argc - 1, argv + 1);
	}
	return run_all();
}
