/* What the files of containerd, podman and CRI-O say, with us and without. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/programs/runtime_config.h"

#define MARK       "# kraken: begin (kraken runtime-config"
#define MARK_BEGIN MARK ")\n"
/* The line before it had no end: the one that it has now is ours. */
#define MARK_JOINED MARK ", line end included)\n"
#define MARK_END    "# kraken: end\n"
#define OURS        "# Written by `kraken runtime-config`; `--remove` deletes it.\n"

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

/* Behind the string that begins at @at; TOML has four kinds. */
static size_t skip_string(struct kr_bytes s, size_t at)
{
	const uint8_t quote = s.ptr[at];
	const bool is_long = at + 2 < s.len && s.ptr[at + 1] == quote &&
			     s.ptr[at + 2] == quote;
	const size_t len = is_long ? 3 : 1;

	for (at += len; at < s.len; at++) {
		if (quote == '"' && s.ptr[at] == '\\')
			at++;
		else if (!is_long && s.ptr[at] == '\n')
			return at; /* it has no end */
		else if (s.ptr[at] == quote &&
			 (!is_long ||
			  (at + 2 < s.len && s.ptr[at + 1] == quote &&
			   s.ptr[at + 2] == quote)))
			return at + len;
	}
	return s.len;
}

/* Behind the line at @at and those that its lists and strings go on in. */
static size_t skip_lines(struct kr_bytes s, size_t at)
{
	unsigned depth = 0;

	while (at < s.len) {
		const uint8_t c = s.ptr[at];

		if (c == '"' || c == '\'') {
			at = skip_string(s, at);
			continue;
		}
		if (c == '#')
			at = find(s, at, "\n");
		else if (c == '[' || c == '{')
			depth++;
		else if ((c == ']' || c == '}') && depth > 0)
			depth--;
		if (at < s.len && s.ptr[at] == '\n' && depth == 0)
			return at + 1;
		at++;
	}
	return s.len;
}

/* The first line that opens a table: keys before it belong to the file, and
 * hosts are tried in the order of their tables. */
static size_t find_table(struct kr_bytes s)
{
	for (size_t line = 0; line < s.len; line = skip_lines(s, line)) {
		size_t at = line;

		while (at < s.len && (s.ptr[at] == ' ' || s.ptr[at] == '\t'))
			at++;
		if (at < s.len && s.ptr[at] == '[')
			return line;
	}
	return s.len;
}

/* The block, behind a line that is ended first where @joined. */
static enum kr_err print_host(const struct kr_rtc *rtc, const char *upstream,
			      bool alone, bool joined, struct kr_buf *out)
{
	enum kr_err err =
		kr_buf_append_str(out, joined ? "\n" MARK_JOINED : MARK_BEGIN);

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

/* Cut our block out of @old.  False: it has no end. */
static bool take_block(struct kr_bytes old, struct kr_bytes *before,
		       struct kr_bytes *behind)
{
	const size_t begin = find(old, 0, MARK);
	const size_t mark = find(old, begin, MARK_END);
	const bool joined = find(old, begin, MARK_JOINED) == begin &&
			    begin > 0 && begin < old.len;

	*before = cut(old, 0, begin - joined);
	*behind = cut(old, old.len, old.len);
	if (begin == old.len)
		return true;
	if (mark == old.len)
		return false;
	*behind = cut(old, mark + strlen(MARK_END), old.len);
	return true;
}

bool kr_rtc_containerd_has_ours(struct kr_bytes text)
{
	return find(text, 0, MARK) < text.len;
}

/* Is there a table of the agent that is not ours? */
static bool has_table(const struct kr_rtc *rtc, struct kr_bytes text)
{
	char table[300];

	(void)snprintf(table, sizeof(table), "[host.\"http://%s\"]",
		       rtc->agent);
	return find(text, 0, table) < text.len;
}

enum kr_err kr_rtc_containerd(const struct kr_rtc *rtc, const char *upstream,
			      struct kr_bytes old, struct kr_buf *out,
			      const char **why)
{
	struct kr_bytes before, behind;
	enum kr_err err;

	if (!take_block(old, &before, &behind)) {
		*why = "the mark where our block ends is missing";
		return KR_E_CONFIG;
	}
	const bool alone = is_blank(before) && is_blank(behind);
	if (rtc->action != KR_RTC_REMOVE &&
	    (has_table(rtc, before) || has_table(rtc, behind))) {
		*why = "it has a table of this agent that we did not write";
		return KR_E_CONFIG;
	}
	if (rtc->action != KR_RTC_REMOVE && !kr_rtc_containerd_has_ours(old)) {
		const size_t at = find_table(old);

		before = cut(old, 0, at);
		behind = cut(old, at, old.len);
	}
	err = append(out, before);
	if (err == KR_OK && rtc->action != KR_RTC_REMOVE)
		err = print_host(rtc, upstream, alone,
				 before.len > 0 &&
					 before.ptr[before.len - 1] != '\n',
				 out);
	return err != KR_OK ? err : append(out, behind);
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
