/*
 * All that must be true of a node between two events, counted afresh.
 */
#include "peerwire/blocks.h"
#include "peerwire/state.h"

struct sums {
	uint64_t inflight_bytes, upload_bytes, held_bytes;
	uint32_t inflight, uploads, dials, streams, in_swarms, lookups;
};

static uint32_t list_len(const struct kr_list *l)
{
	uint32_t count = 0;

	kr_list_for_each (it, l)
		count++;
	return count;
}

static void check_uploads(const struct kr_conn *c, struct sums *sum)
{
	uint32_t count = 0;

	kr_list_for_each (it, &c->uploads) {
		const struct kr_upload *u =
			KR_CONTAINER_OF(it, struct kr_upload, in_conn);
		const struct kr_swarm *s = u->stream->swarm;

		kr_assert(u->stream->conn == c && s != NULL);
		kr_assert(kr_bitset_test(&s->picker.have, u->piece));
		kr_assert(kr_blocks_count(&u->left) > 0);
		for (uint32_t i = 0; i < KR_BLOCKS_MAX; i++) {
			if (!kr_blocks_test(&u->left, i))
				continue;
			kr_assert(i < kr_block_count(s, u->piece));
			sum->upload_bytes += kr_block_len(s, u->piece, i);
			count++;
		}
	}
	kr_assert(c->upload_count == count);
	sum->uploads += count;
}

static void check_requests(const struct kr_conn *c, struct sums *sum)
{
	bool arriving = c->arriving == NULL;

	kr_assert(list_len(&c->requests) == c->request_count);
	kr_list_for_each (it, &c->requests) {
		const struct kr_request *r =
			KR_CONTAINER_OF(it, struct kr_request, in_conn);

		kr_assert(r->stream->conn == c);
		kr_assert(r->stream->swarm == r->fetch->swarm);
		kr_assert(kr_blocks_test(&r->fetch->asked, r->block));
		kr_assert(!kr_blocks_test(&r->fetch->got, r->block));
		kr_assert(r->arriving == (c->arriving == r));
		arriving |= r->arriving;
		sum->inflight_bytes += r->len;
		sum->inflight++;
	}
	kr_assert(arriving && (c->arriving == NULL || c->in_body));
}

static void check_stream(const struct kr_node *n, const struct kr_stream *st,
			 struct sums *sum)
{
	const struct kr_swarm *s = st->swarm;

	sum->streams++;
	kr_assert(kr_stream_get(n, st->conn, st->id) == st);
	kr_assert((s != NULL) == (st->state == KR_STREAM_OPENING ||
				  st->state == KR_STREAM_OPEN));
	kr_assert((st->lookup != NULL) == (st->state == KR_STREAM_LOOKUP));
	kr_assert((st->lookup != NULL) == (st->asked != NULL));
	if (st->asked != NULL)
		sum->held_bytes += st->asked->held_bytes;
	if (s == NULL)
		return;
	sum->in_swarms++;
	kr_assert(!st->all || st->has.words == NULL);
	kr_assert(st->hiding == (st->told.words != NULL));
	if (st->has.words == NULL)
		return;
	kr_assert(st->has_count == kr_bitset_count(&st->has));
	kr_assert(st->has_count < s->piece_count);
	kr_assert(st->wanted == kr_picker_wanted(&s->picker, &st->has));
}

static void check_conn(const struct kr_node *n, const struct kr_conn *c,
		       struct sums *sum)
{
	uint32_t lookups = 0;

	kr_assert(kr_conn_get(n, c->handle) == c);
	kr_assert(c->head_len <= KR_FRAME_BLOCK_LEN);
	sum->dials += c->state == KR_CONN_DIALING;
	sum->held_bytes += c->body != NULL ? c->fh.len : 0;
	kr_assert(list_len(&c->streams) == c->stream_count);
	kr_list_for_each (it, &c->streams) {
		const struct kr_stream *st =
			KR_CONTAINER_OF(it, struct kr_stream, in_conn);
		kr_assert(st->conn == c);
		lookups += st->lookup != NULL;
		check_stream(n, st, sum);
	}
	kr_assert(lookups == c->lookups);
	if (c->state != KR_CONN_OPEN)
		kr_assert(c->stream_count == 0 && c->request_count == 0);
	check_requests(c, sum);
	check_uploads(c, sum);
	kr_assert(kr_list_empty(&c->waiting) || c->serving == NULL);
}

