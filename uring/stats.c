/*
 * What a ring counts, and the metrics it is given to once a turn: plain
 * integers on the data path, one atomic addition a turn for what changed.
 */
#define _GNU_SOURCE
#include <stddef.h>
#include <string.h>

#include "uring/engine.h"

#define ROW(field, name, help)                                    \
	{                                                         \
		offsetof(struct kr_ring_stats, field), name, help \
	}

static const struct {
	size_t offset;
	const char *name;
	const char *help;
} rows[KR_RING_METRICS] = {
	ROW(spliced_bytes, "kraken_io_spliced_bytes_total",
	    "Bytes sent from files without a copy in user space"),
	ROW(sent_bytes, "kraken_io_sent_bytes_total", "Bytes sent from memory"),
	ROW(received_bytes, "kraken_io_received_bytes_total", "Bytes received"),
	ROW(splice_hot, "kraken_io_splice_hot_total",
	    "Slices of files sent from the page cache"),
	ROW(splice_cold, "kraken_io_splice_cold_total",
	    "Slices of files that waited for the disk"),
	ROW(accept_pauses, "kraken_io_accept_pauses_total",
	    "Pauses of accepting for lack of descriptors"),
	ROW(recv_starved, "kraken_io_recv_starved_total",
	    "Receives that found no buffer and were armed again"),
	ROW(slot_waits, "kraken_io_slot_waits_total",
	    "Requests that waited for a slot"),
	ROW(pipe_waits, "kraken_io_pipe_waits_total",
	    "Slices of cold files that waited for a pipe"),
	ROW(read_bytes, "kraken_io_read_bytes_total", "Bytes read from files"),
	ROW(written_bytes, "kraken_io_written_bytes_total",
	    "Bytes written to files"),
	ROW(stale_completions, "kraken_io_stale_completions_total",
	    "Completions of requests already over"),
	ROW(completions, "kraken_io_completions_total",
	    "Completions of requests"),
	ROW(turns, "kraken_io_turns_total",
	    "Times the reactor submitted and waited"),
};

static uint64_t value_of(const struct kr_ring_stats *s, int row)
{
	uint64_t v;

	memcpy(&v, (const char *)s + rows[row].offset, sizeof(v));
	return v;
}

void kr_ring_stats_init(struct kr_io *io)
{
	for (int i = 0; i < KR_RING_METRICS; i++)
		io->metrics[i] =
			kr_metrics_counter(rows[i].name, rows[i].help, NULL);
}

void kr_ring_stats_flush(struct kr_io *io)
{
	for (int i = 0; i < KR_RING_METRICS; i++) {
		const uint64_t now = value_of(&io->stats, i);
		const uint64_t before = value_of(&io->flushed, i);

		if (now != before)
			kr_metric_add(io->metrics[i], now - before);
	}
	io->flushed = io->stats;
}

void kr_ring_stats_get(const struct kr_io *io, struct kr_ring_stats *ret)
{
	*ret = io->stats;
}
