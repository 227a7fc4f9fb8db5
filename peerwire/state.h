/*
 * peerwire/state.h - the inside of a node: its structures, and what the files
 * of this folder ask of each other.  Included by nobody else.  PURE.
 *
 *	kr_node --- conns --- kr_conn --- streams --- kr_stream --- kr_swarm
 *	   |                     |                       |              |
 *	   |                     +-- requests (ours)     +-- peer's     +-- picker
 *	   |                     +-- uploads (theirs)        have-set   +-- fetches
 *	   +--- blobs ----------------------------------------------> kr_swarm
 *
 * A kr_swarm is a blob we take part in; a kr_stream is a neighbour in it (one
 * blob on one connection); a kr_fetch is a piece on its way in; a kr_request is
 * a block of it asked of one neighbour; a kr_upload is a piece, or a part, that
 * a neighbour asked of us.
 *
 * Files: session.c cuts frames and keeps connections, stream.c opens blobs on
 * them, fetch.c follows a piece from request to verdict, swarm.c chooses whom
 * to ask, slots.c whom to serve, tell.c what to announce, neighbours.c whom to
 * know, actions.c queues what comes out, node.c is the outside.
 */
#ifndef KR_PEERWIRE_STATE_H
#define KR_PEERWIRE_STATE_H

#include "core/list.h"
#include "core/map.h"
#include "core/rand.h"
#include "peerwire/frame.h"
#include "peerwire/msg.h"
#include "peerwire/node.h"
#include "peerwire/picker.h"
#include "peerwire/slab.h"

enum {
	KR_BLOCKS_WORDS = 2,
	KR_BLOCKS_MAX = 64 * KR_BLOCKS_WORDS, /* in a piece */
	KR_FRESH_MAX = 64,                    /* pieces of a HAVE batch */
	KR_BANS_MAX = 32,
	KR_SENDERS_MAX = 4, /* of one piece, remembered */
};
#define KR_NS_PER_S UINT64_C(1000000000)
#define KR_NEVER    UINT64_MAX

/* A rate that forgets: bytes weighted by their age. */
struct kr_meter {
	uint64_t bytes; /* halved every rate_window_ns */
	uint64_t at_ns; /* when it was last halved */
};

/* Which blocks of a piece. */
struct kr_blocks {
	uint64_t words[KR_BLOCKS_WORDS];
};

enum kr_conn_state {
	KR_CONN_DIALING,    /* KR_ACT_DIAL is out */
	KR_CONN_WAIT_HELLO, /* ours is out, theirs is not in */
	KR_CONN_OPEN,
	KR_CONN_CLOSING, /* KR_ACT_CLOSE is not out yet; all else is gone */
};

struct kr_conn {
	struct kr_list all;     /* in node.conns, or node.closing */
	struct kr_list streams; /* of kr_stream.in_conn */
	uint32_t handle;
	uint8_t state; /* enum kr_conn_state */
	uint8_t role;  /* enum kr_peer_role, after its HELLO */
	uint8_t reason;
	bool dialled; /* by us */
	bool broken;  /* no memory to send: closed at the end of the event */
	bool far;     /* of another zone */
	bool leech;   /* it passes nothing on */
	struct kr_peer_id id;
	struct kr_addr addr; /* where it listens, once HELLO said so */

	/* what arrives */
	uint8_t head[KR_FRAME_BLOCK_LEN];
	uint8_t head_len;
	bool in_body; /* the driver moves a block */
	struct kr_frame_head fh;
	uint8_t *body;               /* a control frame that the network cut */
	uint32_t body_len;           /* bytes of it so far */
	uint32_t skip_bytes;         /* of a frame not for us */
	struct kr_request *arriving; /* in_body: NULL if it is discarded */
	uint32_t body_bytes;         /* in_body: its length */
	uint64_t body_since_ns;

