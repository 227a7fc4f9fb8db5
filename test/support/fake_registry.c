#define _GNU_SOURCE
#include "test/support/fake_registry.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "registry_api/phr.h"

enum { CHUNK = 65536, POLL_MS = 20 };

/* A call is canceled through its role field, which lives as long as it. */
static bool is_canceled(struct kr_reg_call *call)
{
	return __atomic_load_n(&call->role, __ATOMIC_ACQUIRE) != NULL;
}

struct kr_digest fake_sha256(const void *bytes, size_t len)
{
	struct kr_digest d = { .alg = KR_SHA256 };

	if (EVP_Digest(bytes, len, d.bytes, NULL, EVP_sha256(), NULL) != 1)
		abort();
	return d;
}

static struct fake_object *find_blob(struct fake_registry *f,
				     const struct kr_digest *d)
{
	for (size_t i = 0; i < f->blob_count; i++)
		if (kr_digest_equal(&f->blobs[i].digest, d))
			return &f->blobs[i];
	return NULL;
}

static struct fake_object *find_upload(struct fake_registry *f, const char *id)
{
	for (size_t i = 0; i < FAKE_OBJECTS_MAX; i++)
		if (f->uploads[i].live && strcmp(f->uploads[i].id, id) == 0)
			return &f->uploads[i];
	return NULL;
}

static void append(struct fake_object *o, const void *bytes, size_t len)
{
	if (o->len + len > o->cap) {
		o->cap = (o->len + len) * 2;
		o->bytes = realloc(o->bytes, o->cap);
		if (o->bytes == NULL)
			abort();
	}
	if (len > 0)
		memcpy(o->bytes + o->len, bytes, len);
	o->len += len;
}

static void add_blob(struct fake_registry *f, struct kr_digest d,
		     const void *bytes, size_t len)
{
	if (find_blob(f, &d) != NULL)
		return;
	if (f->blob_count == FAKE_OBJECTS_MAX)
		abort();
	struct fake_object *o = &f->blobs[f->blob_count++];
	o->digest = d;
	append(o, bytes, len);
}

static void add_referrer(struct fake_registry *f,
			 const struct kr_reg_call *call)
{
	if (f->referrer_count == FAKE_OBJECTS_MAX)
		abort();
	struct fake_referrer *r = &f->referrers[f->referrer_count++];
	r->subject = call->subject;
	r->digest = call->digest;
	(void)snprintf(r->artifact_type, sizeof(r->artifact_type), "%s",
		       call->artifact_type);
	append(&r->descriptor, call->descriptor, call->descriptor_len);
}

static void add_tag(struct fake_registry *f, const char *repo, const char *tag,
		    const struct kr_digest *d)
{
	if (f->tag_count == FAKE_OBJECTS_MAX)
		abort();
	struct fake_tag *t = &f->tags[f->tag_count++];
	(void)snprintf(t->repo, sizeof(t->repo), "%s", repo);
	(void)snprintf(t->tag, sizeof(t->tag), "%s", tag);
	t->digest = *d;
}

/* ---- sockets ----*/

static enum kr_err wait_for(struct kr_reg_call *call, short events)
{
	struct pollfd p = { .fd = call->fd, .events = events };

	for (;;) {
		if (is_canceled(call))
			return KR_E_CANCELED;
		if (poll(&p, 1, POLL_MS) > 0)
			return KR_OK;
	}
}

static enum kr_err send_some(struct kr_reg_call *call, const uint8_t *p,
			     size_t len, size_t *sent)
{
	const ssize_t n = send(call->fd, p, len, MSG_NOSIGNAL | MSG_DONTWAIT);

	*sent = n > 0 ? (size_t)n : 0;
	if (n >= 0)
		return KR_OK;
	return errno == EAGAIN ? wait_for(call, POLLOUT)
			       : kr_err_from_errno(errno);
}

static enum kr_err recv_some(struct kr_reg_call *call, uint8_t *p, size_t len,
			     size_t *got)
{
	for (;;) {
		const ssize_t n = recv(call->fd, p, len, MSG_DONTWAIT);
		if (n > 0) {
			*got = (size_t)n;
			return KR_OK;
		}
		if (n == 0)
			return KR_E_CLOSED;
		if (errno != EAGAIN)
			return kr_err_from_errno(errno);
		const enum kr_err err = wait_for(call, POLLIN);
		if (err != KR_OK)
			return err;
	}
}

