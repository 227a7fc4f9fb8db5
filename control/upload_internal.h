/*
 * control/upload_internal.h - what upload.c (life, finish) and upload_recv.c
 * (bytes come in) share; nobody else includes it.
 */
#ifndef KR_CONTROL_UPLOAD_INTERNAL_H
#define KR_CONTROL_UPLOAD_INTERNAL_H

#include "control/blob_hash.h"
#include "control/upload.h"
#include "control/upload_chunked.h"
#include "core/list.h"

enum kr_upload_phase {
	KR_UPLOAD_IDLE,
	KR_UPLOAD_OPENING,
	KR_UPLOAD_RECEIVING,
	KR_UPLOAD_FINISHING,
};

struct kr_upload_part { /* a block buffer and the body bytes in it */
	uint8_t *buf;
	uint32_t len;
};

struct kr_upload {
	struct kr_io *io;
	struct kr_store *store;
	struct kr_store_upload *stored;
	enum kr_upload_phase phase;
	uint64_t size_bytes;
	void *ctx;
	struct kr_job job;
	enum kr_err job_err;

	/* The pass over the bytes; not hashing: the file is read again at
	 * finish. */
	bool is_hashing;
	struct kr_blob_hash hash;
	struct kr_file_hash file;

	/* opening */
	char uuid[KR_STORE_UUID_LEN + 1]; /* "": a new one */
	kr_upload_open_fn *opened;

	/* receiving */
	kr_upload_recv_fn *received;
	struct kr_op op;
	struct kr_waiter waiter;
	struct kr_timer timer; /* the client is silent */
	int fd;                /* -1: all is in prefix */
	bool is_chunked, has_ended, is_writing, is_saving;
	struct kr_chunked chunked;
	uint64_t left_bytes; /* not chunked: of the body */
	const uint8_t *prefix;
	size_t prefix_len;
	struct kr_upload_part filling, writing;
	uint64_t start_bytes; /* size before this body */
	enum kr_err err;      /* why it ended early */
	uint8_t *surplus;     /* own copy, where it is not in prefix */
	struct kr_upload_got got;

	/* finishing */
	kr_upload_finish_fn *finished;
	struct kr_digest digest;
	struct kr_metainfo meta;
};

/* Drop the pass; the bytes are read again at finish. */
void kr_upload_forget_hash(struct kr_upload *u);

#endif
