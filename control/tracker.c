#include "control/tracker.h"

#include <string.h>

#include "control/tracker_internal.h"

#define TTL_DEFAULT_NS UINT64_C(120000000000)

enum {
	BLOBS_DEFAULT = 100000,
	PEERS_DEFAULT = 20000,
	MEMBERS_DEFAULT = 2000000,
	DEGREE_CAP_DEFAULT = 40,
	EXPIRE_PER_ANNOUNCE = 8, /* more than one announce can add */
	MEMBERS_CAP_MIN = 8,
};

static void *take_zeroed(struct kr_tracker *t, size_t size)
{
	void *p = t->opts.alloc->get(t->opts.alloc->ctx, size,
				     _Alignof(max_align_t));

	if (p != NULL)
		memset(p, 0, size);
	return p;
}

static void give(struct kr_tracker *t, void *p)
{
	t->opts.alloc->put(t->opts.alloc->ctx, p);
}

/* Peer ids are random like digests, so a digest map may be keyed by them. */
static struct kr_digest key_of(const struct kr_peer_id *id)
{
	struct kr_digest key = { .alg = KR_SHA256 };

	memcpy(key.bytes, id->bytes, sizeof(id->bytes));
	return key;
}

/* ---- the dense array of a blob ---- */

static void put_at(struct tracker_blob *b, uint32_t index,
		   struct tracker_member *m)
{
	b->members[index] = m;
	m->index = index;
}

static void swap_members(struct tracker_blob *b, uint32_t i, uint32_t j)
{
	struct tracker_member *m = b->members[i];

	put_at(b, i, b->members[j]);
	put_at(b, j, m);
}

static void set_complete(struct tracker_member *m, bool complete)
{
	struct tracker_blob *b = m->blob;

	if (m->complete == complete)
		return;
	m->complete = complete;
	if (complete)
		swap_members(b, m->index, b->complete_count++);
	else
		swap_members(b, m->index, --b->complete_count);
}

static enum kr_err grow_members(struct kr_tracker *t, struct tracker_blob *b)
{
	const uint32_t cap =
		b->member_cap == 0 ? MEMBERS_CAP_MIN : 2 * b->member_cap;
	struct tracker_member **members;

	if (b->member_count < b->member_cap)
		return KR_OK;
	members = take_zeroed(t, cap * sizeof(struct tracker_member *));
	if (members == NULL)
		return KR_E_NOMEM;
	if (b->member_count > 0)
		memcpy(members, b->members,
		       b->member_count * sizeof(members[0]));
	give(t, b->members);
	b->members = members;
	b->member_cap = cap;
	return KR_OK;
}

/* ---- coming and going ---- */

static void drop_host(struct kr_tracker *t, struct tracker_host *h)
{
	(void)kr_digest_map_del(&t->hosts, &h->key);
	give(t, h);
}

static void drop_blob(struct kr_tracker *t, struct tracker_blob *b)
{
	kr_assert(b->member_count == 0);
	kr_list_del(&b->by_age);
	(void)kr_digest_map_del(&t->blobs, &b->digest);
	kr_digest_map_close(&b->by_id);
	give(t, b->members);
	give(t, b);
}

/* The blob goes with its last member. */
static void drop_member(struct kr_tracker *t, struct tracker_member *m)
{
	struct tracker_blob *b = m->blob;
	struct tracker_host *h = m->host;

	set_complete(m, false);
	swap_members(b, m->index, b->member_count - 1);
	b->member_count--;
	(void)kr_digest_map_del(&b->by_id, &h->key);
	kr_list_del(&m->by_age);
	kr_list_del(&m->by_blob_age);
	give(t, m);
	t->stats.members--;
	if (--h->member_count == 0)
		drop_host(t, h);
	if (b->member_count == 0)
		drop_blob(t, b);
}

static void evict_blob(struct kr_tracker *t)
{
	struct tracker_blob *b = KR_CONTAINER_OF(
		kr_list_first(&t->blobs_by_age), struct tracker_blob, by_age);

	for (uint32_t left = b->member_count; left > 0; left--) {
		t->stats.evicted++;
		drop_member(t, b->members[left - 1]);
	}
}