static enum kr_err hold(struct kr_reg_call *call)
{
	struct pollfd p = { .fd = call->fd, .events = POLLRDHUP };

	while (!is_canceled(call))
		if (poll(&p, 1, POLL_MS) > 0)
			return KR_E_CLOSED;
	return KR_E_CANCELED;
}

static enum kr_err send_object(struct fake_registry *f,
			       struct kr_reg_call *call,
			       const struct fake_object *o)
{
	call->moved = 0;
	while (call->moved < call->length) {
		uint64_t len = call->length - call->moved;
		size_t sent;
		if (f->send_break_at > 0 && call->moved >= f->send_break_at)
			return KR_E_IO;
		if (f->send_hold_at > 0 && call->moved >= f->send_hold_at)
			return hold(call);
		if (f->send_break_at > call->moved &&
		    len > f->send_break_at - call->moved)
			len = f->send_break_at - call->moved;
		if (f->send_hold_at > call->moved &&
		    len > f->send_hold_at - call->moved)
			len = f->send_hold_at - call->moved;
		const enum kr_err err =
			send_some(call, o->bytes + call->offset + call->moved,
				  (size_t)len, &sent);
		if (err != KR_OK)
			return err;
		call->moved += sent;
	}
	return KR_OK;
}

/* Where only the number of bytes counts, they are not kept. */
static void take(struct fake_registry *f, struct fake_object *o,
		 const uint8_t *bytes, size_t len)
{
	if (f->discard_uploads)
		o->len += len;
	else
		append(o, bytes, len);
}

static enum kr_err recv_length(struct fake_registry *f, struct fake_object *o,
			       struct kr_reg_call *call, uint8_t *scratch)
{
	take(f, o, call->prefix, call->prefix_len);
	call->moved = call->prefix_len;
	while (call->moved < call->length) {
		const uint64_t left = call->length - call->moved;
		size_t got;
		const enum kr_err err =
			recv_some(call, scratch,
				  left < CHUNK ? (size_t)left : CHUNK, &got);
		if (err != KR_OK)
			return err;
		take(f, o, scratch, got);
		call->moved += got;
	}
	return KR_OK;
}

static enum kr_err recv_chunked(struct fake_registry *f, struct fake_object *o,
				struct kr_reg_call *call, uint8_t *scratch)
{
	struct phr_chunked_decoder dec;
	size_t got = call->prefix_len;

	memset(&dec, 0, sizeof(dec));
	dec.consume_trailer = 1;
	memcpy(scratch, call->prefix, got);
	for (;;) {
		size_t len = got;
		const ssize_t rest =
			phr_decode_chunked(&dec, (char *)scratch, &len);
		if (rest == -1)
			return KR_E_PROTO;
		take(f, o, scratch, len);
		call->moved += len;
		if (rest >= 0) {
			call->surplus = malloc((size_t)rest + 1);
			call->surplus_len = (size_t)rest;
			memcpy(call->surplus, scratch + len, (size_t)rest);
			return KR_OK;
		}
		const enum kr_err err = recv_some(call, scratch, CHUNK, &got);
		if (err != KR_OK)
			return err;
	}
}

static enum kr_err do_upload_recv(struct fake_registry *f,
				  struct kr_reg_call *call)
{
	uint8_t *scratch = malloc(CHUNK);

	pthread_mutex_lock(&f->lock);
	struct fake_object *o = find_upload(f, call->upload_id);
	pthread_mutex_unlock(&f->lock);
	enum kr_err err = KR_E_NOTFOUND;
	if (scratch == NULL)
		abort();
	if (o != NULL && call->offset != UINT64_MAX && call->offset != o->len)
		err = KR_E_RANGE;
	else if (o != NULL)
		err = call->chunked ? recv_chunked(f, o, call, scratch)
				    : recv_length(f, o, call, scratch);
	if (o != NULL)
		call->size = o->len;
	free(scratch);
	return err;
}

