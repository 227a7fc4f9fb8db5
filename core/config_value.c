#define _GNU_SOURCE
#include "core/config_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/addr.h"

struct unit {
	const char *name;
	uint64_t factor;
};

/* Largest first: printing takes the first that divides. */
static const struct unit byte_units[] = {
	{ "TiB", UINT64_C(1) << 40 },
	{ "TB", UINT64_C(1000000000000) },
	{ "GiB", UINT64_C(1) << 30 },
	{ "GB", UINT64_C(1000000000) },
	{ "MiB", UINT64_C(1) << 20 },
	{ "MB", UINT64_C(1000000) },
	{ "KiB", UINT64_C(1) << 10 },
	{ "KB", UINT64_C(1000) },
	{ "B", 1 },
	{ "", 1 },
	{ NULL, 0 },
};
static const struct unit time_units[] = {
	{ "d", UINT64_C(86400000000000) },
	{ "h", UINT64_C(3600000000000) },
	{ "m", UINT64_C(60000000000) },
	{ "s", UINT64_C(1000000000) },
	{ "ms", UINT64_C(1000000) },
	{ "us", UINT64_C(1000) },
	{ "ns", 1 },
	{ NULL, 0 },
};
enum { FRACTION_DIGITS = 3 };

/* ---- numbers ------------------------------------------------------------*/

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Digits at *@p into @ret; false if there are none or too many. */
static bool take_digits(const char **p, uint64_t *ret)
{
	uint64_t v = 0;

	if (!is_digit(**p))
		return false;
	for (; is_digit(**p); (*p)++) {
		const uint64_t digit = (uint64_t)(**p - '0');
		if (v > (UINT64_MAX - digit) / 10)
			return false;
		v = v * 10 + digit;
	}
	*ret = v;
	return true;
}

/* ".5" at *@p as thousandths; nothing there is 0. */
static bool take_fraction(const char **p, uint64_t *ret_thousandths)
{
	uint64_t v = 0;
	int n = 0;

	if (**p == '.') {
		(*p)++;
		for (; is_digit(**p); (*p)++, n++) {
			if (n == FRACTION_DIGITS)
				return false;
			v = v * 10 + (uint64_t)(**p - '0');
		}
		if (n == 0)
			return false;
	}
	for (; n < FRACTION_DIGITS; n++)
		v *= 10;
	*ret_thousandths = v;
	return true;
}

static bool take_unit(const char **p, const struct unit *units,
		      bool ignore_case, uint64_t *ret_factor)
{
	size_t len = 0;

	while (is_letter((*p)[len]))
		len++;
	for (; units->name != NULL; units++) {
		if (strlen(units->name) != len)
			continue;
		if (ignore_case ? strncasecmp(units->name, *p, len) != 0
				: strncmp(units->name, *p, len) != 0)
			continue;
		*p += len;
		*ret_factor = units->factor;
		return true;
	}
	return false;
}

/* One "12.5GiB" at *@p, added to *@sum. */
static bool take_quantity(const char **p, const struct unit *units,
			  bool ignore_case, uint64_t *sum)
{
	uint64_t whole, thousandths, factor, part;

	if (!take_digits(p, &whole) || !take_fraction(p, &thousandths) ||
	    !take_unit(p, units, ignore_case, &factor))
		return false;
	part = factor * thousandths / 1000; /* below 2^57 */
	if (__builtin_mul_overflow(whole, factor, &whole) ||
	    __builtin_add_overflow(whole, part, &whole) ||
	    __builtin_add_overflow(*sum, whole, sum))
		return false;
	return true;
}

static bool parse_u64(const char *text, uint64_t *ret)
{
	return take_digits(&text, ret) && *text == '\0';
}

static bool parse_bytes(const char *text, uint64_t *ret)
{
	*ret = 0;
	return take_quantity(&text, byte_units, true, ret) && *text == '\0';
}

static bool parse_duration(const char *text, uint64_t *ret)
{
	*ret = 0;
	if (strcmp(text, "0") == 0)
		return true;
	do {
		if (!take_quantity(&text, time_units, false, ret))
			return false;
	} while (*text != '\0');
	return true;
}

static bool parse_bool(const char *text, bool *ret)
{
	static const char *const yes[] = { "true", "yes", "on" };
	static const char *const no[] = { "false", "no", "off" };

	for (size_t i = 0; i < 3; i++) {
		if (strcasecmp(text, yes[i]) == 0 ||
		    strcasecmp(text, no[i]) == 0) {
			*ret = strcasecmp(text, yes[i]) == 0;
			return true;
		}
	}
	return false;
}

