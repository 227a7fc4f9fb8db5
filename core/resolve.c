#define _GNU_SOURCE
#include "core/addr.h"

#include <netdb.h>
#include <netinet/in.h>
#include <string.h>

socklen_t kr_addr_to_sockaddr(const struct kr_addr *a,
			      struct sockaddr_storage *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (kr_addr_is_v4(a)) {
		struct sockaddr_in in = { .sin_family = AF_INET,
					  .sin_port = htons(a->port) };

		memcpy(&in.sin_addr, a->ip + 12, 4);
		memcpy(ret, &in, sizeof(in));
		return sizeof(in);
	}
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6,
				    .sin6_port = htons(a->port) };

	memcpy(&in6.sin6_addr, a->ip, 16);
	memcpy(ret, &in6, sizeof(in6));
	return sizeof(in6);
}

enum kr_err kr_addr_from_sockaddr(const struct sockaddr *sa,
				  struct kr_addr *ret)
{
	struct kr_addr a = { .ip = { [10] = 0xff, [11] = 0xff } };

	if (sa->sa_family == AF_INET) {
		struct sockaddr_in in;

		memcpy(&in, sa, sizeof(in));
		memcpy(a.ip + 12, &in.sin_addr, 4);
		a.port = ntohs(in.sin_port);
	} else if (sa->sa_family == AF_INET6) {
		struct sockaddr_in6 in6;

		memcpy(&in6, sa, sizeof(in6));
		memcpy(a.ip, &in6.sin6_addr, 16);
		a.port = ntohs(in6.sin6_port);
	} else {
		return KR_E_UNSUPPORTED;
	}
	*ret = a;
	return KR_OK;
}

static enum kr_err from_gai(int code)
{
	switch (code) {
	case 0:
		return KR_OK;
	case EAI_NONAME:
	case EAI_NODATA:
	case EAI_ADDRFAMILY:
		return KR_E_NOTFOUND;
	case EAI_MEMORY:
		return KR_E_NOMEM;
	default:
		return KR_E_UNAVAILABLE;
	}
}

static bool is_in(const struct kr_addr *list, size_t count,
		  const struct kr_addr *a)
{
	for (size_t i = 0; i < count; i++) {
		if (kr_addr_equal(&list[i], a))
			return true;
	}
	return false;
}

static size_t collect(const struct addrinfo *found, uint16_t port,
		      struct kr_addr *list, size_t max)
{
	size_t count = 0;

	for (; found != NULL && count < max; found = found->ai_next) {
		struct kr_addr a;

		if (kr_addr_from_sockaddr(found->ai_addr, &a) != KR_OK)
			continue;
		a.port = port;
		if (!is_in(list, count, &a))
			list[count++] = a;
	}
	return count;
}

enum kr_err kr_addr_resolve(const char *hostport, struct kr_addr *list,
			    size_t max, size_t *ret_count)
{
	const struct addrinfo hints = { .ai_family = AF_UNSPEC,
					.ai_socktype = SOCK_STREAM };
	struct addrinfo *found = NULL;
	char host[NI_MAXHOST];
	struct kr_bytes h;
	uint16_t port;
	enum kr_err err;

	kr_assert(max > 0);
	err = kr_addr_split(hostport, strlen(hostport), &h, &port);
	if (err != KR_OK)
		return err;
	if (h.len >= sizeof(host))
		return KR_E_INVALID;
	memcpy(host, h.ptr, h.len);
	host[h.len] = '\0';

	err = from_gai(getaddrinfo(host, NULL, &hints, &found));
	if (err != KR_OK)
		return err;
	const size_t count = collect(found, port, list, max);
	freeaddrinfo(found);
	if (count == 0)
		return KR_E_NOTFOUND;
	*ret_count = count;
	return KR_OK;
}
