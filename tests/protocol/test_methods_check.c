#include "protocol/limits.h"
#include "protocol/methods.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static struct fault f;
static struct json_object *params;

static void release(void)
{
	json_object_put(params);
	params = NULL;
}
TestSuite(methods_check, .fini = release);

static int check(const char *method, const char *text)
{
	release();
	params = json_tokener_parse(text);
	cr_assert_not_null(params, "%s", text);
	return method_check(method_find(method), params, &f);
}

static void passes(const char *method, const char *text, const char *after)
{
	cr_assert_eq(check(method, text), 0, "%s: %s", text, f.text);
	const char *now = json_object_to_json_string_ext(params, JSON_C_TO_STRING_PLAIN);
	cr_assert_str_eq(now, after ? after : text);
}

/* `path` is that of error.data; the message must be exactly `message`. */
static void fails(const char *method, const char *text, const char *message, const char *path)
{
	char data[256];
	cr_assert_eq(check(method, text), ERR_INVALID_PARAMS, "accepted: %s", text);
	cr_assert_eq(f.err, ERR_INVALID_PARAMS);
	cr_assert_str_eq(f.text, message, "%s", text);
	snprintf(data, sizeof data, "\"path\":\"%s\"", path);
	cr_assert_eq(strncmp(f.data, data, strlen(data)), 0, "%s: %s", text, f.data);
}

static void generate_fails(const char *member, const char *message, const char *path)
{
	char text[512];
	snprintf(text, sizeof text, "{\"model_id\":\"m\",%s}", member);
	fails("generate", text, message, path);
}

Test(methods_check, messages_are_those_of_the_reference)
{
	fails("generate", "{}", "model_id is required", "model_id");
	fails("generate", "{\"model_id\":null}", "model_id is required", "model_id");
	fails("generate", "{\"model_id\":7}", "model_id must be a string, got int", "model_id");
	fails("tokenize", "{\"model_id\":\"m\",\"text\":5}", "text must be a string, got int",
		"text");
	fails("tokenize", "{\"model_id\":\"m\",\"text\":\"x\",\"add_special_tokens\":\"yes\"}",
		"add_special_tokens must be a boolean, got str", "add_special_tokens");
	generate_fails(
		"\"max_tokens\":5000", "max_tokens too large (5000, max 4096)", "max_tokens");
	generate_fails("\"max_tokens\":0", "max_tokens must be positive, got 0", "max_tokens");
	generate_fails(
		"\"max_tokens\":\"5\"", "max_tokens must be an integer, got str", "max_tokens");
	generate_fails(
		"\"temperature\":-1", "temperature must be non-negative, got -1", "temperature");
	generate_fails(
		"\"temperature\":[]", "temperature must be numeric, got list", "temperature");
	generate_fails("\"temperature\":2.5", "temperature too large (2.5, max 2)", "temperature");
	generate_fails("\"top_p\":0", "top_p must be in (0, 1], got 0", "top_p");
	generate_fails("\"presence_penalty\":-2.5",
		"presence_penalty must be in [-2.0, 2.0], got -2.5", "presence_penalty");
	generate_fails("\"seed\":4294967296", "seed out of range (0 to 4294967295)", "seed");
	generate_fails("\"seed\":-1", "seed out of range (0 to 4294967295)", "seed");
	generate_fails("\"stop_sequences\":[1,2,3,4,5,6,7,8,9,10,11]",
		"too many stop_sequences (11, max 10)", "stop_sequences");
	generate_fails("\"stop_sequences\":[\"a\",3]",
		"stop_sequences[1] must be a string, got int", "stop_sequences[1]");
	generate_fails("\"stop_sequences\":[\"\"]", "stop_sequences[0] must not be empty",
		"stop_sequences[0]");
	generate_fails("\"stop_token_ids\":[1,-4]", "stop_token_ids[1] out of range (0 to 1000000)",
		"stop_token_ids[1]");
	fails("batch_tokenize", "{\"requests\":{}}",
		"batch_tokenize expects 'requests' to be a list", "requests");
	fails("runtime/telemetry", "{\"format\":\"xml\"}", "format must be one of json, prometheus",
		"format");
}

