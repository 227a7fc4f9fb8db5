/*
 * meta - the metainfo of a file, as a push makes it.
 *
 *	meta FILE OUT        # prints the digest's hex
 *	meta --pieces META   # a .pieces file of a download that has nothing
 *
 * OUT is what stands in an origin's meta/ folder; a .pieces file is described
 * in core/store_partial.c.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/dataplane/tool.h"
#include "control/blob_hash.h"
#include "core/alloc.h"
#include "core/bytes.h"

enum { SLICE_BYTES = 256 * 1024, META_BYTES_MAX = 4 << 20 };

static void must(enum kr_err err)
{
	if (err != KR_OK)
		dp_die_text("metainfo", kr_err_text(err));
}

static void hash_file(const char *path, struct kr_metainfo *ret)
{
	static uint8_t buf[SLICE_BYTES];
	const int fd = open(path, O_RDONLY | O_CLOEXEC);
	const off_t size = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
	struct kr_blob_hash h;
	struct kr_digest d;
	ssize_t n;

	if (size <= 0)
		dp_die(path);
	must(kr_blob_hash_init(&h, KR_SHA256,
			       kr_metainfo_piece_bytes_for((uint64_t)size)));
	for (off_t at = 0; at < size; at += n) {
		n = pread(fd, buf, sizeof(buf), at);
		if (n <= 0)
			dp_die(path);
		must(kr_blob_hash_update(&h, buf, (size_t)n));
	}
	must(kr_blob_hash_final(&h, &d, ret));
	close(fd);
}

static void write_all(const char *path, const void *buf, size_t len)
{
	FILE *f = fopen(path, "w");

	if (f == NULL || fwrite(buf, 1, len, f) != len || fclose(f) != 0)
		dp_die(path);
}

static int print_pieces(const char *path)
{
	static uint8_t buf[META_BYTES_MAX];
	uint8_t head[64] = "krpiece1";
	const size_t len = dp_read_file(path, buf, sizeof(buf));
	struct kr_metainfo m;

	must(kr_metainfo_decode(kr_alloc_heap(), buf, len, &m));
	kr_put_be64(head + 8, m.size_bytes);
	kr_put_be32(head + 16, m.piece_bytes);
	memset(buf, 0, sizeof(buf));
	if (fwrite(head, 1, sizeof(head), stdout) != sizeof(head) ||
	    fwrite(buf, 1, (m.piece_count + 7) / 8, stdout) !=
		    (m.piece_count + 7) / 8)
		dp_die("stdout");
	kr_metainfo_fini(kr_alloc_heap(), &m);
	return 0;
}

int main(int argc, char **argv)
{
	struct kr_metainfo m;
	char hex[KR_DIGEST_TEXT_MAX];
	size_t len;

	if (argc == 3 && strcmp(argv[1], "--pieces") == 0)
		return print_pieces(argv[2]);
	if (argc != 3)
		dp_die_text("usage", "meta FILE OUT");
	hash_file(argv[1], &m);
	uint8_t *buf = malloc(kr_metainfo_encoded_max(&m));

	if (buf == NULL)
		dp_die("memory");
	must(kr_metainfo_encode(&m, buf, kr_metainfo_encoded_max(&m), &len));
	write_all(argv[2], buf, len);
	puts(kr_digest_print_hex(&m.digest, hex));
	free(buf);
	kr_metainfo_fini(kr_alloc_heap(), &m);
	return 0;
}
