#define _GNU_SOURCE
#include "control/programs/conf.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/mirror.h"
#include "core/log.h"
#include "core/pattern.h"
#include "peerwire/msg.h"

/*
 * Flags: Kraken's, each with the key that it sets, and a role of its own where
 * Kraken's name says the role (--agent-registry-port).  --set KEY=VALUE sets
 * any key.
 */
static const struct flag {
	const char *name;
	const char *key;
	const char *help;
} flags[] = {
	{ "peer-ip", "peer.ip", "our address as peers reach it" },
	{ "peer-port", "peer.port", "port of the peer protocol" },
	{ "agent-registry-port", "registry.port", "port of the registry API" },
	{ "agent-server-port", "server.port", "port of /health, /metrics" },
	{ "blobserver-hostname", "peer.ip", "our address as peers reach it" },
	{ "blobserver-port", "server.port", "port of /health, /metrics" },
	{ "port", NULL, "port of the registry (proxy) or the server" },
	{ "ports", NULL, "same as --port (Kraken's proxy)" },
	{ "server-port", "server.port", "port of /health, /metrics" },
	{ "rpc-port", "rpc.port", "port of MessagePack-RPC" },
	{ "zone", "zone", "failure domain of this host" },
	{ "cluster", "cluster", "name of the cluster" },
	{ "store-dir", "store.dir", "directory of what is kept" },
	{ "set", NULL, "KEY=VALUE: set any configuration key" },
};
enum { FLAG_COUNT = sizeof(flags) / sizeof(flags[0]) };
enum { OPT_CONFIG = 1000, OPT_SECRETS, OPT_HELP };

static const char *key_of(enum kr_role role, const struct flag *flag)
{
	if (flag->key != NULL)
		return flag->key;
	return role == KR_ROLE_PROXY ? "registry.port" : "server.port";
}

static bool has_key(enum kr_role role, const char *key)
{
	const struct kr_config_schema *sc = kr_conf_schema(role);

	for (size_t i = 0; i < sc->row_count; i++) {
		if (strcmp(sc->rows[i].key, key) == 0)
			return true;
	}
	return false;
}

static void print_help(enum kr_role role)
{
	fprintf(stderr,
		"kraken %s [flags]\n"
		"  --config FILE      YAML configuration\n"
		"  --secrets FILE     YAML overlay, for what only we may "
		"read\n",
		kr_role_name(role));
	for (size_t i = 0; i < FLAG_COUNT; i++) {
		if (strcmp(flags[i].name, "set") == 0 ||
		    has_key(role, key_of(role, &flags[i])))
			fprintf(stderr, "  --%-20s %s\n", flags[i].name,
				flags[i].help);
	}
	fprintf(stderr, "`kraken config keys %s` lists every key.\n",
		kr_role_name(role));
}

static void fill_options(struct option *opts)
{
	for (size_t i = 0; i < FLAG_COUNT; i++)
		opts[i] = (struct option){ flags[i].name, required_argument,
					   NULL, (int)i + 1 };
	opts[FLAG_COUNT] = (struct option){ "config", required_argument, NULL,
					    OPT_CONFIG };
	opts[FLAG_COUNT + 1] = (struct option){ "secrets", required_argument,
						NULL, OPT_SECRETS };
	opts[FLAG_COUNT + 2] =
		(struct option){ "help", no_argument, NULL, OPT_HELP };
	opts[FLAG_COUNT + 3] = (struct option){ NULL, 0, NULL, 0 };
}

/* --set KEY=VALUE: cut at the first '='. */
static enum kr_err set_pair(const struct kr_config_schema *sc,
			    struct kr_conf *conf, const char *pair,
			    struct kr_config_error *ce)
{
	const char *eq = strchr(pair, '=');
	char key[128];

	if (eq == NULL || (size_t)(eq - pair) >= sizeof(key)) {
		(void)snprintf(ce->text, sizeof(ce->text),
			       "--set: expected KEY=VALUE, got %.64s", pair);
		return KR_E_CONFIG;
	}
	memcpy(key, pair, (size_t)(eq - pair));
	key[eq - pair] = '\0';
	return kr_config_set(sc, conf, key, eq + 1, ce);
}

/* Second pass over the line: what it sets wins over the files. */
static enum kr_err apply_flags(enum kr_role role, int argc, char **argv,
			       const struct option *opts, struct kr_conf *conf,
			       struct kr_config_error *ce)
{
	const struct kr_config_schema *sc = kr_conf_schema(role);
	enum kr_err err = KR_OK;
	int opt;

