/*
 * test/fuzz/registry_api/upstream_fuzz.c - whatever a request says, the table
 * of upstreams gives it a repository of the grammar or none, and so once more
 * when that one is asked for.
 *
 * "path?query", as in a request.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "registry_api/upstream.h"

static char any[] = "*", hub[] = "docker.io", host[] = "{host}", none[] = "",
	    deep[] = "mirror/{host}/of", fixed[] = "hub";

static const struct kr_upstream rows[][2] = {
	{ { any, host }, { hub, fixed } },
	{ { any, none }, { hub, host } },
	{ { any, deep }, { hub, none } },
};

static void check(const struct kr_upstreams *table, struct kr_route route,
		  struct kr_bytes query)
{
	const struct kr_bytes nothing = { NULL, 0 };
	struct kr_route again;

	kr_upstream_map(table, query, &route);
	if (route.repo[0] == '\0')
		return;
	kr_assert(kr_repo_is_valid((struct kr_bytes){
		(const uint8_t *)route.repo, strlen(route.repo) }));
	again = route;
	kr_upstream_map(table, nothing, &again);
	kr_assert(again.repo[0] == '\0' ||
		  kr_repo_is_valid((struct kr_bytes){
			  (const uint8_t *)again.repo, strlen(again.repo) }));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *mark = size > 0 ? memchr(data, '?', size) : NULL;
	const size_t len = mark != NULL ? (size_t)(mark - data) : size;
	struct kr_bytes query = { NULL, 0 };
	struct kr_route route;

	if (mark != NULL)
		query = (struct kr_bytes){ mark + 1, size - len - 1 };
	kr_route_parse((struct kr_bytes){ data, len }, &route);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct kr_upstreams table = { rows[i], 2 };

		check(&table, route, query);
	}
	return 0;
}
