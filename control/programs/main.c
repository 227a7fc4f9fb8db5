/*
 * kraken - one executable, every role.  The role is the first argument, or
 * what the executable is called: kraken-agent is `kraken agent`.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/programs/dev.h"
#include "control/programs/runtime.h"
#include "control/programs/runtime_config.h"
#include "control/programs/tools.h"

static const struct command {
	const char *name;
	int (*main)(int argc, char **argv);
	const char *help;
} commands[] = {
	{ "agent", kr_agent_main, "registry on this host, in the swarm" },
	{ "origin", kr_origin_main, "dedicated seeder with storage behind it" },
	{ "tracker", kr_tracker_main, "introduces peers to each other" },
	{ "proxy", kr_proxy_main, "registry for those who push" },
	{ "build-index", kr_build_index_main, "keeps tags" },
	{ "dev", kr_dev_main, "all of the above on loopback" },
	{ "runtime-config", kr_runtime_config_main,
	  "let containerd, docker, CRI-O or podman pull through the agent" },
	{ "config", kr_config_main, "check a configuration, list its keys" },
	{ "status", kr_status_main, "what a running process says of itself" },
};
enum { COMMAND_COUNT = sizeof(commands) / sizeof(commands[0]) };

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < COMMAND_COUNT; i++) {
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	}
	return NULL;
}

static int usage(FILE *to, int status)
{
	fprintf(to, "kraken: a peer-to-peer registry for container images\n"
		    "usage: kraken COMMAND [flags]\n");
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		fprintf(to, "  %-14s %s\n", commands[i].name, commands[i].help);
	fprintf(to, "`kraken COMMAND --help` lists the flags of one.\n");
	return status;
}

int main(int argc, char **argv)
{
	const char *base = strrchr(argv[0], '/');
	const struct command *c;

	base = base != NULL ? base + 1 : argv[0];
	if (strncmp(base, "kraken-", 7) == 0) {
		c = find_command(base + 7);
		if (c != NULL)
			return c->main(argc, argv);
	}
	if (argc < 2)
		return usage(stderr, EXIT_FAILURE);
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0)
		return usage(stdout, EXIT_SUCCESS);
	c = find_command(argv[1]);
	if (c == NULL) {
		fprintf(stderr, "kraken: no command %s\n", argv[1]);
		return usage(stderr, EXIT_FAILURE);
	}
	return c->main(argc - 1, argv + 1);
}
