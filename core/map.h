/*
 * core/map.h - hash tables with open addressing: digest -> pointer and
 * uint64_t -> pointer.
 *
 * PURE: memory comes from a kr_alloc.  A map allocates nothing before the
 * first put, doubles when three quarters are in use, and never shrinks.  It
 * owns its copy of the keys, never the values.  Values are not NULL.  One
 * thread.
 *
 * Iteration is in no particular order.  Between two calls of _next the entry
 * just returned (or any other) may be deleted; a put may repeat or hide
 * entries.
 */
#ifndef KR_CORE_MAP_H
#define KR_CORE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/alloc.h"
#include "core/digest.h"
#include "core/err.h"

struct kr_map { /* fields are private to map.c; use the typed maps below */
	const struct kr_alloc *alloc;
	uint64_t (*hash)(const void *key);
	void **values; /* cap of them, then cap keys; one allocation */
	uint8_t *keys;
	uint32_t key_size_bytes;
	uint32_t cap;   /* 0 or a power of two */
	uint32_t count; /* entries */
	uint32_t dirty; /* slots that are not virgin: entries and graves */
};

/* Map from struct kr_digest. */
struct kr_digest_map {
	struct kr_map map;
};

/* @alloc is borrowed and must outlive the map. */
void kr_digest_map_open(struct kr_digest_map *m, const struct kr_alloc *alloc);
void kr_digest_map_close(struct kr_digest_map *m);
uint32_t kr_digest_map_count(const struct kr_digest_map *m);

/* The value of @key, or NULL. */
void *kr_digest_map_get(const struct kr_digest_map *m,
			const struct kr_digest *key);

/*
 * Map @key to @value (not NULL), replacing what was there.
 *
 * KR_E_NOMEM  the table had to grow and could not; nothing changed
 */
KR_NODISCARD enum kr_err kr_digest_map_put(struct kr_digest_map *m,
					   const struct kr_digest *key,
					   void *value);

/* Forget @key.  Returns the value it had, or NULL. */
void *kr_digest_map_del(struct kr_digest_map *m, const struct kr_digest *key);

/*
 * The next entry; false when there is none left.  @cursor starts at 0.
 * @ret_key may be NULL; it points into the map, until its next put.
 */
bool kr_digest_map_next(const struct kr_digest_map *m, uint32_t *cursor,
			const struct kr_digest **ret_key, void **ret_value);

/* Map from uint64_t; everything as above. */
struct kr_u64_map {
	struct kr_map map;
};

void kr_u64_map_open(struct kr_u64_map *m, const struct kr_alloc *alloc);
void kr_u64_map_close(struct kr_u64_map *m);
uint32_t kr_u64_map_count(const struct kr_u64_map *m);
void *kr_u64_map_get(const struct kr_u64_map *m, uint64_t key);
KR_NODISCARD enum kr_err kr_u64_map_put(struct kr_u64_map *m, uint64_t key,
					void *value);
void *kr_u64_map_del(struct kr_u64_map *m, uint64_t key);
bool kr_u64_map_next(const struct kr_u64_map *m, uint32_t *cursor,
		     uint64_t *ret_key, void **ret_value);

#endif
