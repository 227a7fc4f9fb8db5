/*
 * Eviction.  Bytes are counted before they are written, so the question is
 * asked once, in kr_store_take: does what is there plus what comes stay below
 * the high watermark?  If not, victims are chosen and struck from the usage
 * under the lock, in one step with counting what comes; two callers can
 * therefore not spend the same room.  The files go after the lock is released,
 * before the caller goes on.
 *
 * A request that cannot fit even if everything evictable went is refused
 * before anything is deleted.
 */
#define _GNU_SOURCE
#include "core/store_internal.h"

#include <stdlib.h>

#include "core/clock.h"
#include "core/log.h"

static struct kr_digest_map *map_of(struct kr_store *s, enum kr_store_kind kind)
{
	kr_assert(kind == KR_STORE_BLOB || kind == KR_STORE_PARTIAL);
	return &s->entries[kind];
}

static uint64_t used_bytes(const struct kr_store *s)
{
	return s->bytes[KR_STORE_BLOB] + s->bytes[KR_STORE_PARTIAL] +
	       s->bytes[KR_STORE_UPLOAD];
}

void kr_store_count_add(struct kr_store *s, enum kr_store_kind kind,
			uint64_t bytes)
{
	s->bytes[kind] += bytes;
	kr_metric_add(s->bytes_metric[kind], bytes);
}

void kr_store_count_sub(struct kr_store *s, enum kr_store_kind kind,
			uint64_t bytes)
{
	kr_assert(bytes <= s->bytes[kind]);
	s->bytes[kind] -= bytes;
	kr_metric_sub(s->bytes_metric[kind], bytes);
}

struct kr_store_entry *kr_store_find(struct kr_store *s,
				     enum kr_store_kind kind,
				     const struct kr_digest *d)
{
	return kr_digest_map_get(map_of(s, kind), d);
}

static bool is_settled(const struct kr_store_entry *e)
{
	return e == NULL || (e->state == KR_STORE_READY && !e->keep_busy);
}

void kr_store_find_settled(struct kr_store *s, const struct kr_digest *d,
			   struct kr_store_entry **ret_blob,
			   struct kr_store_entry **ret_partial)
{
	for (;;) {
		*ret_blob = kr_store_find(s, KR_STORE_BLOB, d);
		*ret_partial = kr_store_find(s, KR_STORE_PARTIAL, d);
		if (is_settled(*ret_blob) && is_settled(*ret_partial))
			return;
		pthread_cond_wait(&s->changed, &s->lock);
	}
}

enum kr_err kr_store_entry_add(struct kr_store *s, enum kr_store_kind kind,
			       const struct kr_digest *d,
			       struct kr_store_entry **ret)
{
	struct kr_store_entry *e = calloc(1, sizeof(*e));

	if (e == NULL)
		return KR_E_NOMEM;
	kr_assert(kr_store_find(s, kind, d) == NULL);
	if (kr_digest_map_put(map_of(s, kind), d, e) != KR_OK) {
		free(e);
		return KR_E_NOMEM;
	}
	kr_list_init(&e->lru);
	e->digest = *d;
	e->kind = kind;
	e->state = KR_STORE_COMING;
	e->pins = 1;
	s->count[kind]++;
	*ret = e;
	return KR_OK;
}

void kr_store_entry_free(struct kr_store *s, struct kr_store_entry *e)
{
	kr_assert(kr_list_empty(&e->lru));
	kr_assert(kr_digest_map_del(map_of(s, e->kind), &e->digest) == e);
	s->count[e->kind]--;
	free(e);
	pthread_cond_broadcast(&s->changed);
}

/* Put @e in the LRU list or take it out, as its state demands. */
static void settle(struct kr_store *s, struct kr_store_entry *e)
{
	const bool evictable =
		e->state == KR_STORE_READY && e->pins == 0 && !e->keep;

	if (evictable == !kr_list_empty(&e->lru))
		return;
	if (evictable) {
		kr_list_add_tail(&s->lru, &e->lru);
		s->evictable_bytes += e->size_bytes;
	} else {
		kr_list_del(&e->lru);
		s->evictable_bytes -= e->size_bytes;
	}
}

