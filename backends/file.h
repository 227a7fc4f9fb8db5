/*
 * backends/file.h - the storage backend "file": a directory.
 *
 * An object is written to a temporary name, synced, renamed, and its directory
 * synced: after a crash it is whole or absent.
 *
 * While there is no directory of that name (moved away, not mounted) every
 * call says KR_E_UNAVAILABLE.
 */
#ifndef KR_BACKENDS_FILE_H
#define KR_BACKENDS_FILE_H

#include "backends/backend.h"

/*
 * Use directory @root, which is made if it is missing (its parent is not).
 *
 * KR_E_NOTFOUND     the parent does not exist
 * KR_E_UNAVAILABLE  something else has that name
 * KR_E_DENIED, KR_E_NOSPC, KR_E_IO, KR_E_NOMEM
 */
KR_NODISCARD enum kr_err kr_backend_file_open(const char *root,
					      enum kr_backend_layout layout,
					      struct kr_backend **ret);

/* The same with the directory of somebody else: it is not made, need not be
 * there yet, and while it is empty, as an unmounted file system leaves it,
 * every object is KR_E_UNAVAILABLE, not KR_E_NOTFOUND.  KR_E_NOMEM. */
KR_NODISCARD enum kr_err kr_backend_file_attach(const char *root,
						enum kr_backend_layout layout,
						struct kr_backend **ret);

#endif