	/* what we ask of it */
	struct kr_list requests; /* of kr_request.in_conn, oldest first */
	uint32_t request_count;
	uint32_t piece_count; /* fetches with a block of it that is not begun */
	uint32_t credit;      /* blocks we canceled that may still come */
	uint32_t suspicion;   /* corrupt pieces it had a part in */
	uint64_t load_bytes;  /* queued at it, as it said last */
	uint64_t asked_bytes; /* what we asked since then */
	uint64_t rate_bytes_per_s;
	uint64_t up_bytes_per_s, down_bytes_per_s; /* its limits; 0: none */
	uint64_t rtt_ns;
	uint64_t ask_after_ns, backoff_ns; /* it said busy */
	uint64_t late_ns; /* a request was overdue; no use until it is heard */
	uint64_t body_ns; /* what its blocks take, on average; 0: not known */

	/* what it asks of us */
	struct kr_list uploads; /* of kr_upload.in_conn, oldest first */
	struct kr_list waiting; /* in node.upload_waiting while uploads are */
	struct kr_list
		told_load; /* in node.told_load: it believes we are busy */
	struct kr_upload *serving; /* in a slot */
	bool serve_out;            /* a KR_ACT_SERVE is not served yet */
	uint32_t upload_count;     /* blocks in uploads */
	uint64_t serve_since_ns;
	struct kr_meter sent;      /* what we send it */
	uint64_t gets_bytes_per_s; /* from everybody, as it said last */

	/* is it alive and of use */
	uint64_t since_ns;   /* of its state */
	uint64_t heard_ns;   /* bytes arrived */
	uint64_t pinged_ns;  /* 0: no PONG is awaited */
	uint64_t useful_ns;  /* a block went either way */
	uint64_t fed_ns;     /* it announced a piece */
	uint64_t replies_ns; /* start of the second that replies counts */
	uint32_t replies, lookups, stream_count;
	uint16_t next_stream;
};

enum kr_stream_state {
	KR_STREAM_OPENING, /* our OPEN is out */
	KR_STREAM_LOOKUP,  /* its OPEN waits for the driver's answer */
	KR_STREAM_OPEN,
	KR_STREAM_CLOSING, /* our CLOSE is out, its is not in */
	KR_STREAM_YIELDED, /* our OPEN lost to the dialler's; its CLOSE is due */
};

struct kr_asked {
	uint8_t metainfo_id[KR_SHA256_LEN];
	uint64_t size_bytes;
	uint32_t piece_bytes, block_bytes;
	size_t held_bytes; /* of this and of the have-set */
};

struct kr_stream {
	struct kr_list in_conn;
	struct kr_list in_swarm; /* or in kr_lookup.streams */
	struct kr_conn *conn;
	struct kr_swarm *swarm; /* NULL but in OPENING and OPEN */
	struct kr_lookup *lookup;
	uint64_t digest_hash; /* of the blob, to see OPENs that cross */
	uint16_t id;
	uint8_t state; /* enum kr_stream_state */
	bool ours;     /* we sent the OPEN */
	bool all;      /* the peer has everything; no words then */
	bool hiding;   /* we do not tell it all: told */
	uint32_t has_count;
	uint32_t wanted;        /* pieces it has and we need; not kept if all */
	struct kr_asked *asked; /* LOOKUP: what its OPEN said */
	struct kr_bitset has;   /* words NULL: none (or all) */
	uint32_t open_have_count; /* OPENING: what we had when we sent it */
	struct kr_bitset told;    /* while hiding: what it was told of */
	uint32_t reveal_open; /* told, and no other neighbour announced it */
	uint32_t told_open;   /* told, and not asked of us yet */
	uint32_t told_lacks;  /* told, and not announced by it */
	uint64_t revealed_ns;
};

/* A blob that peers ask for and we have not added. */
struct kr_lookup {
	struct kr_list all; /* in node.lookups */
	struct kr_list streams;
	uint32_t id;
	uint64_t since_ns;
	struct kr_digest digest;
	char ns[KR_NAMESPACE_MAX + 1];
};

/* A host that is said to be in a swarm. */
struct kr_hint {
	struct kr_peer_hint peer;
	uint64_t dial_after_ns;
	uint32_t failures;
	uint32_t absences; /* times it said that it has not the blob */
	uint32_t conn;     /* to that host, as far as we know; 0: none */
};