static struct tracker_host *get_host(struct kr_tracker *t,
				     const struct kr_tracker_peer *peer)
{
	const struct kr_digest key = key_of(&peer->id);
	struct tracker_host *h = kr_digest_map_get(&t->hosts, &key);

	if (h == NULL) {
		h = take_zeroed(t, sizeof(*h));
		if (h == NULL)
			return NULL;
		h->key = key;
		if (kr_digest_map_put(&t->hosts, &key, h) != KR_OK) {
			give(t, h);
			return NULL;
		}
	}
	h->peer = *peer;
	return h;
}

static struct tracker_blob *get_blob(struct kr_tracker *t,
				     const struct kr_digest *digest)
{
	struct tracker_blob *b = kr_digest_map_get(&t->blobs, digest);

	if (b != NULL) {
		kr_list_del(&b->by_age);
		kr_list_add_tail(&t->blobs_by_age, &b->by_age);
		return b;
	}
	if (kr_digest_map_count(&t->blobs) >= t->opts.blobs_max)
		evict_blob(t);
	b = take_zeroed(t, sizeof(*b));
	if (b == NULL)
		return NULL;
	b->digest = *digest;
	kr_list_init(&b->members_by_age);
	kr_digest_map_open(&b->by_id, t->opts.alloc);
	if (kr_digest_map_put(&t->blobs, digest, b) != KR_OK) {
		give(t, b);
		return NULL;
	}
	kr_list_add_tail(&t->blobs_by_age, &b->by_age);
	return b;
}

/* Make room for one more; never drops the blob @b. */
static void make_room(struct kr_tracker *t, struct tracker_blob *b)
{
	struct kr_list *oldest = NULL;

	if (b->member_count >= t->opts.peers_max)
		oldest = kr_list_first(&b->members_by_age);
	if (oldest != NULL) {
		t->stats.evicted++;
		drop_member(t, KR_CONTAINER_OF(oldest, struct tracker_member,
					       by_blob_age));
	} else if (t->stats.members >= t->opts.members_max) {
		oldest = kr_list_first(&t->members_by_age);
		struct tracker_member *m =
			KR_CONTAINER_OF(oldest, struct tracker_member, by_age);
		if (m->blob == b && b->member_count == 1)
			return; /* one above the bound, until it expires */
		t->stats.evicted++;
		drop_member(t, m);
	}
}

static struct tracker_member *add_member(struct kr_tracker *t,
					 struct tracker_blob *b,
					 struct tracker_host *h)
{
	struct tracker_member *m;

	if (grow_members(t, b) != KR_OK)
		return NULL;
	m = take_zeroed(t, sizeof(*m));
	if (m == NULL)
		return NULL;
	if (kr_digest_map_put(&b->by_id, &h->key, m) != KR_OK) {
		give(t, m);
		return NULL;
	}
	m->host = h;
	m->blob = b;
	put_at(b, b->member_count++, m);
	h->member_count++;
	t->stats.members++;
	kr_list_add_tail(&t->members_by_age, &m->by_age);
	kr_list_add_tail(&b->members_by_age, &m->by_blob_age);
	return m;
}

static void touch(struct kr_tracker *t, struct tracker_member *m,
		  uint64_t now_ns)
{
	m->expires_ns = now_ns + t->opts.ttl_ns;
	kr_list_del(&m->by_age);
	kr_list_add_tail(&t->members_by_age, &m->by_age);
	kr_list_del(&m->by_blob_age);
	kr_list_add_tail(&m->blob->members_by_age, &m->by_blob_age);
}