/* ---- the rest, under the lock ----*/

static enum kr_err do_tag_get(struct fake_registry *f, struct kr_reg_call *call)
{
	for (size_t i = f->tag_count; i > 0; i--) {
		const struct fake_tag *t = &f->tags[i - 1];
		if (strcmp(t->repo, call->repo) == 0 &&
		    strcmp(t->tag, call->tag) == 0) {
			call->digest = t->digest;
			return KR_OK;
		}
	}
	return KR_E_NOTFOUND;
}

static enum kr_err do_manifest_get(struct fake_registry *f,
				   struct kr_reg_call *call)
{
	const struct fake_object *o = find_blob(f, &call->digest);

	if (o == NULL)
		return KR_E_NOTFOUND;
	call->bytes = malloc(o->len + 1);
	if (call->bytes == NULL)
		abort();
	memcpy(call->bytes, o->bytes, o->len);
	call->len = o->len;
	return KR_OK;
}

static enum kr_err do_manifest_put(struct fake_registry *f,
				   struct kr_reg_call *call)
{
	for (size_t i = 0; i < call->ref_count; i++) {
		if (find_blob(f, &call->refs[i].digest) == NULL) {
			call->missing_ref = i;
			return KR_E_NOTFOUND;
		}
	}
	add_blob(f, call->digest, call->bytes, call->len);
	const char *tag = call->tags;
	for (uint32_t i = 0; i < call->tag_count; i++) {
		add_tag(f, call->repo, tag, &call->digest);
		tag += strlen(tag) + 1;
	}
	if (call->has_subject)
		add_referrer(f, call);
	return KR_OK;
}

static enum kr_err do_delete(struct fake_registry *f, struct kr_reg_call *call)
{
	size_t kept = 0;

	for (size_t i = 0; i < f->tag_count; i++) {
		const struct fake_tag *t = &f->tags[i];
		const bool gone =
			strcmp(t->repo, call->repo) == 0 &&
			(call->tag[0] != '\0'
				 ? strcmp(t->tag, call->tag) == 0
				 : kr_digest_equal(&t->digest, &call->digest));
		if (!gone)
			f->tags[kept++] = *t;
	}
	const bool found_tag = kept < f->tag_count;
	f->tag_count = kept;
	struct fake_object *o =
		call->tag[0] != '\0' ? NULL : find_blob(f, &call->digest);
	if (o != NULL)
		o->digest = (struct kr_digest){ .alg = UINT8_MAX };
	return found_tag || o != NULL ? KR_OK : KR_E_NOTFOUND;
}

static enum kr_err do_blob(struct fake_registry *f, struct kr_reg_call *call)
{
	struct fake_object *o = find_blob(f, &call->digest);

	if (o == NULL)
		return KR_E_NOTFOUND;
	call->size = o->len;
	if (call->op == KR_REG_BLOB_OPEN) {
		call->blob = (struct kr_reg_blob *)o;
		f->open_blobs++;
	}
	return KR_OK;
}

static enum kr_err send_head(struct kr_reg_call *call)
{
	enum kr_err err = KR_OK;
	size_t at = 0, sent;

	while (err == KR_OK && at < call->prefix_len) {
		err = send_some(call, call->prefix + at, call->prefix_len - at,
				&sent);
		at += sent;
	}
	return err;
}

/* One response; begun says whether there is one. */
static enum kr_err serve_one(struct fake_registry *f, struct kr_reg_call *call)
{
	pthread_mutex_lock(&f->lock);
	const struct fake_object *o = find_blob(f, &call->digest);
	pthread_mutex_unlock(&f->lock);

	call->begun = o != NULL && call->answer(call, o->len);
	if (!call->begun)
		return KR_E_NOTFOUND;
	enum kr_err err = send_head(call);
	if (err == KR_OK)
		err = send_object(f, call, o);
	if (err != KR_OK)
		return err;
	call->begun = false;
	pthread_mutex_lock(&f->lock);
	f->answered++;
	pthread_mutex_unlock(&f->lock);
	return KR_OK;
}

