/*
 * control/pace.h - whose turn it is to move bytes under a rate limit.
 *
 * One for each direction of a host; all its connections share the bucket.
 * Bytes are granted in slices, to who waits longest first, so that many
 * transfers move side by side and a short one is not behind a long one.  A
 * timer is set only while somebody waits, and for when his slice is there.
 *
 *	idle --kr_pace_ask: tokens, nobody waits--> granted
 *	  \--else--> waiting --timer--> fn() with turn->granted_bytes
 *	                 \--kr_pace_leave--> idle
 *
 * Threads: reactor only.
 */
#ifndef KR_CONTROL_PACE_H
#define KR_CONTROL_PACE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/bucket.h"
#include "core/io.h"
#include "core/list.h"
#include "peerwire/policy.h"

struct kr_pace { /* private */
	struct kr_io *io;
	struct kr_bucket bucket;
	uint64_t slice_bytes;
	struct kr_list waiting; /* of kr_turn.link, first come first */
	struct kr_timer timer;
};

struct kr_turn;
typedef void kr_turn_fn(struct kr_turn *turn);
struct kr_turn { /* embedded in who asks; private but granted_bytes */
	struct kr_list link;
	kr_turn_fn *fn;
	uint32_t want_bytes;
	uint32_t granted_bytes;
};

/* @rate_bytes_per_s 0: all is granted at once.  @io is borrowed. */
void kr_pace_open(struct kr_pace *p, struct kr_io *io,
		  uint64_t rate_bytes_per_s, const struct kr_policy *policy);
/* Nobody waits any more. */
void kr_pace_close(struct kr_pace *p);

bool kr_pace_is_limited(const struct kr_pace *p);

void kr_turn_init(struct kr_turn *turn);

/*
 * Ask to move @want_bytes > 0.  Returns how many may move now: at most
 * @want_bytes, and 0 if it is not @turn's turn; then @fn is called when it is,
 * once, from the ring, with granted_bytes > 0.  Of a turn that waits: 0, and
 * nothing changes.
 */
uint32_t kr_pace_ask(struct kr_pace *p, struct kr_turn *turn,
		     uint32_t want_bytes, kr_turn_fn *fn);

/* @bytes of what was granted did not move. */
void kr_pace_give(struct kr_pace *p, uint32_t bytes);

/* fn will not come.  Of a turn that does not wait: nothing. */
void kr_pace_leave(struct kr_turn *turn);

bool kr_turn_waits(const struct kr_turn *turn);

#endif