Test(methods_check, booleans_are_not_integers_and_neither_is_a_fraction)
{
	generate_fails(
		"\"max_tokens\":true", "max_tokens must be an integer, got bool", "max_tokens");
	generate_fails(
		"\"max_tokens\":1.5", "max_tokens must be an integer, got float", "max_tokens");
	generate_fails("\"stop_token_ids\":[true]",
		"stop_token_ids[0] must be an integer, got bool", "stop_token_ids[0]");
	generate_fails("\"prompt_tokens\":[0.5]", "prompt_tokens[0] must be an integer, got float",
		"prompt_tokens[0]");
}

Test(methods_check, numbers_beyond_every_range_are_refused)
{
	generate_fails(
		"\"temperature\":1e308", "temperature too large (1e+308, max 2)", "temperature");
	generate_fails(
		"\"max_tokens\":1e308", "max_tokens too large (1e+308, max 4096)", "max_tokens");
	generate_fails("\"max_tokens\":123456789012345678901234567890",
		"max_tokens too large (1.84467441e+19, max 4096)", "max_tokens");
	generate_fails("\"max_tokens\":-99999999999999999999",
		"max_tokens must be positive, got -9.22337204e+18", "max_tokens");
	generate_fails("\"top_p\":1e400", "top_p must be in (0, 1], got inf", "top_p");
	generate_fails("\"top_p\":-1e400", "top_p must be in (0, 1], got -inf", "top_p");
	cr_assert_eq(
		check("stream.ack", "{\"stream_id\":\"s\",\"index\":1e300}"), ERR_INVALID_PARAMS);
}

Test(methods_check, integers_in_another_spelling_become_integers)
{
	passes("generate", "{\"model_id\":\"m\",\"max_tokens\":1e2,\"stop_token_ids\":[2.0,3]}",
		"{\"model_id\":\"m\",\"stop_token_ids\":[2,3],\"max_tokens\":100}");
	passes("generate", "{\"model_id\":\"m\",\"logprobs\":5.0}",
		"{\"model_id\":\"m\",\"logprobs\":5}");
	passes("generate", "{\"model_id\":\"m\",\"temperature\":1}", NULL);
}

Test(methods_check, aliases_are_renamed)
{
	static const char *const names[] = { "max_new_tokens", "n_predict",
		"max_completion_tokens" };
	for (size_t i = 0; i < 3; i++) {
		char text[128];
		snprintf(text, sizeof text, "{\"model_id\":\"m\",\"%s\":7}", names[i]);
		passes("generate", text, "{\"model_id\":\"m\",\"max_tokens\":7}");
	}
	passes("generate", "{\"streaming\":false,\"model_id\":\"m\",\"stop\":\"x\"}",
		"{\"model_id\":\"m\",\"stop_sequences\":\"x\",\"stream\":false}");
	generate_fails("\"n_predict\":0", "n_predict must be positive, got 0", "n_predict");
	generate_fails("\"stop\":\"x\",\"stop_sequences\":[]",
		"stop and stop_sequences are two names of one parameter", "stop_sequences");
}

Test(methods_check, explicit_nulls_are_absent)
{
	passes("generate",
		"{\"model_id\":\"m\",\"max_tokens\":null,\"stop\":null,\"guidance\":null}",
		"{\"model_id\":\"m\"}");
	passes("load_model",
		"{\"model_id\":\"m\",\"revision\":null,\"quantization\":null,\"local_path\":null}",
		"{\"model_id\":\"m\"}");
}

Test(methods_check, unknown_parameters_are_named_with_the_nearest)
{
	generate_fails("\"temprature\":1", "unknown parameter: temprature", "temprature");
	cr_assert_str_eq(f.data, "\"path\":\"temprature\",\"did_you_mean\":\"temperature\"");
	generate_fails("\"maxTokens\":1", "unknown parameter: maxTokens", "maxTokens");
	cr_assert_str_eq(f.data, "\"path\":\"maxTokens\",\"did_you_mean\":\"max_tokens\"");
	generate_fails("\"qqqqqq\":1", "unknown parameter: qqqqqq", "qqqqqq");
	cr_assert_str_eq(f.data, "\"path\":\"qqqqqq\"");
	fails("ping", "{\"x\":1}", "unknown parameter: x", "x");
	generate_fails("\"stream_options\":{\"include_usag\":true}",
		"unknown parameter: stream_options.include_usag", "stream_options.include_usag");
	cr_assert_str_eq(f.data,
		"\"path\":\"stream_options.include_usag\",\"did_you_mean\":\"include_usage\"");
	generate_fails("\"model_id temperature\":1", "unknown parameter: model_id temperature",
		"model_id temperature");
}

