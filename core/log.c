#define _GNU_SOURCE
#include "core/log.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/clock.h"

atomic_int kr_log_level_ = KR_LOG_INFO;
static atomic_int log_format = KR_LOG_TEXT;
static atomic_int log_fd = STDERR_FILENO;

static const char *const level_names[KR_LOG_LEVEL_COUNT] = { "debug", "info",
							     "warn", "error" };

void kr_log_set_level(enum kr_log_level level)
{
	kr_assert(level < KR_LOG_LEVEL_COUNT);
	atomic_store_explicit(&kr_log_level_, (int)level, memory_order_relaxed);
}

void kr_log_set_format(enum kr_log_format format)
{
	atomic_store_explicit(&log_format, (int)format, memory_order_relaxed);
}

void kr_log_set_fd(int fd)
{
	atomic_store_explicit(&log_fd, fd, memory_order_relaxed);
}

enum kr_err kr_log_level_parse(const char *text, enum kr_log_level *ret)
{
	for (int i = 0; i < KR_LOG_LEVEL_COUNT; i++) {
		if (strcmp(text, level_names[i]) == 0) {
			*ret = (enum kr_log_level)i;
			return KR_OK;
		}
	}
	return KR_E_INVALID;
}

enum kr_err kr_log_format_parse(const char *text, enum kr_log_format *ret)
{
	if (strcmp(text, "text") == 0)
		*ret = KR_LOG_TEXT;
	else if (strcmp(text, "json") == 0)
		*ret = KR_LOG_JSON;
	else
		return KR_E_INVALID;
	return KR_OK;
}

/*
 * The line being made.  Once something did not fit, nothing more is taken, and
 * what closes the line (a quote, the mark of truncation, a brace, the newline)
 * finds its place in the reserve.
 */
enum { RESERVE = 32, SPACE = KR_LOG_LINE_MAX - RESERVE };

struct line {
	char buf[KR_LOG_LINE_MAX];
	size_t len;
	bool json;
	bool is_cut;
};

static void put_run(struct line *l, const char *p, size_t len)
{
	if (l->is_cut || len > SPACE - l->len) {
		l->is_cut = true;
		return;
	}
	memcpy(l->buf + l->len, p, len);
	l->len += len;
}

static void put(struct line *l, const char *str)
{
	put_run(l, str, strlen(str));
}

static void put_reserved(struct line *l, const char *str)
{
	const size_t len = strlen(str);

	kr_assert(len <= sizeof(l->buf) - l->len);
	memcpy(l->buf + l->len, str, len);
	l->len += len;
}

/* How many bytes the UTF-8 character at @p has (RFC 3629, 4); 0: it is none.
 * @left > 0. */
