#include "registry_api/head.h"

#include <string.h>

#include "registry_api/phr.h"
#include "registry_api/query.h"

static uint8_t lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c + ('a' - 'A')) : c;
}

static bool is_word(struct kr_bytes s, const char *lower_word)
{
	if (s.len != strlen(lower_word))
		return false;
	for (size_t i = 0; i < s.len; i++)
		if (lower(s.ptr[i]) != (uint8_t)lower_word[i])
			return false;
	return true;
}

static struct kr_bytes span(const char *p, size_t len)
{
	return (struct kr_bytes){ (const uint8_t *)p, len };
}

/* Field values may end in blanks that the parser left. */
static struct kr_bytes trim_end(struct kr_bytes s)
{
	while (s.len > 0 &&
	       (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t'))
		s.len--;
	return s;
}

static enum kr_err set_target(struct kr_head *h, struct kr_bytes target)
{
	if (target.len == 0 || target.ptr[0] != '/')
		return KR_E_PROTO;
	const uint8_t *mark = memchr(target.ptr, '?', target.len);
	h->path = target;
	h->query = (struct kr_bytes){ target.ptr + target.len, 0 };
	if (mark != NULL) {
		h->path.len = (size_t)(mark - target.ptr);
		h->query = (struct kr_bytes){ mark + 1,
					      target.len - h->path.len - 1 };
	}
	return KR_OK;
}

/* Count what decides framing and routing; refuse doubles. */
struct seen {
	unsigned lengths, codings, hosts, expects;
};

static enum kr_err judge_field(struct kr_head *h, struct seen *seen,
			       struct kr_bytes name, struct kr_bytes value)
{
	if (is_word(name, "content-length")) {
		seen->lengths++;
		h->framing = KR_BODY_LENGTH;
		if (kr_decimal_parse(value, &h->body_len) != KR_OK)
			return KR_E_PROTO;
	} else if (is_word(name, "transfer-encoding")) {
		seen->codings++;
		h->framing = KR_BODY_CHUNKED;
		if (!is_word(value, "chunked"))
			return KR_E_PROTO;
	} else if (is_word(name, "host")) {
		seen->hosts++;
	} else if (is_word(name, "expect")) {
		seen->expects++;
		h->wants_continue = is_word(value, "100-continue");
		h->unknown_expectation = !h->wants_continue;
	}
	return KR_OK;
}

static enum kr_err judge_fields(struct kr_head *h)
{
	struct seen seen = { 0, 0, 0, 0 };

	for (size_t i = 0; i < h->field_count; i++) {
		enum kr_err err =
			judge_field(h, &seen, h->names[i], h->values[i]);
		if (err != KR_OK)
			return err;
	}
	if (seen.lengths + seen.codings > 1 || seen.hosts > 1 ||
	    seen.expects > 1)
		return KR_E_PROTO;
	if (h->minor_version == 0 && seen.codings > 0)
		return KR_E_PROTO; /* RFC 9112, 6.1 */
	if (h->minor_version >= 1 && seen.hosts == 0)
		return KR_E_PROTO; /* RFC 9112, 3.2 */
	if (h->minor_version == 0)
		h->wants_continue = false; /* RFC 9110, 10.1.1 */
	return KR_OK;
}

static enum kr_err take_fields(struct kr_head *h, const struct phr_header *f)
{
	for (size_t i = 0; i < h->field_count; i++) {
		if (f[i].name == NULL || f[i].name_len == 0)
			return KR_E_PROTO; /* folded: RFC 9112, 5.2 */
		h->names[i] = span(f[i].name, f[i].name_len);
		h->values[i] = trim_end(span(f[i].value, f[i].value_len));
	}
	return judge_fields(h);
}

enum kr_err kr_head_parse(const uint8_t *buf, size_t len, size_t seen_len,
			  struct kr_head *ret)
{
	struct phr_header fields[KR_HEAD_FIELDS_MAX];
	size_t count = KR_HEAD_FIELDS_MAX, method_len, target_len;
	const char *method, *target;
	const size_t look = len < KR_HEAD_BYTES_MAX ? len : KR_HEAD_BYTES_MAX;

	if (look == 0)
		return KR_AGAIN;
	memset(ret, 0, offsetof(struct kr_head, names));
	const int n = phr_parse_request((const char *)buf, look, &method,
					&method_len, &target, &target_len,
					&ret->minor_version, fields, &count,
					seen_len < look ? seen_len : 0);
	if (n == -2)
		return look == KR_HEAD_BYTES_MAX ? KR_E_TOOBIG : KR_AGAIN;
	if (n < 0 || method_len == 0)
		return KR_E_PROTO;
	if (ret->minor_version > 1)
		ret->minor_version = 1; /* RFC 9110, 2.5 */
	ret->head_len = (size_t)n;
	ret->method_text = span(method, method_len);
	ret->method = kr_method_parse(ret->method_text);
	ret->field_count = count;
	enum kr_err err = set_target(ret, span(target, target_len));
	return err != KR_OK ? err : take_fields(ret, fields);
}

struct kr_bytes kr_head_field(const struct kr_head *h, const char *name)
{
	for (size_t i = 0; i < h->field_count; i++)
		if (is_word(h->names[i], name))
			return h->values[i];
	return (struct kr_bytes){ NULL, 0 };
}

static bool is_dropped(struct kr_bytes name)
{
	static const char *const dropped[] = { "content-length",
					       "transfer-encoding",
					       "expect",
					       "trailer",
					       "te",
					       "upgrade" };

	for (size_t i = 0; i < sizeof(dropped) / sizeof(dropped[0]); i++)
		if (is_word(name, dropped[i]))
			return true;
	return false;
}

/* Append several runs of bytes; the first failure ends it. */
static enum kr_err append_all(struct kr_buf *out, const struct kr_bytes *list,
			      size_t count)
{
	for (size_t i = 0; i < count; i++) {
		enum kr_err err = kr_buf_append(out, list[i].ptr, list[i].len);
		if (err != KR_OK)
			return err;
	}
	return KR_OK;
}

static enum kr_err append_line(const struct kr_head *h, struct kr_buf *out)
{
	const bool has_query = h->query.ptr != NULL &&
			       h->query.ptr != h->path.ptr + h->path.len;
	const struct kr_bytes parts[] = {
		h->method_text,
		span(" ", 1),
		h->path,
		span("?", has_query ? 1 : 0),
		h->query,
		span(h->minor_version == 0 ? " HTTP/1.0\r\n" : " HTTP/1.1\r\n",
		     11),
	};

	return append_all(out, parts, sizeof(parts) / sizeof(parts[0]));
}

enum kr_err kr_head_rewrite(const struct kr_head *h, struct kr_buf *out)
{
	enum kr_err err = append_line(h, out);

	for (size_t i = 0; err == KR_OK && i < h->field_count; i++) {
		const struct kr_bytes parts[] = { h->names[i], span(": ", 2),
						  h->values[i],
						  span("\r\n", 2) };
		if (!is_dropped(h->names[i]))
			err = append_all(out, parts, 4);
	}
	return err != KR_OK ? err : kr_buf_append(out, "\r\n", 2);
}
