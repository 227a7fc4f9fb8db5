#include "bench/swarm_sim/report.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bench/swarm_sim/mem.h"

enum { LINE = 512 };
static const char csv_head[] =
	"scenario,hosts,seed,p50_s,p99_s,p999_s,max_s,bound_s,ratio_p999,"
	"origin_copies,control_bytes_share\n";

static int by_value(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double seconds(uint64_t ns)
{
	return (double)ns / 1e9;
}

void report_make(const struct sim *s, double took_s, struct report *ret)
{
	*ret = (struct report){ .sim = s,
				.took_s = took_s,
				.bound_s = scenario_bound_s(s->sc),
				.events = sim_queue_popped(s->queue),
				.rss_peak_bytes = sim_rss_peak_bytes() };
	ret->own_s = sim_get(s->host_count * sizeof(double));
	ret->first_s = sim_get(s->host_count * sizeof(double));
	s->model->totals(s->model_ctx, &ret->totals);
	for (uint32_t i = s->origin_count; i < s->host_count; i++) {
		const struct sim_host *h = &s->hosts[i];
		const uint64_t end_ns =
			h->done_ns != SIM_NO ? h->done_ns : s->net.now_ns;

		if (h->slow || h->kill_ns != SIM_NO)
			continue;
		ret->unfinished += h->done_ns == SIM_NO;
		ret->own_s[ret->count] = seconds(end_ns - h->start_ns);
		ret->first_s[ret->count++] =
			seconds(end_ns - SIM_EPOCH_MS * SIM_MS);
	}
	qsort(ret->own_s, ret->count, sizeof(double), by_value);
	qsort(ret->first_s, ret->count, sizeof(double), by_value);
}

void report_free(struct report *r)
{
	sim_put(r->own_s);
	sim_put(r->first_s);
}

const double *report_times(const struct report *r)
{
	return r->sim->sc->measure == SCENARIO_OWN ? r->own_s : r->first_s;
}

double report_quantile(const double *sorted, uint32_t count, double q)
{
	uint32_t i = (uint32_t)(q * count);

	if (count == 0)
		return 0;
	return sorted[i < count ? i : count - 1];
}

static double share(uint64_t part, uint64_t whole)
{
	return whole == 0 ? 0 : (double)part / (double)whole;
}

static void print_times(const struct report *r, FILE *out, const char *name,
			const double *t)
{
	static const double qs[] = { 0, 0.5, 0.9, 0.99, 0.999, 1 };

	fprintf(out, "  %-22s", name);
	for (size_t i = 0; i < sizeof(qs) / sizeof(qs[0]); i++)
		fprintf(out, "%9.3f", report_quantile(t, r->count, qs[i]));
	fprintf(out, "   p99.9/bound %.3f\n",
		report_quantile(t, r->count, 0.999) / r->bound_s);
}

static void print_streaming(const struct report *r, FILE *out)
{
	const struct sim *s = r->sim;
	double *first = sim_get(s->host_count * sizeof(*first));
	double *lag = sim_get(s->host_count * sizeof(*lag));
	uint32_t count = 0;

	for (uint32_t i = s->origin_count; i < s->host_count; i++) {
		const struct sim_host *h = &s->hosts[i];

		if (!h->streaming || h->first_byte_ns == SIM_NO)
			continue;
		first[count] = seconds(h->first_byte_ns - h->start_ns);
		lag[count++] = seconds(h->lag_ns);
	}
	qsort(first, count, sizeof(*first), by_value);
	qsort(lag, count, sizeof(*lag), by_value);
	if (count > 0) {
		print_times(r, out, "first byte", first);
		print_times(r, out, "longest wait for a byte", lag);
	}
	sim_put(first);
	sim_put(lag);
}

static void print_halves(const struct report *r, FILE *out)
{
	const struct sim *s = r->sim;
	double *half = sim_get(s->host_count * sizeof(*half));
	uint32_t count = 0;

	for (uint32_t i = s->origin_count; i < s->host_count; i++)
		if (s->hosts[i].half_ns != SIM_NO && !s->hosts[i].slow)
			half[count++] = seconds(s->hosts[i].half_ns -
						s->hosts[i].start_ns);
	qsort(half, count, sizeof(*half), by_value);
	fprintf(out, "  first layer whole: p50 %.3f, p99 %.3f\n",
		report_quantile(half, count, 0.5),
		report_quantile(half, count, 0.99));
	sim_put(half);
}

static void print_zones(const struct report *r, FILE *out)
{
	const struct sim *s = r->sim;

	if (s->sc->zones < 2)
		return;
	fprintf(out, "  into zones from others, copies:");
	for (uint32_t z = 0; z < s->sc->zones; z++)
		fprintf(out, " %.2f",
			share(s->net.cross_bytes[z], s->sc->size_bytes));
	fprintf(out, "\n");
}

static void print_traffic(const struct report *r, FILE *out)
{
	const struct sim_totals *t = &r->totals;
	const struct scenario *sc = r->sim->sc;
	const double hosts = (double)r->sim->host_count;

	fprintf(out,
		"  origins sent %.2f copies; thrown away %.3f %%; control "
		"%.3f %% of payload\n",
		share(t->origin_bytes, sc->size_bytes),
		100 * share(t->wasted_bytes, t->payload_bytes),
		100 * share(t->control_bytes, t->payload_bytes));
	fprintf(out,
		"  per host: %.0f frames, %.0f KB of control, %.1f MB of "
		"payload, %.1f announces\n",
		(double)t->frames / hosts,
		(double)t->control_bytes / hosts / 1e3,
		(double)t->payload_bytes / hosts / 1e6,
		(double)t->announces / hosts);
	fprintf(out,
		"  overdue %" PRIu64 ", cancels %" PRIu64 ", rejects %" PRIu64
		", bad pieces %" PRIu64 "; closes:",
		t->overdue, t->cancels, t->rejects, t->bad_pieces);
	for (int i = 0; i < KR_BYE_REASON_COUNT; i++)
		if (t->closes[i] > 0)
			fprintf(out, " %s %" PRIu64,
				kr_bye_reason_name((enum kr_bye_reason)i),
				t->closes[i]);
	fprintf(out, "\n");
}

void report_print(const struct report *r, FILE *out)
{
	const struct sim *s = r->sim;
	const struct sim_totals *t = &r->totals;
	const double hosts = (double)s->host_count;

	fprintf(out,
		"%s: %u hosts, %u origins, %" PRIu64 " layers, %.3f GB, pieces "
		"of %u KiB in blocks of %" PRIu64 " KiB, seed %" PRIu64 "\n",
		s->sc->name, s->host_count - s->origin_count, s->origin_count,
		s->sc->layers, (double)s->sc->size_bytes / 1e9,
		s->piece_bytes >> 10,
		(s->policy.block_bytes < s->piece_bytes ? s->policy.block_bytes
							: s->piece_bytes) >>
			10,
		s->seed);
	fprintf(out, "  lower bound %.3f s\n", r->bound_s);
	fprintf(out, "  %-22s%9s%9s%9s%9s%9s%9s\n", "seconds", "min", "p50",
		"p90", "p99", "p99.9", "max");
	print_times(r, out, "since own start", r->own_s);
	print_times(r, out, "since first start", r->first_s);
	print_halves(r, out);
	print_streaming(r, out);
	if (r->unfinished > 0)
		fprintf(out, "  NOT FINISHED: %u hosts\n", r->unfinished);
	print_traffic(r, out);
	print_zones(r, out);
	fprintf(out,
		"  memory of nodes: %.0f KB a host (greatest %.0f, without "
		"blobs %.0f), %.0f bytes per blob and neighbour, %.1f "
		"neighbours per blob\n",
		(double)t->node_bytes / hosts / 1e3,
		(double)t->node_bytes_peak / 1e3,
		(double)t->node_bytes_idle / 1e3, (double)t->neighbour_bytes,
		(double)t->neighbours /
			((hosts - s->origin_count) * (double)s->sc->layers));
	fprintf(out,
		"  took %.1f s, %.1f M events (%.2f us each), %.0f MB; trace "
		"%016" PRIx64 "\n",
		r->took_s, (double)r->events / 1e6,
		r->took_s / (double)r->events * 1e6,
		(double)r->rss_peak_bytes / 1e6, s->trace_hash);
}

static void csv_row(const struct report *r, char row[LINE])
{
	const double *t = report_times(r);
	const struct sim *s = r->sim;
	const double p999 = report_quantile(t, r->count, 0.999);

	snprintf(row, LINE,
		 "%s,%u,%" PRIu64 ",%.3f,%.3f,%.3f,%.3f,%.3f,%.4f,%.3f,%.5f\n",
		 s->sc->name, s->host_count - s->origin_count, s->seed,
		 report_quantile(t, r->count, 0.5),
		 report_quantile(t, r->count, 0.99), p999,
		 report_quantile(t, r->count, 1), r->bound_s, p999 / r->bound_s,
		 share(r->totals.origin_bytes, s->sc->size_bytes),
		 share(r->totals.control_bytes, r->totals.payload_bytes));
}

/* Do two rows say the same scenario, hosts and seed? */
static bool same_run(const char *a, const char *b)
{
	for (int commas = 0; *a == *b && *a != '\0'; a++, b++) {
		commas += *a == ',';
		if (commas == 3)
			return true;
	}
	return false;
}

bool report_csv(const struct report *r, const char *path)
{
	char row[LINE], line[LINE], temp[LINE];
	FILE *old = fopen(path, "r"), *out;

	csv_row(r, row);
	snprintf(temp, sizeof(temp), "%s.new", path);
	out = fopen(temp, "w");
	if (out == NULL) {
		perror(temp);
		if (old != NULL)
			fclose(old);
		return false;
	}
	fputs(csv_head, out);
	while (old != NULL && fgets(line, sizeof(line), old) != NULL)
		if (strcmp(line, csv_head) != 0 && !same_run(line, row))
			fputs(line, out);
	fputs(row, out);
	if (old != NULL)
		fclose(old);
	if (fclose(out) == 0 && rename(temp, path) == 0)
		return true;
	perror(path);
	return false;
}

bool report_cdf(const struct report *r, const char *path)
{
	const double *t = report_times(r);
	FILE *out = fopen(path, "w");

	if (out == NULL) {
		perror(path);
		return false;
	}
	fprintf(out, "# %s: seconds, share of hosts; bound %.3f\n",
		r->sim->sc->name, r->bound_s);
	for (uint32_t i = 0; i < r->count; i++)
		fprintf(out, "%.4f %.6f\n", t[i],
			(double)(i + 1) / (double)r->count);
	if (fclose(out) == 0)
		return true;
	perror(path);
	return false;
}

bool report_hosts(const struct report *r, const char *path)
{
	const struct sim *s = r->sim;
	FILE *out = fopen(path, "w");

	if (out == NULL) {
		perror(path);
		return false;
	}
	fputs("# start, s; time since then to have all, s; zone\n", out);
	for (uint32_t i = s->origin_count; i < s->host_count; i++) {
		const struct sim_host *h = &s->hosts[i];

		if (h->done_ns != SIM_NO && !h->slow)
			fprintf(out, "%.4f %.4f %u\n",
				seconds(h->start_ns - SIM_EPOCH_MS * SIM_MS),
				seconds(h->done_ns - h->start_ns),
				s->net.hosts[i].zone);
	}
	if (fclose(out) == 0)
		return true;
	perror(path);
	return false;
}