static size_t utf8_len(const uint8_t *p, size_t left)
{
	static const uint32_t least[5] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t len;
	uint32_t c;

	if (p[0] < 0x80)
		return 1;
	if ((p[0] & 0xe0) == 0xc0)
		len = 2, c = p[0] & 0x1f;
	else if ((p[0] & 0xf0) == 0xe0)
		len = 3, c = p[0] & 0x0f;
	else if ((p[0] & 0xf8) == 0xf0)
		len = 4, c = p[0] & 0x07;
	else
		return 0;
	if (len > left)
		return 0;
	for (size_t i = 1; i < len; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	if (c < least[len] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return 0;
	return len;
}

static void put_escaped_char(struct line *l, uint8_t c)
{
	char esc[8];

	if (c == '"' || c == '\\')
		snprintf(esc, sizeof(esc), "\\%c", c);
	else if (c == '\n')
		snprintf(esc, sizeof(esc), "\\n");
	else
		snprintf(esc, sizeof(esc), "\\u%04x", c);
	put(l, esc);
}

/* A quoted string in JSON's escapes, in either format; bytes that are not
 * UTF-8 become U+FFFD. */
static void put_quoted(struct line *l, const uint8_t *p, size_t len)
{
	put(l, "\"");
	if (l->is_cut)
		return;
	while (len > 0 && !l->is_cut) {
		size_t n = utf8_len(p, len);

		if (n == 0) {
			put(l, "\xef\xbf\xbd");
			n = 1;
		} else if (*p < 0x20 || *p == '"' || *p == '\\' || *p == 0x7f) {
			put_escaped_char(l, *p);
		} else {
			put_run(l, (const char *)p, n);
		}
		p += n;
		len -= n;
	}
	put_reserved(l, "\"");
}

static bool is_plain_word(const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		const bool alnum = (p[i] >= '0' && p[i] <= '9') ||
				   (p[i] >= 'a' && p[i] <= 'z') ||
				   (p[i] >= 'A' && p[i] <= 'Z');

		if (!alnum && memchr("_./:@+-%[]", p[i], 10) == NULL)
			return false;
	}
	return len > 0;
}

static void put_text(struct line *l, const void *p, size_t len)
{
	if (!l->json && len <= SPACE - l->len && is_plain_word(p, len))
		put_run(l, p, len);
	else
		put_quoted(l, p, len);
}

static void put_str(struct line *l, const char *str)
{
	if (str == NULL)
		put(l, "null");
	else
		put_text(l, str, strlen(str));
}

static void put_f64(struct line *l, double v)
{
	char buf[32];

	/* JSON has no word for these two */
	if (l->json && !isfinite(v)) {
		put(l, "null");
		return;
	}
	snprintf(buf, sizeof(buf), "%.6g", v);
	put(l, buf);
}

static void put_err(struct line *l, enum kr_err e)
{
	char buf[96];

	snprintf(buf, sizeof(buf), "%s [%s]", kr_err_text(e), kr_err_name(e));
	put_str(l, buf);
}

static void put_digest(struct line *l, const struct kr_digest *d)
{
	char buf[KR_DIGEST_TEXT_MAX];

	put_str(l, d == NULL ? NULL : kr_digest_print(d, buf));
}

static void put_addr(struct line *l, const struct kr_addr *a)
{
	char buf[KR_ADDR_TEXT_MAX];

	put_str(l, a == NULL ? NULL : kr_addr_print(a, buf));
}

static void put_value(struct line *l, const struct kr_log_field *f)
{
	char buf[32];

	switch (f->type) {
	case KR_LOG_STR_:
		put_str(l, f->str);
		break;
	case KR_LOG_BYTES_:
		put_text(l, f->bytes.ptr, f->bytes.len);
		break;
	case KR_LOG_BOOL_:
		put(l, f->yes ? "true" : "false");
		break;
	case KR_LOG_U64_:
		snprintf(buf, sizeof(buf), "%llu", (unsigned long long)f->u64);
		put(l, buf);
		break;
	case KR_LOG_I64_:
		snprintf(buf, sizeof(buf), "%lld", (long long)f->i64);
		put(l, buf);
		break;
	case KR_LOG_F64_:
		put_f64(l, f->f64);
		break;
	case KR_LOG_ERR_:
		put_err(l, f->err);
		break;
	case KR_LOG_DIGEST_:
		put_digest(l, f->digest);
		break;
	case KR_LOG_ADDR_:
		put_addr(l, f->addr);
		break;
	case KR_LOG_END_OF_FIELDS_:
		kr_assert(f->type != KR_LOG_END_OF_FIELDS_);
	}
}

static bool is_stringy(enum kr_log_type type)
{
	return type == KR_LOG_STR_ || type == KR_LOG_BYTES_ ||
	       type == KR_LOG_ERR_;
}

/* One field.  A string that does not fit is cut, anything else left out: half
 * a number would be a lie. */
static void put_field(struct line *l, const struct kr_log_field *f)
{
	const size_t before = l->len;

	put(l, l->json ? ",\"" : " ");
	put(l, f->key);
	put(l, l->json ? "\":" : "=");
	const bool key_fits = !l->is_cut;
	const size_t value_at = l->len;

	if (key_fits)
		put_value(l, f);
	if (l->is_cut &&
	    (!key_fits || !is_stringy(f->type) || l->len == value_at))
		l->len = before;
}

static void put_time(struct line *l)
{
	const uint64_t now_ns = kr_clock_wall_ns();
	const time_t now_s = (time_t)(now_ns / 1000000000);
	char date[32], buf[48];
	struct tm tm;

	kr_assert(gmtime_r(&now_s, &tm) != NULL);
	strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(buf, sizeof(buf), "%s.%03uZ", date,
		 (unsigned)(now_ns / 1000000 % 1000));
	put(l, buf);
}

static void put_head(struct line *l, enum kr_log_level level,
		     const char *module, const char *message)
{
	put(l, l->json ? "{\"time\":\"" : "");
	put_time(l);
	put(l, l->json ? "\",\"level\":\"" : " ");
	put(l, level_names[level]);
	put(l, l->json ? "\",\"module\":" : " ");
	put_str(l, module);
	put(l, l->json ? ",\"msg\":" : " ");
	put_str(l, message);
}

/* One write(2) per line keeps lines whole when threads and processes share
 * the descriptor (pipe(7): atomic up to PIPE_BUF, which is 4096). */
static void write_line(const struct line *l)
{
	const int fd = atomic_load_explicit(&log_fd, memory_order_relaxed);
	ssize_t n;

	do {
		n = write(fd, l->buf, l->len);
	} while (n < 0 && errno == EINTR);
}

void kr_log_write(enum kr_log_level level, const char *module,
		  const char *message, const struct kr_log_field *fields)
{
	const int saved_errno = errno;
	struct line l;

	kr_assert(level < KR_LOG_LEVEL_COUNT);
	l.len = 0;
	l.is_cut = false;
	l.json = atomic_load_explicit(&log_format, memory_order_relaxed) ==
		 KR_LOG_JSON;
	put_head(&l, level, module, message);
	while (fields->type != KR_LOG_END_OF_FIELDS_ && !l.is_cut)
		put_field(&l, fields++);
	if (l.is_cut)
		put_reserved(&l, l.json ? ",\"truncated\":true"
					: " truncated=true");
	put_reserved(&l, l.json ? "}\n" : "\n");
	write_line(&l);
	errno = saved_errno;
}
