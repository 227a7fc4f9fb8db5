#include "backends/backends.h"

#include <regex.h>
#include <stdio.h>
#include <stdlib.h>

struct rule {
	regex_t regex;
	struct kr_backend *backend;
};

struct kr_backends {
	struct rule rules[KR_BACKENDS_MAX];
	size_t count;
};

enum kr_err kr_backends_open(struct kr_backends **ret)
{
	struct kr_backends *bs = calloc(1, sizeof(*bs));

	if (bs == NULL)
		return KR_E_NOMEM;
	*ret = bs;
	return KR_OK;
}

void kr_backends_close(struct kr_backends *bs)
{
	if (bs == NULL)
		return;
	for (size_t i = 0; i < bs->count; i++) {
		regfree(&bs->rules[i].regex);
		kr_backend_close(bs->rules[i].backend);
	}
	free(bs);
}

enum kr_err kr_backends_add(struct kr_backends *bs, const char *regex,
			    struct kr_backend *b, char *error)
{
	struct rule *rule = &bs->rules[bs->count];
	char why[KR_BACKENDS_ERROR_MAX / 2];
	int rc;

	if (bs->count == KR_BACKENDS_MAX)
		return KR_E_LIMIT;
	rc = regcomp(&rule->regex, regex, REG_EXTENDED | REG_NOSUB);
	if (rc == REG_ESPACE)
		return KR_E_NOMEM;
	if (rc != 0) {
		(void)regerror(rc, &rule->regex, why, sizeof(why));
		if (error != NULL)
			(void)snprintf(error, KR_BACKENDS_ERROR_MAX,
				       "namespace `%.100s`: %s", regex, why);
		return KR_E_CONFIG;
	}
	rule->backend = b;
	bs->count++;
	return KR_OK;
}

struct kr_backend *kr_backends_find(const struct kr_backends *bs,
				    const char *ns)
{
	for (size_t i = 0; i < bs->count; i++)
		if (regexec(&bs->rules[i].regex, ns, 0, NULL, 0) == 0)
			return bs->rules[i].backend;
	return NULL;
}
