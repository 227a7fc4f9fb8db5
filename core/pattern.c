#include "core/pattern.h"

#include <stdio.h>

enum kr_err kr_pattern_init(struct kr_pattern *p, const char *key, size_t index,
			    const char *text, char *error)
{
	const int rc = regcomp(&p->regex, text, REG_EXTENDED | REG_NOSUB);
	char why[128];

	if (rc == 0)
		return KR_OK;
	(void)regerror(rc, &p->regex, why, sizeof(why));
	if (error != NULL)
		(void)snprintf(error, KR_PATTERN_ERROR_MAX,
			       "key `%.60s`: entry %zu: expected a POSIX "
			       "extended regular expression, got \"%.200s\" "
			       "(%s)",
			       key, index + 1, text, why);
	return rc == REG_ESPACE ? KR_E_NOMEM : KR_E_CONFIG;
}

void kr_pattern_fini(struct kr_pattern *p)
{
	regfree(&p->regex);
}

bool kr_pattern_matches(const struct kr_pattern *p, const char *text)
{
	return regexec(&p->regex, text, 0, NULL, 0) == 0;
}
