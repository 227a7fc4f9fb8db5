#include "core/map.h"

#include <stdalign.h>
#include <string.h>

enum { FIRST_CAP = 16, CAP_MAX = 1U << 30 };

/* A value that is neither NULL (virgin slot) nor anybody's: the entry that was
 * here is gone, but a search must go on past it.  Graves rather than shifting
 * back, so that deleting while iterating neither skips nor repeats. */
static char grave_object;
#define GRAVE ((void *)&grave_object)

static void map_open(struct kr_map *m, const struct kr_alloc *alloc,
		     uint32_t key_size_bytes, uint64_t (*hash)(const void *key))
{
	*m = (struct kr_map){ .alloc = alloc,
			      .key_size_bytes = key_size_bytes,
			      .hash = hash };
}

static void map_close(struct kr_map *m)
{
	m->alloc->put(m->alloc->ctx, m->values);
	map_open(m, m->alloc, m->key_size_bytes, m->hash);
}

static uint8_t *key_at(const struct kr_map *m, uint32_t slot)
{
	return m->keys + (size_t)slot * m->key_size_bytes;
}

/* The slot of @key, or where it would go: the first grave passed, else the
 * virgin slot that ended the search.  There is always a virgin slot. */
static uint32_t find(const struct kr_map *m, const void *key)
{
	uint32_t slot = (uint32_t)m->hash(key) & (m->cap - 1);
	uint32_t free_slot = UINT32_MAX;

	while (m->values[slot] != NULL) {
		if (m->values[slot] == GRAVE) {
			if (free_slot == UINT32_MAX)
				free_slot = slot;
		} else if (memcmp(key_at(m, slot), key, m->key_size_bytes) ==
			   0) {
			return slot;
		}
		slot = (slot + 1) & (m->cap - 1);
	}
	return free_slot == UINT32_MAX ? slot : free_slot;
}

static bool is_entry(const void *value)
{
	return value != NULL && value != GRAVE;
}

static void store(struct kr_map *m, uint32_t slot, const void *key, void *value)
{
	if (m->values[slot] == NULL)
		m->dirty++;
	memcpy(key_at(m, slot), key, m->key_size_bytes);
	m->values[slot] = value;
	m->count++;
}

/* Move to a table of @cap slots without graves. */
static enum kr_err rehash(struct kr_map *m, uint32_t cap)
{
	const size_t values_bytes = cap * sizeof(void *);
	const size_t keys_bytes = (size_t)cap * m->key_size_bytes;
	struct kr_map old = *m;
	uint8_t *mem;

	if (cap > CAP_MAX)
		return KR_E_NOMEM;
	mem = m->alloc->get(m->alloc->ctx, values_bytes + keys_bytes,
			    alignof(void *));
	if (mem == NULL)
		return KR_E_NOMEM;

	m->values = (void **)(void *)mem;
	m->keys = mem + values_bytes;
	m->cap = cap;
	m->count = m->dirty = 0;
	for (uint32_t i = 0; i < cap; i++)
		m->values[i] = NULL;
	for (uint32_t i = 0; i < old.cap; i++) {
		if (is_entry(old.values[i]))
			store(m, find(m, key_at(&old, i)), key_at(&old, i),
			      old.values[i]);
	}
	old.alloc->put(old.alloc->ctx, old.values);
	return KR_OK;
}

/* Keep a quarter of the slots virgin, or searches get long. */
static enum kr_err make_room(struct kr_map *m)
{
	if (m->cap == 0)
		return rehash(m, FIRST_CAP);
	if (m->dirty < m->cap / 4 * 3)
		return KR_OK;
	/* Mostly graves: the same size will do once they are gone. */
	return rehash(m, m->count < m->cap / 2 ? m->cap : m->cap * 2);
}

static void *map_get(const struct kr_map *m, const void *key)
{
	if (m->cap == 0)
		return NULL;
	void *value = m->values[find(m, key)];
	return is_entry(value) ? value : NULL;
}