struct kr_swarm {
	struct kr_list all;     /* in node.swarms, by rank, then age */
	struct kr_list tell;    /* in node.tell while done_due or idle_due */
	struct kr_list streams; /* of kr_stream.in_swarm */
	struct kr_list fetches; /* of kr_fetch.in_swarm */
	struct kr_list orphans; /* fetches with blocks nobody is asked for */
	uint32_t handle;
	uint8_t rank;
	bool by_lookup, done_due, idle_due, idle_said;
	struct kr_digest digest;
	char *ns;
	uint8_t metainfo_id[KR_SHA256_LEN];
	uint64_t size_bytes;
	uint32_t piece_bytes, block_bytes, piece_count;
	struct kr_picker picker;
	uint64_t *solo; /* bitset: fetch from one peer alone; NULL: none */
	uint32_t neighbour_count; /* streams OPENING or OPEN */
	uint32_t complete_count;  /* of those, that have everything */
	uint32_t neighbour_peak;  /* since neighbours were last asked for */
	uint32_t fetch_count;

	/* HAVE */
	uint32_t fresh[KR_FRESH_MAX]; /* verified, not told yet */
	uint32_t fresh_count;
	uint64_t fresh_due_ns;

	/* revealing: NULL unless some stream is hiding */
	uint32_t *revealed_to; /* piece -> handle of the connection; 0: none */
	bool told_few; /* since there were few, and nothing of it taken back */

	/* readers, rule 11 */
	uint32_t readers[KR_NODE_READERS_MAX]; /* UINT32_MAX: none */
	uint32_t reader_count;

	/* neighbours */
	struct kr_hint *hints; /* hints_max of them, once there are any */
	uint32_t hint_count;
	uint64_t peers_asked_ns, peers_after_ns, peers_interval_ns;
	uint64_t fed_ns; /* a neighbour had something for us */

	uint64_t bytes_from[KR_PEER_ROLE_COUNT];
};

struct kr_fetch {
	struct kr_list in_swarm;
	struct kr_list orphan;   /* in swarm.orphans */
	struct kr_list requests; /* of kr_request.in_fetch */
	struct kr_swarm *swarm;
	uint32_t piece, piece_bytes, block_count;
	uint32_t attempts;   /* times it was overdue */
	uint64_t overdue_ns; /* the last time */
	uint32_t avoid;      /* handle of whom not to ask until then */
	uint64_t avoid_until_ns;
	struct kr_blocks got, asked;
	bool solo;                        /* all blocks from one peer */
	bool verifying;                   /* all blocks are there */
	uint32_t sender_count;            /* KR_SENDERS_MAX: or more */
	uint32_t senders[KR_SENDERS_MAX]; /* handles of connections */
	struct kr_peer_id sender_id;      /* of the first */
	struct kr_addr sender_addr;
};

struct kr_request {
	struct kr_list in_conn;
	struct kr_list in_fetch;
	struct kr_fetch *fetch;
	struct kr_stream *stream;
	uint32_t block, len;
	uint64_t ahead_bytes; /* at the peer when we asked, this included */
	uint64_t asked_ns, due_ns;
	bool late;     /* overdue, and a copy is asked of another peer */
	bool arriving; /* the driver moves it */
};

struct kr_upload {
	struct kr_list in_conn;
	struct kr_stream *stream;
	uint32_t piece;
	struct kr_blocks left;
	uint64_t since_ns;
};

struct kr_act { /* what a kr_action is made of when it is taken */
	enum kr_action_type type;
	uint32_t conn, blob, piece, offset, len;
	size_t at; /* KR_ACT_SEND: in node.out */
	bool discard;
	uint8_t head[KR_FRAME_BLOCK_LEN];
	struct kr_addr addr;
	struct kr_peer_id peer;
	uint32_t lookup;
};

struct kr_ban {
	struct kr_peer_id id;
	uint64_t until_ns;
};

