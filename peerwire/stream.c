/*
 * Streams: a blob opened on a connection.  PROTOCOL.md, "Streams", draws the
 * states; here OPEN of a blob we do not know waits in LOOKUP until the driver
 * has looked for it, with the peer's have-set kept and counted.
 */
#include <string.h>

#include "peerwire/blocks.h"
#include "peerwire/state.h"

struct kr_stream *kr_stream_get(const struct kr_node *n,
				const struct kr_conn *c, uint16_t id)
{
	return kr_u64_map_get(&n->streams, (uint64_t)c->handle << 16 | id);
}

struct kr_stream *kr_stream_of(const struct kr_conn *c,
			       const struct kr_swarm *s)
{
	kr_list_for_each (it, &c->streams) {
		struct kr_stream *st =
			KR_CONTAINER_OF(it, struct kr_stream, in_conn);
		if (st->swarm == s)
			return st;
	}
	return NULL;
}

bool kr_stream_has(const struct kr_stream *st, uint32_t piece)
{
	if (st->all)
		return true;
	return st->has.words != NULL && kr_bitset_test(&st->has, piece);
}

uint32_t kr_stream_wanted(const struct kr_stream *st)
{
	return st->all ? st->swarm->picker.need_count : st->wanted;
}

const struct kr_bitset *kr_stream_set(const struct kr_stream *st)
{
	return st->all ? NULL : &st->has;
}

static struct kr_stream *stream_add(struct kr_node *n, struct kr_conn *c,
				    uint16_t id, const struct kr_digest *d)
{
	struct kr_stream *st = kr_slab_take(&n->stream_slab);

	if (st == NULL)
		return NULL;
	if (kr_u64_map_put(&n->streams, (uint64_t)c->handle << 16 | id, st) !=
	    KR_OK) {
		kr_slab_give(&n->stream_slab, st);
		return NULL;
	}
	st->conn = c;
	st->id = id;
	st->digest_hash = kr_digest_hash(d);
	kr_list_init(&st->in_swarm);
	kr_list_add_tail(&c->streams, &st->in_conn);
	c->stream_count++;
	return st;
}

static void attach(struct kr_stream *st, struct kr_swarm *s)
{
	st->swarm = s;
	kr_list_add_tail(&s->streams, &st->in_swarm);
	s->neighbour_count++;
	if (s->neighbour_count > s->neighbour_peak)
		s->neighbour_peak = s->neighbour_count;
	s->idle_said = false;
}

static void forget_set(struct kr_node *n, struct kr_stream *st)
{
	kr_mem_put(n, st->has.words);
	st->has.words = NULL;
	st->has_count = 0;
	st->wanted = 0;
}

void kr_swarm_check_idle(struct kr_node *n, struct kr_swarm *s)
{
	if (!s->by_lookup || s->idle_said || s->neighbour_count > 0)
		return;
	s->idle_said = s->idle_due = true;
	kr_tell_swarm(n, s);
}

static void leave_lookup(struct kr_node *n, struct kr_stream *st)
{
	struct kr_lookup *l = st->lookup;

	st->lookup = NULL;
	st->conn->lookups--;
	n->held_bytes -= st->asked->held_bytes;
	kr_mem_put(n, st->asked);
	st->asked = NULL;
	kr_list_del(&st->in_swarm);
	if (!kr_list_empty(&l->streams))
		return;
	kr_list_del(&l->all);
	kr_slab_give(&n->lookup_slab, l);
}

/* Leave the swarm (or the lookup); the number stays taken. */
static void detach(struct kr_node *n, struct kr_stream *st)
{
	struct kr_swarm *s = st->swarm;

	if (st->lookup != NULL)
		leave_lookup(n, st);
	if (s != NULL) {
		kr_requests_end_on(n, st, false);
		kr_slots_forget(n, st->conn, st);
		kr_reveal_forget(n, st);
		if (st->has.words != NULL)
			kr_picker_lose(&s->picker, &st->has);
		if (st->all)
			s->complete_count--;
		kr_list_del(&st->in_swarm);
		s->neighbour_count--;
		st->swarm = NULL;
		kr_swarm_check_idle(n, s);
		n->ask = true;
	}
	forget_set(n, st);
	st->all = false;
}

