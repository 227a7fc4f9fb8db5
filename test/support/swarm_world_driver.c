#include <stdlib.h>
#include <string.h>

#include "core/err.h"
#include "peerwire/frame.h"
#include "test/support/swarm_world_internal.h"

/* ---- playing the driver ------------------------------------------------- */

static void do_dial(struct world *w, uint32_t host, const struct kr_action *a)
{
	const uint32_t peer = a->addr.ip[15] - 1u;
	struct world_link *l = world_take_link(w);

	kr_assert(peer < w->host_count);
	l->end[0] = (struct end){
		.host = host, .conn = a->conn, .alive = true, .in = l->end[0].in
	};
	l->end[1].host = peer;
	l->end[0].in.tail = &l->end[0].in.head;
	world_push_event(
		w, (struct world_event){ .type = EV_DIALLED,
					 .at_ns = w->now_ns + 2 * l->latency_ns,
					 .link = (uint32_t)(l - w->links),
					 .gen = l->gen });
}

static void do_send(struct world *w, uint32_t host, const struct kr_action *a)
{
	struct world_link *l;
	struct end *e = world_end_of_conn(w, host, a->conn, &l);
	struct segment *s;

	if (e == NULL || l->blackhole)
		return;
	s = world_send_segment(w, l, e, a->len, w->now_ns);
	s->len = a->len;
	memcpy(s->bytes, a->bytes, a->len);
	if (world_strikes(w, w->chance.garble_ppm))
		s->bytes[world_draw(w, a->len)] ^=
			(uint8_t)(1u << world_draw(w, 8));
}

static void do_serve(struct world *w, uint32_t host, const struct kr_action *a)
{
	struct world_host *h = &w->hosts[host];
	const uint32_t blob = world_blob_of_handle(w, host, a->blob);
	struct world_link *l;
	struct end *e = world_end_of_conn(w, host, a->conn, &l);
	struct segment *s;

	kr_assert(blob != UINT32_MAX);
	kr_assert(world_has_piece(&h->copies[blob], a->piece));
	kr_assert(a->offset % world_block_len(w, &w->blobs[blob]) == 0);
	kr_assert(a->offset + a->len <=
		  world_piece_len(&w->blobs[blob], a->piece));
	kr_assert(a->head_len == KR_FRAME_BLOCK_LEN);
	if (e == NULL)
		return;
	h->egress_free_ns = world_later(h->egress_free_ns, w->now_ns) +
			    a->len * WORLD_S / h->up_bytes_per_s;
	h->served_bytes += a->len;
	world_push_event(w,
			 (struct world_event){ .type = EV_SERVED,
					       .at_ns = h->egress_free_ns,
					       .link = (uint32_t)(l - w->links),
					       .to = e == &l->end[1],
					       .gen = l->gen });
	if (l->blackhole)
		return;
	s = world_send_segment(w, l, e, a->head_len, w->now_ns);
	s->len = a->head_len;
	memcpy(s->bytes, a->head, a->head_len);
	struct world_host *to = &w->hosts[l->end[e == &l->end[0]].host];
	to->ingress_free_ns =
		world_later(to->ingress_free_ns,
			    h->egress_free_ns -
				    a->len * WORLD_S / h->up_bytes_per_s) +
		a->len * WORLD_S / to->down_bytes_per_s;
	s = world_send_segment(
		w, l, e, 0,
		world_later(h->egress_free_ns, to->ingress_free_ns));
	s->is_block = true;
	s->blob = blob;
	s->piece = a->piece;
	s->offset = a->offset;
	s->len = a->len;
	s->damaged = world_draw(w, 1000) < h->lie_permille ||
		     world_strikes(w, w->chance.damage_ppm);
}

static void do_body(struct world *w, uint32_t host, const struct kr_action *a)
{
	struct world_link *l;
	struct end *e = world_end_of_conn(w, host, a->conn, &l);

	kr_assert(e != NULL && !e->in_body);
	e->in_body = true;
	e->discard = a->discard;
	e->piece = a->piece;
	e->offset = a->offset;
	e->len = a->len;
	e->blob = a->discard ? UINT32_MAX
			     : world_blob_of_handle(w, host, a->blob);
	kr_assert(a->discard || e->blob != UINT32_MAX);
}

static void do_verify(struct world *w, uint32_t host, const struct kr_action *a)
{
	const uint32_t blob = world_blob_of_handle(w, host, a->blob);
	const struct world_blob *b = &w->blobs[blob];
	struct world_copy *c = world_copy_of(w, host, blob);
	const uint32_t per = world_blocks_per_piece(w, b),
		       len = world_block_len(w, b);
	bool ok = true;

	kr_assert(!world_has_piece(c, a->piece)); /* a piece is accepted once */
	for (uint32_t i = 0; i * len < world_piece_len(b, a->piece); i++) {
		uint8_t *state = &c->blocks[a->piece * per + i];

		kr_assert(*state != 0);
		ok &= *state == 1;
		*state = 0;
	}
	world_push_event(
		w, (struct world_event){ .type = EV_VERIFIED,
					 .at_ns = w->now_ns +
						  world_draw(w, 3 * WORLD_MS),
					 .host = host,
					 .gen = w->hosts[host].restarts,
					 .blob = blob,
					 .piece = a->piece,
					 .handle = a->blob,
					 .ok = ok });
}

