/*
 * registry_api/errors.h - error codes, HTTP statuses and bodies of the
 * registry API (OCI distribution-spec, "Error Codes").
 *
 * One table: the code as it goes over the wire, the status, the text for
 * people.  Rows behind the blank line are ours; the specification lets a
 * registry define codes of its own.
 */
#ifndef KR_REGISTRY_API_ERRORS_H
#define KR_REGISTRY_API_ERRORS_H

#include "core/buf.h"
#include "core/err.h"

/* clang-format off */
#define KR_OCI_TABLE(X)                                                        \
	X(BLOB_UNKNOWN,          404, "blob unknown to registry")              \
	X(BLOB_UPLOAD_INVALID,   400, "blob upload invalid")                   \
	X(BLOB_UPLOAD_UNKNOWN,   404, "blob upload unknown to registry")       \
	X(DIGEST_INVALID,        400, "provided digest did not match uploaded content") \
	X(MANIFEST_BLOB_UNKNOWN, 404, "manifest references a manifest or blob unknown to registry") \
	X(MANIFEST_INVALID,      400, "manifest invalid")                      \
	X(MANIFEST_UNKNOWN,      404, "manifest unknown to registry")          \
	X(NAME_INVALID,          400, "invalid repository name")               \
	X(NAME_UNKNOWN,          404, "repository name not known to registry") \
	X(SIZE_INVALID,          400, "provided length did not match content length") \
	X(DENIED,                403, "requested access to the resource is denied") \
	X(UNSUPPORTED,           405, "the operation is unsupported")          \
	\
	X(RANGE_INVALID,         416, "requested range cannot be satisfied")   \
	X(UPLOAD_OUT_OF_ORDER,   416, "chunk does not begin where the upload ends") \
	X(TOO_LARGE,             413, "request body is larger than the registry accepts") \
	X(NOT_FOUND,             404, "no such endpoint")                      \
	X(BAD_REQUEST,           400, "malformed request")                     \
	X(EXPECTATION_FAILED,    417, "unknown expectation")                   \
	X(UNAVAILABLE,           503, "service cannot answer now")             \
	X(NO_SPACE,              507, "no space left on the registry")         \
	X(INTERNAL,              500, "internal error")
/* clang-format on */

enum kr_oci_code {
#define X(code, status, text) KR_OCI_##code,
	KR_OCI_TABLE(X)
#undef X
		KR_OCI_COUNT
};

const char *kr_oci_name(enum kr_oci_code c); /* "BLOB_UNKNOWN", static */
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
