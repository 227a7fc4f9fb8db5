/*
 * test/fuzz/control/control_msg_fuzz.c - the messages of tracker.*, origin.*
 * and index.*, and the scanner that finds where a message ends.
 *
 * Any bytes may be refused, none may break a decoder; what a decoder accepts
 * can be walked, and the scanner ends where the reader of core/mp.h does.
 */
#include <stddef.h>
#include <stdint.h>

#include "control/index_msg.h"
#include "control/origin_msg.h"
#include "control/rpc_link.h"
#include "control/tracker_msg.h"
#include "core/err.h"
#include "core/mp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void walk_tracker(struct kr_bytes b)
{
	static struct kr_tracker_pick picks[KR_TRACKER_MSG_PICKS_MAX];
	struct kr_tracker_msg_announce a;
	struct kr_tracker_msg_reply r;
	struct kr_tracker_msg_blob blob;
	struct kr_digest d;
	struct kr_peer_id id;
	uint32_t count;

	if (kr_tracker_msg_announce_decode(b, &a) == KR_OK) {
		while (kr_tracker_msg_next_blob(&a, &blob))
			;
		while (kr_tracker_msg_next_gone(&a, &d))
			;
	}
	if (kr_tracker_msg_reply_decode(b, &r) == KR_OK)
		while (kr_tracker_msg_reply_next(&r, &d, picks, &count))
			kr_assert(count <= KR_TRACKER_MSG_PICKS_MAX);
	(void)!kr_tracker_msg_report_decode(b, &d, &id);
}

static void walk_origin(struct kr_bytes b)
{
	static struct kr_origin_msg_ingest in;
	struct kr_origin_msg_ref ref;
	struct kr_origin_msg_seek seek;
	struct kr_tracker_msg_peer p;
	struct kr_addr a;
	struct kr_bytes bin;
	uint64_t n;

	if (kr_origin_msg_ingest_decode(b, &in) == KR_OK)
		kr_assert(in.peer_count <= KR_ORIGIN_MSG_PEERS_MAX);
	if (kr_origin_msg_info_decode(b, &p) == KR_OK)
		(void)!kr_tracker_msg_peer_addr(&p, NULL, &a);
	(void)!kr_origin_msg_ref_decode(b, &ref);
	(void)!kr_origin_msg_seek_decode(b, &seek);
	(void)!kr_origin_msg_stat_decode(b, &n);
	(void)!kr_origin_msg_metainfo_decode(b, &bin);
}

static void walk_index_objects(struct kr_bytes b)
{
	static struct kr_index_msg_object m;
	struct kr_index_msg_referrers r;
	struct kr_index_msg_page page;
	struct kr_bytes bin;
	bool deleted;

	if (kr_index_msg_object_decode(b, &m) == KR_OK) {
		(void)kr_index_refs_valid(m.o.refs);
		while (kr_index_msg_names_next(&m.tags, &bin))
			;
	}
	if (kr_index_msg_page_decode(b, &page) == KR_OK)
		while (kr_index_msg_page_next(&page, &bin))
			;
	(void)!kr_index_msg_referrers_decode(b, &r);
	(void)!kr_index_msg_deleted_decode(b, &deleted);
}

static void walk_index(struct kr_bytes b)
{
	struct kr_index_msg_names names;
	struct kr_index_msg_list l;
	struct kr_index_entry e;
	struct kr_bytes bin;

	if (kr_index_msg_names_decode(b, "tags", &names) == KR_OK)
		while (kr_index_msg_names_next(&names, &bin))
			;
	if (kr_index_msg_list_decode(b, &l) == KR_OK)
		kr_assert(l.limit > 0 && l.limit <= KR_INDEX_LIST_MAX);
	(void)!kr_index_msg_entry_decode(b, 0, &e);
}

/* Arriving byte by byte or at once, the end is where the reader finds it. */
static void scan(const uint8_t *data, size_t size)
{
	struct kr_rpc_scan slow, fast;
	struct kr_mp_reader r;
	enum kr_err err = KR_AGAIN;

	kr_rpc_scan_init(&slow);
	kr_rpc_scan_init(&fast);
	for (size_t len = 0; len <= size && err == KR_AGAIN; len++)
		err = kr_rpc_scan_step(&slow, data, len, 1 << 20);
	const enum kr_err at_once =
		kr_rpc_scan_step(&fast, data, size, 1 << 20);
	kr_assert(err == at_once);
	kr_mp_r_init(&r, data, size);
	if (kr_mp_r_skip(&r) == KR_OK)
		kr_assert(err == KR_OK && slow.at == r.at && fast.at == r.at);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct kr_bytes b = { data, size };

	walk_tracker(b);
	walk_origin(b);
	walk_index(b);
	walk_index_objects(b);
	scan(data, size);
	return 0;
}
