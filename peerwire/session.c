/*
 * Connections: who is at the other end, what frames its bytes make, whether it
 * is alive.  A frame is copied only when the network cut it, into memory that
 * is got for that frame and given back with it; the length was judged before.
 */
#include <string.h>

#include "peerwire/state.h"

struct kr_conn *kr_conn_get(const struct kr_node *n, uint32_t handle)
{
	const uint32_t index = handle & 0xffff;

	if (index >= n->pol.conns_max || n->conn_table[index] == NULL)
		return NULL;
	struct kr_conn *c = n->conn_table[index];
	return c->handle == handle && c->state != KR_CONN_CLOSING ? c : NULL;
}

static uint32_t free_index(struct kr_node *n)
{
	const uint32_t max = (uint32_t)n->pol.conns_max;

	while (n->conn_table[n->conn_next] != NULL)
		n->conn_next = (n->conn_next + 1) % max;
	return n->conn_next;
}

static void conn_lists_init(struct kr_conn *c)
{
	kr_list_init(&c->all);
	kr_list_init(&c->streams);
	kr_list_init(&c->requests);
	kr_list_init(&c->uploads);
	kr_list_init(&c->waiting);
	kr_list_init(&c->told_load);
}

struct kr_conn *kr_conn_add(struct kr_node *n, const struct kr_addr *addr,
			    bool dialled)
{
	struct kr_conn *c;

	if (n->conn_count == n->pol.conns_max)
		return NULL;
	c = kr_slab_take(&n->conn_slab);
	if (c == NULL)
		return NULL;
	const uint32_t index = free_index(n);
	n->conn_next = (index + 1) % (uint32_t)n->pol.conns_max;
	n->conn_gens[index]++;
	conn_lists_init(c);
	c->handle = (uint32_t)n->conn_gens[index] << 16 | index;
	c->state = KR_CONN_DIALING;
	c->dialled = dialled;
	c->addr = *addr;
	c->since_ns = c->heard_ns = c->useful_ns = n->now_ns;
	c->rate_bytes_per_s = n->pol.rate_default_bytes_per_s;
	c->rtt_ns = n->pol.latency_default_ns;
	c->next_stream = dialled ? 2 : 1;
	n->conn_table[index] = c;
	n->conn_count++;
	kr_list_add_tail(&n->conns, &c->all);
	if (dialled)
		n->dial_count++;
	return c;
}

void kr_conn_free(struct kr_node *n, struct kr_conn *c)
{
	n->conn_table[c->handle & 0xffff] = NULL;
	n->conn_count--;
	kr_list_del(&c->all);
	kr_slab_give(&n->conn_slab, c);
}

static void drop_body(struct kr_node *n, struct kr_conn *c)
{
	if (c->body == NULL)
		return;
	n->held_bytes -= c->fh.len;
	kr_mem_put(n, c->body);
	c->body = NULL;
}

/* Undo all that hangs on @c; it is CLOSING afterwards. */
static void detach(struct kr_node *n, struct kr_conn *c)
{
	if (c->state == KR_CONN_DIALING)
		n->dial_count--;
	n->near_count -= c->state == KR_CONN_OPEN && !c->far;
	c->state = KR_CONN_CLOSING;
	drop_body(n, c);
	kr_list_for_each_safe(it, &c->streams) kr_stream_free(
		n, KR_CONTAINER_OF(it, struct kr_stream, in_conn));
	kr_slots_forget(n, c, NULL);
	kr_list_del(&c->told_load);
	kr_assert(kr_list_empty(&c->requests) && c->arriving == NULL);
	kr_list_del(&c->all);
	kr_list_add_tail(&n->closing, &c->all);
	n->ask = true;
}

void kr_conn_reap(struct kr_node *n)
{
	if (!n->broken)
		return;
	n->broken = false;
	kr_list_for_each_safe(it, &n->conns)
	{
		struct kr_conn *c = KR_CONTAINER_OF(it, struct kr_conn, all);

		if (c->broken)
			kr_conn_close(n, c, KR_BYE_NONE);
	}
}

void kr_conn_close(struct kr_node *n, struct kr_conn *c,
		   enum kr_bye_reason reason)
{
	const uint8_t before = c->state;

	if (before == KR_CONN_CLOSING)
		return;
	c->reason = (uint8_t)reason;
	n->stats.closes[reason]++;
	detach(n, c);
	if (before != KR_CONN_DIALING)
		kr_send_plain(n, c, KR_FRAME_BYE, 0, (uint32_t)reason);
}

