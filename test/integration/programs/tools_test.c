/* `kraken config` as a person runs it: what it prints, its exit status. */
#define _GNU_SOURCE
#include "control/programs/tools.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test/support/test.h"

enum { TEXT_BYTES = 64 * 1024, ARGS_MAX = 8 };

static char text[TEXT_BYTES]; /* what the last command printed, both outputs */

/* `kraken config @args...` in a process of its own; its exit status. */
static int config(const char *const args[])
{
	char *argv[ARGS_MAX + 2] = { "config" };
	int argc = 1, status = 0;
	const int fd = memfd_create("printed", MFD_CLOEXEC);

	assert_true(fd >= 0);
	for (; args[argc - 1] != NULL; argc++) {
		argv[argc] = strdup(args[argc - 1]);
		assert_non_null(argv[argc]);
	}
	const pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		if (dup2(fd, 1) < 0 || dup2(fd, 2) < 0)
			_exit(99);
		status = kr_config_main(argc, argv);
		(void)fflush(NULL);
		_exit(status);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	const ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
	assert_true(n >= 0);
	text[n] = '\0';
	(void)close(fd);
	while (argc-- > 1)
		free(argv[argc]);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}
#define CONFIG(...) config((const char *const[]){ __VA_ARGS__, NULL })

static void assert_printed(const char *what)
{
	if (strstr(text, what) == NULL)
		fail_msg("\"%s\" is not in:\n%s", what, text);
}

/* A configuration file with @yaml; its path in @path. */
static void write_yaml(char path[64], const char *yaml)
{
	strcpy(path, "/tmp/kraken-tools-test-XXXXXX");
	const int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, yaml, strlen(yaml)), strlen(yaml));
	(void)close(fd);
}

/* It would be half of a Location header. */
static void check_refuses_an_address_that_heads_no_path(void **state)
{
	static const char *const bad[] = { "proxy.example:80", "http://a/",
					   "http://a b", NULL /* too long */ };
	char path[64], yaml[1024], value[512];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (bad[i] == NULL)
			(void)snprintf(value, sizeof(value), "http://%0400d",
				       1);
		else
			(void)snprintf(value, sizeof(value), "%s", bad[i]);
		(void)snprintf(yaml, sizeof(yaml),
			       "store: {dir: /tmp}\n"
			       "registry: {advertise: \"%s\"}\n"
			       "origin: {hosts: {static: [\"a:1\"]}}\n"
			       "build_index: {hosts: {static: [\"a:1\"]}}\n",
			       value);
		write_yaml(path, yaml);
		assert_int_equal(CONFIG("check", "proxy", "--config", path), 1);
		assert_printed("registry.advertise");
		(void)unlink(path);
	}
}

static void keys_lists_what_a_role_understands(void **state)
{
	(void)state;
	assert_int_equal(CONFIG("keys", "agent"), EXIT_SUCCESS);
	assert_printed("store.dir (text; must be given)\n");
	assert_printed("registry.port (number; default 0)\n"
		       "    port of the registry API\n");
	assert_printed("log.level (one of debug, info, warn, error; "
		       "default info)\n");
	assert_null(strstr(text, "backends"));
}

static void keys_lists_what_is_inside_a_list_of_maps(void **state)
{
	(void)state;
	assert_int_equal(CONFIG("keys", "origin"), EXIT_SUCCESS);
	assert_printed("backends (list of maps)\n");
	assert_printed("  - namespace (text; default .*)\n");
}

static void check_prints_what_counts_in_the_end(void **state)
{
	char path[64];

	(void)state;
	write_yaml(path, "store: {dir: /srv/i}\nserver: {port: 15004}\n");
	assert_int_equal(CONFIG("check", "build-index", "--config", path,
				"--rpc-port", "15104"),
			 EXIT_SUCCESS);
	(void)unlink(path);
	assert_printed("\nserver.port = 15004 (default 0)");
	assert_printed("\nrpc.port = 15104 (default 0)");
}

static void check_says_where_a_file_is_wrong(void **state)
{
	char path[64], where[96];

	(void)state;
	write_yaml(path, "cluster: x\nstorr: {dir: /srv/i}\n");
	assert_int_equal(CONFIG("check", "build-index", "--config", path),
			 EXIT_FAILURE);
	(void)unlink(path);
	(void)snprintf(where, sizeof(where), "%s:2:1: key `storr`", path);
	assert_printed(where);
	assert_printed("did you mean `store`?");
}

/* Names that no frame can carry: found at start, not at the first peer. */
static void check_refuses_names_that_peers_could_not_be_told(void **state)
{
	static const char *const wrong[] = {
		"cluster=",
		"cluster=a b",
		"cluster=0123456789012345678901234567890123456789"
		"0123456789012345678901234",
		"zone=r\xc3\xa4"
		"ck",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		assert_int_equal(CONFIG("check", "tracker", "--set", wrong[i],
					"--set", "origin.hosts.static=o:1"),
				 EXIT_FAILURE);
		assert_printed(i < 3 ? "key `cluster`: expected 1 to 64"
				     : "key `zone`: expected 0 to 64");
	}
	assert_int_equal(CONFIG("check", "tracker", "--set", "zone=rack-17/a",
				"--set", "origin.hosts.static=o:1"),
			 EXIT_SUCCESS);
}

static void a_command_that_is_wrong_is_answered_with_its_usage(void **state)
{
	(void)state;
	assert_int_equal(CONFIG("keys", "captain"), EXIT_FAILURE);
	assert_printed("no role captain\n");
	assert_printed("agent origin tracker proxy build-index\n");
	assert_int_equal(CONFIG("burn", "agent"), EXIT_FAILURE);
	assert_printed("usage: kraken config check ROLE");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(check_refuses_an_address_that_heads_no_path),
		cmocka_unit_test(keys_lists_what_a_role_understands),
		cmocka_unit_test(keys_lists_what_is_inside_a_list_of_maps),
		cmocka_unit_test(check_prints_what_counts_in_the_end),
		cmocka_unit_test(check_says_where_a_file_is_wrong),
		cmocka_unit_test(
			check_refuses_names_that_peers_could_not_be_told),
		cmocka_unit_test(
			a_command_that_is_wrong_is_answered_with_its_usage),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
