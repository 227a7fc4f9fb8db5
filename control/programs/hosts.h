/*
 * control/programs/hosts.h - clients of the other roles, as configured.
 */
#ifndef KR_CONTROL_PROGRAMS_HOSTS_H
#define KR_CONTROL_PROGRAMS_HOSTS_H

#include "control/indexes.h"
#include "control/origins.h"
#include "control/programs/runtime.h"
#include "control/push.h"
#include "control/tracker_msg.h"
#include "control/trackers.h"

/* Each resolves its list of hosts [blocks]; what is wrong has been said. */
KR_NODISCARD enum kr_err kr_hosts_indexes(struct kr_runtime *rt,
					  struct kr_indexes **ret);
KR_NODISCARD enum kr_err kr_hosts_origins(struct kr_runtime *rt,
					  struct kr_origins **ret);
KR_NODISCARD enum kr_err kr_hosts_trackers(struct kr_runtime *rt,
					   struct kr_trackers **ret);

/* Who we are in the swarm. */
void kr_hosts_self(const struct kr_conf *c, enum kr_peer_role role,
		   const struct kr_peer_id *id, uint16_t port,
		   struct kr_tracker_msg_peer *ret);

/* What @t has is pushed to @origins (both borrowed), as configured, by us: a
 * @role with that @id. */
KR_NODISCARD enum kr_err kr_hosts_pusher(struct kr_runtime *rt,
					 enum kr_peer_role role,
					 const struct kr_peer_id *id,
					 struct kr_transfer *t,
					 struct kr_origins *origins,
					 struct kr_pusher **ret);

#endif
