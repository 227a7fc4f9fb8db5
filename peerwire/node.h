/*
 * peerwire/node.h - one host's part in every swarm it is in.  PURE.
 *
 * A node never makes a system call, reads a clock, draws unseeded randomness,
 * locks or logs.  It is told what happened (an event, carrying the time) and
 * it says what should be done (actions, taken one by one until there are
 * none).  The driver - control/transfer in production, a simulator in tests -
 * does it and reports the outcome as a later event.
 *
 *	          kr_node_<event>()                 kr_node_next_action()
 *	driver  ------------------->  struct kr_node  ------------------->  driver
 *
 * One connection per pair of hosts carries all blobs.  Bulk bytes do not pass
 * through: KR_ACT_BODY says "the next len bytes of this connection are a block
 * of piece p of blob x", KR_ACT_SERVE says "send this head, then those bytes
 * of the blob".
 *
 * Handles: a connection and a blob are named by a u32 that the node hands out
 * (index and generation; never reused while the driver may still hold it).
 * After KR_ACT_CLOSE or kr_node_conn_closed the connection's handle is dead.
 *
 * A connection
 *
 *	accepted ---------------+
 *	                        v
 *	KR_ACT_DIAL -> connected -> WAIT_HELLO --hello--> OPEN --> closed
 *
 * A piece, on the way in
 *
 *	missing -> requested -> blocks arrive (KR_ACT_BODY ... body_done)
 *	   ^                          |
 *	   |                    all blocks there: KR_ACT_VERIFY
 *	   +---- ok == false ---------+---- ok == true ---> have (HAVE goes out)
 *
 * Memory: by the kr_alloc given at open; tables are sized at open, per blob
 * state at kr_node_blob_add.  Nothing is allocated per frame.
 * Threads: a node belongs to one thread.
 */
#ifndef KR_PEERWIRE_NODE_H
#define KR_PEERWIRE_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/addr.h"
#include "core/alloc.h"
#include "core/digest.h"
#include "core/err.h"
#include "peerwire/policy.h"

struct kr_node;

enum {
	KR_PEER_ID_LEN = 16,
	KR_NAME_MAX = 64,       /* cluster, zone: bytes without the NUL */
	KR_NAMESPACE_MAX = 255, /* repository name of a blob */
};

enum kr_peer_role {
	KR_PEER_AGENT,
	KR_PEER_ORIGIN,
	KR_PEER_PROXY,
	KR_PEER_ROLE_COUNT
};

struct kr_peer_id {
	uint8_t bytes[KR_PEER_ID_LEN];
};

struct kr_node_opts {
	const struct kr_alloc *alloc;   /* borrowed; outlives the node */
	const struct kr_policy *policy; /* copied */
	struct kr_peer_id id;
	enum kr_peer_role role;
	const char *cluster;  /* copied; peers of another cluster are refused */
	const char *zone;     /* copied; may be "" */
	uint16_t listen_port; /* told to peers, so that they can tell others */
	uint64_t seed;        /* of all its random choices */
};

KR_NODISCARD enum kr_err kr_node_open(const struct kr_node_opts *opts,
				      struct kr_node **ret);
void kr_node_close(struct kr_node *n);

/* ---- actions ------------------------------------------------------------*/

enum kr_bye_reason {
	KR_BYE_NONE,      /* orderly */
	KR_BYE_PROTO,     /* broke the protocol */
	KR_BYE_CORRUPT,   /* a piece did not match its hash */
	KR_BYE_CLUSTER,   /* other cluster, or other protocol version */
	KR_BYE_DUPLICATE, /* another connection of the same pair is kept */
	KR_BYE_SELF,      /* connected to ourselves */
	KR_BYE_FULL,      /* no room for another neighbour */
	KR_BYE_USELESS,   /* nothing to give or get */
	KR_BYE_TIMEOUT,   /* silent */
	KR_BYE_SHUTDOWN,
	KR_BYE_REASON_COUNT
};
const char *kr_bye_reason_name(enum kr_bye_reason r); /* "proto", static */