static bool parse_choice(const char *const *names, const char *text,
			 uint32_t *ret)
{
	for (uint32_t i = 0; names[i] != NULL; i++) {
		if (strcmp(names[i], text) == 0) {
			*ret = i;
			return true;
		}
	}
	return false;
}

/* ---- addresses ----------------------------------------------------------*/

static bool is_host_char(char c)
{
	return is_letter(c) || is_digit(c) || (c != '\0' && strchr(".-_:%", c));
}

enum kr_err kr_config_address_split(const char *text,
				    char ret_host[KR_CONFIG_HOST_MAX],
				    uint16_t *ret_port)
{
	struct kr_bytes host = { 0 };
	uint64_t any_port = 0;
	uint16_t port;

	if (text[0] == ':') {
		if (!parse_u64(text + 1, &any_port) || any_port > UINT16_MAX)
			return KR_E_INVALID;
		port = (uint16_t)any_port;
	} else if (kr_addr_split(text, strlen(text), &host, &port) != KR_OK) {
		return KR_E_INVALID;
	}
	if (host.len >= KR_CONFIG_HOST_MAX)
		return KR_E_INVALID;
	for (size_t i = 0; i < host.len; i++)
		if (!is_host_char((char)host.ptr[i]))
			return KR_E_INVALID;
	if (host.len > 0)
		memcpy(ret_host, host.ptr, host.len);
	ret_host[host.len] = '\0';
	*ret_port = port;
	return KR_OK;
}

static bool is_address(const struct kr_config_row *row, const char *text)
{
	char host[KR_CONFIG_HOST_MAX];
	uint16_t port;

	if (text[0] == '\0')
		return row->def != NULL && row->def[0] == '\0';
	return kr_config_address_split(text, host, &port) == KR_OK;
}

/* ---- lists of strings ---------------------------------------------------*/

static void strings_fini(struct kr_config_strings *s)
{
	for (size_t i = 0; i < s->count; i++)
		free(s->list[i]);
	free(s->list);
	*s = (struct kr_config_strings){ 0 };
}

/* "a, b,c"; "" is the empty list. */
static enum kr_err parse_strings(const char *text,
				 struct kr_config_strings *ret)
{
	struct kr_config_strings s = { 0 };
	size_t commas = 0;

	for (const char *p = text; *p != '\0'; p++)
		commas += *p == ',';
	*ret = s;
	if (text[0] == '\0')
		return KR_OK;
	if (commas >= KR_CONFIG_LIST_MAX)
		return KR_E_CONFIG;
	s.list = calloc(commas + 1, sizeof(*s.list));
	if (s.list == NULL)
		return KR_E_NOMEM;
	for (const char *end; s.count <= commas; text = end + 1) {
		size_t len;
		text += strspn(text, " ");
		end = strchrnul(text, ',');
		len = (size_t)(end - text);
		while (len > 0 && text[len - 1] == ' ')
			len--;
		s.list[s.count] = strndup(text, len);
		if (s.list[s.count] == NULL) {
			strings_fini(&s);
			return KR_E_NOMEM;
		}
		s.count++;
	}
	*ret = s;
	return KR_OK;
}

/* ---- values -------------------------------------------------------------*/

static bool in_bounds(const struct kr_config_row *row, uint64_t v)
{
	return v >= row->min && v <= row->max;
}

static enum kr_err copy_text(const char *text, union kr_config_value *ret)
{
	ret->text = strdup(text);
	return ret->text ? KR_OK : KR_E_NOMEM;
}

static enum kr_err parse_strings_value(const struct kr_config_row *row,
				       const char *text,
				       union kr_config_value *ret)
{
	const enum kr_err err = parse_strings(text, &ret->strings);

	if (err != KR_OK || in_bounds(row, ret->strings.count))
		return err;
	strings_fini(&ret->strings);
	return KR_E_CONFIG;
}

