#define _GNU_SOURCE
#include "registry_api/handlers.h"
#include "registry_api/reply.h"

/* What clients ask first: is this a registry? (distribution-spec end-1) */
void kr_h_base(struct kr_conn *c)
{
	kr_reply(c, 200, "application/json", "{}", 2);
}
