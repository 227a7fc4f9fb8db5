#include "core/metrics.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum type { COUNTER, GAUGE, HISTOGRAM };

static const char *const type_names[] = { "counter", "gauge", "histogram" };

struct histogram {
	size_t bound_count;
	double bounds[KR_METRIC_BOUNDS_MAX];
	atomic_uint_fast64_t buckets[KR_METRIC_BOUNDS_MAX + 1]; /* last: +Inf */
	atomic_uint_fast64_t sum_bits; /* of a double */
};

struct kr_metric {
	struct kr_metric *next; /* in the family, in order of registration */
	const struct family *family;
	char *labels; /* NULL: none */
	atomic_int_fast64_t value;
	struct histogram *histogram; /* NULL unless the family's type is that */
	int64_t (*fn)(void *ctx);    /* gauge: asked instead of value */
	void *ctx;
};

struct family {
	struct family *next; /* in order of registration */
	char *name, *help;
	enum type type;
	struct kr_metric *metrics;
};

/* The lock covers the lists and fn; the values are atomics.  Nothing is ever
 * taken out, so a struct kr_metric may be used without it. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct family *families;

static void *get_mem(size_t size_bytes)
{
	void *p = calloc(1, size_bytes);

	kr_assert(p != NULL);
	return p;
}

static char *copy_str(const char *str)
{
	const size_t size = strlen(str) + 1;
	char *copy = get_mem(size);

	memcpy(copy, str, size);
	return copy;
}

static bool is_valid_name(const char *name)
{
	for (const char *c = name; *c != '\0'; c++) {
		const bool letter = (*c >= 'a' && *c <= 'z') ||
				    (*c >= 'A' && *c <= 'Z') || *c == '_' ||
				    *c == ':';

		if (!letter && (c == name || *c < '0' || *c > '9'))
			return false;
	}
	return *name != '\0';
}

static struct family *get_family(const char *name, const char *help,
				 enum type type)
{
	struct family **f = &families;

	while (*f != NULL && strcmp((*f)->name, name) != 0)
		f = &(*f)->next;
	if (*f == NULL) {
		kr_assert(is_valid_name(name));
		*f = get_mem(sizeof(**f));
		(*f)->name = copy_str(name);
		(*f)->help = copy_str(help);
		(*f)->type = type;
	}
	kr_assert((*f)->type == type);
	return *f;
}

static bool same_labels(const char *a, const char *b)
{
	return strcmp(a == NULL ? "" : a, b == NULL ? "" : b) == 0;
}

/* The metric of that name and these labels; the lock is held. */
static struct kr_metric *get_metric(const char *name, const char *help,
				    const char *labels, enum type type)
{
	struct family *f = get_family(name, help, type);
	struct kr_metric **m = &f->metrics;

	while (*m != NULL && !same_labels((*m)->labels, labels))
		m = &(*m)->next;
	if (*m == NULL) {
		*m = get_mem(sizeof(**m));
		(*m)->family = f;
		if (labels != NULL && *labels != '\0')
			(*m)->labels = copy_str(labels);
	}
	return *m;
}

static struct kr_metric *register_simple(const char *name, const char *help,
					 const char *labels, enum type type)
{
	kr_assert(pthread_mutex_lock(&lock) == 0);
	struct kr_metric *m = get_metric(name, help, labels, type);
	kr_assert(pthread_mutex_unlock(&lock) == 0);
	return m;
}

struct kr_metric *kr_metrics_counter(const char *name, const char *help,
				     const char *labels)
{
	return register_simple(name, help, labels, COUNTER);
}

struct kr_metric *kr_metrics_gauge(const char *name, const char *help,
				   const char *labels)
{
	return register_simple(name, help, labels, GAUGE);
}

void kr_metrics_gauge_fn(const char *name, const char *help, const char *labels,
			 int64_t (*fn)(void *), void *ctx)
{
	kr_assert(pthread_mutex_lock(&lock) == 0);
	struct kr_metric *m = get_metric(name, help, labels, GAUGE);
	m->fn = fn;
	m->ctx = ctx;
	kr_assert(pthread_mutex_unlock(&lock) == 0);
}

struct kr_metric *kr_metrics_histogram(const char *name, const char *help,
				       const char *labels, const double *bounds,
				       size_t n)
{
	kr_assert(n >= 1 && n <= KR_METRIC_BOUNDS_MAX);
	for (size_t i = 1; i < n; i++)
		kr_assert(bounds[i - 1] < bounds[i]);

	kr_assert(pthread_mutex_lock(&lock) == 0);
	struct kr_metric *m = get_metric(name, help, labels, HISTOGRAM);
	if (m->histogram == NULL) {
		m->histogram = get_mem(sizeof(*m->histogram));
		m->histogram->bound_count = n;
		memcpy(m->histogram->bounds, bounds, n * sizeof(*bounds));
	}
	kr_assert(pthread_mutex_unlock(&lock) == 0);
	return m;
}

void kr_metric_add(struct kr_metric *m, uint64_t n)
{
	kr_assert(m->family->type != HISTOGRAM);
	atomic_fetch_add_explicit(&m->value, (int64_t)n, memory_order_relaxed);
}

void kr_metric_sub(struct kr_metric *m, uint64_t n)
{
	kr_assert(m->family->type == GAUGE);
	atomic_fetch_sub_explicit(&m->value, (int64_t)n, memory_order_relaxed);
}

void kr_metric_set(struct kr_metric *m, int64_t v)
{
	kr_assert(m->family->type == GAUGE);
	atomic_store_explicit(&m->value, v, memory_order_relaxed);
}

static double from_bits(uint64_t bits)
{
	double v;

	memcpy(&v, &bits, sizeof(v));
	return v;
}

