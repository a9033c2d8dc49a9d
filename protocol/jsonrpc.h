/* jsonrpc.h - the JSON-RPC 2.0 envelope: what a frame is, and how answers are written.
 *
 * Parsing borrows: every span points into the frame's text. `id` is kept as the bytes the
 * peer wrote and echoed as such. The writers append one message without framing. */
#ifndef PROTOCOL_JSONRPC_H
#define PROTOCOL_JSONRPC_H
#include "protocol/buf.h"
#include "protocol/err.h"
#include "protocol/json_scan.h"

enum rpc_kind {
	RPC_REQUEST,      /* has an id (null included): must be answered */
	RPC_NOTIFICATION, /* no id: never answered */
	RPC_RESULT,       /* an answer to us: id and result */
	RPC_ERROR,        /* an answer to us: id and error */
	RPC_INVALID,      /* a JSON value that is none of these; answer -32600 with id if any */
};

#define RPC_METHOD_MAX 128

struct rpc_msg {
	enum rpc_kind kind;
	struct json_span id;         /* bytes to echo; "null" literal span when unreadable */
	char method[RPC_METHOD_MAX]; /* unescaped; cut names never match a method */
	struct json_span params;     /* object or array; absent span when omitted */
	struct json_span result;     /* RPC_RESULT */
	struct json_span error;      /* RPC_ERROR */
	struct fault fault;          /* RPC_INVALID: why */
};

/* One element that json_scan() accepted. An id that is an object, array or bool makes the
 * message RPC_INVALID; `"jsonrpc"` other than "2.0" too (absent is tolerated). params that
 * are neither object nor array: RPC_INVALID. */
void rpc_parse(struct json_span value, struct rpc_msg *m);

/* Notification/request/answers. params/result: JSON text, or NULL/0 for {}. */
void rpc_write_request(struct buf *out, const char *id, size_t n_id, const char *method,
	const char *params, size_t n_params);
void rpc_write_notification(struct buf *out, const char *method, const char *params, size_t n);
void rpc_write_result(struct buf *out, struct json_span id, const char *result, size_t n);
/* {"jsonrpc":"2.0","id":…,"error":{"code","message","data":{"type","retryable",…}}} */
void rpc_write_error(struct buf *out, struct json_span id, const struct fault *f);
/* Only the error object, for batch items and stream events. */
void rpc_write_error_object(struct buf *out, const struct fault *f);
/* Splice an error object that came from a worker. */
void rpc_write_error_raw(struct buf *out, struct json_span id, struct json_span error);
/* Read an error object back into a fault (code, message, data members). */
void rpc_read_error(struct json_span error, struct fault *f);

extern const struct json_span RPC_ID_NULL; /* `null` */
#endif