enum kr_action_type {
	KR_ACT_DIAL,   /* connect to .addr; answer conn_connected/_closed */
	KR_ACT_SEND,   /* append .bytes to the connection's output */
	KR_ACT_SERVE,  /* append .head, then the block's bytes; answer
			  conn_served when the last byte is with the kernel */
	KR_ACT_BODY,   /* the next .len bytes that arrive are this block; answer
			  body_done.  .discard: read and throw away.  After
			  KR_ACT_CLOSE no byte of it may be written any more:
			  the block is asked of somebody else */
	KR_ACT_VERIFY, /* all blocks of the piece are there; answer
			  piece_verified (after it is written, if ok) */
	KR_ACT_LOOKUP, /* a peer asks for a blob we have not added; answer
			  blob_add with .lookup, or blob_absent */
	KR_ACT_DONE,   /* every piece of .blob is verified */
	KR_ACT_PEERS,  /* .blob wants more neighbours: announce, then
			  blob_peers */
	KR_ACT_IDLE,   /* a blob that was added by lookup is no longer open on
			  any connection: the driver may remove it */
	KR_ACT_BAD,    /* .peer sent a piece that failed: tell the tracker */
	KR_ACT_CLOSE,  /* flush for a moment, then close; .reason says why */
	KR_ACT_TIMER,  /* call kr_node_timer at .at_ns; replaces the last */
	KR_ACT_DISPUTE, /* a peer has .blob with another metainfo: if the origins
			  do, too, ours is of no use any more */
};

struct kr_action {
	enum kr_action_type type;
	uint32_t conn;
	uint32_t blob;
	uint32_t piece;
	uint32_t offset; /* of the block, in the piece, bytes */
	uint32_t len;    /* bytes of .bytes, or of the block */
	bool discard;
	uint8_t head_len;
	uint8_t head[20];
	const uint8_t *bytes; /* borrowed until the next event */
	struct kr_addr addr;
	struct kr_peer_id peer;
	enum kr_bye_reason reason;
	uint64_t at_ns;
	uint32_t lookup;
	struct kr_digest digest; /* KR_ACT_LOOKUP */
	char ns[KR_NAMESPACE_MAX + 1];
};

/*
 * Take the next action.  false: nothing to do until the next event.  Call it
 * until it says so after every event: SEND bytes live only that long.
 */
bool kr_node_next_action(struct kr_node *n, struct kr_action *ret);

/* ---- events -------------------------------------------------------------
 * @now_ns is monotonic and never less than in an earlier event.
 */

/* A connection was accepted.  KR_E_LIMIT: too many; close it. */
KR_NODISCARD enum kr_err kr_node_conn_accepted(struct kr_node *n,
					       uint64_t now_ns,
					       const struct kr_addr *from,
					       uint32_t *ret_conn);
/* KR_ACT_DIAL succeeded. */
void kr_node_conn_connected(struct kr_node *n, uint64_t now_ns, uint32_t conn);

/* The connection is gone (or could not be made); @why is for statistics. */
void kr_node_conn_closed(struct kr_node *n, uint64_t now_ns, uint32_t conn,
			 enum kr_err why);

/*
 * Bytes arrived.  *ret_taken of them were used: fewer than @len only when a
 * KR_ACT_BODY or KR_ACT_CLOSE comes out.  After KR_ACT_BODY the driver moves
 * the block (beginning with the bytes not taken), calls kr_node_body_done and
 * only then goes on with kr_node_conn_bytes.
 */
void kr_node_conn_bytes(struct kr_node *n, uint64_t now_ns, uint32_t conn,
			const uint8_t *buf, size_t len, size_t *ret_taken);
void kr_node_body_done(struct kr_node *n, uint64_t now_ns, uint32_t conn);

/* The block of the connection's KR_ACT_SERVE is with the kernel. */
void kr_node_conn_served(struct kr_node *n, uint64_t now_ns, uint32_t conn);

struct kr_blob_opts {
	struct kr_digest digest;
	const char *ns; /* copied */
	uint8_t metainfo_id[KR_SHA256_LEN];
	uint64_t size_bytes; /* > 0: an empty blob has no swarm */
	uint32_t piece_bytes;
	bool complete;              /* we have all of it: seed only */
	const uint64_t *have_words; /* bitset of pieces we have (core/bitset.h),
				       or NULL: none; ignored if complete */
	uint32_t lookup;            /* of KR_ACT_LOOKUP, else 0 */
	uint8_t rank; /* 0 first: manifests and configs before layers */
};

