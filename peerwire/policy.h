/*
 * peerwire/policy.h - every number a node decides by, in one table.  PURE.
 *
 * A row is X(field, default, unit, key, reason): a field of struct kr_policy
 * of type uint64_t, its value when nobody says otherwise, what it is counted
 * in, its configuration key (below "swarm."; NULL: not configurable), and why
 * it is what it is.  Figures are those of the policy study (N = 1,000, 3 GB,
 * p99.9 in seconds, bound 10.03) unless said.
 *
 * Not here: piece lengths (kr_metainfo_piece_bytes_for), handouts and announce
 * intervals (the tracker's).
 */
#ifndef KR_PEERWIRE_POLICY_H
#define KR_PEERWIRE_POLICY_H

#include <stddef.h>
#include <stdint.h>

#include "core/err.h"
#include "peerwire/metainfo.h"

enum kr_policy_unit {
	KR_POLICY_COUNT,
	KR_POLICY_BYTES,
	KR_POLICY_BYTES_PER_S,
	KR_POLICY_NS,
	KR_POLICY_SWITCH, /* 0 or 1 */
	KR_POLICY_PERMILLE,
};

#define KR_POLICY_MIB (UINT64_C(1) << 20)
#define KR_POLICY_MS  UINT64_C(1000000)

/* clang-format off */
#define KR_POLICY_TABLE(X)                                                     \
/* whom to ask (rule 3) */                                                     \
X(down_bytes_per_s, 0, KR_POLICY_BYTES_PER_S, "download_rate",                 \
  "most that all peers together may send us, 64KiB or more; 0: no limit")      \
X(window_ns, 100 * KR_POLICY_MS, KR_POLICY_NS, NULL,                           \
  "in flight per host as time at the cap: 0.1 s is the plateau")               \
X(window_min_bytes, 8 * KR_POLICY_MIB, KR_POLICY_BYTES, "window_min",          \
  "below it the pipelines of slow hosts run dry")                              \
X(window_max_bytes, 64 * KR_POLICY_MIB, KR_POLICY_BYTES, "window_max",         \
  "128 MiB: 10.46 against 10.24, too much is asked of the wrong peers")        \
X(window_room_permille, 125, KR_POLICY_PERMILLE, NULL,                         \
  "a full window is filled again when this part of it is free, so that what "  \
  "is asked of one peer goes out together: each REQUEST that comes alone "     \
  "wakes it")                                                                  \
X(pipeline_peer_pieces, 2, KR_POLICY_COUNT, "pipeline_peer",                   \
  "1 starves the tail (10.94), 8 queues at the wrong host (10.30)")            \
X(pipeline_origin_pieces, 1, KR_POLICY_COUNT, "pipeline_origin",               \
  "origins are few: their queue is everybody's")                               \
X(far_patience_ns, 500 * KR_POLICY_MS, KR_POLICY_NS, "far_patience",           \
  "other zones are asked when ours left the window half empty for this long; " \
  "200 ms: 2.65 copies crossed, as all ask while the swarm begins")            \
X(conn_requests_max, 128, KR_POLICY_COUNT, NULL,                               \
  "blocks asked of one peer; one 64 MiB piece of 512 KiB blocks fits")         \
X(block_bytes, KR_BLOCK_BYTES, KR_POLICY_BYTES, NULL,                          \
  "control frames wait for a block at most; the same in a whole cluster; "     \
  "512 KiB: the same tail for a tenth more frames")                             \
X(rate_window_ns, 1000 * KR_POLICY_MS, KR_POLICY_NS, NULL,                     \
  "memory of measured rates: long enough to smooth single blocks")             \
X(rate_default_bytes_per_s, 100 * KR_POLICY_MIB, KR_POLICY_BYTES_PER_S, NULL,  \
  "assumed of a peer not yet measured: hopeful, so that it is tried")          \
X(blob_rank_permille, 970, KR_POLICY_PERMILLE, NULL,                           \
  "how often the first blob is asked first; strict order costs 3 %")           \
