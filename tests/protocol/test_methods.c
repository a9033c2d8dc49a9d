#include "protocol/methods.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct fault f;

Test(methods, all_of_the_protocol_are_there)
{
	static const char *const names[] = { "initialize", "runtime/info", "runtime/state",
		"runtime/telemetry", "ping", "load_model", "unload_model", "list_models",
		"tokenize", "detokenize", "apply_chat_template", "generate", "check_draft", "embed",
		"cancel", "batch_tokenize", "batch_check_draft", "batch_generate", "shutdown",
		"rpc.discover", "$/cancelRequest", "notifications/cancelled", "exit", "stream.ack",
		"initialized", "notifications/initialized", "tools/list", "tools/call",
		"runtime/add_worker", "runtime/drain_worker", "runtime/remove_worker" };
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		const struct method *m = method_find(names[i]);
		cr_assert_not_null(m, "%s", names[i]);
		cr_assert_str_eq(m->name, names[i]);
	}
	cr_assert_null(method_find(""));
	cr_assert_null(method_find("Generate"));
	cr_assert_null(method_find("rpc.other"));
}

Test(methods, rows_are_consistent)
{
	const struct method *m;
	size_t n = 0;
	for (; (m = method_at(n)) != NULL; n++) {
		cr_assert_eq(method_find(m->name), m, "%s is there twice", m->name);
		cr_assert(m->n_params <= 64, "%s", m->name);
		cr_assert(m->doc && m->example, "%s", m->name);
		cr_assert_eq(m->cls == METHOD_BATCH, m->item_name != NULL, "%s", m->name);
		if (m->batch_name)
			cr_assert_str_eq(method_find(m->batch_name)->item_name, m->name);
		for (size_t i = 0; i < m->n_params; i++) {
			const struct param *p = &m->params[i];
			cr_assert_neq(
				p->doc != NULL, p->refused != NULL, "%s.%s", m->name, p->name);
			cr_assert_leq(p->min, p->max, "%s.%s", m->name, p->name);
			cr_assert(!(p->required && (p->nullable || p->preset)), "%s.%s", m->name,
				p->name);
		}
	}
	cr_assert_null(method_at(n + 1));
}

Test(methods, positional_names_are_params_of_the_method)
{
	const struct method *m;
	for (size_t i = 0; (m = method_at(i)) != NULL; i++) {
		char words[128];
		char *rest = words;
		if (!m->positional)
			continue;
		snprintf(words, sizeof words, "%s", m->positional);
		for (const char *word; (word = strsep(&rest, " "));) {
			bool found = false;
			for (size_t p = 0; p < m->n_params; p++)
				found |= strcmp(m->params[p].name, word) == 0;
			cr_assert(found, "%s: %s", m->name, word);
		}
	}
}

Test(methods, every_example_and_preset_passes_its_own_check)
{
	const struct method *m;
	for (size_t i = 0; (m = method_at(i)) != NULL; i++) {
		cr_assert_eq(json_scan(m->example, strlen(m->example), &f), 0, "%s", m->name);
		struct json_object *params = json_tokener_parse(m->example);
		int rc = method_check(m, params, &f);
		cr_assert_eq(rc, m->refused ? ERR_INVALID_PARAMS : 0, "%s: %s", m->name, f.text);
		for (size_t k = 0; k < m->n_params && !m->refused; k++) {
			const struct param *p = &m->params[k];
			if (!p->preset || p->refused)
				continue;
			json_object_object_add(params, p->name, json_tokener_parse(p->preset));
			cr_assert_eq(method_check(m, params, &f), 0, "%s: %s", p->name, f.text);
		}
		json_object_put(params);
	}
}

static void unknown(const char *name, const char *data)
{
	cr_assert_eq(method_unknown(name, &f), ERR_METHOD_NOT_FOUND);
	cr_assert_eq(f.err, ERR_METHOD_NOT_FOUND);
	cr_assert_str_eq(f.data, data, "%s", name);
}