static void send_hello(struct kr_node *n, struct kr_conn *c)
{
	const struct kr_msg_hello m = {
		.version = KR_PROTO_VERSION,
		.id = n->id,
		.cluster = { (const uint8_t *)n->cluster, strlen(n->cluster) },
		.zone = { (const uint8_t *)n->zone, strlen(n->zone) },
		.role = n->role,
		.listen_port = n->listen_port,
		.features = n->pol.leech_only ? KR_FEATURE_LEECH : 0,
		.up_bytes_per_s = n->pol.up_bytes_per_s,
		.down_bytes_per_s = n->pol.down_bytes_per_s,
	};
	uint8_t *buf = kr_send_begin(n, c, KR_MSG_SMALL_MAX);
	size_t len;

	if (buf == NULL)
		return;
	kr_must(kr_msg_hello_encode(&m, buf, KR_MSG_SMALL_MAX, &len));
	kr_send_end(n, c, len);
}

static void begin_hello(struct kr_node *n, struct kr_conn *c)
{
	c->state = KR_CONN_WAIT_HELLO;
	c->since_ns = c->heard_ns = n->now_ns;
	send_hello(n, c);
}

enum kr_err kr_conn_accept(struct kr_node *n, const struct kr_addr *from,
			   uint32_t *ret_conn)
{
	struct kr_conn *c;

	if (n->shutting_down)
		return KR_E_LIMIT;
	c = kr_conn_add(n, from, false);
	if (c == NULL)
		return KR_E_LIMIT;
	*ret_conn = c->handle;
	begin_hello(n, c);
	return KR_OK;
}

void kr_conn_connected(struct kr_node *n, struct kr_conn *c)
{
	if (c->state != KR_CONN_DIALING)
		return;
	n->dial_count--;
	begin_hello(n, c);
}

void kr_conn_gone(struct kr_node *n, struct kr_conn *c)
{
	kr_neighbours_failed(n, c, false);
	detach(n, c);
	kr_conn_free(n, c);
}

/* ---- HELLO -------------------------------------------------------------- */

bool kr_peer_id_equal(const struct kr_peer_id *a, const struct kr_peer_id *b)
{
	return memcmp(a->bytes, b->bytes, KR_PEER_ID_LEN) == 0;
}

static struct kr_conn *twin_of(const struct kr_node *n, const struct kr_conn *c)
{
	kr_list_for_each (it, &n->conns) {
		struct kr_conn *o = KR_CONTAINER_OF(it, struct kr_conn, all);

		if (o != c && o->state == KR_CONN_OPEN &&
		    kr_peer_id_equal(&o->id, &c->id))
			return o;
	}
	return NULL;
}

/* Which of two connections of a pair lives (PROTOCOL.md, "Life", 3). */
static struct kr_conn *loser_of(const struct kr_node *n, struct kr_conn *old,
				struct kr_conn *c)
{
	const bool we_are_lower =
		memcmp(n->id.bytes, c->id.bytes, KR_PEER_ID_LEN) < 0;

	if (old->dialled == c->dialled)
		return old;
	return c->dialled == we_are_lower ? old : c;
}

/* What was open on @old and is still wanted is opened on @c. */
static void move_streams(struct kr_node *n, struct kr_conn *old,
			 struct kr_conn *c)
{
	struct kr_swarm *wanted[64];
	uint32_t count = 0;

	kr_list_for_each (it, &old->streams) {
		const struct kr_stream *st =
			KR_CONTAINER_OF(it, struct kr_stream, in_conn);
		if (st->swarm != NULL && count < 64 &&
		    !kr_picker_complete(&st->swarm->picker))
			wanted[count++] = st->swarm;
	}
	kr_conn_close(n, old, KR_BYE_DUPLICATE);
	for (uint32_t i = 0; i < count && c->state == KR_CONN_OPEN; i++)
		(void)kr_stream_open(n, c, wanted[i]);
}

static void conn_open(struct kr_node *n, struct kr_conn *c)
{
	struct kr_conn *twin = twin_of(n, c);

	if (twin != NULL && loser_of(n, twin, c) == c) {
		kr_conn_close(n, c, KR_BYE_DUPLICATE);
		return;
	}
	c->state = KR_CONN_OPEN;
	n->near_count += !c->far;
	c->since_ns = c->useful_ns = n->now_ns;
	if (twin != NULL)
		move_streams(n, twin, c);
	c->pinged_ns = n->now_ns; /* measures the round trip */
	n->stats.pings_sent++;
	kr_send_plain(n, c, KR_FRAME_PING, 0, 0);
	kr_neighbours_met(n, c);
	n->ask = true;
}

