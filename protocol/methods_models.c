/* methods_models.c - rows: loading, unloading and listing models. */
#include "protocol/limits.h"
#include "protocol/methods_table.h"

#define NO_VISION "this runtime loads text models only"

static const struct param LOAD[] = {
	{ .name = "model_id",
		.type = PARAM_MODEL_ID,
		.required = true,
		.doc = "The name to load it under, and its folder in the model roots unless "
		       "`local_path` is given." },
	{ .name = "local_path",
		.type = PARAM_STRING,
		.nullable = true,
		.min = 1,
		.max = LIMIT_PATH,
		.doc = "A Hugging Face folder or a weight file." },
	{ .name = "context_length",
		.type = PARAM_INT,
		.nullable = true,
		.min = 1,
		.max = LIMIT_CONTEXT,
		.doc = "Tokens of context; default and limit: the model's own." },
	{ .name = "dtype",
		.type = PARAM_STRING,
		.nullable = true,
		.choices = "float32 float16 bfloat16",
		.doc = "Type the weights are wanted in; default: as stored." },
	{ .name = "kv_cache_dtype",
		.type = PARAM_STRING,
		.nullable = true,
		.choices = "f32 f16 bf16 int8",
		.preset = "\"f32\"",
		.doc = "Type of the KV cache; int8 keeps a scale for each position and head." },
	{ .name = "quantization",
		.type = PARAM_STRING,
		.nullable = true,
		.choices = "none int8 int4",
		.preset = "\"none\"",
		.doc = "What weights stored as floats become when they are loaded: blocks of 32 "
		       "with a scale. Refused where they are quantized already." },
	{ .name = "activations",
		.type = PARAM_STRING,
		.nullable = true,
		.choices = "auto float int8",
		.preset = "\"auto\"",
		.doc = "What weights are multiplied with: float is exact; int8 rounds activations, "
		       "to 8 bits for quantized weights and to bf16 for bf16, and is several times "
		       "as fast; auto does as the format's own engine, like int8 for GGUF and for "
		       "what was quantized at load, and float for the others." },
	{ .name = "workers",
		.type = PARAM_INT,
		.nullable = true,
		.min = 1,
		.max = LIMIT_WORKERS,
		.doc = "Replicas; default: every worker loads it." },
	{ .name = "draft",
		.type = PARAM_BOOL,
		.nullable = true,
		.preset = "false",
		.doc = "Marks a draft model; it loads like any other." },
	{ .name = "keep_alive",
		.type = PARAM_INT,
		.nullable = true,
		.min = -1,
		.max = LIMIT_KEEP_ALIVE_S,
		.doc = "Seconds it stays in memory unused, 0 = until its first calls have ended; "
		       "the next call that names it brings it back. -1 = always, whatever "
		       "--model-bytes says. Default: until others need its room." },
	{ .name = "warmup",
		.type = PARAM_BOOL,
		.nullable = true,
		.preset = "false",
		.doc = "Before answering compute a token, and find memory for steps and for K and "
		       "V of a whole context (256 MB at most), so that the first requests wait "
		       "for neither. Other streams of that worker pause meanwhile." },
	{ .name = "progress",
		.type = PARAM_BOOL,
		.nullable = true,
		.preset = "false",
		.doc = "Send `notifications/progress` with the request's id as token while "
		       "loading." },
	{ .name = "lazy",
		.type = PARAM_BOOL,
		.nullable = true,
		.doc = "Accepted from old hosts: weights are memory-mapped either way." },
	{ .name = "force_text",
		.type = PARAM_BOOL,
		.nullable = true,
		.doc = "Accepted from old hosts: models are text models." },
	{ .name = "allow_vlm_fallback",
		.type = PARAM_BOOL,
		.nullable = true,
		.doc = "Accepted from old hosts: there is no vision loader to fall back to." },
	{ .name = "revision",
		.type = PARAM_STRING,
		.choices = "\"main\"",
		.refused =
			"revisions are not available; models are local folders, give local_path" },
	{ .name = "vision_hint", .type = PARAM_BOOL, .refused = NO_VISION },
	{ .name = "force_vision", .type = PARAM_BOOL, .refused = NO_VISION },
	{ .name = "tokenizer_config",
		.type = PARAM_OBJECT,
		.choices = "{}",
		.refused = "tokenizer_config cannot be overridden; edit the model's own files" },
	{ .name = "processor_config", .type = PARAM_OBJECT, .choices = "{}", .refused = NO_VISION },
	{ .name = "load_kwargs",
		.type = PARAM_OBJECT,
		.choices = "{}",
		.refused = "load_kwargs are not available; use the parameters of load_model" },
	{ .name = "warmup_buffer_mb",
		.type = PARAM_INT,
		.choices = "0",
		.refused = "warmup_buffer_mb is not available; the page cache warms the weights" },
};

static const struct param UNLOAD[] = {
	PARAM_ROW_MODEL_ID,
	{ .name = "force",
		.type = PARAM_BOOL,
		.nullable = true,
		.preset = "false",
		.doc = "End its streams, each with its event, instead of waiting for them, as an "
		       "earlier unload may still do." },
};

const struct method METHODS_MODELS[] = {
	{ .name = "load_model",
		.cls = METHOD_CATALOG,
		ROWS(LOAD),
		.positional = "model_id local_path",
		.doc = "Load a model, replacing one of the same id once it is ready.",
		.result = "model_id:string state:string context_length:integer "
			  "parameter_count:integer "
			  "dtype:string architecture:string quantization:string vocab_size:integer "
			  "is_vision_model:boolean tokenizer_type:string memory_usage:integer "
			  "shared_bytes:integer "
			  "cached_path:string load_ms:number replicas:integer",
		.example = "{\"model_id\":\"novel-7m\",\"local_path\":\"models/novel-7m\"}" },
	{ .name = "unload_model",
		.cls = METHOD_CATALOG,
		ROWS(UNLOAD),
		.positional = "model_id force",
		.doc = "Forget a model after its running streams. If it is cancelled while it "
		       "waits for them the model stays, unless another unload waits, too, or has "
		       "forced it.",
		.result = "success:boolean",
		.example = "{\"model_id\":\"novel-7m\"}" },
	{ .name = "list_models",
		.cls = METHOD_CATALOG,
		.doc = "Every loaded model, and every one in the model roots that load_model would "
		       "find by that id: folders with config.json and safetensors by their path "
		       "below the root, .gguf files likewise, with or without the ending (of split "
		       "ones the first part), and what a Hugging Face cache holds, by org/name. "
		       "state is ready, asleep (out of memory until a call names it), loading or "
		       "available; truncated: the roots hold more than "
		       "was looked at.",
		.result = "models[model_id:string state:string path:string? format:string? "
			  "size_bytes:integer? architecture:string?] truncated:boolean?",
		.example = "{}" },
	{ 0 },
};