void kr_stream_free(struct kr_node *n, struct kr_stream *st)
{
	detach(n, st);
	kr_list_del(&st->in_conn);
	st->conn->stream_count--;
	kr_u64_map_del(&n->streams, (uint64_t)st->conn->handle << 16 | st->id);
	kr_slab_give(&n->stream_slab, st);
}

void kr_stream_close(struct kr_node *n, struct kr_stream *st)
{
	kr_assert(st->state != KR_STREAM_CLOSING);
	detach(n, st);
	st->state = KR_STREAM_CLOSING;
	kr_send_plain(n, st->conn, KR_FRAME_CLOSE, st->id, 0);
}

void kr_stream_close_if_done(struct kr_node *n, struct kr_stream *st)
{
	if (st->state == KR_STREAM_OPEN && st->all &&
	    kr_picker_complete(&st->swarm->picker))
		kr_stream_close(n, st);
}

/* ---- the peer's set ----------------------------------------------------- */

static void become_all(struct kr_node *n, struct kr_stream *st)
{
	if (st->has.words != NULL)
		kr_picker_lose(&st->swarm->picker, &st->has);
	forget_set(n, st);
	st->all = true;
	st->swarm->complete_count++;
}

/*
 * Read a have-set of @count pieces.  Sets of all and of nothing cost no
 * memory.
 *
 * KR_E_PROTO, KR_E_NOMEM; @st is unchanged
 */
static enum kr_err read_set(struct kr_node *n, struct kr_stream *st,
			    struct kr_bytes in, uint32_t count, bool *ret_all)
{
	const size_t words = kr_bitset_words(count);
	struct kr_bitset set;
	enum kr_err err;

	*ret_all = in.len == 1 && in.ptr[0] == KR_HAVE_ALL;
	kr_bitset_init(&st->has, NULL, 0);
	if (*ret_all || (in.len == 1 && in.ptr[0] == KR_HAVE_NONE))
		return KR_OK;
	uint64_t *mem = kr_mem_get(n, words * sizeof(*mem));
	if (mem == NULL)
		return KR_E_NOMEM;
	kr_bitset_init(&set, mem, count);
	err = kr_have_decode(&set, in);
	if (err != KR_OK) {
		kr_mem_put(n, mem);
		return err;
	}
	st->has = set;
	st->has_count = kr_bitset_count(&set);
	*ret_all = st->has_count == count;
	return KR_OK;
}

/* The set that was read counts in the swarm from now on. */
static void count_set(struct kr_node *n, struct kr_stream *st, bool all)
{
	struct kr_picker *p = &st->swarm->picker;

	if (all) {
		forget_set(n, st);
		become_all(n, st);
	} else if (st->has.words != NULL) {
		uint32_t i = kr_bitset_next_set(&st->has, 0);

		for (; i < p->piece_count;
		     i = kr_bitset_next_set(&st->has, i + 1))
			kr_picker_gain(p, i);
		st->wanted = kr_picker_wanted(p, &st->has);
	}
	n->ask = true;
}

static void gain_piece(struct kr_node *n, struct kr_stream *st, uint32_t piece)
{
	struct kr_swarm *s = st->swarm;

	kr_bitset_set(&st->has, piece);
	st->has_count++;
	kr_picker_gain(&s->picker, piece);
	if (kr_bitset_test(&s->picker.need, piece))
		st->wanted++;
	kr_reveal_announced(n, st, piece);
}

static bool ensure_words(struct kr_node *n, struct kr_stream *st)
{
	const uint32_t count = st->swarm->piece_count;
	uint64_t *mem;

	if (st->has.words != NULL)
		return true;
	mem = kr_mem_get(n, kr_bitset_words(count) * sizeof(*mem));
	if (mem == NULL)
		return false;
	kr_bitset_init(&st->has, mem, count);
	return true;
}

void kr_on_have(struct kr_node *n, struct kr_conn *c, const uint8_t *body)
{
	struct kr_stream *st = kr_stream_get(n, c, c->fh.stream);
	struct kr_have_range r;
	struct kr_msg_have m;

	if (st != NULL && st->state == KR_STREAM_CLOSING)
		return;
	if (st == NULL || st->state != KR_STREAM_OPEN ||
	    kr_msg_have_decode(&c->fh, body, st->swarm->piece_count, &m) !=
		    KR_OK) {
		kr_conn_close(n, c, KR_BYE_PROTO);
		return;
	}
	if (st->all)
		return;
	if (!ensure_words(n, st)) {
		kr_stream_close(n, st);
		return;
	}
	while (kr_have_iter_next(&m.ranges, &r)) {
		uint32_t i = kr_bitset_next_clear(&st->has, r.first);

		for (; i < r.first + r.count;
		     i = kr_bitset_next_clear(&st->has, i + 1))
			gain_piece(n, st, i);
	}
	if (st->has_count == st->swarm->piece_count)
		become_all(n, st);
	n->ask = true;
	kr_stream_close_if_done(n, st);
}