static void on_hello(struct kr_node *n, struct kr_conn *c, const uint8_t *body)
{
	struct kr_msg_hello m;
	const size_t cluster_len = strlen(n->cluster);

	if (c->state != KR_CONN_WAIT_HELLO ||
	    kr_msg_hello_decode(&c->fh, body, &m) != KR_OK) {
		kr_conn_close(n, c, KR_BYE_PROTO);
		return;
	}
	if (m.version != KR_PROTO_VERSION || m.cluster.len != cluster_len ||
	    memcmp(m.cluster.ptr, n->cluster, cluster_len) != 0) {
		kr_neighbours_failed(n, c, true);
		kr_conn_close(n, c, KR_BYE_CLUSTER);
		return;
	}
	if (kr_peer_id_equal(&m.id, &n->id)) {
		kr_neighbours_failed(n, c, true);
		kr_conn_close(n, c, KR_BYE_SELF);
		return;
	}
	if (kr_peer_is_banned(n, &m.id)) {
		kr_neighbours_failed(n, c, true);
		kr_conn_close(n, c, KR_BYE_CORRUPT);
		return;
	}
	c->id = m.id;
	c->role = (uint8_t)m.role;
	c->far = n->zone[0] != '\0' && m.zone.len > 0 &&
		 (m.zone.len != strlen(n->zone) ||
		  memcmp(m.zone.ptr, n->zone, m.zone.len) != 0);
	c->leech = (m.features & KR_FEATURE_LEECH) != 0;
	c->up_bytes_per_s = kr_rate_told(n, m.up_bytes_per_s);
	c->down_bytes_per_s = kr_rate_told(n, m.down_bytes_per_s);
	if (c->up_bytes_per_s != 0 && c->rate_bytes_per_s > c->up_bytes_per_s)
		c->rate_bytes_per_s = c->up_bytes_per_s;
	if (!c->dialled && m.listen_port != 0)
		c->addr.port = m.listen_port;
	conn_open(n, c);
}

/* ---- frames of the connection ------------------------------------------- */

bool kr_conn_reply_ok(struct kr_node *n, struct kr_conn *c)
{
	if (n->now_ns - c->replies_ns >= KR_NS_PER_S) {
		c->replies_ns = n->now_ns;
		c->replies = 0;
	}
	if (++c->replies <= n->pol.conn_replies_max)
		return true;
	kr_conn_close(n, c, KR_BYE_PROTO);
	return false;
}

static void on_pong(struct kr_node *n, struct kr_conn *c)
{
	if (c->pinged_ns == 0)
		return;
	const uint64_t rtt = n->now_ns - c->pinged_ns;
	c->rtt_ns = (3 * c->rtt_ns + rtt) / 4;
	c->pinged_ns = 0;
}

static void on_bye(struct kr_node *n, struct kr_conn *c)
{
	const enum kr_bye_reason reason = kr_msg_bye_reason(&c->fh);

	if (reason == KR_BYE_CLUSTER || reason == KR_BYE_SELF ||
	    reason == KR_BYE_CORRUPT)
		kr_neighbours_failed(n, c, true);
	kr_conn_close(n, c,
		      reason == KR_BYE_DUPLICATE ? KR_BYE_DUPLICATE
						 : KR_BYE_NONE);
}

static void on_frame(struct kr_node *n, struct kr_conn *c, const uint8_t *body)
{
	n->stats.frames_in++;
	n->stats.control_bytes_in += KR_FRAME_HEAD_LEN + c->fh.len;
	switch (c->fh.type) {
	case KR_FRAME_HELLO:
		on_hello(n, c, body);
		break;
	case KR_FRAME_OPEN:
		kr_on_open(n, c, body);
		break;
	case KR_FRAME_OPENED:
		kr_on_opened(n, c, body);
		break;
	case KR_FRAME_HAVE:
		kr_on_have(n, c, body);
		break;
	case KR_FRAME_REQUEST:
		kr_on_request(n, c, body);
		break;
	case KR_FRAME_CANCEL:
		kr_on_cancel(n, c, body);
		break;
	case KR_FRAME_REJECT:
		kr_on_reject(n, c, body);
		break;
	case KR_FRAME_LOAD:
		kr_conn_load(n, c, c->fh.arg);
		break;
	case KR_FRAME_CLOSE:
		kr_on_close(n, c);
		break;
	case KR_FRAME_PING:
		if (kr_conn_reply_ok(n, c))
			kr_send_plain(n, c, KR_FRAME_PONG, 0, c->fh.arg);
		break;
	case KR_FRAME_PONG:
		on_pong(n, c);
		break;
	case KR_FRAME_BYE:
		on_bye(n, c);
		break;
	default:
		kr_assert(false); /* a frame type without a handler */
	}
}

