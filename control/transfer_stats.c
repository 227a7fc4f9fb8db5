/*
 * What the node counted, as metrics.  The metrics are printed by another
 * thread, which must not read the node: so the differences are carried over at
 * most KR_STATS_NS after something happened, and when a blob is complete.  An
 * idle transfer has no timer.  Several transfers of a process add up.
 */
#include <stdio.h>
#include <string.h>

#include "control/transfer_internal.h"

static const char *const role_names[KR_PEER_ROLE_COUNT] = {
	[KR_PEER_AGENT] = "agent",
	[KR_PEER_ORIGIN] = "origin",
	[KR_PEER_PROXY] = "proxy",
};

static struct kr_metric *bytes_metric(const char *direction, const char *peer)
{
	char labels[64];

	snprintf(labels, sizeof(labels), "direction=\"%s\",peer=\"%s\"",
		 direction, peer);
	return kr_metrics_counter("kraken_transfer_bytes_total",
				  "Bytes of blocks moved, by direction and "
				  "role of the other side.",
				  labels);
}

static void open_counters(struct kr_transfer_metrics *m)
{
	m->verified = kr_metrics_counter("kraken_transfer_pieces_total",
					 "Pieces received, by verdict.",
					 "verdict=\"verified\"");
	m->failed = kr_metrics_counter("kraken_transfer_pieces_total",
				       "Pieces received, by verdict.",
				       "verdict=\"failed\"");
	m->requests = kr_metrics_counter("kraken_transfer_requests_total",
					 "Blocks asked of peers.", NULL);
	m->overdue = kr_metrics_counter("kraken_transfer_overdue_total",
					"Requests that were answered late or "
					"not at all.",
					NULL);
	m->duplicate = kr_metrics_counter(
		"kraken_transfer_duplicate_bytes_total",
		"Bytes received that were there already.", NULL);
	m->discarded =
		kr_metrics_counter("kraken_transfer_discarded_bytes_total",
				   "Bytes received that nobody wanted any "
				   "more.",
				   NULL);
	for (int i = 0; i < KR_BYE_REASON_COUNT; i++) {
		char labels[64];

		snprintf(labels, sizeof(labels), "reason=\"%s\"",
			 kr_bye_reason_name((enum kr_bye_reason)i));
		m->closes[i] =
			kr_metrics_counter("kraken_transfer_closes_total",
					   "Peer connections closed by us, by "
					   "reason.",
					   labels);
	}
}

static void open_reactor(struct kr_transfer_metrics *m, uint32_t reactor)
{
	char labels[32];

	snprintf(labels, sizeof(labels), "reactor=\"%u\"", reactor);
	m->reactor_out =
		kr_metrics_counter("kraken_reactor_sent_bytes_total",
				   "Bytes of blocks sent, by reactor.", labels);
	m->reactor_conns =
		kr_metrics_gauge("kraken_reactor_connections",
				 "Peer connections, by reactor.", labels);
}

static void open_gauges(struct kr_transfer_metrics *m, uint32_t reactor)
{
	m->conns = kr_metrics_gauge("kraken_transfer_connections",
				    "Peer connections.", NULL);
	m->inflight = kr_metrics_gauge("kraken_transfer_inflight_bytes",
				       "Bytes asked of peers and not here "
				       "yet.",
				       NULL);
	m->queued = kr_metrics_gauge("kraken_transfer_upload_queue_bytes",
				     "Bytes that peers wait for.", NULL);
	open_reactor(m, reactor);
	m->blobs = kr_metrics_gauge("kraken_transfer_blobs",
				    "Blobs in a swarm.", NULL);
	m->downloads = kr_metrics_gauge("kraken_blob_downloads",
					"Downloads in progress.", NULL);
	m->download_bytes =
		kr_metrics_gauge("kraken_blob_bytes",
				 "Size of the downloads in progress.", NULL);
	m->download_verified =
		kr_metrics_gauge("kraken_blob_verified_bytes",
				 "Verified bytes of the downloads in "
				 "progress.",
				 NULL);
}

