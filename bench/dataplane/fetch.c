/*
 * fetch - what `kraken agent` is below HTTP, for one blob: a store, a
 * transfer, a ring; told of one seeder instead of asking a tracker.
 *
 *	fetch --peer IP:PORT --meta FILE --dir STORE [--pids 12,34]
 *	      [--hash evp] [--threads N]
 *
 * From the call until the blob is in the store, whole and on disk.  Prints
 * seconds, gbs, and total_cpu, server_cpu, client_cpu per 10^9 bytes.
 * --hash evp: pieces are hashed by OpenSSL, to see what the own hash brings.
 */
#define _GNU_SOURCE
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/dataplane/tool.h"
#include "control/transfer.h"
#include "core/alloc.h"
#include "core/clock.h"
#include "core/hash.h"
#include "uring/ring.h"

enum { META_BYTES_MAX = 4 << 20, BUFFERS = 32, BUFFER_BYTES = 1024 * 1024 };

struct fetch {
	struct kr_io *io;
	struct kr_work_pool *pool;
	struct kr_store *store;
	struct kr_transfer *transfer;
	struct kr_policy policy;
	struct kr_metainfo meta;
	struct kr_peer_hint seeder;
	struct kr_blob *blob;
	struct kr_blob_wait wait;
};

static void must(enum kr_err err, const char *what)
{
	if (err != KR_OK)
		dp_die_text(what, kr_err_text(err));
}

static void need_peers(void *ctx, struct kr_blob *b)
{
	struct fetch *f = ctx;

	kr_blob_peers(b, &f->seeder, 1);
}

static void bad_peer(void *ctx, struct kr_blob *b, const struct kr_peer_id *id,
		     const struct kr_addr *addr)
{
	(void)ctx;
	(void)b;
	(void)id;
	(void)addr;
	dp_die_text("a piece", "does not match");
}

static void fetched(struct kr_blob_wait *w, enum kr_err err)
{
	struct fetch *f = KR_CONTAINER_OF(w, struct fetch, wait);

	must(err, "fetch");
	kr_io_stop(f->io);
}

static void read_meta(struct fetch *f, const char *path)
{
	uint8_t *buf = malloc(META_BYTES_MAX);
	size_t len;

	if (buf == NULL)
		dp_die("memory");
	len = dp_read_file(path, buf, META_BYTES_MAX);
	must(kr_metainfo_decode(kr_alloc_heap(), buf, len, &f->meta), path);
	free(buf);
}

static void open_all(struct fetch *f, const char *dir, uint32_t threads)
{
	const struct kr_store_opts so = { .dir = dir };
	struct kr_ring_opts ro = {
		.buffer_count = BUFFERS,
		.buffer_size_bytes = BUFFER_BYTES,
	};
	struct kr_transfer_opts to = {
		.policy = &f->policy,
		.role = KR_PEER_AGENT,
		.cluster = "bench",
		.zone = "",
		.ctx = f,
		.need_peers = need_peers,
		.bad_peer = bad_peer,
	};

	must(kr_work_pool_open(threads, &f->pool), "work pool");
	ro.pool = f->pool;
	must(kr_ring_open(&ro, &f->io), "ring");
	must(kr_store_open(&so, &f->store), dir);
	kr_policy_defaults(&f->policy);
	to.io = f->io;
	to.store = f->store;
	arc4random_buf(to.id.bytes, sizeof(to.id.bytes));
	must(kr_addr_parse("127.0.0.1:0", 11, &to.listen), "address");
	must(kr_transfer_open(&to, &f->transfer), "transfer");
}

static void close_all(struct fetch *f)
{
	kr_blob_put(f->blob);
	kr_transfer_close(f->transfer);
	kr_store_close(f->store);
	kr_ring_close(f->io);
	kr_work_pool_close(f->pool);
	kr_metainfo_fini(kr_alloc_heap(), &f->meta);
}

int main(int argc, char **argv)
{
	const char *peer = dp_arg(argc, argv, "--peer", NULL);
	static struct fetch f;
	struct dp_pids pids;

	dp_pids_parse(&pids, dp_arg(argc, argv, "--pids", ""));
	kr_hash_force(strcmp(dp_arg(argc, argv, "--hash", ""), "evp") == 0
			      ? "openssl-evp"
			      : NULL);
	must(kr_addr_parse(peer, strlen(peer), &f.seeder.addr), peer);
	f.seeder.role = KR_PEER_ORIGIN;
	f.seeder.complete = true;
	read_meta(&f, dp_arg(argc, argv, "--meta", NULL));
	open_all(&f, dp_arg(argc, argv, "--dir", NULL),
		 (uint32_t)atoi(dp_arg(argc, argv, "--threads", "2")));
	const uint64_t from_ns = dp_now_ns();
	const double server_s = dp_pids_cpu_s(&pids), own_s = dp_self_cpu_s();

	must(kr_transfer_fetch(f.transfer, "bench/blob", &f.meta, 1, &f.blob),
	     "fetch");
	kr_blob_wait(f.blob, &f.wait, fetched);
	kr_io_run(f.io);
	const double seconds = (double)(dp_now_ns() - from_ns) / 1e9;
	const double gb = (double)f.meta.size_bytes / 1e9;
	const double server = (dp_pids_cpu_s(&pids) - server_s) / gb;
	const double own = (dp_self_cpu_s() - own_s) / gb;

	printf("seconds=%.4f gbs=%.4f total_cpu=%.4f server_cpu=%.4f "
	       "client_cpu=%.4f\n",
	       seconds, gb / seconds, server + own, server, own);
	close_all(&f);
	return 0;
}
