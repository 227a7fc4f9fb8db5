/*
 * control/transfer_internal.h - what the files of the transfer driver share;
 * nobody else includes it.
 *
 *	transfer.c        open, close, actions of the node, call-backs due
 *	transfer_seed.c   KR_ACT_LOOKUP: blobs that a peer asks for
 *	guest.c           a connection whose HELLO is awaited, without a store
 *	transfer_stats.c  figures of the node -> metrics
 *	conn.c            a connection: its life, and what it receives
 *	conn_out.c        what it sends
 *	pace.c            whose turn it is under a rate limit
 *	blob.c            references, the table, waiters, the end of a blob
 *	blob_open.c       partial: open, resume, commit
 *	blob_piece.c      blocks -> pieces -> verified
 *	blob_send.c       a blob to a client's socket
 *
 * The one rule about order: an event may be given to the node only when all
 * its actions were taken.  So what dispatch() does never calls the node;
 * whatever needs an event goes on a list (lost, answers) that
 * kr_transfer_pump works off, one event at a time, between two drains.  And
 * call-backs to users come from a timer only (kr_transfer_call_back), where
 * neither is under way.
 *
 * Block buffers cannot run into a deadlock: a buffer that is being received
 * into belongs to a connection (bounded in time by the node's deadlines), one
 * in a job comes back with the job, and those of pieces that are not whole are
 * written to the partial file when a connection finds none free
 * (kr_transfer_spill); verification reads such blocks back.
 */
#ifndef KR_CONTROL_TRANSFER_INTERNAL_H
#define KR_CONTROL_TRANSFER_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control/blob_hash.h"
#include "control/pace.h"
#include "control/transfer.h"
#include "core/bitset.h"
#include "core/buf.h"
#include "core/list.h"
#include "core/map.h"
#include "core/metrics.h"

enum {
	KR_WIRE_SEGMENTS_MAX = 8,
	KR_WIRE_OUT_MAX_BYTES = 4 * 1024 * 1024,
	KR_WIRE_KEEP_BYTES = 4096, /* an idle connection holds no more */
	KR_VERIFY_JOBS_MAX = 8,
	KR_SLICE_BYTES = 128 * 1024, /* written and hashed while in cache */
	KR_RESUME_TURN_BYTES = 8 * 1024 * 1024,
	KR_OPEN_TRIES_MAX = 100,
	KR_ROOM_TRIES_MAX = 4,
};

#define KR_MS_NS         UINT64_C(1000000)
#define KR_WIRE_FLUSH_NS (500 * KR_MS_NS) /* after KR_ACT_CLOSE */
#define KR_WIRE_SEND_NS  (30000 * KR_MS_NS)
#define KR_WIRE_RATE_MIN UINT64_C(65536) /* bytes/s, of a block */
#define KR_OPEN_RETRY_NS (50 * KR_MS_NS)
#define KR_STATS_NS      (250 * KR_MS_NS)
#define KR_CLOSE_TICK_NS (20 * KR_MS_NS)

/* A reader that lags is looked at this soon, then after twice as long ... */
#define KR_LAG_LOOK_NS     UINT64_C(50000)
#define KR_LAG_LOOK_MAX_NS (16 * KR_MS_NS)

/* ---- guests -------------------------------------------------------------*/

struct kr_guest;
void kr_guest_accept(struct kr_listener *l, int fd, const struct kr_addr *from);
/* They are done with when t->guests is empty. */
void kr_guests_end(struct kr_transfer *t);

/* ---- connections (called wires here: kr_conn is the node's side) ---------*/

enum kr_wire_state {
	KR_WIRE_DIALING,
	KR_WIRE_OPEN,
	KR_WIRE_FLUSHING, /* the node has forgotten it; output goes out */
	KR_WIRE_DYING,    /* waits for its requests to end */
};

struct kr_wire_segment { /* of the output: bytes, or a block of a file */
	uint32_t len;
	struct kr_blob *blob; /* NULL: the next len bytes of pending */
	uint64_t offset_bytes;
};

struct kr_wire {
	struct kr_transfer *t;
	struct kr_list link;  /* t->all_conns */
	struct kr_list lost;  /* t->lost: the node must be told */
	struct kr_list ready; /* t->ready: output to start */
	uint32_t id;          /* the node's handle */
	enum kr_wire_state state;
	enum kr_err why;       /* it is lost */
	uint32_t holds;        /* call-backs of it on the stack */
	struct kr_addr addr;   /* of the other side, as TCP has it */
	int fd;                /* -1: none */
	struct kr_timer timer; /* flush */

