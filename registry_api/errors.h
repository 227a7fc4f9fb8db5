/*
 * registry_api/errors.h - error codes, HTTP statuses and bodies of the
 * registry API (OCI distribution-spec, "Error Codes").
 *
 * One table: our name, the code as it goes over the wire, the status, the
 * text for people.  Rows behind the blank line are cases of ours.  A 4xx has a
 * code that the specification lists, for it lets a registry invent none; a 5xx,
 * of which it says nothing, has one of ours.
 */
#ifndef KR_REGISTRY_API_ERRORS_H
#define KR_REGISTRY_API_ERRORS_H

#include "core/buf.h"
#include "core/err.h"

/* clang-format off */
#define KR_OCI_TABLE(X)                                                        \
	X(BLOB_UNKNOWN,          BLOB_UNKNOWN,          404, "blob unknown to registry") \
	X(BLOB_UPLOAD_INVALID,   BLOB_UPLOAD_INVALID,   400, "blob upload invalid")      \
	X(BLOB_UPLOAD_UNKNOWN,   BLOB_UPLOAD_UNKNOWN,   404, "blob upload unknown to registry") \
	X(DIGEST_INVALID,        DIGEST_INVALID,        400, "provided digest did not match uploaded content") \
	X(MANIFEST_BLOB_UNKNOWN, MANIFEST_BLOB_UNKNOWN, 404, "manifest references a manifest or blob unknown to registry") \
	X(MANIFEST_INVALID,      MANIFEST_INVALID,      400, "manifest invalid")         \
	X(MANIFEST_UNKNOWN,      MANIFEST_UNKNOWN,      404, "manifest unknown to registry") \
	X(NAME_INVALID,          NAME_INVALID,          400, "invalid repository name")  \
	X(NAME_UNKNOWN,          NAME_UNKNOWN,          404, "repository name not known to registry") \
	X(SIZE_INVALID,          SIZE_INVALID,          400, "provided length did not match content length") \
	X(DENIED,                DENIED,                403, "requested access to the resource is denied") \
	X(UNSUPPORTED,           UNSUPPORTED,           405, "the operation is unsupported") \
	X(TOOMANYREQUESTS,       TOOMANYREQUESTS,       429, "too many requests")        \
	\
	X(RANGE_INVALID,         SIZE_INVALID,          416, "requested range cannot be satisfied") \
	X(UPLOAD_OUT_OF_ORDER,   BLOB_UPLOAD_INVALID,   416, "chunk does not begin where the upload ends") \
	X(TOO_LARGE,             SIZE_INVALID,          413, "request body is larger than the registry accepts") \
	X(REFERENCED,            UNSUPPORTED,           405, "a manifest of the repository refers to it: delete that first") \
	X(NOT_FOUND,             UNSUPPORTED,           404, "no such endpoint")         \
	X(BAD_REQUEST,           UNSUPPORTED,           400, "malformed request")        \
	X(EXPECTATION_FAILED,    UNSUPPORTED,           417, "unknown expectation")      \
	X(UNAVAILABLE,           UNAVAILABLE,           503, "service cannot answer now") \
	X(NO_SPACE,              NO_SPACE,              507, "no space left on the registry") \
	X(INTERNAL,              INTERNAL,              500, "internal error")
/* clang-format on */

enum kr_oci_code {
#define X(name, code, status, text) KR_OCI_##name,
	KR_OCI_TABLE(X)
#undef X
		KR_OCI_COUNT
};

/* As it goes over the wire: "BLOB_UNKNOWN", static. */
const char *kr_oci_name(enum kr_oci_code c);
const char *kr_oci_text(enum kr_oci_code c); /* static */
int kr_oci_status(enum kr_oci_code c);       /* 404 */
const char *kr_http_reason(int status);      /* "Not Found", static */

/* What @err (not KR_OK) of the role means to a client.  @notfound is the code
 * of KR_E_NOTFOUND, which depends on what was asked for. */
enum kr_oci_code kr_oci_from_err(enum kr_err err, enum kr_oci_code notfound);

/*
 * Append {"errors":[{"code":..,"message":..,"detail":..}]} and a newline.
 *
 * @message  escaped here, bytes that are not ASCII text become "?"; NULL: the
 *           table's text
 * @detail   a JSON value, or NULL for none
 *
 * Errors: kr_buf_append's.
 */
KR_NODISCARD enum kr_err kr_oci_body(struct kr_buf *out, enum kr_oci_code c,
				     const char *message, const char *detail);

/* Append @text as a JSON string with its quotes; bytes below 0x20 and above
 * 0x7e become "?". */
KR_NODISCARD enum kr_err kr_json_string(struct kr_buf *out, const char *text);

#endif
