#include "core/bytes.h"

uint16_t kr_get_be16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

uint32_t kr_get_be32(const uint8_t *p)
{
	return (uint32_t)kr_get_be16(p) << 16 | kr_get_be16(p + 2);
}

uint64_t kr_get_be64(const uint8_t *p)
{
	return (uint64_t)kr_get_be32(p) << 32 | kr_get_be32(p + 4);
}

void kr_put_be16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

void kr_put_be32(uint8_t *p, uint32_t v)
{
	kr_put_be16(p, (uint16_t)(v >> 16));
	kr_put_be16(p + 2, (uint16_t)v);
}

void kr_put_be64(uint8_t *p, uint64_t v)
{
	kr_put_be32(p, (uint32_t)(v >> 32));
	kr_put_be32(p + 4, (uint32_t)v);
}

void kr_hex_encode(const uint8_t *p, size_t len, char *out)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < len; i++) {
		*out++ = digits[p[i] >> 4];
		*out++ = digits[p[i] & 15];
	}
	*out = '\0';
}

static int digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

enum kr_err kr_hex_decode(const char *hex, size_t hex_len, uint8_t *out)
{
	if (hex_len % 2 != 0)
		return KR_E_INVALID;
	for (size_t i = 0; i < hex_len; i += 2) {
		const int high = digit_value(hex[i]);
		const int low = digit_value(hex[i + 1]);

		if (high < 0 || low < 0)
			return KR_E_INVALID;
		out[i / 2] = (uint8_t)(high << 4 | low);
	}
	return KR_OK;
}
