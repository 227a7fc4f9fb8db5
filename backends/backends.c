#include "backends/backends.h"

#include <stdlib.h>

#include "core/pattern.h"

struct rule {
	struct kr_pattern pattern;
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
		kr_pattern_fini(&bs->rules[i].pattern);
		kr_backend_close(bs->rules[i].backend);
	}
	free(bs);
}

enum kr_err kr_backends_add(struct kr_backends *bs, const char *regex,
			    struct kr_backend *b, char *error)
{
	struct rule *rule = &bs->rules[bs->count];

	if (bs->count == KR_BACKENDS_MAX)
		return KR_E_LIMIT;
	const enum kr_err err = kr_pattern_init(&rule->pattern, "backends",
						bs->count, regex, error);
	if (err != KR_OK)
		return err;
	rule->backend = b;
	bs->count++;
	return KR_OK;
}

struct kr_backend *kr_backends_find(const struct kr_backends *bs,
				    const char *ns)
{
	for (size_t i = 0; i < bs->count; i++)
		if (kr_pattern_matches(&bs->rules[i].pattern, ns))
			return bs->rules[i].backend;
	return NULL;
}
