/*
 * A walk over the tree with a stack instead of recursion.  Each frame is a map
 * (its keys extend the dotted key of the frame) or a list of maps (each
 * element is a struct of the sub-schema).  The tree is at most
 * KR_CONFIG_DEPTH_MAX deep, so the stack is an array.
 */
#define _GNU_SOURCE
#include "core/config_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct frame {
	const struct kr_config_node *node; /* the map or list */
	const struct kr_config_node *next; /* child to look at */
	const struct kr_config_schema *schema;
	const struct kr_config_row *list_row; /* of a list of maps, else NULL */
	char *conf;       /* the struct that rows are offsets in */
	size_t index;     /* of the next element of a list */
	size_t path_len;  /* of the path of this node */
	size_t schema_at; /* where in the path the schema's key begins */
	struct kr_config_seen *seen; /* of the struct; owned if is_struct */
	bool is_struct; /* a list's element: seen is checked at the end */
};

struct walk {
	const struct kr_config_doc *doc;
	struct kr_config_error *err;
	uint32_t depth;
	struct frame frames[KR_CONFIG_DEPTH_MAX + 1];
	char path[KR_CONFIG_PATH_MAX];
};

/* ---- the schema's keys --------------------------------------------------*/

const struct kr_config_row *kr_config_find(const struct kr_config_schema *sc,
					   const char *key)
{
	for (size_t i = 0; i < sc->row_count; i++)
		if (strcmp(sc->rows[i].key, key) == 0)
			return &sc->rows[i];
	return NULL;
}

/* Is @key the front part of a known key: is there a `key.more`? */
static bool is_front(const struct kr_config_schema *sc, const char *key)
{
	const size_t len = strlen(key);

	for (size_t i = 0; i < sc->row_count; i++)
		if (strncmp(sc->rows[i].key, key, len) == 0 &&
		    sc->rows[i].key[len] == '.')
			return true;
	return false;
}

/* Length of the first @parts parts of a dotted key; 0 if it has fewer. */
static size_t front_len(const char *key, size_t parts)
{
	const char *p = key;

	for (; *p != '\0'; p++)
		if (*p == '.' && --parts == 0)
			break;
	return *p == '\0' && parts > 1 ? 0 : (size_t)(p - key);
}

/* Edits (insert, delete, replace) from @a to @b: Levenshtein's distance. */
static size_t distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
	size_t row[KR_CONFIG_KEY_MAX + 1];

	for (size_t j = 0; j <= b_len; j++)
		row[j] = j;
	for (size_t i = 1; i <= a_len; i++) {
		size_t corner = row[0];
		row[0] = i;
		for (size_t j = 1; j <= b_len; j++) {
			const size_t above = row[j];
			size_t best = corner + (a[i - 1] != b[j - 1]);
			if (above + 1 < best)
				best = above + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
			corner = above;
		}
	}
	return row[b_len];
}

bool kr_config_nearest(const struct kr_config_schema *sc, const char *key,
		       char *buf, size_t cap)
{
	const size_t len = strlen(key);
	size_t parts = 1, best;
	bool found = false;

	for (const char *p = key; *p != '\0'; p++)
		parts += *p == '.';
	best = len / 3 + 2; /* further away it is another word */
	for (size_t i = 0; i < sc->row_count; i++) {
		const char *known = sc->rows[i].key;
		const size_t known_len = front_len(known, parts);
		size_t d;
		if (known_len == 0 || known_len > KR_CONFIG_KEY_MAX)
			continue;
		d = distance(key, len, known, known_len);
		if (d >= best)
			continue;
		best = d;
		snprintf(buf, cap, "%.*s", (int)known_len, known);
		found = true;
	}
	return found;
}

/* ---- complaints ---------------------------------------------------------*/

/* What was found instead, short enough for one line. */
static void describe(const struct kr_config_row *row,
		     const struct kr_config_node *n, char *buf, size_t cap)
{
	if (n->kind == KR_CONFIG_MAP)
		snprintf(buf, cap, "a map");
	else if (n->kind == KR_CONFIG_LIST)
		snprintf(buf, cap, "a list of %zu", n->count);
	else if (n->is_null)
		snprintf(buf, cap, "nothing");
	else if (row != NULL && row->secret)
		snprintf(buf, cap, "another value");
	else
		snprintf(buf, cap, "\"%.60s%s\"", n->text,
			 strlen(n->text) > 60 ? "..." : "");
}

static enum kr_err bad_value(struct walk *w, const struct kr_config_row *row,
			     const struct kr_config_node *n)
{
	char expected[256], got[128];

	kr_config_expected(row, expected, sizeof(expected));
	describe(row, n, got, sizeof(got));
	kr_config_fail(w->err, w->doc->name, n->line, n->column, w->path,
		       "expected %s, got %s", expected, got);
	return KR_E_CONFIG;
}