/* ---- OPEN, from us ------------------------------------------------------ */

static uint16_t free_number(const struct kr_node *n, struct kr_conn *c)
{
	uint16_t id;

	do {
		id = c->next_stream;
		c->next_stream = (uint16_t)(id + 2);
		if (c->next_stream == 0)
			c->next_stream = 2;
	} while (kr_stream_get(n, c, id) != NULL);
	return id;
}

static void send_open(struct kr_node *n, struct kr_stream *st)
{
	const struct kr_swarm *s = st->swarm;
	const size_t have_max = kr_tell_first_max(s);
	const size_t cap = KR_MSG_OPEN_FIXED_MAX + have_max;
	uint8_t *buf = kr_send_begin(n, st->conn, cap + have_max);
	struct kr_msg_open m = {
		.stream = st->id,
		.ns = { (const uint8_t *)s->ns, strlen(s->ns) },
		.digest = s->digest,
		.size_bytes = s->size_bytes,
		.piece_bytes = s->piece_bytes,
		.block_bytes = s->block_bytes,
	};
	size_t len;

	if (buf == NULL)
		return;
	memcpy(m.metainfo_id, s->metainfo_id, sizeof(m.metainfo_id));
	m.have.ptr = buf + cap;
	kr_must(kr_tell_first(n, st, buf + cap, have_max, &m.have.len));
	kr_must(kr_msg_open_encode(&m, buf, cap, &len));
	kr_send_end(n, st->conn, len);
}

/* Is @s open on @c, or about to be, by either side? */
static struct kr_stream *rival_of(const struct kr_conn *c,
				  const struct kr_digest *d)
{
	const uint64_t hash = kr_digest_hash(d);

	kr_list_for_each (it, &c->streams) {
		struct kr_stream *st =
			KR_CONTAINER_OF(it, struct kr_stream, in_conn);
		if (st->digest_hash != hash)
			continue;
		if (st->swarm != NULL && kr_digest_equal(&st->swarm->digest, d))
			return st;
		if (st->lookup != NULL &&
		    kr_digest_equal(&st->lookup->digest, d))
			return st;
	}
	return NULL;
}

bool kr_stream_open(struct kr_node *n, struct kr_conn *c, struct kr_swarm *s)
{
	struct kr_stream *st;

	if (c->state != KR_CONN_OPEN || c->broken ||
	    c->stream_count >= n->pol.conn_streams_max)
		return false;
	if (rival_of(c, &s->digest) != NULL)
		return true;
	st = stream_add(n, c, free_number(n, c), &s->digest);
	if (st == NULL)
		return false;
	st->state = KR_STREAM_OPENING;
	st->ours = true;
	attach(st, s);
	st->open_have_count = s->picker.have_count;
	send_open(n, st);
	c->useful_ns = n->now_ns;
	return true;
}

/* What was verified while our OPEN was on its way. */
static void send_late_have(struct kr_node *n, struct kr_stream *st)
{
	struct kr_have_range ranges[128];
	struct kr_swarm *s = st->swarm;
	uint32_t i = 0, count = 0;

	if (st->hiding || s->picker.have_count == st->open_have_count ||
	    st->all)
		return;
	while (i < s->piece_count) {
		i = kr_bitset_next_set(&s->picker.have, i);
		if (i < s->piece_count) {
			const uint32_t end =
				kr_bitset_next_clear(&s->picker.have, i);
			ranges[count++] = (struct kr_have_range){ i, end - i };
			i = end;
		}
		if (count == 128 || (count > 0 && i >= s->piece_count)) {
			kr_tell_ranges(n, st, ranges, count);
			count = 0;
		}
	}
}

