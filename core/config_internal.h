/*
 * core/config_internal.h - what the files of the configuration share; nobody
 * else includes it.
 *
 *	config_doc.c    bytes -> a small tree with positions (libyaml's events)
 *	config_value.c  text <-> fields, by the type of a row
 *	config_apply.c  tree -> fields: which node is which row, and complaints
 *	config.c        files, order of the sources, set, print, free
 */
#ifndef KR_CORE_CONFIG_INTERNAL_H
#define KR_CORE_CONFIG_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/buf.h"
#include "core/config.h"
#include "core/err.h"

enum {
	KR_CONFIG_KEY_MAX = 128,  /* bytes of one YAML key */
	KR_CONFIG_PATH_MAX = 512, /* bytes of a dotted key, as shown */
	KR_CONFIG_SUB_MAX = 4,    /* schemas within schemas */
};

/* ---- config_doc.c -------------------------------------------------------*/

enum kr_config_kind { KR_CONFIG_SCALAR, KR_CONFIG_MAP, KR_CONFIG_LIST };

struct kr_config_node {
	enum kr_config_kind kind;
	bool is_null;          /* a plain scalar: nothing, ~ or null */
	uint32_t line, column; /* of the value, from 1 */
	uint32_t key_line, key_column;
	char *key;                           /* in a map, else NULL */
	char *text;                          /* SCALAR */
	size_t count;                        /* children */
	struct kr_config_node *first, *last; /* children */
	struct kr_config_node *next;         /* sibling */
	struct kr_config_node *parent;
	struct kr_config_node *all_next; /* every node of the document */
};

struct kr_config_doc {
	char *name;                  /* of the file, for messages */
	struct kr_config_node *root; /* a MAP, or NULL: nothing in it */
	struct kr_config_node *all;
};

/* Parse YAML.  KR_E_CONFIG with @err, KR_E_NOMEM. */
KR_NODISCARD enum kr_err kr_config_doc_parse(const char *name, const void *buf,
					     size_t len,
					     struct kr_config_doc **ret,
					     struct kr_config_error *err);
void kr_config_doc_free(struct kr_config_doc *doc);

/* Fill @err with "NAME:LINE:COL: " (no position if @line is 0), "key `KEY`: "
 * (if not NULL) and the text. */
void kr_config_fail(struct kr_config_error *err, const char *name,
		    uint32_t line, uint32_t column, const char *key,
		    const char *fmt, ...) __attribute__((format(printf, 6, 7)));

/* ---- config_value.c -----------------------------------------------------*/

union kr_config_value { /* room for any field but OBJECTS */
	bool yes;
	uint64_t u64;
	uint32_t choice;
	char *text;
	struct kr_config_strings strings;
};

/* Parse @text for @row into @ret, whose old content is not looked at.
 * KR_E_CONFIG: not such a value, or out of bounds.  KR_E_NOMEM. */
KR_NODISCARD enum kr_err kr_config_value_parse(const struct kr_config_row *row,
					       const char *text,
					       union kr_config_value *ret);
/* The default; of a mandatory row 0, "" or empty.  KR_E_NOMEM. */
KR_NODISCARD enum kr_err kr_config_value_default(
	const struct kr_config_row *row, union kr_config_value *ret);
void kr_config_value_fini(const struct kr_config_row *row,
			  union kr_config_value *value);

/* Move @value into field @field, freeing what was there. */
void kr_config_field_set(const struct kr_config_row *row, void *field,
			 union kr_config_value *value);
/* The same without freeing: the field holds nothing yet. */
void kr_config_field_init(const struct kr_config_row *row, void *field,
			  const union kr_config_value *value);

/* Append the field as text that parses back (secrets: ***).  OBJECTS: how
 * many.  KR_E_NOMEM, KR_E_TOOBIG. */
KR_NODISCARD enum kr_err kr_config_field_print(const struct kr_config_row *row,
					       const void *field,
					       struct kr_buf *out);

/* "a size such as 64MiB, from 1KiB to 1GiB": what a row accepts. */
void kr_config_expected(const struct kr_config_row *row, char *buf, size_t cap);

/* ---- config_apply.c -----------------------------------------------------*/

/* Which rows were given, by index in the schema. */
struct kr_config_seen {
	bool row[KR_CONFIG_ROWS_MAX];
};

/* Set the fields of @conf that @doc speaks of; a root key `extends` that is
 * not in the schema is passed over.  KR_E_CONFIG, KR_E_NOMEM: @conf is partly
 * changed, and whole enough for kr_config_free. */
KR_NODISCARD enum kr_err kr_config_apply(const struct kr_config_doc *doc,
					 const struct kr_config_schema *sc,
					 void *conf,
					 struct kr_config_seen *seen,
					 struct kr_config_error *err);

/* KR_E_CONFIG: a mandatory row was not seen; @name and position for @err. */
KR_NODISCARD enum kr_err kr_config_check_seen(const struct kr_config_schema *sc,
					      const struct kr_config_seen *seen,
					      const char *name, uint32_t line,
					      uint32_t column,
					      const char *prefix,
					      struct kr_config_error *err);

/* The row of exactly @key, or NULL. */
const struct kr_config_row *kr_config_find(const struct kr_config_schema *sc,
					   const char *key);
/* The known key (or front of one, of as many parts) most like @key, into @buf;
 * false if none is near. */
bool kr_config_nearest(const struct kr_config_schema *sc, const char *key,
		       char *buf, size_t cap);

#endif
