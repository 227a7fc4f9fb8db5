/*
 * uring/warm.h - which parts of which files were in memory a moment ago.
 *
 * Many send from the same places: a blob that is wanted by a crowd is asked
 * about once in KR_WARM_NS for each KR_WARM_BYTES of it, instead of once for
 * each block that is sent.  A table of fixed size; an entry that another one
 * takes the place of is asked for again.
 *
 *	unknown --asked--> all there, or not --KR_WARM_NS, forget--> unknown
 *
 * Files are told apart by their descriptors, so what is known of one must be
 * forgotten before another file can have its number (kr_io_file_closes).
 */
#ifndef KR_URING_WARM_H
#define KR_URING_WARM_H

#include <stdbool.h>
#include <stdint.h>

enum {
	KR_WARM_BYTES = 4 << 20, /* asked about at once: 8 us in large folios,
				    some 40 in single pages */
	KR_WARM_SLOTS = 1024,    /* 4 GiB */
};
/* The kernel drops pages, but what was read a moment ago last. */
#define KR_WARM_NS UINT64_C(1000000000)

struct kr_warm {
	struct kr_warm_slot {
		uint64_t at_ns; /* 0: unknown */
		uint32_t chunk; /* of KR_WARM_BYTES */
		int file_fd;
		bool all_there;
	} slots[KR_WARM_SLOTS];
};

/* Is all of it in memory and read?  Never asks the disk.  False too where the
 * file ends inside.  @len_bytes > 0; @cachestat as in kr_resident_check. */
bool kr_warm_check(struct kr_warm *w, uint64_t now_ns, int file_fd,
		   uint64_t offset_bytes, uint32_t len_bytes, bool cachestat);

/* @file_fd is to become another file's, or nobody's. */
void kr_warm_forget(struct kr_warm *w, int file_fd);

#endif
