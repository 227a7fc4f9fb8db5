#include "control/programs/dev_layout.h"

#include <string.h>

#include "test/support/test.h"

static struct kr_dev_layout make(uint32_t agents, uint32_t origins,
				 uint32_t offset)
{
	const struct kr_dev_opts opts = { .dir = "/srv/it \"is\" \\here",
					  .agents = agents,
					  .origins = origins,
					  .port_offset = offset };
	struct kr_dev_layout l;

	assert_ok(kr_dev_layout_make(&opts, &l));
	return l;
}

static const struct kr_dev_member *find(const struct kr_dev_layout *l,
					const char *name)
{
	for (size_t i = 0; i < l->count; i++) {
		if (strcmp(l->members[i].name, name) == 0)
			return &l->members[i];
	}
	fail_msg("no member %s", name);
	return NULL;
}

static void assert_ports(const struct kr_dev_layout *l, const char *name,
			 uint16_t registry, uint16_t peer, uint16_t server,
			 uint16_t rpc)
{
	const struct kr_dev_member *m = find(l, name);

	assert_int_equal(m->registry_port, registry);
	assert_int_equal(m->peer_port, peer);
	assert_int_equal(m->server_port, server);
	assert_int_equal(m->rpc_port, rpc);
}

static void ports_are_those_that_are_documented(void **state)
{
	struct kr_dev_layout l = make(2, 2, 0);

	(void)state;
	assert_int_equal(l.count, 7);
	assert_ports(&l, "proxy", 15000, 15006, 15005, 0);
	assert_ports(&l, "origin1", 0, 15001, 15002, 15102);
	assert_ports(&l, "origin2", 0, 15011, 15012, 15112);
	assert_ports(&l, "tracker", 0, 0, 15003, 15103);
	assert_ports(&l, "build-index", 0, 0, 15004, 15104);
	assert_ports(&l, "agent1", 16000, 16001, 16002, 0);
	assert_ports(&l, "agent2", 17000, 17001, 17002, 0);
}

static void an_offset_is_added_to_every_port(void **state)
{
	struct kr_dev_layout l = make(1, 1, 5000);

	(void)state;
	assert_ports(&l, "proxy", 20000, 20006, 20005, 0);
	assert_ports(&l, "agent1", 21000, 21001, 21002, 0);
	assert_ports(&l, "tracker", 0, 0, 20003, 20103);
}

static void no_port_is_given_twice_in_the_largest_cluster(void **state)
{
	static bool taken[UINT16_MAX + 1];
	struct kr_dev_layout l = make(KR_DEV_AGENTS_MAX, KR_DEV_ORIGINS_MAX, 0);

	(void)state;
	for (size_t i = 0; i < l.count; i++) {
		const struct kr_dev_member *m = &l.members[i];
		const uint16_t ports[] = { m->registry_port, m->peer_port,
					   m->server_port, m->rpc_port };
		for (size_t j = 0; j < 4; j++) {
			assert_false(ports[j] != 0 && taken[ports[j]]);
			taken[ports[j]] = true;
		}
	}
}

static void counts_and_ports_out_of_bounds_are_refused(void **state)
{
	struct kr_dev_opts opts = { .dir = "/x", .agents = 1, .origins = 1 };
	struct kr_dev_layout l;

	(void)state;
	opts.agents = 0;
	assert_err(kr_dev_layout_make(&opts, &l), KR_E_INVALID);
	opts.agents = KR_DEV_AGENTS_MAX + 1;
	assert_err(kr_dev_layout_make(&opts, &l), KR_E_INVALID);
	opts.agents = 1;
	opts.origins = KR_DEV_ORIGINS_MAX + 1;
	assert_err(kr_dev_layout_make(&opts, &l), KR_E_INVALID);
	opts.origins = 1;
	opts.port_offset = 60000;
	assert_err(kr_dev_layout_make(&opts, &l), KR_E_INVALID);
}

/* What is generated is what the role's own schema reads back. */
static void load(const struct kr_dev_layout *l, const char *name,
		 struct kr_conf *ret)
{
	const struct kr_dev_member *m = find(l, name);
	struct kr_config_error err = { "" };
	struct kr_buf text;

