/*
 * control/pace.h - whose turn it is to move bytes under a rate limit.
 *
 * One for each direction and reactor; all its connections share the bucket,
 * and where a host has several reactors, their paces one struct kr_tokens.
 * Bytes are granted in slices, to who waits longest first, so that many
 * transfers move side by side and a short one is not behind a long one.  A
 * timer is set only while somebody waits, and for when his slice is there.
 *
 *	idle --kr_pace_ask: tokens, nobody waits--> granted
 *	  \--else--> waiting --timer--> fn() with turn->granted_bytes
 *	                 \--kr_pace_leave--> idle
 *
 * Threads: reactor only, but for struct kr_tokens: several reactors take from
 * it, under a lock that is held for some additions and never waits for more.
 * Without a limit nobody takes it.
 */
#ifndef KR_CONTROL_PACE_H
#define KR_CONTROL_PACE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/bucket.h"
#include "core/io.h"
#include "core/list.h"
#include "peerwire/policy.h"

struct kr_tokens { /* private */
	pthread_mutex_t lock;
	struct kr_bucket bucket;
};

/* @rate_bytes_per_s is the whole host's; 0: all is granted at once. */
void kr_tokens_init(struct kr_tokens *t, uint64_t rate_bytes_per_s,
		    const struct kr_policy *policy, uint64_t now_ns);
void kr_tokens_fini(struct kr_tokens *t);

struct kr_pace { /* private */
	struct kr_io *io;
	struct kr_tokens own, *tokens; /* those, or shared ones */
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
/* Take from @t, which is borrowed until the close, instead of tokens of its
 * own.  Nobody waits yet. */
void kr_pace_share(struct kr_pace *p, struct kr_tokens *t);
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
