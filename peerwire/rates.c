/*
 * Rate limits, ours and those that peers told of in HELLO: the driver moves
 * bytes no faster than they allow, so a block on its way, or a frame behind
 * one, comes later than silence would explain.  Here is how much later, and
 * how much may be in flight so that it stays bearable.  Where nobody has a
 * limit all of it is 0, but for what a slow card of ours explains, which we
 * know only by what arrives.
 */
#include "peerwire/state.h"

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t most(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* Time for @bytes at a rate of at least 64 KiB/s (kr_policy_check; peers' are
 * raised to it), with the allowance that expected waits have. */
static uint64_t patient_ns(const struct kr_node *n, uint64_t bytes,
			   uint64_t bytes_per_s)
{
	const uint64_t us = bytes * 1000 / (bytes_per_s / 1000 + 1);

	return us * n->pol.overdue_factor_permille;
}

/* A rate that a peer told: nobody is waited for longer than for the slowest
 * that we know. */
uint64_t kr_rate_told(const struct kr_node *n, uint64_t bytes_per_s)
{
	if (bytes_per_s == 0)
		return 0;
	return most(bytes_per_s, n->pol.body_rate_min_bytes_per_s);
}

bool kr_rate_is_slow(const struct kr_node *n, uint64_t bytes_per_s)
{
	return bytes_per_s != 0 &&
	       bytes_per_s < n->pol.upload_slots * n->pol.block_bytes;
}

uint64_t kr_rate_slots(const struct kr_node *n, uint64_t bytes_per_s)
{
	return kr_rate_is_slow(n, bytes_per_s)
		       ? least(n->pol.limit_slots, n->pol.upload_slots)
		       : n->pol.upload_slots;
}

uint64_t kr_rate_window_bytes(const struct kr_node *n, uint64_t bytes_per_s,
			      bool is_limit)
{
	const struct kr_policy *p = &n->pol;
	const uint64_t ms = KR_NS_PER_S / 1000;
	uint64_t bytes = bytes_per_s / 1000 * (p->window_ns / ms);

	bytes = least(most(bytes, p->window_min_bytes), p->window_max_bytes);
	if (!is_limit)
		return bytes;
	return least(bytes, most(bytes_per_s / 1000 * (p->limit_window_ns / ms),
				 p->block_bytes));
}

/* Blocks in all slots of a host with that upload limit. */
static uint64_t slots_ns(const struct kr_node *n, uint64_t bytes_per_s,
			 uint64_t block_bytes)
{
	if (bytes_per_s == 0)
		return 0;
	return patient_ns(n, kr_rate_slots(n, bytes_per_s) * block_bytes,
			  bytes_per_s);
}

uint64_t kr_rate_body_ns(const struct kr_node *n, const struct kr_conn *c)
{
	const uint64_t down = n->pol.down_bytes_per_s;
	uint64_t ns = slots_ns(n, c->up_bytes_per_s, c->body_bytes);

	if (down != 0)
		ns += patient_ns(n, n->inflight_bytes + c->body_bytes, down);
	return ns;
}

uint64_t kr_rate_request_ns(const struct kr_node *n, const struct kr_conn *c,
			    uint32_t len)
{
	uint64_t ns = 0;

	if (c->up_bytes_per_s != 0)
		ns += patient_ns(n, c->asked_bytes + len, c->up_bytes_per_s);
	if (n->pol.down_bytes_per_s != 0)
		ns += patient_ns(n, n->inflight_bytes + len,
				 n->pol.down_bytes_per_s);
	return ns;
}

uint64_t kr_rate_path_ns(const struct kr_node *n, const struct kr_conn *c)
{
	return kr_rate_silence_ns(n, c) +
	       (c->serve_out ? kr_rate_serve_ns(n) : 0);
}

uint64_t kr_rate_silence_ns(const struct kr_node *n, const struct kr_conn *c)
{
	const uint64_t down = c->down_bytes_per_s;

	if (down == 0)
		return 0;
	return patient_ns(
		n, kr_rate_window_bytes(n, down, true) + n->pol.block_bytes,
		down);
}

uint64_t kr_rate_backlog_ns(const struct kr_node *n, const struct kr_conn *c)
{
	const uint64_t rate = kr_meter_bytes_per_s(n, &n->down);
	uint64_t others = n->inflight_bytes;

	kr_list_for_each (it, &c->requests)
		others -= KR_CONTAINER_OF(it, struct kr_request, in_conn)->len;
	if (rate == 0 || others == 0)
		return 0;
	return least(patient_ns(n, n->inflight_bytes, rate),
		     n->pol.backlog_max_ns);
}

uint64_t kr_rate_serve_ns(const struct kr_node *n)
{
	return slots_ns(n, n->pol.up_bytes_per_s, n->pol.block_bytes);
}
