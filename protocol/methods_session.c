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
		.doc = "What the client can do; nothing here depends on it." },
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

const struct method METHODS_SESSION[] = {
	{ .name = "initialize",
		.cls = METHOD_LOCAL,
		ROWS(INITIALIZE),
		.doc = "Say hello and learn the limits. Optional: every method works without it.",
		.result = F_OBJECT(F_STR("protocolVersion") "," F_ANY_OBJECT(
			"capabilities") "," F_SUB("serverInfo",
			F_STR("name") "," F_STR("version")) "," F_ANY_OBJECT("limits")),
		.example = "{\"clientInfo\":{\"name\":\"my-editor\",\"version\":\"1.0\"}}" },
	{ .name = "runtime/info",
		.cls = METHOD_LOCAL,
		.doc = "What runs here, and on what.",
		.result = F_OBJECT(F_STR("version") "," F_STR("protocol") "," F_LIST(
			"capabilities", "string") "," F_SUB("memory",
			F_INT("rss") "," F_INT(
				"vms")) "," F_STR("mlx_version") "," F_STR("mlx_lm_version") "," F_BOOL("mlx_supported") "," F_SUB("hardware",
			F_STR("cpu") "," F_LIST("isa", "string") "," F_INT(
				"threads")) "," F_ANY_OBJECT("kernels") "," F_LIST("workers",
			"object")),
		.example = "{}" },
	{ .name = "runtime/state",
		.cls = METHOD_LOCAL,
		.doc = "What is loaded and running. Asking changes nothing.",
		.result = F_OBJECT(
			F_EACH("loaded_models", F_STR("model_id") "," F_STR("state") "," F_STR("typ"
											       "e")) "," F_INT(
				"active_streams") "," F_INT("restart_count") "," F_EACH("workers",
				F_INT("id") "," F_INT("pid") "," F_STR("state") "," F_INT(
					"generation") "," F_INT("inflight") "," F_MAYBE("last_"
											"error",
					"string"))),
		.example = "{}" },
	{ .name = "runtime/telemetry",
		.cls = METHOD_LOCAL,
		ROWS(TELEMETRY),
		.positional = "format",
		.doc = "Counters and latency percentiles since the start.",
		.result = "{\"type\":\"object\"}",
		.example = "{\"format\":\"json\"}" },
	{ .name = "ping",
		.cls = METHOD_LOCAL,
		.doc = "Is anybody there?",
		.result = F_OBJECT(F_NUM("uptime")),
		.example = "{}" },
	{ .name = "cancel",
		.cls = METHOD_CANCEL,
		ROWS(CANCEL),
		.positional = "stream_id",
		.doc = "End a stream or a request; answered once it can emit nothing more.",
		.result = F_OBJECT(F_BOOL("cancelled")),
		.example = "{\"stream_id\":\"s1\"}" },
	{ .name = "shutdown",
		.cls = METHOD_LOCAL,
		.doc = "Finish what runs (for a limited time), then answer and exit.",
		.result = F_OBJECT(F_BOOL("success")),
		.example = "{}" },
	{ .name = "rpc.discover",
		.cls = METHOD_LOCAL,
		.doc = "This list, with the JSON Schema of params and result and an example of "
		       "each.",
		.result = F_OBJECT(F_EACH("methods",
			F_STR("name") "," F_STR("summary") "," F_BOOL("notification") "," F_ANY_OBJECT(
				"params") "," F_ANY_OBJECT("result") "," F_ANY_OBJECT("example"))),
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
	{ .name = "stream.ack",
		.cls = METHOD_LOCAL,
		ROWS(ACK),
		.doc = "Free the flow-control credit of a stream up to a token. Optional.",
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