void kr_on_opened(struct kr_node *n, struct kr_conn *c, const uint8_t *body)
{
	struct kr_stream *st = kr_stream_get(n, c, c->fh.stream);
	struct kr_msg_opened m;
	bool all;

	if (st != NULL && st->state == KR_STREAM_CLOSING)
		return;
	if (st == NULL || kr_msg_opened_decode(&c->fh, body, &m) != KR_OK ||
	    (st->state != KR_STREAM_OPENING &&
	     st->state != KR_STREAM_YIELDED)) {
		kr_conn_close(n, c, KR_BYE_PROTO);
		return;
	}
	if (st->state == KR_STREAM_YIELDED) { /* it gave its own up meanwhile */
		kr_stream_close(n, st);
		return;
	}
	const enum kr_err err =
		read_set(n, st, m.have, st->swarm->piece_count, &all);
	if (err == KR_E_NOMEM) {
		kr_stream_close(n, st);
		return;
	}
	if (err != KR_OK) {
		kr_conn_close(n, c, KR_BYE_PROTO);
		return;
	}
	st->state = KR_STREAM_OPEN;
	count_set(n, st, all);
	send_late_have(n, st);
	kr_stream_close_if_done(n, st);
}

/* ---- OPEN, from the peer ------------------------------------------------ */

static void send_reject(struct kr_node *n, struct kr_conn *c, uint16_t id,
			enum kr_reject_reason reason, uint64_t retry_ns)
{
	const struct kr_msg_reject m = {
		.stream = id,
		.piece = KR_MSG_NO_PIECE,
		.reason = reason,
		.retry_ms = (uint32_t)(retry_ns / KR_POLICY_MS),
	};
	uint8_t *buf = kr_send_begin(n, c, KR_MSG_SMALL_MAX);
	size_t len;

	n->stats.rejects_sent++;
	if (buf == NULL)
		return;
	kr_must(kr_msg_reject_encode(&m, buf, KR_MSG_SMALL_MAX, &len));
	kr_send_end(n, c, len);
}

static void send_opened(struct kr_node *n, struct kr_stream *st)
{
	const size_t have_max = kr_tell_first_max(st->swarm);
	const size_t cap = KR_MSG_SMALL_MAX + have_max;
	uint8_t *buf = kr_send_begin(n, st->conn, cap + have_max);
	struct kr_msg_opened m = { .stream = st->id };
	size_t len;

	if (buf == NULL)
		return;
	m.have.ptr = buf + cap;
	kr_must(kr_tell_first(n, st, buf + cap, have_max, &m.have.len));
	kr_must(kr_msg_opened_encode(&m, buf, cap, &len));
	kr_send_end(n, st->conn, len);
}

/* The blob is ours: answer @st, which is in no swarm yet, with its set read. */
static void answer(struct kr_node *n, struct kr_stream *st, struct kr_swarm *s,
		   const struct kr_asked *a, bool all)
{
	enum kr_reject_reason reason;
	const uint32_t has_count = all ? s->piece_count : st->has_count;

	if (memcmp(a->metainfo_id, s->metainfo_id, KR_SHA256_LEN) != 0 ||
	    a->size_bytes != s->size_bytes ||
	    a->piece_bytes != s->piece_bytes ||
	    a->block_bytes != s->block_bytes) {
		reason = KR_REJECT_METAINFO;
	} else if (!kr_neighbours_admit(n, s, has_count)) {
		reason = KR_REJECT_FULL;
	} else {
		st->state = KR_STREAM_OPEN;
		st->all = false;
		attach(st, s);
		count_set(n, st, all);
		send_opened(n, st);
		kr_stream_close_if_done(n, st);
		return;
	}
	send_reject(n, st->conn, st->id, reason,
		    reason == KR_REJECT_FULL ? n->pol.full_retry_ns : 0);
	kr_stream_free(n, st);
}

struct kr_lookup *kr_lookup_find(const struct kr_node *n, uint32_t id,
				 const struct kr_digest *d)
{
	kr_list_for_each (it, &n->lookups) {
		struct kr_lookup *l =
			KR_CONTAINER_OF(it, struct kr_lookup, all);
		if (d != NULL ? kr_digest_equal(&l->digest, d) : l->id == id)
			return l;
	}
	return NULL;
}

