/*
 * control/transfer.h - the driver of a peerwire node: its connections on the
 * ring, its blobs in the store.
 *
 *	kr_node (PURE)  <-- events / actions -->  kr_transfer  <-->  kr_io
 *	                                             |
 *	                                          kr_store
 *
 * A blob on this host is a struct kr_blob: complete (a file of the store), or
 * partial (a download in progress).  References are counted; a blob that
 * nobody refers to and no peer uses is let go (a partial stays on disk and
 * resumes).
 *
 * A host with several reactors has a transfer for each: the first as above, of
 * the others each without a store.  Those only seed what a lender gives them
 * (control/seeders.h).
 *
 *	absent --kr_transfer_fetch--> partial --all pieces--> committing
 *	   |                             |                        |
 *	   +--kr_transfer_open_blob------+------------------> complete
 *
 * Threads: reactor only.
 */
#ifndef KR_CONTROL_TRANSFER_H
#define KR_CONTROL_TRANSFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/addr.h"
#include "core/digest.h"
#include "core/err.h"
#include "core/io.h"
#include "core/list.h"
#include "core/store.h"
#include "peerwire/metainfo.h"
#include "peerwire/node.h"

struct kr_transfer;
struct kr_blob;
struct kr_tokens;

/* ---- a transfer without a store -----------------------------------------*/

/* A complete blob that a lender has open; it stays so until given back. */
struct kr_lease {
	int fd; /* borrowed */
	uint64_t size_bytes;
	struct kr_metainfo meta; /* may be moved out */
};

/* The answer to @a: a lease with KR_OK, else NULL. */
struct kr_ask;
typedef void kr_ask_fn(struct kr_ask *a, enum kr_err err, struct kr_lease *l);
struct kr_ask {
	struct kr_digest digest;
	kr_ask_fn *done;
};

struct kr_lender {
	void *ctx;
	/* Have a->done called, later, on our reactor.  @a is lent until then.
	 * False: no memory, it will not be called. */
	bool (*ask)(void *ctx, struct kr_ask *a);
	/* @l is moved; nobody uses its descriptor any more. */
	void (*give_back)(void *ctx, struct kr_lease *l);
	/* A connection is none of ours: an origin or a proxy has dialled, and
	 * wants what only a transfer with a store has.  @fd and @bytes (malloc,
	 * what was received so far) are moved. */
	void (*pass_on)(void *ctx, int fd, const struct kr_addr *from,
			uint8_t *bytes, uint32_t len);
};

struct kr_transfer_opts {
	struct kr_io *io; /* borrowed, as all pointers here */
	struct kr_store *store;
	/* Not NULL: instead of store.  Connections are kept only of agents:
	 * origins and proxies, who share what is still on its way in, are
	 * passed on. */
	const struct kr_lender *lender;
	uint32_t reactor;     /* its number, for the metrics */
	struct kr_tokens *up; /* shared by the host's reactors; NULL: its own,
				 by the policy */
	const struct kr_policy *policy;
	struct kr_peer_id id;
	enum kr_peer_role role;
	const char *cluster, *zone;
	struct kr_addr listen; /* port 0: the kernel chooses */
	enum kr_listen_share share;
	uint32_t connections_max; /* 0: 4096 */
	bool verify_full; /* re-hash the whole blob before commit: origins, who
			     vouch for the digest, and `verify: full` */
	void *ctx;
	/* The swarm of @b needs neighbours (again): announce it, then
	 * kr_blob_peers.  Also called when a peer looked @b up. */
	void (*need_peers)(void *ctx, struct kr_blob *b);
	/* @id sent bytes of @b that did not match their hash. */
	void (*bad_peer)(void *ctx, struct kr_blob *b,
			 const struct kr_peer_id *id,
			 const struct kr_addr *addr);
	/* A peer refused @b, which is being downloaded: it has another
	 * metainfo of it.  May be NULL (control/disputes.h). */
	void (*disputed)(void *ctx, struct kr_blob *b);
	/* A blob became complete or was let go; may be NULL: for announces. */
	void (*changed)(void *ctx, struct kr_blob *b, bool complete);
	/* The store has no room for @bytes: give back references that nobody
	 * waits for; may be NULL.  Blobs without references are let go then,
	 * so that the store may delete the least recently used. */
	void (*need_room)(void *ctx, uint64_t bytes);
};

