#include "test/support/mp_oracle.h"

#include <string.h>

#include <msgpack.h>

#include "core/mp.h"

enum { THEIR_DEPTH_MAX = 64, PREFIXES_MAX = 64 };

/* A walk over their tree in the order of the bytes. */
struct walk {
	struct {
		const msgpack_object *values; /* elements or keys and values */
		uint32_t left;
	} stack[THEIR_DEPTH_MAX];
	uint32_t depth, deepest;
};

static void enter(struct walk *w, const msgpack_object *values, uint32_t count)
{
	kr_assert(w->depth < THEIR_DEPTH_MAX);
	w->stack[w->depth].values = values;
	w->stack[w->depth].left = count;
	w->depth++;
}

static const msgpack_object *step(struct walk *w)
{
	while (w->depth > 0 && w->stack[w->depth - 1].left == 0)
		w->depth--;
	if (w->depth == 0)
		return NULL;
	w->stack[w->depth - 1].left--;
	return w->stack[w->depth - 1].values++;
}

static void enter_if_container(struct walk *w, const msgpack_object *o)
{
	/* a msgpack_object_kv is two objects in a row */
	if (o->type == MSGPACK_OBJECT_ARRAY)
		enter(w, o->via.array.ptr, o->via.array.size);
	else if (o->type == MSGPACK_OBJECT_MAP)
		enter(w, (const msgpack_object *)o->via.map.ptr,
		      o->via.map.size * 2);
	else
		return;
	/* the bottom of the stack is the value itself */
	if (w->depth - 1 > w->deepest)
		w->deepest = w->depth - 1;
}

static uint32_t depth_of(const msgpack_object *root)
{
	struct walk w = { .depth = 0 };
	const msgpack_object *o;

	enter(&w, root, 1);
	while ((o = step(&w)) != NULL)
		enter_if_container(&w, o);
	return w.deepest;
}

static void compare_run(struct kr_bytes got, const char *ptr, uint32_t size)
{
	kr_assert(got.len == size);
	kr_assert(size == 0 || memcmp(got.ptr, ptr, size) == 0);
}

static void compare_int(struct kr_mp_reader *r, const msgpack_object *o)
{
	struct kr_mp_reader again = *r;
	uint64_t u = 0;
	int64_t i = 0;

	if (o->type == MSGPACK_OBJECT_POSITIVE_INTEGER) {
		kr_assert(kr_mp_r_u64(r, &u) == KR_OK && u == o->via.u64);
		kr_assert((kr_mp_r_i64(&again, &i) == KR_OK) ==
			  (u <= INT64_MAX));
	} else {
		kr_assert(kr_mp_r_i64(r, &i) == KR_OK && i == o->via.i64);
		kr_assert(kr_mp_r_u64(&again, &u) == KR_E_PROTO);
	}
}

/* The next value of ours is @o of theirs. */
static void compare(struct kr_mp_reader *r, const msgpack_object *o)
{
	struct kr_bytes bytes = { NULL, 0 };
	uint32_t count = 0;
	bool yes = false;

	switch (o->type) {
	case MSGPACK_OBJECT_NIL:
		kr_assert(kr_mp_r_nil(r) == KR_OK);
		break;
	case MSGPACK_OBJECT_BOOLEAN:
		kr_assert(kr_mp_r_bool(r, &yes) == KR_OK);
		kr_assert(yes == o->via.boolean);
		break;
	case MSGPACK_OBJECT_POSITIVE_INTEGER:
	case MSGPACK_OBJECT_NEGATIVE_INTEGER:
		compare_int(r, o);
		break;
	case MSGPACK_OBJECT_STR:
		kr_assert(kr_mp_r_str(r, &bytes) == KR_OK);
		compare_run(bytes, o->via.str.ptr, o->via.str.size);
		break;
	case MSGPACK_OBJECT_BIN:
		kr_assert(kr_mp_r_bin(r, &bytes) == KR_OK);
		compare_run(bytes, o->via.bin.ptr, o->via.bin.size);
		break;
	case MSGPACK_OBJECT_ARRAY:
		kr_assert(kr_mp_r_array(r, &count) == KR_OK);
		kr_assert(count == o->via.array.size);
		break;
	case MSGPACK_OBJECT_MAP:
		kr_assert(kr_mp_r_map(r, &count) == KR_OK);
		kr_assert(count == o->via.map.size);
		break;
	case MSGPACK_OBJECT_FLOAT32:
	case MSGPACK_OBJECT_FLOAT64:
	case MSGPACK_OBJECT_EXT:
		kr_assert(kr_mp_r_skip(r) == KR_OK);
		break;
	}
}

static void compare_tree(const uint8_t *data, size_t size,
			 const msgpack_object *root)
{
	struct walk w = { .depth = 0 };
	const msgpack_object *o;
	struct kr_mp_reader r;

	kr_mp_r_init_whole(&r, data, size);
	enter(&w, root, 1);
	while ((o = step(&w)) != NULL) {
		compare(&r, o);
		enter_if_container(&w, o);
	}
	kr_assert(kr_mp_r_end(&r) == KR_OK);
}

/* Whatever is cut off, a stream waits for the rest. */
static void check_prefixes(const uint8_t *data, size_t size)
{
	for (size_t n = 0; n < size && n < PREFIXES_MAX; n++) {
		struct kr_mp_reader r;

		kr_mp_r_init(&r, data, n);
		kr_assert(kr_mp_r_skip(&r) == KR_AGAIN && r.at == 0);
		kr_mp_r_init_whole(&r, data, n);
		kr_assert(kr_mp_r_skip(&r) == KR_E_PROTO && r.at == 0);
	}
}

static void check_verdict(const uint8_t *data, size_t size, enum kr_err ours,
			  size_t our_end)
{
	msgpack_zone zone;
	msgpack_object o;
	size_t their_end = 0;

	kr_assert(msgpack_zone_init(&zone, 8192));
	const msgpack_unpack_return theirs =
		msgpack_unpack((const char *)data, size, &their_end, &zone, &o);
	const bool they_have_it = theirs == MSGPACK_UNPACK_SUCCESS ||
				  theirs == MSGPACK_UNPACK_EXTRA_BYTES;

	if (ours == KR_OK) {
		kr_assert(they_have_it && their_end == our_end);
		compare_tree(data, our_end, &o);
		kr_assert(depth_of(&o) <= KR_MP_DEPTH_MAX);
	} else if (ours == KR_AGAIN) {
		kr_assert(!they_have_it);
	} else if (they_have_it) {
		kr_assert(depth_of(&o) > KR_MP_DEPTH_MAX);
	} else if (theirs == MSGPACK_UNPACK_CONTINUE) {
		kr_assert(size > KR_MP_DEPTH_MAX); /* too deep, and cut */
	}
	msgpack_zone_destroy(&zone);
}

void mp_oracle_check(const uint8_t *data, size_t size)
{
	struct kr_mp_reader r;

	kr_mp_r_init(&r, data, size);
	const enum kr_err ours = kr_mp_r_skip(&r);
	kr_assert(ours == KR_OK || ours == KR_AGAIN || ours == KR_E_PROTO);
	kr_assert(ours == KR_OK ? r.at > 0 && r.at <= size : r.at == 0);

	/* Theirs would allocate what a 32-bit count claims. */
	const bool may_claim_much =
		size > 0 && (memchr(data, 0xdd, size) != NULL ||
			     memchr(data, 0xdf, size) != NULL);
	if (size > 0 && (ours == KR_OK || !may_claim_much))
		check_verdict(data, size, ours, r.at);
	if (ours == KR_OK)
		check_prefixes(data, r.at);
}