struct kr_node {
	const struct kr_alloc *alloc;
	struct kr_policy pol;
	struct kr_peer_id id;
	enum kr_peer_role role;
	char cluster[KR_NAME_MAX + 1], zone[KR_NAME_MAX + 1];
	uint16_t listen_port;
	struct kr_rand rand;
	uint64_t now_ns;
	bool shutting_down;

	struct kr_conn **conn_table; /* by index, conns_max of them */
	uint16_t *conn_gens;
	uint32_t conn_count, conn_next;
	struct kr_list conns, closing;
	struct kr_swarm **swarm_table;
	uint16_t *swarm_gens;
	uint32_t swarm_count, swarm_next;
	struct kr_list swarms;   /* incomplete, by rank, then age */
	struct kr_list complete; /* the others */
	struct kr_list tell;
	struct kr_digest_map by_digest; /* -> kr_swarm */
	struct kr_u64_map streams; /* conn handle << 16 | id -> kr_stream */
	struct kr_list lookups;
	uint32_t lookup_next;
	uint64_t held_bytes; /* of cut frames and of LOOKUP streams' sets */
	struct kr_slab conn_slab, stream_slab, lookup_slab, swarm_slab;
	struct kr_slab fetch_slab, request_slab, upload_slab;
	struct kr_ban bans[KR_BANS_MAX];
	uint32_t ban_next;

	/* what comes out */
	struct kr_act *acts;
	uint32_t act_count, act_cap, act_at;
	uint8_t *out;
	size_t out_len, out_cap;
	uint64_t timer_ns; /* as the driver knows it */
	uint64_t tick_ns;  /* the next walk over deadlines */

	/* fetching */
	uint64_t inflight_bytes;
	uint64_t near_bytes;   /* of those, asked in our own zone */
	uint64_t near_full_ns; /* they last filled half of the window */
	bool far_ok;           /* other zones may be asked, */
	uint64_t far_max;      /* for as much as this at once */
	uint32_t near_count;   /* open connections within our own zone */
	bool window_full;      /* after the last ask, and not much less since */
	uint32_t inflight_count, dial_count;
	struct kr_meter down;
	bool broken; /* some connection is */
	bool ask;    /* something changed that may let us ask */

	/* serving */
	struct kr_list upload_waiting; /* conns with uploads and no slot */
	struct kr_conn **slots;        /* upload_slots conns being served */
	uint32_t slot_count;
	bool serve_due;        /* a slot may have a block that is not out */
	uint32_t upload_count; /* blocks queued */
	uint64_t upload_bytes;
	struct kr_list told_load;

	struct kr_node_stats stats;
};

/* What was given the room its bound asks for has fitted. */
static inline void kr_must(enum kr_err err)
{
	kr_assert(err == KR_OK);
}

/* ---- actions.c ---------------------------------------------------------- */

void *kr_mem_get(struct kr_node *n, size_t bytes); /* zeroed; NULL */
void kr_mem_put(struct kr_node *n, void *ptr);

/* Begin an event: what was queued before has been taken. */
void kr_event_begin(struct kr_node *n, uint64_t now_ns);

/* A queued action to fill in; NULL when there is no memory. */
struct kr_act *kr_act_add(struct kr_node *n, enum kr_action_type type);

/* Room for @cap bytes to be sent; NULL when there is no memory: @c is broken
 * then, and closed at the end of the event.  _end says how many were written.
 * Sending never closes a connection at once, so lists stay walkable. */
uint8_t *kr_send_begin(struct kr_node *n, struct kr_conn *c, size_t cap);
void kr_send_end(struct kr_node *n, struct kr_conn *c, size_t len);

/* Send a frame that is a head and no more. */
void kr_send_plain(struct kr_node *n, struct kr_conn *c,
		   enum kr_frame_type type, uint16_t stream, uint32_t arg);

/* KR_ACT_DONE, KR_ACT_IDLE are due. */
void kr_tell_swarm(struct kr_node *n, struct kr_swarm *s);

/* ---- session.c ---------------------------------------------------------- */

struct kr_conn *kr_conn_get(const struct kr_node *n, uint32_t handle);
struct kr_conn *kr_conn_add(struct kr_node *n, const struct kr_addr *addr,
			    bool dialled); /* NULL: too many, no memory */
