#include "core/err.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static const struct {
	const char *name;
	const char *text;
	enum kr_err_class cls;
} rows[KR_ERR_COUNT] = {
#define X(code, c, t) [code] = { #code, t, KR_ERR_CLASS_##c },
	KR_ERR_TABLE(X)
#undef X
};

const char *kr_err_name(enum kr_err e)
{
	kr_assert(e < KR_ERR_COUNT);
	return rows[e].name;
}

const char *kr_err_text(enum kr_err e)
{
	kr_assert(e < KR_ERR_COUNT);
	return rows[e].text;
}

enum kr_err_class kr_err_class_of(enum kr_err e)
{
	kr_assert(e < KR_ERR_COUNT);
	return rows[e].cls;
}

enum kr_err kr_err_from_errno(int errnum)
{
	switch (errnum) {
	case 0:
		return KR_OK;
	case EAGAIN:
		return KR_AGAIN;
	case ETIMEDOUT:
	case ETIME:
		return KR_E_TIMEDOUT;
	case ECONNRESET:
	case EPIPE:
	case ECONNABORTED:
	case ENOTCONN:
		return KR_E_RESET;
	case ECONNREFUSED:
	case EHOSTUNREACH:
	case ENETUNREACH:
	case EADDRNOTAVAIL:
		return KR_E_REFUSED;
	case ECANCELED:
		return KR_E_CANCELED;
	case ENOSPC:
	case EDQUOT:
		return KR_E_NOSPC;
	case ENOMEM:
	case ENOBUFS:
		return KR_E_NOMEM;
	case EMFILE:
	case ENFILE:
		return KR_E_NOFILE;
	case ENOENT:
	case ENOTDIR:
		return KR_E_NOTFOUND;
	case EEXIST:
		return KR_E_EXISTS;
	case EACCES:
	case EPERM:
		return KR_E_DENIED;
	case EINVAL:
		return KR_E_INVALID;
	case EFBIG:
		return KR_E_TOOBIG;
	case EOPNOTSUPP:
	case ENOSYS:
		return KR_E_UNSUPPORTED;
	default:
		return KR_E_IO;
	}
}

_Noreturn void kr_assert_failed(const char *cond, const char *file, int line)
{
	fprintf(stderr, "%s:%d: kr_assert(%s) failed\n", file, line, cond);
	abort();
}
