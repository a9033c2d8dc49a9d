/* methods_session.c - rows: the process itself, cancelling, ending. */
#include "protocol/limits.h"
#include "protocol/methods_table.h"

#define ACCEPTED "Accepted from LSP clients; changes nothing here."

static const struct param INITIALIZE[] = {
	{ .name = "protocolVersion",
		.type = PARAM_STRING,
		.nullable = true,
		.doc = "The version the client speaks; the answer names ours." },
	{ .name = "capabilities",
		.type = PARAM_OBJECT,
		.nullable = true,
		.doc = "What the client can do. Of `takes_over` (true: it does elsewhere what is "
		       "lost here) a worker by itself takes note: a signal ends it without a "
		       "drain." },
	{ .name = "clientInfo",
		.type = PARAM_OBJECT,
		.nullable = true,
		.doc = "The client's name and version, for the log." },
	{ .name = "processId", .type = PARAM_ANY, .nullable = true, .doc = ACCEPTED },
	{ .name = "rootPath", .type = PARAM_ANY, .nullable = true, .doc = ACCEPTED },
	{ .name = "rootUri", .type = PARAM_ANY, .nullable = true, .doc = ACCEPTED },
	{ .name = "workspaceFolders", .type = PARAM_ANY, .nullable = true, .doc = ACCEPTED },
	{ .name = "initializationOptions", .type = PARAM_ANY, .nullable = true, .doc = ACCEPTED },
	{ .name = "trace", .type = PARAM_ANY, .nullable = true, .doc = ACCEPTED },
	{ .name = "locale", .type = PARAM_ANY, .nullable = true, .doc = ACCEPTED },
};

static const struct param TELEMETRY[] = {
	{ .name = "format",
		.type = PARAM_STRING,
		.nullable = true,
		.choices = "json prometheus",
		.preset = "\"json\"",
		.doc = "`prometheus` puts the text exposition format into `text`." },
};

#define PARAM_ROW_WORKER                                                                     \
	{                                                                                    \
		.name = "worker", .type = PARAM_INT, .required = true, .max = LIMIT_WORKERS, \
		.doc = "Its id in runtime/state."                                            \
	}

static const struct param DRAIN_WORKER[] = {
	PARAM_ROW_WORKER,
	{ .name = "undo",
		.type = PARAM_BOOL,
		.nullable = true,
		.preset = "false",
		.doc = "Give it work again." },
};

static const struct param REMOVE_WORKER[] = {
	PARAM_ROW_WORKER,
	{ .name = "force",
		.type = PARAM_BOOL,
		.nullable = true,
		.preset = "false",
		.doc = "Kill it at once: what it has fares as after a crash." },
};

#define WORKER_SHAPE "worker:integer state:string workers:integer"

static const struct param CANCEL[] = {
	{ .name = "stream_id",
		.type = PARAM_STRING,
		.nullable = true,
		.min = 1,
		.max = LIMIT_STREAM_ID,
		.doc = "The stream to end." },
	{ .name = "id",
		.aliases = "request_id",
		.type = PARAM_ANY,
		.doc = "Or the id of the request to cancel." },
};

static const struct param CANCEL_REQUEST[] = {
	{ .name = "id",
		.type = PARAM_ANY,
		.required = true,
		.doc = "The id of the request to cancel." },
};

static const struct param CANCELLED[] = {
	{ .name = "requestId",
		.type = PARAM_ANY,
		.required = true,
		.doc = "The id of the request to cancel." },
	{ .name = "reason", .type = PARAM_STRING, .nullable = true, .doc = "For the log." },
};

static const struct param ACK[] = {
	{ .name = "stream_id",
		.type = PARAM_STRING,
		.required = true,
		.min = 1,
		.max = LIMIT_STREAM_ID,
		.doc = "The stream." },
	{ .name = "index",
		.type = PARAM_INT,
		.required = true,
		.doc = "The last token index the host has dealt with." },
};

static const struct param TOOLS_LIST[] = {
	{ .name = "cursor",
		.type = PARAM_STRING,
		.nullable = true,
		.doc = "Where an earlier page ended. The list has one page, so that there is "
		       "none to give." },
};

static const struct param TOOLS_CALL[] = {
	{ .name = "name", .type = PARAM_STRING, .required = true, .doc = "The tool." },
	{ .name = "arguments",
		.type = PARAM_OBJECT,
		.nullable = true,
		.doc = "The params of the method of that name. A `generate` answers once: "
		       "`stream` is false here." },
};