/* ---- cutting ------------------------------------------------------------ */

static size_t min_size(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* The twelve bytes are there: is this a frame that may come now? */
static bool judge_head(struct kr_node *n, struct kr_conn *c)
{
	const bool greeted = c->state == KR_CONN_OPEN;

	if (kr_frame_head_decode(c->head, c->head_len, &c->fh) != KR_OK ||
	    (!greeted && !kr_frame_may_precede_hello(c->fh.type))) {
		kr_conn_close(n, c, KR_BYE_PROTO);
		return false;
	}
	if (!kr_frame_is_known(c->fh.type)) {
		c->skip_bytes = c->fh.len;
		c->head_len = 0;
	}
	return true;
}

static size_t fill_head(struct kr_conn *c, const uint8_t *buf, size_t len,
			uint8_t want)
{
	const size_t used = min_size(len, (size_t)(want - c->head_len));

	memcpy(c->head + c->head_len, buf, used);
	c->head_len = (uint8_t)(c->head_len + used);
	return used;
}

/* Keep the front of a body until the rest comes. */
static size_t keep_body(struct kr_node *n, struct kr_conn *c,
			const uint8_t *buf, size_t len)
{
	if (c->body == NULL) {
		if (n->held_bytes + c->fh.len > n->pol.frame_buffer_max_bytes) {
			kr_conn_close(n, c, KR_BYE_FULL);
			return len;
		}
		c->body = kr_mem_get(n, c->fh.len);
		if (c->body == NULL) {
			kr_conn_close(n, c, KR_BYE_NONE);
			return len;
		}
		n->held_bytes += c->fh.len;
		c->body_len = 0;
	}
	const size_t used = min_size(len, c->fh.len - c->body_len);
	memcpy(c->body + c->body_len, buf, used);
	c->body_len += (uint32_t)used;
	return used;
}

static size_t take_body(struct kr_node *n, struct kr_conn *c,
			const uint8_t *buf, size_t len)
{
	size_t used;

	if (c->body == NULL && len >= c->fh.len) {
		c->head_len = 0;
		on_frame(n, c, buf);
		return c->fh.len;
	}
	used = keep_body(n, c, buf, len);
	if (c->body == NULL || c->body_len < c->fh.len)
		return used;
	c->head_len = 0;
	uint8_t *body = c->body; /* ours: a close must not free it under us */
	n->held_bytes -= c->fh.len;
	c->body = NULL;
	on_frame(n, c, body);
	kr_mem_put(n, body);
	return used;
}

/* One step of the cutter: a head, a body, or a part of either. */
static size_t take_some(struct kr_node *n, struct kr_conn *c,
			const uint8_t *buf, size_t len)
{
	size_t used;

	if (c->skip_bytes > 0) {
		used = min_size(len, c->skip_bytes);
		c->skip_bytes -= (uint32_t)used;
		return used;
	}
	if (c->head_len < KR_FRAME_HEAD_LEN) {
		used = fill_head(c, buf, len, KR_FRAME_HEAD_LEN);
		if (c->head_len == KR_FRAME_HEAD_LEN && judge_head(n, c) &&
		    c->head_len > 0 && c->fh.len == 0) {
			c->head_len = 0;
			on_frame(n, c, c->head);
		}
		return used;
	}
	if (c->fh.type != KR_FRAME_BLOCK)
		return take_body(n, c, buf, len);
	used = fill_head(c, buf, len, KR_FRAME_BLOCK_LEN);
	if (c->head_len == KR_FRAME_BLOCK_LEN) {
		c->head_len = 0;
		n->stats.frames_in++;
		n->stats.control_bytes_in += KR_FRAME_BLOCK_LEN;
		kr_on_block(n, c);
	}
	return used;
}

void kr_conn_take(struct kr_node *n, struct kr_conn *c, const uint8_t *buf,
		  size_t len, size_t *ret_taken)
{
	size_t taken = 0;

	kr_assert(!c->in_body && c->state != KR_CONN_DIALING);
	c->heard_ns = n->now_ns;
	while (taken < len && !c->in_body && c->state != KR_CONN_CLOSING)
		taken += take_some(n, c, buf + taken, len - taken);
	*ret_taken = taken;
}

/* ---- time --------------------------------------------------------------- */

void kr_conn_ping(struct kr_node *n, struct kr_conn *c)
{
	if (c->pinged_ns != 0)
		return;
	c->pinged_ns = n->now_ns;
	n->stats.pings_sent++;
	kr_send_plain(n, c, KR_FRAME_PING, 0, 0);
}

enum { BODY_PATIENCE = 16 };

/* How long a block may take from its head to its end: many times what it took
 * this peer before; of one that sent none yet, what the slowest may take. */
static uint64_t body_max_ns(const struct kr_node *n, const struct kr_conn *c)
{
	const uint64_t slowest_ns =
		c->body_bytes * KR_NS_PER_S / n->pol.body_rate_min_bytes_per_s;
	const uint64_t usual_ns = BODY_PATIENCE * c->body_ns;
	const uint64_t limited_ns = kr_rate_body_ns(n, c);

	if (c->body_ns == 0 || usual_ns > slowest_ns)
		return n->pol.silence_close_ns + slowest_ns + limited_ns;
	return usual_ns + n->pol.body_stalled_ns + limited_ns;
}

bool kr_conn_stalls(const struct kr_node *n, const struct kr_conn *c)
{
	const uint64_t usual_ns =
		c->body_ns == 0
			? n->pol.silence_close_ns
			: BODY_PATIENCE * c->body_ns + n->pol.body_stalled_ns;

	return c->in_body &&
	       n->now_ns - c->body_since_ns > usual_ns + kr_rate_body_ns(n, c);
}

/* Silent with something owed?  A block on its way is not heard of until it
 * ends, so it has a time of its own. */
static void check_silence(struct kr_node *n, struct kr_conn *c)
{
	const uint64_t silent = n->now_ns - c->heard_ns;
	const bool owes = c->request_count > 0 || c->late_ns > c->heard_ns;

	if (c->in_body) {
		const uint64_t took = n->now_ns - c->body_since_ns;

		if (took > body_max_ns(n, c) &&
		    took > kr_rate_backlog_ns(n, c)) {
			kr_neighbours_failed(n, c, false);
			kr_conn_close(n, c, KR_BYE_TIMEOUT);
		}
		return;
	}
	/* What we said goes out behind a block that our own limit holds. */
	if (c->serve_out && n->now_ns - c->serve_since_ns < kr_rate_serve_ns(n))
		return;
	const uint64_t limited_ns = kr_rate_silence_ns(n, c);
	const uint64_t ping_ns =
		owes ? n->pol.silence_ping_ns : n->pol.keepalive_ns;
	const uint64_t close_ns = limited_ns + (owes ? n->pol.silence_close_ns
						     : 2 * n->pol.keepalive_ns);
	if (silent >= ping_ns)
		kr_conn_ping(n, c);
	/* It had the time to answer the ping, too. */
	if (silent >= close_ns && c->pinged_ns != 0 &&
	    n->now_ns - c->pinged_ns >= close_ns - ping_ns &&
	    silent > kr_rate_backlog_ns(n, c)) {
		kr_neighbours_failed(n, c, false);
		kr_conn_close(n, c, KR_BYE_TIMEOUT);
	}
}

void kr_conn_tick(struct kr_node *n, struct kr_conn *c)
{
	const uint64_t age = n->now_ns - c->since_ns;

	switch (c->state) {
	case KR_CONN_DIALING:
	case KR_CONN_WAIT_HELLO:
		if (age >= (c->state == KR_CONN_DIALING ? n->pol.dial_ns
							: n->pol.hello_ns)) {
			kr_neighbours_failed(n, c, false);
			kr_conn_close(n, c, KR_BYE_TIMEOUT);
		}
		break;
	case KR_CONN_OPEN:
		check_silence(n, c);
		if (c->state == KR_CONN_OPEN)
			kr_swarm_overdue(n, c);
		if (c->state == KR_CONN_OPEN)
			kr_neighbours_useless(n, c);
		break;
	default:
		break;
	}
}
