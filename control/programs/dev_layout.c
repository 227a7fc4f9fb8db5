#define _GNU_SOURCE
#include "control/programs/dev_layout.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_BYTES_MAX = 4096, PORT_MAX = 65535, PORT_COUNT = 4 };

/* ---- members ------------------------------------------------------------*/

static struct kr_dev_member *add(struct kr_dev_layout *l, enum kr_role role,
				 uint32_t number)
{
	struct kr_dev_member *m = &l->members[l->count++];

	*m = (struct kr_dev_member){ .role = role };
	if (number == 0)
		(void)snprintf(m->name, sizeof(m->name), "%s",
			       kr_role_name(role));
	else
		(void)snprintf(m->name, sizeof(m->name), "%s%u",
			       kr_role_name(role), number);
	return m;
}

static uint16_t port(const struct kr_dev_layout *l, uint32_t base)
{
	return (uint16_t)(base + l->opts.port_offset);
}

static void add_origin(struct kr_dev_layout *l, uint32_t number)
{
	struct kr_dev_member *m = add(l, KR_ROLE_ORIGIN, number);
	const uint32_t base = 15000 + 10 * (number - 1);

	m->peer_port = port(l, base + 1);
	m->server_port = port(l, base + 2);
	m->rpc_port = port(l, base + 102);
}

static void add_agent(struct kr_dev_layout *l, uint32_t number)
{
	struct kr_dev_member *m = add(l, KR_ROLE_AGENT, number);
	const uint32_t base = 16000 + 1000 * (number - 1);

	m->registry_port = port(l, base);
	m->peer_port = port(l, base + 1);
	m->server_port = port(l, base + 2);
}

static enum kr_err check_opts(const struct kr_dev_opts *o)
{
	const uint32_t highest = 16002 + 1000 * (KR_DEV_AGENTS_MAX - 1);

	if (o->agents < 1 || o->agents > KR_DEV_AGENTS_MAX) {
		fprintf(stderr, "kraken dev: --agents: expected 1 to %d\n",
			KR_DEV_AGENTS_MAX);
		return KR_E_INVALID;
	}
	if (o->origins < 1 || o->origins > KR_DEV_ORIGINS_MAX) {
		fprintf(stderr, "kraken dev: --origins: expected 1 to %d\n",
			KR_DEV_ORIGINS_MAX);
		return KR_E_INVALID;
	}
	if (o->port_offset > PORT_MAX - highest) {
		fprintf(stderr,
			"kraken dev: --base-port-offset: expected at most %u\n",
			PORT_MAX - highest);
		return KR_E_INVALID;
	}
	return KR_OK;
}

enum kr_err kr_dev_layout_make(const struct kr_dev_opts *opts,
			       struct kr_dev_layout *ret)
{
	enum kr_err err = check_opts(opts);
	struct kr_dev_member *m;

	if (err != KR_OK)
		return err;
	*ret = (struct kr_dev_layout){ .opts = *opts };
	m = add(ret, KR_ROLE_BUILD_INDEX, 0);
	m->server_port = port(ret, 15004);
	m->rpc_port = port(ret, 15104);
	for (uint32_t i = 1; i <= opts->origins; i++)
		add_origin(ret, i);
	m = add(ret, KR_ROLE_TRACKER, 0);
	m->server_port = port(ret, 15003);
	m->rpc_port = port(ret, 15103);
	m = add(ret, KR_ROLE_PROXY, 0);
	m->registry_port = port(ret, 15000);
	m->peer_port = port(ret, 15006);
	m->server_port = port(ret, 15005);
	for (uint32_t i = 1; i <= opts->agents; i++)
		add_agent(ret, i);
	return KR_OK;
}

/* ---- configuration files ------------------------------------------------*/

/* @text as a YAML double-quoted scalar. */
static enum kr_err print_quoted(struct kr_buf *out, const char *text)
{
	enum kr_err err = kr_buf_append_str(out, "\"");

	for (; err == KR_OK && *text != '\0'; text++) {
		if (*text == '"' || *text == '\\')
			err = kr_buf_append_str(out, "\\");
		if (err == KR_OK)
			err = kr_buf_append(out, text, 1);
	}
	return err == KR_OK ? kr_buf_append_str(out, "\"") : err;
}

/* "key: {a: DIR/folder/name}": one path in a map of one. */
static enum kr_err print_path(const struct kr_dev_layout *l, struct kr_buf *out,
			      const char *before, const char *folder,
			      const char *name, const char *after)
{
	char path[PATH_BYTES_MAX];
	enum kr_err err =
		kr_dev_layout_path(l, folder, name, "", path, sizeof(path));

	if (err == KR_OK)
		err = kr_buf_append_str(out, before);
	if (err == KR_OK)
		err = print_quoted(out, path);
	return err == KR_OK ? kr_buf_append_str(out, after) : err;
}

