#include "uring/warm.h"

#include <sys/stat.h>

#include "uring/resident.h"

/* Chunks of one file are side by side, files are spread. */
static struct kr_warm_slot *slot_of(struct kr_warm *w, int file_fd,
				    uint32_t chunk)
{
	const uint32_t spread = (uint32_t)file_fd * UINT32_C(2654435761);

	return &w->slots[((spread >> 16) + chunk) % KR_WARM_SLOTS];
}

static bool is_chunk_there(int file_fd, uint32_t chunk, bool cachestat)
{
	const uint64_t from = (uint64_t)chunk * KR_WARM_BYTES;
	struct stat st;

	if (fstat(file_fd, &st) != 0 || (uint64_t)st.st_size <= from)
		return false;
	const uint64_t left = (uint64_t)st.st_size - from;

	return kr_resident_check(file_fd, from,
				 left < KR_WARM_BYTES ? (uint32_t)left
						      : KR_WARM_BYTES,
				 cachestat);
}

static bool check_chunk(struct kr_warm *w, uint64_t now_ns, int file_fd,
			uint32_t chunk, bool cachestat)
{
	struct kr_warm_slot *s = slot_of(w, file_fd, chunk);

	if (s->at_ns != 0 && now_ns - s->at_ns < KR_WARM_NS &&
	    s->file_fd == file_fd && s->chunk == chunk)
		return s->all_there;
	*s = (struct kr_warm_slot){
		.at_ns = now_ns,
		.chunk = chunk,
		.file_fd = file_fd,
		.all_there = is_chunk_there(file_fd, chunk, cachestat),
	};
	return s->all_there;
}

/* A chunk with a hole says nothing about the range: a download that is under
 * way is full of them. */
bool kr_warm_check(struct kr_warm *w, uint64_t now_ns, int file_fd,
		   uint64_t offset_bytes, uint32_t len_bytes, bool cachestat)
{
	const uint64_t last = offset_bytes + len_bytes - 1;
	uint64_t chunk = offset_bytes / KR_WARM_BYTES;

	while (chunk <= last / KR_WARM_BYTES && chunk <= UINT32_MAX &&
	       check_chunk(w, now_ns, file_fd, (uint32_t)chunk, cachestat))
		chunk++;
	return chunk > last / KR_WARM_BYTES ||
	       kr_resident_check(file_fd, offset_bytes, len_bytes, cachestat);
}

void kr_warm_forget(struct kr_warm *w, int file_fd)
{
	for (uint32_t i = 0; i < KR_WARM_SLOTS; i++)
		if (w->slots[i].file_fd == file_fd)
			w->slots[i].at_ns = 0;
}