static enum kr_err map_put(struct kr_map *m, const void *key, void *value)
{
	kr_assert(value != NULL);
	if (m->cap > 0) {
		const uint32_t slot = find(m, key);

		if (is_entry(m->values[slot])) {
			m->values[slot] = value;
			return KR_OK;
		}
	}
	const enum kr_err err = make_room(m);
	if (err == KR_OK)
		store(m, find(m, key), key, value);
	return err;
}

static void *map_del(struct kr_map *m, const void *key)
{
	if (m->cap == 0)
		return NULL;
	const uint32_t slot = find(m, key);
	void *value = m->values[slot];

	if (!is_entry(value))
		return NULL;
	m->values[slot] = GRAVE;
	m->count--;
	return value;
}

static bool map_next(const struct kr_map *m, uint32_t *cursor,
		     const uint8_t **ret_key, void **ret_value)
{
	while (*cursor < m->cap) {
		const uint32_t slot = (*cursor)++;

		if (!is_entry(m->values[slot]))
			continue;
		*ret_key = key_at(m, slot);
		*ret_value = m->values[slot];
		return true;
	}
	return false;
}

static uint64_t hash_digest(const void *key)
{
	return kr_digest_hash(key);
}

void kr_digest_map_open(struct kr_digest_map *m, const struct kr_alloc *alloc)
{
	/* Keys are compared as memory: there is no padding. */
	_Static_assert(sizeof(struct kr_digest) == 1 + KR_DIGEST_LEN_MAX,
		       "struct kr_digest has padding");
	map_open(&m->map, alloc, sizeof(struct kr_digest), hash_digest);
}

void kr_digest_map_close(struct kr_digest_map *m)
{
	map_close(&m->map);
}

uint32_t kr_digest_map_count(const struct kr_digest_map *m)
{
	return m->map.count;
}

void *kr_digest_map_get(const struct kr_digest_map *m,
			const struct kr_digest *key)
{
	return map_get(&m->map, key);
}

enum kr_err kr_digest_map_put(struct kr_digest_map *m,
			      const struct kr_digest *key, void *value)
{
	return map_put(&m->map, key, value);
}

void *kr_digest_map_del(struct kr_digest_map *m, const struct kr_digest *key)
{
	return map_del(&m->map, key);
}

bool kr_digest_map_next(const struct kr_digest_map *m, uint32_t *cursor,
			const struct kr_digest **ret_key, void **ret_value)
{
	const uint8_t *key;

	if (!map_next(&m->map, cursor, &key, ret_value))
		return false;
	if (ret_key != NULL)
		*ret_key = (const struct kr_digest *)(const void *)key;
	return true;
}

/* Keys may be counters: spread them (the finalizer of splitmix64). */
static uint64_t hash_u64(const void *key)
{
	uint64_t z;

	memcpy(&z, key, sizeof(z));
	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

void kr_u64_map_open(struct kr_u64_map *m, const struct kr_alloc *alloc)
{
	map_open(&m->map, alloc, sizeof(uint64_t), hash_u64);
}

void kr_u64_map_close(struct kr_u64_map *m)
{
	map_close(&m->map);
}

uint32_t kr_u64_map_count(const struct kr_u64_map *m)
{
	return m->map.count;
}

void *kr_u64_map_get(const struct kr_u64_map *m, uint64_t key)
{
	return map_get(&m->map, &key);
}

enum kr_err kr_u64_map_put(struct kr_u64_map *m, uint64_t key, void *value)
{
	return map_put(&m->map, &key, value);
}

void *kr_u64_map_del(struct kr_u64_map *m, uint64_t key)
{
	return map_del(&m->map, &key);
}

bool kr_u64_map_next(const struct kr_u64_map *m, uint32_t *cursor,
		     uint64_t *ret_key, void **ret_value)
{
	const uint8_t *key;

	if (!map_next(&m->map, cursor, &key, ret_value))
		return false;
	if (ret_key != NULL)
		memcpy(ret_key, key, sizeof(*ret_key));
	return true;
}
