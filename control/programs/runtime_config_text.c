/* What the files of the runtimes say, with us and without. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "control/programs/runtime_config.h"

#define MARK_BEGIN "# kraken: begin (kraken runtime-config)\n"
#define MARK_END   "# kraken: end\n"
#define OURS       "# Written by `kraken runtime-config`; `--remove` deletes it.\n"

static bool is_any(const char *upstream)
{
	return strcmp(upstream, "*") == 0;
}

static struct kr_bytes cut(struct kr_bytes s, size_t from, size_t to)
{
	return (struct kr_bytes){ s.ptr + from, to - from };
}

/* Where @what begins in @s from @from on; s.len: nowhere. */
static size_t find(struct kr_bytes s, size_t from, const char *what)
{
	const uint8_t *at = s.len > from ? memmem(s.ptr + from, s.len - from,
						  what, strlen(what))
					 : NULL;

	return at != NULL ? (size_t)(at - s.ptr) : s.len;
}

static bool is_blank(struct kr_bytes s)
{
	for (size_t i = 0; i < s.len; i++)
		if (strchr(" \t\r\n", s.ptr[i]) == NULL || s.ptr[i] == '\0')
			return false;
	return true;
}

static enum kr_err append(struct kr_buf *out, struct kr_bytes s)
{
	return s.len > 0 ? kr_buf_append(out, s.ptr, s.len) : KR_OK;
}

/* ---- containerd: hosts.toml ---------------------------------------------*/

const char *kr_rtc_containerd_dir(const char *upstream)
{
	return is_any(upstream) ? "_default" : upstream;
}

/* Docker Hub's registry is not where its name says. */
static const char *server_of(const char *upstream)
{
	return strcmp(upstream, "docker.io") == 0 ? "registry-1.docker.io"
						  : upstream;
}

/* The first line that opens a table: keys before it belong to the file, and
 * hosts are tried in the order of their tables. */
static size_t find_table(struct kr_bytes s)
{
	size_t line = 0;

	for (size_t i = 0; i < s.len; i++) {
		while (i < s.len && (s.ptr[i] == ' ' || s.ptr[i] == '\t'))
			i++;
		if (i < s.len && s.ptr[i] == '[')
			return line;
		while (i < s.len && s.ptr[i] != '\n')
			i++;
		line = i + 1;
	}
	return s.len;
}

static enum kr_err print_host(const struct kr_rtc *rtc, const char *upstream,
			      bool alone, struct kr_buf *out)
{
	enum kr_err err = kr_buf_append_str(out, MARK_BEGIN);

	if (err == KR_OK && alone && !is_any(upstream))
		err = kr_buf_printf(out, "server = \"https://%s\"\n\n",
				    server_of(upstream));
	if (err == KR_OK)
		err = kr_buf_printf(out,
				    "[host.\"http://%s\"]\n"
				    "  capabilities = [\"pull\", "
				    "\"resolve\"]\n" MARK_END,
				    rtc->agent);
	return err;
}

enum kr_err kr_rtc_containerd(const struct kr_rtc *rtc, const char *upstream,
			      struct kr_bytes old, struct kr_buf *out,
			      const char **why)
{
	const size_t begin = find(old, 0, MARK_BEGIN);
	const size_t mark = find(old, begin, MARK_END);
	const size_t end = mark < old.len ? mark + strlen(MARK_END) : old.len;
	const struct kr_bytes before = cut(old, 0, begin);
	const struct kr_bytes behind = cut(old, end, old.len);
	const bool alone = is_blank(before) && is_blank(behind);
	char table[300];
	size_t at = begin;
	enum kr_err err = KR_OK;

	if (begin < old.len && mark == old.len) {
		*why = "the mark where our block ends is missing";
		return KR_E_CONFIG;
	}
	if (rtc->action == KR_RTC_REMOVE) {
		if (!alone)
			err = append(out, before);
		return err != KR_OK || alone ? err : append(out, behind);
	}
	(void)snprintf(table, sizeof(table), "[host.\"http://%s\"]",
		       rtc->agent);
	if (find(before, 0, table) < before.len ||
	    find(behind, 0, table) < behind.len) {
		*why = "it has a table of this agent that we did not write";
		return KR_E_CONFIG;
	}
	if (begin == old.len)
		at = find_table(old);
	err = append(out, cut(old, 0, at));
	if (err == KR_OK && at > 0 && old.ptr[at - 1] != '\n')
		err = kr_buf_append_str(out, "\n");
	if (err == KR_OK)
		err = print_host(rtc, upstream, alone, out);
	return err != KR_OK ? err
			    : append(out, cut(old, begin == old.len ? at : end,
					      old.len));
}