/* Say BYE, undo everything that hangs on @c; KR_ACT_CLOSE will come out. */
void kr_conn_close(struct kr_node *n, struct kr_conn *c,
		   enum kr_bye_reason reason);
/* Forget @c, which is CLOSING or gone. */
void kr_conn_free(struct kr_node *n, struct kr_conn *c);
KR_NODISCARD enum kr_err kr_conn_accept(struct kr_node *n,
					const struct kr_addr *from,
					uint32_t *ret_conn);
void kr_conn_connected(struct kr_node *n, struct kr_conn *c);
/* The transport is gone: forget @c. */
void kr_conn_gone(struct kr_node *n, struct kr_conn *c);
/* Cut @buf into frames and deal with them. */
void kr_conn_take(struct kr_node *n, struct kr_conn *c, const uint8_t *buf,
		  size_t len, size_t *ret_taken);
void kr_conn_ping(struct kr_node *n, struct kr_conn *c);
/* The block that @c is sending takes so long that another's is welcome. */
bool kr_conn_stalls(const struct kr_node *n, const struct kr_conn *c);
void kr_conn_tick(struct kr_node *n, struct kr_conn *c);
/* Close the connections that are broken. */
void kr_conn_reap(struct kr_node *n);
/* One more answer to something a peer may send for nothing.  false: too many,
 * @c is being closed. */
bool kr_conn_reply_ok(struct kr_node *n, struct kr_conn *c);
bool kr_peer_id_equal(const struct kr_peer_id *a, const struct kr_peer_id *b);

/* ---- stream.c ----------------------------------------------------------- */

struct kr_stream *kr_stream_get(const struct kr_node *n,
				const struct kr_conn *c, uint16_t id);
struct kr_stream *kr_stream_of(const struct kr_conn *c,
			       const struct kr_swarm *s);
bool kr_stream_has(const struct kr_stream *st, uint32_t piece);
/* What may be asked of it: pieces it has and we need. */
uint32_t kr_stream_wanted(const struct kr_stream *st);
/* The peer's set for the picker: NULL means all. */
const struct kr_bitset *kr_stream_set(const struct kr_stream *st);
/* OPEN @s on @c, unless it is.  false: it could not be. */
bool kr_stream_open(struct kr_node *n, struct kr_conn *c, struct kr_swarm *s);
/* Say CLOSE and leave the swarm on this connection. */
void kr_stream_close(struct kr_node *n, struct kr_stream *st);
/* The connection is going: no CLOSE. */
void kr_stream_free(struct kr_node *n, struct kr_stream *st);
/* Answer the OPENs that wait for @s (NULL: we do not have it); @l is gone. */
void kr_lookup_answer(struct kr_node *n, struct kr_lookup *l,
		      struct kr_swarm *s);
/* The lookup of that number, or of that digest if @d is not NULL. */
struct kr_lookup *kr_lookup_find(const struct kr_node *n, uint32_t id,
				 const struct kr_digest *d);
/* Neither side can give the other anything: close it. */
void kr_stream_close_if_done(struct kr_node *n, struct kr_stream *st);

/* Say so if a blob that was added for peers is open with none. */
void kr_swarm_check_idle(struct kr_node *n, struct kr_swarm *s);
/* Lookups that nobody answered in time are refused. */
void kr_lookup_tick(struct kr_node *n);

void kr_on_open(struct kr_node *n, struct kr_conn *c, const uint8_t *body);
void kr_on_opened(struct kr_node *n, struct kr_conn *c, const uint8_t *body);
void kr_on_have(struct kr_node *n, struct kr_conn *c, const uint8_t *body);
void kr_on_close(struct kr_node *n, struct kr_conn *c);
void kr_on_reject(struct kr_node *n, struct kr_conn *c, const uint8_t *body);

/* ---- fetch.c ------------------------------------------------------------ */

/* Begin to fetch @piece; NULL when there is no memory. */
struct kr_fetch *kr_fetch_begin(struct kr_node *n, struct kr_swarm *s,
				uint32_t piece);
