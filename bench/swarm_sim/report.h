/*
 * bench/swarm_sim/report.h - what came of a run, for people, for the CSV and
 * for the plots.
 */
#ifndef KR_BENCH_REPORT_H
#define KR_BENCH_REPORT_H

#include <stdio.h>

#include "bench/swarm_sim/sim.h"

struct report {
	const struct sim *sim; /* borrowed */
	struct sim_totals totals;
	double *own_s, *first_s; /* of the healthy hosts, sorted; owned */
	uint32_t count, unfinished;
	double bound_s, took_s;
	uint64_t rss_peak_bytes;
	uint64_t events;
};

/* @took_s: of real time. */
void report_make(const struct sim *s, double took_s, struct report *ret);
void report_free(struct report *r);

/* The times that count: own or first, as the scenario says. */
const double *report_times(const struct report *r);
double report_quantile(const double *sorted, uint32_t count, double q);

void report_print(const struct report *r, FILE *out);

/* Add a row to the CSV @path, replacing the one of the same scenario, hosts
 * and seed.  false: said on stderr. */
bool report_csv(const struct report *r, const char *path);

/* A line "seconds share" per host.  false: said on stderr. */
bool report_cdf(const struct report *r, const char *path);

/* A line "start own zone" per host that finished, in seconds; slow ones and
 * origins left out.  false: said on stderr. */
bool report_hosts(const struct report *r, const char *path);

#endif
