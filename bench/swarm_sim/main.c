/*
 * swarm_sim - simulate a scenario, print what came of it.
 *
 *	swarm_sim SCENARIO.yaml [--seed N] [--set KEY=VALUE]...
 *	          [--csv FILE] [--cdf FILE] [--hosts FILE] [--twice]
 *	          [--verbose]
 *
 * --csv adds a row to FILE, --cdf and --hosts write FILE, --twice runs again
 * and fails unless the trace is the same.  Exit: 0 all healthy hosts finished,
 * 1 some did not, or the traces differ, 2 the command line or the scenario is
 * wrong.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/swarm_sim/report.h"
#include "core/buf.h"
#include "core/clock.h"

struct args {
	const char *path, *csv, *cdf, *hosts;
	uint64_t seed;
	bool twice, verbose;
};

static int usage(void)
{
	fputs("usage: swarm_sim SCENARIO.yaml [--seed N] [--set KEY=VALUE]...\n"
	      "                 [--csv FILE] [--cdf FILE] [--hosts FILE] "
	      "[--twice] "
	      "[--verbose]\n",
	      stderr);
	return 2;
}

static bool set_key(struct scenario *sc, char *text)
{
	struct kr_config_error err;
	char *eq = strchr(text, '=');

	if (eq == NULL)
		return false;
	*eq = '\0';
	if (kr_config_set(&scenario_schema, sc, text, eq + 1, &err) == KR_OK)
		return true;
	fprintf(stderr, "%s\n", err.text);
	return false;
}

/* Options with a value, and those without. */
static bool take_option(int argc, char **argv, int *i, struct args *a,
			struct scenario *sc)
{
	const char *name = argv[*i];

	if (strcmp(name, "--twice") == 0)
		return a->twice = true;
	if (strcmp(name, "--verbose") == 0)
		return a->verbose = true;
	if (*i + 1 == argc)
		return false;
	char *value = argv[++*i];
	if (strcmp(name, "--seed") == 0)
		a->seed = strtoull(value, NULL, 0);
	else if (strcmp(name, "--csv") == 0)
		a->csv = value;
	else if (strcmp(name, "--cdf") == 0)
		a->cdf = value;
	else if (strcmp(name, "--hosts") == 0)
		a->hosts = value;
	else if (strcmp(name, "--set") == 0)
		return set_key(sc, value);
	else
		return false;
	return true;
}

static bool run(const struct scenario *sc, const struct args *a,
		uint64_t *ret_hash, bool *ret_finished, bool report)
{
	const uint64_t began_ns = kr_clock_mono_ns();
	struct sim s;
	struct report r;
	bool ok = true;

	if (!sim_open(&s, sc, a->seed))
		return false;
	s.verbose = a->verbose;
	sim_run(&s);
	report_make(&s, (double)(kr_clock_mono_ns() - began_ns) / 1e9, &r);
	*ret_hash = s.trace_hash;
	*ret_finished = r.unfinished == 0;
	if (report) {
		report_print(&r, stdout);
		ok = (a->csv == NULL || report_csv(&r, a->csv)) &&
		     (a->cdf == NULL || report_cdf(&r, a->cdf)) &&
		     (a->hosts == NULL || report_hosts(&r, a->hosts));
	}
	report_free(&r);
	sim_close(&s);
	return ok;
}

int main(int argc, char **argv)
{
	struct args a = { .seed = 1 };
	struct kr_config_error err;
	struct scenario sc = { 0 };
	uint64_t hash, again;
	bool finished;
	int status = 2;

	if (argc < 2 || argv[1][0] == '-')
		return usage();
	if (kr_config_load(argv[1], NULL, &scenario_schema, &sc, &err) !=
	    KR_OK) {
		fprintf(stderr, "%s\n", err.text);
		return 2;
	}
	for (int i = 2; i < argc; i++) {
		if (take_option(argc, argv, &i, &a, &sc))
			continue;
		kr_config_free(&scenario_schema, &sc);
		return usage();
	}
	if (!run(&sc, &a, &hash, &finished, true))
		goto out;
	status = finished ? 0 : 1;
	if (a.twice && run(&sc, &a, &again, &finished, false) &&
	    hash != again) {
		fprintf(stderr, "the second run had another trace\n");
		status = 1;
	}
out:
	kr_config_free(&scenario_schema, &sc);
	return status;
}