	optind = 0;
	while (err == KR_OK &&
	       (opt = getopt_long(argc, argv, "", opts, NULL)) != -1) {
		if (opt < 1 || opt > (int)FLAG_COUNT)
			continue;
		const struct flag *flag = &flags[opt - 1];
		if (strcmp(flag->name, "set") == 0)
			err = set_pair(sc, conf, optarg, ce);
		else
			err = kr_config_set(sc, conf, key_of(role, flag),
					    optarg, ce);
	}
	return err;
}

/* First pass: where the files are, and whether the line is well-formed. */
static enum kr_err scan_flags(enum kr_role role, int argc, char **argv,
			      const struct option *opts,
			      struct kr_conf_args *ret)
{
	int opt;

	optind = 0;
	while ((opt = getopt_long(argc, argv, "", opts, NULL)) != -1) {
		if (opt == OPT_CONFIG)
			ret->config_path = optarg;
		else if (opt == OPT_SECRETS)
			ret->secrets_path = optarg;
		else if (opt == OPT_HELP) {
			print_help(role);
			return KR_E_CANCELED;
		} else if (opt == '?') {
			return KR_E_CONFIG; /* getopt has said which */
		}
	}
	if (optind < argc) {
		fprintf(stderr, "kraken %s: unexpected argument %s\n",
			kr_role_name(role), argv[optind]);
		return KR_E_CONFIG;
	}
	return KR_OK;
}

/* A name that goes over the wire. */
static enum kr_err check_name(const char *key, const char *value, size_t min,
			      struct kr_config_error *ce)
{
	const struct kr_bytes name = { (const uint8_t *)value, strlen(value) };

	if (kr_msg_is_name(name, min, KR_NAME_MAX))
		return KR_OK;
	(void)snprintf(ce->text, sizeof(ce->text),
		       "key `%s`: expected %zu to %d letters, digits or signs "
		       "without spaces, got \"%.80s\"",
		       key, min, KR_NAME_MAX, value);
	return KR_E_CONFIG;
}

static enum kr_err check_upstreams(const struct kr_conf *c,
				   struct kr_config_error *ce)
{
	const struct kr_upstream *list = c->upstreams.list;

	for (size_t i = 0; i < c->upstreams.count; i++) {
		if (kr_upstream_is_valid(&list[i]))
			continue;
		(void)snprintf(ce->text, sizeof(ce->text),
			       "key `registry.upstreams`: entry %zu (host "
			       "\"%.80s\") needs a host, and a prefix that "
			       "begins a repository name or is empty",
			       i + 1, list[i].host);
		return KR_E_CONFIG;
	}
	return KR_OK;
}

static enum kr_err check_pattern(const char *key, size_t index,
				 const char *text, struct kr_config_error *ce)
{
	struct kr_pattern p;
	const enum kr_err err = kr_pattern_init(&p, key, index, text, ce->text);

	if (err == KR_OK)
		kr_pattern_fini(&p);
	return err;
}

static enum kr_err check_patterns(const struct kr_conf *c,
				  struct kr_config_error *ce)
{
	const struct kr_conf_backend *backends = c->backends.list;
	const struct kr_conf_freshness *rules = c->freshness.list;
	enum kr_err err = KR_OK;

	for (size_t i = 0; err == KR_OK && i < c->backends.count; i++)
		err = check_pattern("backends", i, backends[i].namespace_regex,
				    ce);
	for (size_t i = 0; err == KR_OK && i < c->freshness.count; i++)
		err = check_pattern("tags.freshness", i, rules[i].repository,
				    ce);
	for (size_t i = 0; err == KR_OK && i < c->immutable_tags.count; i++)
		err = check_pattern("tags.immutable", i,
				    c->immutable_tags.list[i], ce);
	return err;
}

/* Upstreams that hang must leave threads to the database. */
static enum kr_err check_threads(enum kr_role role, const struct kr_conf *c,
				 struct kr_config_error *ce)
{
	if (role != KR_ROLE_BUILD_INDEX || c->backends.count == 0 ||
	    c->work_threads == 0 || c->work_threads > KR_MIRROR_MAX)
		return KR_OK;
	(void)snprintf(ce->text, sizeof(ce->text),
		       "key `limits.work_threads`: expected 0 or more than %d, "
		       "which the upstreams of `backends` may hold, got %llu",
		       KR_MIRROR_MAX, (unsigned long long)c->work_threads);
	return KR_E_CONFIG;
}

/* It is put before a path: its length is bounded by what a head may have. */
static enum kr_err check_advertise(enum kr_role role, const struct kr_conf *c,
				   struct kr_config_error *ce)
{
	enum { ADVERTISE_MAX = 255 };
	const char *at = role == KR_ROLE_PROXY ? c->advertise : "";
	const size_t len = strlen(at);