/* Give up on a piece: requests are canceled, it is needed again. */
void kr_fetch_drop(struct kr_node *n, struct kr_fetch *f);
/* Ask @st for every block of @f that nobody is asked for. */
bool kr_fetch_ask(struct kr_node *n, struct kr_fetch *f, struct kr_stream *st);
/* Ask @st for a copy of the block of the late @r. */
void kr_fetch_ask_copy(struct kr_node *n, struct kr_request *r,
		       struct kr_stream *st);
/* @r will not be answered (@cancel: tell the peer so). */
void kr_request_end(struct kr_node *n, struct kr_request *r, bool cancel);
/* All requests on @st end, as it goes. */
void kr_requests_end_on(struct kr_node *n, struct kr_stream *st, bool cancel);
/* May @st be asked for @block of @f: it is not, and solo pieces keep to one. */
bool kr_fetch_may_ask(const struct kr_node *n, const struct kr_fetch *f,
		      const struct kr_stream *st);
bool kr_fetch_copies_max(const struct kr_node *n, const struct kr_request *r);

void kr_on_block(struct kr_node *n, struct kr_conn *c);
void kr_fetch_body_done(struct kr_node *n, struct kr_conn *c);
void kr_fetch_verdict(struct kr_node *n, struct kr_swarm *s, uint32_t piece,
		      bool ok);
void kr_fetch_rejected(struct kr_node *n, struct kr_stream *st,
		       const struct kr_msg_reject *m);

/* ---- swarm.c ------------------------------------------------------------ */

struct kr_swarm *kr_swarm_get(const struct kr_node *n, uint32_t handle);
uint64_t kr_window_bytes(const struct kr_node *n);
/* How long a request to @c would wait before its bytes begin to come. */
uint64_t kr_conn_wait_ns(const struct kr_node *n, const struct kr_conn *c);
uint64_t kr_request_due_ns(const struct kr_node *n, const struct kr_conn *c,
			   uint32_t len, uint32_t attempts);
/* The peer said how much it has queued for upload. */
void kr_conn_load(struct kr_node *n, struct kr_conn *c, uint32_t kib);
/* Ask while there is room and somebody to ask. */
void kr_swarm_ask(struct kr_node *n);
/* Deal with the requests on @c that are overdue. */
void kr_swarm_overdue(struct kr_node *n, struct kr_conn *c);
/* Is every missing piece asked for? */
bool kr_swarm_endgame(const struct kr_swarm *s);
/* The last piece is there. */
void kr_swarm_done(struct kr_node *n, struct kr_swarm *s);

void kr_meter_add(const struct kr_node *n, struct kr_meter *m, uint64_t bytes);
uint64_t kr_meter_bytes_per_s(const struct kr_node *n,
			      const struct kr_meter *m);

/* ---- rates.c ------------------------------------------------------------ */

/* A limit as a peer told it, 0 or one that we go along with. */
uint64_t kr_rate_told(const struct kr_node *n, uint64_t bytes_per_s);
/* Under an upload limit: would a block of each slot take over a second? */
bool kr_rate_is_slow(const struct kr_node *n, uint64_t bytes_per_s);
/* Slots of a host with that upload limit (0: none). */
uint64_t kr_rate_slots(const struct kr_node *n, uint64_t bytes_per_s);
/* The window of a host that gets, or is allowed, that much. */
uint64_t kr_rate_window_bytes(const struct kr_node *n, uint64_t bytes_per_s,
			      bool is_limit);
/* By how much more than without limits something may take: a block from its
 * head to its end, */
uint64_t kr_rate_body_ns(const struct kr_node *n, const struct kr_conn *c);
/* a block of @len from when @c knows of our request to its head, */
uint64_t kr_rate_request_ns(const struct kr_node *n, const struct kr_conn *c,
			    uint32_t len);
/* a frame to @c, which may stand behind blocks on both sides, */
uint64_t kr_rate_path_ns(const struct kr_node *n, const struct kr_conn *c);
/* an answer of @c, which may read our frames behind a block, */
uint64_t kr_rate_silence_ns(const struct kr_node *n, const struct kr_conn *c);
/* a block that we serve. */
uint64_t kr_rate_serve_ns(const struct kr_node *n);
/* How long something of @c may take that stands behind what we have asked for,
 * as fast as that comes; 0 if we have asked nobody else. */
