/*
 * core/pattern.h - POSIX extended regular expressions (regex(7)) as keys of the
 * configuration have them, and what is said about one that is none.
 *
 * Made at start, then only read, by any thread.
 */
#ifndef KR_CORE_PATTERN_H
#define KR_CORE_PATTERN_H

#include <regex.h>
#include <stdbool.h>
#include <stddef.h>

#include "core/err.h"

enum { KR_PATTERN_ERROR_MAX = 512 }; /* bytes of an error's text */

struct kr_pattern {
	regex_t regex; /* private */
};

/*
 * Compile @text, which stands in entry @index (from 0) of the list @key.
 *
 * KR_E_CONFIG  not a regular expression
 * KR_E_NOMEM
 *
 * With an error there is nothing to fini, and @error (KR_PATTERN_ERROR_MAX
 * bytes, may be NULL) names key and entry, quotes @text, and says why.
 */
KR_NODISCARD enum kr_err kr_pattern_init(struct kr_pattern *p, const char *key,
					 size_t index, const char *text,
					 char *error);
void kr_pattern_fini(struct kr_pattern *p);

/* Does it match anywhere in @text? */
bool kr_pattern_matches(const struct kr_pattern *p, const char *text);

#endif
