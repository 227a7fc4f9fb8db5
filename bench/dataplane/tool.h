/*
 * bench/dataplane/tool.h - what the programs of this folder share: clocks,
 * processor time of other processes, sockets.
 *
 * Every function ends the program with a line on standard error when the
 * world is not as it must be: a benchmark that goes on would measure
 * something else.
 */
#ifndef KR_BENCH_TOOL_H
#define KR_BENCH_TOOL_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define DP_S_NS UINT64_C(1000000000)

enum { DP_PIDS_MAX = 16 };

/* Print "name: message: errno" and exit(2). */
_Noreturn void dp_die(const char *what);
_Noreturn void dp_die_text(const char *what, const char *text);

uint64_t dp_now_ns(void); /* monotonic */

/* Processes whose time counts: all their threads, ended ones too, with the
 * kernel's workers of their rings (clock_getcpuclockid(3)). */
struct dp_pids {
	clockid_t clocks[DP_PIDS_MAX];
	size_t count;
};
/* Of a list "12,34"; "": none. */
void dp_pids_parse(struct dp_pids *p, const char *list);
/* User and system seconds since their start, all together. */
double dp_pids_cpu_s(const struct dp_pids *p);
double dp_self_cpu_s(void);

/* A connection to 127.0.0.1:@port, nonblocking from then on; owned by the
 * caller. */
int dp_connect(uint16_t port);

/* A listener on 127.0.0.1:@port, nonblocking; owned by the caller. */
int dp_listen(uint16_t port);

/* Send all of @len bytes: few, so that they fit the socket's buffer. */
void dp_send_small(int fd, const void *buf, size_t len);

/* All of file @path, which is at most @cap bytes, into @buf; its length. */
size_t dp_read_file(const char *path, void *buf, size_t cap);

/* The value of "--name VALUE"; @otherwise where it is not there, and the end
 * of the program where that is NULL. */
const char *dp_arg(int argc, char **argv, const char *name,
		   const char *otherwise);

#endif
