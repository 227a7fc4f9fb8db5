/*
 * YAML as a tree.  Only what a configuration needs: maps, lists, scalars.
 * Anchors, aliases, tags and further documents are refused, so the tree is
 * never larger than the file, and a stack of parents replaces recursion.
 */
#define _GNU_SOURCE
#include "core/config_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <yaml.h>

struct builder {
	struct kr_config_doc *doc;
	struct kr_config_error *err;
	struct kr_config_node *at; /* the collection that is open, or NULL */
	uint32_t depth;
	char *key; /* read, its value is next */
	uint32_t key_line, key_column;
	bool ended; /* the document is over */
};

void kr_config_fail(struct kr_config_error *err, const char *name,
		    uint32_t line, uint32_t column, const char *key,
		    const char *fmt, ...)
{
	char *at = err->text;
	size_t left = sizeof(err->text);
	va_list ap;
	int n;

	n = line ? snprintf(at, left, "%.300s:%u:%u: ", name, line, column)
		 : snprintf(at, left, "%.300s: ", name);
	at += n, left -= (size_t)n;
	if (key != NULL) {
		n = snprintf(at, left, "key `%.100s`: ", key);
		at += n, left -= (size_t)n;
	}
	va_start(ap, fmt);
	vsnprintf(at, left, fmt, ap);
	va_end(ap);
	for (at = err->text; *at != '\0'; at++)
		if ((unsigned char)*at < ' ' || *at == 0x7f)
			*at = ' '; /* one line, whatever the file holds */
}

static uint32_t line_of(const yaml_mark_t *m)
{
	return (uint32_t)m->line + 1;
}

static uint32_t column_of(const yaml_mark_t *m)
{
	return (uint32_t)m->column + 1;
}

static enum kr_err refuse(struct builder *b, const yaml_event_t *ev,
			  const char *text)
{
	kr_config_fail(b->err, b->doc->name, line_of(&ev->start_mark),
		       column_of(&ev->start_mark), b->key, "%s", text);
	return KR_E_CONFIG;
}

static bool is_null_text(const char *text)
{
	return text[0] == '\0' || strcmp(text, "~") == 0 ||
	       strcmp(text, "null") == 0;
}

/* A node for @ev under the open collection, which takes the key. */
static enum kr_err add_node(struct builder *b, enum kr_config_kind kind,
			    const yaml_event_t *ev, struct kr_config_node **ret)
{
	struct kr_config_node *n = calloc(1, sizeof(*n));

	if (n == NULL)
		return KR_E_NOMEM;
	n->all_next = b->doc->all;
	b->doc->all = n;
	n->kind = kind;
	n->line = n->key_line = line_of(&ev->start_mark);
	n->column = n->key_column = column_of(&ev->start_mark);
	n->parent = b->at;
	if (b->key != NULL) {
		n->key = b->key;
		n->key_line = b->key_line;
		n->key_column = b->key_column;
		b->key = NULL;
	}
	if (b->at == NULL) {
		b->doc->root = n;
	} else {
		if (b->at->first == NULL)
			b->at->first = n;
		else
			b->at->last->next = n;
		b->at->last = n;
		b->at->count++;
	}
	*ret = n;
	return KR_OK;
}

/* Room for one more child of the open collection? */
static enum kr_err check_room(struct builder *b, const yaml_event_t *ev)
{
	if (b->at == NULL)
		return KR_OK;
	if (b->at->kind == KR_CONFIG_MAP && b->at->count >= KR_CONFIG_ROWS_MAX)
		return refuse(b, ev, "expected at most 256 keys, got more");
	if (b->at->kind == KR_CONFIG_LIST && b->at->count >= KR_CONFIG_LIST_MAX)
		return refuse(b, ev,
			      "expected at most 4096 elements, got more");
	return KR_OK;
}

static enum kr_err on_key(struct builder *b, const yaml_event_t *ev)
{
	const char *text = (const char *)ev->data.scalar.value;

	if (ev->data.scalar.length >= KR_CONFIG_KEY_MAX)
		return refuse(b, ev,
			      "expected a key, got one of more than 127 "
			      "bytes");
	if (text[0] == '\0')
		return refuse(b, ev, "expected a key, got nothing");
	b->key = strdup(text);
	if (b->key == NULL)
		return KR_E_NOMEM;
	b->key_line = line_of(&ev->start_mark);
	b->key_column = column_of(&ev->start_mark);
	for (const struct kr_config_node *n = b->at->first; n; n = n->next) {
		if (strcmp(n->key, b->key) != 0)
			continue;
		kr_config_fail(b->err, b->doc->name, b->key_line, b->key_column,
			       b->key,
			       "expected it once, got it again (first in line "
			       "%u)",
			       n->key_line);
		return KR_E_CONFIG;
	}
	return check_room(b, ev);
}

static enum kr_err on_scalar(struct builder *b, const yaml_event_t *ev)
{
	struct kr_config_node *n;
	enum kr_err err;

	if (strlen((const char *)ev->data.scalar.value) !=
	    ev->data.scalar.length)
		return refuse(b, ev, "expected text, got a NUL byte");
	if (b->at != NULL && b->at->kind == KR_CONFIG_MAP && b->key == NULL)
		return on_key(b, ev);
	err = check_room(b, ev);
	if (err == KR_OK)
		err = add_node(b, KR_CONFIG_SCALAR, ev, &n);
	if (err != KR_OK)
		return err;
	n->text = strdup((const char *)ev->data.scalar.value);
	if (n->text == NULL)
		return KR_E_NOMEM;
	n->is_null = ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
		     is_null_text(n->text);
	return KR_OK;
}

