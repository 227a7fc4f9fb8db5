#include "control/programs/tools_get.h"

#include <stdio.h>

#include <curl/curl.h>

enum { URL_BYTES_MAX = 1024, NS_PER_MS = 1000000 };

static size_t on_body(char *data, size_t size, size_t count, void *ctx)
{
	struct kr_buf *out = ctx;

	/* Less than was given ends the transfer: CURLE_WRITE_ERROR. */
	return kr_buf_append(out, data, size * count) == KR_OK ? size * count
							       : 0;
}

static enum kr_err error_of(CURLcode code)
{
	switch (code) {
	case CURLE_OK:
		return KR_OK;
	case CURLE_COULDNT_CONNECT:
		return KR_E_REFUSED;
	case CURLE_OPERATION_TIMEDOUT:
		return KR_E_TIMEDOUT;
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_URL_MALFORMAT:
		return KR_E_NOTFOUND;
	case CURLE_WRITE_ERROR:
		return KR_E_TOOBIG;
	case CURLE_OUT_OF_MEMORY:
		return KR_E_NOMEM;
	default:
		return KR_E_PROTO;
	}
}

static CURLcode perform(CURL *curl, const char *url, uint64_t timeout_ns,
			struct kr_buf *out)
{
	const long timeout_ms = (long)(timeout_ns / NS_PER_MS);
	CURLcode code = curl_easy_setopt(curl, CURLOPT_URL, url);

	if (code == CURLE_OK)
		code = curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
	if (code == CURLE_OK)
		code = curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	if (code == CURLE_OK)
		code = curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, timeout_ms);
	if (code == CURLE_OK)
		code = curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
	if (code == CURLE_OK)
		code = curl_easy_setopt(curl, CURLOPT_WRITEDATA, out);
	return code == CURLE_OK ? curl_easy_perform(curl) : code;
}

enum kr_err kr_tools_get(const char *hostport, const char *path,
			 uint64_t timeout_ns, struct kr_buf *out,
			 int *ret_status)
{
	char url[URL_BYTES_MAX];
	const int n = snprintf(url, sizeof(url), "http://%s%s", hostport, path);
	long status = 0;
	enum kr_err err;
	CURL *curl;

	if (n < 0 || (size_t)n >= sizeof(url))
		return KR_E_NOTFOUND;
	curl = curl_easy_init();
	if (curl == NULL)
		return KR_E_NOMEM;
	err = error_of(perform(curl, url, timeout_ns, out));
	if (err == KR_OK && curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE,
					      &status) != CURLE_OK)
		err = KR_E_PROTO;
	curl_easy_cleanup(curl);
	if (err == KR_OK)
		*ret_status = (int)status;
	return err;
}
