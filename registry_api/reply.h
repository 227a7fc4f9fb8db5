/*
 * registry_api/reply.h - answers a handler gives to the request it has.
 *
 * Each kr_reply* ends the request: the connection may be on to the next one
 * when it returns.
 */
#ifndef KR_REGISTRY_API_REPLY_H
#define KR_REGISTRY_API_REPLY_H

#include <stddef.h>

#include "registry_api/server.h"

/* Add a response header.  @name is a literal; @value is copied. */
void kr_reply_header(struct kr_conn *c, const char *name, const char *value);
void kr_reply_digest(struct kr_conn *c, const struct kr_digest *d);

/* Location: @fmt is a path from "/v2/" on; opts.advertise goes in front. */
void kr_reply_location(struct kr_conn *c, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Status, reason, the metrics and the API version: the first part of any
 * answer.  kr_reply* call it themselves; a streaming handler does. */
void kr_reply_begin(struct kr_conn *c, int status);

/* Send @status with a body, which is copied; a HEAD gets its length only. */
void kr_reply(struct kr_conn *c, int status, const char *content_type,
	      const void *body, size_t len);

/* Send @status without a body. */
void kr_reply_empty(struct kr_conn *c, int status);

/* Send @status without a body, to a HEAD of something of @size bytes. */
void kr_reply_length(struct kr_conn *c, int status, uint64_t size);

/* Send the table's status and an error body (registry_api/errors.h). */
void kr_reply_error(struct kr_conn *c, enum kr_oci_code code,
		    const char *message, const char *detail);

/* Send what @err means; @text (may be "") is for the client. */
void kr_reply_err(struct kr_conn *c, enum kr_err err, const char *text,
		  enum kr_oci_code notfound);

/* The answer closes the connection; what the client still sends of a body is
 * swallowed for a while. */
void kr_reply_closes(struct kr_conn *c);

#endif
