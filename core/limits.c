#include "core/limits.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>

#include "core/log.h"

static uint64_t from_rlim(rlim_t v)
{
	return v == RLIM_INFINITY ? UINT64_MAX : (uint64_t)v;
}

enum kr_err kr_limits_init(struct kr_limits *l, uint64_t memory_bytes)
{
	struct rlimit nofile, memlock;

	if (getrlimit(RLIMIT_NOFILE, &nofile) != 0 ||
	    getrlimit(RLIMIT_MEMLOCK, &memlock) != 0)
		return KR_E_IO;

	/* The soft limit is low for programs that use select(2); we do not. */
	const struct rlimit raised = { nofile.rlim_max, nofile.rlim_max };
	if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
		nofile = raised;

	const uint64_t count = from_rlim(nofile.rlim_cur);
	*l = (struct kr_limits){
		.memory_bytes = memory_bytes,
		.memlock_bytes = from_rlim(memlock.rlim_cur),
		.nofile = count > UINT32_MAX ? UINT32_MAX : (uint32_t)count,
	};
	return KR_OK;
}

void kr_limits_row(struct kr_limits *l, const char *name, uint64_t value,
		   enum kr_limit_unit unit, const char *config_key)
{
	kr_assert(l->row_count < KR_LIMITS_ROWS_MAX);
	l->rows[l->row_count++] =
		(struct kr_limit_row){ name, value, unit, config_key };
}

uint64_t kr_limits_memory_sum(const struct kr_limits *l)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < l->row_count; i++) {
		if (l->rows[i].unit != KR_LIMIT_MEMORY_BYTES)
			continue;
		if (__builtin_add_overflow(sum, l->rows[i].value, &sum))
			return UINT64_MAX;
	}
	return sum;
}

static const struct kr_limit_row *largest_memory_row(const struct kr_limits *l)
{
	const struct kr_limit_row *largest = NULL;

	for (uint32_t i = 0; i < l->row_count; i++) {
		const struct kr_limit_row *row = &l->rows[i];

		if (row->unit == KR_LIMIT_MEMORY_BYTES &&
		    (largest == NULL || row->value > largest->value))
			largest = row;
	}
	return largest;
}

enum kr_err kr_limits_check(const struct kr_limits *l)
{
	const uint64_t sum = kr_limits_memory_sum(l);

	if (l->memory_bytes == 0 || sum <= l->memory_bytes)
		return KR_OK;
	const struct kr_limit_row *row = largest_memory_row(l);
	kr_log_error("limits",
		     "buffers need more than the memory budget; raise the "
		     "budget or lower the largest",
		     KR_U64("needed_bytes", sum),
		     KR_U64("budget_bytes", l->memory_bytes),
		     KR_STR("largest", row->name),
		     KR_U64("largest_bytes", row->value),
		     KR_STR("config_key", row->config_key));
	return KR_E_CONFIG;
}

/* Bytes in the largest unit that keeps them whole, times as milliseconds. */
static void print_value(const struct kr_limit_row *row, char *buf, size_t cap)
{
	static const char *const suffixes[] = { "B", "KiB", "MiB", "GiB",
						"TiB" };
	uint64_t v = row->value;
	size_t i = 0;

	switch (row->unit) {
	case KR_LIMIT_COUNT:
		snprintf(buf, cap, "%" PRIu64, v);
		return;
	case KR_LIMIT_NS:
		snprintf(buf, cap, "%" PRIu64 "ms", v / 1000000);
		return;
	case KR_LIMIT_BYTES:
	case KR_LIMIT_MEMORY_BYTES:
		break;
	}
	while (v > 0 && v % 1024 == 0 && i + 1 < 5) {
		v /= 1024;
		i++;
	}
	snprintf(buf, cap, "%" PRIu64 "%s", v, suffixes[i]);
}

void kr_limits_log(const struct kr_limits *l)
{
	kr_log_info("limits", "host", KR_U64("nofile", l->nofile),
		    KR_U64("memlock_bytes", l->memlock_bytes),
		    KR_U64("memory_budget_bytes", l->memory_bytes),
		    KR_U64("memory_planned_bytes", kr_limits_memory_sum(l)));
	for (uint32_t i = 0; i < l->row_count; i++) {
		const struct kr_limit_row *row = &l->rows[i];
		char value[32];

		print_value(row, value, sizeof(value));
		kr_log_info(
			"limits", row->name, KR_STR("value", value),
			KR_BOOL("memory", row->unit == KR_LIMIT_MEMORY_BYTES),
			KR_STR("config_key",
			       row->config_key ? row->config_key : "fixed"));
	}
}
