#include "peerwire/policy.h"

#include <stdbool.h>
#include <string.h>

#define ROW_COUNT (sizeof(rows) / sizeof(rows[0]))

static const struct kr_policy_row rows[] = {
#define X(field, value, unit, key, reason) \
	{ #field, key, reason, unit, value, offsetof(struct kr_policy, field) },
	KR_POLICY_TABLE(X)
#undef X
};

/* Bounds that differ from "at least 0".  A maximum of 0 means none. */
static const struct {
	size_t offset;
	uint64_t min, max;
} bounds[] = {
#define B(field, min, max)                                  \
	{                                                   \
		offsetof(struct kr_policy, field), min, max \
	}
	B(window_min_bytes, 1, 0),
	B(window_max_bytes, 1, 0),
	B(window_room_permille, 0, 1000),
	B(pipeline_peer_pieces, 1, 64),
	B(pipeline_origin_pieces, 1, 64),
	B(conn_requests_max, 1, 4096),
	B(block_bytes, 512 * 1024, 64 * KR_POLICY_MIB),
	B(rate_window_ns, 1, 0),
	B(rate_default_bytes_per_s, 1, 0),
	B(blob_rank_permille, 0, 1000),
	B(blob_rank_scarce_permille, 0, 1000),
	B(overdue_min_ns, 1, 0),
	B(overdue_max_ns, 1, 0),
	B(endgame_copies_max, 1, 8),
	B(silence_ping_ns, 1, 0),
	B(silence_close_ns, 1, 0),
	B(tick_ns, 1, 0),
	B(tick_idle_ns, 1, 0),
	B(body_rate_min_bytes_per_s, 1, 0),
	B(body_stalled_ns, 1, 0),
	B(peers_interval_ns, 1, 0),
	B(keepalive_ns, 1, 0),
	B(hello_ns, 1, 0),
	B(dial_ns, 1, 0),
	B(reject_backoff_ns, 1, 0),
	B(degree_target, 1, 0),
	B(degree_max, 1, 0),
	B(dials_max, 1, 0),
	B(absent_retry_ns, 1, 0),
	B(hints_max, 1, 4096),
	B(upload_slots, 1, 64),
	B(upload_queue_max, 1, 1 << 20),
	B(reveal, 0, 1),
	B(limit_slice_ns, 1, 0),
	B(limit_slice_min_bytes, 1, 0),
	B(limit_slots, 1, 64),
	B(leech_only, 0, 1),
	B(serve_patience_ns, KR_POLICY_MS, 0),
	B(reveal_pieces, 1, 0),
	B(stream_window_bytes, 1, 0),
	B(conns_max, 1, 65535),
	B(blobs_max, 1, 65535),
	B(conn_streams_max, 1, 32767),
	B(conn_lookups_max, 1, 65535),
	B(frame_buffer_max_bytes, 512 * 1024, 0),
	B(conn_replies_max, 1, 0),
#undef B
};

const struct kr_policy_row *kr_policy_rows(size_t *ret_count)
{
	*ret_count = ROW_COUNT;
	return rows;
}

static uint64_t field_at(const struct kr_policy *p, size_t offset)
{
	uint64_t v;

	memcpy(&v, (const uint8_t *)p + offset, sizeof(v));
	return v;
}

void kr_policy_defaults(struct kr_policy *p)
{
#define X(field, value, unit, key, reason) p->field = (value);
	KR_POLICY_TABLE(X)
#undef X
}

static const struct kr_policy_row *row_of(size_t offset)
{
	for (size_t i = 0; i < ROW_COUNT; i++)
		if (rows[i].offset == offset)
			return &rows[i];
	kr_assert(offset == SIZE_MAX); /* bounds name fields */
	return NULL;
}

/* A limit below what the slowest peer is granted would be taken for one that
 * is dead. */
static bool is_limit(const struct kr_policy *p, uint64_t bytes_per_s)
{
	return bytes_per_s == 0 || bytes_per_s >= p->body_rate_min_bytes_per_s;
}

enum kr_err kr_policy_check(const struct kr_policy *p,
			    const struct kr_policy_row **ret_row)
{
	for (size_t i = 0; i < sizeof(bounds) / sizeof(bounds[0]); i++) {
		const uint64_t v = field_at(p, bounds[i].offset);

		if (v >= bounds[i].min &&
		    (bounds[i].max == 0 || v <= bounds[i].max))
			continue;
		*ret_row = row_of(bounds[i].offset);
		return KR_E_CONFIG;
	}
	if (!is_limit(p, p->up_bytes_per_s) ||
	    !is_limit(p, p->down_bytes_per_s)) {
		*ret_row = row_of(
			is_limit(p, p->up_bytes_per_s)
				? offsetof(struct kr_policy, down_bytes_per_s)
				: offsetof(struct kr_policy, up_bytes_per_s));
		return KR_E_CONFIG;
	}
	if (p->window_max_bytes < p->window_min_bytes ||
	    p->degree_max < p->degree_target) {
		*ret_row = row_of(
			p->degree_max < p->degree_target
				? offsetof(struct kr_policy, degree_max)
				: offsetof(struct kr_policy, window_max_bytes));
		return KR_E_CONFIG;
	}
	return KR_OK;
}