static struct kr_lookup *lookup_begin(struct kr_node *n,
				      const struct kr_msg_open *m)
{
	struct kr_lookup *l = kr_lookup_find(n, 0, &m->digest);

	if (l != NULL)
		return l;
	l = kr_slab_take(&n->lookup_slab);
	if (l == NULL)
		return NULL;
	struct kr_act *a = kr_act_add(n, KR_ACT_LOOKUP);
	if (a == NULL) {
		kr_slab_give(&n->lookup_slab, l);
		return NULL;
	}
	if (++n->lookup_next == 0)
		n->lookup_next = 1;
	l->id = a->lookup = n->lookup_next;
	l->since_ns = n->now_ns;
	l->digest = m->digest;
	memcpy(l->ns, m->ns.ptr, m->ns.len);
	kr_list_init(&l->streams);
	kr_list_add_tail(&n->lookups, &l->all);
	return l;
}

static bool wait_for_lookup(struct kr_node *n, struct kr_stream *st,
			    const struct kr_msg_open *m,
			    const struct kr_asked *asked, bool all)
{
	const size_t set = st->has.words == NULL
				   ? 0
				   : kr_bitset_words(st->has.bit_count) * 8;
	struct kr_asked *a;

	if (st->conn->lookups >= n->pol.conn_lookups_max ||
	    n->held_bytes + set + sizeof(*a) > n->pol.frame_buffer_max_bytes)
		return false;
	a = kr_mem_get(n, sizeof(*a));
	if (a == NULL)
		return false;
	struct kr_lookup *l = lookup_begin(n, m);
	if (l == NULL) {
		kr_mem_put(n, a);
		return false;
	}
	*a = *asked;
	a->held_bytes = set + sizeof(*a);
	n->held_bytes += a->held_bytes;
	st->asked = a;
	st->all = all;
	st->state = KR_STREAM_LOOKUP;
	st->lookup = l;
	st->conn->lookups++;
	kr_list_add_tail(&l->streams, &st->in_swarm);
	return true;
}

void kr_lookup_answer(struct kr_node *n, struct kr_lookup *l,
		      struct kr_swarm *s)
{
	struct kr_list *first = kr_list_first(&l->streams);
	bool last = false;

	/* The lookup goes with the last of its streams. */
	while (!last) {
		struct kr_stream *st =
			KR_CONTAINER_OF(first, struct kr_stream, in_swarm);
		const struct kr_asked a = *st->asked;
		const bool all = st->all;

		first = st->in_swarm.next;
		last = first == &l->streams;
		leave_lookup(n, st);
		if (s != NULL) {
			answer(n, st, s, &a, all);
			continue;
		}
		send_reject(n, st->conn, st->id, KR_REJECT_NOT_FOUND, 0);
		kr_stream_free(n, st);
	}
}

void kr_lookup_tick(struct kr_node *n)
{
	kr_list_for_each_safe(it, &n->lookups)
	{
		struct kr_lookup *l =
			KR_CONTAINER_OF(it, struct kr_lookup, all);
		if (n->now_ns - l->since_ns >= n->pol.lookup_ns)
			kr_lookup_answer(n, l, NULL);
	}
}

/* OPENs of the same blob crossed (PROTOCOL.md).  false: @c is closed, or the
 * peer's OPEN is answered by CLOSE. */
static bool settle_rivals(struct kr_node *n, struct kr_conn *c,
			  const struct kr_msg_open *m)
{
	struct kr_stream *rival = rival_of(c, &m->digest);

	if (rival == NULL)
		return true;
	if (rival->state != KR_STREAM_OPENING) {
		kr_conn_close(n, c, KR_BYE_PROTO);
		return false;
	}
	if (!c->dialled) {
		detach(n, rival);
		rival->state = KR_STREAM_YIELDED;
		return true;
	}
	struct kr_stream *st = stream_add(n, c, m->stream, &m->digest);
	if (st == NULL)
		kr_conn_close(n, c, KR_BYE_NONE);
	else
		kr_stream_close(n, st);
	return false;
}

static void open_stream(struct kr_node *n, struct kr_conn *c,
			const struct kr_msg_open *m)
{
	struct kr_stream *st = stream_add(n, c, m->stream, &m->digest);
	struct kr_asked asked = { .size_bytes = m->size_bytes,
				  .piece_bytes = m->piece_bytes,
				  .block_bytes = m->block_bytes };
	struct kr_swarm *s = kr_digest_map_get(&n->by_digest, &m->digest);
	enum kr_err err;
	bool all;

	if (st == NULL) {
		send_reject(n, c, m->stream, KR_REJECT_LIMIT, 1000);
		return;
	}
	memcpy(asked.metainfo_id, m->metainfo_id, KR_SHA256_LEN);
	st->state = KR_STREAM_LOOKUP;
	err = read_set(
		n, st, m->have,
		kr_metainfo_piece_count_for(m->size_bytes, m->piece_bytes),
		&all);
	if (err == KR_E_PROTO) {
		kr_conn_close(n, c, KR_BYE_PROTO);
	} else if (err == KR_OK && s != NULL) {
		answer(n, st, s, &asked, all);
	} else if (err != KR_OK || !wait_for_lookup(n, st, m, &asked, all)) {
		send_reject(n, c, st->id, KR_REJECT_LIMIT, KR_NS_PER_S);
		kr_stream_free(n, st);
	}
}

