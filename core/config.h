/*
 * core/config.h - typed YAML configuration: a table says which keys exist, of
 * what type, with which default and bounds, and where each goes in a struct.
 *
 *	static const struct kr_config_row rows[] = {
 *		KR_CONFIG_U64(struct conf, workers, "http.workers", "4", 1, 64,
 *			      "threads that parse requests"),
 *		KR_CONFIG_BYTES(struct conf, quota, "store.quota", "0", 0,
 *				UINT64_MAX, "bytes of blobs kept; 0: 90 %"),
 *	};
 *	static const struct kr_config_schema schema =
 *		KR_CONFIG_SCHEMA(struct conf, rows);
 *
 * A dotted key is a path of YAML maps ("store.quota" is `store: {quota: 1GiB}`).
 * Sources are applied in this order, key by key, so the later wins; maps merge,
 * lists replace:
 *
 *	defaults < what `extends:` names (its own first) < file < secrets < set
 *
 * What is wrong is said once, in the form a person can act on:
 *
 *	FILE:LINE:COL: key `a.b`: expected X, got Y
 *
 * Refused in the same form: an unknown key (with the nearest known one), a
 * duplicate key, anchors and aliases, a second document, nesting deeper than
 * KR_CONFIG_DEPTH_MAX, a file above KR_CONFIG_FILE_MAX.  There is no
 * substitution of environment variables.
 *
 * Values as text
 *	bool      true false yes no on off
 *	u64       decimal
 *	bytes     a number and B, KB, MB, GB, TB (1000) or KiB .. TiB (1024);
 *	          no unit: bytes
 *	duration  one or more of a number and ns, us, ms, s, m, h, d: "1h30m";
 *	          "0" needs no unit
 *	address   host:port, [v6]:port, or :port for every address
 *	strings   a YAML list, or one scalar; in a flag separated by commas
 *
 * Threads: reentrant; a configuration belongs to whoever loaded it.
 */
#ifndef KR_CORE_CONFIG_H
#define KR_CORE_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"

struct kr_buf;

enum {
	KR_CONFIG_DEPTH_MAX = 16,     /* nesting of YAML collections */
	KR_CONFIG_EXTENDS_MAX = 8,    /* files in an `extends:` chain */
	KR_CONFIG_FILE_MAX = 1 << 20, /* bytes of one file */
	KR_CONFIG_LIST_MAX = 4096,    /* elements of one list */
	KR_CONFIG_ERROR_MAX = 640,    /* bytes of an error's text */
	KR_CONFIG_ROWS_MAX = 256,     /* rows of one schema */
	KR_CONFIG_HOST_MAX = 256,     /* bytes of a host name, with the NUL */
};

/* What a value is, and the type of its field in the struct. */
enum kr_config_type {
	KR_CONFIG_TYPE_BOOL,     /* bool */
	KR_CONFIG_TYPE_U64,      /* uint64_t */
	KR_CONFIG_TYPE_BYTES,    /* uint64_t */
	KR_CONFIG_TYPE_DURATION, /* uint64_t, nanoseconds */
	KR_CONFIG_TYPE_STRING,   /* char *, owned, never NULL */
	KR_CONFIG_TYPE_ADDRESS,  /* char *, owned; "" if that is the default */
	KR_CONFIG_TYPE_ENUM,     /* uint32_t, index into names */
	KR_CONFIG_TYPE_STRINGS,  /* struct kr_config_strings */
	KR_CONFIG_TYPE_OBJECTS,  /* struct kr_config_objects */
	KR_CONFIG_TYPE_COUNT
};

struct kr_config_strings {
	char **list; /* owned; NULL when count is 0 */
	size_t count;
};

struct kr_config_objects {
	void *list; /* owned array of the sub-schema's struct */
	size_t count;
};

struct kr_config_schema;

struct kr_config_row {
	const char *key; /* dotted path */
	enum kr_config_type type;
	bool secret;       /* kr_config_print shows *** */
	const char *def;   /* as text; NULL: the key must be given */
	uint64_t min, max; /* numbers: bounds; strings, lists: of length */
	const char *help;  /* one line */
	size_t offset;     /* of the field */
	const char *const *names;           /* ENUM: values, NULL-terminated */
	const struct kr_config_schema *sub; /* OBJECTS */
};

struct kr_config_schema {
	const struct kr_config_row *rows;
	size_t row_count;
	size_t size_bytes; /* of the struct */
};

/* Offset of @field_ in @struct_, which compiles only if its type is @type_. */
#define KR_CONFIG_AT(struct_, field_, type_) \
	(offsetof(struct_, field_) +         \
	 0 * sizeof(_Generic(((struct_ *)0)->field_, type_ : 1)))

/* clang-format off */
#define KR_CONFIG_SCHEMA(struct_, rows_)                                      \
	{ .rows = (rows_), .row_count = sizeof(rows_) / sizeof((rows_)[0]),   \
	  .size_bytes = sizeof(struct_) }
#define KR_CONFIG_NUMBER_(t_, s_, f_, k_, d_, lo_, hi_, h_)                   \
	{ .key = k_, .type = t_, .def = d_, .min = lo_, .max = hi_,           \
	  .help = h_, .offset = KR_CONFIG_AT(s_, f_, uint64_t) }
