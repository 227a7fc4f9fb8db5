/*
 * registry_api/phr.h - the request and chunk parser that libh2o 2.2.5 carries
 * and exports (picohttpparser), whose header Debian does not install.
 *
 * PURE.
 */
#ifndef KR_REGISTRY_API_PHR_H
#define KR_REGISTRY_API_PHR_H

#include <stddef.h>
#include <sys/types.h>

struct phr_header {
	const char *name; /* NULL: continues the header before (obs-fold) */
	size_t name_len;
	const char *value;
	size_t value_len;
};

struct phr_chunked_decoder { /* zero it before first use */
	size_t bytes_left_in_chunk;
	char consume_trailer;
	char _hex_count;
	char _state;
};

/* Length of the head; -1: malformed; -2: incomplete.  @last_len: how much of
 * @buf the last call saw. */
int phr_parse_request(const char *buf, size_t len, const char **method,
		      size_t *method_len, const char **path, size_t *path_len,
		      int *minor_version, struct phr_header *headers,
		      size_t *num_headers, size_t last_len);

/* Decode in place.  >= 0: the body ended, that many bytes follow the *@len
 * decoded ones; -1: malformed; -2: incomplete. */
ssize_t phr_decode_chunked(struct phr_chunked_decoder *decoder, char *buf,
			   size_t *len);

#endif