Test(methods_check, members_of_objects_are_checked_like_parameters)
{
	generate_fails("\"stream_options\":{\"interval_tokens\":0}",
		"stream_options.interval_tokens must be positive, got 0",
		"stream_options.interval_tokens");
	generate_fails("\"stream_options\":[]", "stream_options must be an object, got list",
		"stream_options");
	passes("generate", "{\"model_id\":\"m\",\"stream_options\":{\"max_delay_ms\":5.0}}",
		"{\"model_id\":\"m\",\"stream_options\":{\"max_delay_ms\":5}}");
}

Test(methods_check, every_method_takes_the_reserved_members)
{
	passes("ping",
		"{\"_meta\":{\"progressToken\":1},\"workDoneToken\":\"a\",\"partialResultToken\":"
		"3}",
		NULL);
	passes("ping", "{\"_meta\":{\"other\":[1]},\"workDoneToken\":null}", NULL);
	passes("ping", "{\"_meta\":null}", NULL);
}

Test(methods_check, a_progress_token_is_a_string_or_an_integer)
{
	fails("ping", "{\"workDoneToken\":{}}",
		"workDoneToken must be a string or an integer, got dict", "workDoneToken");
	fails("ping", "{\"partialResultToken\":true}",
		"partialResultToken must be a string or an integer, got bool",
		"partialResultToken");
	fails("ping", "{\"_meta\":{\"progressToken\":1.5}}",
		"_meta.progressToken must be a string or an integer, got float",
		"_meta.progressToken");
	fails("ping", "{\"_meta\":[]}", "_meta must be an object, got list", "_meta");
}

Test(methods_check, model_ids_cannot_leave_their_folder)
{
	static const char *const bad[] = { "a\\n", "..", "a/../b", "a b", "a\\u0000", "\\u00e9",
		"a%b", "a\\\\b" };
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		char text[64];
		snprintf(text, sizeof text, "{\"model_id\":\"%s\"}", bad[i]);
		cr_assert_eq(check("unload_model", text), ERR_INVALID_PARAMS, "%s", text);
	}
	fails("unload_model", "{\"model_id\":\"a..b\"}",
		"model_id contains invalid characters or path traversal attempts", "model_id");
	fails("unload_model", "{\"model_id\":\"\"}", "model_id must not be empty", "model_id");
	passes("unload_model", "{\"model_id\":\"mlx-community\\/Llama_3.2@main:4\"}",
		"{\"model_id\":\"mlx-community\\/Llama_3.2@main:4\"}");
	char text[600], id[LIMIT_MODEL_ID + 2];
	memset(id, 'x', sizeof id - 1);
	id[sizeof id - 1] = '\0';
	snprintf(text, sizeof text, "{\"model_id\":\"%s\"}", id);
	fails("unload_model", text, "model_id too long (513 chars, max 512)", "model_id");
	snprintf(text, sizeof text, "{\"model_id\":\"%s\"}", id + 1);
	cr_assert_eq(check("unload_model", text), 0);
}

Test(methods_check, length_is_counted_in_characters)
{
	struct buf text = BUF_INIT;
	for (int n = LIMIT_STOP_CHARS; n <= LIMIT_STOP_CHARS + 1; n++) {
		buf_clear(&text);
		buf_adds(&text, "{\"model_id\":\"m\",\"stop\":\"");
		for (int i = 0; i < n; i++)
			buf_adds(&text, "\xf0\x9f\x98\x80");
		buf_adds(&text, "\"}");
		cr_assert_eq(check("generate", buf_cstr(&text)),
			n == LIMIT_STOP_CHARS ? 0 : ERR_INVALID_PARAMS);
	}
	cr_assert_str_eq(f.text, "stop too long (101 chars, max 100)");
	buf_release(&text);
}