void kr_transfer_stats_open(struct kr_transfer *t)
{
	struct kr_transfer_metrics *m = &t->metrics;

	for (int i = 0; i < KR_PEER_ROLE_COUNT; i++) {
		m->in[i] = bytes_metric("in", role_names[i]);
		m->out[i] = bytes_metric("out", role_names[i]);
	}
	open_counters(m);
	open_gauges(m, t->reactor);
}

static bool count(struct kr_metric *m, uint64_t now, uint64_t told)
{
	if (now != told)
		kr_metric_add(m, now - told);
	return now != told;
}

static uint64_t sent_bytes(const struct kr_node_stats *s)
{
	uint64_t sum = 0;

	for (int i = 0; i < KR_PEER_ROLE_COUNT; i++)
		sum += s->block_bytes_out[i];
	return sum;
}

static bool move(struct kr_metric *m, uint64_t now, uint64_t told)
{
	if (now > told)
		kr_metric_add(m, now - told);
	else if (now < told)
		kr_metric_sub(m, told - now);
	return now != told;
}

/* Carry over; false: nothing had changed. */
static bool tell(struct kr_transfer *t, const struct kr_node_stats *s)
{
	const struct kr_transfer_metrics *m = &t->metrics;
	const struct kr_node_stats *was = &t->told;
	bool any = false;

	for (int i = 0; i < KR_PEER_ROLE_COUNT; i++) {
		any |= count(m->in[i], s->block_bytes_in[i],
			     was->block_bytes_in[i]);
		any |= count(m->out[i], s->block_bytes_out[i],
			     was->block_bytes_out[i]);
	}
	for (int i = 0; i < KR_BYE_REASON_COUNT; i++)
		any |= count(m->closes[i], s->closes[i], was->closes[i]);
	any |= count(m->verified, s->pieces_verified, was->pieces_verified);
	any |= count(m->failed, s->pieces_failed, was->pieces_failed);
	any |= count(m->requests, s->requests_sent, was->requests_sent);
	any |= count(m->overdue, s->overdue_requests, was->overdue_requests);
	any |= count(m->duplicate, s->duplicate_bytes, was->duplicate_bytes);
	any |= count(m->discarded, s->discarded_bytes, was->discarded_bytes);
	any |= count(m->reactor_out, sent_bytes(s), sent_bytes(was));
	any |= move(m->reactor_conns, s->conns_open, was->conns_open);
	any |= move(m->conns, s->conns_open, was->conns_open);
	any |= move(m->inflight, s->inflight_bytes, was->inflight_bytes);
	any |= move(m->queued, s->queued_upload_bytes,
		    was->queued_upload_bytes);
	any |= move(m->blobs, s->blobs, was->blobs);
	t->told = *s;
	return any;
}

bool kr_transfer_stats_now(struct kr_transfer *t)
{
	struct kr_node_stats s;

	kr_node_stats(t->node, &s);
	return tell(t, &s);
}

static void on_stats(struct kr_timer *timer)
{
	struct kr_transfer *t =
		KR_CONTAINER_OF(timer, struct kr_transfer, stats_timer);

	t->is_stats_due = false;
	if (kr_transfer_stats_now(t))
		kr_transfer_stats_soon(t);
}

void kr_transfer_stats_soon(struct kr_transfer *t)
{
	if (t->is_stats_due)
		return;
	t->is_stats_due = true;
	kr_io_timer_set(t->io, &t->stats_timer,
			kr_transfer_now(t) + KR_STATS_NS, on_stats);
}

/* What is counted stays; what is gauged goes with the transfer. */
void kr_transfer_stats_close(struct kr_transfer *t)
{
	struct kr_node_stats s;

	if (t->node == NULL)
		return;
	kr_node_stats(t->node, &s);
	s.conns_open = 0;
	s.inflight_bytes = 0;
	s.queued_upload_bytes = 0;
	s.blobs = 0;
	tell(t, &s);
}
