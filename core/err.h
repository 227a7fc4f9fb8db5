/*
 * core/err.h - the one error vocabulary of the tree.
 *
 * A fallible function returns enum kr_err and nothing else; results leave
 * through the last, ret-named out-parameters, written only with KR_OK.
 * KR_AGAIN is not a failure: it says "no result yet, nothing was consumed".
 *
 * The table is the single source of truth.  Adding a line adds the code, its
 * name, its log text and - the part callers act on - its class.
 */
#ifndef KR_CORE_ERR_H
#define KR_CORE_ERR_H

/* clang-format off */
#define KR_ERR_TABLE(X)                                                       \
	X(KR_OK,            NONE,     "ok")                                   \
	X(KR_AGAIN,         NONE,     "need more input")                      \
	X(KR_E_PROTO,       PEER,     "peer broke the wire protocol")         \
	X(KR_E_DIGEST,      PEER,     "bytes do not match their digest")      \
	X(KR_E_TIMEDOUT,    RETRY,    "deadline passed")                      \
	X(KR_E_RESET,       RETRY,    "connection reset by the other side")   \
	X(KR_E_REFUSED,     RETRY,    "connection refused or unreachable")    \
	X(KR_E_CLOSED,      RETRY,    "other side closed the connection")     \
	X(KR_E_UNAVAILABLE, RETRY,    "service cannot answer now")            \
	X(KR_E_BUSY,        RETRY,    "other side sheds load")                \
	X(KR_E_CANCELED,    NONE,     "canceled by our own side")             \
	X(KR_E_LIMIT,       RESOURCE, "a configured limit was reached")       \
	X(KR_E_NOSPC,       RESOURCE, "no space left on the device")          \
	X(KR_E_NOMEM,       RESOURCE, "out of memory")                        \
	X(KR_E_NOFILE,      RESOURCE, "out of file descriptors")              \
	X(KR_E_NOTFOUND,    REQUEST,  "no such object")                       \
	X(KR_E_EXISTS,      REQUEST,  "object exists already")                \
	X(KR_E_INVALID,     REQUEST,  "malformed input")                      \
	X(KR_E_RANGE,       REQUEST,  "range cannot be satisfied")            \
	X(KR_E_TOOBIG,      REQUEST,  "input above its size limit")           \
	X(KR_E_DENIED,      REQUEST,  "not permitted")                        \
	X(KR_E_UNSUPPORTED, REQUEST,  "not supported here")                   \
	X(KR_E_IO,          LOCAL,    "local I/O failed")                     \
	X(KR_E_CORRUPT,     LOCAL,    "stored data are damaged")              \
	X(KR_E_CONFIG,      LOCAL,    "configuration rejected")
/* clang-format on */

/* What a caller should do about an error, decided once, here. */
enum kr_err_class {
	KR_ERR_CLASS_NONE,
	KR_ERR_CLASS_PEER,     /* drop and penalise the peer */
	KR_ERR_CLASS_RETRY,    /* try again elsewhere or later */
	KR_ERR_CLASS_RESOURCE, /* shed load */
	KR_ERR_CLASS_REQUEST,  /* tell the client what is wrong with it */
	KR_ERR_CLASS_LOCAL,    /* tell the operator */
};

enum kr_err {
#define X(code, cls, text) code,
	KR_ERR_TABLE(X)
#undef X
		KR_ERR_COUNT
};

#define KR_NODISCARD __attribute__((warn_unused_result))

const char *kr_err_name(enum kr_err e); /* "KR_E_PROTO", static */
const char *kr_err_text(enum kr_err e); /* "peer broke ...", static */
enum kr_err_class kr_err_class_of(enum kr_err e);

/* The error that errno value @errnum (> 0, errno(3)) means to us. */
enum kr_err kr_err_from_errno(int errnum);

/*
 * The program is wrong: say where on stderr and abort.  On in every build;
 * never used for what the world or a peer may do.
 */
#define kr_assert(cond) \
	((cond) ? (void)0 : kr_assert_failed(#cond, __FILE__, __LINE__))
_Noreturn void kr_assert_failed(const char *cond, const char *file, int line);

#endif
