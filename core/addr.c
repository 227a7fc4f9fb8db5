#include "core/addr.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

static const uint8_t v4_prefix[12] = { [10] = 0xff, [11] = 0xff };

static enum kr_err parse_port(const char *text, size_t len, uint16_t *ret)
{
	uint32_t port = 0;

	if (len == 0 || len > 5)
		return KR_E_INVALID;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return KR_E_INVALID;
		port = port * 10 + (uint32_t)(text[i] - '0');
	}
	if (port > UINT16_MAX)
		return KR_E_INVALID;
	*ret = (uint16_t)port;
	return KR_OK;
}

/* The length of the host in front of the last colon, brackets included; 0 if
 * there is no such thing. */
static size_t host_len(const char *text, size_t len)
{
	size_t colon_at = len;

	while (colon_at > 0 && text[colon_at - 1] != ':')
		colon_at--;
	return colon_at > 0 ? colon_at - 1 : 0;
}

enum kr_err kr_addr_split(const char *text, size_t len,
			  struct kr_bytes *ret_host, uint16_t *ret_port)
{
	size_t n = host_len(text, len);
	uint16_t port;

	if (n == 0 || parse_port(text + n + 1, len - n - 1, &port) != KR_OK)
		return KR_E_INVALID;
	if (text[0] == '[') {
		if (n < 3 || text[n - 1] != ']')
			return KR_E_INVALID;
		text++;
		n -= 2;
	} else if (memchr(text, ':', n) != NULL) {
		return KR_E_INVALID; /* IPv6 without brackets is ambiguous */
	}
	if (memchr(text, '\0', n) != NULL)
		return KR_E_INVALID; /* would end a C string early */
	*ret_host = (struct kr_bytes){ (const uint8_t *)text, n };
	*ret_port = port;
	return KR_OK;
}

enum kr_err kr_addr_parse(const char *text, size_t len, struct kr_addr *ret)
{
	char host[INET6_ADDRSTRLEN] = "";
	struct kr_addr a = { .port = 0 };
	struct kr_bytes h;

	if (kr_addr_split(text, len, &h, &a.port) != KR_OK ||
	    h.len >= sizeof(host))
		return KR_E_INVALID;
	memcpy(host, h.ptr, h.len);
	if (text[0] == '[') {
		if (inet_pton(AF_INET6, host, a.ip) != 1)
			return KR_E_INVALID;
	} else {
		memcpy(a.ip, v4_prefix, sizeof(v4_prefix));
		if (inet_pton(AF_INET, host, a.ip + 12) != 1)
			return KR_E_INVALID;
	}
	*ret = a;
	return KR_OK;
}

char *kr_addr_print(const struct kr_addr *a, char *buf)
{
	const bool v4 = kr_addr_is_v4(a);
	char host[INET6_ADDRSTRLEN];

	inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? a->ip + 12 : a->ip, host,
		  sizeof(host));
	snprintf(buf, KR_ADDR_TEXT_MAX, v4 ? "%s:%u" : "[%s]:%u", host,
		 (unsigned)a->port);
	return buf;
}

bool kr_addr_is_v4(const struct kr_addr *a)
{
	return memcmp(a->ip, v4_prefix, sizeof(v4_prefix)) == 0;
}

bool kr_addr_equal(const struct kr_addr *a, const struct kr_addr *b)
{
	return a->port == b->port && memcmp(a->ip, b->ip, sizeof(a->ip)) == 0;
}

uint64_t kr_addr_hash(const struct kr_addr *a)
{
	uint64_t h = a->port;

	for (size_t i = 0; i < sizeof(a->ip); i += 8) {
		h = (h ^ kr_get_be64(a->ip + i)) * UINT64_C(0x9e3779b97f4a7c15);
		h ^= h >> 32;
	}
	return h;
}