Test(methods_check, a_nul_cannot_hide_the_rest_of_a_string)
{
	generate_fails("\"stop\":\"a\\u0000b\"", "stop must not contain a NUL character", "stop");
	fails("load_model", "{\"model_id\":\"m\",\"local_path\":\"a\\u0000b\"}",
		"local_path must not contain a NUL character", "local_path");
	fails("runtime/telemetry", "{\"format\":\"json\\u0000x\"}",
		"format must be one of json, prometheus", "format");
	fails("runtime/telemetry", "{\"format\":\"json prometheus\"}",
		"format must be one of json, prometheus", "format");
	passes("tokenize", "{\"model_id\":\"m\",\"text\":\"a\\u0000b\"}", NULL);
}

Test(methods_check, what_does_not_exist_yet_is_refused_unless_it_asks_for_nothing)
{
	static const char *const off[] = { "\"guidance\":false", "\"draft_model\":null",
		"\"response_format\":{\"type\":\"text\"}", "\"messages\":null",
		"\"prediction\":null" };
	static const char *const on[] = { "\"guidance\":{\"mode\":\"regex\"}",
		"\"draft_model\":\"\"", "\"response_format\":{\"type\":\"json_object\"}",
		"\"prediction\":{}", "\"speculative\":{\"mode\":\"x\"}",
		"\"required_dtype\":\"bfloat16\"", "\"guidance\":true",
		"\"num_draft_tokens\":\"0\"" };
	for (size_t i = 0; i < sizeof off / sizeof off[0]; i++) {
		char text[128];
		snprintf(text, sizeof text, "{\"model_id\":\"m\",%s}", off[i]);
		passes("generate", text, "{\"model_id\":\"m\"}");
	}
	for (size_t i = 0; i < sizeof on / sizeof on[0]; i++) {
		char text[128];
		snprintf(text, sizeof text, "{\"model_id\":\"m\",%s}", on[i]);
		cr_assert_eq(check("generate", text), ERR_INVALID_PARAMS, "accepted: %s", on[i]);
		cr_assert_not_null(strstr(f.data, "\"path\":"));
	}
	cr_assert_eq(check("embed", "{\"model_id\":\"m\",\"input\":[]}"), ERR_INVALID_PARAMS);
}

Test(methods_check, old_hosts_load_models_unchanged)
{
	passes("load_model",
		"{\"model_id\":\"m\",\"draft\":false,\"revision\":\"main\",\"quantization\":"
		"\"none\","
		"\"vision_hint\":false,\"tokenizer_config\":{}}",
		"{\"model_id\":\"m\",\"draft\":false,\"quantization\":\"none\"}");
	static const char *const on[] = { "\"quantization\":\"int3\"",
		"\"quantization\":{\"bits\":4}", "\"revision\":\"v2\"", "\"keep_alive\":-2",
		"\"force_vision\":true", "\"warmup\":1", "\"load_kwargs\":{\"x\":1}",
		"\"kv_cache_dtype\":\"int4\"", "\"dtype\":\"int8\"" };
	for (size_t i = 0; i < sizeof on / sizeof on[0]; i++) {
		char text[128];
		snprintf(text, sizeof text, "{\"model_id\":\"m\",%s}", on[i]);
		cr_assert_eq(check("load_model", text), ERR_INVALID_PARAMS, "accepted: %s", on[i]);
	}
}

Test(methods_check, a_bad_item_does_not_fail_its_batch)
{
	passes("batch_tokenize", "{\"requests\":[1,null,{\"text\":5}]}", NULL);
	fails("batch_tokenize", "{}", "requests is required", "requests");
	struct buf text = BUF_INIT;
	buf_adds(&text, "{\"requests\":[0");
	for (int i = 0; i < LIMIT_BATCH; i++)
		buf_adds(&text, ",0");
	buf_adds(&text, "]}");
	fails("batch_tokenize", buf_cstr(&text), "too many requests (1025, max 1024)", "requests");
	buf_release(&text);
}

Test(methods_check, params_may_be_missing_where_nothing_is_required)
{
	cr_assert_eq(method_check(method_find("ping"), NULL, &f), 0);
	cr_assert_eq(method_check(method_find("tokenize"), NULL, &f), ERR_INVALID_PARAMS);
	cr_assert_eq(method_check(method_find("batch_tokenize"), NULL, &f), ERR_INVALID_PARAMS);
	cr_assert_eq(check("ping", "[]"), ERR_INVALID_PARAMS);
	cr_assert_eq(method_check(method_find("tokenize"), NULL, NULL), ERR_INVALID_PARAMS);
}

