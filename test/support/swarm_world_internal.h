/*
 * test/support/swarm_world_internal.h - the inside of a swarm_world: events,
 * links, and what its files ask of each other.
 *
 * swarm_world_net.c has the queue of events and the links, swarm_world_driver.c
 * does what nodes ask for, swarm_world.c has the hosts and lets things happen.
 */
#ifndef KR_TEST_SWARM_WORLD_INTERNAL_H
#define KR_TEST_SWARM_WORLD_INTERNAL_H

#include "test/support/swarm_world.h"

enum event_type {
	EV_TIMER,    /* host */
	EV_DELIVER,  /* link, to: the next segment arrives */
	EV_DIALLED,  /* link: the other host hears of it */
	EV_SERVED,   /* link, to = the server's end */
	EV_VERIFIED, /* host, blob, piece, ok */
	EV_LOOKUP,   /* host, blob, lookup */
	EV_PEERS,    /* host, blob: the tracker answers */
	EV_CLOSED,   /* link, to */
	EV_BACK,     /* host comes back */
	EV_IDLE,     /* host, blob: nobody uses what a lookup added */
};

struct world_event {
	uint64_t at_ns, seq;
	enum event_type type;
	uint32_t host, link, to, gen;
	uint32_t blob, piece, lookup, handle;
	bool ok;
};

/* What travels: bytes, a block, or the end. */
struct segment {
	struct segment *next;
	uint64_t at_ns;
	bool is_block, is_end, damaged;
	uint32_t blob, piece, offset, len, used;
	uint8_t bytes[];
};

struct direction { /* to end 0 or 1 */
	struct segment *head, **tail;
	uint64_t last_ns; /* arrival of the last one */
	bool scheduled;
};

struct end {
	uint32_t host, conn;
	bool alive;
	bool in_body, discard;
	uint32_t blob, piece, offset, len; /* of the body */
	struct direction in;
};

struct world_link {
	bool used, blackhole;
	uint32_t gen;
	uint64_t latency_ns;
	struct end end[2]; /* 0 dialled */
};

/* ---- swarm_world_net.c -------------------------------------------------- */

uint32_t world_draw(struct world *w, uint32_t below);
/* Does a fault of that chance strike?  Counted if so. */
bool world_strikes(struct world *w, uint32_t ppm);
void world_trace(struct world *w, uint64_t v);
void world_push_event(struct world *w, struct world_event ev);
struct world_event world_pop_event(struct world *w);
/* ---- swarm_world.c ------------------------------------------------------ */

struct kr_addr world_addr_of(uint32_t host);
void world_open_node(struct world *w, uint32_t host);
uint32_t world_piece_len(const struct world_blob *b, uint32_t piece);
uint32_t world_block_len(const struct world *w, const struct world_blob *b);
uint32_t world_blocks_per_piece(const struct world *w,
				const struct world_blob *b);
bool world_has_piece(const struct world_copy *c, uint32_t piece);
struct world_copy *world_copy_of(struct world *w, uint32_t host, uint32_t blob);
uint32_t world_blob_of_handle(const struct world *w, uint32_t host,
			      uint32_t handle);
enum kr_err world_add_to_node(struct world *w, uint32_t host, uint32_t blob,
			      uint32_t lookup);
struct kr_peer_hint world_hint_of(const struct world *w, uint32_t blob,
				  uint32_t peer);
/* ---- swarm_world_net.c: links ------------------------------------------- */

void world_clear_direction(struct direction *d);
void world_free_link(struct world_link *l);
struct world_link *world_take_link(struct world *w);
struct end *world_end_of_conn(struct world *w, uint32_t host, uint32_t conn,
			      struct world_link **ret_link);
void world_schedule(struct world *w, struct world_link *l, uint32_t to);
struct segment *world_send_segment(struct world *w, struct world_link *l,
				   const struct end *from, size_t bytes,
				   uint64_t at_ns);
uint64_t world_later(uint64_t a, uint64_t b);
/* ---- swarm_world_driver.c ----------------------------------------------- */

void world_lose_end(struct world *w, struct world_link *l, int e);
/* Do all that the node of @host asks for. */
void world_drain(struct world *w, uint32_t host);

#endif