/* Take part in a swarm.  KR_E_EXISTS: in it already (*ret_blob is set even
 * so).  KR_E_LIMIT, KR_E_NOMEM: nothing was kept. */
KR_NODISCARD enum kr_err kr_node_blob_add(struct kr_node *n, uint64_t now_ns,
					  const struct kr_blob_opts *opts,
					  uint32_t *ret_blob);

/* Leave it: streams are closed, open requests canceled, blocks on their way
 * come out as KR_ACT_BODY with .discard.  No KR_ACT_SERVE of it is pending
 * afterwards but those already taken. */
void kr_node_blob_remove(struct kr_node *n, uint64_t now_ns, uint32_t blob);

/* Answer to KR_ACT_LOOKUP: we do not have it. */
void kr_node_blob_absent(struct kr_node *n, uint64_t now_ns, uint32_t lookup);

struct kr_peer_hint {
	struct kr_addr addr;
	struct kr_peer_id id; /* all 0: unknown (a configured host) */
	enum kr_peer_role role;
	bool complete;
	bool same_zone;
};

/* Hosts that are said to be in the swarm of @blob; the node chooses whom to
 * dial. */
void kr_node_blob_peers(struct kr_node *n, uint64_t now_ns, uint32_t blob,
			const struct kr_peer_hint *hints, size_t count);

/* Verdict on KR_ACT_VERIFY.  Not @ok: whoever sent it is closed (if a single
 * peer sent all blocks; else the piece is fetched again from one peer alone). */
void kr_node_piece_verified(struct kr_node *n, uint64_t now_ns, uint32_t blob,
			    uint32_t piece, bool ok);

/*
 * A client reads @blob in order and is at @first_piece: fetch from there on
 * first, in a window ahead of it (SWARM.md rule 11).  @reader names the
 * reader (0..KR_NODE_READERS_MAX-1, chosen by the driver); UINT32_MAX as
 * @first_piece: it is gone.
 */
enum { KR_NODE_READERS_MAX = 16 };
void kr_node_blob_reader(struct kr_node *n, uint64_t now_ns, uint32_t blob,
			 uint32_t reader, uint32_t first_piece);

/* The time asked for by KR_ACT_TIMER has come. */
void kr_node_timer(struct kr_node *n, uint64_t now_ns);

/* Say goodbye to everybody: KR_ACT_CLOSE for each connection. */
void kr_node_shutdown(struct kr_node *n, uint64_t now_ns);

/* ---- what an operator wants to know -------------------------------------*/

struct kr_node_stats {
	uint64_t frames_in, frames_out, control_bytes_in, control_bytes_out;
	uint64_t block_bytes_in[KR_PEER_ROLE_COUNT];  /* wanted, by sender */
	uint64_t block_bytes_out[KR_PEER_ROLE_COUNT]; /* by receiver */
	uint64_t discarded_bytes, duplicate_bytes;
	uint64_t pieces_verified, pieces_failed;
	uint64_t requests_sent, cancels_sent, rejects_sent, rejects_received;
	uint64_t overdue_requests, pings_sent;
	uint64_t closes[KR_BYE_REASON_COUNT];
	uint32_t conns, conns_open, blobs, inflight_requests;
	uint64_t inflight_bytes, queued_upload_bytes;
};
void kr_node_stats(const struct kr_node *n, struct kr_node_stats *ret);

struct kr_blob_stats {
	uint32_t piece_count, have_count, neighbours, requested;
	uint64_t bytes_from[KR_PEER_ROLE_COUNT];
};
void kr_node_blob_stats(const struct kr_node *n, uint32_t blob,
			struct kr_blob_stats *ret);

/* Which peer (id, role, address) is behind @conn; false before its HELLO. */
bool kr_node_conn_peer(const struct kr_node *n, uint32_t conn,
		       struct kr_peer_id *ret_id, enum kr_peer_role *ret_role,
		       struct kr_addr *ret_addr);

/* Assert every invariant; costs O(everything).  For tests. */
void kr_node_check(const struct kr_node *n);

#endif
