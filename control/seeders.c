#define _GNU_SOURCE
#include "control/seeders.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/list.h"
#include "core/log.h"

/* A further reactor.  Its thread's, but for what is said. */
struct seeder {
	struct kr_seeders *all;
	uint32_t reactor;
	pthread_t thread;
	struct kr_io *io;             /* set before the start is over */
	struct kr_transfer *transfer; /* NULL: not open any more */
	struct kr_lender lender;
	enum kr_err err; /* of the start */
	struct kr_post room;
	atomic_bool is_room_due; /* room is on its way */
	struct kr_post over;     /* to reactor 0: the thread ends */
};

struct kr_seeders { /* reactor 0's; opts are read by all */
	struct kr_seeders_opts opts;
	struct kr_list waiting; /* loans of blobs on their way in */
	bool is_closing;
	sem_t started;
	uint32_t count, running;
	struct seeder table[];
};

/*
 * A question, then a lease.  One thread at a time has it, and posts it to the
 * next:
 *
 *	seeder --ask--> reactor 0 [--wait--] --job--> pool --> reactor 0
 *	    --reply--> seeder ... --back--> reactor 0, freed
 */
struct loan {
	struct kr_lease lease; /* first: what the seeder knows */
	struct seeder *seeder;
	struct kr_ask *ask;
	struct kr_digest digest;
	struct kr_post post;
	struct kr_job job;
	struct kr_list link; /* all->waiting */
	struct kr_blob_wait wait;
	struct kr_store_blob *stored;
	enum kr_err err;
};

/* A connection that goes to reactor 0. */
struct passage {
	struct kr_post post;
	struct kr_seeders *all;
	struct kr_addr from;
	uint8_t *bytes;
	uint32_t len;
	int fd;
};

/* ---- loans, on reactor 0 and its pool */

static void free_loan(struct loan *l)
{
	kr_metainfo_fini(kr_alloc_heap(), &l->lease.meta);
	if (l->stored != NULL)
		kr_store_blob_close(l->stored);
	free(l);
}

/* On the seeder's thread. */
static void on_reply(struct kr_post *p)
{
	struct loan *l = KR_CONTAINER_OF(p, struct loan, post);
	struct kr_ask *a = l->ask;
	const enum kr_err err = l->err;

	if (err == KR_OK) {
		a->done(a, KR_OK, &l->lease);
		return;
	}
	free_loan(l);
	a->done(a, err, NULL);
}

static void reply(struct loan *l, enum kr_err err)
{
	l->err = err;
	if (err != KR_OK && l->stored != NULL) {
		kr_store_blob_close(l->stored);
		l->stored = NULL;
	}
	kr_io_post(l->seeder->io, &l->post, on_reply);
}

static enum kr_err load_meta(struct loan *l)
{
	struct kr_metainfo *m = &l->lease.meta;
	uint8_t *buf;
	size_t len;
	enum kr_err err = kr_store_meta_get(l->seeder->all->opts.store,
					    &l->digest, &buf, &len);

	if (err != KR_OK)
		return err;
	err = kr_metainfo_decode_of(kr_alloc_heap(), &l->digest, buf, len, m);
	free(buf);
	if (err == KR_OK && m->size_bytes != l->lease.size_bytes)
		err = KR_E_CORRUPT;
	return err;
}

static void run_open(struct kr_job *j)
{
	struct loan *l = KR_CONTAINER_OF(j, struct loan, job);

	l->err = kr_store_blob_open(l->seeder->all->opts.store, &l->digest,
				    &l->stored);
	if (l->err != KR_OK)
		return;
	l->lease.fd = kr_store_blob_fd(l->stored);
	l->lease.size_bytes = kr_store_blob_size(l->stored);
	l->err = load_meta(l);
}

static void on_open(struct kr_job *j)
{
	struct loan *l = KR_CONTAINER_OF(j, struct loan, job);

	if (l->err != KR_OK && l->err != KR_E_NOTFOUND)
		kr_log_warn("seeders",
			    "blob cannot be seeded: its file or metainfo is "
			    "damaged; delete it, it will be fetched again",
			    KR_DIGEST("blob", &l->digest),
			    KR_ERR("err", l->err));
	reply(l, l->err);
}

