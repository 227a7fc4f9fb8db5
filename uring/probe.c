#define _GNU_SOURCE
#include "uring/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "core/log.h"
#include "uring/resident.h"

static const struct kr_feature rows[KR_FEATURE_COUNT] = {
	[KR_FEATURE_SETUP] = { "SINGLE_ISSUER, DEFER_TASKRUN, COOP_TASKRUN",
			       true, "6.1", "the program does not start",
			       false },
	[KR_FEATURE_EXT_ARG] = { "wait with a timeout (EXT_ARG)", true, "5.11",
				 "the program does not start", false },
	[KR_FEATURE_NODROP] = { "no completion is lost (NODROP)", true, "5.5",
				"the program does not start", false },
	[KR_FEATURE_FAST_POLL] = { "sockets without threads (FAST_POLL)", true,
				   "5.7", "the program does not start", false },
	[KR_FEATURE_OPS] = { "READ WRITE FSYNC SEND RECV POLL SPLICE CANCEL",
			     true, "5.7", "the program does not start", false },
	[KR_FEATURE_BUFFER_RING] = { "receive buffer ring", true, "5.19",
				     "the program does not start", false },
	[KR_FEATURE_WORKERS_MAX] = { "limit of io-wq workers", false, "5.15",
				     "as many kernel threads as it wants",
				     false },
	[KR_FEATURE_RING_FD] = { "registered ring descriptor", false, "5.18",
				 "a little more CPU per turn", false },
	[KR_FEATURE_FIXED_BUFFERS] = { "registered block buffers (needs "
				       "RLIMIT_MEMLOCK or CAP_IPC_LOCK)",
				       false, "5.1",
				       "a little more CPU per file block",
				       false },
	[KR_FEATURE_CACHESTAT] = { "cachestat(2)", false, "6.5",
				   "residency is sampled by RWF_NOWAIT alone",
				   false },
};

/* What the engine submits. */
static const int needed_ops[] = { IORING_OP_READ,        IORING_OP_WRITE,
				  IORING_OP_READ_FIXED,  IORING_OP_FSYNC,
				  IORING_OP_WRITE_FIXED, IORING_OP_SEND,
				  IORING_OP_RECV,        IORING_OP_POLL_ADD,
				  IORING_OP_SPLICE,      IORING_OP_FALLOCATE,
				  IORING_OP_ASYNC_CANCEL };

void kr_probe_init(struct kr_features *f)
{
	for (int i = 0; i < KR_FEATURE_COUNT; i++)
		f->row[i] = rows[i];
}

const char *kr_probe_explain(int errnum, int disabled, const char *release,
			     char *buf)
{
	const char *why;

	if (errnum == EPERM && disabled == 2)
		why = "kernel.io_uring_disabled is 2: io_uring is off for "
		      "everybody; set it to 0";
	else if (errnum == EPERM && disabled == 1)
		why = "kernel.io_uring_disabled is 1: io_uring is for "
		      "privileged processes only; set it to 0, or add our "
		      "group to kernel.io_uring_group";
	else if (errnum == EPERM || errnum == EACCES)
		why = "a seccomp profile forbids io_uring_setup (container "
		      "runtimes do by default); allow io_uring_setup, "
		      "io_uring_enter and io_uring_register";
	else if (errnum == ENOSYS)
		why = "the kernel has no io_uring, or a seccomp profile hides "
		      "it; Linux 6.1 or later is needed";
	else if (errnum == EINVAL)
		why = "the kernel is too old for DEFER_TASKRUN; Linux 6.1 or "
		      "later is needed";
	else
		why = "unexpected; see io_uring_setup(2)";
	snprintf(buf, KR_PROBE_TEXT_MAX, "errno %d on Linux %s: %s", errnum,
		 release, why);
	return buf;
}

/* Where the sysctl does not exist (before 6.6), nothing is disabled by it. */
static int read_disabled(void)
{
	char text[16] = { 0 };
	int fd = open("/proc/sys/kernel/io_uring_disabled",
		      O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -1;
	const ssize_t n = read(fd, text, sizeof(text) - 1);

	close(fd);
	return n > 0 ? atoi(text) : -1;
}

static enum kr_err refuse(int errnum)
{
	struct utsname host = { 0 };
	char text[KR_PROBE_TEXT_MAX];

	if (errnum == ENOMEM)
		return KR_E_NOMEM;
	if (errnum == EMFILE || errnum == ENFILE)
		return KR_E_NOFILE;
	uname(&host);
	kr_log_error("uring", "the kernel refuses io_uring",
		     KR_STR("cause", kr_probe_explain(errnum, read_disabled(),
						      host.release, text)));
	return KR_E_UNSUPPORTED;
}

static bool has_ops(struct io_uring *ring)
{
	struct io_uring_probe *probe = io_uring_get_probe_ring(ring);
	bool all = probe != NULL;

	for (size_t i = 0; all && i < sizeof(needed_ops) / sizeof(int); i++)
		all = io_uring_opcode_supported(probe, needed_ops[i]) != 0;
	io_uring_free_probe(probe);
	return all;
}

enum kr_err kr_probe_setup(struct kr_features *f, struct io_uring *ring,
			   unsigned entries, struct io_uring_params *params)
{
	const int rc = io_uring_queue_init_params(entries, ring, params);

	if (rc < 0)
		return refuse(-rc);
	const unsigned bits = params->features;

	f->row[KR_FEATURE_SETUP].have = true;
	f->row[KR_FEATURE_EXT_ARG].have = (bits & IORING_FEAT_EXT_ARG) != 0;
	f->row[KR_FEATURE_NODROP].have = (bits & IORING_FEAT_NODROP) != 0;
	f->row[KR_FEATURE_FAST_POLL].have = (bits & IORING_FEAT_FAST_POLL) != 0;
	f->row[KR_FEATURE_OPS].have = has_ops(ring);
	f->row[KR_FEATURE_CACHESTAT].have = kr_resident_probe();
	return KR_OK;
}

enum kr_err kr_probe_judge(const struct kr_features *f)
{
	for (int i = 0; i < KR_FEATURE_COUNT; i++) {
		const struct kr_feature *row = &f->row[i];

		if (row->have)
			continue;
		if (row->required) {
			kr_log_error("uring", "the kernel lacks what we need",
				     KR_STR("feature", row->name),
				     KR_STR("since_linux", row->since),
				     KR_STR("do", "use a newer kernel"));
			return KR_E_UNSUPPORTED;
		}
		kr_log_info("uring", "feature is missing",
			    KR_STR("feature", row->name),
			    KR_STR("since_linux", row->since),
			    KR_STR("without", row->without));
	}
	return KR_OK;
}
