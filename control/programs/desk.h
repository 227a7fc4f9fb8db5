/*
 * control/programs/desk.h - where questions of the HTTP thread
 * (registry_api/registry.h) arrive on the reactor.
 *
 *	submit (HTTP thread) -> post -> handler -> kr_desk_begin ... kr_desk_end
 *	cancel (HTTP thread) -> post -> job->cancel, if it is still at work
 *
 * A cancel names its call by address; the reactor looks it up among those at
 * work, so one that was answered meanwhile is not touched.  Posts of one
 * thread arrive in order, so an address that is used again cannot be meant.
 *
 * Threads: reactor, but for the two functions in the registry.
 */
#ifndef KR_CONTROL_PROGRAMS_DESK_H
#define KR_CONTROL_PROGRAMS_DESK_H

#include "core/err.h"
#include "core/io.h"
#include "core/map.h"
#include "registry_api/registry.h"

struct kr_desk;
struct kr_desk_job;

/* Begin work on @call: kr_desk_begin, or kr_desk_refuse. */
typedef void kr_desk_fn(void *ctx, struct kr_reg_call *call);

/* Nobody waits any more: end soon, or now (kr_desk_end frees @job). */
typedef void kr_desk_cancel_fn(struct kr_desk_job *job);

struct kr_desk_job { /* embedded in what works on a call */
	struct kr_desk *desk;
	struct kr_reg_call *call;
	kr_desk_cancel_fn *cancel; /* NULL: it ends by itself, soon */
};

struct kr_desk {
	struct kr_io *io;
	struct kr_registry registry; /* give this to kr_http_start */
	struct {
		kr_desk_fn *fn; /* NULL: KR_E_UNSUPPORTED */
		void *ctx;
	} handlers[KR_REG_OP_COUNT];
	struct kr_u64_map jobs; /* address of the call -> struct kr_desk_job */
};

void kr_desk_open(struct kr_desk *d, struct kr_io *io);

/* Every job was ended (kr_http_stop waits for that). */
void kr_desk_close(struct kr_desk *d);

void kr_desk_handle(struct kr_desk *d, enum kr_reg_op op, kr_desk_fn *fn,
		    void *ctx);

/* @job works on @call from now on.  KR_E_NOMEM: it does not; the call has been
 * answered. */
KR_NODISCARD enum kr_err kr_desk_begin(struct kr_desk *d,
				       struct kr_desk_job *job,
				       struct kr_reg_call *call,
				       kr_desk_cancel_fn *cancel);

/* The same with memory of @bytes, zeroed, that begins with the job and is the
 * caller's to free(3) after kr_desk_end.  NULL: the call has been answered. */
void *kr_desk_work(struct kr_reg_call *call, size_t bytes,
		   kr_desk_cancel_fn *cancel);

/* @job does no more; its call is free to be begun by another. */
void kr_desk_pass(struct kr_desk_job *job);

/* The answer; @text (may be NULL) is for the client.  @job is free again. */
void kr_desk_end(struct kr_desk_job *job, enum kr_err err, const char *text);

/* Answer a call that no job began to work on. */
void kr_desk_refuse(struct kr_reg_call *call, enum kr_err err,
		    const char *text);

#endif
