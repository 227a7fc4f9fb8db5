/*
 * core/limits.h - what this host lets us have, and the table of what we have
 * decided to use of it.
 *
 * At start each module adds a row per bound it keeps (buffers, connections,
 * queues); the table is then checked against the memory budget and printed, so
 * that an operator can read every ceiling of a process from its first lines
 * of log.  One thread, at start.
 */
#ifndef KR_CORE_LIMITS_H
#define KR_CORE_LIMITS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/err.h"

enum { KR_LIMITS_ROWS_MAX = 64 };

enum kr_limit_unit {
	KR_LIMIT_COUNT,        /* a number of things */
	KR_LIMIT_BYTES,        /* bytes that are not memory (disk, bodies) */
	KR_LIMIT_MEMORY_BYTES, /* bytes of memory: counted against the budget */
	KR_LIMIT_NS,           /* a time */
};

struct kr_limit_row {     /* strings are literals, borrowed for the process */
	const char *name; /* "peer connections" */
	uint64_t value;
	enum kr_limit_unit unit;
	const char *config_key; /* "limits.connections"; NULL: fixed */
};

struct kr_limits {
	uint64_t memory_bytes;  /* the budget; 0: unlimited */
	uint64_t memlock_bytes; /* RLIMIT_MEMLOCK; UINT64_MAX: unlimited */
	uint32_t nofile;        /* descriptors we may open */
	uint32_t row_count;
	struct kr_limit_row rows[KR_LIMITS_ROWS_MAX];
};

/*
 * Raise the soft RLIMIT_NOFILE to the hard one and read what is there.
 * @memory_bytes is the configured budget, 0 for none.
 *
 * KR_E_IO  getrlimit(2) failed; a soft limit that cannot be raised is no
 *          error, @l->nofile says what there is
 */
KR_NODISCARD enum kr_err kr_limits_init(struct kr_limits *l,
					uint64_t memory_bytes);

/* Add a row; there is room for KR_LIMITS_ROWS_MAX (asserted). */
void kr_limits_row(struct kr_limits *l, const char *name, uint64_t value,
		   enum kr_limit_unit unit, const char *config_key);

/* Sum of the KR_LIMIT_MEMORY_BYTES rows; saturates. */
uint64_t kr_limits_memory_sum(const struct kr_limits *l);

/* KR_E_CONFIG  the rows sum to more than the budget; the log says which row
 *              is the largest and which key changes it */
KR_NODISCARD enum kr_err kr_limits_check(const struct kr_limits *l);

/* Print the table through the log at level info, a line per row. */
void kr_limits_log(const struct kr_limits *l);

#endif
