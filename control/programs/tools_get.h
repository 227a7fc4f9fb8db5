/*
 * control/programs/tools_get.h - one small HTTP GET, waited for.
 *
 * For commands that people type: /health, /readiness and /metrics of our own
 * processes.  Never follows a redirect, never uses a proxy of the environment.
 */
#ifndef KR_CONTROL_PROGRAMS_TOOLS_GET_H
#define KR_CONTROL_PROGRAMS_TOOLS_GET_H

#include <stdint.h>

#include "core/buf.h"
#include "core/err.h"

enum { KR_TOOLS_GET_BYTES_MAX = 4 << 20 };

/*
 * GET http://@hostport@path and append the body to @out.  [blocks, at most
 * @timeout_ns]
 *
 * KR_OK            an answer came; its status (100..599) is in @ret_status
 * KR_E_REFUSED     nobody listens there
 * KR_E_TIMEDOUT    connected, but no whole answer in time
 * KR_E_NOTFOUND    the name does not resolve
 * KR_E_TOOBIG      the body does not fit in @out
 * KR_E_PROTO       what answers does not speak HTTP
 * KR_E_NOMEM
 */
KR_NODISCARD enum kr_err kr_tools_get(const char *hostport, const char *path,
				      uint64_t timeout_ns, struct kr_buf *out,
				      int *ret_status);

#endif