static enum kr_err on_start(struct builder *b, enum kr_config_kind kind,
			    const yaml_event_t *ev)
{
	struct kr_config_node *n;
	enum kr_err err;

	if (b->at != NULL && b->at->kind == KR_CONFIG_MAP && b->key == NULL)
		return refuse(b, ev, "expected a key, got a collection");
	if (b->depth >= KR_CONFIG_DEPTH_MAX)
		return refuse(b, ev, "expected at most 16 levels, got more");
	err = check_room(b, ev);
	if (err == KR_OK)
		err = add_node(b, kind, ev, &n);
	if (err != KR_OK)
		return err;
	b->at = n;
	b->depth++;
	return KR_OK;
}

static bool is_decorated(const yaml_event_t *ev)
{
	switch (ev->type) {
	case YAML_SCALAR_EVENT:
		return ev->data.scalar.anchor || ev->data.scalar.tag;
	case YAML_MAPPING_START_EVENT:
		return ev->data.mapping_start.anchor ||
		       ev->data.mapping_start.tag;
	case YAML_SEQUENCE_START_EVENT:
		return ev->data.sequence_start.anchor ||
		       ev->data.sequence_start.tag;
	default:
		return ev->type == YAML_ALIAS_EVENT;
	}
}

static enum kr_err on_event(struct builder *b, const yaml_event_t *ev)
{
	if (is_decorated(ev))
		return refuse(b, ev,
			      "expected a plain value, got an anchor, "
			      "an alias or a tag");
	switch (ev->type) {
	case YAML_DOCUMENT_START_EVENT:
		if (b->ended)
			return refuse(b, ev,
				      "expected one document, got a "
				      "second");
		return KR_OK;
	case YAML_DOCUMENT_END_EVENT:
		b->ended = true;
		return KR_OK;
	case YAML_SCALAR_EVENT:
		return on_scalar(b, ev);
	case YAML_MAPPING_START_EVENT:
		return on_start(b, KR_CONFIG_MAP, ev);
	case YAML_SEQUENCE_START_EVENT:
		return on_start(b, KR_CONFIG_LIST, ev);
	case YAML_MAPPING_END_EVENT:
	case YAML_SEQUENCE_END_EVENT:
		b->at = b->at->parent;
		b->depth--;
		return KR_OK;
	default:
		return KR_OK; /* start and end of the stream */
	}
}

static enum kr_err syntax_error(struct builder *b, const yaml_parser_t *parser)
{
	const bool reader = parser->error == YAML_READER_ERROR;

	if (parser->error == YAML_MEMORY_ERROR)
		return KR_E_NOMEM;
	kr_config_fail(
		b->err, b->doc->name,
		line_of(reader ? &parser->mark : &parser->problem_mark),
		column_of(reader ? &parser->mark : &parser->problem_mark), NULL,
		"expected YAML, got a mistake: %s%s%s",
		parser->problem ? parser->problem : "unreadable",
		parser->context ? " " : "",
		parser->context ? parser->context : "");
	return KR_E_CONFIG;
}

static enum kr_err read_events(struct builder *b, const void *buf, size_t len)
{
	enum kr_err err = KR_OK;
	yaml_parser_t parser;
	bool done = false;

	if (!yaml_parser_initialize(&parser))
		return KR_E_NOMEM;
	yaml_parser_set_input_string(&parser, buf, len);
	while (err == KR_OK && !done) {
		yaml_event_t ev;
		if (!yaml_parser_parse(&parser, &ev)) {
			err = syntax_error(b, &parser);
			break;
		}
		done = ev.type == YAML_STREAM_END_EVENT;
		err = on_event(b, &ev);
		yaml_event_delete(&ev);
	}
	yaml_parser_delete(&parser);
	return err;
}

static enum kr_err check_root(struct builder *b)
{
	struct kr_config_node *root = b->doc->root;

	if (root != NULL && root->kind == KR_CONFIG_SCALAR && root->is_null)
		b->doc->root = NULL;
	else if (root != NULL && root->kind != KR_CONFIG_MAP) {
		kr_config_fail(b->err, b->doc->name, root->line, root->column,
			       NULL, "expected a map of keys, got %s",
			       root->kind == KR_CONFIG_LIST ? "a list"
							    : "text");
		return KR_E_CONFIG;
	}
	return KR_OK;
}

enum kr_err kr_config_doc_parse(const char *name, const void *buf, size_t len,
				struct kr_config_doc **ret,
				struct kr_config_error *err_out)
{
	struct builder b = { .err = err_out };
	enum kr_err err;

	if (len > KR_CONFIG_FILE_MAX) {
		kr_config_fail(err_out, name, 1, 1, NULL,
			       "expected at most 1MiB, got %zu bytes", len);
		return KR_E_CONFIG;
	}
	b.doc = calloc(1, sizeof(*b.doc));
	if (b.doc == NULL)
		return KR_E_NOMEM;
	b.doc->name = strdup(name);
	err = b.doc->name ? read_events(&b, buf, len) : KR_E_NOMEM;
	if (err == KR_OK)
		err = check_root(&b);
	free(b.key);
	if (err != KR_OK) {
		kr_config_doc_free(b.doc);
		return err;
	}
	*ret = b.doc;
	return KR_OK;
}

void kr_config_doc_free(struct kr_config_doc *doc)
{
	if (doc == NULL)
		return;
	while (doc->all != NULL) {
		struct kr_config_node *n = doc->all;
		doc->all = n->all_next;
		free(n->key);
		free(n->text);
		free(n);
	}
	free(doc->name);
	free(doc);
}