Test(methods, an_unknown_method_is_answered_with_the_nearest)
{
	unknown("genrate", "\"did_you_mean\":\"generate\"");
	unknown("runtime_info", "\"did_you_mean\":\"runtime/info\"");
	unknown("Tokenize", "\"did_you_mean\":\"tokenize\"");
	unknown("batch_check_darft", "\"did_you_mean\":\"batch_check_draft\"");
	unknown("load_models", "\"did_you_mean\":\"load_model\"");
	unknown("completely/else", "");
	unknown("", "");
	unknown("x", "");
	method_unknown("foo\"\n", &f);
	cr_assert_str_eq(f.text, "Unknown method: foo\"\n");
}

Test(methods, nearest_counts_edits)
{
	static const char *const names[] = { "alpha", "beta", "gamma_delta_epsilon" };
	cr_assert_str_eq(method_nearest("alpah", names, 3), "alpha");
	cr_assert_str_eq(method_nearest("bta", names, 3), "beta");
	cr_assert_str_eq(method_nearest("beta", names, 3), "beta");
	cr_assert_str_eq(method_nearest("gama_dlta_epsiln", names, 3), "gamma_delta_epsilon");
	cr_assert_null(method_nearest("alphabet", names, 3));
	cr_assert_null(method_nearest("be", names, 3));
	char longest[500];
	memset(longest, 'a', sizeof longest - 1);
	longest[sizeof longest - 1] = '\0';
	cr_assert_null(method_nearest(longest, names, 3));
}

static const char *named(const char *method, const char *params)
{
	static struct buf b;
	buf_clear(&b);
	struct json_span span = { params, params ? strlen(params) : 0 };
	return method_name_params(method_find(method), span, &b, &f) ? buf_cstr(&b) : NULL;
}

Test(methods, positional_params_get_their_names)
{
	cr_assert_str_eq(
		named("tokenize", "[\"m\", \"a,b\"]"), "{\"model_id\":\"m\",\"text\":\"a,b\"}");
	cr_assert_str_eq(named("tokenize", "[]"), "{}");
	cr_assert_str_eq(named("ping", "[]"), "{}");
	cr_assert_str_eq(named("ping", NULL), "{}");
	cr_assert_str_eq(named("ping", "{ \"x\":1}"), "{ \"x\":1}");
	cr_assert_str_eq(
		named("check_draft", "[\"a\",\"b\"]"), "{\"primary_id\":\"a\",\"draft_id\":\"b\"}");
}

Test(methods, too_many_positional_params_are_refused)
{
	cr_assert_null(named("unload_model", "[1,2,3]"));
	cr_assert_str_eq(
		f.text, "unload_model takes at most these positional params: model_id force");
	cr_assert_eq(f.err, ERR_INVALID_PARAMS);
	cr_assert_null(named("ping", "[1]"));
	cr_assert_str_eq(f.text, "ping takes named params only");
}

Test(methods, discover_is_valid_json_with_schemas_for_all)
{
	struct buf b = BUF_INIT;
	method_write_discover(&b);
	cr_assert_eq(json_scan(b.data, b.n_bytes, &f), 0, "%s", f.text);
	struct json_span all = json_find((struct json_span) { b.data, b.n_bytes }, "methods"), m;
	struct json_cursor c = json_iterate(all);
	size_t n = 0;
	for (; json_next_element(&c, &m); n++) {
		const struct method *row = method_at(n);
		cr_assert(json_str_is(json_find(m, "name"), row->name));
		cr_assert_eq(json_kind(json_find(json_find(m, "params"), "properties")), '{');
		cr_assert_eq(json_kind(json_find(m, "example")), '{');
		cr_assert_eq(
			json_kind(json_find(m, "result")), row->result ? '{' : 0, "%s", row->name);
	}
	cr_assert_null(method_at(n));
	cr_assert_lt(b.n_bytes, (size_t)8 << 20);
	buf_release(&b);
}

static void schema_has(const char *schema, const char *piece)
{
	cr_assert_not_null(strstr(schema, piece), "%s is not in %s", piece, schema);
}