void kr_store_pin(struct kr_store *s, struct kr_store_entry *e)
{
	e->pins++;
	settle(s, e);
}

void kr_store_unpin(struct kr_store *s, struct kr_store_entry *e)
{
	kr_assert(e->pins > 0);
	e->pins--;
	settle(s, e);
}

void kr_store_set_keep(struct kr_store *s, struct kr_store_entry *e, bool keep)
{
	e->keep = keep;
	settle(s, e);
}

enum kr_err kr_store_claim(struct kr_store *s, const struct kr_digest *d,
			   struct kr_store_entry **ret)
{
	enum kr_err err = KR_E_EXISTS;
	struct kr_store_entry *e;

	pthread_mutex_lock(&s->lock);
	while ((e = kr_store_find(s, KR_STORE_BLOB, d)) != NULL &&
	       e->state != KR_STORE_READY)
		pthread_cond_wait(&s->changed, &s->lock);
	if (e == NULL)
		err = kr_store_entry_add(s, KR_STORE_BLOB, d, ret);
	pthread_mutex_unlock(&s->lock);
	return err;
}

void kr_store_publish(struct kr_store *s, struct kr_store_entry *e,
		      enum kr_store_kind from, uint64_t size_bytes, bool keep)
{
	pthread_mutex_lock(&s->lock);
	kr_assert(e->state == KR_STORE_COMING && e->pins == 1);
	kr_store_count_sub(s, from, size_bytes);
	kr_store_count_add(s, KR_STORE_BLOB, size_bytes);
	e->size_bytes = size_bytes;
	e->used_wall_ns = e->saved_wall_ns = kr_clock_wall_ns();
	e->state = KR_STORE_READY;
	e->keep = keep;
	kr_store_unpin(s, e);
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
}

void kr_store_abandon(struct kr_store *s, struct kr_store_entry *e)
{
	pthread_mutex_lock(&s->lock);
	kr_assert(e->state == KR_STORE_COMING);
	kr_store_entry_free(s, e);
	pthread_mutex_unlock(&s->lock);
}

/* ---- deleting -----------------------------------------------------------*/

/* From here on @e is ours alone and counts for nothing. */
static void begin_gone(struct kr_store *s, struct kr_store_entry *e)
{
	const enum kr_store_kind other =
		e->kind == KR_STORE_BLOB ? KR_STORE_PARTIAL : KR_STORE_BLOB;

	kr_assert(e->state == KR_STORE_READY && e->pins == 0);
	e->state = KR_STORE_GOING;
	e->drop_meta = kr_store_find(s, other, &e->digest) == NULL;
	settle(s, e);
	kr_store_count_sub(s, e->kind, e->size_bytes);
}

static bool delete_files(struct kr_store *s, const struct kr_store_entry *e)
{
	char path[KR_STORE_PATH_MAX];

	if (e->kind == KR_STORE_BLOB)
		kr_store_path_blob(path, &e->digest);
	else
		kr_store_path_partial(path, &e->digest);
	if (!kr_store_trash(s, path))
		return false;
	if (e->kind == KR_STORE_PARTIAL) {
		kr_store_path_pieces(path, &e->digest);
		(void)kr_store_trash(s, path);
	}
	if (e->drop_meta) {
		kr_store_path_meta(path, &e->digest);
		(void)kr_store_trash(s, path);
		kr_store_path_keep(path, &e->digest);
		if (e->keep)
			(void)kr_store_trash(s, path);
	}
	return true;
}

