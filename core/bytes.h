/*
 * core/bytes.h - borrowed runs of bytes, big-endian integers, hex.
 *
 * PURE.
 */
#ifndef KR_CORE_BYTES_H
#define KR_CORE_BYTES_H

#include <stddef.h>
#include <stdint.h>

#include "core/err.h"

/* Bytes that belong to somebody else; @ptr may be NULL when @len is 0. */
struct kr_bytes {
	const uint8_t *ptr;
	size_t len;
};

uint16_t kr_get_be16(const uint8_t *p);
uint32_t kr_get_be32(const uint8_t *p);
uint64_t kr_get_be64(const uint8_t *p);
void kr_put_be16(uint8_t *p, uint16_t v);
void kr_put_be32(uint8_t *p, uint32_t v);
void kr_put_be64(uint8_t *p, uint64_t v);

/* Print @len bytes as lower-case hex and a NUL into @out of 2 * @len + 1. */
void kr_hex_encode(const uint8_t *p, size_t len, char *out);

/*
 * Parse @hex_len lower-case digits (no NUL needed) into @out of @hex_len / 2
 * bytes.
 *
 * KR_E_INVALID  an odd length, or something else than 0-9a-f; @out is
 *               undefined
 */
KR_NODISCARD enum kr_err kr_hex_decode(const char *hex, size_t hex_len,
				       uint8_t *out);

#endif