enum kr_err kr_config_value_parse(const struct kr_config_row *row,
				  const char *text, union kr_config_value *ret)
{
	bool ok = false;

	switch (row->type) {
	case KR_CONFIG_TYPE_BOOL:
		ok = parse_bool(text, &ret->yes);
		break;
	case KR_CONFIG_TYPE_U64:
		ok = parse_u64(text, &ret->u64) && in_bounds(row, ret->u64);
		break;
	case KR_CONFIG_TYPE_BYTES:
		ok = parse_bytes(text, &ret->u64) && in_bounds(row, ret->u64);
		break;
	case KR_CONFIG_TYPE_DURATION:
		ok = parse_duration(text, &ret->u64) &&
		     in_bounds(row, ret->u64);
		break;
	case KR_CONFIG_TYPE_ENUM:
		ok = parse_choice(row->names, text, &ret->choice);
		break;
	case KR_CONFIG_TYPE_STRING:
		return in_bounds(row, strlen(text)) ? copy_text(text, ret)
						    : KR_E_CONFIG;
	case KR_CONFIG_TYPE_ADDRESS:
		return is_address(row, text) ? copy_text(text, ret)
					     : KR_E_CONFIG;
	case KR_CONFIG_TYPE_STRINGS:
		return parse_strings_value(row, text, ret);
	case KR_CONFIG_TYPE_OBJECTS:
	case KR_CONFIG_TYPE_COUNT:
		break;
	}
	return ok ? KR_OK : KR_E_CONFIG;
}

enum kr_err kr_config_value_default(const struct kr_config_row *row,
				    union kr_config_value *ret)
{
	enum kr_err err;

	memset(ret, 0, sizeof(*ret));
	if (row->def == NULL)
		return row->type == KR_CONFIG_TYPE_STRING ||
				       row->type == KR_CONFIG_TYPE_ADDRESS
			       ? copy_text("", ret)
			       : KR_OK;
	if (row->type == KR_CONFIG_TYPE_STRINGS)
		err = parse_strings(row->def, &ret->strings);
	else
		err = kr_config_value_parse(row, row->def, ret);
	kr_assert(err != KR_E_CONFIG); /* the table contradicts itself */
	return err;
}

void kr_config_value_fini(const struct kr_config_row *row,
			  union kr_config_value *value)
{
	if (row->type == KR_CONFIG_TYPE_STRING ||
	    row->type == KR_CONFIG_TYPE_ADDRESS)
		free(value->text);
	if (row->type == KR_CONFIG_TYPE_STRINGS)
		strings_fini(&value->strings);
	memset(value, 0, sizeof(*value));
}

static size_t field_size(const struct kr_config_row *row)
{
	switch (row->type) {
	case KR_CONFIG_TYPE_BOOL:
		return sizeof(bool);
	case KR_CONFIG_TYPE_ENUM:
		return sizeof(uint32_t);
	case KR_CONFIG_TYPE_STRING:
	case KR_CONFIG_TYPE_ADDRESS:
		return sizeof(char *);
	case KR_CONFIG_TYPE_STRINGS:
		return sizeof(struct kr_config_strings);
	default:
		return sizeof(uint64_t);
	}
}

void kr_config_field_init(const struct kr_config_row *row, void *field,
			  const union kr_config_value *value)
{
	kr_assert(row->type != KR_CONFIG_TYPE_OBJECTS);
	memcpy(field, value, field_size(row));
}

void kr_config_field_set(const struct kr_config_row *row, void *field,
			 union kr_config_value *value)
{
	union kr_config_value old;

	memset(&old, 0, sizeof(old));
	memcpy(&old, field, field_size(row));
	kr_config_value_fini(row, &old);
	kr_config_field_init(row, field, value);
	memset(value, 0, sizeof(*value));
}

/* ---- printing -----------------------------------------------------------*/

static void print_quantity(const struct unit *units, uint64_t v, char *buf,
			   size_t cap)
{
	while (v != 0 && units[1].name != NULL && v % units->factor != 0)
		units++;
	if (v == 0)
		snprintf(buf, cap, "0");
	else
		snprintf(buf, cap, "%" PRIu64 "%s", v / units->factor,
			 units->name);
}

static void print_number(const struct kr_config_row *row, uint64_t v, char *buf,
			 size_t cap)
{
	if (row->type == KR_CONFIG_TYPE_BYTES)
		print_quantity(byte_units, v, buf, cap);
	else if (row->type == KR_CONFIG_TYPE_DURATION)
		print_quantity(time_units, v, buf, cap);
	else
		snprintf(buf, cap, "%" PRIu64, v);
}

static enum kr_err print_quoted(const struct kr_config_row *row,
				const char *text, struct kr_buf *out)
{
	enum kr_err err = kr_buf_append_str(out, "\"");

	if (row->secret && text[0] != '\0')
		text = "***";
	for (; err == KR_OK && *text != '\0'; text++) {
		const unsigned char c = (unsigned char)*text;
		if (c == '"' || c == '\\')
			err = kr_buf_printf(out, "\\%c", c);
		else if (c < ' ' || c == 0x7f)
			err = kr_buf_printf(out, "\\x%02x", c);
		else
			err = kr_buf_append(out, text, 1);
	}
	return err == KR_OK ? kr_buf_append_str(out, "\"") : err;
}

