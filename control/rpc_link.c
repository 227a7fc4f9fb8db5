#define _GNU_SOURCE
#include "control/rpc_link.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A buffer that a large message left behind is not kept. */
enum { KEEP_BYTES = 64 * 1024 };

static void on_recv(struct kr_op *op, enum kr_err err, uint32_t n);
static void on_send(struct kr_op *op, enum kr_err err, uint32_t n);

/* Best effort: without them a half-open connection is found by the owner's
 * time-outs only. */
static void watch_the_other_end(int fd)
{
	static const struct {
		int level, name, value;
	} rows[] = {
		{ SOL_SOCKET, SO_KEEPALIVE, 1 },
		{ IPPROTO_TCP, TCP_KEEPIDLE, 15 },
		{ IPPROTO_TCP, TCP_KEEPINTVL, 5 },
		{ IPPROTO_TCP, TCP_KEEPCNT, 3 },
		{ IPPROTO_TCP, TCP_USER_TIMEOUT, 30000 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		(void)setsockopt(fd, rows[i].level, rows[i].name,
				 &rows[i].value, sizeof(rows[i].value));
}

static void last_post(struct kr_post *p)
{
	struct kr_rpc_link *l = KR_CONTAINER_OF(p, struct kr_rpc_link, last);

	kr_buf_fini(&l->in);
	kr_buf_fini(&l->out);
	kr_buf_fini(&l->sending);
	(void)close(l->fd);
	l->ops->on_free(l);
}

static void free_if_drained(struct kr_rpc_link *l)
{
	if (!l->dead || l->freeing || l->delivering || l->resuming ||
	    kr_op_busy(&l->recv) || kr_op_busy(&l->send))
		return;
	l->freeing = true;
	kr_io_post(l->io, &l->last, last_post);
}

static void die(struct kr_rpc_link *l)
{
	l->dead = true;
	kr_io_cancel(l->io, &l->recv);
	kr_io_cancel(l->io, &l->send);
}

static void fail(struct kr_rpc_link *l, enum kr_err why)
{
	if (l->dead)
		return;
	die(l);
	l->ops->on_dead(l, why);
}

/* Tell the owner of the message at @at; *ret_len bytes are then done with. */
static enum kr_err deliver_one(struct kr_rpc_link *l, size_t at,
			       size_t *ret_len)
{
	struct kr_rpc_msg msg;
	enum kr_err err;
	size_t used;

	err = kr_rpc_scan_step(&l->scan, l->in.ptr + at, l->in.len - at,
			       l->len_max);
	if (err != KR_OK)
		return err;
	err = kr_rpc_decode(l->in.ptr + at, l->scan.at, l->len_max, &msg,
			    &used);
	if (err != KR_OK)
		return err == KR_AGAIN ? KR_E_PROTO : err;
	*ret_len = used;
	kr_rpc_scan_init(&l->scan);
	return l->ops->on_msg(l, &msg);
}

/* Tell all messages that are whole and may be told. */
static void deliver(struct kr_rpc_link *l)
{
	enum kr_err err = KR_OK;
	size_t at = 0;

	l->delivering = true;
	while (!l->dead && err == KR_OK && at < l->in.len &&
	       l->ops->may_read(l)) {
		size_t used = 0;
		err = deliver_one(l, at, &used);
		at += used;
	}
	if (err != KR_OK && err != KR_AGAIN)
		fail(l, err);
	l->delivering = false;
	kr_buf_consume(&l->in, at);
	if (l->in.len == 0 && l->in.cap > KEEP_BYTES)
		kr_buf_fini(&l->in);
}

static void read_on(struct kr_rpc_link *l)
{
	if (!l->dead && !kr_op_busy(&l->recv) && l->ops->may_read(l))
		kr_io_recv(l->io, &l->recv, l->fd, on_recv);
	free_if_drained(l);
}

static void on_recv(struct kr_op *op, enum kr_err err, uint32_t n)
{
	struct kr_rpc_link *l = KR_CONTAINER_OF(op, struct kr_rpc_link, recv);

	if (err == KR_OK && !l->dead) {
		l->rx_ns = kr_io_now_ns(l->io);
		err = kr_buf_append(&l->in, kr_io_data(op), n);
	}
	if (err != KR_OK)
		fail(l, err);
	else if (!l->dead)
		deliver(l);
	read_on(l);
}

static void on_resume(struct kr_post *p)
{
	struct kr_rpc_link *l = KR_CONTAINER_OF(p, struct kr_rpc_link, resume);

	l->resuming = false;
	if (!l->dead)
		deliver(l);
	read_on(l);
}

void kr_rpc_link_resume(struct kr_rpc_link *l)
{
	if (l->dead || l->delivering || l->resuming || kr_op_busy(&l->recv))
		return;
	l->resuming = true;
	kr_io_post(l->io, &l->resume, on_resume);
}

static void flush(struct kr_rpc_link *l)
{
	struct kr_buf empty = l->sending;

	if (l->dead || kr_op_busy(&l->send) || l->out.len == 0)
		return;
	if (empty.cap > KEEP_BYTES)
		kr_buf_fini(&empty);
	kr_buf_reset(&empty);
	l->sending = l->out;
	l->out = empty;
	l->tx_ns = kr_io_now_ns(l->io);
	kr_io_send(l->io, &l->send, l->fd, l->sending.ptr,
		   (uint32_t)l->sending.len, on_send);
}

static void on_send(struct kr_op *op, enum kr_err err, uint32_t n)
{
	struct kr_rpc_link *l = KR_CONTAINER_OF(op, struct kr_rpc_link, send);

	(void)n;
	l->tx_ns = 0;
	kr_buf_reset(&l->sending);
	if (err != KR_OK)
		fail(l, err);
	flush(l);
	kr_rpc_link_resume(l);
	free_if_drained(l);
}

enum kr_err kr_rpc_link_send(struct kr_rpc_link *l, struct kr_bytes head,
			     struct kr_bytes body)
{
	enum kr_err err;

	if (l->dead)
		return KR_OK;
	err = kr_buf_reserve(&l->out, head.len + body.len);
	if (err != KR_OK)
		return err == KR_E_TOOBIG ? KR_E_BUSY : err;
	err = kr_buf_append(&l->out, head.ptr, head.len);
	kr_assert(err == KR_OK);
	if (body.len > 0)
		err = kr_buf_append(&l->out, body.ptr, body.len);
	kr_assert(err == KR_OK);
	flush(l);
	return KR_OK;
}

size_t kr_rpc_link_queued(const struct kr_rpc_link *l)
{
	return l->out.len + l->sending.len;
}

void kr_rpc_link_open(struct kr_rpc_link *l, struct kr_io *io, int fd,
		      size_t len_max, const struct kr_rpc_link_ops *ops)
{
	memset(l, 0, sizeof(*l));
	l->ops = ops;
	l->io = io;
	l->fd = fd;
	l->len_max = len_max;
	l->rx_ns = kr_io_now_ns(io);
	kr_buf_init(&l->in, len_max + KR_IO_RECV_MAX);
	kr_buf_init(&l->out, KR_RPC_LINK_OUT_MAX);
	kr_buf_init(&l->sending, KR_RPC_LINK_OUT_MAX);
	kr_rpc_scan_init(&l->scan);
	watch_the_other_end(fd);
	kr_io_recv(io, &l->recv, fd, on_recv);
}

void kr_rpc_link_close(struct kr_rpc_link *l)
{
	if (!l->dead)
		die(l);
	free_if_drained(l);
}