static enum kr_err unknown_key(struct walk *w, const struct frame *f,
			       const struct kr_config_node *n)
{
	char near[KR_CONFIG_KEY_MAX + 1];
	const bool known = kr_config_nearest(f->schema, w->path + f->schema_at,
					     near, sizeof(near));

	kr_config_fail(
		w->err, w->doc->name, n->key_line, n->key_column, w->path,
		"expected a known key, got an unknown one%s%.*s%s%s",
		known ? "; did you mean `" : "", known ? (int)f->schema_at : 0,
		w->path, known ? near : "", known ? "`?" : "");
	return KR_E_CONFIG;
}

enum kr_err kr_config_check_seen(const struct kr_config_schema *sc,
				 const struct kr_config_seen *seen,
				 const char *name, uint32_t line,
				 uint32_t column, const char *prefix,
				 struct kr_config_error *err)
{
	for (size_t i = 0; i < sc->row_count; i++) {
		const struct kr_config_row *row = &sc->rows[i];
		char expected[256], key[KR_CONFIG_PATH_MAX];
		const bool must =
			row->def == NULL ||
			(row->type == KR_CONFIG_TYPE_OBJECTS && row->min > 0);
		if (!must || seen->row[i])
			continue;
		kr_config_expected(row, expected, sizeof(expected));
		snprintf(key, sizeof(key), "%s%s", prefix, row->key);
		kr_config_fail(err, name, line, column, key,
			       "expected %s, got nothing: it must be given",
			       expected);
		return KR_E_CONFIG;
	}
	return KR_OK;
}

/* ---- values -------------------------------------------------------------*/

static enum kr_err set_scalar(struct walk *w, const struct kr_config_row *row,
			      void *field, const struct kr_config_node *n)
{
	union kr_config_value v;
	enum kr_err err;

	if (n->kind != KR_CONFIG_SCALAR || n->is_null)
		return bad_value(w, row, n);
	err = kr_config_value_parse(row, n->text, &v);
	if (err == KR_E_CONFIG)
		return bad_value(w, row, n);
	if (err == KR_OK)
		kr_config_field_set(row, field, &v);
	return err;
}

static enum kr_err copy_strings(const struct kr_config_node *n,
				struct kr_config_strings *ret)
{
	if (n->count == 0)
		return KR_OK;
	ret->list = calloc(n->count, sizeof(*ret->list));
	if (ret->list == NULL)
		return KR_E_NOMEM;
	for (const struct kr_config_node *e = n->first; e; e = e->next) {
		ret->list[ret->count] = strdup(e->text);
		if (ret->list[ret->count] == NULL)
			return KR_E_NOMEM;
		ret->count++;
	}
	return KR_OK;
}

/* A list, or one scalar, which is a list of one; nothing is the empty list. */
static enum kr_err set_strings(struct walk *w, const struct kr_config_row *row,
			       void *field, const struct kr_config_node *n)
{
	struct kr_config_node list = { .kind = KR_CONFIG_LIST };
	struct kr_config_node one = *n;
	union kr_config_value v = { .strings = { 0 } };
	enum kr_err err;

	if (n->kind == KR_CONFIG_MAP)
		return bad_value(w, row, n);
	if (n->kind == KR_CONFIG_LIST) {
		list = *n;
	} else if (!n->is_null) {
		one.next = NULL;
		list.first = &one;
		list.count = 1;
	}
	for (const struct kr_config_node *e = list.first; e; e = e->next)
		if (e->kind != KR_CONFIG_SCALAR || e->is_null)
			return bad_value(w, row, e);
	if (list.count < row->min || list.count > row->max)
		return bad_value(w, row, n);
	err = copy_strings(&list, &v.strings);
	if (err != KR_OK)
		kr_config_value_fini(row, &v);
	else
		kr_config_field_set(row, field, &v);
	return err;
}

/* ---- the walk -----------------------------------------------------------*/

static struct frame *push(struct walk *w, const struct frame *parent,
			  const struct kr_config_node *n)
{
	struct frame *f = &w->frames[w->depth];

	kr_assert(w->depth < sizeof(w->frames) / sizeof(w->frames[0]));
	w->depth++;
	*f = *parent;
	f->node = n;
	f->next = n->first;
	f->list_row = NULL;
	f->is_struct = false;
	f->path_len = strlen(w->path);
	return f;
}

static enum kr_err defaults_for_all(const struct kr_config_schema *sc,
				    struct kr_config_objects *objects,
				    size_t count)
{
	char *list = calloc(count, sc->size_bytes);

	if (list == NULL)
		return KR_E_NOMEM;
	objects->list = list;
	for (; objects->count < count; objects->count++) {
		const enum kr_err err = kr_config_defaults(
			sc, list + objects->count * sc->size_bytes);
		if (err != KR_OK)
			return err;
	}
	return KR_OK;
}

