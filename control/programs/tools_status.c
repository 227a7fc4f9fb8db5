/*
 * `kraken status`: a page about each process, from its /health, /readiness and
 * /metrics.
 */
#define _GNU_SOURCE
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/programs/tools.h"
#include "control/programs/tools_get.h"
#include "control/programs/tools_metrics.h"

enum { TEXT_MAX = 64 };
static const uint64_t ASK_NS = UINT64_C(5000000000);

/* The figures that are shown: a line of the page each.  Families whose
 * members are told apart by a label are shown by member. */
static const struct figure {
	const char *metric; /* with its labels, as /metrics prints it */
	const char *label;
	bool is_bytes;
} figures[] = {
#define MOVED(dir_, role_) \
	"kraken_transfer_bytes_total{direction=\"" dir_ "\",peer=\"" role_ "\"}"
	{ MOVED("in", "agent"), "in from agents", true },
	{ MOVED("in", "origin"), "in from origins", true },
	{ MOVED("in", "proxy"), "in from proxies", true },
	{ MOVED("out", "agent"), "out to agents", true },
	{ MOVED("out", "origin"), "out to origins", true },
	{ MOVED("out", "proxy"), "out to proxies", true },
#undef MOVED
	{ "kraken_transfer_connections", "peer connections", false },
	{ "kraken_transfer_blobs", "blobs in a swarm", false },
	{ "kraken_blob_downloads", "downloads", false },
	{ "kraken_blob_verified_bytes", "  of which verified", true },
	{ "kraken_blob_bytes", "  of", true },
	{ "kraken_store_bytes{kind=\"blob\"}", "store: blobs", true },
	{ "kraken_store_bytes{kind=\"partial\"}", "store: partial", true },
	{ "kraken_store_bytes{kind=\"upload\"}", "store: uploads", true },
	{ "kraken_http_connections", "HTTP connections", false },
};
enum { FIGURE_COUNT = sizeof(figures) / sizeof(figures[0]) };

/* 1536 -> "1.5 KiB" */
static const char *print_bytes(double v, char buf[TEXT_MAX])
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	size_t u = 0;

	while (v >= 1024 && u + 1 < sizeof(units) / sizeof(units[0])) {
		v /= 1024;
		u++;
	}
	(void)snprintf(buf, TEXT_MAX, u == 0 ? "%.0f %s" : "%.1f %s", v,
		       units[u]);
	return buf;
}

static void print_figures(const char *text)
{
	char bytes[TEXT_MAX];
	double v = 0;

	for (size_t i = 0; i < FIGURE_COUNT; i++) {
		const struct figure *f = &figures[i];
		if (!kr_tools_metric_sum(text, f->metric, &v) || v == 0)
			continue;
		if (f->is_bytes)
			printf("  %-22s %12s\n", f->label,
			       print_bytes(v, bytes));
		else
			printf("  %-22s %12.0f\n", f->label, v);
	}
}

/* @host's answer to @path as text in @out; false: @out says what is wrong. */
static bool ask(const char *host, const char *path, struct kr_buf *out)
{
	int status = 0;
	enum kr_err err;

	kr_buf_reset(out);
	err = kr_tools_get(host, path, ASK_NS, out, &status);
	if (err != KR_OK) {
		kr_buf_reset(out);
		if (kr_buf_append_str(out, kr_err_text(err)) != KR_OK)
			kr_buf_reset(out);
	}
	/* A NUL behind, outside of len: it is text from here on. */
	if (kr_buf_reserve(out, 1) != KR_OK)
		return false;
	out->ptr[out->len] = '\0';
	return err == KR_OK && status == 200;
}

/* The first line of what was answered. */
static const char *reason(struct kr_buf *answer)
{
	char *text = (char *)answer->ptr;

	if (text == NULL)
		return kr_err_text(KR_E_NOMEM);
	text[strcspn(text, "\r\n")] = '\0';
	return text;
}

static bool print_status(const char *host, struct kr_buf *answer)
{
	char role[TEXT_MAX] = "?";
	char why[TEXT_MAX * 4] = "";
	bool ready;

	if (!ask(host, "/health", answer)) {
		printf("%s: does not answer: %s\n", host, reason(answer));
		return false;
	}
	ready = ask(host, "/readiness", answer);
	if (!ready)
		(void)snprintf(why, sizeof(why), "%s", reason(answer));
	if (!ask(host, "/metrics", answer)) {
		printf("%s: no metrics: %s\n", host, reason(answer));
		return false;
	}
	const char *text = (const char *)answer->ptr;
	(void)kr_tools_metric_label(text, "kraken_http_connections", "role",
				    role, sizeof(role));
	printf("%s: %s, %s%s\n", host, role,
	       ready ? "ready" : "not ready: ", why);
	print_figures(text);
	return ready;
}

int kr_status_main(int argc, char **argv)
{
	struct kr_buf answer;
	bool all_ready = true;

	if (argc < 2 || argv[1][0] == '-') {
		fprintf(stderr,
			"usage: kraken status HOST:PORT...\n"
			"The ports are those of the servers (server.port); "
			"status 1: one is not ready.\n");
		return EXIT_FAILURE;
	}
	kr_buf_init(&answer, KR_TOOLS_GET_BYTES_MAX);
	for (int i = 1; i < argc; i++)
		all_ready &= print_status(argv[i], &answer);
	kr_buf_fini(&answer);
	return all_ready ? EXIT_SUCCESS : EXIT_FAILURE;
}