static bool is_fetching(const struct kr_node *n, const struct kr_digest *d)
{
	const struct kr_swarm *s = kr_digest_map_get(&n->by_digest, d);

	return s != NULL && !kr_picker_complete(&s->picker);
}

void kr_on_open(struct kr_node *n, struct kr_conn *c, const uint8_t *body)
{
	struct kr_msg_open m;

	if (kr_msg_open_decode(&c->fh, body, &m) != KR_OK ||
	    (m.stream & 1) != (c->dialled ? 1 : 0) ||
	    kr_stream_get(n, c, m.stream) != NULL) {
		kr_conn_close(n, c, KR_BYE_PROTO);
		return;
	}
	if (!kr_conn_reply_ok(n, c) || !settle_rivals(n, c, &m))
		return;
	if (n->shutting_down || c->stream_count >= n->pol.conn_streams_max) {
		send_reject(n, c, m.stream, KR_REJECT_LIMIT, KR_NS_PER_S);
		return;
	}
	if (n->pol.leech_only && !is_fetching(n, &m.digest)) {
		send_reject(n, c, m.stream, KR_REJECT_LIMIT,
			    n->pol.dial_backoff_max_ns);
		return;
	}
	c->useful_ns = n->now_ns;
	open_stream(n, c, &m);
}

/* ---- CLOSE and REJECT --------------------------------------------------- */

void kr_on_close(struct kr_node *n, struct kr_conn *c)
{
	struct kr_stream *st = kr_stream_get(n, c, c->fh.stream);

	if (st == NULL)
		return; /* it crossed our REJECT */
	if (st->state != KR_STREAM_CLOSING)
		kr_send_plain(n, c, KR_FRAME_CLOSE, st->id, 0);
	kr_stream_free(n, st);
}

static void on_refused(struct kr_node *n, struct kr_stream *st,
		       const struct kr_msg_reject *m)
{
	uint64_t wait_ns = (uint64_t)m->retry_ms * KR_POLICY_MS;
	struct kr_act *a;

	switch (m->reason) {
	case KR_REJECT_NOT_FOUND:
		kr_neighbours_absent(n, st->swarm, st->conn);
		return;
	case KR_REJECT_METAINFO:
		wait_ns = n->pol.dial_backoff_max_ns;
		a = kr_act_add(n, KR_ACT_DISPUTE);
		if (a != NULL) /* else with the next refusal */
			a->blob = st->swarm->handle;
		break;
	default:
		if (wait_ns < n->pol.dial_backoff_ns)
			wait_ns = n->pol.dial_backoff_ns;
		break;
	}
	kr_neighbours_full(n, st->swarm, st->conn, n->now_ns + wait_ns);
}

void kr_on_reject(struct kr_node *n, struct kr_conn *c, const uint8_t *body)
{
	struct kr_stream *st = kr_stream_get(n, c, c->fh.stream);
	struct kr_msg_reject m;

	if (st == NULL || kr_msg_reject_decode(&c->fh, body, &m) != KR_OK) {
		kr_conn_close(n, c, KR_BYE_PROTO);
		return;
	}
	n->stats.rejects_received++;
	if (m.piece != KR_MSG_NO_PIECE) {
		if (st->state == KR_STREAM_OPEN)
			kr_fetch_rejected(n, st, &m);
		else if (st->state != KR_STREAM_CLOSING)
			kr_conn_close(n, c, KR_BYE_PROTO);
		return;
	}
	if (st->state == KR_STREAM_OPEN || st->state == KR_STREAM_LOOKUP) {
		kr_conn_close(n, c, KR_BYE_PROTO);
		return;
	}
	if (st->state == KR_STREAM_OPENING)
		on_refused(n, st, &m);
	kr_stream_free(n, st);
}
