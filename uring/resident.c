#define _GNU_SOURCE
#include "uring/resident.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/*
 * cachestat(2) counts pages that are in the cache, those whose read has not
 * ended among them, and read-ahead puts many such there.  A read of one byte
 * with RWF_NOWAIT sees the difference.  Read-ahead works in units of 128 KiB
 * unless told otherwise, so one byte in each is asked for; without cachestat
 * one in each 16 KiB.
 */
enum {
	STRIDE_BYTES = 128 * 1024,
	STRIDE_ALONE_BYTES = 16 * 1024,
	PAGE_BYTES = 4096,
};

/* As in linux/mman.h, which Debian 12 does not have yet. */
#define CACHESTAT_NR 451
struct range {
	uint64_t offset, len;
};
struct pages {
	uint64_t cached, dirty, writeback, evicted, recently_evicted;
};

/* Pages of the range in the cache; -1: the kernel does not say (it tells only
 * the owner of a file, and those who may write it). */
static int64_t count_cached(int file_fd, uint64_t offset, uint32_t len)
{
	struct range range = { offset, len };
	struct pages pages = { 0 };

	if (syscall(CACHESTAT_NR, file_fd, &range, &pages, 0) != 0)
		return -1;
	return (int64_t)pages.cached;
}

static int64_t count_pages(uint64_t offset, uint32_t len)
{
	return (int64_t)((offset + len - 1) / PAGE_BYTES - offset / PAGE_BYTES +
			 1);
}

bool kr_resident_probe(void)
{
	int fd = memfd_create("kraken-probe", MFD_CLOEXEC);

	if (fd < 0)
		return false;
	const bool ok = count_cached(fd, 0, PAGE_BYTES) >= 0;

	close(fd);
	return ok;
}

/* File systems that cannot answer (EOPNOTSUPP) live in memory, mostly. */
static bool is_read(int file_fd, uint64_t offset, bool trust)
{
	uint8_t byte;
	const struct iovec iov = { &byte, 1 };
	const ssize_t n = preadv2(file_fd, &iov, 1, (off_t)offset, RWF_NOWAIT);

	return n == 1 || (n < 0 && errno == EOPNOTSUPP && trust);
}

bool kr_resident_check(int file_fd, uint64_t offset_bytes, uint32_t len_bytes,
		       bool cachestat)
{
	const uint64_t end = offset_bytes + len_bytes;
	const int64_t cached =
		cachestat ? count_cached(file_fd, offset_bytes, len_bytes) : -1;
	/* An overlay counts none, for the pages are those of the file below,
	 * and does not know RWF_NOWAIT: its files are always cold. */
	const bool known = cached >= 0;
	const uint32_t stride = known ? STRIDE_BYTES : STRIDE_ALONE_BYTES;

	if (known && cached < count_pages(offset_bytes, len_bytes))
		return false;
	for (uint64_t at = offset_bytes; at < end; at += stride)
		if (!is_read(file_fd, at, known))
			return false;
	return is_read(file_fd, end - 1, known);
}