static void check_fetch(const struct kr_fetch *f)
{
	struct kr_blocks asked = { { 0 } };
	uint32_t covered;

	kr_list_for_each (it, &f->requests) {
		const struct kr_request *r =
			KR_CONTAINER_OF(it, struct kr_request, in_fetch);
		kr_assert(r->fetch == f && r->block < f->block_count);
		kr_blocks_set(&asked, r->block);
	}
	for (uint32_t i = 0; i < KR_BLOCKS_WORDS; i++) {
		kr_assert(asked.words[i] == f->asked.words[i]);
		kr_assert((f->got.words[i] & f->asked.words[i]) == 0);
	}
	covered = kr_blocks_count(&f->got) + kr_blocks_count(&f->asked);
	kr_assert(covered <= f->block_count);
	kr_assert(kr_list_empty(&f->orphan) ==
		  (f->verifying || covered == f->block_count));
	kr_assert(!f->verifying || kr_blocks_count(&f->got) == f->block_count);
}

static void check_swarm(const struct kr_node *n, const struct kr_swarm *s,
			bool complete)
{
	const struct kr_picker *p = &s->picker;
	uint32_t complete_count = 0, readers = 0;

	kr_assert(kr_swarm_get(n, s->handle) == s);
	kr_picker_check(p);
	kr_assert(kr_picker_complete(p) == complete);
	kr_assert(list_len(&s->fetches) == s->fetch_count);
	kr_assert(p->have_count + p->need_count + s->fetch_count ==
		  s->piece_count);
	kr_list_for_each (it, &s->fetches) {
		const struct kr_fetch *f =
			KR_CONTAINER_OF(it, struct kr_fetch, in_swarm);
		kr_assert(f->swarm == s && !kr_bitset_test(&p->need, f->piece));
		kr_assert(!kr_bitset_test(&p->have, f->piece));
		check_fetch(f);
	}
	kr_assert(list_len(&s->streams) == s->neighbour_count);
	kr_list_for_each (it, &s->streams) {
		const struct kr_stream *st =
			KR_CONTAINER_OF(it, struct kr_stream, in_swarm);
		kr_assert(st->swarm == s);
		complete_count += st->all;
	}
	kr_assert(complete_count == s->complete_count);
	for (uint32_t i = 0; i < KR_NODE_READERS_MAX; i++)
		readers += s->readers[i] != UINT32_MAX;
	kr_assert(readers == s->reader_count);
	kr_assert(s->fresh_count < KR_FRESH_MAX);
}

static void check_slots(const struct kr_node *n)
{
	for (uint32_t i = 0; i < n->slot_count; i++) {
		const struct kr_conn *c = n->slots[i];

		kr_assert(c->state == KR_CONN_OPEN);
		kr_assert(c->serve_out || c->serving != NULL || c->broken);
		kr_assert(c->serve_out || n->serve_due || c->broken);
		for (uint32_t k = 0; k < i; k++)
			kr_assert(n->slots[k] != c);
	}
	kr_assert(n->slot_count <= 2 * n->pol.upload_slots);
}

void kr_node_check(const struct kr_node *n)
{
	struct sums sum = { 0 };
	uint32_t streams = 0;

	kr_list_for_each (it, &n->conns)
		check_conn(n, KR_CONTAINER_OF(it, struct kr_conn, all), &sum);
	kr_list_for_each (it, &n->swarms)
		check_swarm(n, KR_CONTAINER_OF(it, struct kr_swarm, all),
			    false);
	kr_list_for_each (it, &n->complete)
		check_swarm(n, KR_CONTAINER_OF(it, struct kr_swarm, all), true);
	kr_list_for_each (it, &n->swarms)
		streams += KR_CONTAINER_OF(it, struct kr_swarm, all)
				   ->neighbour_count;
	kr_list_for_each (it, &n->complete)
		streams += KR_CONTAINER_OF(it, struct kr_swarm, all)
				   ->neighbour_count;
	kr_assert(streams == sum.in_swarms);
	kr_assert(sum.streams == kr_u64_map_count(&n->streams));
	kr_assert(sum.inflight == n->inflight_count);
	kr_assert(sum.inflight_bytes == n->inflight_bytes);
	kr_assert(sum.uploads == n->upload_count);
	kr_assert(sum.upload_bytes == n->upload_bytes);
	kr_assert(sum.held_bytes == n->held_bytes);
	kr_assert(sum.dials == n->dial_count);
	kr_assert(list_len(&n->conns) + list_len(&n->closing) == n->conn_count);
	kr_assert(list_len(&n->swarms) + list_len(&n->complete) ==
		  n->swarm_count);
	check_slots(n);
}
