/*
 * bench/swarm_sim/net.h - the network of the simulation: hosts with network
 * cards, links between them, zones with an uplink each.
 *
 * A link carries two ordered streams of control bytes and blocks, as a TCP
 * connection does.
 *
 *	net_send_block --> the sender's card, one block at a time at `up`, in
 *	    order of arrival; a link has one block there, so links take turns
 *	--> [uplinks of the zones, if the link crosses]
 *	--> latency: the head arrives (on_block)
 *	--> the receiver's card, at `down`, blocks in order of their heads
 *	--> on_block_end
 *
 * A block moves through both cards at once (cut-through), but is the user's
 * only when it has ended.  on_served says that the sender's card is done with
 * it and that what the receiver has not got yet fits into the link's socket
 * buffers: a slow receiver holds its transfer up.
 *
 * Control bytes do not wait for other links' blocks, but for the blocks that
 * their own link sent before; their time on both cards is added to the next
 * block there.
 *
 * All calls only push events: call-backs come out of net_happen alone.
 */
#ifndef KR_BENCH_NET_H
#define KR_BENCH_NET_H

#include <stdbool.h>
#include <stdint.h>

#include "bench/swarm_sim/queue.h"
#include "core/rand.h"

enum { NET_HEAD_MAX = 24, NET_CONN_NONE = 0 };

/* Which bytes a block is, and whether they are still those. */
struct net_block {
	uint32_t len, piece, offset;
	uint8_t blob;
	bool damaged;
};

struct net_host {
	uint64_t up, down; /* bytes per second */
	uint32_t zone;
	bool up_now; /* false: dead */
	bool mute;   /* dead, and nobody is told */
	/* the card */
	bool sending;
	uint32_t tx_head, tx_tail; /* of net.tx */
	uint64_t rx_free_ns;
	uint64_t tx_debt, rx_debt; /* control bytes not yet charged */
	/* figures */
	uint64_t sent_bytes, got_bytes, sent_control, got_control;
	uint64_t messages, busy_ns;
};

struct net_end { /* of a link; [0] dialled */
	uint32_t host;
	uint32_t conn; /* the user's name for it */
	bool alive;
	bool pumping;        /* an event is under way for its head segment */
	bool served_due;     /* its sender waits for room in the buffers */
	uint32_t backlog;    /* bytes of blocks sent to it and not received */
	uint32_t head, tail; /* of net.segs: what travels to this end */
	/* the user's: the block that arrives */
	struct net_block body;
	bool in_body, discard;
};

struct net_link {
	struct net_end end[2];
	uint64_t latency_ns;
	uint32_t gen, next_free;
	bool used, cut; /* cut: nothing arrives any more */
};

struct net;

struct net_ops {
	/* @link was dialled to its end 1: false refuses; sets end[1].conn. */
	bool (*on_accept)(void *ctx, uint32_t link);
	void (*on_connected)(void *ctx, uint32_t link); /* end 0 */
	/* The end's link is gone, or could not be made. */
	void (*on_closed)(void *ctx, uint32_t link, int end);
	void (*on_bytes)(void *ctx, uint32_t link, int end,
			 const uint8_t *bytes, uint32_t len);
	/* The head of a block arrives / its last byte has. */
	void (*on_block)(void *ctx, uint32_t link, int end, const uint8_t *head,
			 uint32_t head_len, const struct net_block *b);
	void (*on_block_end)(void *ctx, uint32_t link, int end,
			     const struct net_block *b);
	void (*on_served)(void *ctx, uint32_t link, int end);
};

struct net_seg;
struct net_tx;

struct net {
	struct sim_queue *queue; /* borrowed */
	const struct net_ops *ops;
	void *ctx;
	struct kr_rand rand;
	uint64_t now_ns;
	uint64_t latency_min_ns, latency_max_ns, dial_ns, socket_bytes;
	uint64_t uplink; /* bytes per second of a zone each way; 0: no limit */
	uint64_t uplink_free_ns[64], downlink_free_ns[64];
	uint64_t cross_bytes[64]; /* into a zone from others */
	struct net_host *hosts;
	uint32_t host_count;
	struct net_link *links; /* by index; 0 is none */
	uint32_t link_count, link_cap, link_free, links_used;
	struct net_seg *segs;
	uint32_t seg_count, seg_cap, seg_free;
	struct net_tx *tx;
	uint32_t tx_count, tx_cap, tx_free;
};

/* Events of types NET_EV_FIRST and above are the network's. */
enum { NET_EV_FIRST = 100 };

void net_init(struct net *n, struct sim_queue *q, uint32_t host_count,
	      uint64_t seed);
void net_fini(struct net *n);
void net_happen(struct net *n, const struct sim_event *ev);

/* @from's user calls the link @conn.  Returns the link. */
uint32_t net_dial(struct net *n, uint32_t from, uint32_t to, uint32_t conn);

/* End @end of @link sends. */
void net_send(struct net *n, uint32_t link, int end, const uint8_t *bytes,
	      uint32_t len);
void net_send_block(struct net *n, uint32_t link, int end, const uint8_t *head,
		    uint32_t head_len, const struct net_block *b);

/* Close one end; the other gets what was sent, then on_closed. */
void net_close(struct net *n, uint32_t link, int end);

/* Break a link: on_closed at both ends, after the latency. */
void net_reset(struct net *n, uint32_t link);

/* The host dies: its peers' ends close (or not: @mute). */
void net_kill(struct net *n, uint32_t host, bool mute);

#endif
