#include "registry_api/errors.h"

#include <stddef.h>

static const struct {
	const char *name;
	int status;
	const char *text;
} table[KR_OCI_COUNT] = {
#define X(id, code, http_status, message) \
	[KR_OCI_##id] = { #code, http_status, message },
	KR_OCI_TABLE(X)
#undef X
};

const char *kr_oci_name(enum kr_oci_code c)
{
	return table[c].name;
}

const char *kr_oci_text(enum kr_oci_code c)
{
	return table[c].text;
}

int kr_oci_status(enum kr_oci_code c)
{
	return table[c].status;
}

const char *kr_http_reason(int status)
{
	/* clang-format off */
	static const struct {
		int status;
		const char *reason;
	} reasons[] = {
		{ 200, "OK" },
		{ 201, "Created" },
		{ 202, "Accepted" },
		{ 204, "No Content" },
		{ 206, "Partial Content" },
		{ 400, "Bad Request" },
		{ 403, "Forbidden" },
		{ 404, "Not Found" },
		{ 405, "Method Not Allowed" },
		{ 409, "Conflict" },
		{ 413, "Content Too Large" },
		{ 416, "Range Not Satisfiable" },
		{ 417, "Expectation Failed" },
		{ 429, "Too Many Requests" },
		{ 431, "Request Header Fields Too Large" },
		{ 500, "Internal Server Error" },
		{ 503, "Service Unavailable" },
		{ 507, "Insufficient Storage" },
	};
	/* clang-format on */

	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (reasons[i].status == status)
			return reasons[i].reason;
	return "Unknown";
}

enum kr_oci_code kr_oci_from_err(enum kr_err err, enum kr_oci_code notfound)
{
	switch (err) {
	case KR_E_NOTFOUND:
		return notfound;
	case KR_E_DIGEST:
		return KR_OCI_DIGEST_INVALID;
	case KR_E_RANGE:
		return KR_OCI_RANGE_INVALID;
	case KR_E_TOOBIG:
		return KR_OCI_TOO_LARGE;
	case KR_E_NOSPC:
		return KR_OCI_NO_SPACE;
	case KR_E_DENIED:
	case KR_E_EXISTS: /* an immutable tag */
		return KR_OCI_DENIED;
	case KR_E_UNSUPPORTED:
		return KR_OCI_UNSUPPORTED;
	case KR_E_INVALID:
	case KR_E_PROTO:
		return KR_OCI_BAD_REQUEST;
	default:
		break;
	}
	const enum kr_err_class cls = kr_err_class_of(err);
	if (cls == KR_ERR_CLASS_RETRY || cls == KR_ERR_CLASS_RESOURCE ||
	    err == KR_E_CANCELED)
		return KR_OCI_UNAVAILABLE;
	return KR_OCI_INTERNAL;
}

enum kr_err kr_json_string(struct kr_buf *out, const char *text)
{
	enum kr_err err = kr_buf_append_str(out, "\"");

	for (; err == KR_OK && *text != '\0'; text++) {
		char c = *text;
		if (c == '"' || c == '\\') {
			err = kr_buf_append_str(out, "\\");
			if (err != KR_OK)
				break;
		} else if (c < 0x20 || c > 0x7e) {
			c = '?';
		}
		err = kr_buf_append(out, &c, 1);
	}
	return err != KR_OK ? err : kr_buf_append_str(out, "\"");
}

enum kr_err kr_oci_body(struct kr_buf *out, enum kr_oci_code c,
			const char *message, const char *detail)
{
	enum kr_err err;

	err = kr_buf_printf(out, "{\"errors\":[{\"code\":\"%s\",\"message\":",
			    table[c].name);
	if (err == KR_OK)
		err = kr_json_string(out, message ? message : table[c].text);
	if (err == KR_OK && detail != NULL)
		err = kr_buf_printf(out, ",\"detail\":%s", detail);
	if (err == KR_OK)
		err = kr_buf_append_str(out, "}]}\n");
	return err;
}