#define KR_CONFIG_BOOL(s_, f_, k_, d_, h_)                                    \
	{ .key = k_, .type = KR_CONFIG_TYPE_BOOL, .def = d_, .help = h_,      \
	  .offset = KR_CONFIG_AT(s_, f_, bool) }
#define KR_CONFIG_U64(s_, f_, k_, d_, lo_, hi_, h_)                           \
	KR_CONFIG_NUMBER_(KR_CONFIG_TYPE_U64, s_, f_, k_, d_, lo_, hi_, h_)
#define KR_CONFIG_BYTES(s_, f_, k_, d_, lo_, hi_, h_)                         \
	KR_CONFIG_NUMBER_(KR_CONFIG_TYPE_BYTES, s_, f_, k_, d_, lo_, hi_, h_)
#define KR_CONFIG_DURATION(s_, f_, k_, d_, lo_, hi_, h_)                      \
	KR_CONFIG_NUMBER_(KR_CONFIG_TYPE_DURATION, s_, f_, k_, d_, lo_, hi_, h_)
#define KR_CONFIG_STRING(s_, f_, k_, d_, h_)                                  \
	{ .key = k_, .type = KR_CONFIG_TYPE_STRING, .def = d_, .max = 65536,  \
	  .help = h_, .offset = KR_CONFIG_AT(s_, f_, char *) }
#define KR_CONFIG_SECRET(s_, f_, k_, d_, h_)                                  \
	{ .key = k_, .type = KR_CONFIG_TYPE_STRING, .def = d_, .max = 65536,  \
	  .help = h_, .secret = true, .offset = KR_CONFIG_AT(s_, f_, char *) }
#define KR_CONFIG_ADDRESS(s_, f_, k_, d_, h_)                                 \
	{ .key = k_, .type = KR_CONFIG_TYPE_ADDRESS, .def = d_, .help = h_,   \
	  .offset = KR_CONFIG_AT(s_, f_, char *) }
#define KR_CONFIG_ENUM(s_, f_, k_, d_, names_, h_)                            \
	{ .key = k_, .type = KR_CONFIG_TYPE_ENUM, .def = d_, .help = h_,      \
	  .names = (names_), .offset = KR_CONFIG_AT(s_, f_, uint32_t) }
#define KR_CONFIG_STRINGS(s_, f_, k_, d_, lo_, hi_, h_)                       \
	{ .key = k_, .type = KR_CONFIG_TYPE_STRINGS, .def = d_, .min = lo_,   \
	  .max = hi_, .help = h_,                                             \
	  .offset = KR_CONFIG_AT(s_, f_, struct kr_config_strings) }
/* A list of maps, empty by default; @lo_ > 0 makes it mandatory. */
#define KR_CONFIG_OBJECTS(s_, f_, k_, sub_, lo_, hi_, h_)                     \
	{ .key = k_, .type = KR_CONFIG_TYPE_OBJECTS, .def = "", .min = lo_,   \
	  .max = hi_, .help = h_, .sub = (sub_),                              \
	  .offset = KR_CONFIG_AT(s_, f_, struct kr_config_objects) }
/* clang-format on */

struct kr_config_error {
	char text[KR_CONFIG_ERROR_MAX]; /* one line, "" with KR_OK */
};

/*
 * Fill @ret (the schema's struct, uninitialised) with the defaults.  Keys that
 * must be given are 0, "" or empty.  Free with kr_config_free.  KR_E_NOMEM.
 * A default that does not fit its own row is a fault of the program.
 */
KR_NODISCARD enum kr_err kr_config_defaults(const struct kr_config_schema *sc,
					    void *ret);

/*
 * Defaults, then file @path with what it extends, then @secrets_path (or
 * NULL), into @ret (uninitialised; untouched unless KR_OK).  [blocks]
 *
 * KR_E_CONFIG  @err says where and why
 * KR_E_NOTFOUND, KR_E_DENIED, KR_E_IO  a file cannot be read; @err names it
 * KR_E_NOMEM
 */
KR_NODISCARD enum kr_err kr_config_load(const char *path,
					const char *secrets_path,
					const struct kr_config_schema *sc,
					void *ret, struct kr_config_error *err);

/* The same for YAML in memory, called @name in errors.  `extends:` is refused:
 * there is no folder to look in. */
KR_NODISCARD enum kr_err kr_config_load_memory(
	const char *name, const void *buf, size_t len,
	const struct kr_config_schema *sc, void *ret,
	struct kr_config_error *err);

/* Set one key of @conf from text, as a command-line flag does.  KR_E_CONFIG:
 * unknown key, bad value, or a list of maps; @conf is unchanged. */
KR_NODISCARD enum kr_err kr_config_set(const struct kr_config_schema *sc,
				       void *conf, const char *key,
				       const char *text,
				       struct kr_config_error *err);

/* Append a line per key to @out: "key = value (default ...)  # help"; keys at
 * their default lack the parenthesis.  KR_E_NOMEM. */
KR_NODISCARD enum kr_err kr_config_print(const struct kr_config_schema *sc,
					 const void *conf, struct kr_buf *out);

/* Free what @conf owns and zero it.  Zeroed memory is fine too. */
void kr_config_free(const struct kr_config_schema *sc, void *conf);

/* Split an address; "" in @ret_host means every address.  A port is required.
 * KR_E_INVALID. */
KR_NODISCARD enum kr_err kr_config_address_split(
	const char *text, char ret_host[KR_CONFIG_HOST_MAX],
	uint16_t *ret_port);

#endif