KR_NODISCARD enum kr_err kr_transfer_open(const struct kr_transfer_opts *opts,
					  struct kr_transfer **ret);
/* Say goodbye, close connections, keep partials.  Every fetch ends with
 * KR_E_CANCELED.  Turns the ring until nothing is in flight. */
void kr_transfer_close(struct kr_transfer *t);
struct kr_addr kr_transfer_addr(const struct kr_transfer *t);

/* Go on with a connection that another reactor accepted: @fd, where @bytes
 * were received already (at most KR_IO_RECV_MAX; borrowed), is moved. */
void kr_transfer_admit(struct kr_transfer *t, int fd,
		       const struct kr_addr *from, const uint8_t *bytes,
		       uint32_t len);

/* ---- blobs --------------------------------------------------------------*/

/*
 * Refer to blob @d if this host has it: complete in the store, or being
 * downloaded.  *ret is a reference; kr_blob_put gives it back.
 * KR_E_NOTFOUND, KR_E_NOFILE, KR_E_NOMEM.
 */
KR_NODISCARD enum kr_err kr_transfer_open_blob(struct kr_transfer *t,
					       const struct kr_digest *d,
					       struct kr_blob **ret);

/* Blob @d if it is in memory, borrowed; NULL. */
struct kr_blob *kr_transfer_find(struct kr_transfer *t,
				 const struct kr_digest *d);

/* Let go of complete blobs that nobody here refers to, peers or not: the
 * store needs room.  They may ask again. */
void kr_transfer_let_go(struct kr_transfer *t);

/*
 * Refer to blob m->digest, and download it if it is neither complete nor
 * being downloaded.  @m is copied, and kept as it was encoded.  @ns is the
 * repository it is asked for in.  Pieces of an earlier run count after they
 * were hashed again.  Where nobody is known yet, need_peers comes (not from
 * inside).
 *
 * KR_E_INVALID   @ns is empty, longer than KR_NAMESPACE_MAX, or has a byte
 *                that the peer protocol cannot say (kr_msg_is_name)
 * KR_E_LIMIT     too many downloads at once
 * KR_E_NOMEM, KR_E_NOFILE
 * KR_E_CANCELED  kr_transfer_close has begun
 *
 * What only the disk knows comes to the waiters: KR_E_NOSPC, the store has no
 * room; KR_E_BUSY, somebody else has the same download open.
 */
KR_NODISCARD enum kr_err kr_transfer_fetch(struct kr_transfer *t,
					   const char *ns,
					   const struct kr_metainfo *m,
					   uint8_t rank, struct kr_blob **ret);

/* Another reference to @b. */
struct kr_blob *kr_blob_get(struct kr_blob *b);

/* Give a reference back.  A download without references goes on for
 * KR_BLOB_LINGER_NS (somebody may come again), then it stops and is kept. */
#define KR_BLOB_LINGER_NS UINT64_C(60000000000)
void kr_blob_put(struct kr_blob *b);

/* Stop the download now (its waiters get @why), let go of the blob. */
void kr_blob_abort(struct kr_blob *b, enum kr_err why);

/* Hosts said to have @b. */
void kr_blob_peers(struct kr_blob *b, const struct kr_peer_hint *hints,
		   size_t count);

const struct kr_digest *kr_blob_digest(const struct kr_blob *b);
const char *kr_blob_ns(const struct kr_blob *b);
uint64_t kr_blob_size_bytes(const struct kr_blob *b);
bool kr_blob_complete(const struct kr_blob *b);
/* Id of the metainfo that @b is being downloaded by; KR_SHA256_LEN bytes,
 * borrowed.  NULL: it is complete, or the download has ended. */
const uint8_t *kr_blob_metainfo_id(const struct kr_blob *b);

struct kr_blob_progress {
	uint64_t size_bytes;
	uint64_t verified_bytes;
	uint64_t from_bytes[KR_PEER_ROLE_COUNT]; /* received, by sender */
	uint32_t neighbours;
};
void kr_blob_progress(const struct kr_blob *b, struct kr_blob_progress *ret);