	kr_buf_init(&text, KR_DEV_CONF_BYTES_MAX);
	assert_ok(kr_dev_layout_print(l, m, &text));
	if (kr_config_load_memory(name, text.ptr, text.len,
				  kr_conf_schema(m->role), ret, &err) != KR_OK)
		fail_msg("%s", err.text);
	kr_buf_fini(&text);
}

static void every_generated_configuration_loads(void **state)
{
	struct kr_dev_layout l = make(KR_DEV_AGENTS_MAX, KR_DEV_ORIGINS_MAX, 0);
	struct kr_conf conf;

	(void)state;
	for (size_t i = 0; i < l.count; i++) {
		load(&l, l.members[i].name, &conf);
		assert_string_equal(conf.bind_ip, "127.0.0.1");
		assert_int_equal(conf.server_port, l.members[i].server_port);
		assert_int_equal(conf.peer_port, l.members[i].peer_port);
		assert_int_equal(conf.rpc_port, l.members[i].rpc_port);
		kr_conf_free(l.members[i].role, &conf);
	}
}

static void a_path_with_quotes_survives_the_configuration(void **state)
{
	struct kr_dev_layout l = make(1, 1, 0);
	struct kr_conf conf;

	(void)state;
	load(&l, "agent1", &conf);
	assert_string_equal(conf.store_dir,
			    "/srv/it \"is\" \\here/data/agent1");
	kr_conf_free(KR_ROLE_AGENT, &conf);
}

static void the_proxy_knows_every_origin_and_its_quorum(void **state)
{
	struct kr_dev_layout l = make(2, 3, 0);
	struct kr_conf conf;

	(void)state;
	load(&l, "proxy", &conf);
	assert_int_equal(conf.origins.count, 3);
	assert_string_equal(conf.origins.list[0], "127.0.0.1:15102");
	assert_string_equal(conf.origins.list[2], "127.0.0.1:15122");
	assert_int_equal(conf.replicas, 2);
	assert_int_equal(conf.write_quorum, 2);
	kr_conf_free(KR_ROLE_PROXY, &conf);
}

static void one_origin_is_a_quorum_of_one(void **state)
{
	struct kr_dev_layout l = make(1, 1, 0);
	struct kr_conf conf;

	(void)state;
	load(&l, "proxy", &conf);
	assert_int_equal(conf.replicas, 1);
	assert_int_equal(conf.write_quorum, 1);
	kr_conf_free(KR_ROLE_PROXY, &conf);
}

static void origins_share_one_storage_backend(void **state)
{
	struct kr_dev_layout l = make(1, 2, 0);
	const char *const names[] = { "origin1", "origin2" };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct kr_conf conf;
		load(&l, names[i], &conf);
		assert_int_equal(conf.backends.count, 1);
		const struct kr_conf_backend *b = conf.backends.list;
		assert_string_equal(b->namespace_regex, ".*");
		assert_string_equal(b->file_root,
				    "/srv/it \"is\" \\here/storage");
		kr_conf_free(KR_ROLE_ORIGIN, &conf);
	}
}

static void a_path_that_does_not_fit_is_refused(void **state)
{
	struct kr_dev_layout l = make(1, 1, 0);
	char buf[8];

	(void)state;
	assert_err(kr_dev_layout_path(&l, "conf", "proxy", ".yaml", buf,
				      sizeof(buf)),
		   KR_E_TOOBIG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ports_are_those_that_are_documented),
		cmocka_unit_test(an_offset_is_added_to_every_port),
		cmocka_unit_test(no_port_is_given_twice_in_the_largest_cluster),
		cmocka_unit_test(counts_and_ports_out_of_bounds_are_refused),
		cmocka_unit_test(every_generated_configuration_loads),
		cmocka_unit_test(a_path_with_quotes_survives_the_configuration),
		cmocka_unit_test(the_proxy_knows_every_origin_and_its_quorum),
		cmocka_unit_test(one_origin_is_a_quorum_of_one),
		cmocka_unit_test(origins_share_one_storage_backend),
		cmocka_unit_test(a_path_that_does_not_fit_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
