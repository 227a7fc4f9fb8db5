#include "control/hlc.h"

static uint64_t stamp_of(uint64_t wall_ns)
{
	return wall_ns / UINT64_C(1000000) << 16;
}

uint64_t kr_hlc_next(struct kr_hlc *c, uint64_t wall_ns)
{
	const uint64_t wall = stamp_of(wall_ns);

	c->last = wall > c->last ? wall : c->last + 1;
	return c->last;
}

bool kr_hlc_seen(struct kr_hlc *c, uint64_t stamp, uint64_t wall_ns)
{
	if (stamp > stamp_of(wall_ns) + (KR_HLC_AHEAD_MS << 16))
		return false;
	if (stamp > c->last)
		c->last = stamp;
	return true;
}