/* -- every row of the table, with values made from the row ------------------------------- */

/* Which of the seven JSON types `p` takes, by letter: n b i f s l d. */
static const char *types_of(const struct param *p)
{
	switch (p->type) {
	case PARAM_STRING:
	case PARAM_MODEL_ID: return "s";
	case PARAM_INT: return "i";
	case PARAM_NUMBER: return "if";
	case PARAM_BOOL: return "b";
	case PARAM_BOOL_OR_INT: return "bi";
	case PARAM_OBJECT: return "d";
	case PARAM_STRINGS:
	case PARAM_TOKENS:
	case PARAM_OBJECTS: return "l";
	case PARAM_STRING_OR_STRINGS: return "sl";
	case PARAM_TOKEN_VALUE: return "si";
	case PARAM_ANY: return "nbifsld";
	}
	return "";
}

static bool takes(const struct method *m, const struct param *p, struct json_object *value)
{
	release();
	params = json_tokener_parse(m->example);
	json_object_object_add(params, p->name, value);
	return method_check(m, params, &f) == 0;
}

Test(methods_check, every_parameter_of_every_method_refuses_every_other_type)
{
	static const char letters[] = "nbifsld";
	static const char *const texts[] = { "null", "true", "1", "0.5", "\"left\"", "[]", "{}" };
	const struct method *m;
	for (size_t i = 0; (m = method_at(i)) != NULL; i++) {
		for (size_t k = 0; k < m->n_params && !m->refused; k++) {
			const struct param *p = &m->params[k];
			for (size_t t = 0; t < 7 && !p->refused; t++) {
				bool good =
					strchr(types_of(p), letters[t]) || (t == 0 && p->nullable);
				if (good && (p->choices || t > 1))
					continue; /* the value may be wrong for other reasons */
				cr_assert_eq(takes(m, p, json_tokener_parse(texts[t])), good,
					"%s.%s: %s %s", m->name, p->name, texts[t], f.text);
			}
		}
	}
}

Test(methods_check, every_numeric_bound_holds_on_both_sides)
{
	const struct method *m;
	size_t n_checked = 0;
	for (size_t i = 0; (m = method_at(i)) != NULL; i++) {
		for (size_t k = 0; k < m->n_params && !m->refused; k++) {
			const struct param *p = &m->params[k];
			bool is_int = p->type == PARAM_INT || p->type == PARAM_BOOL_OR_INT;
			if (p->refused || (!is_int && p->type != PARAM_NUMBER) || p->min == p->max)
				continue;
			double step = is_int ? 1 : 1e-9;
			cr_assert_eq(takes(m, p, json_object_new_double(p->min)), !p->min_open,
				"%s", p->name);
			cr_assert(takes(m, p, json_object_new_double(p->min + step)), "%s", f.text);
			cr_assert(takes(m, p, json_object_new_double(p->max)), "%s", f.text);
			cr_assert_not(
				takes(m, p, json_object_new_double(p->min - step)), "%s", p->name);
			cr_assert_not(
				takes(m, p, json_object_new_double(p->max + step)), "%s", p->name);
			cr_assert_not(takes(m, p, json_object_new_double(NAN)), "%s", p->name);
			n_checked++;
		}
	}
	cr_assert_geq(n_checked, 20);
}

Test(methods_check, every_choice_is_taken_and_nothing_else)
{
	const struct method *m;
	for (size_t i = 0; (m = method_at(i)) != NULL; i++) {
		for (size_t k = 0; k < m->n_params && !m->refused; k++) {
			const struct param *p = &m->params[k];
			if (p->refused || !p->choices)
				continue;
			char words[128];
			char *rest = words;
			snprintf(words, sizeof words, "%s", p->choices);
			for (const char *word; (word = strsep(&rest, " "));) {
				cr_assert(takes(m, p, json_object_new_string(word)), "%s", word);
				cr_assert_not(takes(m, p, json_object_new_string_len(word, 2)));
			}
			cr_assert_not(takes(m, p, json_object_new_string("")));
		}
	}
}
