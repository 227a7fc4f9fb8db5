/* KR_ACT_LOOKUP: a peer asks for a blob that is not in the node.  What the
 * store has is opened on the pool, with its metainfo, or is lent; it joins the
 * swarm. */
#include <stdlib.h>
#include <string.h>

#include "control/transfer_internal.h"
#include "core/alloc.h"
#include "core/log.h"

static void free_seek(struct kr_seek *k)
{
	kr_metainfo_fini(kr_alloc_heap(), &k->meta);
	if (k->stored != NULL)
		kr_store_blob_close(k->stored);
	if (k->lease != NULL)
		k->t->lender->give_back(k->t->lender->ctx, k->lease);
	free(k);
}

static enum kr_err load_meta(struct kr_seek *k)
{
	uint8_t *buf;
	size_t len;
	enum kr_err err =
		kr_store_meta_get(k->t->store, &k->digest, &buf, &len);

	if (err != KR_OK)
		return err;
	err = kr_metainfo_decode_of(kr_alloc_heap(), &k->digest, buf, len,
				    &k->meta);
	free(buf);
	return err;
}

static void run_seek(struct kr_job *j)
{
	struct kr_seek *k = KR_CONTAINER_OF(j, struct kr_seek, job);

	k->err = kr_store_blob_open(k->t->store, &k->digest, &k->stored);
	if (k->err == KR_OK)
		k->err = load_meta(k);
	if (k->err == KR_OK &&
	    kr_store_blob_size(k->stored) != k->meta.size_bytes)
		k->err = KR_E_CORRUPT;
}

/* Become complete by what was lent. */
static void take_lease(struct kr_blob *b, struct kr_seek *k)
{
	b->lease = k->lease;
	k->lease = NULL;
	b->fd = b->lease->fd;
	b->size_bytes = b->lease->size_bytes;
	b->state = KR_BLOB_COMPLETE;
}

/* The blob of @k in the table, made if need be. */
static struct kr_blob *blob_for(struct kr_seek *k)
{
	struct kr_transfer *t = k->t;
	struct kr_blob *b = kr_blob_find(t, &k->digest);

	if (b == NULL) {
		b = kr_blob_make(t, &k->digest, k->ns, 0);
		if (b == NULL)
			return NULL;
		enum kr_err err = KR_OK;

		if (k->lease != NULL)
			take_lease(b, k);
		else
			err = kr_blob_open_stored(b);
		if (err == KR_OK)
			err = kr_blob_list(b);
		kr_blob_drop(b);
		if (err != KR_OK)
			return NULL;
	}
	if (b->state == KR_BLOB_COMPLETE && b->meta.hashes == NULL) {
		b->meta = k->meta;
		k->meta = (struct kr_metainfo){ 0 };
	}
	if (b->ns[0] == '\0')
		memcpy(b->ns, k->ns, sizeof(b->ns));
	return b;
}

static void be_absent(struct kr_seek *k)
{
	struct kr_transfer *t = k->t;

	kr_node_blob_absent(t->node, kr_transfer_now(t), k->lookup);
	kr_transfer_pump(t);
}

void kr_transfer_answer(struct kr_seek *k)
{
	struct kr_transfer *t = k->t;
	struct kr_blob *b = NULL;

	if (k->err == KR_OK && !t->is_closing)
		b = blob_for(k);
	if (b != NULL && !b->in_node && b->state == KR_BLOB_COMPLETE &&
	    b->meta.hashes != NULL && b->size_bytes > 0 &&
	    kr_blob_join(b, k->lookup) == KR_OK) {
		b->want_peers = true;
		kr_blob_notice(b);
		kr_blob_linger(b);
	} else if (b == NULL || !b->in_node) {
		be_absent(k);
	}
	free_seek(k);
}

void kr_transfer_answer_all(struct kr_blob *b)
{
	struct kr_list *it;

	while ((it = kr_list_first(&b->lookups)) != NULL) {
		struct kr_seek *k = KR_CONTAINER_OF(it, struct kr_seek, link);

		kr_list_del(it);
		k->err = b->state == KR_BLOB_FAILED ? KR_E_NOTFOUND : KR_OK;
		kr_transfer_answer(k);
	}
}

static void on_sought(struct kr_job *j)
{
	struct kr_seek *k = KR_CONTAINER_OF(j, struct kr_seek, job);

	k->t->jobs--;
	if (k->err != KR_OK && k->err != KR_E_NOTFOUND)
		kr_log_warn("transfer",
			    "blob cannot be seeded: its file or metainfo is "
			    "damaged; delete it, it will be fetched again",
			    KR_DIGEST("blob", &k->digest),
			    KR_ERR("err", k->err));
	kr_transfer_answer(k);
}

static void on_lent(struct kr_ask *a, enum kr_err err, struct kr_lease *l)
{
	struct kr_seek *k = KR_CONTAINER_OF(a, struct kr_seek, ask);

	k->t->jobs--;
	k->err = err;
	k->lease = l;
	if (err == KR_OK) {
		k->meta = l->meta;
		l->meta = (struct kr_metainfo){ 0 };
	}
	kr_transfer_answer(k);
}

static void borrow(struct kr_seek *k)
{
	const struct kr_lender *l = k->t->lender;

	k->ask = (struct kr_ask){ .digest = k->digest, .done = on_lent };
	if (l->ask(l->ctx, &k->ask))
		k->t->jobs++;
	else
		free_seek(k); /* the node refuses what nobody answers */
}

/* Called with actions pending: answers come later. */
void kr_transfer_look_up(struct kr_transfer *t, const struct kr_action *a)
{
	struct kr_blob *b = kr_blob_find(t, &a->digest);
	struct kr_seek *k = calloc(1, sizeof(*k));

	if (k == NULL)
		return; /* the node refuses what nobody answers */
	k->t = t;
	k->lookup = a->lookup;
	k->digest = a->digest;
	memcpy(k->ns, a->ns, sizeof(k->ns));
	kr_list_init(&k->link);
	if (b != NULL && b->state != KR_BLOB_COMPLETE) {
		kr_list_add_tail(&b->lookups, &k->link);
	} else if (b != NULL && b->meta.hashes != NULL) {
		kr_list_add_tail(&t->answers, &k->link);
	} else if (t->lender != NULL) {
		borrow(k);
	} else {
		t->jobs++;
		kr_io_work(t->io, &k->job, run_seek, on_sought);
	}
}