static void open_stored(struct loan *l)
{
	kr_io_work(l->seeder->all->opts.io, &l->job, run_open, on_open);
}

static void on_complete(struct kr_blob_wait *w, enum kr_err err)
{
	struct loan *l = KR_CONTAINER_OF(w, struct loan, wait);

	kr_list_del(&l->link);
	if (err == KR_OK)
		open_stored(l);
	else
		reply(l, KR_E_NOTFOUND);
}

static void on_ask(struct kr_post *p)
{
	struct loan *l = KR_CONTAINER_OF(p, struct loan, post);
	struct kr_seeders *s = l->seeder->all;
	struct kr_blob *b;

	if (s->is_closing) {
		reply(l, KR_E_CANCELED);
		return;
	}
	b = kr_transfer_find(s->opts.transfer, &l->digest);
	if (b == NULL || kr_blob_complete(b)) {
		open_stored(l);
		return;
	}
	kr_list_add_tail(&s->waiting, &l->link);
	kr_blob_wait(b, &l->wait, on_complete);
}

static void on_back(struct kr_post *p)
{
	free_loan(KR_CONTAINER_OF(p, struct loan, post));
}

/* ---- the lender, on a seeder's thread */

static bool lend(void *ctx, struct kr_ask *a)
{
	struct seeder *x = ctx;
	struct loan *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return false;
	l->seeder = x;
	l->ask = a;
	l->digest = a->digest;
	l->lease.fd = -1;
	kr_list_init(&l->link);
	kr_io_post(x->all->opts.io, &l->post, on_ask);
	return true;
}

static void take_back(void *ctx, struct kr_lease *lease)
{
	struct seeder *x = ctx;
	struct loan *l = KR_CONTAINER_OF(lease, struct loan, lease);

	kr_io_post(x->all->opts.io, &l->post, on_back);
}

static void on_passage(struct kr_post *p)
{
	struct passage *g = KR_CONTAINER_OF(p, struct passage, post);

	if (g->all->is_closing)
		close(g->fd);
	else
		kr_transfer_admit(g->all->opts.transfer, g->fd, &g->from,
				  g->bytes, g->len);
	free(g->bytes);
	free(g);
}

static void pass_on(void *ctx, int fd, const struct kr_addr *from,
		    uint8_t *bytes, uint32_t len)
{
	struct seeder *x = ctx;
	struct passage *g = malloc(sizeof(*g));

	if (g == NULL) {
		close(fd);
		free(bytes);
		return;
	}
	*g = (struct passage){ .all = x->all,
			       .from = *from,
			       .bytes = bytes,
			       .len = len,
			       .fd = fd };
	kr_io_post(x->all->opts.io, &g->post, on_passage);
}

/* ---- what reactor 0 tells a seeder */

struct forget {
	struct kr_post post;
	struct seeder *seeder;
	struct kr_digest digest;
};

static void on_forget(struct kr_post *p)
{
	struct forget *f = KR_CONTAINER_OF(p, struct forget, post);
	struct kr_transfer *t = f->seeder->transfer;
	struct kr_blob *b = NULL;

	if (t != NULL)
		b = kr_transfer_find(t, &f->digest);
	if (b != NULL)
		kr_blob_abort(b, KR_E_CANCELED);
	free(f);
}

void kr_seeders_forget(struct kr_seeders *s, const struct kr_digest *d)
{
	for (uint32_t i = 0; i < s->count; i++) {
		struct forget *f = malloc(sizeof(*f));

		if (f == NULL)
			return;
		f->seeder = &s->table[i];
		f->digest = *d;
		kr_io_post(f->seeder->io, &f->post, on_forget);
	}
}

static void on_room(struct kr_post *p)
{
	struct seeder *x = KR_CONTAINER_OF(p, struct seeder, room);

	atomic_store(&x->is_room_due, false);
	if (x->transfer != NULL)
		kr_transfer_let_go(x->transfer);
}

void kr_seeders_make_room(struct kr_seeders *s)
{
	for (uint32_t i = 0; i < s->count; i++) {
		struct seeder *x = &s->table[i];

		if (!atomic_exchange(&x->is_room_due, true))
			kr_io_post(x->io, &x->room, on_room);
	}
}

/* ---- a seeder's thread */

