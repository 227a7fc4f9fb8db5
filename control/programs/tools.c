/*
 * `kraken config` and `kraken status`: they print and end.
 */
#define _GNU_SOURCE
#include "control/programs/tools.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/programs/conf.h"
#include "core/buf.h"
#include "core/config.h"

enum { TEXT_BYTES_MAX = 1 << 20 };

static int usage(void)
{
	fprintf(stderr, "usage: kraken config check ROLE [flags of the role]\n"
			"       kraken config keys ROLE\n"
			"ROLE is one of:");
	for (int r = 0; r < KR_ROLE_COUNT; r++)
		fprintf(stderr, " %s", kr_role_name((enum kr_role)r));
	fprintf(stderr, "\n");
	return EXIT_FAILURE;
}

static bool parse_role(const char *text, enum kr_role *ret)
{
	for (int r = 0; r < KR_ROLE_COUNT; r++) {
		if (strcmp(text, kr_role_name((enum kr_role)r)) == 0) {
			*ret = (enum kr_role)r;
			return true;
		}
	}
	fprintf(stderr, "kraken config: no role %s\n", text);
	return false;
}

/* @argv[0] is the role, the rest its flags. */
static int check(enum kr_role role, int argc, char **argv)
{
	struct kr_conf conf;
	struct kr_buf text;
	enum kr_err err = kr_conf_load(role, argc, argv, &conf);

	if (err != KR_OK)
		return err == KR_E_CANCELED ? EXIT_SUCCESS : EXIT_FAILURE;
	kr_buf_init(&text, TEXT_BYTES_MAX);
	err = kr_config_print(kr_conf_schema(role), &conf, &text);
	if (err == KR_OK)
		printf("%.*s", (int)text.len, (const char *)text.ptr);
	else
		fprintf(stderr, "kraken config: %s\n", kr_err_text(err));
	kr_buf_fini(&text);
	kr_conf_free(role, &conf);
	return err == KR_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}

static const char *type_name(enum kr_config_type type)
{
	static const char *const names[KR_CONFIG_TYPE_COUNT] = {
		[KR_CONFIG_TYPE_BOOL] = "bool",
		[KR_CONFIG_TYPE_U64] = "number",
		[KR_CONFIG_TYPE_BYTES] = "bytes",
		[KR_CONFIG_TYPE_DURATION] = "duration",
		[KR_CONFIG_TYPE_STRING] = "text",
		[KR_CONFIG_TYPE_ADDRESS] = "address",
		[KR_CONFIG_TYPE_ENUM] = "one of",
		[KR_CONFIG_TYPE_STRINGS] = "list",
		[KR_CONFIG_TYPE_OBJECTS] = "list of maps",
	};
	return names[type];
}

/* "one of debug, info": the values of an enumeration belong to its type. */
static void print_type(const struct kr_config_row *row)
{
	printf("%s", type_name(row->type));
	for (size_t i = 0;
	     row->type == KR_CONFIG_TYPE_ENUM && row->names[i] != NULL; i++)
		printf("%s %s", i > 0 ? "," : "", row->names[i]);
}

static void print_row(const struct kr_config_row *row, const char *before)
{
	printf("%s%s (", before, row->key);
	print_type(row);
	if (row->def == NULL)
		printf("; must be given");
	else if (row->type != KR_CONFIG_TYPE_OBJECTS)
		printf("; default %s", row->def[0] ? row->def : "empty");
	printf(")\n%*s%s\n", (int)strlen(before) + 4, "", row->help);
}

static int print_keys(enum kr_role role)
{
	const struct kr_config_schema *sc = kr_conf_schema(role);

	for (size_t i = 0; i < sc->row_count; i++) {
		const struct kr_config_row *row = &sc->rows[i];
		print_row(row, "");
		for (size_t j = 0; row->type == KR_CONFIG_TYPE_OBJECTS &&
				   j < row->sub->row_count;
		     j++)
			print_row(&row->sub->rows[j], "  - ");
	}
	return EXIT_SUCCESS;
}

int kr_config_main(int argc, char **argv)
{
	enum kr_role role;

	if (argc < 3 || !parse_role(argv[2], &role))
		return usage();
	if (strcmp(argv[1], "check") == 0)
		return check(role, argc - 2, argv + 2);
	if (strcmp(argv[1], "keys") == 0 && argc == 3)
		return print_keys(role);
	return usage();
}
