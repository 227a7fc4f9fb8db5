/*
 * core/metrics.h - the counters, gauges and histograms of the process, printed
 * in the Prometheus text format 0.0.4.
 *
 * A metric is registered once and lives as long as the process; registering
 * the same name and labels again returns the same object.  Metrics of one name
 * form a family and share type and help.  Registration locks and may allocate;
 * changing a metric is one relaxed atomic operation (a histogram: two and a
 * short loop).  Any thread.
 *
 * Registration cannot fail: running out of memory, a malformed name, or a name
 * reused with another type is a fault of the program and aborts.
 */
#ifndef KR_CORE_METRICS_H
#define KR_CORE_METRICS_H

#include <stddef.h>
#include <stdint.h>

#include "core/buf.h"
#include "core/err.h"

struct kr_metric;

enum { KR_METRIC_BOUNDS_MAX = 32 };

/*
 * @name    [a-zA-Z_:][a-zA-Z0-9_:]*; copied
 * @help    copied; escaped when printed
 * @labels  NULL or the inside of the braces, k="v",k2="v2", values escaped
 *          already (kr_metrics_label does it); copied
 */
struct kr_metric *kr_metrics_counter(const char *name, const char *help,
				     const char *labels);
struct kr_metric *kr_metrics_gauge(const char *name, const char *help,
				   const char *labels);

/* @bounds  @n (1 .. KR_METRIC_BOUNDS_MAX) ascending upper bounds without
 *          +Inf; copied.  Those of the first registration count. */
struct kr_metric *kr_metrics_histogram(const char *name, const char *help,
				       const char *labels, const double *bounds,
				       size_t n);

/* A gauge that is asked when printed: @fn is called with @ctx, under the
 * registry's lock, from whatever thread prints.  Registered again, the last
 * @fn and @ctx count; NULL ends the asking, before @ctx goes away. */
void kr_metrics_gauge_fn(const char *name, const char *help, const char *labels,
			 int64_t (*fn)(void *), void *ctx);

void kr_metric_add(struct kr_metric *m, uint64_t n);   /* counter, gauge */
void kr_metric_sub(struct kr_metric *m, uint64_t n);   /* gauge */
void kr_metric_set(struct kr_metric *m, int64_t v);    /* gauge */
void kr_metric_observe(struct kr_metric *m, double v); /* histogram */

/* Counter and gauge: the value; histogram: the number of observations. */
int64_t kr_metric_value(const struct kr_metric *m);

/*
 * Append k="@value" to the NUL-terminated text in @buf of @cap bytes, after a
 * comma if there is text already, with \, " and newline escaped.
 *
 * KR_E_TOOBIG  does not fit; @buf is as it was
 */
KR_NODISCARD enum kr_err kr_metrics_label(char *buf, size_t cap,
					  const char *key, const char *value);

/* Append everything.  Errors: kr_buf_append's; @b may hold a part. */
KR_NODISCARD enum kr_err kr_metrics_print(struct kr_buf *b);

#endif
