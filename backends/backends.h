/*
 * backends/backends.h - which backend a namespace (repository) is stored in.
 *
 * A list of (regular expression, backend), searched in order; the first whose
 * POSIX extended expression matches anywhere in the namespace wins, as Kraken
 * has it.  Built at start, then only read, by any thread.
 */
#ifndef KR_BACKENDS_BACKENDS_H
#define KR_BACKENDS_BACKENDS_H

#include <stddef.h>

#include "backends/backend.h"
#include "core/pattern.h"

enum { KR_BACKENDS_MAX = 64, KR_BACKENDS_ERROR_MAX = KR_PATTERN_ERROR_MAX };

struct kr_backends;

/* KR_E_NOMEM */
KR_NODISCARD enum kr_err kr_backends_open(struct kr_backends **ret);
/* Closes every backend in it.  NULL is fine. */
void kr_backends_close(struct kr_backends *bs);

/*
 * Add a rule at the end.  With KR_OK @b is moved, else it stays the caller's.
 *
 * KR_E_CONFIG  not a regular expression; @error (KR_BACKENDS_ERROR_MAX bytes,
 *              may be NULL) says what is wrong with it
 * KR_E_LIMIT   KR_BACKENDS_MAX rules are there
 * KR_E_NOMEM
 */
KR_NODISCARD enum kr_err kr_backends_add(struct kr_backends *bs,
					 const char *regex,
					 struct kr_backend *b, char *error);

/* The backend of @ns (borrowed), or NULL: no rule matches. */
struct kr_backend *kr_backends_find(const struct kr_backends *bs,
				    const char *ns);

#endif