const struct method METHODS_SESSION[] = {
	{ .name = "initialize",
		.cls = METHOD_LOCAL,
		ROWS(INITIALIZE),
		.doc = "Say hello and learn the limits. Optional: every method works without it.",
		.result = "protocolVersion:string capabilities:object serverInfo{name:string "
			  "version:string} limits:object",
		.example = "{\"clientInfo\":{\"name\":\"my-editor\",\"version\":\"1.0\"}}" },
	{ .name = "runtime/info",
		.cls = METHOD_LOCAL,
		.doc = "What runs here, and on what.",
		.result = "version:string protocol:string capabilities:string[] memory{rss:integer "
			  "vms:integer} "
			  "mlx_version:string mlx_lm_version:string mlx_supported:boolean "
			  "hardware{cpu:string isa:string[] threads:integer} kernels:object "
			  "workers:object[]",
		.example = "{}" },
	{ .name = "runtime/state",
		.cls = METHOD_LOCAL,
		.doc = "What is loaded and running. Asking changes nothing. The state of a model "
		       "is ready, loading or failed. tandem also calls ready what its workers put "
		       "to sleep, since a call that names it wakes it; list_models, and a worker "
		       "that is asked itself, say asleep.",
		.result = "loaded_models[model_id:string state:string type:string] "
			  "active_streams:integer "
			  "restart_count:integer workers[id:integer pid:integer state:string "
			  "generation:integer inflight:integer breaker:string last_error:string?]",
		.example = "{}" },
	{ .name = "runtime/telemetry",
		.cls = METHOD_LOCAL,
		ROWS(TELEMETRY),
		.positional = "format",
		.doc = "Counters and latency percentiles since the start.",
		.result = "",
		.example = "{\"format\":\"json\"}" },
	{ .name = "runtime/add_worker",
		.cls = METHOD_LOCAL,
		.doc = "Start one more worker; answered when it serves, with every model that was "
		       "loaded without a number of `workers`. Of tandem, not of a worker alone, as "
		       "the next two.",
		.result = WORKER_SHAPE,
		.example = "{}" },
	{ .name = "runtime/drain_worker",
		.cls = METHOD_LOCAL,
		ROWS(DRAIN_WORKER),
		.positional = "worker",
		.doc = "Give a worker nothing more; answered when it has finished what it had. "
		       "Calls for models that only it has wait until this is undone.",
		.result = WORKER_SHAPE,
		.example = "{\"worker\":1}" },
	{ .name = "runtime/remove_worker",
		.cls = METHOD_LOCAL,
		ROWS(REMOVE_WORKER),
		.positional = "worker",
		.doc = "Drain a worker and end it; models that only it has are loaded elsewhere "
		       "before. Answered when it is gone.",
		.result = WORKER_SHAPE,
		.example = "{\"worker\":1}" },
	{ .name = "ping",
		.cls = METHOD_LOCAL,
		.doc = "Is anybody there?",
		.result = "uptime:number",
		.example = "{}" },
	{ .name = "cancel",
		.cls = METHOD_CANCEL,
		ROWS(CANCEL),
		.positional = "stream_id",
		.doc = "End a stream or a request; answered once it can emit nothing more.",
		.result = "cancelled:boolean",
		.example = "{\"stream_id\":\"s1\"}" },
	{ .name = "shutdown",
		.cls = METHOD_LOCAL,
		.doc = "Finish what runs (for a limited time), then answer and exit.",
		.result = "success:boolean",
		.example = "{}" },
	{ .name = "rpc.discover",
		.cls = METHOD_LOCAL,
		.doc = "This list, with the JSON Schema of params and result and an example of "
		       "each.",
		.result = "methods[name:string summary:string notification:boolean params:object "
			  "result:object example:object]",
		.example = "{}" },
	{ .name = "$/cancelRequest",
		.cls = METHOD_CANCEL,
		ROWS(CANCEL_REQUEST),
		.doc = "LSP's cancel: the request is then answered with -32800.",
		.example = "{\"id\":7}" },
	{ .name = "notifications/cancelled",
		.cls = METHOD_CANCEL,
		ROWS(CANCELLED),
		.doc = "MCP's cancel: nothing more is sent for the request.",
		.example = "{\"requestId\":7,\"reason\":\"user\"}" },
	{ .name = "tools/list",
		.cls = METHOD_LOCAL,
		ROWS(TOOLS_LIST),
		.doc = "MCP's list of tools: the methods that a model answers, and those that "
		       "load one.",
		.result = "tools[name:string description:string inputSchema:object "
			  "outputSchema:object annotations:object]",
		.example = "{}" },
	{ .name = "tools/call",
		.cls = METHOD_TOOL,
		ROWS(TOOLS_CALL),
		.doc = "MCP's way to call one of them: the method's result is "
		       "`structuredContent`, its text (or itself as text) `content`; its error "
		       "is told with `isError`, and as `_meta[\"tandem/error\"]`.",
		.result = "content[type:string text:string] structuredContent:object "
			  "isError:boolean",
		.example = "{\"name\":\"tokenize\",\"arguments\":{\"model_id\":\"novel-7m\","
			   "\"text\":\"It was a cold evening\"}}" },
	{ .name = "stream.ack",
		.cls = METHOD_LOCAL,
		ROWS(ACK),
		.doc = "Tell how far a stream was read. Optional: without it the host's reading of "
		       "the pipe is what counts. A stream that was acknowledged once, or asked for "
		       "with stream_options.ack_window, runs no further ahead of the last "
		       "acknowledgement than that window (256 tokens).",
		.example = "{\"stream_id\":\"s1\",\"index\":41}" },
	{ .name = "initialized",
		.cls = METHOD_LOCAL,
		.doc = "LSP clients send it after initialize; nothing follows from it.",
		.example = "{}" },
	{ .name = "notifications/initialized",
		.cls = METHOD_LOCAL,
		.doc = "MCP clients send it after initialize; nothing follows from it.",
		.example = "{}" },
	{ .name = "exit",
		.cls = METHOD_LOCAL,
		.doc = "End now; after shutdown this is what LSP clients send.",
		.example = "{}" },
	{ 0 },
};
