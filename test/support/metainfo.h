/* test/support/metainfo.h - a metainfo of a version that is not there yet. */
#ifndef KR_TEST_METAINFO_H
#define KR_TEST_METAINFO_H

#include <stdlib.h>
#include <string.h>

#include "peerwire/metainfo.h"
#include "test/support/test.h"

/* Give @m, made by us, a sixth key that we do not know. */
static inline void add_unknown_key(struct kr_metainfo *m)
{
	static const uint8_t pair[] = { 0xa4, 'n', 'e', 'x', 't', 0xc0 };
	const size_t len = m->encoded_len + sizeof(pair);
	uint8_t *buf = malloc(len);

	assert_non_null(buf);
	memcpy(buf, m->encoded, m->encoded_len);
	memcpy(buf + m->encoded_len, pair, sizeof(pair));
	assert_int_equal(buf[0], 0x85);
	buf[0] = 0x86;
	kr_metainfo_fini(kr_alloc_heap(), m);
	assert_ok(kr_metainfo_decode(kr_alloc_heap(), buf, len, m));
	free(buf);
}

#endif