/* [locked] The files of @e are gone, or not: finish or undo begin_gone. */
static enum kr_err end_gone(struct kr_store *s, struct kr_store_entry *e,
			    bool gone)
{
	if (gone) {
		kr_store_entry_free(s, e);
		return KR_OK;
	}
	kr_store_count_add(s, e->kind, e->size_bytes);
	e->state = KR_STORE_READY;
	settle(s, e);
	pthread_cond_broadcast(&s->changed);
	return KR_E_IO;
}

enum kr_err kr_store_drop(struct kr_store *s, struct kr_store_entry *e)
{
	bool gone;

	begin_gone(s, e);
	pthread_mutex_unlock(&s->lock);
	gone = delete_files(s, e);
	pthread_mutex_lock(&s->lock);
	return end_gone(s, e, gone);
}

/* [locked] Move least recently used entries to @victims until their sum is
 * @bytes or none is left. */
static void pick_victims(struct kr_store *s, uint64_t bytes,
			 struct kr_list *victims)
{
	uint64_t sum = 0;

	while (sum < bytes && !kr_list_empty(&s->lru)) {
		struct kr_store_entry *e = KR_CONTAINER_OF(
			kr_list_first(&s->lru), struct kr_store_entry, lru);

		begin_gone(s, e);
		sum += e->size_bytes;
		kr_list_add_tail(victims, &e->lru);
	}
}

/* Delete the files of @victims.  Returns the bytes that went. */
static uint64_t evict(struct kr_store *s, struct kr_list *victims)
{
	uint64_t sum = 0;

	kr_list_for_each_safe(it, victims)
	{
		struct kr_store_entry *e =
			KR_CONTAINER_OF(it, struct kr_store_entry, lru);
		const uint64_t size_bytes = e->size_bytes;
		bool gone;

		kr_log_info("store", "evicted", KR_DIGEST("blob", &e->digest),
			    KR_U64("bytes", size_bytes));
		gone = delete_files(s, e);
		pthread_mutex_lock(&s->lock);
		kr_list_del(&e->lru);
		if (end_gone(s, e, gone) == KR_OK) {
			sum += size_bytes;
			s->evicted_count++;
			kr_metric_add(s->evictions_metric, 1);
		}
		pthread_mutex_unlock(&s->lock);
	}
	return sum;
}

/* [locked] Would @bytes more fit if all that is evictable went? */
static bool can_fit(const struct kr_store *s, uint64_t bytes)
{
	const uint64_t fixed = used_bytes(s) - s->evictable_bytes;

	return fixed <= s->quota_bytes && bytes <= s->quota_bytes - fixed;
}

enum kr_err kr_store_take(struct kr_store *s, enum kr_store_kind kind,
			  uint64_t bytes, const char *what)
{
	struct kr_list victims;
	bool fits;

	kr_list_init(&victims);
	pthread_mutex_lock(&s->lock);
	fits = can_fit(s, bytes);
	if (fits) {
		const uint64_t then = used_bytes(s) + bytes;

		if (then > s->high_bytes)
			pick_victims(s, then - s->low_bytes, &victims);
		kr_store_count_add(s, kind, bytes);
	}
	pthread_mutex_unlock(&s->lock);
	(void)evict(s, &victims);
	if (!fits)
		kr_store_log_nospc(s, what, bytes, true);
	return fits ? KR_OK : KR_E_NOSPC;
}

void kr_store_give(struct kr_store *s, enum kr_store_kind kind, uint64_t bytes)
{
	pthread_mutex_lock(&s->lock);
	kr_store_count_sub(s, kind, bytes);
	pthread_mutex_unlock(&s->lock);
}

bool kr_store_make_room(struct kr_store *s, uint64_t bytes)
{
	const uint64_t free_bytes = kr_store_free_bytes(s);
	const uint64_t lacking = bytes > free_bytes ? bytes - free_bytes : 0;
	struct kr_list victims;

	kr_list_init(&victims);
	pthread_mutex_lock(&s->lock);
	if (lacking <= s->evictable_bytes)
		pick_victims(s, bytes, &victims);
	pthread_mutex_unlock(&s->lock);
	return evict(s, &victims) > 0;
}
