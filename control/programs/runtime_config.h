/*
 * control/programs/runtime_config.h - `kraken runtime-config`: a container
 * runtime of this host is told to pull through the agent, or no longer.
 *
 *	--containerd  certs.d/<upstream>/hosts.toml, a block between marks
 *	--docker      daemon.json, an entry of "registry-mirrors"
 *	--podman,
 *	--crio        registries.conf.d/50-kraken.conf, a file of our own
 *
 * What was in a file stays, byte for byte: a block is put in and taken out, an
 * entry likewise.  (A daemon.json that spells things so that no small edit
 * does it, as with our URL in the middle of the list, is printed anew; it
 * says the same.)  A file is replaced by rename, with its mode and owner, so a
 * runtime that reads meanwhile sees the old or the new one.
 */
#ifndef KR_CONTROL_PROGRAMS_RUNTIME_CONFIG_H
#define KR_CONTROL_PROGRAMS_RUNTIME_CONFIG_H

#include <stdbool.h>
#include <stddef.h>

#include "core/buf.h"
#include "core/bytes.h"
#include "core/err.h"

enum {
	KR_RTC_UPSTREAMS_MAX = 64,
	KR_RTC_FILE_BYTES_MAX = 1 << 20,
	KR_RTC_PATH_MAX = 4096,
};

enum kr_rtc_action {
	KR_RTC_SHOW,   /* print what apply would do */
	KR_RTC_APPLY,  /* put in, or bring up to date */
	KR_RTC_REMOVE, /* take out what apply put in */
};

struct kr_rtc {
	enum kr_rtc_action action;
	const char *agent;                           /* "127.0.0.1:16000" */
	const char *upstreams[KR_RTC_UPSTREAMS_MAX]; /* "docker.io"; "*" */
	size_t upstream_count;
	bool keep_host;   /* podman, CRI-O: the upstream stays in the path */
	const char *root; /* put before every path; "" */
};

/* The new text of a file: from the old one (len 0: there was none) to @out;
 * empty: the file is not needed any more.  PURE.
 *
 * KR_E_CONFIG  the file is not what we know how to change; @why (static or in
 *              @rtc) says more, and the file is to be left alone
 * KR_E_TOOBIG, KR_E_NOMEM
 */
KR_NODISCARD enum kr_err kr_rtc_containerd(const struct kr_rtc *rtc,
					   const char *upstream,
					   struct kr_bytes old,
					   struct kr_buf *out,
					   const char **why);
KR_NODISCARD enum kr_err kr_rtc_docker(const struct kr_rtc *rtc,
				       struct kr_bytes old, struct kr_buf *out,
				       const char **why);
KR_NODISCARD enum kr_err kr_rtc_podman(const struct kr_rtc *rtc,
				       struct kr_bytes old, struct kr_buf *out,
				       const char **why);

/* Does hosts.toml have a block of ours?  PURE. */
bool kr_rtc_containerd_has_ours(struct kr_bytes text);

/* The directory below certs.d of @upstream. */
const char *kr_rtc_containerd_dir(const char *upstream);

/* Read all of @path into @out.  KR_E_NOTFOUND; KR_E_TOOBIG: above
 * KR_RTC_FILE_BYTES_MAX; as errno says. */
KR_NODISCARD enum kr_err kr_rtc_read(const char *path, struct kr_buf *out);

/* Replace @path by @text, or make it and the directories above.  The mode and
 * owner of what was there stay.  KR_E_NOTFOUND: a link that leads nowhere; as
 * errno says. */
KR_NODISCARD enum kr_err kr_rtc_write(const char *path, struct kr_bytes text);

/* Delete @path; @and_dir: and the directory above it if that is empty then.
 * As errno says. */
KR_NODISCARD enum kr_err kr_rtc_delete(const char *path, bool and_dir);

/* kraken runtime-config ...: see `--help`. */
int kr_runtime_config_main(int argc, char **argv);

#endif
