/*
 * control/programs/tools_metrics.h - reading the text of /metrics (Prometheus
 * text format 0.0.4), as far as our own processes write it.  PURE.
 */
#ifndef KR_CONTROL_PROGRAMS_TOOLS_METRICS_H
#define KR_CONTROL_PROGRAMS_TOOLS_METRICS_H

#include <stdbool.h>
#include <stddef.h>

/*
 * The sum over the lines of @text (NUL-terminated) for @metric: with labels,
 * name{k="v"}, exactly that line; without, every line of that name.  False:
 * there is none; @ret is untouched.
 */
bool kr_tools_metric_sum(const char *text, const char *metric, double *ret);

/*
 * The value of label @key in the first line for @name that has it, in @buf of
 * @cap bytes.  False: there is none, or it does not fit; @buf is untouched.
 */
bool kr_tools_metric_label(const char *text, const char *name, const char *key,
			   char *buf, size_t cap);

#endif