static uint64_t to_bits(double v)
{
	uint64_t bits;

	memcpy(&bits, &v, sizeof(bits));
	return bits;
}

void kr_metric_observe(struct kr_metric *m, double v)
{
	struct histogram *h = m->histogram;
	size_t i = 0;

	kr_assert(h != NULL);
	/* "not above" and not "below": a NaN ends in +Inf */
	while (i < h->bound_count && !(v <= h->bounds[i]))
		i++;
	atomic_fetch_add_explicit(&h->buckets[i], 1, memory_order_relaxed);

	uint_fast64_t seen =
		atomic_load_explicit(&h->sum_bits, memory_order_relaxed);
	while (!atomic_compare_exchange_weak_explicit(
		&h->sum_bits, &seen, to_bits(from_bits(seen) + v),
		memory_order_relaxed, memory_order_relaxed))
		;
}

static uint64_t bucket_value(const struct histogram *h, size_t i)
{
	return atomic_load_explicit(&h->buckets[i], memory_order_relaxed);
}

int64_t kr_metric_value(const struct kr_metric *m)
{
	if (m->histogram == NULL)
		return atomic_load_explicit(&m->value, memory_order_relaxed);

	uint64_t count = 0;
	for (size_t i = 0; i <= m->histogram->bound_count; i++)
		count += bucket_value(m->histogram, i);
	return (int64_t)count;
}

/* Append @in at @out of @cap bytes with \, newline, and (@quote) " escaped.
 * Returns the length, or SIZE_MAX if it does not fit with its NUL. */
static size_t escape(char *out, size_t cap, const char *in, bool quote)
{
	size_t len = 0;

	for (; *in != '\0'; in++) {
		const bool escaped =
			*in == '\\' || *in == '\n' || (quote && *in == '"');

		if (cap - len < (escaped ? 3U : 2U))
			return SIZE_MAX;
		if (escaped)
			out[len++] = '\\';
		out[len++] = *in == '\n' ? 'n' : *in;
	}
	out[len] = '\0';
	return len;
}

enum kr_err kr_metrics_label(char *buf, size_t cap, const char *key,
			     const char *value)
{
	const size_t before = strlen(buf);
	size_t at = before;
	const int n = snprintf(buf + at, cap - at, "%s%s=\"",
			       before > 0 ? "," : "", key);

	if (n < 0 || (size_t)n >= cap - at)
		goto too_big;
	at += (size_t)n;
	const size_t len = escape(buf + at, cap - at, value, true);
	if (len == SIZE_MAX || cap - at - len < 2)
		goto too_big;
	at += len;
	buf[at] = '"';
	buf[at + 1] = '\0';
	return KR_OK;
too_big:
	buf[before] = '\0';
	return KR_E_TOOBIG;
}

static enum kr_err print_help(struct kr_buf *b, const struct family *f)
{
	const size_t cap = 2 * strlen(f->help) + 1;
	char *help = get_mem(cap);

	escape(help, cap, f->help, false);
	const enum kr_err err =
		kr_buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n", f->name, help,
			      f->name, type_names[f->type]);
	free(help);
	return err;
}

static enum kr_err print_bucket(struct kr_buf *b, const struct kr_metric *m,
				const char *bound, uint64_t count)
{
	return kr_buf_printf(b, "%s_bucket{%s%sle=\"%s\"} %llu\n",
			     m->family->name, m->labels ? m->labels : "",
			     m->labels ? "," : "", bound,
			     (unsigned long long)count);
}

static enum kr_err print_histogram(struct kr_buf *b, const struct kr_metric *m)
{
	const struct histogram *h = m->histogram;
	const char *open = m->labels ? "{" : "", *close = m->labels ? "}" : "";
	const char *labels = m->labels ? m->labels : "";
	enum kr_err err = KR_OK;
	uint64_t count = 0;

	for (size_t i = 0; i <= h->bound_count && err == KR_OK; i++) {
		char bound[32] = "+Inf";

		count += bucket_value(h, i);
		if (i < h->bound_count)
			snprintf(bound, sizeof(bound), "%.15g", h->bounds[i]);
		err = print_bucket(b, m, bound, count);
	}
	if (err != KR_OK)
		return err;
	const double sum = from_bits(
		atomic_load_explicit(&h->sum_bits, memory_order_relaxed));
	return kr_buf_printf(b, "%s_sum%s%s%s %.15g\n%s_count%s%s%s %llu\n",
			     m->family->name, open, labels, close, sum,
			     m->family->name, open, labels, close,
			     (unsigned long long)count);
}

static enum kr_err print_metric(struct kr_buf *b, const struct kr_metric *m)
{
	if (m->histogram != NULL)
		return print_histogram(b, m);

	const int64_t v = m->fn != NULL ? m->fn(m->ctx) : kr_metric_value(m);
	const char *open = m->labels ? "{" : "", *close = m->labels ? "}" : "";
	const char *labels = m->labels ? m->labels : "";

	if (m->family->type == COUNTER) /* counts on past INT64_MAX */
		return kr_buf_printf(b, "%s%s%s%s %llu\n", m->family->name,
				     open, labels, close,
				     (unsigned long long)v);
	return kr_buf_printf(b, "%s%s%s%s %lld\n", m->family->name, open,
			     labels, close, (long long)v);
}

enum kr_err kr_metrics_print(struct kr_buf *b)
{
	enum kr_err err = KR_OK;

	kr_assert(pthread_mutex_lock(&lock) == 0);
	for (const struct family *f = families; f != NULL && err == KR_OK;
	     f = f->next) {
		err = print_help(b, f);
		for (const struct kr_metric *m = f->metrics;
		     m != NULL && err == KR_OK; m = m->next)
			err = print_metric(b, m);
	}
	kr_assert(pthread_mutex_unlock(&lock) == 0);
	return err;
}
