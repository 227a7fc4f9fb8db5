/*
 * control/rpc_link.h - one TCP connection that carries RPC messages: what the
 * server and the client have in common.
 *
 * Private to rpc_server.c and rpc_client.c.
 *
 * Bytes that arrive are gathered until a message is whole (found by a scanner
 * that looks at each byte once), decoded, and told to the owner.  Messages to
 * send queue in one buffer while another is with the kernel.  A link that
 * fails or is closed is dead: nothing is told any more but on_free, which
 * comes when no operation is in flight, and not from inside kr_rpc_link_close.
 *
 *	open -> alive --error: on_dead--> dead --drained--> on_free
 *	          +-----kr_rpc_link_close--^
 *
 * Half-open connections are found by the kernel (SO_KEEPALIVE,
 * TCP_USER_TIMEOUT: tcp(7)) within about half a minute.
 */
#ifndef KR_CONTROL_RPC_LINK_H
#define KR_CONTROL_RPC_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control/rpc_codec.h"
#include "core/buf.h"
#include "core/err.h"
#include "core/io.h"
#include "core/list.h"

enum {
	/* Above this many bytes queued, requests are read no more. */
	KR_RPC_LINK_OUT_HIGH = 1024 * 1024,
	KR_RPC_LINK_OUT_MAX = 96 * 1024 * 1024,
};

struct kr_rpc_link;

struct kr_rpc_link_ops {
	/* The slices are borrowed.  Not KR_OK kills the link with it. */
	enum kr_err (*on_msg)(struct kr_rpc_link *l,
			      const struct kr_rpc_msg *msg);
	/* May read go on?  Asked before each message. */
	bool (*may_read)(struct kr_rpc_link *l);
	void (*on_dead)(struct kr_rpc_link *l, enum kr_err why);
	void (*on_free)(struct kr_rpc_link *l);
};

/* Where a scan for the end of a message stands. */
struct kr_rpc_scan {
	size_t at;        /* bytes looked at */
	uint64_t pending; /* values still to come; 0: the message is whole */
};

struct kr_rpc_link { /* embedded by its owner; private to rpc_link.c */
	const struct kr_rpc_link_ops *ops;
	struct kr_io *io;
	int fd;
	size_t len_max;
	struct kr_op recv, send;
	struct kr_post resume;
	struct kr_post last;
	struct kr_buf in, out, sending;
	struct kr_rpc_scan scan;
	uint64_t rx_ns; /* when something last arrived */
	uint64_t tx_ns; /* when the send in flight began; 0: none is */
	bool delivering, resuming, dead, freeing;
};

/* Begin with the connected socket @fd (moved).  Reading starts at once. */
void kr_rpc_link_open(struct kr_rpc_link *l, struct kr_io *io, int fd,
		      size_t len_max, const struct kr_rpc_link_ops *ops);

/* No more on_dead; on_free will come. */
void kr_rpc_link_close(struct kr_rpc_link *l);

/* may_read() says yes again. */
void kr_rpc_link_resume(struct kr_rpc_link *l);

/*
 * Queue one encoded message: @head, then @body.  Of a dead link: nothing.
 *
 * KR_E_BUSY   the queue has no room for it
 * KR_E_NOMEM
 */
KR_NODISCARD enum kr_err kr_rpc_link_send(struct kr_rpc_link *l,
					  struct kr_bytes head,
					  struct kr_bytes body);

/* Bytes queued and not yet with the kernel. */
size_t kr_rpc_link_queued(const struct kr_rpc_link *l);

/*
 * Go on looking for the end of the message that @buf begins with.
 *
 * KR_OK        it has s->at bytes
 * KR_AGAIN     all @len bytes were looked at, more are needed
 * KR_E_TOOBIG  it has more than @len_max
 * KR_E_PROTO   a byte that begins no value
 */
KR_NODISCARD enum kr_err kr_rpc_scan_step(struct kr_rpc_scan *s,
					  const uint8_t *buf, size_t len,
					  size_t len_max);
void kr_rpc_scan_init(struct kr_rpc_scan *s);

#endif
