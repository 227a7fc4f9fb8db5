/* The build-index: a kr_index_service, and Kraken's endpoints to it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "control/index_rpc.h"
#include "control/programs/desk.h"
#include "control/programs/index_desk.h"
#include "control/programs/runtime.h"
#include "core/clock.h"
#include "core/log.h"

enum { PEERS_MAX = 64 };

static enum kr_err make_dir(const char *dir)
{
	if (mkdir(dir, 0755) == 0 || errno == EEXIST)
		return KR_OK;
	kr_log_error("build-index", "cannot make store.dir", KR_STR("dir", dir),
		     KR_ERR("why", kr_err_from_errno(errno)));
	return kr_err_from_errno(errno);
}

static enum kr_err serve(struct kr_runtime *rt)
{
	static struct kr_addr addrs[PEERS_MAX];
	static struct kr_index_peer peers[PEERS_MAX];
	const struct kr_conf *c = &rt->conf;
	struct kr_index_service_opts opts = { .io = rt->io,
					      .peers = peers,
					      .seed = kr_clock_entropy() };
	struct kr_index_service *service = NULL;
	struct kr_desk desk;
	char path[4096];
	size_t count = 0;
	enum kr_err err = make_dir(c->store_dir);

	if (err != KR_OK)
		return err;
	const int n = snprintf(path, sizeof(path), "%s/tags.db", c->store_dir);
	if (n < 0 || (size_t)n >= sizeof(path))
		return KR_E_TOOBIG;
	opts.path = path;
	err = kr_conf_resolve(&c->build_indexes, "build_index.hosts.static",
			      addrs, PEERS_MAX, &count);
	for (size_t i = 0; err == KR_OK && i < count; i++)
		peers[i] = (struct kr_index_peer){ c->build_indexes.list[i],
						   addrs[i] };
	opts.peer_count = (uint32_t)count;
	opts.connections_max = (uint32_t)c->rpc_connections;
	opts.immutable = (const char *const *)c->immutable_tags.list;
	opts.immutable_count = (uint32_t)c->immutable_tags.count;
	if (err == KR_OK)
		err = kr_runtime_addr(c->bind_ip, c->rpc_port, &opts.listen);
	if (err == KR_OK)
		err = kr_index_service_open(&opts, &service);
	if (err != KR_OK) {
		kr_log_error("build-index", "cannot start",
			     KR_U64("port", c->rpc_port),
			     KR_STR("database", path), KR_ERR("why", err),
			     KR_STR("do", "free the port or set rpc.port; "
					  "check store.dir"));
		return err;
	}
	kr_desk_open(&desk, rt->io);
	kr_index_desk_attach(kr_index_service_index(service), &desk);
	rt->registry = &desk.registry;
	err = kr_runtime_run(rt);
	kr_desk_close(&desk);
	kr_index_service_close(service);
	return err;
}

int kr_build_index_main(int argc, char **argv)
{
	struct kr_runtime rt;
	enum kr_err err = kr_runtime_open(&rt, KR_ROLE_BUILD_INDEX, argc, argv);

	if (err != KR_OK)
		return err == KR_E_CANCELED ? EXIT_SUCCESS : EXIT_FAILURE;
	err = serve(&rt);
	kr_runtime_close(&rt);
	return err == KR_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
