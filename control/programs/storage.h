/*
 * control/programs/storage.h - the storage backends of a role as `backends:`
 * of its configuration has them.
 */
#ifndef KR_CONTROL_PROGRAMS_STORAGE_H
#define KR_CONTROL_PROGRAMS_STORAGE_H

#include "backends/backends.h"
#include "control/programs/conf.h"

/*
 * Open all of @c->backends, in order.  What is wrong is in the log, said by
 * @area ("origin").  [blocks]  Close with kr_backends_close, also after an
 * error, where @ret is NULL or holds those that could be opened.
 *
 * KR_E_CONFIG  an entry says no backend, or no regular expression
 * others       the backend's, kr_backends_add's
 */
KR_NODISCARD enum kr_err kr_storage_open(const struct kr_conf *c,
					 const char *area,
					 struct kr_backends **ret);

/* The same with storages of somebody else: a directory is not made, and need
 * not be there yet. */
KR_NODISCARD enum kr_err kr_storage_attach(const struct kr_conf *c,
					   const char *area,
					   struct kr_backends **ret);

#endif