/* Something that came within listen_ns; 0: nothing did. */
static size_t listen_for(struct kr_reg_call *call, uint8_t *buf, size_t cap)
{
	struct pollfd p = { .fd = call->fd, .events = POLLIN };
	uint64_t left_ms = call->listen_ns / 1000000;

	while (left_ms > 0 && !is_canceled(call)) {
		const int ms = left_ms < POLL_MS ? (int)left_ms : POLL_MS;

		if (poll(&p, 1, ms) > 0) {
			const ssize_t n = recv(call->fd, buf, cap, 0);

			return n > 0 ? (size_t)n : 0;
		}
		left_ms -= (uint64_t)ms;
	}
	return 0;
}

static enum kr_err do_serve(struct fake_registry *f, struct kr_reg_call *call)
{
	uint8_t buf[4096];
	enum kr_err err;
	size_t n;

	do {
		err = serve_one(f, call);
		if (err != KR_OK)
			return err;
		n = listen_for(call, buf, sizeof(buf));
	} while (n > 0 && call->next(call, buf, n));
	return KR_OK;
}

static enum kr_err do_upload_open(struct fake_registry *f,
				  struct kr_reg_call *call)
{
	for (size_t i = 0; i < FAKE_OBJECTS_MAX; i++) {
		struct fake_object *o = &f->uploads[i];
		if (o->live)
			continue;
		o->live = true;
		o->len = 0;
		(void)snprintf(o->id, sizeof(o->id),
			       "00000000-0000-4000-8000-%012x", ++f->serial);
		memcpy(call->upload_id, o->id, sizeof(o->id));
		return KR_OK;
	}
	return KR_E_LIMIT;
}

static enum kr_err do_upload(struct fake_registry *f, struct kr_reg_call *call)
{
	struct fake_object *o = find_upload(f, call->upload_id);

	if (o == NULL)
		return KR_E_NOTFOUND;
	call->size = o->len;
	if (call->op == KR_REG_UPLOAD_CANCEL)
		o->live = false;
	if (call->op != KR_REG_UPLOAD_COMMIT)
		return KR_OK;
	const struct kr_digest d = fake_sha256(o->bytes, o->len);
	o->live = false;
	if (!kr_digest_equal(&d, &call->digest))
		return KR_E_DIGEST;
	add_blob(f, d, o->bytes, o->len);
	return KR_OK;
}

static int compare_tags(const void *a, const void *b)
{
	return strcmp(((const struct fake_tag *)a)->tag,
		      ((const struct fake_tag *)b)->tag);
}

static enum kr_err do_tags_list(struct fake_registry *f,
				struct kr_reg_call *call)
{
	struct fake_object out = { .live = true };
	uint32_t count = 0;
	bool known = false;

	qsort(f->tags, f->tag_count, sizeof(f->tags[0]), compare_tags);
	for (size_t i = 0; i < f->tag_count; i++) {
		const struct fake_tag *t = &f->tags[i];
		if (strcmp(t->repo, call->repo) != 0)
			continue;
		known = true;
		if (strcmp(t->tag, call->tag) <= 0)
			continue;
		if (count++ < call->limit)
			append(&out, t->tag, strlen(t->tag) + 1);
	}
	call->more = count > call->limit;
	call->bytes = out.bytes;
	call->len = out.len;
	return known ? KR_OK : KR_E_NOTFOUND;
}

static int compare_repos(const void *a, const void *b)
{
	return strcmp(((const struct fake_tag *)a)->repo,
		      ((const struct fake_tag *)b)->repo);
}

static enum kr_err do_catalog(struct fake_registry *f, struct kr_reg_call *call)
{
	struct fake_object out = { .live = true };
	const char *last = call->last;
	uint32_t count = 0;

	qsort(f->tags, f->tag_count, sizeof(f->tags[0]), compare_repos);
	for (size_t i = 0; i < f->tag_count; i++) {
		const char *repo = f->tags[i].repo;
		if (strcmp(repo, last) <= 0)
			continue;
		last = repo;
		if (count++ < call->limit)
			append(&out, repo, strlen(repo) + 1);
	}
	call->more = count > call->limit;
	call->bytes = out.bytes;
	call->len = out.len;
	return KR_OK;
}