	/* in */
	struct kr_op rx;
	struct kr_waiter waiter; /* for a block buffer */
	bool in_body, discard;
	uint32_t blob, piece, offset; /* of the block under way */
	uint32_t body_len, body_got;
	struct kr_turn rx_turn;
	uint32_t rx_credit; /* bytes of the block granted and not there */
	uint8_t *buf;       /* block buffer */
	uint8_t *stash;     /* bytes received that wait for a buffer */
	uint32_t stash_len;

	/* out */
	struct kr_op tx;
	struct kr_timer tx_timer;
	struct kr_wire_segment out[KR_WIRE_SEGMENTS_MAX];
	uint32_t out_first, out_count;
	struct kr_wire_segment now; /* in flight; of a block: what is left */
	struct kr_turn tx_turn;
	uint32_t tx_head;     /* bytes of moving that go before now */
	uint32_t tx_slice;    /* of now, in flight */
	uint64_t tx_since_ns; /* it is */
	uint64_t tx_left_ns;  /* that the socket may take for the rest */
	uint64_t tx_timer_ns; /* tx_timer rings then; 0: is not set */
	struct kr_buf pending, moving; /* not started; in flight */
	bool is_corked, is_shut;
};

void kr_wire_accept(struct kr_listener *l, int fd, const struct kr_addr *from);
void kr_wire_admit(struct kr_transfer *t, int fd, const struct kr_addr *from,
		   const uint8_t *bytes, uint32_t len);
void kr_wire_dial(struct kr_transfer *t, uint32_t id, const struct kr_addr *to);
/* The actions of the node. */
void kr_wire_body(struct kr_wire *c, const struct kr_action *a);
void kr_wire_goodbye(struct kr_wire *c, enum kr_bye_reason reason);
/* The connection is of no use any more; the node is told when it can be. */
void kr_wire_lose(struct kr_wire *c, enum kr_err why);
/* Stop everything; the memory goes when the requests in flight have ended. */
void kr_wire_kill(struct kr_wire *c);
void kr_wire_free_if_idle(struct kr_wire *c);

/* conn_out.c */
void kr_wire_append(struct kr_wire *c, const uint8_t *bytes, uint32_t len);
void kr_wire_serve(struct kr_wire *c, struct kr_blob *b,
		   const struct kr_action *a);
void kr_wire_start_output(struct kr_wire *c);
void kr_wire_drop_output(struct kr_wire *c);

/* ---- blobs --------------------------------------------------------------*/

enum kr_blob_state {
	KR_BLOB_OPENING, /* partial is opened, claims are hashed again */
	KR_BLOB_PARTIAL, /* in the swarm */
	KR_BLOB_COMMITTING,
	KR_BLOB_COMPLETE,
	KR_BLOB_FAILED, /* not in the table any more */
};

struct kr_piece_block {
	uint8_t *buf; /* block buffer, or NULL */
	uint32_t len;
	bool is_there; /* in buf or in the file */
};

struct kr_blob_piece {
	struct kr_list link; /* blob->pieces or t->verify_queue */
	struct kr_blob *blob;
	uint32_t piece, len;
	uint32_t block_count, there_count;
	uint32_t spilling; /* jobs that write blocks of it */
	bool is_verifying;
	struct kr_piece_block blocks[];
};

struct kr_blob {
	struct kr_transfer *t; /* NULL: the transfer was closed */
	struct kr_list link;   /* t->all_blobs */
	struct kr_list notice; /* t->notices: call-backs due */
	struct kr_digest digest;
	char ns[KR_NAMESPACE_MAX + 1];
	uint64_t size_bytes;
	enum kr_blob_state state;
	enum kr_err why; /* it failed */
	uint32_t refs;   /* of users */
	uint32_t holds;  /* reasons for the memory to stay */
	uint32_t jobs;   /* on the pool; they use partial, fd, meta */
	bool is_listed;  /* in t->blobs; one hold */
	bool keep;       /* the partial, after a failure */
	bool want_peers, is_changed, is_disputed;
	uint8_t rank;

