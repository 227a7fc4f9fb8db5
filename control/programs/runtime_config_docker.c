/*
 * Docker's daemon.json with our mirror and without.
 *
 * What it is to say is decided on the parsed text.  It is brought about by an
 * edit of the text, so that spaces, line ends and the order of keys stay, and
 * `--remove` gives back what `--apply` found, byte for byte.  Edits look at
 * little, so one counts only if what comes out says what was decided; where
 * none does the whole is printed anew.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "control/programs/runtime_config.h"

#define KEY "registry-mirrors"
enum { URL_MAX = 300, ENTRY_MAX = URL_MAX + 64 };

static json_t *parse(struct kr_bytes text)
{
	return json_loadb((const char *)text.ptr, text.len,
			  JSON_REJECT_DUPLICATES, NULL);
}

static bool is_space(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static size_t skip_spaces(struct kr_bytes s, size_t at)
{
	while (at < s.len && is_space(s.ptr[at]))
		at++;
	return at;
}

static bool stands_at(struct kr_bytes s, size_t at, const char *what)
{
	const size_t len = strlen(what);

	return at <= s.len && s.len - at >= len &&
	       memcmp(s.ptr + at, what, len) == 0;
}

/* ---- what it is to say ----*/

/* Our mirror out of the list, wherever it is. */
static void take_mirror(json_t *list, const char *url)
{
	for (size_t i = json_array_size(list); i-- > 0;) {
		const char *item = json_string_value(json_array_get(list, i));

		if (item != NULL && strcmp(item, url) == 0)
			(void)json_array_remove(list, i);
	}
}

/* An empty list says what no list says. */
static void drop_empty_list(json_t *root)
{
	const json_t *list = json_object_get(root, KEY);

	if (json_is_array(list) && json_array_size(list) == 0)
		(void)json_object_del(root, KEY);
}

static enum kr_err decide(const struct kr_rtc *rtc, json_t *root,
			  const char *url, const char **why)
{
	json_t *list = json_object_get(root, KEY);

	if (list != NULL && !json_is_array(list)) {
		*why = KEY " is not a list";
		return KR_E_CONFIG;
	}
	take_mirror(list, url);
	if (rtc->action == KR_RTC_REMOVE) {
		drop_empty_list(root);
		return KR_OK;
	}
	if (list == NULL) {
		list = json_array();
		if (json_object_set_new(root, KEY, list) != 0)
			return KR_E_NOMEM;
	}
	return json_array_insert_new(list, 0, json_string(url)) == 0
		       ? KR_OK
		       : KR_E_NOMEM;
}

static bool says(struct kr_bytes text, const json_t *want)
{
	json_t *root = parse(text);
	bool same;

	drop_empty_list(root);
	same = root != NULL && json_equal(root, want);
	json_decref(root);
	return same;
}

static enum kr_err print_daemon(const json_t *root, struct kr_buf *out)
{
	char *text = json_dumps(root, JSON_INDENT(4));
	enum kr_err err = KR_E_NOMEM;

	if (text != NULL)
		err = kr_buf_printf(out, "%s\n", text);
	free(text);
	return err;
}

/* ---- edits ----*/

/* Behind the bracket that opens the list; s.len: there is none. */
static size_t find_list(struct kr_bytes s)
{
	const uint8_t *key =
		memmem(s.ptr, s.len, "\"" KEY "\"", strlen("\"" KEY "\""));
	size_t at;

	if (key == NULL)
		return s.len;
	at = skip_spaces(s, (size_t)(key - s.ptr) + strlen("\"" KEY "\""));
	if (!stands_at(s, at, ":"))
		return s.len;
	at = skip_spaces(s, at + 1);
	return stands_at(s, at, "[") ? at + 1 : s.len;
}

/* Behind the brace that opens the object: the first thing there is. */
static size_t find_object(struct kr_bytes s)
{
	return skip_spaces(s, 0) + 1;
}

/* @s with @put in the place of the @cut bytes at @at. */
static enum kr_err edit(struct kr_bytes s, size_t at, size_t cut,
			struct kr_bytes put, struct kr_buf *out)
{
	enum kr_err err = kr_buf_append(out, s.ptr, at);

	if (err == KR_OK && put.len > 0)
		err = kr_buf_append(out, put.ptr, put.len);
	if (err == KR_OK && at + cut < s.len)
		err = kr_buf_append(out, s.ptr + at + cut, s.len - at - cut);
	return err;
}

static struct kr_bytes bytes_of(const char *text)
{
	return (struct kr_bytes){ (const uint8_t *)text, strlen(text) };
}

/* As the first of a list that is there, spaced like the one it was. */
static enum kr_err put_in_list(struct kr_bytes s, size_t at, const char *url,
			       struct kr_buf *out)
{
	const size_t first = skip_spaces(s, at);
	const bool is_empty = stands_at(s, first, "]");
	struct kr_buf put;
	enum kr_err err = KR_OK;