uint64_t kr_rate_backlog_ns(const struct kr_node *n, const struct kr_conn *c);

/* ---- slots.c ------------------------------------------------------------ */

void kr_on_request(struct kr_node *n, struct kr_conn *c, const uint8_t *body);
void kr_on_cancel(struct kr_node *n, struct kr_conn *c, const uint8_t *body);
/* @c may have become free, or waiting, for a slot. */
void kr_slots_settle(struct kr_node *n, struct kr_conn *c);
void kr_slots_run(struct kr_node *n);
void kr_slots_served(struct kr_node *n, struct kr_conn *c);
/* Drop what is queued on @st (NULL: on all of @c). */
void kr_slots_forget(struct kr_node *n, struct kr_conn *c,
		     const struct kr_stream *st);

/* ---- tell.c ------------------------------------------------------------- */

/* A piece is verified: neighbours will hear of it. */
void kr_tell_piece(struct kr_node *n, struct kr_swarm *s, uint32_t piece);
/* Say HAVE of some ranges, ascending and apart, that are not secret. */
void kr_tell_ranges(struct kr_node *n, struct kr_stream *st,
		    const struct kr_have_range *ranges, uint32_t count);
void kr_tell_flush(struct kr_node *n, struct kr_swarm *s);
/* What a neighbour is told when the stream opens, as kr_have_encode does. */
KR_NODISCARD enum kr_err kr_tell_first(struct kr_node *n, struct kr_stream *st,
				       uint8_t *buf, size_t cap,
				       size_t *ret_len);
size_t kr_tell_first_max(const struct kr_swarm *s);
void kr_tell_load(struct kr_node *n); /* the upload queue ran dry */
/* @st announced @piece: whom we revealed it to has passed it on. */
void kr_reveal_announced(struct kr_node *n, struct kr_stream *st,
			 uint32_t piece);
/* @st asks for a piece that it was told of. */
void kr_reveal_asked(struct kr_node *n, struct kr_stream *st);
void kr_reveal_tick(struct kr_node *n, struct kr_swarm *s);
void kr_reveal_forget(struct kr_node *n, struct kr_stream *st);

/* ---- neighbours.c ------------------------------------------------------- */

void kr_neighbours_hints(struct kr_node *n, struct kr_swarm *s,
			 const struct kr_peer_hint *hints, size_t count);
/* Dial, or ask for more hosts, if @s has too few. */
void kr_neighbours_seek(struct kr_node *n, struct kr_swarm *s);
/* Is nobody but us after @s, as far as we know: all neighbours are origins,
 * proxies or complete, and so are all of whom we were told? */
bool kr_neighbours_alone(const struct kr_swarm *s);
/* @c said HELLO: open what its host is known to have. */
void kr_neighbours_met(struct kr_node *n, struct kr_conn *c);
/* Nothing came of @c; hints of its address wait. */
void kr_neighbours_failed(struct kr_node *n, const struct kr_conn *c,
			  bool for_good);
/* May a peer with @has_count pieces join @s?  Makes room if it must. */
bool kr_neighbours_admit(struct kr_node *n, struct kr_swarm *s,
			 uint32_t has_count);
/* @c refused @s until @after_ns. */
void kr_neighbours_full(struct kr_node *n, struct kr_swarm *s,
			const struct kr_conn *c, uint64_t after_ns);
/* @c has not the blob of @s: an origin or a proxy is asked again soon. */
void kr_neighbours_absent(struct kr_node *n, struct kr_swarm *s,
			  const struct kr_conn *c);
/* Close @c if it is of no use to either side. */
void kr_neighbours_useless(struct kr_node *n, struct kr_conn *c);
bool kr_peer_is_banned(const struct kr_node *n, const struct kr_peer_id *id);
void kr_peer_ban(struct kr_node *n, const struct kr_peer_id *id);

#endif
