#include "control/health.h"

static void turn(struct kr_health *h, bool healthy)
{
	h->healthy = healthy;
	h->run = 0;
	h->passive_count = 0;
}

void kr_health_init(struct kr_health *h, const struct kr_health_opts *opts,
		    bool healthy)
{
	*h = (struct kr_health){ .opts = *opts, .healthy = healthy };
	if (opts->fails == 0)
		h->opts.fails = 3;
	if (opts->passes == 0)
		h->opts.passes = 2;
	if (opts->passive_fails == 0)
		h->opts.passive_fails = 3;
	if (opts->passive_window_ns == 0)
		h->opts.passive_window_ns = UINT64_C(30000000000);
}

bool kr_health_check_done(struct kr_health *h, uint64_t now_ns, bool ok)
{
	(void)now_ns;
	if (ok == h->healthy) {
		h->run = 0;
		return false;
	}
	h->run++;
	if (h->run < (h->healthy ? h->opts.fails : h->opts.passes))
		return false;
	turn(h, ok);
	return true;
}

bool kr_health_traffic(struct kr_health *h, uint64_t now_ns, bool ok)
{
	if (!h->healthy)
		return false;
	if (ok) {
		h->passive_count = 0;
		return false;
	}
	if (h->passive_count == 0 ||
	    now_ns - h->passive_since_ns > h->opts.passive_window_ns) {
		h->passive_count = 0;
		h->passive_since_ns = now_ns;
	}
	h->passive_count++;
	if (h->passive_count < h->opts.passive_fails)
		return false;
	turn(h, false);
	return true;
}

bool kr_health_is_healthy(const struct kr_health *h)
{
	return h->healthy;
}