static void do_lookup(struct world *w, uint32_t host, const struct kr_action *a)
{
	uint32_t blob = 0;

	kr_assert(strcmp(a->ns, "library/test") == 0 ||
		  w->chance.garble_ppm > 0);
	while (blob < w->blob_count &&
	       !kr_digest_equal(&w->blobs[blob].digest, &a->digest))
		blob++;
	world_push_event(
		w, (struct world_event){ .type = EV_LOOKUP,
					 .at_ns = w->now_ns +
						  world_draw(w, 5 * WORLD_MS),
					 .host = host,
					 .gen = w->hosts[host].restarts,
					 .blob = blob,
					 .lookup = a->lookup });
}

void world_lose_end(struct world *w, struct world_link *l, int e)
{
	l->end[e].alive = false;
	(void)w;
	world_free_link(l);
}

static void do_close(struct world *w, uint32_t host, const struct kr_action *a)
{
	struct world_link *l;
	struct end *e = world_end_of_conn(w, host, a->conn, &l);

	if (a->reason == KR_BYE_CORRUPT)
		w->hosts[host].closes_corrupt++;
	if (e == NULL)
		return;
	if (l->end[e == &l->end[0]].alive && !l->blackhole)
		world_send_segment(w, l, e, 0, w->now_ns)->is_end = true;
	world_lose_end(w, l, e == &l->end[1]);
}

static void do_done(struct world *w, uint32_t host, const struct kr_action *a)
{
	const uint32_t blob = world_blob_of_handle(w, host, a->blob);
	struct world_copy *c = world_copy_of(w, host, blob);

	for (uint32_t i = 0; i < w->blobs[blob].piece_count; i++)
		kr_assert(world_has_piece(c, i));
	kr_assert(!c->done);
	c->done = true;
	c->done_ns = w->now_ns;
}

static void do_action(struct world *w, uint32_t host, const struct kr_action *a)
{
	struct world_host *h = &w->hosts[host];
	uint32_t blob;

	world_trace(w, (uint64_t)a->type << 56 ^ (uint64_t)a->conn << 24 ^
			       (uint64_t)host << 48 ^ a->piece ^
			       (uint64_t)a->len << 8);
	switch (a->type) {
	case KR_ACT_DIAL:
		do_dial(w, host, a);
		break;
	case KR_ACT_SEND:
		do_send(w, host, a);
		break;
	case KR_ACT_SERVE:
		do_serve(w, host, a);
		break;
	case KR_ACT_BODY:
		do_body(w, host, a);
		break;
	case KR_ACT_VERIFY:
		do_verify(w, host, a);
		break;
	case KR_ACT_LOOKUP:
		do_lookup(w, host, a);
		break;
	case KR_ACT_DONE:
		do_done(w, host, a);
		break;
	case KR_ACT_PEERS:
		blob = world_blob_of_handle(w, host, a->blob);
		h->copies[blob].peers_asked++;
		world_push_event(
			w, (struct world_event){
				   .type = EV_PEERS,
				   .at_ns = w->now_ns + world_draw(w, 4000000),
				   .host = host,
				   .gen = h->restarts,
				   .blob = blob });
		break;
	case KR_ACT_IDLE:
		blob = world_blob_of_handle(w, host, a->blob);
		h->copies[blob].idle_told++;
		world_push_event(
			w, (struct world_event){
				   .type = EV_IDLE,
				   .at_ns = w->now_ns + world_draw(w, 9000000),
				   .host = host,
				   .gen = h->restarts,
				   .blob = blob,
				   .handle = a->blob });
		break;
	case KR_ACT_DISPUTE: /* all hosts have the same metainfo */
		break;
	case KR_ACT_BAD:
		h->bad_reports++;
		break;
	case KR_ACT_CLOSE:
		do_close(w, host, a);
		break;
	case KR_ACT_TIMER:
		kr_assert(a->at_ns != h->timer_ns);
		h->timer_ns = a->at_ns;
		world_push_event(w, (struct world_event){ .type = EV_TIMER,
							  .at_ns = a->at_ns,
							  .host = host,
							  .gen = h->restarts });
		break;
	}
}

void world_drain(struct world *w, uint32_t host)
{
	struct kr_action a;

	while (w->hosts[host].up &&
	       kr_node_next_action(w->hosts[host].node, &a))
		do_action(w, host, &a);
	w->events++;
	if (w->check_every != 0 && w->events % w->check_every == 0)
		kr_node_check(w->hosts[host].node);
}