X(blob_rank_scarce_permille, 800, KR_POLICY_PERMILLE, NULL,                    \
  "the same while it is scarce: all keep up with one seeder, and the second "  \
  "blob is choice, too; 970: p99.9 1.18 of the bound instead of 1.08")         \
X(scarce_pieces, 16, KR_POLICY_COUNT, NULL,                                    \
  "a blob is scarce if no neighbour has more that we lack: with one seeder "   \
  "they have 5, with five 190")                                                \
/* deadlines (rules 8, 9) */                                                   \
X(overdue_min_ns, 200 * KR_POLICY_MS, KR_POLICY_NS, "overdue_min",             \
  "30 ms duplicates 54 % of the bytes and collapses")                          \
X(overdue_latencies, 2, KR_POLICY_COUNT, NULL,                                 \
  "round trips added to the expected wait")                                    \
X(overdue_factor_permille, 2000, KR_POLICY_PERMILLE, NULL,                     \
  "the expected wait is a guess: how far it may be off")                       \
X(overdue_max_ns, 5000 * KR_POLICY_MS, KR_POLICY_NS, "overdue_max",            \
  "a request this old is overdue whatever was expected")                       \
X(latency_default_ns, 2 * KR_POLICY_MS, KR_POLICY_NS, NULL,                    \
  "round trip assumed before a PONG measured it")                              \
X(endgame_copies_max, 2, KR_POLICY_COUNT, NULL,                                \
  "copies of one block asked for at once, the late one included")              \
X(silence_ping_ns, 1000 * KR_POLICY_MS, KR_POLICY_NS, "silence_ping",          \
  "silent with requests open: ask whether it lives")                           \
X(silence_close_ns, 2000 * KR_POLICY_MS, KR_POLICY_NS, "silence_close",        \
  "1 % of silent deaths cost 1.036 with 2 s")                                  \
X(backlog_max_ns, 30000 * KR_POLICY_MS, KR_POLICY_NS, NULL,                    \
  "who is silent behind what others send us is waited for as long as that "    \
  "takes, twice, and no longer than this: 20 hosts at 1 MB/s took seven "      \
  "times as long as they need, and did not end at half of it")                 \
X(keepalive_ns, 15000 * KR_POLICY_MS, KR_POLICY_NS, NULL,                      \
  "idle connections are pinged this often, closed after twice that")           \
X(hello_ns, 5000 * KR_POLICY_MS, KR_POLICY_NS, "hello_timeout",                \
  "an accepted connection must say HELLO within this")                         \
X(lookup_ns, 30000 * KR_POLICY_MS, KR_POLICY_NS, NULL,                         \
  "an OPEN is answered within this, whatever the driver does")                 \
X(dial_ns, 10000 * KR_POLICY_MS, KR_POLICY_NS, "dial_timeout",                 \
  "a dial without an answer is given up: the driver may be gone")              \
X(tick_ns, 20 * KR_POLICY_MS, KR_POLICY_NS, NULL,                              \
  "how late a deadline may be noticed while requests are open")                \
X(tick_idle_ns, 500 * KR_POLICY_MS, KR_POLICY_NS, NULL,                        \
  "and while none are")                                                        \
X(body_stalled_ns, 400 * KR_POLICY_MS, KR_POLICY_NS, NULL,                     \
  "a block this much later than 16 times what they took before is given up")   \
X(body_rate_min_bytes_per_s, 64 * 1024, KR_POLICY_BYTES_PER_S, NULL,           \
  "a block arriving slower than this, beyond silence_close, is given up")      \
X(reject_backoff_ns, 50 * KR_POLICY_MS, KR_POLICY_NS, NULL,                    \
  "a peer that said busy is asked again after this, doubling")                 \
X(reject_backoff_max_ns, 2000 * KR_POLICY_MS, KR_POLICY_NS, NULL,              \
  "and at least this often")                                                   \
/* rate limits: 64 KiB/s (body_rate_min) or more, or 0 */                      \
X(up_bytes_per_s, 0, KR_POLICY_BYTES_PER_S, "upload_rate",                     \
  "most that we send to all peers together, 64KiB or more; 0: no limit")       \
