#define _GNU_SOURCE
#include "core/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/config_internal.h"

/* ---- every field of a struct, those of its lists of structs included -----*/

struct visit_frame {
	const struct kr_config_schema *schema;
	char *base;   /* first struct */
	size_t count; /* of structs */
	size_t index; /* of the struct, then of the row, that is next */
	size_t row;
	size_t path_len;
};

struct visit {
	uint32_t depth;
	struct visit_frame frames[KR_CONFIG_SUB_MAX + 1];
	char path[KR_CONFIG_PATH_MAX]; /* dotted key of the field */
	const struct kr_config_row *row;
	void *field;
	bool is_after; /* OBJECTS: the second visit, after what is in it */
};

static void visit_push(struct visit *v, const struct kr_config_schema *sc,
		       void *base, size_t count)
{
	kr_assert(v->depth < sizeof(v->frames) / sizeof(v->frames[0]));
	v->frames[v->depth++] = (struct visit_frame){
		.schema = sc,
		.base = base,
		.count = count,
		.path_len = strlen(v->path),
	};
}

static void visit_start(struct visit *v, const struct kr_config_schema *sc,
			void *conf)
{
	memset(v, 0, sizeof(*v));
	visit_push(v, sc, conf, 1);
}

/* Show row @row of the struct that @f is at. */
static void visit_show(struct visit *v, const struct visit_frame *f, size_t row)
{
	char *const end = v->path + f->path_len;
	const size_t left = sizeof(v->path) - f->path_len;

	v->row = &f->schema->rows[row];
	v->field = f->base + f->index * f->schema->size_bytes + v->row->offset;
	if (v->depth > 1)
		snprintf(end, left, "[%zu].%s", f->index, v->row->key);
	else
		snprintf(end, left, "%s", v->row->key);
}

static bool visit_next(struct visit *v)
{
	while (v->depth > 0) {
		struct visit_frame *f = &v->frames[v->depth - 1];
		if (v->row != NULL && !v->is_after &&
		    v->row->type == KR_CONFIG_TYPE_OBJECTS) {
			const struct kr_config_objects *o = v->field;
			visit_push(v, v->row->sub, o->list, o->count);
			v->row = NULL;
			continue;
		}
		v->row = NULL; /* done with */
		v->is_after = false;
		if (f->index < f->count && f->row < f->schema->row_count) {
			visit_show(v, f, f->row++);
			return true;
		}
		if (f->index < f->count) {
			f->index++;
			f->row = 0;
			continue;
		}
		if (--v->depth == 0)
			break;
		f = &v->frames[v->depth - 1];
		visit_show(v, f, f->row - 1);
		v->is_after = true;
		return true;
	}
	return false;
}

/* ---- defaults and free --------------------------------------------------*/

enum kr_err kr_config_defaults(const struct kr_config_schema *sc, void *ret)
{
	memset(ret, 0, sc->size_bytes);
	for (size_t i = 0; i < sc->row_count; i++) {
		const struct kr_config_row *row = &sc->rows[i];
		union kr_config_value v;
		enum kr_err err;
		if (row->type == KR_CONFIG_TYPE_OBJECTS)
			continue;
		err = kr_config_value_default(row, &v);
		if (err != KR_OK) {
			kr_config_free(sc, ret);
			return err;
		}
		kr_config_field_init(row, (char *)ret + row->offset, &v);
	}
	return KR_OK;
}

void kr_config_free(const struct kr_config_schema *sc, void *conf)
{
	struct visit v;

	visit_start(&v, sc, conf);
	while (visit_next(&v)) {
		union kr_config_value empty;
		memset(&empty, 0, sizeof(empty));
		if (v.row->type != KR_CONFIG_TYPE_OBJECTS) {
			kr_config_field_set(v.row, v.field, &empty);
		} else if (v.is_after) {
			struct kr_config_objects *o = v.field;
			free(o->list);
			*o = (struct kr_config_objects){ 0 };
		}
	}
}

/* ---- files --------------------------------------------------------------*/