static int compare_referrers(const void *a, const void *b)
{
	return memcmp(((const struct fake_referrer *)a)->digest.bytes,
		      ((const struct fake_referrer *)b)->digest.bytes,
		      KR_DIGEST_LEN_MAX);
}

static enum kr_err do_referrers(struct fake_registry *f,
				struct kr_reg_call *call)
{
	struct fake_object out = { .live = true };
	char text[KR_DIGEST_TEXT_MAX], last[KR_REPO_MAX + 1];
	uint32_t count = 0;

	memcpy(last, call->last, sizeof(last));
	qsort(f->referrers, f->referrer_count, sizeof(f->referrers[0]),
	      compare_referrers);
	for (size_t i = 0; i < f->referrer_count; i++) {
		const struct fake_referrer *r = &f->referrers[i];
		if (!kr_digest_equal(&r->subject, &call->digest) ||
		    strcmp(kr_digest_print(&r->digest, text), last) <= 0 ||
		    (call->artifact_type[0] != '\0' &&
		     strcmp(call->artifact_type, r->artifact_type) != 0))
			continue;
		if (count++ >= call->limit)
			continue;
		if (out.len > 0)
			append(&out, ",", 1);
		append(&out, r->descriptor.bytes, r->descriptor.len);
		memcpy(call->last, text, sizeof(text));
	}
	call->more = count > call->limit;
	call->bytes = out.bytes;
	call->len = out.len;
	return KR_OK;
}

static enum kr_err do_locked(struct fake_registry *f, struct kr_reg_call *call)
{
	switch (call->op) {
	case KR_REG_TAG_GET:
		return do_tag_get(f, call);
	case KR_REG_MANIFEST_GET:
		return do_manifest_get(f, call);
	case KR_REG_MANIFEST_PUT:
		return do_manifest_put(f, call);
	case KR_REG_BLOB_STAT:
	case KR_REG_BLOB_OPEN:
	case KR_REG_BLOB_MOUNT:
		return do_blob(f, call);
	case KR_REG_BLOB_CLOSE:
		f->open_blobs--;
		return KR_OK;
	case KR_REG_UPLOAD_OPEN:
		return do_upload_open(f, call);
	case KR_REG_UPLOAD_STAT:
	case KR_REG_UPLOAD_COMMIT:
	case KR_REG_UPLOAD_CANCEL:
		return do_upload(f, call);
	case KR_REG_TAGS_LIST:
		return do_tags_list(f, call);
	case KR_REG_MANIFEST_DELETE:
	case KR_REG_BLOB_DELETE:
		return do_delete(f, call);
	case KR_REG_CATALOG:
		return do_catalog(f, call);
	case KR_REG_REFERRERS:
		return do_referrers(f, call);
	case KR_REG_READY:
		return KR_OK;
	default:
		return KR_E_UNSUPPORTED;
	}
}

/* ---- threads ----*/

struct job {
	struct fake_registry *f;
	struct kr_reg_call *call;
};

static enum kr_err work(struct fake_registry *f, struct kr_reg_call *call)
{
	enum kr_err err;

	for (unsigned ms = 0; ms < f->delay_ms[call->op]; ms += 5) {
		if (is_canceled(call))
			return KR_E_CANCELED;
		(void)usleep(5000);
	}
	if (f->fail[call->op] != KR_OK) {
		if (f->fail_text != NULL)
			(void)snprintf(call->text, sizeof(call->text), "%s",
				       f->fail_text);
		return f->fail[call->op];
	}
	if (call->op == KR_REG_BLOB_SEND)
		return send_object(f, call, (struct fake_object *)call->blob);
	if (call->op == KR_REG_BLOB_SERVE)
		return f->serves ? do_serve(f, call) : KR_E_UNSUPPORTED;
	if (call->op == KR_REG_UPLOAD_RECV)
		return do_upload_recv(f, call);
	pthread_mutex_lock(&f->lock);
	err = do_locked(f, call);
	pthread_mutex_unlock(&f->lock);
	return err;
}

