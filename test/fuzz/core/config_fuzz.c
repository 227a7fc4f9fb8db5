/*
 * test/fuzz/core/config_fuzz.c - no text may break the configuration: it is
 * loaded, or refused with one line that says where; what was loaded prints,
 * and every value it prints is one that a flag accepts.
 */
#define _GNU_SOURCE
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "core/buf.h"
#include "core/config.h"

struct deep {
	uint64_t number;
};

struct sub {
	char *name;
	uint64_t timeout_ns;
	struct kr_config_strings paths;
	struct kr_config_objects more;
};

struct conf {
	bool yes;
	uint64_t number, bytes, duration_ns;
	char *text, *secret, *address;
	uint32_t choice;
	struct kr_config_strings strings;
	struct kr_config_objects subs;
};

static const char *const names[] = { "one", "two", NULL };

static const struct kr_config_row deep_rows[] = {
	KR_CONFIG_U64(struct deep, number, "n", "1", 0, UINT64_MAX, "h"),
};
static const struct kr_config_schema deep_schema =
	KR_CONFIG_SCHEMA(struct deep, deep_rows);

static const struct kr_config_row sub_rows[] = {
	KR_CONFIG_STRING(struct sub, name, "name", NULL, "h"),
	KR_CONFIG_DURATION(struct sub, timeout_ns, "net.timeout", "5s", 1,
			   UINT64_MAX, "h"),
	KR_CONFIG_STRINGS(struct sub, paths, "paths", "a,b", 0, 9, "h"),
	KR_CONFIG_OBJECTS(struct sub, more, "more", &deep_schema, 0, 3, "h"),
};
static const struct kr_config_schema sub_schema =
	KR_CONFIG_SCHEMA(struct sub, sub_rows);

static const struct kr_config_row rows[] = {
	KR_CONFIG_BOOL(struct conf, yes, "a.yes", "true", "h"),
	KR_CONFIG_U64(struct conf, number, "a.number", "4", 1, 64, "h"),
	KR_CONFIG_BYTES(struct conf, bytes, "a.b.bytes", "1GB", 0, UINT64_MAX,
			"h"),
	KR_CONFIG_DURATION(struct conf, duration_ns, "ttl", "24h", 0,
			   UINT64_MAX, "h"),
	KR_CONFIG_STRING(struct conf, text, "text", "", "h"),
	KR_CONFIG_SECRET(struct conf, secret, "secret", "", "h"),
	KR_CONFIG_ADDRESS(struct conf, address, "listen", ":5000", "h"),
	KR_CONFIG_ENUM(struct conf, choice, "choice", "one", names, "h"),
	KR_CONFIG_STRINGS(struct conf, strings, "list", "", 0, 99, "h"),
	KR_CONFIG_OBJECTS(struct conf, subs, "subs", &sub_schema, 0, 8, "h"),
};
static const struct kr_config_schema schema =
	KR_CONFIG_SCHEMA(struct conf, rows);

/* A number printed is a number that parses to the same. */
static void check_number(struct conf *c, const char *print, const char *key,
			 const uint64_t *field)
{
	const uint64_t before = *field;
	struct kr_config_error err;
	char text[64];
	const char *at = strstr(print, key);
	size_t len;

	kr_assert(at != NULL);
	at += strlen(key) + strlen(" = ");
	len = strcspn(at, " \n");
	kr_assert(len < sizeof(text));
	memcpy(text, at, len);
	text[len] = '\0';
	kr_assert(kr_config_set(&schema, c, key, text, &err) == KR_OK);
	kr_assert(*field == before);
}

static void check_loaded(struct conf *c)
{
	struct kr_buf out;

	kr_assert(c->number >= 1 && c->number <= 64);
	kr_assert(c->choice < 2);
	kr_assert(c->subs.count <= 8 && c->strings.count <= 99);
	for (size_t i = 0; i < c->subs.count; i++)
		kr_assert(((struct sub *)c->subs.list)[i].name != NULL);
	kr_buf_init(&out, 64 << 20);
	kr_assert(kr_config_print(&schema, c, &out) == KR_OK);
	kr_assert(kr_buf_append(&out, "", 1) == KR_OK);
	kr_assert(strlen((char *)out.ptr) == out.len - 1);
	check_number(c, (char *)out.ptr, "a.number", &c->number);
	check_number(c, (char *)out.ptr, "a.b.bytes", &c->bytes);
	check_number(c, (char *)out.ptr, "ttl", &c->duration_ns);
	kr_buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct kr_config_error err;
	struct conf c;
	const enum kr_err code =
		kr_config_load_memory("f", data, size, &schema, &c, &err);

	if (code == KR_OK) {
		kr_assert(err.text[0] == '\0');
		check_loaded(&c);
		kr_config_free(&schema, &c);
	} else {
		kr_assert(code == KR_E_CONFIG);
		kr_assert(strncmp(err.text, "f:", 2) == 0);
		kr_assert(strpbrk(err.text, "\n\r") == NULL);
	}
	return 0;
}
