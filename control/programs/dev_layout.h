/*
 * control/programs/dev_layout.h - what the cluster of `kraken dev` consists
 * of: its processes, their ports, their configuration files.
 *
 *	DIR/conf/<name>.yaml  configuration, written at each start
 *	DIR/log/<name>.log    what the process says, appended
 *	DIR/data/<name>/      its store
 *	DIR/storage/          the storage backend of the origins
 *
 * Everything listens on 127.0.0.1.  Ports (plus kr_dev_opts.port_offset):
 *
 *	              registry  peer   server  rpc
 *	proxy         15000     15006  15005
 *	origin n                15001  15002   15102   + 10 (n - 1)
 *	tracker                        15003   15103
 *	build-index                    15004   15104
 *	agent n       16000     16001  16002           + 1000 (n - 1)
 */
#ifndef KR_CONTROL_PROGRAMS_DEV_LAYOUT_H
#define KR_CONTROL_PROGRAMS_DEV_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

#include "control/programs/conf.h"
#include "core/buf.h"
#include "core/err.h"

enum {
	KR_DEV_AGENTS_MAX = 16,
	KR_DEV_ORIGINS_MAX = 9, /* then their ports meet the RPC ports */
	KR_DEV_MEMBERS_MAX = 3 + KR_DEV_AGENTS_MAX + KR_DEV_ORIGINS_MAX,
	KR_DEV_NAME_MAX = 16,
	KR_DEV_REPLICAS = 2,
	KR_DEV_CONF_BYTES_MAX = 64 * 1024,
};

struct kr_dev_opts {
	const char *dir;      /* absolute; borrowed as long as the layout */
	uint32_t agents;      /* 1 .. KR_DEV_AGENTS_MAX */
	uint32_t origins;     /* 1 .. KR_DEV_ORIGINS_MAX */
	uint32_t port_offset; /* added to every port */
};

struct kr_dev_member {
	char name[KR_DEV_NAME_MAX]; /* "origin2" */
	enum kr_role role;
	uint16_t registry_port, peer_port, server_port, rpc_port; /* 0: none */
};

struct kr_dev_layout {
	struct kr_dev_opts opts;
	/* in the order in which they are started */
	struct kr_dev_member members[KR_DEV_MEMBERS_MAX];
	size_t count;
};

/* Fill @ret.  KR_E_INVALID: a count out of its bounds, or a port above 65535
 * (said on stderr). */
KR_NODISCARD enum kr_err kr_dev_layout_make(const struct kr_dev_opts *opts,
					    struct kr_dev_layout *ret);

/* Append the YAML of member @m.  Errors: kr_buf_append's. */
KR_NODISCARD enum kr_err kr_dev_layout_print(const struct kr_dev_layout *l,
					     const struct kr_dev_member *m,
					     struct kr_buf *out);

/* The path of DIR/@folder/@name@suffix in @buf of @cap bytes.
 * KR_E_TOOBIG. */
KR_NODISCARD enum kr_err kr_dev_layout_path(const struct kr_dev_layout *l,
					    const char *folder,
					    const char *name,
					    const char *suffix, char *buf,
					    size_t cap);

/* Make the folders and write every configuration file.  What is wrong is said
 * on stderr. */
KR_NODISCARD enum kr_err kr_dev_layout_write(const struct kr_dev_layout *l);

/* Try each port.  KR_E_EXISTS: at least one is taken; each that is was said on
 * stderr, with the command that shows by whom. */
KR_NODISCARD enum kr_err kr_dev_layout_check_ports(
	const struct kr_dev_layout *l);

#endif