/* Replace the list of structs by as many as @n has, and go into it. */
static enum kr_err enter_objects(struct walk *w, const struct frame *parent,
				 const struct kr_config_row *row,
				 const struct kr_config_node *n)
{
	struct kr_config_objects *objects =
		(void *)(parent->conf + row->offset);
	const struct kr_config_schema only = { .rows = row, .row_count = 1 };
	struct frame *f;

	if (n->kind == KR_CONFIG_MAP ||
	    (n->kind == KR_CONFIG_SCALAR && !n->is_null) ||
	    n->count < row->min || n->count > row->max)
		return bad_value(w, row, n);
	for (const struct kr_config_node *e = n->first; e; e = e->next)
		if (e->kind != KR_CONFIG_MAP)
			return bad_value(w, row, e);
	kr_config_free(&only, parent->conf); /* the old list */
	if (n->count == 0)
		return KR_OK;
	f = push(w, parent, n);
	f->list_row = row;
	f->schema = row->sub;
	f->conf = NULL; /* each element has its own */
	f->index = 0;
	return defaults_for_all(row->sub, objects, n->count);
}

static enum kr_err enter_element(struct walk *w, struct frame *list,
				 char *objects)
{
	const struct kr_config_node *n = list->next;
	char *const end = w->path + list->path_len;
	struct frame *f;

	snprintf(end, sizeof(w->path) - list->path_len, "[%zu].", list->index);
	f = push(w, list, n);
	f->conf = objects + list->index * list->schema->size_bytes;
	f->schema_at = f->path_len;
	f->is_struct = true;
	f->seen = calloc(1, sizeof(*f->seen));
	list->next = n->next;
	list->index++;
	return f->seen ? KR_OK : KR_E_NOMEM;
}

static bool is_extends(const struct walk *w, const struct frame *f)
{
	return w->depth == 1 && f->path_len == 0 &&
	       strcmp(w->path, "extends") == 0;
}

/* Child @n of the map of frame @f, whose key is already in the path. */
static enum kr_err take_key(struct walk *w, struct frame *f,
			    const struct kr_config_node *n)
{
	const char *key = w->path + f->schema_at;
	const struct kr_config_row *row = kr_config_find(f->schema, key);
	char *const field = row ? f->conf + row->offset : NULL;

	if (row != NULL) {
		f->seen->row[row - f->schema->rows] = true;
		if (row->type == KR_CONFIG_TYPE_OBJECTS)
			return enter_objects(w, f, row, n);
		if (row->type == KR_CONFIG_TYPE_STRINGS)
			return set_strings(w, row, field, n);
		return set_scalar(w, row, field, n);
	}
	if (is_extends(w, f))
		return KR_OK;
	if (!is_front(f->schema, key))
		return unknown_key(w, f, n);
	if (n->kind == KR_CONFIG_MAP) {
		(void)push(w, f, n);
		return KR_OK;
	}
	if (n->kind == KR_CONFIG_SCALAR && n->is_null)
		return KR_OK; /* a map whose keys are all commented out */
	kr_config_fail(w->err, w->doc->name, n->line, n->column, w->path,
		       "expected a map of keys, got %s",
		       n->kind == KR_CONFIG_LIST ? "a list" : "text");
	return KR_E_CONFIG;
}

static enum kr_err step_map(struct walk *w, struct frame *f)
{
	const struct kr_config_node *n = f->next;
	const bool dot = f->path_len > f->schema_at;
	const int len =
		snprintf(w->path + f->path_len, sizeof(w->path) - f->path_len,
			 "%s%s", dot ? "." : "", n->key);

	f->next = n->next;
	if ((size_t)len >= sizeof(w->path) - f->path_len)
		return unknown_key(w, f, n);
	return take_key(w, f, n);
}

/* The frame on top is done. */
static enum kr_err pop(struct walk *w)
{
	struct frame *f = &w->frames[--w->depth];
	enum kr_err err = KR_OK;

	if (!f->is_struct)
		return KR_OK;
	w->path[f->path_len] = '\0';
	err = kr_config_check_seen(f->schema, f->seen, w->doc->name,
				   f->node->line, f->node->column, w->path,
				   w->err);
	free(f->seen);
	return err;
}

static enum kr_err step(struct walk *w)
{
	struct frame *f = &w->frames[w->depth - 1];

	if (f->next == NULL)
		return pop(w);
	if (f->list_row != NULL) {
		/* The list's own struct is the parent's. */
		const struct frame *parent = f - 1;
		const struct kr_config_objects *objects =
			(void *)(parent->conf + f->list_row->offset);
		return enter_element(w, f, objects->list);
	}
	return step_map(w, f);
}

enum kr_err kr_config_apply(const struct kr_config_doc *doc,
			    const struct kr_config_schema *sc, void *conf,
			    struct kr_config_seen *seen,
			    struct kr_config_error *err_out)
{
	struct walk *w;
	struct frame root = { .schema = sc, .conf = conf, .seen = seen };
	enum kr_err err = KR_OK;

	kr_assert(sc->row_count <= KR_CONFIG_ROWS_MAX);
	if (doc->root == NULL)
		return KR_OK;
	w = calloc(1, sizeof(*w));
	if (w == NULL)
		return KR_E_NOMEM;
	w->doc = doc;
	w->err = err_out;
	(void)push(w, &root, doc->root);
	while (err == KR_OK && w->depth > 0)
		err = step(w);
	while (w->depth > 0) {
		const struct frame *f = &w->frames[--w->depth];
		if (f->is_struct)
			free(f->seen);
	}
	free(w);
	return err;
}