Test(methods, schemas_tell_types_bounds_and_aliases)
{
	struct buf b = BUF_INIT;
	method_write_schema(&b, method_find("generate"));
	const char *s = buf_cstr(&b);
	schema_has(s, "\"max_tokens\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":4096,"
		      "\"default\":512");
	schema_has(s, "\"n_predict\":{\"$ref\":\"#/properties/max_tokens\"}");
	schema_has(s, "\"top_p\":{\"type\":\"number\",\"exclusiveMinimum\":0,\"maximum\":1");
	schema_has(s, "\"priority\":{\"type\":\"string\",\"enum\":[\"urgent\",\"default\","
		      "\"background\"]");
	schema_has(s, "\"stop_token_ids\":{\"type\":\"array\",\"items\":{\"type\":\"integer\","
		      "\"minimum\":0},\"maxItems\":100");
	schema_has(s, "\"cumulative_text\":{\"type\":\"boolean\"");
	schema_has(s, "\"required\":[\"model_id\"]");
	cr_assert_null(strstr(s, "\"required_dtype\""), "what is refused is not offered");
	buf_clear(&b);
	method_write_result_schema(&b, method_find("batch_tokenize"));
	cr_assert_str_eq(buf_cstr(&b),
		"{\"type\":\"object\",\"properties\":{\"results\":{\"type\":\"array\",\"items\":{"
		"\"type\":"
		"\"object\",\"properties\":{\"success\":{\"type\":\"boolean\"},\"result\":{"
		"\"type\":["
		"\"object\",\"null\"]},\"error\":{\"type\":[\"string\",\"null\"]},\"error_code\":{"
		"\"type\":["
		"\"integer\",\"null\"]},\"error_data\":{\"type\":[\"object\",\"null\"]}}}}}}");
	buf_clear(&b);
	method_write_result_schema(&b, method_find("tokenize"));
	schema_has(
		buf_cstr(&b), "\"tokens\":{\"type\":\"array\",\"items\":{\"type\":\"integer\"}}");
	buf_release(&b);
}

Test(methods, a_list_that_may_be_null_says_so_in_its_schema)
{
	struct buf b = BUF_INIT;
	method_write_result_schema(&b, method_find("apply_chat_template"));
	schema_has(buf_cstr(&b), "\"tokens\":{\"type\":[\"array\",\"null\"],\"items\":{\"type\":"
				 "\"integer\"}},\"count\":");
	buf_release(&b);
}

Test(methods, tools_are_the_methods_of_models_each_parameter_by_one_name)
{
	static const char *const tools[] = { "load_model", "unload_model", "list_models",
		"tokenize", "detokenize", "apply_chat_template", "embed", "generate",
		"check_draft" };
	struct buf b = BUF_INIT;
	size_t n = 0;
	method_write_tools(&b);
	cr_assert_eq(json_scan(b.data, b.n_bytes, &f), 0, "%s", f.text);
	struct json_cursor c =
		json_iterate(json_find((struct json_span) { b.data, b.n_bytes }, "tools"));
	struct json_span tool;
	for (; json_next_element(&c, &tool); n++) {
		struct json_span input = json_find(tool, "inputSchema");
		cr_assert(json_str_is(json_find(tool, "name"), tools[n]), "%zu", n);
		cr_assert(json_str_is(json_find(input, "type"), "object"));
		cr_assert(
			json_str_is(json_find(json_find(tool, "outputSchema"), "type"), "object"));
	}
	cr_assert_eq(n, sizeof tools / sizeof tools[0]);
	cr_assert_null(strstr(buf_cstr(&b), "$ref"));
	cr_assert_null(strstr(buf_cstr(&b), "\"stream\""));
	cr_assert_null(strstr(buf_cstr(&b), "\"stream_options\""));
	cr_assert_not(method_is_tool(method_find("shutdown")));
	cr_assert_not(method_is_tool(method_find("batch_tokenize")));
	buf_release(&b);
}
