/*
 * core/store_internal.h - what the files of the store share; nobody else
 * includes it.
 *
 *	store.c          open, close, lock file, usage
 *	store_load.c     the walk at open that builds the index
 *	store_index.c    entries, pins, recency, quota, eviction
 *	store_file.c     paths and the durable file operations
 *	store_blob.c     complete blobs, keep markers
 *	store_meta.c     metainfo
 *	store_partial.c  downloads
 *	store_upload.c   upload sessions
 *
 * An entry stands for the files of one blob or one partial.
 *
 *	claim -> COMING -- publish --> READY -- begin_gone --> GOING -> freed
 *	            \____ abandon ____________________________________/
 *
 * COMING and GOING belong to the thread that put the entry there; others see
 * "not found", or wait on store->changed if they need the name.  That is what
 * lets the mutex be released while the disk works.
 *
 * The LRU list holds exactly the entries that may be evicted: READY, no pins,
 * no keep marker.
 */
#ifndef KR_CORE_STORE_INTERNAL_H
#define KR_CORE_STORE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/digest.h"
#include "core/err.h"
#include "core/list.h"
#include "core/map.h"
#include "core/metrics.h"
#include "core/store.h"

enum {
	KR_STORE_PATH_MAX = 256,
	KR_STORE_NAME_MAX = 7 + 2 * KR_DIGEST_LEN_MAX + 1, /* "sha512-..." */
	KR_STORE_NOSPC_TRIES = 4, /* evictions for one ENOSPC of the kernel */
};

enum kr_store_kind {
	KR_STORE_BLOB,
	KR_STORE_PARTIAL,
	KR_STORE_UPLOAD,
	KR_STORE_KIND_COUNT
};

enum kr_store_state { KR_STORE_COMING, KR_STORE_READY, KR_STORE_GOING };

struct kr_store_entry {
	struct kr_list lru; /* in store->lru where it may be evicted */
	struct kr_digest digest;
	enum kr_store_kind kind; /* BLOB or PARTIAL */
	enum kr_store_state state;
	uint32_t pins;
	bool keep;              /* meta/<name>.keep exists */
	bool keep_busy;         /* its keep marker is being made or removed */
	bool drop_meta;         /* GOING: the metainfo goes with it */
	uint64_t size_bytes;    /* what it counts for in the usage */
	uint64_t used_wall_ns;  /* last use */
	uint64_t saved_wall_ns; /* last use that is on disk (mtime) */
};

struct kr_store_session { /* an upload session on disk, open or not */
	struct kr_list link;
	char uuid[KR_STORE_UUID_LEN + 1];
	bool is_open;
	uint64_t size_bytes; /* what it counts for in the usage */
	uint64_t used_wall_ns;
};

struct kr_store {
	int dir_fd, lock_fd;
	char *dir; /* for messages */
	uint64_t quota_bytes, high_bytes, low_bytes, upload_ttl_ns;
	atomic_uint_fast64_t temp_seq;
	atomic_uint_fast64_t nospc_logged_ns;

	pthread_mutex_t lock;            /* guards what follows */
	pthread_cond_t changed;          /* an entry left COMING or GOING */
	struct kr_digest_map entries[2]; /* by kind: BLOB, PARTIAL */
	struct kr_list lru;              /* least recently used first */
	struct kr_list sessions;
	uint64_t evictable_bytes; /* sum over lru */
	uint64_t bytes[KR_STORE_KIND_COUNT];
	uint64_t count[KR_STORE_KIND_COUNT];
	uint64_t evicted_count;
	uint32_t handle_count; /* open blobs, partials, uploads */
	struct kr_metric *bytes_metric[KR_STORE_KIND_COUNT];
	struct kr_metric *evictions_metric;
};

/* ---- store_file.c -------------------------------------------------------*/

/* What errno value @errnum means to a caller of the store: KR_E_NOSPC,
 * KR_E_NOMEM, KR_E_NOFILE, KR_E_NOTFOUND, or KR_E_IO. */
enum kr_err kr_store_err(int errnum);

/* "<hex>" of SHA-256, "<algorithm>-<hex>" of others; and back. */
char *kr_store_name(const struct kr_digest *d, char buf[KR_STORE_NAME_MAX]);
KR_NODISCARD enum kr_err kr_store_name_parse(const char *name, size_t len,
					     struct kr_digest *ret);

/* Paths relative to dir_fd, into @path of KR_STORE_PATH_MAX. */
void kr_store_path_blob(char *path, const struct kr_digest *d);
void kr_store_path_partial(char *path, const struct kr_digest *d);
void kr_store_path_pieces(char *path, const struct kr_digest *d);
void kr_store_path_meta(char *path, const struct kr_digest *d);
void kr_store_path_keep(char *path, const struct kr_digest *d);
/* A fresh name in trash/: what a crash leaves there is emptied at open. */
void kr_store_path_temp(struct kr_store *s, char *path);

KR_NODISCARD enum kr_err kr_store_write_all(int fd, const void *buf,
					    size_t len);
KR_NODISCARD enum kr_err kr_store_sync_dir(struct kr_store *s,
					   const char *path);

/* Read file @path, at most @max_bytes, into fresh memory.  KR_E_NOTFOUND,
 * KR_E_TOOBIG, KR_E_NOMEM, KR_E_IO. */
