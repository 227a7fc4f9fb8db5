#include "registry_api/upstream.h"

#include <stdio.h>
#include <string.h>

#include "registry_api/query.h"

enum { HOST_MAX = 255 };

static const struct kr_upstream *find(const struct kr_upstreams *table,
				      const char *host)
{
	const struct kr_upstream *any = NULL;

	for (size_t i = 0; i < table->count; i++) {
		if (strcmp(table->list[i].host, host) == 0)
			return &table->list[i];
		if (strcmp(table->list[i].host, "*") == 0)
			any = &table->list[i];
	}
	return any;
}

/* As a component of a name: lower case, and a port behind a dash. */
static void clean_host(const char *host, char out[HOST_MAX + 1])
{
	size_t i;

	for (i = 0; host[i] != '\0' && i < HOST_MAX; i++) {
		const char c = host[i];

		if (c == ':')
			out[i] = '-';
		else
			out[i] = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
	}
	out[i] = '\0';
}

/* prefix "/" rest, with the host put in; false: that is no name. */
static bool print_repo(const struct kr_upstream *u, const char *host,
		       const char *rest, char out[KR_REPO_MAX + 1])
{
	const char *at = strstr(u->prefix, KR_UPSTREAM_HOST);
	char clean[HOST_MAX + 1] = "", text[2 * KR_REPO_MAX + 2 * HOST_MAX];
	const size_t before = at ? (size_t)(at - u->prefix) : strlen(u->prefix);
	int n;

	if (before > KR_REPO_MAX)
		return false;
	if (at != NULL)
		clean_host(host, clean);
	n = snprintf(text, sizeof(text), "%.*s%s%s%s%s", (int)before, u->prefix,
		     clean, at ? at + strlen(KR_UPSTREAM_HOST) : "",
		     u->prefix[0] != '\0' ? "/" : "", rest);
	if (n < 0 || n > KR_REPO_MAX ||
	    !kr_repo_is_valid(
		    (struct kr_bytes){ (const uint8_t *)text, (size_t)n }))
		return false;
	memcpy(out, text, (size_t)n + 1);
	return true;
}

bool kr_upstream_is_valid(const struct kr_upstream *u)
{
	char out[KR_REPO_MAX + 1];

	return u->host[0] != '\0' && strlen(u->host) <= HOST_MAX &&
	       strlen(u->prefix) <= KR_REPO_MAX &&
	       print_repo(u, "host", "name", out);
}

static void set_repo(const struct kr_upstream *u, const char *host,
		     const char *rest, struct kr_route *route)
{
	char out[KR_REPO_MAX + 1];

	if (print_repo(u, host, rest, out)) {
		memcpy(route->repo, out, sizeof(out));
	} else {
		route->repo[0] = '\0';
		route->fault = KR_ROUTE_BAD_NAME;
	}
}

/* Docker's rule for the first component of a reference. */
static bool looks_like_host(const char *s)
{
	return strchr(s, '.') != NULL || strcmp(s, "localhost") == 0;
}

static void map_path(const struct kr_upstreams *table, struct kr_route *route)
{
	const char *slash = strchr(route->repo, '/');
	char host[HOST_MAX + 1], rest[KR_REPO_MAX + 1];
	const struct kr_upstream *u;

	if (slash == NULL)
		return;
	(void)snprintf(host, sizeof(host), "%.*s", (int)(slash - route->repo),
		       route->repo);
	(void)snprintf(rest, sizeof(rest), "%s", slash + 1);
	u = find(table, host);
	if (u != NULL && (strcmp(u->host, "*") != 0 || looks_like_host(host)))
		set_repo(u, host, rest, route);
}

void kr_upstream_map(const struct kr_upstreams *table, struct kr_bytes query,
		     struct kr_route *route)
{
	char ns[HOST_MAX + 1] = "", rest[KR_REPO_MAX + 1];

	if (table->count == 0 || route->repo[0] == '\0')
		return;
	const enum kr_err err = kr_query_get(query, "ns", ns, sizeof(ns));
	if (err == KR_E_NOTFOUND || (err == KR_OK && ns[0] == '\0')) {
		map_path(table, route);
		return;
	}
	if (err != KR_OK) {
		route->repo[0] = '\0';
		route->fault = KR_ROUTE_BAD_NAME;
		return;
	}
	const struct kr_upstream *u = find(table, ns);
	memcpy(rest, route->repo, sizeof(rest));
	if (u != NULL)
		set_repo(u, ns, rest, route);
}
