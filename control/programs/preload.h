/*
 * control/programs/preload.h - a container runtime of this host is told to
 * pull an image from this agent (Kraken's /preload/tags/{tag}).
 *
 *	docker      POST /images/create on its socket (Docker Engine API)
 *	containerd  `ctr images pull`, the client that comes with it
 *
 * A pull takes as long as it takes, and is answered by ourselves: each has a
 * thread of its own, not one of the work pool, which the pull needs.  It goes
 * on without the client that asked for it.
 *
 * Threads: reactor only.
 */
#ifndef KR_CONTROL_PROGRAMS_PRELOAD_H
#define KR_CONTROL_PROGRAMS_PRELOAD_H

#include <stdatomic.h>
#include <stdint.h>

#include "control/programs/desk.h"

enum { KR_PRELOADS_MAX = 8 }; /* at once; beyond it KR_E_LIMIT */
#define KR_PRELOAD_NS UINT64_C(1800000000000) /* then it is given up */

struct kr_preload {
	struct kr_io *io;
	const char *docker_host;        /* "unix:///var/run/docker.sock" */
	const char *containerd_address; /* "/run/containerd/containerd.sock" */
	const char *registry_ip;        /* ours */
	uint16_t registry_port;
	uint32_t running;
	atomic_bool stop;
};

/* Handle PRELOAD at @desk.  @p is filled by the caller and outlives it. */
void kr_preload_attach(struct kr_preload *p, struct kr_desk *desk);

/* Give up what runs, turning the ring until that is over.  Every call was
 * ended before. */
void kr_preload_close(struct kr_preload *p);

#endif