static enum kr_err print_port(struct kr_buf *out, const char *key,
			      uint16_t value)
{
	if (value == 0)
		return KR_OK;
	return kr_buf_printf(out, "%s: {port: %u}\n", key, value);
}

/* The RPC listeners of all members of @role. */
static enum kr_err print_hosts(const struct kr_dev_layout *l,
			       struct kr_buf *out, enum kr_role role)
{
	enum kr_err err = kr_buf_append_str(out, "  hosts: {static: [");
	const char *comma = "";

	for (size_t i = 0; err == KR_OK && i < l->count; i++) {
		if (l->members[i].role != role)
			continue;
		err = kr_buf_printf(out, "%s\"127.0.0.1:%u\"", comma,
				    l->members[i].rpc_port);
		comma = ", ";
	}
	return err == KR_OK ? kr_buf_append_str(out, "]}\n") : err;
}

static enum kr_err print_section(const struct kr_dev_layout *l,
				 struct kr_buf *out, const char *key,
				 enum kr_role role)
{
	enum kr_err err = kr_buf_printf(out, "%s:\n", key);

	return err == KR_OK ? print_hosts(l, out, role) : err;
}

/* Where each origin answers Kraken's clients. */
static enum kr_err print_servers(const struct kr_dev_layout *l,
				 struct kr_buf *out)
{
	enum kr_err err = kr_buf_append_str(out, "  servers: {static: [");
	const char *comma = "";

	for (size_t i = 0; err == KR_OK && i < l->count; i++) {
		if (l->members[i].role != KR_ROLE_ORIGIN)
			continue;
		err = kr_buf_printf(out, "%s\"127.0.0.1:%u\"", comma,
				    l->members[i].server_port);
		comma = ", ";
	}
	return err == KR_OK ? kr_buf_append_str(out, "]}\n") : err;
}

static enum kr_err print_origins(const struct kr_dev_layout *l,
				 const struct kr_dev_member *m,
				 struct kr_buf *out)
{
	const uint32_t replicas = l->opts.origins < KR_DEV_REPLICAS
					  ? l->opts.origins
					  : KR_DEV_REPLICAS;
	enum kr_err err = print_section(l, out, "origin", KR_ROLE_ORIGIN);

	if (err == KR_OK)
		err = kr_buf_printf(out, "  replicas: %u\n", replicas);
	if (err == KR_OK && m->role != KR_ROLE_TRACKER)
		err = kr_buf_printf(out, "  write_quorum: %u\n", replicas);
	if (err == KR_OK && m->role == KR_ROLE_ORIGIN)
		err = print_servers(l, out);
	return err;
}

static enum kr_err print_role(const struct kr_dev_layout *l,
			      const struct kr_dev_member *m, struct kr_buf *out)
{
	enum kr_err err = KR_OK;

	if (m->role != KR_ROLE_TRACKER)
		err = print_path(l, out, "store: {dir: ", "data", m->name,
				 "}\n");
	if (err == KR_OK && m->role == KR_ROLE_AGENT)
		err = print_section(l, out, "tracker", KR_ROLE_TRACKER);
	if (err == KR_OK &&
	    (m->role == KR_ROLE_AGENT || m->role == KR_ROLE_PROXY))
		err = print_section(l, out, "build_index", KR_ROLE_BUILD_INDEX);
	if (err == KR_OK &&
	    (m->role == KR_ROLE_TRACKER || m->role == KR_ROLE_PROXY ||
	     m->role == KR_ROLE_ORIGIN))
		err = print_origins(l, m, out);
	if (err == KR_OK && m->role == KR_ROLE_ORIGIN)
		err = print_path(l, out,
				 "backends:\n"
				 "  - namespace: \".*\"\n"
				 "    backend: {file: {root_directory: ",
				 "storage", "", "}}\n");
	return err;
}

/* registry and peer bring an address besides the port. */
static enum kr_err print_listeners(const struct kr_dev_member *m,
				   struct kr_buf *out)
{
	enum kr_err err = KR_OK;

	if (m->registry_port != 0)
		err = kr_buf_printf(out,
				    "registry: {ip: 127.0.0.1, port: %u}\n",
				    m->registry_port);
	if (err == KR_OK && m->peer_port != 0)
		err = kr_buf_printf(out, "peer: {ip: 127.0.0.1, port: %u}\n",
				    m->peer_port);
	if (err == KR_OK)
		err = print_port(out, "server", m->server_port);
	if (err == KR_OK)
		err = print_port(out, "rpc", m->rpc_port);
	return err;
}

