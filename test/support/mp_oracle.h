/*
 * test/support/mp_oracle.h - our MessagePack reader against msgpack-c's.
 *
 * Shared by the unit test, which feeds it vectors, and the fuzz target.
 */
#ifndef KR_TEST_MP_ORACLE_H
#define KR_TEST_MP_ORACLE_H

#include <stddef.h>
#include <stdint.h>

/*
 * Read the value at the front of @data with both; abort where they disagree
 * on whether there is one, where it ends, or what is in it.  They may disagree
 * on nesting below KR_MP_DEPTH_MAX.
 */
void mp_oracle_check(const uint8_t *data, size_t size);

#endif
