#include "control/programs/desk.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/list.h"

static uint64_t key_of(const struct kr_reg_call *call)
{
	return (uint64_t)(uintptr_t)call;
}

static void set_answer(struct kr_reg_call *call, enum kr_err err,
		       const char *text)
{
	call->err = err;
	(void)snprintf(call->text, sizeof(call->text), "%s",
		       text != NULL ? text : "");
}

void kr_desk_refuse(struct kr_reg_call *call, enum kr_err err, const char *text)
{
	set_answer(call, err, text);
	kr_reg_done(call);
}

static void arrive(struct kr_post *p)
{
	struct kr_reg_call *call = KR_CONTAINER_OF(p, struct kr_reg_call, post);
	struct kr_desk *d = call->role;

	if (d->handlers[call->op].fn == NULL)
		kr_desk_refuse(call, KR_E_UNSUPPORTED,
			       "this role does not do that");
	else
		d->handlers[call->op].fn(d->handlers[call->op].ctx, call);
}

static void submit(void *ctx, struct kr_reg_call *call)
{
	struct kr_desk *d = ctx;

	call->role = d;
	kr_io_post(d->io, &call->post, arrive);
}

struct cancel_note {
	struct kr_post post;
	struct kr_desk *desk;
	uint64_t key;
};

static void arrive_cancel(struct kr_post *p)
{
	struct cancel_note *note = KR_CONTAINER_OF(p, struct cancel_note, post);
	struct kr_desk_job *job = kr_u64_map_get(&note->desk->jobs, note->key);

	if (job != NULL && job->cancel != NULL)
		job->cancel(job);
	free(note);
}

/* Without memory for the note the work goes on to its end: nothing is lost
 * but time. */
static void cancel(void *ctx, struct kr_reg_call *call)
{
	struct kr_desk *d = ctx;
	struct cancel_note *note = malloc(sizeof(*note));

	if (note == NULL)
		return;
	note->desk = d;
	note->key = key_of(call);
	kr_io_post(d->io, &note->post, arrive_cancel);
}

void kr_desk_open(struct kr_desk *d, struct kr_io *io)
{
	*d = (struct kr_desk){ .io = io };
	d->registry = (struct kr_registry){ d, submit, cancel };
	kr_u64_map_open(&d->jobs, kr_alloc_heap());
}

void kr_desk_close(struct kr_desk *d)
{
	kr_assert(kr_u64_map_count(&d->jobs) == 0);
	kr_u64_map_close(&d->jobs);
}

void kr_desk_handle(struct kr_desk *d, enum kr_reg_op op, kr_desk_fn *fn,
		    void *ctx)
{
	kr_assert(op < KR_REG_OP_COUNT);
	d->handlers[op].fn = fn;
	d->handlers[op].ctx = ctx;
}

enum kr_err kr_desk_begin(struct kr_desk *d, struct kr_desk_job *job,
			  struct kr_reg_call *call,
			  kr_desk_cancel_fn *cancel_fn)
{
	*job = (struct kr_desk_job){ d, call, cancel_fn };
	if (kr_u64_map_put(&d->jobs, key_of(call), job) != KR_OK) {
		kr_desk_refuse(call, KR_E_NOMEM, NULL);
		return KR_E_NOMEM;
	}
	return KR_OK;
}

void *kr_desk_work(struct kr_reg_call *call, size_t bytes,
		   kr_desk_cancel_fn *cancel_fn)
{
	struct kr_desk_job *job = calloc(1, bytes);

	kr_assert(bytes >= sizeof(*job));
	if (job == NULL) {
		kr_desk_refuse(call, KR_E_NOMEM, NULL);
		return NULL;
	}
	if (kr_desk_begin(call->role, job, call, cancel_fn) != KR_OK) {
		free(job);
		return NULL;
	}
	return job;
}

void kr_desk_pass(struct kr_desk_job *job)
{
	kr_u64_map_del(&job->desk->jobs, key_of(job->call));
	job->call = NULL;
}

void kr_desk_end(struct kr_desk_job *job, enum kr_err err, const char *text)
{
	struct kr_reg_call *call = job->call;

	kr_u64_map_del(&job->desk->jobs, key_of(call));
	job->call = NULL;
	set_answer(call, err, text);
	kr_reg_done(call);
}
