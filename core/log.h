/*
 * core/log.h - structured log: one event, one line, one write(2).
 *
 *	kr_log_info("tracker", "peer expired", KR_U64("idle_s", 31),
 *		    KR_STR("zone", zone), KR_DIGEST("blob", &d));
 *
 *	2026-01-31T08:00:00.123Z info tracker "peer expired" idle_s=31 ...
 *	{"time":"2026-...","level":"info","module":"tracker","msg":"...",...}
 *
 * Values are escaped; a line is at most KR_LOG_LINE_MAX bytes, and says
 * truncated=true where it was cut.  Keys, module and message are literals of
 * ours.  Any thread.  An event below the level costs one relaxed load.  A log
 * that cannot be written is lost: there is nobody left to tell.  A descriptor
 * that blocks (a pipe whose reader is slow) blocks the caller, so nothing is
 * logged per block or per request at info and above.
 */
#ifndef KR_CORE_LOG_H
#define KR_CORE_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/addr.h"
#include "core/digest.h"
#include "core/err.h"

enum { KR_LOG_LINE_MAX = 4096 }; /* with the newline */

enum kr_log_level {
	KR_LOG_DEBUG,
	KR_LOG_INFO,
	KR_LOG_WARN,
	KR_LOG_ERROR,
	KR_LOG_LEVEL_COUNT
};

enum kr_log_format { KR_LOG_TEXT, KR_LOG_JSON };

enum kr_log_type {
	KR_LOG_END_OF_FIELDS_,
	KR_LOG_STR_,
	KR_LOG_BYTES_,
	KR_LOG_BOOL_,
	KR_LOG_U64_,
	KR_LOG_I64_,
	KR_LOG_F64_,
	KR_LOG_ERR_,
	KR_LOG_DIGEST_,
	KR_LOG_ADDR_,
};

/* One key and its value, made by the macros below; borrowed for the call. */
struct kr_log_field {
	const char *key;
	enum kr_log_type type;
	union {
		const char *str; /* NULL prints as null */
		struct kr_bytes bytes;
		bool yes;
		uint64_t u64;
		int64_t i64;
		double f64;
		enum kr_err err;
		const struct kr_digest *digest;
		const struct kr_addr *addr;
	};
};

/* clang-format off */
#define KR_STR(k, v)      { .key = (k), .type = KR_LOG_STR_,    .str = (v) }
#define KR_TEXT(k, p, n)  { .key = (k), .type = KR_LOG_BYTES_, \
			    .bytes = { (const uint8_t *)(p), (n) } }
#define KR_BOOL(k, v)     { .key = (k), .type = KR_LOG_BOOL_,   .yes = (v) }
#define KR_U64(k, v)      { .key = (k), .type = KR_LOG_U64_,    .u64 = (v) }
#define KR_I64(k, v)      { .key = (k), .type = KR_LOG_I64_,    .i64 = (v) }
#define KR_F64(k, v)      { .key = (k), .type = KR_LOG_F64_,    .f64 = (v) }
#define KR_ERR(k, v)      { .key = (k), .type = KR_LOG_ERR_,    .err = (v) }
#define KR_DIGEST(k, v)   { .key = (k), .type = KR_LOG_DIGEST_, .digest = (v) }
#define KR_ADDR(k, v)     { .key = (k), .type = KR_LOG_ADDR_,   .addr = (v) }
/* clang-format on */

/* kr_log_<level>(module, message, field...) with no field or more. */
#define kr_log_debug(...) KR_LOG_(KR_LOG_DEBUG, __VA_ARGS__, KR_LOG_LAST_)
#define kr_log_info(...)  KR_LOG_(KR_LOG_INFO, __VA_ARGS__, KR_LOG_LAST_)
#define kr_log_warn(...)  KR_LOG_(KR_LOG_WARN, __VA_ARGS__, KR_LOG_LAST_)
#define kr_log_error(...) KR_LOG_(KR_LOG_ERROR, __VA_ARGS__, KR_LOG_LAST_)

/* The last field is always there, so that "no field" needs no empty __VA_ARGS__
 * (which C17 does not have). */
#define KR_LOG_LAST_                          \
	{                                     \
		.type = KR_LOG_END_OF_FIELDS_ \
	}
#define KR_LOG_(level, module, message, ...)                                   \
	do {                                                                   \
		if (kr_log_is_on(level))                                       \
			kr_log_write(                                          \
				level, module, message,                        \
				(const struct kr_log_field[]){ __VA_ARGS__ }); \
	} while (0)

extern atomic_int kr_log_level_; /* private: see kr_log_set_level */

static inline bool kr_log_is_on(enum kr_log_level level)
{
	return (int)level >=
	       atomic_load_explicit(&kr_log_level_, memory_order_relaxed);
}

/* Write one event whatever the level; @fields ends with KR_LOG_LAST_. */
void kr_log_write(enum kr_log_level level, const char *module,
		  const char *message, const struct kr_log_field *fields);

/* Defaults: info, text, descriptor 2. */
void kr_log_set_level(enum kr_log_level level);
void kr_log_set_format(enum kr_log_format format);
void kr_log_set_fd(int fd); /* borrowed */

/*
 * "debug", "info", "warn", "error"; "text", "json".
 * KR_E_INVALID  another word
 */
KR_NODISCARD enum kr_err kr_log_level_parse(const char *text,
					    enum kr_log_level *ret);
KR_NODISCARD enum kr_err kr_log_format_parse(const char *text,
					     enum kr_log_format *ret);

#endif
