/* info.c - what this worker is, has loaded, and did. */
#include "worker/info.h"
#include "kernels/cpu.h"
#include "kernels/kernels.h"
#include "protocol/limits.h"
#include "protocol/log.h"
#include "protocol/version.h"
#include "worker/confine.h"
#include "worker/host_facts.h"
#include "worker/load.h"
#include "worker/models.h"
#include "worker/params.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Old hosts want strings in the fields that told them the versions of their own runtime. */
#define OLD_HOSTS_VERSION "none (tandem " TANDEM_VERSION ")"

static void answer(struct request *rq, struct buf *out)
{
	reply_result(rq->reply, out->data, out->n_bytes);
	buf_release(out);
	json_object_put(rq->params);
}

static void write_methods(struct buf *out, const char *key)
{
	jout_key(out, key);
	buf_addc(out, '[');
	for (size_t i = 0; method_at(i); i++) {
		if (method_at(i)->refused || !handler_find(method_at(i)->name))
			continue;
		jout_sep(out);
		jout_cstr(out, method_at(i)->name);
	}
	buf_addc(out, ']');
}

static void write_limits(struct buf *out, const struct worker *w)
{
	jout_key(out, "limits");
	buf_addc(out, '{');
	jout_key_int(out, "max_frame_in", (int64_t)w->options.max_frame);
	jout_key_int(out, "max_frame_out", (int64_t)FRAME_OUT_MAX);
	jout_key_int(out, "max_depth", JSON_DEPTH_MAX);
	jout_key_int(out, "max_batch", LIMIT_BATCH);
	jout_key_int(out, "max_tokens", LIMIT_MAX_TOKENS);
	jout_key_int(out, "max_stop_sequences", LIMIT_STOPS);
	jout_key_int(out, "max_stop_characters", LIMIT_STOP_CHARS);
	jout_key_int(out, "max_logit_bias", LIMIT_LOGIT_BIAS);
	jout_key_int(out, "max_top_logprobs", LIMIT_TOP_LOGPROBS);
	jout_key_int(out, "max_draft", LIMIT_DRAFT);
	jout_key_int(out, "max_n", LIMIT_N);
	jout_key_int(out, "max_running", (int64_t)w->options.max_running);
	jout_key_int(out, "kv_bytes", (int64_t)w->options.kv_bytes);
	buf_addc(out, '}');
}

void handle_initialize(struct request *rq)
{
	struct buf out = BUF_INIT;
	struct json_object *client = params_get(rq->params, "clientInfo");
	const char *name = params_str(client, "name");
	if (name)
		log_info("client: %.100s", name);
	rq->w->is_replaceable =
		params_bool(params_get(rq->params, "capabilities"), "takes_over", false);
	buf_addc(&out, '{');
	jout_key_cstr(&out, "protocolVersion", "1");
	jout_key(&out, "capabilities");
	buf_addc(&out, '{');
	write_methods(&out, "methods");
	jout_key_cstr(&out, "framing", rq->w->out.framing == FRAMING_LSP ? "lsp" : "ndjson");
	jout_key_bool(&out, "batch", true);
	jout_key_bool(&out, "cancel", true);
	jout_key_bool(&out, "progress", true);
	buf_addc(&out, '}');
	jout_key_raw(&out, "serverInfo",
		"{\"name\":\"tandem-worker\",\"version\":\"" TANDEM_VERSION "\"}",
		sizeof "{\"name\":\"tandem-worker\",\"version\":\"" TANDEM_VERSION "\"}" - 1);
	write_limits(&out, rq->w);
	buf_addc(&out, '}');
	answer(rq, &out);
}

static void write_isa(struct buf *out, unsigned isa)
{
	static const unsigned sets[] = { KERNELS_AVX2, KERNELS_AVX512, KERNELS_VNNI, KERNELS_BF16,
		KERNELS_NEON, KERNELS_DOT };
	jout_key(out, "isa");
	buf_addc(out, '[');
	for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
		if (isa & sets[i]) {
			jout_sep(out);
			jout_cstr(out, kernels_name(sets[i]));
		}
	buf_addc(out, ']');
}

static void write_hardware(struct buf *out, const struct worker *w)
{
	char cpu[256];
	host_cpu_name(cpu, sizeof cpu);
	jout_key(out, "hardware");
	buf_addc(out, '{');
	jout_key_cstr(out, "cpu", cpu);
	write_isa(out, cpu_detect());
	jout_key_int(out, "threads", w->options.threads);
	buf_addc(out, '}');
}

static void write_memory(struct buf *out)
{
	const struct memory_use m = host_memory();
	jout_key(out, "memory");
	buf_addc(out, '{');
	jout_key_int(out, "rss", (int64_t)m.rss);
	jout_key_int(out, "vms", (int64_t)m.vms);
	jout_key_int(out, "shared", (int64_t)m.shared);
	buf_addc(out, '}');
}

