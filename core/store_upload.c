/*
 * uploads/<uuid> holds the bytes, uploads/<uuid>.state what counts:
 *
 *	magic (8), size (8), length of the caller's state (4), state,
 *	SHA-256 of all that
 *
 * A save makes the bytes durable before it replaces the state, so the state
 * never speaks of bytes that a power cut can take.
 */
#define _GNU_SOURCE
#include "core/store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/bytes.h"
#include "core/clock.h"
#include "core/hash.h"
#include "core/log.h"

enum {
	HEAD_LEN = 8 + 8 + 4,
	RECORD_MAX = HEAD_LEN + KR_STORE_STATE_MAX + KR_SHA256_LEN,
};
static const uint8_t magic[8] = { 'k', 'r', 'u', 'p', 'l', 'o', 'a', '1' };

struct kr_store_upload {
	struct kr_store *store;
	struct kr_store_session *session; /* open: ours */
	int fd;
	uint64_t size_bytes; /* saved */
	size_t state_len;
	uint8_t state[KR_STORE_STATE_MAX];
};

/* ---- names --------------------------------------------------------------*/

bool kr_store_uuid_ok(const char *text, size_t len)
{
	if (len != KR_STORE_UUID_LEN)
		return false;
	for (size_t i = 0; i < len; i++) {
		const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
		const char c = text[i];
		const bool hex =
			(c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
		if (dash ? c != '-' : !hex)
			return false;
	}
	return true;
}

/* RFC 9562, version 4. */
static void make_uuid(char uuid[KR_STORE_UUID_LEN + 1])
{
	const uint64_t a = kr_clock_entropy(), b = kr_clock_entropy();

	snprintf(uuid, KR_STORE_UUID_LEN + 1, "%08x-%04x-4%03x-%04x-%012llx",
		 (unsigned)(a >> 32), (unsigned)(a >> 16 & 0xffff),
		 (unsigned)(a & 0xfff), (unsigned)(0x8000 | (b >> 48 & 0x3fff)),
		 (unsigned long long)(b & UINT64_C(0xffffffffffff)));
}

static void path_data(char *path, const char *uuid)
{
	snprintf(path, KR_STORE_PATH_MAX, "uploads/%.36s", uuid);
}

static void path_state(char *path, const char *uuid)
{
	snprintf(path, KR_STORE_PATH_MAX, "uploads/%.36s.state", uuid);
}

static bool delete_files(struct kr_store *s, const char *uuid)
{
	char path[KR_STORE_PATH_MAX];

	path_data(path, uuid);
	if (!kr_store_trash(s, path))
		return false;
	path_state(path, uuid);
	(void)kr_store_trash(s, path);
	return true;
}

/* ---- sessions -----------------------------------------------------------*/

static struct kr_store_session *find(struct kr_store *s, const char *uuid)
{
	kr_list_for_each (it, &s->sessions) {
		struct kr_store_session *u =
			KR_CONTAINER_OF(it, struct kr_store_session, link);
		if (strcmp(u->uuid, uuid) == 0)
			return u;
	}
	return NULL;
}

static void add_open(struct kr_store *s, struct kr_store_session *u)
{
	pthread_mutex_lock(&s->lock);
	u->is_open = true;
	kr_list_add_tail(&s->sessions, &u->link);
	s->count[KR_STORE_UPLOAD]++;
	s->handle_count++;
	pthread_mutex_unlock(&s->lock);
}

/* Forget open session @u; its bytes stop to count unless a blob took them. */
static void forget(struct kr_store *s, struct kr_store_session *u)
{
	pthread_mutex_lock(&s->lock);
	kr_assert(u->is_open);
	kr_store_count_sub(s, KR_STORE_UPLOAD, u->size_bytes);
	kr_list_del(&u->link);
	s->count[KR_STORE_UPLOAD]--;
	s->handle_count--;
	pthread_mutex_unlock(&s->lock);
	free(u);
}

/* Let others open @u, which counts for @size_bytes from now on. */
static void unopen(struct kr_store *s, struct kr_store_session *u,
		   uint64_t size_bytes)
{
	pthread_mutex_lock(&s->lock);
	kr_store_count_sub(s, KR_STORE_UPLOAD, u->size_bytes);
	u->size_bytes = size_bytes;
	kr_store_count_add(s, KR_STORE_UPLOAD, u->size_bytes);
	u->used_wall_ns = kr_clock_wall_ns();
	u->is_open = false;
	s->handle_count--;
	pthread_mutex_unlock(&s->lock);
}

/* Open for ourselves the first session idle for the time to live, or NULL. */
static struct kr_store_session *take_expired(struct kr_store *s)
{
	const uint64_t now_ns = kr_clock_wall_ns();
	struct kr_store_session *found = NULL;

	pthread_mutex_lock(&s->lock);
	kr_list_for_each (it, &s->sessions) {
		struct kr_store_session *u =
			KR_CONTAINER_OF(it, struct kr_store_session, link);
		if (u->is_open || now_ns < u->used_wall_ns ||
		    now_ns - u->used_wall_ns < s->upload_ttl_ns)
			continue;
		u->is_open = true;
		s->handle_count++;
		found = u;
		break;
	}
	pthread_mutex_unlock(&s->lock);
	return found;
}

void kr_store_expire_sessions(struct kr_store *s)
{
	struct kr_store_session *u;

	while ((u = take_expired(s)) != NULL) {
		kr_log_info("store", "upload session expired",
			    KR_STR("uuid", u->uuid),
			    KR_U64("bytes", u->size_bytes));
		if (delete_files(s, u->uuid)) {
			forget(s, u);
		} else {
			unopen(s, u, u->size_bytes); /* used now: tried later */
		}
	}
}

/* ---- the state file -----------------------------------------------------*/

static size_t record_encode(uint8_t buf[RECORD_MAX], uint64_t size_bytes,
			    const void *state, size_t len)
{
	memcpy(buf, magic, sizeof(magic));
	kr_put_be64(buf + 8, size_bytes);
	kr_put_be32(buf + 16, (uint32_t)len);
	if (len > 0)
		memcpy(buf + HEAD_LEN, state, len);
	kr_sha256(buf, HEAD_LEN + len, buf + HEAD_LEN + len);
	return HEAD_LEN + len + KR_SHA256_LEN;
}

static enum kr_err record_decode(struct kr_store_upload *u, const uint8_t *buf,
				 size_t len)
{
	uint8_t sum[KR_SHA256_LEN];
	size_t state_len;

	if (len < HEAD_LEN + KR_SHA256_LEN || len > RECORD_MAX ||
	    memcmp(buf, magic, sizeof(magic)) != 0)
		return KR_E_CORRUPT;
	state_len = kr_get_be32(buf + 16);
	if (state_len != len - HEAD_LEN - KR_SHA256_LEN)
		return KR_E_CORRUPT;
	kr_sha256(buf, HEAD_LEN + state_len, sum);
	if (memcmp(sum, buf + HEAD_LEN + state_len, sizeof(sum)) != 0)
		return KR_E_CORRUPT;
	u->size_bytes = kr_get_be64(buf + 8);
	u->state_len = state_len;
	memcpy(u->state, buf + HEAD_LEN, state_len);
	return KR_OK;
}

static enum kr_err load_state(struct kr_store_upload *u)
{
	char path[KR_STORE_PATH_MAX];
	uint8_t *buf = NULL;
	size_t len = 0;
	enum kr_err err;

	path_state(path, u->session->uuid);
	err = kr_store_read_file(u->store, path, RECORD_MAX, &buf, &len);
	if (err == KR_E_NOTFOUND)
		return KR_OK; /* never saved: nothing counts */
	if (err == KR_OK)
		err = record_decode(u, buf, len);
	free(buf);
	return err == KR_E_TOOBIG ? KR_E_CORRUPT : err;
}

/* ---- create, open, close ------------------------------------------------*/

static enum kr_err open_data(struct kr_store_upload *u, int flags)
{
	char path[KR_STORE_PATH_MAX];

	path_data(path, u->session->uuid);
	u->fd = openat(u->store->dir_fd, path,
		       O_RDWR | O_CLOEXEC | O_NOFOLLOW | flags, 0640);
	return u->fd < 0 ? kr_store_err(errno) : KR_OK;
}

enum kr_err kr_store_upload_create(struct kr_store *s,
				   struct kr_store_upload **ret)
{
	struct kr_store_session *session;
	struct kr_store_upload *u;
	enum kr_err err;

	kr_store_expire_sessions(s);
	err = kr_store_take(s, KR_STORE_UPLOAD, 0, "upload");
	if (err != KR_OK)
		return err;
	session = calloc(1, sizeof(*session));
	u = calloc(1, sizeof(*u));
	if (session == NULL || u == NULL) {
		free(session);
		free(u);
		return KR_E_NOMEM;
	}
	make_uuid(session->uuid);
	u->store = s;
	u->session = session;
	err = open_data(u, O_CREAT | O_EXCL);
	if (err != KR_OK) {
		if (err == KR_E_NOSPC)
			kr_store_log_nospc(s, "upload", 0, false);
		free(session);
		free(u);
		return err;
	}
	add_open(s, session);
	*ret = u;
	return KR_OK;
}

/* Read what was saved; cut off the torn write behind it. */
static enum kr_err open_session(struct kr_store_upload *u)
{
	struct stat st;
	enum kr_err err = open_data(u, 0);

	if (err != KR_OK)
		return err;
	err = load_state(u);
	if (err != KR_OK)
		return err;
	if (fstat(u->fd, &st) < 0)
		return kr_store_err(errno);
	if ((uint64_t)st.st_size < u->size_bytes)
		return KR_E_CORRUPT;
	if (ftruncate(u->fd, (off_t)u->size_bytes) < 0)
		return kr_store_err(errno);
	return KR_OK;
}

static enum kr_err pin_session(struct kr_store *s, const char *uuid,
			       struct kr_store_session **ret)
{
	enum kr_err err = KR_OK;

	pthread_mutex_lock(&s->lock);
	*ret = find(s, uuid);
	if (*ret == NULL) {
		err = KR_E_NOTFOUND;
	} else if ((*ret)->is_open) {
		err = KR_E_BUSY;
	} else {
		(*ret)->is_open = true;
		s->handle_count++;
	}
	pthread_mutex_unlock(&s->lock);
	return err;
}

static void recount(struct kr_store_upload *u, uint64_t size_bytes)
{
	struct kr_store *s = u->store;

	pthread_mutex_lock(&s->lock);
	kr_store_count_sub(s, KR_STORE_UPLOAD, u->session->size_bytes);
	u->session->size_bytes = size_bytes;
	kr_store_count_add(s, KR_STORE_UPLOAD, size_bytes);
	pthread_mutex_unlock(&s->lock);
}

/* A session that cannot be opened: what is damaged goes, the rest stays. */
static enum kr_err fail_open(struct kr_store_upload *u, enum kr_err err)
{
	struct kr_store *s = u->store;
	struct kr_store_session *session = u->session;

	if (u->fd >= 0)
		close(u->fd);
	free(u);
	if (err != KR_E_CORRUPT && err != KR_E_NOTFOUND) {
		unopen(s, session, session->size_bytes);
		return err;
	}
	kr_log_warn("store", "upload session is damaged and was deleted",
		    KR_STR("dir", s->dir), KR_STR("uuid", session->uuid));
	(void)delete_files(s, session->uuid);
	forget(s, session);
	return KR_E_NOTFOUND;
}

enum kr_err kr_store_upload_open(struct kr_store *s, const char *uuid,
				 struct kr_store_upload **ret)
{
	struct kr_store_session *session;
	struct kr_store_upload *u;
	enum kr_err err;

	if (!kr_store_uuid_ok(uuid, strnlen(uuid, KR_STORE_UUID_LEN + 1)))
		return KR_E_INVALID;
	u = calloc(1, sizeof(*u));
	if (u == NULL)
		return KR_E_NOMEM;
	err = pin_session(s, uuid, &session);
	if (err != KR_OK) {
		free(u);
		return err;
	}
	u->store = s;
	u->session = session;
	u->fd = -1;
	err = open_session(u);
	if (err != KR_OK)
		return fail_open(u, err);
	recount(u, u->size_bytes);
	*ret = u;
	return KR_OK;
}

void kr_store_upload_close(struct kr_store_upload *u, bool keep)
{
	struct kr_store_session *session;
	struct kr_store *s;
	struct stat st;
	uint64_t size_bytes;

	if (u == NULL)
		return;
	s = u->store;
	session = u->session;
	size_bytes = session->size_bytes;
	if (fstat(u->fd, &st) == 0)
		size_bytes = (uint64_t)st.st_size;
	close(u->fd);
	free(u);
	if (keep || !delete_files(s, session->uuid))
		unopen(s, session, size_bytes);
	else
		forget(s, session);
}

/* ---- while it is open ---------------------------------------------------*/

const char *kr_store_upload_uuid(const struct kr_store_upload *u)
{
	return u->session->uuid;
}

int kr_store_upload_fd(const struct kr_store_upload *u)
{
	return u->fd;
}

uint64_t kr_store_upload_size(const struct kr_store_upload *u)
{
	return u->size_bytes;
}

const void *kr_store_upload_state(const struct kr_store_upload *u,
				  size_t *ret_len)
{
	*ret_len = u->state_len;
	return u->state;
}

enum kr_err kr_store_upload_reserve(struct kr_store_upload *u,
				    uint64_t more_bytes)
{
	struct kr_store *s = u->store;
	const enum kr_err err =
		kr_store_take(s, KR_STORE_UPLOAD, more_bytes, "upload");

	if (err != KR_OK)
		return err;
	if (kr_store_free_bytes(s) < more_bytes &&
	    !kr_store_make_room(s, more_bytes)) {
		kr_store_give(s, KR_STORE_UPLOAD, more_bytes);
		kr_store_log_nospc(s, "upload", more_bytes, false);
		return KR_E_NOSPC;
	}
	pthread_mutex_lock(&s->lock);
	u->session->size_bytes += more_bytes;
	pthread_mutex_unlock(&s->lock);
	return KR_OK;
}

/* The bytes are there in full, no more than those, and on disk. */
static enum kr_err settle_data(struct kr_store_upload *u, uint64_t size_bytes)
{
	struct stat st;

	if (fstat(u->fd, &st) < 0)
		return kr_store_err(errno);
	if ((uint64_t)st.st_size < size_bytes)
		return KR_E_INVALID;
	if ((uint64_t)st.st_size > size_bytes &&
	    ftruncate(u->fd, (off_t)size_bytes) < 0)
		return kr_store_err(errno);
	return fdatasync(u->fd) < 0 ? kr_store_err(errno) : KR_OK;
}

enum kr_err kr_store_upload_save(struct kr_store_upload *u, uint64_t size_bytes,
				 const void *state, size_t len)
{
	uint8_t record[RECORD_MAX];
	char path[KR_STORE_PATH_MAX];
	size_t record_len;
	enum kr_err err;

	if (len > KR_STORE_STATE_MAX)
		return KR_E_TOOBIG;
	err = settle_data(u, size_bytes);
	if (err != KR_OK)
		return err;
	record_len = record_encode(record, size_bytes, state, len);
	path_state(path, u->session->uuid);
	err = kr_store_replace_file(u->store, path, record, record_len);
	if (err == KR_E_NOSPC && kr_store_make_room(u->store, record_len))
		err = kr_store_replace_file(u->store, path, record, record_len);
	if (err == KR_E_NOSPC)
		kr_store_log_nospc(u->store, "upload state", record_len, false);
	if (err != KR_OK)
		return err;
	u->size_bytes = size_bytes;
	u->state_len = len;
	if (len > 0)
		memcpy(u->state, record + HEAD_LEN, len);
	if (u->session->size_bytes < size_bytes)
		recount(u, size_bytes);
	return KR_OK;
}

/* The file is the blob now: free @u and what stood for it. */
static void become_blob(struct kr_store_upload *u, struct kr_store_entry *blob)
{
	struct kr_store *s = u->store;
	char path[KR_STORE_PATH_MAX];

	recount(u, u->size_bytes);
	kr_store_publish(s, blob, KR_STORE_UPLOAD, u->size_bytes, false);
	u->session->size_bytes = 0; /* the blob has them */
	path_state(path, u->session->uuid);
	(void)kr_store_trash(s, path);
	close(u->fd);
	forget(s, u->session);
	free(u);
}

enum kr_err kr_store_upload_commit(struct kr_store_upload *u,
				   const struct kr_digest *d)
{
	struct kr_store *s = u->store;
	struct kr_store_entry *blob;
	char path[KR_STORE_PATH_MAX];
	struct stat st;
	enum kr_err err;

	if (fstat(u->fd, &st) < 0)
		return kr_store_err(errno);
	if ((uint64_t)st.st_size != u->size_bytes)
		return KR_E_INVALID;
	if (fdatasync(u->fd) < 0)
		return kr_store_err(errno);
	err = kr_store_claim(s, d, &blob);
	if (err == KR_E_EXISTS) {
		kr_store_upload_close(u, false);
		return KR_OK;
	}
	if (err != KR_OK)
		return err;
	path_data(path, u->session->uuid);
	err = kr_store_publish_file(s, path, d);
	if (err != KR_OK) {
		kr_store_abandon(s, blob);
		return err;
	}
	become_blob(u, blob);
	return KR_OK;
}