/* The member that @peer is of the blob, made if it is new. */
static struct tracker_member *get_member(struct kr_tracker *t,
					 const struct kr_tracker_peer *peer,
					 const struct kr_digest *digest)
{
	struct tracker_blob *b = get_blob(t, digest);
	const struct kr_digest key = key_of(&peer->id);
	struct tracker_member *m = NULL;
	struct tracker_host *h;

	if (b == NULL)
		return NULL;
	m = kr_digest_map_get(&b->by_id, &key);
	if (m != NULL) {
		m->host->peer = *peer;
		return m;
	}
	make_room(t, b);
	/* Only now: making room may have dropped the host. */
	h = get_host(t, peer);
	if (h != NULL)
		m = add_member(t, b, h);
	if (m == NULL && h != NULL && h->member_count == 0)
		drop_host(t, h);
	if (m == NULL && b->member_count == 0)
		drop_blob(t, b);
	return m;
}

static struct tracker_member *find_member(struct kr_tracker *t,
					  const struct kr_peer_id *id,
					  const struct kr_digest *digest)
{
	const struct tracker_blob *b = kr_digest_map_get(&t->blobs, digest);
	const struct kr_digest key = key_of(id);

	return b == NULL ? NULL : kr_digest_map_get(&b->by_id, &key);
}

/* ---- events ---- */

enum kr_err kr_tracker_announce(struct kr_tracker *t, uint64_t now_ns,
				const struct kr_tracker_peer *peer,
				const struct kr_tracker_item *item,
				struct kr_tracker_pick *out, uint32_t max,
				uint32_t *ret_count)
{
	struct tracker_member *m;

	(void)kr_tracker_expire(t, now_ns, EXPIRE_PER_ANNOUNCE);
	m = get_member(t, peer, &item->digest);
	if (m == NULL)
		return KR_E_NOMEM;
	set_complete(m, item->complete);
	m->degree = item->degree;
	touch(t, m, now_ns);
	t->stats.announces++;

	if (max > item->want)
		max = item->want;
	if (max > KR_TRACKER_WANT_MAX)
		max = KR_TRACKER_WANT_MAX;
	*ret_count = kr_tracker_pick(t, now_ns, m, out, max);
	t->stats.handed += *ret_count;
	return KR_OK;
}

void kr_tracker_leave(struct kr_tracker *t, uint64_t now_ns,
		      const struct kr_peer_id *id,
		      const struct kr_digest *digest)
{
	struct tracker_member *m = find_member(t, id, digest);

	if (m != NULL && m->quarantine_ns <= now_ns)
		drop_member(t, m);
}

enum kr_err kr_tracker_report(struct kr_tracker *t, uint64_t now_ns,
			      const struct kr_peer_id *id,
			      const struct kr_digest *digest)
{
	struct tracker_member *m = find_member(t, id, digest);

	if (m == NULL)
		return KR_E_NOTFOUND;
	/* It lives at least as long as its quarantine, which is not above the
	 * time to live. */
	touch(t, m, now_ns);
	m->quarantine_ns = now_ns + t->opts.quarantine_ns;
	t->stats.reports++;
	return KR_OK;
}

uint32_t kr_tracker_expire(struct kr_tracker *t, uint64_t now_ns, uint32_t max)
{
	uint32_t count = 0;
	struct kr_list *it;

	while (count < max &&
	       (it = kr_list_first(&t->members_by_age)) != NULL) {
		struct tracker_member *m =
			KR_CONTAINER_OF(it, struct tracker_member, by_age);

		if (m->expires_ns > now_ns)
			break;
		drop_member(t, m);
		count++;
	}
	t->stats.expired += count;
	return count;
}

void kr_tracker_stats_get(const struct kr_tracker *t,
			  struct kr_tracker_stats *ret)
{
	*ret = t->stats;
	ret->peers = kr_digest_map_count(&t->hosts);
	ret->blobs = kr_digest_map_count(&t->blobs);
}

/* ---- life ---- */

static void set_defaults(struct kr_tracker_opts *o)
{
	if (o->ttl_ns == 0)
		o->ttl_ns = TTL_DEFAULT_NS;
	if (o->quarantine_ns == 0 || o->quarantine_ns > o->ttl_ns)
		o->quarantine_ns = o->ttl_ns;
	if (o->blobs_max == 0)
		o->blobs_max = BLOBS_DEFAULT;
	if (o->peers_max == 0)
		o->peers_max = PEERS_DEFAULT;
	if (o->peers_max < 2) /* whoever makes room never empties the blob */
		o->peers_max = 2;
	if (o->members_max == 0)
		o->members_max = MEMBERS_DEFAULT;
	if (o->degree_cap == 0)
		o->degree_cap = DEGREE_CAP_DEFAULT;
}