enum kr_err kr_dev_layout_print(const struct kr_dev_layout *l,
				const struct kr_dev_member *m,
				struct kr_buf *out)
{
	enum kr_err err =
		kr_buf_printf(out,
			      "# %s of `kraken dev`; written at each start\n"
			      "# `kraken config keys %s` lists every key\n"
			      "cluster: dev\n"
			      "bind_ip: 127.0.0.1\n",
			      m->name, kr_role_name(m->role));

	if (err == KR_OK)
		err = print_listeners(m, out);
	return err == KR_OK ? print_role(l, m, out) : err;
}

enum kr_err kr_dev_layout_path(const struct kr_dev_layout *l,
			       const char *folder, const char *name,
			       const char *suffix, char *buf, size_t cap)
{
	const char *slash = name[0] != '\0' ? "/" : "";
	const int n = snprintf(buf, cap, "%s/%s%s%s%s", l->opts.dir, folder,
			       slash, name, suffix);

	return n >= 0 && (size_t)n < cap ? KR_OK : KR_E_TOOBIG;
}

static enum kr_err say(const char *what, const char *path)
{
	const int errnum = errno;

	fprintf(stderr, "kraken dev: cannot %s %s: %s\n", what, path,
		strerror(errnum));
	return kr_err_from_errno(errnum);
}

static enum kr_err make_folder(const struct kr_dev_layout *l, const char *name)
{
	char path[PATH_BYTES_MAX];
	enum kr_err err =
		kr_dev_layout_path(l, name, "", "", path, sizeof(path));

	if (err != KR_OK)
		return err;
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		return say("make the directory", path);
	return KR_OK;
}

static enum kr_err write_file(const char *path, const struct kr_buf *text)
{
	const int fd =
		open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	enum kr_err err = KR_OK;

	if (fd < 0)
		return say("write", path);
	if (write(fd, text->ptr, text->len) != (ssize_t)text->len)
		err = say("write", path);
	if (close(fd) < 0 && err == KR_OK)
		err = say("write", path);
	return err;
}

static enum kr_err write_conf(const struct kr_dev_layout *l,
			      const struct kr_dev_member *m)
{
	char path[PATH_BYTES_MAX];
	struct kr_buf text;
	enum kr_err err = kr_dev_layout_path(l, "conf", m->name, ".yaml", path,
					     sizeof(path));

	kr_buf_init(&text, KR_DEV_CONF_BYTES_MAX);
	if (err == KR_OK)
		err = kr_dev_layout_print(l, m, &text);
	if (err == KR_OK)
		err = write_file(path, &text);
	kr_buf_fini(&text);
	return err;
}

enum kr_err kr_dev_layout_write(const struct kr_dev_layout *l)
{
	static const char *const folders[] = { "conf", "log", "data",
					       "storage" };
	enum kr_err err = KR_OK;

	for (size_t i = 0;
	     err == KR_OK && i < sizeof(folders) / sizeof(folders[0]); i++)
		err = make_folder(l, folders[i]);
	for (size_t i = 0; err == KR_OK && i < l->count; i++)
		err = write_conf(l, &l->members[i]);
	return err;
}

/* ---- ports --------------------------------------------------------------*/

/* 0, or what bind(2) says. */
static int try_port(uint16_t number)
{
	const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const struct sockaddr_in sa = {
		.sin_family = AF_INET,
		.sin_port = htons(number),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	const int on = 1;
	int errnum = 0;

	if (fd < 0)
		return errno;
	/* Connections of an earlier run that linger do not count. */
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    bind(fd, (const struct sockaddr *)&sa, sizeof(sa)) < 0)
		errnum = errno;
	(void)close(fd);
	return errnum;
}

enum kr_err kr_dev_layout_check_ports(const struct kr_dev_layout *l)
{
	enum kr_err err = KR_OK;

	for (size_t i = 0; i < l->count; i++) {
		const struct kr_dev_member *m = &l->members[i];
		const uint16_t ports[PORT_COUNT] = { m->registry_port,
						     m->peer_port,
						     m->server_port,
						     m->rpc_port };
		for (size_t j = 0; j < PORT_COUNT; j++) {
			const int errnum = ports[j] ? try_port(ports[j]) : 0;
			if (errnum == 0)
				continue;
			fprintf(stderr,
				"kraken dev: port %u (%s) cannot be used: %s; "
				"`ss -ltnp sport = :%u` shows who has it\n",
				ports[j], m->name, strerror(errnum), ports[j]);
			err = KR_E_EXISTS;
		}
	}
	if (err != KR_OK)
		fprintf(stderr, "kraken dev: stop what has them, or shift "
				"every port: --base-port-offset N\n");
	return err;
}