static void write_self(struct buf *out, const struct worker *w)
{
	buf_addc(out, '{');
	jout_key_int(out, "id", 0);
	jout_key_int(out, "pid", getpid());
	jout_key_cstr(out, "state", w->phase == PHASE_SERVING ? "ready" : "draining");
	jout_key_int(out, "generation", 0);
	jout_key_int(out, "inflight", (int64_t)w->calls.n);
	jout_key_cstr(out, "last_error", NULL);
	buf_addc(out, '}');
}

/* Which kernel each operation uses: the slots are selected as the model layer does. */
static void write_kernels(struct buf *out)
{
	unsigned mask = KERNELS_ALL;
	struct kernels chosen, plain;
	jout_key(out, "kernels");
	buf_addc(out, '{');
	kernels_parse_mask(getenv("KERNELS_MASK"), &mask);
	const char *best = kernels_name(kernels_select(&chosen, mask));
	kernels_select(&plain, KERNELS_SCALAR);
#define X(name, ret, params, tolerance, reason) \
	jout_key_cstr(out, #name, chosen.name == plain.name ? "scalar" : best);
	KERNEL_SLOTS(X)
#undef X
	buf_addc(out, '}');
}

void handle_runtime_info(struct request *rq)
{
	struct buf out = BUF_INIT;
	buf_addc(&out, '{');
	jout_key_cstr(&out, "name", "tandem-worker");
	jout_key_cstr(&out, "version", TANDEM_VERSION);
	jout_key_cstr(&out, "protocol", "json-rpc-2.0");
	jout_key_cstr(&out, "mlx_version", OLD_HOSTS_VERSION);
	jout_key_cstr(&out, "mlx_lm_version", OLD_HOSTS_VERSION);
	jout_key_bool(&out, "mlx_supported", false);
	write_methods(&out, "capabilities");
	write_memory(&out);
	write_hardware(&out, rq->w);
	write_kernels(&out);
	confine_write(&out, rq->w->options.confinement);
	jout_key(&out, "workers");
	buf_addc(&out, '[');
	write_self(&out, rq->w);
	buf_adds(&out, "]}");
	answer(rq, &out);
}

static void write_state(struct buf *out, const char *model_id, const char *state)
{
	jout_sep(out);
	buf_addc(out, '{');
	jout_key_cstr(out, "model_id", model_id);
	jout_key_cstr(out, "state", state);
	jout_key_cstr(out, "type", "text");
	buf_addc(out, '}');
}

static void state_loaded(void *arg, const struct model_ref *r)
{
	write_state(arg, model_ref_id(r), "ready");
}

static void state_loading(void *arg, const char *model_id, double fraction)
{
	(void)fraction;
	write_state(arg, model_id, "loading");
}

static void state_asleep(struct buf *out, const struct worker *w)
{
	for (const struct loaded *l = w->models->loaded; l; l = l->next)
		if (l->is_asleep && !load_is_running(w->models, l->spec.model_id))
			write_state(out, l->spec.model_id, "asleep");
}

void handle_runtime_state(struct request *rq)
{
	struct worker *w = rq->w;
	struct buf out = BUF_INIT;
	buf_adds(&out, "{\"loaded_models\":[");
	catalog_each(w->catalog, state_loaded, &out);
	state_asleep(&out, w);
	load_each(w->models, state_loading, &out);
	buf_addc(&out, ']');
	jout_key_int(&out, "active_streams", (int64_t)HASH_CNT(by_stream, w->calls.streams));
	jout_key_int(&out, "restart_count", 0);
	jout_key(&out, "workers");
	buf_addc(&out, '[');
	write_self(&out, w);
	buf_adds(&out, "]}");
	answer(rq, &out);
}

static void count_model(void *arg, const struct model_ref *r)
{
	(void)r;
	++*(size_t *)arg;
}

void handle_runtime_telemetry(struct request *rq)
{
	struct worker *w = rq->w;
	struct buf out = BUF_INIT;
	const char *format = params_str(rq->params, "format");
	struct telemetry_now now = { .uptime = clock_now() - w->started,
		.streams = HASH_CNT(by_stream, w->calls.streams),
		.frames_out = w->out.n_frames,
		.bytes_out = w->out.n_bytes,
		.rss = host_memory().rss };
	catalog_each(w->catalog, count_model, &now.models);
	if (format && strcmp(format, "prometheus") == 0) {
		struct buf text = BUF_INIT;
		telemetry_write_prometheus(&text, &w->telemetry, &now);
		buf_addc(&out, '{');
		jout_key_str(&out, "text", text.data, text.n_bytes);
		buf_addc(&out, '}');
		buf_release(&text);
	} else {
		telemetry_write_json(&out, &w->telemetry, &now);
	}
	answer(rq, &out);
}