enum kr_err kr_tracker_open(const struct kr_tracker_opts *opts,
			    struct kr_tracker **ret)
{
	struct kr_tracker_opts o = *opts;
	struct kr_tracker *t;

	set_defaults(&o);
	t = o.alloc->get(o.alloc->ctx, sizeof(*t), _Alignof(max_align_t));
	if (t == NULL)
		return KR_E_NOMEM;
	*t = (struct kr_tracker){ .opts = o };
	t->perm = take_zeroed(t, o.peers_max * sizeof(uint32_t));
	if (t->perm == NULL) {
		give(t, t);
		return KR_E_NOMEM;
	}
	for (uint32_t i = 0; i < o.peers_max; i++)
		t->perm[i] = i;
	kr_rand_init(&t->rand, o.seed);
	kr_list_init(&t->members_by_age);
	kr_list_init(&t->blobs_by_age);
	kr_digest_map_open(&t->hosts, o.alloc);
	kr_digest_map_open(&t->blobs, o.alloc);
	*ret = t;
	return KR_OK;
}

void kr_tracker_close(struct kr_tracker *t)
{
	if (t == NULL)
		return;
	(void)kr_tracker_expire(t, UINT64_MAX, UINT32_MAX);
	kr_digest_map_close(&t->hosts);
	kr_digest_map_close(&t->blobs);
	give(t, t->perm);
	give(t, t);
}

/* ---- invariants ---- */

static void check_blob(const struct kr_tracker *t, const struct tracker_blob *b)
{
	uint32_t by_age = 0;

	kr_assert(b->member_count > 0 && b->member_count <= t->opts.peers_max);
	kr_assert(b->complete_count <= b->member_count);
	kr_assert(b->member_count == kr_digest_map_count(&b->by_id));
	for (uint32_t i = 0; i < b->member_count; i++) {
		const struct tracker_member *m = b->members[i];

		kr_assert(m->index == i && m->blob == b);
		kr_assert(m->complete == (i < b->complete_count));
		kr_assert(kr_digest_map_get(&b->by_id, &m->host->key) == m);
		kr_assert(kr_digest_map_get(&t->hosts, &m->host->key) ==
			  m->host);
		kr_assert(m->quarantine_ns <= m->expires_ns);
	}
	kr_list_for_each (it, &b->members_by_age)
		by_age++;
	kr_assert(by_age == b->member_count);
}

void kr_tracker_check(const struct kr_tracker *t)
{
	uint32_t cursor = 0, members = 0, by_age = 0, blobs = 0;
	uint64_t last_ns = 0, host_members = 0;
	void *value;

	while (kr_digest_map_next(&t->blobs, &cursor, NULL, &value)) {
		check_blob(t, value);
		members += ((const struct tracker_blob *)value)->member_count;
	}
	for (cursor = 0;
	     kr_digest_map_next(&t->hosts, &cursor, NULL, &value);) {
		const struct tracker_host *h = value;
		kr_assert(h->member_count > 0);
		host_members += h->member_count;
	}
	kr_list_for_each (it, &t->members_by_age) {
		const struct tracker_member *m =
			KR_CONTAINER_OF(it, struct tracker_member, by_age);
		kr_assert(m->expires_ns >= last_ns);
		last_ns = m->expires_ns;
		by_age++;
	}
	kr_list_for_each (it, &t->blobs_by_age)
		blobs++;
	kr_assert(members == t->stats.members && by_age == members &&
		  host_members == members);
	kr_assert(blobs == kr_digest_map_count(&t->blobs) &&
		  blobs <= t->opts.blobs_max);
	kr_assert(members <= t->opts.members_max + 1);
	for (uint32_t i = 0; i < t->opts.peers_max; i++)
		kr_assert(t->perm[i] == i);
}