struct chain {
	struct kr_config_doc *docs[KR_CONFIG_EXTENDS_MAX]; /* the file first */
	struct {
		dev_t dev;
		ino_t ino;
	} ids[KR_CONFIG_EXTENDS_MAX];
	size_t count;
};

static enum kr_err cannot_read(const char *path, int errnum,
			       struct kr_config_error *err)
{
	const enum kr_err code = kr_err_from_errno(errnum);

	kr_config_fail(err, path, 0, 0, NULL, "cannot be read: %s",
		       strerror(errnum));
	return code == KR_E_NOTFOUND || code == KR_E_DENIED ? code : KR_E_IO;
}

static enum kr_err read_fd(const char *path, int fd, char *buf, size_t cap,
			   size_t *ret_len, struct kr_config_error *err)
{
	size_t len = 0;

	while (len < cap) {
		const ssize_t n = read(fd, buf + len, cap - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return cannot_read(path, errno, err);
		if (n == 0)
			break;
		len += (size_t)n;
	}
	*ret_len = len;
	return KR_OK;
}

/* Open @path; the file's identity goes to @st. */
static enum kr_err open_file(const char *path, int *ret_fd, struct stat *st,
			     struct kr_config_error *err)
{
	const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	enum kr_err code;

	if (fd < 0)
		return cannot_read(path, errno, err);
	if (fstat(fd, st) < 0) {
		code = cannot_read(path, errno, err);
		close(fd);
		return code;
	}
	*ret_fd = fd;
	return KR_OK;
}

static enum kr_err check_chain(const struct chain *c, const char *path,
			       const struct stat *st,
			       struct kr_config_error *err)
{
	for (size_t i = 0; i < c->count; i++) {
		if (c->ids[i].dev != st->st_dev || c->ids[i].ino != st->st_ino)
			continue;
		kr_config_fail(
			err, c->docs[c->count - 1]->name, 1, 1, "extends",
			"expected another file, got a loop back to %s", path);
		return KR_E_CONFIG;
	}
	if (c->count == KR_CONFIG_EXTENDS_MAX) {
		kr_config_fail(err, c->docs[c->count - 1]->name, 1, 1,
			       "extends",
			       "expected at most %d files in a row, got more",
			       KR_CONFIG_EXTENDS_MAX);
		return KR_E_CONFIG;
	}
	return KR_OK;
}

/* Read @path and add it to the chain. */
static enum kr_err chain_add(struct chain *c, const char *path,
			     struct kr_config_error *err_out)
{
	const size_t cap = KR_CONFIG_FILE_MAX + 1;
	struct kr_config_doc *doc = NULL;
	struct stat st;
	char *buf;
	size_t len = 0;
	int fd = -1;
	enum kr_err err = open_file(path, &fd, &st, err_out);

	if (err != KR_OK)
		return err;
	buf = malloc(cap);
	err = buf ? check_chain(c, path, &st, err_out) : KR_E_NOMEM;
	if (err == KR_OK)
		err = read_fd(path, fd, buf, cap, &len, err_out);
	if (err == KR_OK)
		err = kr_config_doc_parse(path, buf, len, &doc, err_out);
	if (err == KR_OK) {
		c->ids[c->count].dev = st.st_dev;
		c->ids[c->count].ino = st.st_ino;
		c->docs[c->count++] = doc;
	}
	free(buf);
	close(fd);
	return err;
}

static const struct kr_config_node *extends_of(const struct kr_config_doc *doc)
{
	if (doc->root == NULL)
		return NULL;
	for (const struct kr_config_node *n = doc->root->first; n; n = n->next)
		if (strcmp(n->key, "extends") == 0)
			return n;
	return NULL;
}

/* What @doc extends, relative to its folder; *ret NULL: nothing. */
static enum kr_err extends_path(const struct kr_config_doc *doc, char **ret,
				struct kr_config_error *err)
{
	const struct kr_config_node *n = extends_of(doc);
	const char *slash = strrchr(doc->name, '/');
	int n_printed;

	*ret = NULL;
	if (n == NULL)
		return KR_OK;
	if (n->kind != KR_CONFIG_SCALAR || n->is_null || n->text[0] == '\0') {
		kr_config_fail(err, doc->name, n->line, n->column, "extends",
			       "expected the name of a file, got %s",
			       n->kind == KR_CONFIG_MAP    ? "a map"
			       : n->kind == KR_CONFIG_LIST ? "a list"
							   : "nothing");
		return KR_E_CONFIG;
	}
	if (n->text[0] == '/' || slash == NULL)
		n_printed = asprintf(ret, "%s", n->text);
	else
		n_printed = asprintf(ret, "%.*s/%s", (int)(slash - doc->name),
				     doc->name, n->text);
	if (n_printed < 0) {
		*ret = NULL;
		return KR_E_NOMEM;
	}
	return KR_OK;
}

static void chain_fini(struct chain *c)
{
	for (size_t i = 0; i < c->count; i++)
		kr_config_doc_free(c->docs[i]);
}

/* Apply @path and what it extends, the furthest first. */
static enum kr_err apply_file(const char *path,
			      const struct kr_config_schema *sc, void *conf,
			      struct kr_config_seen *seen,
			      struct kr_config_error *err_out)
{
	struct chain c = { .count = 0 };
	enum kr_err err = chain_add(&c, path, err_out);
	char *next = NULL;

	while (err == KR_OK) {
		err = extends_path(c.docs[c.count - 1], &next, err_out);
		if (err != KR_OK || next == NULL)
			break;
		err = chain_add(&c, next, err_out);
		free(next);
	}
	for (size_t i = c.count; err == KR_OK && i > 0; i--)
		err = kr_config_apply(c.docs[i - 1], sc, conf, seen, err_out);
	chain_fini(&c);
	return err;
}

/* ---- load ---------------------------------------------------------------*/

/* A struct of defaults to fill; it is moved to the caller at the end. */
static enum kr_err load_begin(const struct kr_config_schema *sc, void **ret,
			      struct kr_config_error *err)
{
	void *conf = malloc(sc->size_bytes);
	enum kr_err code;

	err->text[0] = '\0';
	if (conf == NULL)
		return KR_E_NOMEM;
	code = kr_config_defaults(sc, conf);
	if (code == KR_OK)
		*ret = conf;
	else
		free(conf);
	return code;
}

static enum kr_err load_end(const struct kr_config_schema *sc, void *conf,
			    enum kr_err err, void *ret)
{
	if (err == KR_OK)
		memcpy(ret, conf, sc->size_bytes);
	else
		kr_config_free(sc, conf);
	free(conf);
	return err;
}

enum kr_err kr_config_load(const char *path, const char *secrets_path,
			   const struct kr_config_schema *sc, void *ret,
			   struct kr_config_error *err_out)
{
	struct kr_config_seen seen = { { false } };
	enum kr_err err;
	void *conf;

	err = load_begin(sc, &conf, err_out);
	if (err != KR_OK)
		return err;
	err = apply_file(path, sc, conf, &seen, err_out);
	if (err == KR_OK && secrets_path != NULL)
		err = apply_file(secrets_path, sc, conf, &seen, err_out);
	if (err == KR_OK)
		err = kr_config_check_seen(sc, &seen, path, 1, 1, "", err_out);
	return load_end(sc, conf, err, ret);
}

static enum kr_err apply_memory(const char *name, const void *buf, size_t len,
				const struct kr_config_schema *sc, void *conf,
				struct kr_config_error *err_out)
{
	struct kr_config_seen seen = { { false } };
	struct kr_config_doc *doc;
	const struct kr_config_node *extends;
	enum kr_err err = kr_config_doc_parse(name, buf, len, &doc, err_out);

	if (err != KR_OK)
		return err;
	extends = extends_of(doc);
	if (extends != NULL && kr_config_find(sc, "extends") == NULL) {
		kr_config_fail(err_out, name, extends->key_line,
			       extends->key_column, "extends",
			       "expected it in a file only, got it here");
		err = KR_E_CONFIG;
	}
	if (err == KR_OK)
		err = kr_config_apply(doc, sc, conf, &seen, err_out);
	if (err == KR_OK)
		err = kr_config_check_seen(sc, &seen, name, 1, 1, "", err_out);
	kr_config_doc_free(doc);
	return err;
}

enum kr_err kr_config_load_memory(const char *name, const void *buf, size_t len,
				  const struct kr_config_schema *sc, void *ret,
				  struct kr_config_error *err_out)
{
	enum kr_err err;
	void *conf;

	err = load_begin(sc, &conf, err_out);
	if (err != KR_OK)
		return err;
	err = apply_memory(name, buf, len, sc, conf, err_out);
	return load_end(sc, conf, err, ret);
}

/* ---- set ----------------------------------------------------------------*/

enum kr_err kr_config_set(const struct kr_config_schema *sc, void *conf,
			  const char *key, const char *text,
			  struct kr_config_error *err_out)
{
	static const char where[] = "command line";
	const struct kr_config_row *row = kr_config_find(sc, key);
	char near[KR_CONFIG_KEY_MAX + 1], expected[256];
	union kr_config_value v;
	enum kr_err err;

	err_out->text[0] = '\0';
	if (row == NULL) {
		const bool known =
			strlen(key) < KR_CONFIG_KEY_MAX &&
			kr_config_nearest(sc, key, near, sizeof(near));
		kr_config_fail(err_out, where, 0, 0, key,
			       "expected a known key, got an unknown one%s%s%s",
			       known ? "; did you mean `" : "",
			       known ? near : "", known ? "`?" : "");
		return KR_E_CONFIG;
	}
	err = kr_config_value_parse(row, text, &v);
	if (err == KR_E_CONFIG) {
		kr_config_expected(row, expected, sizeof(expected));
		kr_config_fail(err_out, where, 0, 0, key,
			       row->secret ? "expected %s, got another value"
					   : "expected %s, got \"%.60s\"",
			       expected, text);
	}
	if (err == KR_OK)
		kr_config_field_set(row, (char *)conf + row->offset, &v);
	return err;
}

/* ---- print --------------------------------------------------------------*/

/* Append " (default ...)" if @value is not how the default prints. */
static enum kr_err print_default(const struct kr_config_row *row,
				 const struct kr_buf *value, struct kr_buf *out)
{
	union kr_config_value v;
	struct kr_buf text;
	enum kr_err err;

	if (row->type == KR_CONFIG_TYPE_OBJECTS || row->def == NULL)
		return KR_OK;
	err = kr_config_value_default(row, &v);
	if (err != KR_OK)
		return err;
	kr_buf_init(&text, KR_CONFIG_FILE_MAX);
	err = kr_config_field_print(row, &v, &text);
	if (err == KR_OK && (text.len != value->len ||
			     memcmp(text.ptr, value->ptr, text.len) != 0))
		err = kr_buf_printf(out, " (default %.*s)", (int)text.len,
				    (const char *)text.ptr);
	kr_buf_fini(&text);
	kr_config_value_fini(row, &v);
	return err;
}

static enum kr_err print_line(const struct visit *v, struct kr_buf *out)
{
	struct kr_buf value;
	enum kr_err err;

	kr_buf_init(&value, KR_CONFIG_FILE_MAX);
	err = kr_config_field_print(v->row, v->field, &value);
	if (err == KR_OK)
		err = kr_buf_printf(out, "%s = ", v->path);
	if (err == KR_OK)
		err = kr_buf_append(out, value.ptr, value.len);
	if (err == KR_OK)
		err = print_default(v->row, &value, out);
	if (err == KR_OK)
		err = kr_buf_printf(out, "  # %s\n", v->row->help);
	kr_buf_fini(&value);
	return err;
}

enum kr_err kr_config_print(const struct kr_config_schema *sc, const void *conf,
			    struct kr_buf *out)
{
	/* The visit can free; here it only reads. */
	union {
		const void *in;
		void *out;
	} borrowed = { .in = conf };
	enum kr_err err = KR_OK;
	struct visit v;

	visit_start(&v, sc, borrowed.out);
	while (err == KR_OK && visit_next(&v))
		if (!v.is_after)
			err = print_line(&v, out);
	return err;
}