static enum kr_err start(struct seeder *x)
{
	struct kr_seeders_opts *o = &x->all->opts;
	struct kr_transfer_opts t = o->seed;
	enum kr_err err = o->open_io(o->ctx, x->reactor, &x->io);

	if (err != KR_OK)
		return err;
	x->lender = (struct kr_lender){ x, lend, take_back, pass_on };
	t.io = x->io;
	t.lender = &x->lender;
	t.reactor = x->reactor;
	t.share = KR_LISTEN_MORE;
	err = kr_transfer_open(&t, &x->transfer);
	if (err != KR_OK) {
		o->close_io(o->ctx, x->io);
		x->io = NULL;
	}
	return err;
}

static void on_over(struct kr_post *p)
{
	KR_CONTAINER_OF(p, struct seeder, over)->all->running--;
}

static void *seeder_main(void *arg)
{
	struct seeder *x = arg;
	struct kr_seeders_opts *o = &x->all->opts;

	x->err = start(x);
	const bool runs = x->err == KR_OK;

	kr_assert(sem_post(&x->all->started) == 0);
	if (!runs)
		return NULL;
	kr_io_run(x->io);
	struct kr_transfer *t = x->transfer;

	kr_transfer_close(t);
	x->transfer = NULL;
	o->close_io(o->ctx, x->io);
	kr_io_post(o->io, &x->over, on_over);
	return NULL;
}

/* ---- all of them */

static void wait_started(struct kr_seeders *s)
{
	while (sem_wait(&s->started) != 0) /* a signal came */
		;
}

static enum kr_err start_one(struct kr_seeders *s)
{
	struct seeder *x = &s->table[s->count];
	char name[16];

	*x = (struct seeder){ .all = s, .reactor = s->count + 1 };
	const int errnum = pthread_create(&x->thread, NULL, seeder_main, x);

	if (errnum != 0)
		return KR_E_LIMIT;
	(void)snprintf(name, sizeof(name), "reactor-%u", x->reactor);
	(void)pthread_setname_np(x->thread, name);
	wait_started(s);
	if (x->err != KR_OK) {
		kr_assert(pthread_join(x->thread, NULL) == 0);
		return x->err;
	}
	s->count++;
	s->running++;
	return KR_OK;
}

enum kr_err kr_seeders_open(const struct kr_seeders_opts *opts,
			    struct kr_seeders **ret)
{
	struct kr_seeders *s;
	enum kr_err err = KR_OK;

	kr_assert(opts->count < KR_REACTORS_MAX);
	s = calloc(1, sizeof(*s) + opts->count * sizeof(s->table[0]));
	if (s == NULL)
		return KR_E_NOMEM;
	s->opts = *opts;
	s->opts.seed.store = NULL;
	s->opts.seed.need_peers = NULL;
	s->opts.seed.bad_peer = NULL;
	s->opts.seed.changed = NULL;
	s->opts.seed.need_room = NULL;
	s->opts.seed.listen = kr_transfer_addr(opts->transfer);
	kr_list_init(&s->waiting);
	kr_assert(sem_init(&s->started, 0, 0) == 0);
	while (err == KR_OK && s->count < opts->count)
		err = start_one(s);
	if (err != KR_OK) {
		kr_seeders_close(s);
		return err;
	}
	*ret = s;
	return KR_OK;
}

static void refuse_waiting(struct kr_seeders *s)
{
	struct kr_list *it;

	while ((it = kr_list_first(&s->waiting)) != NULL) {
		struct loan *l = KR_CONTAINER_OF(it, struct loan, link);

		kr_list_del(it);
		kr_blob_wait_cancel(&l->wait);
		reply(l, KR_E_CANCELED);
	}
}

void kr_seeders_close(struct kr_seeders *s)
{
	if (s == NULL)
		return;
	s->is_closing = true;
	refuse_waiting(s);
	for (uint32_t i = 0; i < s->count; i++)
		kr_io_stop(s->table[i].io);
	while (s->running > 0)
		kr_io_turn(s->opts.io);
	for (uint32_t i = 0; i < s->count; i++)
		kr_assert(pthread_join(s->table[i].thread, NULL) == 0);
	kr_assert(sem_destroy(&s->started) == 0);
	free(s);
}