X(limit_slice_ns, 10 * KR_POLICY_MS, KR_POLICY_NS, NULL,                       \
  "limited bytes move in slices of this time; the burst is two: 2 % of a "     \
  "second")                                                                    \
X(limit_slice_min_bytes, 4096, KR_POLICY_BYTES, NULL,                          \
  "and of this much: at 64 KiB/s 16 a second, not 100 of 655 bytes")           \
X(limit_window_ns, 1000 * KR_POLICY_MS, KR_POLICY_NS, NULL,                    \
  "in flight under a download limit, a block at least: frames behind it "      \
  "wait")                                                                      \
X(limit_slots, 2, KR_POLICY_COUNT, NULL,                                       \
  "slots where a block of each would take over a second: one may be bulk")     \
X(leech_only, 0, KR_POLICY_SWITCH, NULL,                                       \
  "fetch and never serve; agents set it by swarm.leech_only")                  \
/* graph (rule 2) */                                                           \
X(degree_target, 18, KR_POLICY_COUNT, "degree_target",                         \
  "neighbours wanted per blob: 15-25 is the plateau")                          \
X(degree_max, 36, KR_POLICY_COUNT, "degree_max",                               \
  "twice the target: others dial us too")                                      \
X(degree_seed_max, 40, KR_POLICY_COUNT, "degree_seed_max",                     \
  "neighbours per blob of an origin or proxy")                                 \
X(degree_complete_min, 2, KR_POLICY_COUNT, NULL,                               \
  "neighbours among them that have everything, if there are such")             \
X(dials_max, 16, KR_POLICY_COUNT, NULL,                                        \
  "dials under way at once: half a target")                                    \
X(dial_backoff_ns, 500 * KR_POLICY_MS, KR_POLICY_NS, NULL,                     \
  "a host that failed is dialled again after this, doubling")                  \
X(dial_backoff_max_ns, 30000 * KR_POLICY_MS, KR_POLICY_NS, NULL,               \
  "and at least this often")                                                   \
X(dial_failures_max, 5, KR_POLICY_COUNT, NULL,                                 \
  "failures in a row after which a hint is dropped")                           \
X(absent_retry_ns, 500 * KR_POLICY_MS, KR_POLICY_NS, NULL,                     \
  "an origin that has not the blob is fetching it from storage, a proxy is "   \
  "receiving it again: asked again after this, doubling")                      \
X(absent_retry_max_ns, 4000 * KR_POLICY_MS, KR_POLICY_NS, NULL,                \
  "and at least this often: a client waits, and an OPEN is 200 bytes")         \
X(hints_max, 64, KR_POLICY_COUNT, NULL,                                        \
  "hosts remembered per blob; a handout is 50")                                \
X(peers_interval_ns, 1000 * KR_POLICY_MS, KR_POLICY_NS, NULL,                  \
  "least time between two requests for neighbours; doubles while few come")    \
X(peers_interval_max_ns, 30000 * KR_POLICY_MS, KR_POLICY_NS, NULL,             \
  "and at least this often")                                                   \
X(peers_starving_ns, 2000 * KR_POLICY_MS, KR_POLICY_NS, NULL,                  \
  "and this often while no neighbour has anything we lack")                    \
X(useless_ns, 30000 * KR_POLICY_MS, KR_POLICY_NS, "useless_after",             \
  "a connection neither side wants anything of is closed")                     \
X(full_retry_ns, 2000 * KR_POLICY_MS, KR_POLICY_NS, NULL,                      \
  "told to those refused for being full")                                      \
X(ban_ns, 600000 * KR_POLICY_MS, KR_POLICY_NS, "ban",                          \
  "a peer that sent a corrupt piece stays out for this long")                  \
/* whom to serve (rules 4, 5) */                                               \
X(upload_slots, 4, KR_POLICY_COUNT, "upload_slots",                            \
  "transfers at once; flat between 1 and 8")                                   \