	if (len == 0)
		return KR_OK;
	if (len <= ADVERTISE_MAX && at[len - 1] != '/' &&
	    strpbrk(at, " \t\r\n") == NULL &&
	    (strncmp(at, "http://", 7) == 0 || strncmp(at, "https://", 8) == 0))
		return KR_OK;
	(void)snprintf(ce->text, sizeof(ce->text),
		       "key `registry.advertise`: expected http://host:port "
		       "without a slash behind it, at most %d bytes, got "
		       "\"%.80s\"",
		       ADVERTISE_MAX, at);
	return KR_E_CONFIG;
}

/* What one key alone cannot say. */
static enum kr_err check_whole(enum kr_role role, const struct kr_conf *c,
			       struct kr_config_error *ce)
{
	const struct kr_policy_row *row = NULL;

	if (check_name("cluster", c->cluster, 1, ce) != KR_OK ||
	    check_name("zone", c->zone, 0, ce) != KR_OK ||
	    check_upstreams(c, ce) != KR_OK || check_patterns(c, ce) != KR_OK ||
	    check_threads(role, c, ce) != KR_OK ||
	    check_advertise(role, c, ce) != KR_OK)
		return KR_E_CONFIG;
	if (role != KR_ROLE_AGENT && role != KR_ROLE_ORIGIN &&
	    role != KR_ROLE_PROXY)
		return KR_OK;
	if (kr_policy_check(&c->policy, &row) != KR_OK) {
		(void)snprintf(ce->text, sizeof(ce->text),
			       "key `swarm.%s`: value is outside what works "
			       "(%s)",
			       row->key != NULL ? row->key : row->name,
			       row->reason);
		return KR_E_CONFIG;
	}
	if (c->store_low_percent >= c->store_high_percent) {
		(void)snprintf(ce->text, sizeof(ce->text),
			       "key `store.low_percent`: expected less than "
			       "store.high_percent");
		return KR_E_CONFIG;
	}
	return KR_OK;
}

/* Rows without a key are not in the schema, so loading left them 0. */
static void keep_fixed_policies(struct kr_policy *p)
{
	struct kr_policy defaults;
	size_t count = 0;
	const struct kr_policy_row *rows = kr_policy_rows(&count);

	kr_policy_defaults(&defaults);
	for (size_t i = 0; i < count; i++) {
		if (rows[i].key == NULL)
			memcpy((char *)p + rows[i].offset,
			       (const char *)&defaults + rows[i].offset,
			       sizeof(uint64_t));
	}
}

enum kr_err kr_conf_load(enum kr_role role, int argc, char **argv,
			 struct kr_conf *ret)
{
	const struct kr_config_schema *sc = kr_conf_schema(role);
	struct option opts[FLAG_COUNT + 4];
	struct kr_conf_args args = { NULL, NULL };
	struct kr_config_error ce = { "" };
	struct kr_conf conf = { 0 };
	enum kr_err err;

	fill_options(opts);
	err = scan_flags(role, argc, argv, opts, &args);
	if (err != KR_OK)
		return err;
	if (args.config_path == NULL)
		err = kr_config_defaults(sc, &conf);
	else
		err = kr_config_load(args.config_path, args.secrets_path, sc,
				     &conf, &ce);
	if (err != KR_OK)
		goto out;
	keep_fixed_policies(&conf.policy);
	conf.policy.leech_only = conf.leech_only;
	err = apply_flags(role, argc, argv, opts, &conf, &ce);
	if (err == KR_OK)
		err = check_whole(role, &conf, &ce);
	if (err != KR_OK) {
		kr_config_free(sc, &conf);
		goto out;
	}
	*ret = conf;
out:
	if (err != KR_OK)
		fprintf(stderr, "kraken %s: %s\n", kr_role_name(role),
			ce.text[0] != '\0' ? ce.text : kr_err_text(err));
	return err;
}

void kr_conf_free(enum kr_role role, struct kr_conf *c)
{
	kr_config_free(kr_conf_schema(role), c);
}

enum kr_err kr_conf_resolve(const struct kr_config_strings *list,
			    const char *key, struct kr_addr *ret, size_t max,
			    size_t *ret_count)
{
	if (list->count > max)
		return KR_E_CONFIG;
	for (size_t i = 0; i < list->count; i++) {
		size_t n = 0;
		enum kr_err err =
			kr_addr_resolve(list->list[i], &ret[i], 1, &n);
		if (err != KR_OK || n == 0) {
			kr_log_error("config", "host does not resolve",
				     KR_STR("key", key),
				     KR_STR("host", list->list[i]),
				     KR_STR("do",
					    "check the name, or write the "
					    "address and port"));
			return KR_E_CONFIG;
		}
	}
	*ret_count = list->count;
	return KR_OK;
}
