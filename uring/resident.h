/*
 * uring/resident.h - would reading this range of a file wait for the disk?
 *
 * The answer is a guess that may be wrong a moment later, since the kernel may
 * drop a page at any time; it is right often enough that the reactor does not
 * stall.
 */
#ifndef KR_URING_RESIDENT_H
#define KR_URING_RESIDENT_H

#include <stdbool.h>
#include <stdint.h>

/* Is cachestat(2) there? */
bool kr_resident_probe(void);

/* Is all of it in memory and read?  False too where the file ends inside.
 * @cachestat  may cachestat(2) be asked? */
bool kr_resident_check(int file_fd, uint64_t offset_bytes, uint32_t len_bytes,
		       bool cachestat);

#endif