	struct kr_metainfo meta; /* hashes NULL: not known */
	int fd;                 /* of the partial, then of the blob; -1: none */
	struct kr_lease *lease; /* fd is its; NULL: ours */
	struct kr_store_blob *stored;
	struct kr_store_partial *partial;
	struct kr_bitset have;
	uint64_t verified_bytes;
	bool is_counted; /* in the gauges of downloads */

	bool in_node;
	uint32_t handle;
	uint64_t from_bytes[KR_PEER_ROLE_COUNT]; /* once out of the node */
	struct kr_peer_hint *hints; /* that came before it was in the node */
	size_t hint_count;
	struct kr_list lookups; /* wait until it is in the node */

	struct kr_list pieces;
	uint32_t block_bytes;
	struct kr_list waits, sends;
	uint32_t readers;      /* bit per reader index in use */
	struct kr_timer timer; /* linger, or the next try to open */
	uint32_t open_tries;
	uint32_t room_tries; /* the store was full */

	struct kr_job job; /* open, resume, commit: one after the other */
	enum kr_err job_err;
	uint32_t resume_piece; /* the job's, as the next one */
	uint64_t resumed_bytes;
	struct kr_file_hash full;
};

struct kr_blob *kr_blob_make(struct kr_transfer *t, const struct kr_digest *d,
			     const char *ns, uint64_t size_bytes);
/* Let go of complete blobs that nobody here refers to. */
void kr_blobs_let_go(struct kr_transfer *t);
void kr_blob_hold(struct kr_blob *b);
void kr_blob_drop(struct kr_blob *b); /* may free it */
struct kr_blob *kr_blob_find(struct kr_transfer *t, const struct kr_digest *d);
struct kr_blob *kr_blob_of_handle(struct kr_transfer *t, uint32_t handle);
/* Put into the table.  KR_E_NOMEM */
KR_NODISCARD enum kr_err kr_blob_list(struct kr_blob *b);
/* Join the swarm with what there is. */
KR_NODISCARD enum kr_err kr_blob_join(struct kr_blob *b, uint32_t lookup);
/* Out of the swarm and the table; waiters and readers get @why. */
void kr_blob_fail(struct kr_blob *b, enum kr_err why, bool keep);
/* Something is due to the user; see kr_transfer_call_back. */
void kr_blob_notice(struct kr_blob *b);
void kr_blob_wake(struct kr_blob *b, enum kr_err err); /* waiters */
/* There is room for @b: tell those who wait for no more than that. */
void kr_blob_wake_room(struct kr_blob *b);
/* A job of it goes to the pool; it ended: a failed partial is let go. */
void kr_blob_job_begin(struct kr_blob *b);
void kr_blob_job_over(struct kr_blob *b);
void kr_blob_count(struct kr_blob *b, bool on); /* in the gauges */
/* Nobody needs it: let it go after KR_BLOB_LINGER_NS. */
void kr_blob_linger(struct kr_blob *b);
/* The transfer goes; the users' references keep the memory. */
void kr_blob_orphan(struct kr_blob *b);

/* blob_open.c */
void kr_blob_open_partial(struct kr_blob *b);
void kr_blob_commit(struct kr_blob *b);
/* Become complete by the store's file.  KR_E_NOTFOUND ... */
KR_NODISCARD enum kr_err kr_blob_open_stored(struct kr_blob *b);

/* blob_piece.c */
/* A block is there; @buf is moved.  false: no memory, fail the blob. */
bool kr_blob_block(struct kr_blob *b, uint32_t piece, uint32_t offset,
		   uint8_t *buf, uint32_t len);
void kr_blob_verify(struct kr_blob *b, uint32_t piece);
void kr_blob_drop_pieces(struct kr_blob *b);
void kr_transfer_spill(struct kr_transfer *t);

/* blob_send.c */
void kr_blob_sends_go_on(struct kr_blob *b);
void kr_blob_sends_fail(struct kr_blob *b, enum kr_err why);

/* ---- the transfer -------------------------------------------------------*/

struct kr_verify { /* up to two pieces on the pool */
	struct kr_job job;
	struct kr_transfer *t;
	struct kr_blob_piece *pieces[2];
	enum kr_err errs[2]; /* KR_E_DIGEST: does not match */
	bool busy;
};

