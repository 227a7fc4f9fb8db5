#define _GNU_SOURCE
#include "uring/resident.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/*
 * Three questions, the cheapest first, for this is asked before each slice
 * that is sent.  A read of one byte with RWF_NOWAIT says whether that page is
 * there and read (0.6 us); the last page is read last, so most cold ranges end
 * here.  cachestat(2) counts pages of the range that are in the cache (1 us
 * for 1 MiB in large folios, 8 in single pages), those whose read has not
 * ended among them; for those one byte in each MiB is tried.
 *
 * Where cachestat does not answer, one byte in each 16 KiB is tried.
 */
enum {
	STRIDE_BYTES = 1024 * 1024,
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

enum answer { READ, NOT_READ, CANNOT_SAY };

static enum answer try_byte(int file_fd, uint64_t offset)
{
	uint8_t byte;
	const struct iovec iov = { &byte, 1 };
	const ssize_t n = preadv2(file_fd, &iov, 1, (off_t)offset, RWF_NOWAIT);

	if (n == 1)
		return READ;
	return n < 0 && errno == EOPNOTSUPP ? CANNOT_SAY : NOT_READ;
}

static bool try_bytes(int file_fd, uint64_t at, uint64_t end, uint32_t stride)
{
	for (; at < end; at += stride)
		if (try_byte(file_fd, at) != READ)
			return false;
	return true;
}

bool kr_resident_check(int file_fd, uint64_t offset_bytes, uint32_t len_bytes,
		       bool cachestat)
{
	const uint64_t last = offset_bytes + len_bytes - 1;
	const enum answer answer = try_byte(file_fd, last);

	if (answer == NOT_READ)
		return false;
	/* A file system that does not know RWF_NOWAIT lives in memory, and
	 * counts the page, or is an overlay, and counts none: the pages are
	 * those of the file below.  An overlay's files are always cold. */
	if (answer == CANNOT_SAY)
		return cachestat && count_cached(file_fd, last, 1) > 0;
	const int64_t cached =
		cachestat ? count_cached(file_fd, offset_bytes, len_bytes) : -1;

	if (cached < 0)
		return try_bytes(file_fd, offset_bytes, last,
				 STRIDE_ALONE_BYTES);
	return cached >= count_pages(offset_bytes, len_bytes) &&
	       try_bytes(file_fd, offset_bytes + STRIDE_BYTES, last,
			 STRIDE_BYTES);
}