	kr_buf_init(&put, KR_RTC_FILE_BYTES_MAX);
	if (!is_empty && first > at)
		err = kr_buf_append(&put, s.ptr + at, first - at);
	if (err == KR_OK)
		err = kr_buf_printf(&put, "\"%s\"%s", url, is_empty ? "" : ",");
	if (err == KR_OK)
		err = edit(s, at, 0, (struct kr_bytes){ put.ptr, put.len },
			   out);
	kr_buf_fini(&put);
	return err;
}

/* What we write where there is no list; @alone: in an empty object. */
static void print_entry(const char *url, bool alone, char entry[ENTRY_MAX])
{
	(void)snprintf(entry, ENTRY_MAX, "%s\"" KEY "\": [\"%s\"]%s",
		       alone ? "" : "\n    ", url, alone ? "" : ",");
}

static enum kr_err put(struct kr_bytes s, const char *url, struct kr_buf *out)
{
	const size_t list = find_list(s), object = find_object(s);
	char entry[ENTRY_MAX];

	if (list < s.len)
		return put_in_list(s, list, url, out);
	print_entry(url, stands_at(s, skip_spaces(s, object), "}"), entry);
	return edit(s, object, 0, bytes_of(entry), out);
}

/* Out of a list of which it is the first; else nothing comes out. */
static enum kr_err take_from_list(struct kr_bytes s, const char *url,
				  struct kr_buf *out)
{
	const struct kr_bytes nothing = { NULL, 0 };
	const size_t list = find_list(s), first = skip_spaces(s, list);
	char item[URL_MAX + 2];
	size_t end;

	(void)snprintf(item, sizeof(item), "\"%s\"", url);
	if (!stands_at(s, first, item))
		return KR_OK;
	end = first + strlen(item);
	if (stands_at(s, end, ","))
		return edit(s, list, end + 1 - list, nothing, out);
	return edit(s, first, end - first, nothing, out);
}

static enum kr_err take(struct kr_bytes s, const char *url, struct kr_buf *out)
{
	const struct kr_bytes nothing = { NULL, 0 };
	const size_t object = find_object(s);
	char entry[ENTRY_MAX];

	for (int alone = 0; alone < 2; alone++) {
		print_entry(url, alone, entry);
		if (stands_at(s, object, entry) &&
		    (!alone ||
		     stands_at(s, skip_spaces(s, object + strlen(entry)), "}")))
			return edit(s, object, strlen(entry), nothing, out);
	}
	return take_from_list(s, url, out);
}

/* ---- the whole ----*/

/* The file that we make where there was none? */
static bool is_all_ours(struct kr_bytes old, const char *url)
{
	json_t *root = json_pack("{s:[s]}", KEY, url);
	struct kr_buf text;
	bool same = false;

	kr_buf_init(&text, KR_RTC_FILE_BYTES_MAX);
	if (root != NULL && print_daemon(root, &text) == KR_OK)
		same = text.len == old.len &&
		       memcmp(text.ptr, old.ptr, old.len) == 0;
	kr_buf_fini(&text);
	json_decref(root);
	return same;
}

static enum kr_err change(const struct kr_rtc *rtc, struct kr_bytes old,
			  const char *url, const json_t *want,
			  struct kr_buf *out)
{
	const bool removes = rtc->action == KR_RTC_REMOVE;
	enum kr_err err = KR_OK;

	if (removes && is_all_ours(old, url))
		return KR_OK;
	if (old.len > 0)
		err = removes ? take(old, url, out) : put(old, url, out);
	if (err != KR_OK || says((struct kr_bytes){ out->ptr, out->len }, want))
		return err;
	kr_buf_reset(out);
	return json_object_size(want) > 0 ? print_daemon(want, out) : KR_OK;
}

enum kr_err kr_rtc_docker(const struct kr_rtc *rtc, struct kr_bytes old,
			  struct kr_buf *out, const char **why)
{
	const bool is_blank = skip_spaces(old, 0) == old.len;
	json_t *root = is_blank ? json_object() : parse(old);
	char url[URL_MAX];
	enum kr_err err = KR_E_CONFIG;

	(void)snprintf(url, sizeof(url), "http://%s", rtc->agent);
	*why = "it is not a JSON object";
	if (json_is_object(root)) {
		json_t *was = json_deep_copy(root);

		err = decide(rtc, root, url, why);
		if (err == KR_OK && json_equal(was, root) && old.len > 0)
			err = kr_buf_append(out, old.ptr, old.len);
		else if (err == KR_OK && !json_equal(was, root))
			err = change(rtc,
				     is_blank ? (struct kr_bytes){ 0 } : old,
				     url, root, out);
		json_decref(was);
	}
	json_decref(root);
	return err;
}