KR_NODISCARD enum kr_err kr_store_read_file(struct kr_store *s,
					    const char *path, size_t max_bytes,
					    uint8_t **ret, size_t *ret_len);

/* Write a synced temporary file; its path goes to @temp.  With an error there
 * is none. */
KR_NODISCARD enum kr_err kr_store_write_temp(struct kr_store *s, char *temp,
					     const void *buf, size_t len);

/* Replace @path by @len bytes: temporary file, fdatasync, rename. */
KR_NODISCARD enum kr_err kr_store_replace_file(struct kr_store *s,
					       const char *path,
					       const void *buf, size_t len);

/* Move @path into trash/ and unlink it there.  True: it is gone. */
bool kr_store_trash(struct kr_store *s, const char *path);

/* Move file @path, whose data are synced, to its place as blob @d, durably.
 * With an error it is at @path still, or lost if that failed too (logged). */
KR_NODISCARD enum kr_err kr_store_publish_file(struct kr_store *s,
					       const char *path,
					       const struct kr_digest *d);

/* What the file system has left for us, in bytes. */
uint64_t kr_store_free_bytes(struct kr_store *s);

/* Set the modification time of @fd to @wall_ns: recency across restarts. */
void kr_store_touch(int fd, uint64_t wall_ns);

/* Say once in a while that there is no room, and what to do. */
void kr_store_log_nospc(struct kr_store *s, const char *what,
			uint64_t wanted_bytes, bool is_quota);

/* ---- store_index.c; [locked]: the caller holds store->lock --------------*/

/* Add to or take from the usage of @kind.  [locked] */
void kr_store_count_add(struct kr_store *s, enum kr_store_kind kind,
			uint64_t bytes);
void kr_store_count_sub(struct kr_store *s, enum kr_store_kind kind,
			uint64_t bytes);

/* The entry of @d in whatever state, or NULL.  [locked] */
struct kr_store_entry *kr_store_find(struct kr_store *s,
				     enum kr_store_kind kind,
				     const struct kr_digest *d);
/* Both entries of @d, READY or NULL each, after waiting for whoever is at work
 * on them.  [locked] */
void kr_store_find_settled(struct kr_store *s, const struct kr_digest *d,
			   struct kr_store_entry **ret_blob,
			   struct kr_store_entry **ret_partial);

/* A new entry COMING, pinned once; it counts for nothing.  There is none of
 * the name.  KR_E_NOMEM.  [locked] */
KR_NODISCARD enum kr_err kr_store_entry_add(struct kr_store *s,
					    enum kr_store_kind kind,
					    const struct kr_digest *d,
					    struct kr_store_entry **ret);
/* Forget and free @e, whose bytes are not counted any more.  [locked] */
void kr_store_entry_free(struct kr_store *s, struct kr_store_entry *e);

void kr_store_pin(struct kr_store *s, struct kr_store_entry *e); /* [locked] */
/* Unpin; it becomes the most recently used.  [locked] */
void kr_store_unpin(struct kr_store *s, struct kr_store_entry *e);
/* Set the keep flag.  [locked] */
void kr_store_set_keep(struct kr_store *s, struct kr_store_entry *e, bool keep);

/*
 * Claim the name of blob @d for a commit.  KR_OK: *ret is COMING and ours
 * until kr_store_publish or kr_store_abandon.  KR_E_EXISTS: it is complete.
 * KR_E_NOMEM.
 */
KR_NODISCARD enum kr_err kr_store_claim(struct kr_store *s,
					const struct kr_digest *d,
					struct kr_store_entry **ret);
/* The file is in place: @size_bytes move from the usage of @from. */
void kr_store_publish(struct kr_store *s, struct kr_store_entry *e,
		      enum kr_store_kind from, uint64_t size_bytes, bool keep);
void kr_store_abandon(struct kr_store *s, struct kr_store_entry *e);

/* Count @bytes for @kind, evicting as the watermarks say.  KR_E_NOSPC: not
 * counted, and nothing was evicted in vain.  [blocks] if it evicts. */
KR_NODISCARD enum kr_err kr_store_take(struct kr_store *s,
				       enum kr_store_kind kind, uint64_t bytes,
				       const char *what);
void kr_store_give(struct kr_store *s, enum kr_store_kind kind, uint64_t bytes);

/* The file system has no room for @bytes: evict as much.  False: that would be
 * in vain, or there is nothing to evict.  [blocks] */
bool kr_store_make_room(struct kr_store *s, uint64_t bytes);

/* Delete the files of READY @e that nobody pins, and the entry.  The lock is
 * released while the disk works.  KR_E_IO: @e is READY as before.  [locked] */
KR_NODISCARD enum kr_err kr_store_drop(struct kr_store *s,
				       struct kr_store_entry *e);

/* ---- store_load.c, store_meta.c, store_upload.c --------------------------*/

/* Build the index from what is on disk; clear away what is broken. */
KR_NODISCARD enum kr_err kr_store_load(struct kr_store *s);

/* Size of the partial whose .pieces file is sound, without opening it.
 * KR_E_NOTFOUND, KR_E_CORRUPT. */
KR_NODISCARD enum kr_err kr_store_partial_peek(struct kr_store *s,
					       const struct kr_digest *d,
					       uint64_t *ret_size);

/* Is @text a UUID as we make them (RFC 9562, lower case)? */
bool kr_store_uuid_ok(const char *text, size_t len);
/* Delete sessions that nobody touched for the time to live.  [blocks] */

#endif