static void *run(void *arg)
{
	struct job job = *(struct job *)arg;

	free(arg);
	job.call->err = work(job.f, job.call);
	kr_reg_done(job.call);
	pthread_mutex_lock(&job.f->lock);
	job.f->running--;
	pthread_cond_broadcast(&job.f->idle);
	pthread_mutex_unlock(&job.f->lock);
	return NULL;
}

static void submit(void *ctx, struct kr_reg_call *call)
{
	struct fake_registry *f = ctx;
	struct job *job = malloc(sizeof(*job));
	pthread_attr_t attr;
	pthread_t thread;

	if (job == NULL)
		abort();
	*job = (struct job){ f, call };
	pthread_mutex_lock(&f->lock);
	f->running++;
	f->calls[call->op]++;
	pthread_mutex_unlock(&f->lock);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 256 * 1024);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&thread, &attr, run, job) != 0)
		abort();
	pthread_attr_destroy(&attr);
}

static void cancel(void *ctx, struct kr_reg_call *call)
{
	struct fake_registry *f = ctx;

	__atomic_store_n(&call->role, f, __ATOMIC_RELEASE);
	pthread_mutex_lock(&f->lock);
	f->cancels++;
	pthread_mutex_unlock(&f->lock);
}

/* ---- for tests ----*/

void fake_registry_init(struct fake_registry *f)
{
	memset(f, 0, sizeof(*f));
	f->registry = (struct kr_registry){ f, submit, cancel };
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->idle, NULL);
}

bool fake_registry_settle(struct fake_registry *f)
{
	struct timespec until;
	int rc = 0;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 5;
	pthread_mutex_lock(&f->lock);
	while (f->running > 0 && rc == 0)
		rc = pthread_cond_timedwait(&f->idle, &f->lock, &until);
	pthread_mutex_unlock(&f->lock);
	return rc == 0;
}

void fake_registry_fini(struct fake_registry *f)
{
	if (!fake_registry_settle(f))
		abort();
	for (size_t i = 0; i < FAKE_OBJECTS_MAX; i++) {
		free(f->blobs[i].bytes);
		free(f->referrers[i].descriptor.bytes);
		free(f->uploads[i].bytes);
	}
	pthread_mutex_destroy(&f->lock);
	pthread_cond_destroy(&f->idle);
}

struct kr_digest fake_registry_add_blob(struct fake_registry *f,
					const void *bytes, size_t len)
{
	const struct kr_digest d = fake_sha256(bytes, len);

	pthread_mutex_lock(&f->lock);
	add_blob(f, d, bytes, len);
	pthread_mutex_unlock(&f->lock);
	return d;
}

void fake_registry_add_tag(struct fake_registry *f, const char *repo,
			   const char *tag, const struct kr_digest *d)
{
	pthread_mutex_lock(&f->lock);
	add_tag(f, repo, tag, d);
	pthread_mutex_unlock(&f->lock);
}

bool fake_registry_has(struct fake_registry *f, const struct kr_digest *d)
{
	pthread_mutex_lock(&f->lock);
	const bool has = find_blob(f, d) != NULL;
	pthread_mutex_unlock(&f->lock);
	return has;
}

unsigned fake_registry_calls(struct fake_registry *f, enum kr_reg_op op)
{
	pthread_mutex_lock(&f->lock);
	const unsigned n = f->calls[op];
	pthread_mutex_unlock(&f->lock);
	return n;
}

unsigned fake_registry_cancels(struct fake_registry *f)
{
	pthread_mutex_lock(&f->lock);
	const unsigned n = f->cancels;
	pthread_mutex_unlock(&f->lock);
	return n;
}

unsigned fake_registry_open_blobs(struct fake_registry *f)
{
	pthread_mutex_lock(&f->lock);
	const unsigned n = f->open_blobs;
	pthread_mutex_unlock(&f->lock);
	return n;
}

unsigned fake_registry_live_uploads(struct fake_registry *f)
{
	unsigned n = 0;

	pthread_mutex_lock(&f->lock);
	for (size_t i = 0; i < FAKE_OBJECTS_MAX; i++)
		n += f->uploads[i].live;
	pthread_mutex_unlock(&f->lock);
	return n;
}
