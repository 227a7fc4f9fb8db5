#include "registry_api/link.h"

#include <stdbool.h>
#include <string.h>

/* RFC 3986, 2.3, and what a query may have besides (3.4).  Not "+": some read
 * it as a space. */
static bool is_plain(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9') ||
	       (c != '\0' && strchr("-._~:/", c) != NULL);
}

static enum kr_err append_value(struct kr_buf *out, const char *value)
{
	enum kr_err err = KR_OK;

	for (; err == KR_OK && *value != '\0'; value++)
		err = is_plain(*value)
			      ? kr_buf_append(out, value, 1)
			      : kr_buf_printf(out, "%%%02X",
					      (unsigned)(unsigned char)*value);
	return err;
}

enum kr_err kr_link_next(struct kr_buf *out, const char *path,
			 const struct kr_link_param *params, size_t count)
{
	enum kr_err err = kr_buf_printf(out, "<%s", path);
	const char *before = "?";

	for (size_t i = 0; err == KR_OK && i < count; i++) {
		if (params[i].value[0] == '\0')
			continue;
		err = kr_buf_printf(out, "%s%s=", before, params[i].key);
		if (err == KR_OK)
			err = append_value(out, params[i].value);
		before = "&";
	}
	return err != KR_OK ? err : kr_buf_append_str(out, ">; rel=\"next\"");
}