static enum kr_err print_strings(const struct kr_config_row *row,
				 const struct kr_config_strings *s,
				 struct kr_buf *out)
{
	enum kr_err err = kr_buf_append_str(out, "[");

	for (size_t i = 0; err == KR_OK && i < s->count; i++) {
		if (i > 0)
			err = kr_buf_append_str(out, ", ");
		if (err == KR_OK)
			err = print_quoted(row, s->list[i], out);
	}
	return err == KR_OK ? kr_buf_append_str(out, "]") : err;
}

enum kr_err kr_config_field_print(const struct kr_config_row *row,
				  const void *field, struct kr_buf *out)
{
	union kr_config_value v;
	char number[32];

	if (row->type == KR_CONFIG_TYPE_OBJECTS) {
		const struct kr_config_objects *objects = field;
		return kr_buf_printf(out, "%zu of them", objects->count);
	}
	memcpy(&v, field, field_size(row));
	switch (row->type) {
	case KR_CONFIG_TYPE_BOOL:
		return kr_buf_append_str(out, v.yes ? "true" : "false");
	case KR_CONFIG_TYPE_ENUM:
		return kr_buf_append_str(out, row->names[v.choice]);
	case KR_CONFIG_TYPE_STRING:
	case KR_CONFIG_TYPE_ADDRESS:
		return print_quoted(row, v.text, out);
	case KR_CONFIG_TYPE_STRINGS:
		return print_strings(row, &v.strings, out);
	default:
		print_number(row, v.u64, number, sizeof(number));
		return kr_buf_append_str(out, number);
	}
}

/* ", from A to B"; what every value fulfils is not said. */
static void add_bounds(const struct kr_config_row *row, char *buf, size_t cap)
{
	const size_t len = strlen(buf);
	char low[32], high[32];

	print_number(row, row->min, low, sizeof(low));
	print_number(row, row->max, high, sizeof(high));
	if (row->max != UINT64_MAX)
		snprintf(buf + len, cap - len, ", from %s to %s", low, high);
	else if (row->min > 0)
		snprintf(buf + len, cap - len, ", %s or more", low);
}

static void add_names(const struct kr_config_row *row, char *buf, size_t cap)
{
	snprintf(buf, cap, "one of");
	for (size_t i = 0; row->names[i] != NULL; i++) {
		const size_t len = strlen(buf);
		snprintf(buf + len, cap - len, "%s %s", i ? "," : "",
			 row->names[i]);
	}
}

void kr_config_expected(const struct kr_config_row *row, char *buf, size_t cap)
{
	static const char *const what[KR_CONFIG_TYPE_COUNT] = {
		[KR_CONFIG_TYPE_BOOL] = "true or false",
		[KR_CONFIG_TYPE_U64] = "a whole number",
		[KR_CONFIG_TYPE_BYTES] = "a size such as 64MiB or 10GB",
		[KR_CONFIG_TYPE_DURATION] =
			"a duration such as 300ms, 5s or 2h",
		[KR_CONFIG_TYPE_STRING] = "text",
		[KR_CONFIG_TYPE_ADDRESS] = "an address such as host:port",
		[KR_CONFIG_TYPE_ENUM] = "",
		[KR_CONFIG_TYPE_STRINGS] = "a list of strings",
		[KR_CONFIG_TYPE_OBJECTS] = "a list of maps",
	};

	snprintf(buf, cap, "%s", what[row->type]);
	switch (row->type) {
	case KR_CONFIG_TYPE_U64:
	case KR_CONFIG_TYPE_BYTES:
	case KR_CONFIG_TYPE_DURATION:
		add_bounds(row, buf, cap);
		break;
	case KR_CONFIG_TYPE_STRINGS:
	case KR_CONFIG_TYPE_OBJECTS:
		snprintf(buf, cap, "%s, %" PRIu64 " to %" PRIu64 " of them",
			 what[row->type], row->min, row->max);
		break;
	case KR_CONFIG_TYPE_STRING:
		if (row->min > 0)
			snprintf(buf, cap,
				 "text of %" PRIu64 " to %" PRIu64 " bytes",
				 row->min, row->max);
		break;
	case KR_CONFIG_TYPE_ENUM:
		add_names(row, buf, cap);
		break;
	default:
		break;
	}
}
