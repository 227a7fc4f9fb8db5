#include "control/programs/storage.h"

#include <stdio.h>

#include "backends/file.h"
#include "core/log.h"

typedef enum kr_err open_file_fn(const char *root,
				 enum kr_backend_layout layout,
				 struct kr_backend **ret);

static enum kr_err add_backend(struct kr_backends *bs,
			       const struct kr_conf_backend *conf,
			       const char *area, open_file_fn *open_file)
{
	static const enum kr_backend_layout layouts[] = {
		[KR_CONF_DOCKER_TAG] = KR_LAYOUT_DOCKER_TAG,
		[KR_CONF_IDENTITY] = KR_LAYOUT_IDENTITY,
		[KR_CONF_SHARDED_DOCKER_BLOB] = KR_LAYOUT_SHARDED_DOCKER_BLOB,
	};
	char why[KR_BACKENDS_ERROR_MAX] = "";
	struct kr_backend *b = NULL;
	enum kr_err err = KR_E_CONFIG;

	if (conf->file_root[0] == '\0')
		(void)snprintf(why, sizeof(why),
			       "backend.file.root_directory is missing");
	else
		err = open_file(conf->file_root, layouts[conf->name_path], &b);
	if (err == KR_OK) {
		err = kr_backends_add(bs, conf->namespace_regex, b, why);
		if (err != KR_OK)
			kr_backend_close(b);
	}
	if (err != KR_OK)
		kr_log_error(area, "storage backend cannot be used",
			     KR_STR("namespace", conf->namespace_regex),
			     KR_STR("root", conf->file_root),
			     KR_ERR("why", err), KR_STR("text", why));
	return err;
}

static enum kr_err add_all(const struct kr_conf *c, const char *area,
			   open_file_fn *open_file, struct kr_backends **ret)
{
	const struct kr_conf_backend *confs = c->backends.list;
	enum kr_err err = kr_backends_open(ret);

	for (size_t i = 0; err == KR_OK && i < c->backends.count; i++)
		err = add_backend(*ret, &confs[i], area, open_file);
	return err;
}

enum kr_err kr_storage_open(const struct kr_conf *c, const char *area,
			    struct kr_backends **ret)
{
	return add_all(c, area, kr_backend_file_open, ret);
}

enum kr_err kr_storage_attach(const struct kr_conf *c, const char *area,
			      struct kr_backends **ret)
{
	return add_all(c, area, kr_backend_file_attach, ret);
}
