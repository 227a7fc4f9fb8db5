/*
 * test/support/fake_registry.h - a role behind the HTTP layer that keeps
 * everything in memory and works on sockets with poll(2), a thread per call.
 *
 * It follows the contract of registry_api/registry.h, and can be told to fail,
 * to wait, or to break off, so that tests see what HTTP makes of it.
 */
#ifndef KR_TEST_FAKE_REGISTRY_H
#define KR_TEST_FAKE_REGISTRY_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "registry_api/registry.h"

enum { FAKE_OBJECTS_MAX = 256 };

struct fake_object { /* a blob, a manifest or an upload session */
	char id[KR_UPLOAD_ID_LEN + 1];
	struct kr_digest digest;
	uint8_t *bytes;
	size_t len, cap;
	bool live;
};

struct fake_tag {
	char repo[KR_REPO_MAX + 1];
	char tag[KR_TAG_MAX + 1];
	struct kr_digest digest;
};

struct fake_referrer {
	struct kr_digest subject, digest;
	char artifact_type[KR_MEDIA_TYPE_MAX + 1];
	struct fake_object descriptor;
};

struct fake_registry {
	struct kr_registry registry; /* hand this to kr_http_start */
	pthread_mutex_t lock;
	pthread_cond_t idle;
	unsigned running; /* threads */
	unsigned serial;
	struct fake_object blobs[FAKE_OBJECTS_MAX];
	struct fake_object uploads[FAKE_OBJECTS_MAX];
	struct fake_tag tags[FAKE_OBJECTS_MAX];
	struct fake_referrer referrers[FAKE_OBJECTS_MAX];
	size_t blob_count, tag_count, referrer_count;
	unsigned calls[KR_REG_OP_COUNT];
	unsigned open_blobs, cancels;
	unsigned answered; /* responses of BLOB_SERVE, whole */

	/* knobs; set while nothing runs */
	enum kr_err fail[KR_REG_OP_COUNT]; /* KR_OK: work */
	const char *fail_text;             /* with a failure; or NULL */
	unsigned delay_ms[KR_REG_OP_COUNT];
	uint64_t
		send_break_at; /* BLOB_SEND, BLOB_SERVE: fail after so many; 0: never */
	bool serves;           /* BLOB_SERVE */
	bool discard_uploads;  /* count bytes, do not keep them */
	uint64_t send_hold_at; /* the same: wait for cancel; 0: never */
};

void fake_registry_init(struct fake_registry *f);

/* Wait for all calls, free everything. */
void fake_registry_fini(struct fake_registry *f);

/* Store a blob; its digest. */
struct kr_digest fake_registry_add_blob(struct fake_registry *f,
					const void *bytes, size_t len);
void fake_registry_add_tag(struct fake_registry *f, const char *repo,
			   const char *tag, const struct kr_digest *d);
bool fake_registry_has(struct fake_registry *f, const struct kr_digest *d);
unsigned fake_registry_calls(struct fake_registry *f, enum kr_reg_op op);
unsigned fake_registry_cancels(struct fake_registry *f);
unsigned fake_registry_open_blobs(struct fake_registry *f);
unsigned fake_registry_live_uploads(struct fake_registry *f);

/* Wait up to 5 s until no call runs.  False: one still does. */
bool fake_registry_settle(struct fake_registry *f);

struct kr_digest fake_sha256(const void *bytes, size_t len);

#endif