X(serve_patience_ns, 50 * KR_POLICY_MS, KR_POLICY_NS, NULL,                    \
  "who waits this long for a slot is served as if it got half of what it "     \
  "said")                                                                      \
X(serve_stalled_ns, 500 * KR_POLICY_MS, KR_POLICY_NS, NULL,                    \
  "a receiver that takes longer for a block lends its slot to another")        \
X(serve_max_ns, 60000 * KR_POLICY_MS, KR_POLICY_NS, NULL,                      \
  "and one that takes this long is closed")                                    \
X(upload_queue_max, 4096, KR_POLICY_COUNT, "upload_queue",                     \
  "blocks queued for upload in all; then REJECT(busy)")                        \
/* telling (rules 6, 7) */                                                     \
X(have_batch_ns, 8 * KR_POLICY_MS, KR_POLICY_NS, "have_batch",                 \
  "5-10 ms halves the messages for nothing")                                   \
X(have_at_once_pieces, 16, KR_POLICY_COUNT, NULL,                              \
  "while a host has fewer it tells at once: shortens the ramp")                \
X(reveal, 1, KR_POLICY_SWITCH, "reveal",                                       \
  "seeders reveal distinct pieces: 1.23 copies sent instead of 3.9")           \
X(reveal_pieces, 2, KR_POLICY_COUNT, NULL,                                     \
  "told and not yet passed on; 4 cost twice the copies for nothing")           \
X(reveal_neighbours_min, 4, KR_POLICY_COUNT, NULL,                             \
  "with fewer neighbours there is nobody to pass pieces on")                   \
X(reveal_patience_ns, 300 * KR_POLICY_MS, KR_POLICY_NS, NULL,                  \
  "a neighbour that waited this long is told more anyway")                     \
/* streaming (rule 11) */                                                      \
X(stream_window_bytes, 1024 * KR_POLICY_MIB, KR_POLICY_BYTES, "stream_window", \
  "rarest first within this ahead of a reader: 1.05x; smaller 1.2x")           \
X(stream_ahead_bytes, 8 * KR_POLICY_MIB, KR_POLICY_BYTES, "stream_ahead",      \
  "asked for before all else, a 64th of the blob at most: small blobs "        \
  "spread badly else")                                                         \
/* bounds against peers that mean ill */                                       \
X(conns_max, 1024, KR_POLICY_COUNT, "connections",                             \
  "connections, dials included; at most 65,535")                               \
X(blobs_max, 1024, KR_POLICY_COUNT, "blobs",                                   \
  "blobs in a swarm at once; at most 65,535")                                  \
X(conn_streams_max, 256, KR_POLICY_COUNT, NULL,                                \
  "blobs open on one connection")                                              \
X(conn_lookups_max, 32, KR_POLICY_COUNT, NULL,                                 \
  "unanswered OPENs of blobs we do not have, per connection")                  \
X(frame_buffer_max_bytes, 32 * KR_POLICY_MIB, KR_POLICY_BYTES, NULL,           \
  "control frames cut by the network, of all connections together")            \
X(conn_replies_max, 4096, KR_POLICY_COUNT, NULL,                               \
  "PINGs and refused requests answered per connection and second")
/* clang-format on */

struct kr_policy {
#define X(field, value, unit, key, reason) uint64_t field;
	KR_POLICY_TABLE(X)
#undef X
};

struct kr_policy_row {
	const char *name;
	const char *key;    /* NULL: not configurable */
	const char *reason; /* one line, for people */
	enum kr_policy_unit unit;
	uint64_t value; /* default */
	size_t offset;  /* of the field in struct kr_policy */
};

/* The rows, for configuration and documentation; static. */
const struct kr_policy_row *kr_policy_rows(size_t *ret_count);

void kr_policy_defaults(struct kr_policy *p);

/* KR_E_CONFIG  a value outside what the code can work with; *ret_row says
 *              which */
KR_NODISCARD enum kr_err kr_policy_check(const struct kr_policy *p,
					 const struct kr_policy_row **ret_row);

#endif