/* ---- Docker: daemon.json ------------------------------------------------*/

/* Our mirror out of the list; false: it was not there. */
static bool take_mirror(json_t *list, const char *url)
{
	size_t i;
	json_t *item;

	json_array_foreach(list, i, item)
	{
		if (json_is_string(item) &&
		    strcmp(json_string_value(item), url) == 0) {
			(void)json_array_remove(list, i);
			return true;
		}
	}
	return false;
}

static enum kr_err change_daemon(const struct kr_rtc *rtc, json_t *root,
				 const char **why)
{
	json_t *list = json_object_get(root, "registry-mirrors");
	char url[300];

	(void)snprintf(url, sizeof(url), "http://%s", rtc->agent);
	if (list != NULL && !json_is_array(list)) {
		*why = "registry-mirrors is not a list";
		return KR_E_CONFIG;
	}
	if (rtc->action == KR_RTC_REMOVE) {
		if (list != NULL && take_mirror(list, url) &&
		    json_array_size(list) == 0)
			(void)json_object_del(root, "registry-mirrors");
		return KR_OK;
	}
	if (list == NULL) {
		list = json_array();
		if (json_object_set_new(root, "registry-mirrors", list) != 0)
			return KR_E_NOMEM;
	}
	(void)take_mirror(list, url);
	return json_array_insert_new(list, 0, json_string(url)) == 0
		       ? KR_OK
		       : KR_E_NOMEM;
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

enum kr_err kr_rtc_docker(const struct kr_rtc *rtc, struct kr_bytes old,
			  struct kr_buf *out, const char **why)
{
	json_t *root = is_blank(old)
			       ? json_object()
			       : json_loadb((const char *)old.ptr, old.len,
					    JSON_REJECT_DUPLICATES, NULL);
	enum kr_err err = KR_E_CONFIG;

	*why = "it is not a JSON object";
	if (json_is_object(root)) {
		json_t *was = json_deep_copy(root);

		err = change_daemon(rtc, root, why);
		if (err == KR_OK && json_equal(was, root))
			err = append(out, old);
		else if (err == KR_OK && json_object_size(root) > 0)
			err = print_daemon(root, out);
		json_decref(was);
	}
	json_decref(root);
	return err;
}

/* ---- podman, CRI-O: registries.conf.d -----------------------------------*/

static enum kr_err print_registry(const struct kr_rtc *rtc,
				  const char *upstream, struct kr_buf *out)
{
	return kr_buf_printf(out,
			     "\n[[registry]]\n"
			     "prefix = \"%s\"\n"
			     "location = \"%s\"\n"
			     "\n[[registry.mirror]]\n"
			     "location = \"%s%s%s\"\n"
			     "insecure = true\n",
			     upstream, upstream, rtc->agent,
			     rtc->keep_host ? "/" : "",
			     rtc->keep_host ? upstream : "");
}

enum kr_err kr_rtc_podman(const struct kr_rtc *rtc, struct kr_bytes old,
			  struct kr_buf *out, const char **why)
{
	enum kr_err err;

	if (old.len > 0 && find(old, 0, OURS) != 0) {
		*why = "it is not a file that we wrote";
		return KR_E_CONFIG;
	}
	if (rtc->action == KR_RTC_REMOVE)
		return KR_OK;
	err = kr_buf_append_str(out, OURS);
	for (size_t i = 0; i < rtc->upstream_count && err == KR_OK; i++) {
		if (is_any(rtc->upstreams[i])) {
			*why = "it cannot say \"any registry\": name each by "
			       "--upstream";
			return KR_E_CONFIG;
		}
		err = print_registry(rtc, rtc->upstreams[i], out);
	}
	return err;
}