/* Visit all blobs in memory (for announces). */
typedef void kr_blob_visit_fn(void *ctx, struct kr_blob *b);
void kr_transfer_for_each(struct kr_transfer *t, kr_blob_visit_fn *fn,
			  void *ctx);

/* ---- waiting and reading ------------------------------------------------*/

/* Wait until @b is complete (KR_OK), or failed.  @w is lent until done. */
struct kr_blob_wait;
typedef void kr_blob_wait_fn(struct kr_blob_wait *w, enum kr_err err);
struct kr_blob_wait { /* private */
	struct kr_list link;
	struct kr_blob *blob;
	kr_blob_wait_fn *done;
	enum kr_err err;
	bool room_will_do;
};
void kr_blob_wait(struct kr_blob *b, struct kr_blob_wait *w,
		  kr_blob_wait_fn *done);
/* Wait only until the disk has room for @b: what kr_transfer_fetch could not
 * say.  KR_OK also when it is complete. */
void kr_blob_wait_room(struct kr_blob *b, struct kr_blob_wait *w,
		       kr_blob_wait_fn *done);
void kr_blob_wait_cancel(struct kr_blob_wait *w); /* done will not come */

/*
 * Send @part of @b to socket @fd, as it is verified; zero-copy.  While the
 * client waits for a piece, the node is told where the reader is
 * (kr_node_blob_reader).  done: @moved bytes went out, the head not counted; KR_OK only if all;
 * after an error some bytes more may have gone out.  KR_E_RANGE: beyond the
 * blob.  KR_E_CLOSED: the client left.  KR_E_TIMEDOUT: it does not read
 * (KR_BLOB_SEND_SLICE_BYTES in KR_BLOB_SEND_SLICE_NS).
 * @s is lent until done; it holds a reference.
 */
#define KR_BLOB_SEND_SLICE_BYTES UINT32_C(4194304)
#define KR_BLOB_SEND_SLICE_NS    UINT64_C(300000000000)
#define KR_BLOB_SEND_LEAD_BYTES  UINT32_C(131072)
struct kr_blob_part {
	struct kr_bytes head; /* goes before; may be empty; lent until done */
	uint64_t offset_bytes, len_bytes;
	/* The client may leave long before len_bytes: no more than about
	 * KR_BLOB_SEND_LEAD_BYTES are kept ahead of it (one on another host: in
	 * our send buffer). */
	bool open_ended;
};
struct kr_blob_send;
typedef void kr_blob_send_fn(struct kr_blob_send *s, enum kr_err err,
			     uint64_t moved);
struct kr_blob_send { /* private; embedded */
	struct kr_list link;
	struct kr_blob *blob;
	kr_blob_send_fn *done;
	struct kr_op op;
	struct kr_op gone;     /* watches the client, from the first time that
				  it has to wait */
	struct kr_timer timer; /* the deadline of a slice that is sent; when to
				  look at a reader that lags */
	uint64_t lag_ns;       /* 0: it does not */
	struct kr_bytes head;  /* not sent yet */
	uint64_t offset_bytes, left_bytes, moved_bytes;
	uint32_t slice_bytes;
	uint32_t reader;       /* UINT32_MAX: none */
	uint32_t reader_piece; /* what the node was told last */
	int fd;
	enum kr_err err;
	bool open_ended, canceled, finishing, is_corked;
	bool has_left; /* the client, while something was sent to it */
};
void kr_blob_send(struct kr_blob *b, struct kr_blob_send *s, int fd,
		  const struct kr_blob_part *part, kr_blob_send_fn *done);
void kr_blob_send_cancel(struct kr_blob_send *s); /* done comes, soon */

/* Read @len bytes at @offset of a complete blob into @buf. */
void kr_blob_read(struct kr_blob *b, struct kr_op *op, void *buf,
		  uint32_t len_bytes, uint64_t offset_bytes,
		  kr_op_done_fn *done);

/* ---- figures ------------------------------------------------------------*/
void kr_transfer_stats(const struct kr_transfer *t, struct kr_node_stats *ret);

#endif
