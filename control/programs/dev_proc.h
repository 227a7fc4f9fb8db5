/*
 * control/programs/dev_proc.h - the child processes of `kraken dev`: start,
 * notice that one died, say why, stop.
 *
 *	kr_dev_proc_start -> (SIGCHLD) kr_dev_procs_reap -> kr_dev_procs_stop
 *
 * A child has a process group of its own, so that Ctrl-C reaches only us, and
 * is killed by the kernel when we die, whatever we die of.  We start nothing
 * but our own executable (/proc/self/exe).
 *
 * The caller has SIGCHLD, SIGINT, SIGTERM blocked.
 */
#ifndef KR_CONTROL_PROGRAMS_DEV_PROC_H
#define KR_CONTROL_PROGRAMS_DEV_PROC_H

#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

#include "control/programs/dev_layout.h"

struct kr_dev_proc {
	const struct kr_dev_member *member; /* borrowed from the layout */
	pid_t pid;                          /* 0: does not run */
	int wait_status;                    /* waitpid(2), once it died */
	bool ready;                         /* /readiness has said 200 */
};

struct kr_dev_procs {
	const struct kr_dev_layout *layout;
	sigset_t child_mask; /* what a child starts with */
	struct kr_dev_proc list[KR_DEV_MEMBERS_MAX];
	size_t count;
};

/* Start member @m.  What is wrong is said on stderr.
 * KR_E_IO and other errors of errno: it does not run. */
KR_NODISCARD enum kr_err kr_dev_proc_start(struct kr_dev_procs *ps,
					   const struct kr_dev_member *m);

/* Take note of every child that died.  The first of them, or NULL. */
const struct kr_dev_proc *kr_dev_procs_reap(struct kr_dev_procs *ps);

/* Say on stderr which died, how, and the last lines of its log. */
void kr_dev_proc_report(const struct kr_dev_procs *ps,
			const struct kr_dev_proc *p);

/*
 * SIGTERM to all in reverse order; SIGKILL for those that are there after 10
 * seconds, or at once at a second SIGINT or SIGTERM to us.  [blocks]  When it
 * returns none of them is left.  False: one that ran ended in another way than
 * with status 0, which was said.
 */
bool kr_dev_procs_stop(struct kr_dev_procs *ps);

#endif
