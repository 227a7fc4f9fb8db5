/*
 * core/addr.h - internet addresses with ports, as values and as text.
 *
 * All but the last section is PURE (addr.c); names are resolved, and kernel
 * structures filled, in resolve.c.
 */
#ifndef KR_CORE_ADDR_H
#define KR_CORE_ADDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "core/bytes.h"
#include "core/err.h"

enum { KR_ADDR_TEXT_MAX = 64 }; /* "[ipv6]:port" with the NUL */

struct kr_addr {
	uint8_t ip[16]; /* IPv4 as ::ffff:a.b.c.d (RFC 4291, 2.5.5.2) */
	uint16_t port;  /* host order; 0: any */
};

/*
 * Split "host:port" or "[ipv6]:port" (@len bytes, no NUL needed).  @ret_host
 * points into @text and has no brackets.
 *
 * KR_E_INVALID  of another form, an empty host, a port above 65535
 */
KR_NODISCARD enum kr_err kr_addr_split(const char *text, size_t len,
				       struct kr_bytes *ret_host,
				       uint16_t *ret_port);

/*
 * Parse "1.2.3.4:80" or "[::1]:80" (@len bytes, no NUL needed).
 *
 * KR_E_INVALID  of another form, host names included
 */
KR_NODISCARD enum kr_err kr_addr_parse(const char *text, size_t len,
				       struct kr_addr *ret);

/* Print into @buf of KR_ADDR_TEXT_MAX.  Returns @buf. */
char *kr_addr_print(const struct kr_addr *a, char *buf);

bool kr_addr_is_v4(const struct kr_addr *a);
bool kr_addr_equal(const struct kr_addr *a, const struct kr_addr *b);
uint64_t kr_addr_hash(const struct kr_addr *a);

/*
 * Resolve "host:port" by getaddrinfo(3): BLOCKS for as long as the resolver
 * does, so never on a reactor.  At most @max (> 0) addresses are written to
 * @list, each once, in the resolver's order.
 *
 * KR_E_INVALID      not of the form host:port
 * KR_E_NOTFOUND     the name does not exist or has no address
 * KR_E_UNAVAILABLE  the resolver cannot say now
 * KR_E_NOMEM
 */
KR_NODISCARD enum kr_err kr_addr_resolve(const char *hostport,
					 struct kr_addr *list, size_t max,
					 size_t *ret_count);

/* IPv4 addresses become AF_INET.  Returns the length used of @ret. */
socklen_t kr_addr_to_sockaddr(const struct kr_addr *a,
			      struct sockaddr_storage *ret);

/* KR_E_UNSUPPORTED  neither AF_INET nor AF_INET6 */
KR_NODISCARD enum kr_err kr_addr_from_sockaddr(const struct sockaddr *sa,
					       struct kr_addr *ret);

#endif