struct kr_spill {
	struct kr_job job;
	struct kr_transfer *t;
	struct kr_blob_piece *piece;
	uint8_t **bufs; /* by block: what was in memory at the start */
	uint32_t *lens;
	enum kr_err err;
	bool busy;
};

struct kr_seek {             /* a KR_ACT_LOOKUP under way */
	struct kr_list link; /* t->answers or blob->lookups, or none */
	struct kr_job job;
	struct kr_transfer *t;
	uint32_t lookup;
	struct kr_digest digest;
	char ns[KR_NAMESPACE_MAX + 1];
	enum kr_err err;
	struct kr_metainfo meta;
	struct kr_store_blob *stored;
	struct kr_ask ask; /* without a store */
	struct kr_lease *lease;
};

struct kr_bad_peer { /* a KR_ACT_BAD to be told */
	struct kr_list link;
	struct kr_blob *blob;
	struct kr_peer_id id;
	struct kr_addr addr;
};

struct kr_transfer_metrics {
	struct kr_metric *in[KR_PEER_ROLE_COUNT], *out[KR_PEER_ROLE_COUNT];
	struct kr_metric *verified, *failed, *requests, *overdue;
	struct kr_metric *duplicate, *discarded;
	struct kr_metric *closes[KR_BYE_REASON_COUNT];
	struct kr_metric *conns, *inflight, *queued, *blobs;
	struct kr_metric *downloads, *download_bytes, *download_verified;
	struct kr_metric *reactor_out, *reactor_conns;
};

struct kr_transfer {
	struct kr_io *io;
	struct kr_store *store; /* or lender */
	const struct kr_lender *lender;
	uint32_t reactor;
	struct kr_list guests;
	uint32_t guest_count;
	struct kr_node *node;
	struct kr_policy policy;
	bool verify_full, is_closing;
	bool is_draining, is_giving;    /* see kr_transfer_pump */
	bool is_call_due, is_stats_due; /* their timers are set */
	void *ctx;
	void (*need_peers)(void *ctx, struct kr_blob *b);
	void (*bad_peer)(void *ctx, struct kr_blob *b,
			 const struct kr_peer_id *id,
			 const struct kr_addr *addr);
	void (*disputed)(void *ctx, struct kr_blob *b);
	void (*changed)(void *ctx, struct kr_blob *b, bool complete);
	void (*need_room)(void *ctx, uint64_t bytes);

	struct kr_listener listener;
	struct kr_timer node_timer, stats_timer, call_timer, close_timer;
	struct kr_digest_map blobs;
	struct kr_u64_map handles; /* the node's -> kr_blob */
	struct kr_u64_map conns;   /* the node's -> kr_wire */
	struct kr_list all_blobs, all_conns;
	uint32_t downloads;

	struct kr_list lost, answers; /* events due to the node */
	struct kr_list ready;         /* connections with output to start */
	struct kr_list notices, bad;  /* call-backs due to the user */
	struct kr_list due_waits, due_sends;

	struct kr_pace up, down; /* limits of all connections together */

	uint32_t jobs; /* on the pool, of lookups, verify and spill; asks */
	struct kr_list verify_queue;
	struct kr_verify verifies[KR_VERIFY_JOBS_MAX];
	uint32_t verify_max;
	struct kr_spill spill;

	struct kr_transfer_metrics metrics;
	struct kr_node_stats told; /* what the metrics know */
};

static inline uint64_t kr_transfer_now(const struct kr_transfer *t)
{
	return kr_io_now_ns(t->io);
}

/* After every event: take all actions, give the events that became due, start
 * the output. */
void kr_transfer_pump(struct kr_transfer *t);
/* Have the call-backs that are due called, soon. */
void kr_transfer_call_back(struct kr_transfer *t);

void kr_transfer_look_up(struct kr_transfer *t, const struct kr_action *a);
void kr_transfer_answer(struct kr_seek *l); /* gives an event */
/* All that wait for @b, which is in the node or will never be. */
void kr_transfer_answer_all(struct kr_blob *b);

void kr_transfer_stats_open(struct kr_transfer *t);
/* Carry the figures over; false: nothing had changed. */
bool kr_transfer_stats_now(struct kr_transfer *t);
void kr_transfer_stats_soon(struct kr_transfer *t);
void kr_transfer_stats_close(struct kr_transfer *t);

#endif
