/* err.c - the one table of failures, and the fault that carries one to its reader. */
#include "protocol/err.h"
#include "protocol/buf.h"
#include "protocol/utf8.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct err_info TABLE[] = {
	[-ERR_OK] = { 0, "ok", false },
	[-ERR_PARSE] = { -32700, "parse_error", false },
	[-ERR_INVALID_REQUEST] = { -32600, "invalid_request", false },
	[-ERR_METHOD_NOT_FOUND] = { -32601, "method_not_found", false },
	[-ERR_INVALID_PARAMS] = { -32602, "invalid_params", false },
	[-ERR_INTERNAL] = { -32603, "internal", false },
	[-ERR_MODEL_LOAD] = { -32001, "model_load", false },
	[-ERR_GENERATION] = { -32002, "generation", false },
	[-ERR_TOKENIZER] = { -32003, "tokenizer", false },
	[-ERR_GUIDANCE] = { -32004, "guidance", false },
	[-ERR_MODEL_NOT_LOADED] = { -32005, "model_not_loaded", false },
	[-ERR_OVERLOADED] = { -32006, "overloaded", true },
	[-ERR_CONTEXT_OVERFLOW] = { -32007, "context_overflow", false },
	[-ERR_TIMEOUT] = { -32008, "timeout", false },
	[-ERR_WORKER_CRASHED] = { -32009, "worker_crashed", true },
	[-ERR_SHUTTING_DOWN] = { -32010, "shutting_down", true },
	[-ERR_MODEL_BUSY] = { -32011, "model_busy", true },
	[-ERR_NOMEM] = { -32012, "out_of_memory", false },
	[-ERR_DRAFT_INCOMPATIBLE] = { -32013, "draft_incompatible", false },
	[-ERR_RUNTIME] = { -32099, "runtime", false },
	[-ERR_CANCELLED] = { -32800, "cancelled", false },
	[-ERR_AGAIN] = { -32603, "internal", false },
	[-ERR_NOT_FOUND] = { -32603, "internal", false },
	[-ERR_IO] = { -32603, "internal", false },
};
#define TABLE_LEN ((int)(sizeof TABLE / sizeof TABLE[0]))
_Static_assert(sizeof TABLE / sizeof TABLE[0] == -ERR_LAST + 1, "a row for every enum err");

const struct err_info *err_info(int e)
{
	if (e > 0 || e < ERR_LAST)
		e = ERR_INTERNAL;
	return &TABLE[-e];
}

enum err err_from_code(int code)
{
	for (int i = 1; i < TABLE_LEN; i++)
		if (TABLE[i].code == code)
			return (enum err) - i;
	return ERR_RUNTIME;
}

/* Copy what is whole UTF-8; a byte that is not becomes '?', so that the length can only
 * shrink and the cut never falls into a character. */
static void copy_text(char *out, size_t cap, const char *s)
{
	size_t n = strlen(s), at = 0;
	while (at < n) {
		uint32_t cp;
		int len = utf8_decode(s + at, n - at, &cp);
		if (at + (len > 0 ? (size_t)len : 1) >= cap)
			break;
		if (len > 0) {
			memcpy(out + at, s + at, (size_t)len);
			at += (size_t)len;
		} else {
			out[at++] = '?';
		}
	}
	out[at] = '\0';
}

int fault_set(struct fault *f, enum err err, const char *fmt, ...)
{
	if (!f)
		return err;
	/* Formatted aside: the arguments may point into *f, as when one fault wraps another. */
	char text[2 * FAULT_TEXT_MAX];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	copy_text(f->text, sizeof f->text, text);
	f->err = err;
	f->code = 0;
	f->data[0] = '\0';
	return err;
}

/* `member` is `"key":value`; it goes in whole or not at all. */
static void add_member(struct fault *f, const struct buf *member)
{
	size_t used = strlen(f->data), comma = used > 0;
	if (used + comma + member->n_bytes >= sizeof f->data)
		return;
	if (comma)
		f->data[used++] = ',';
	memcpy(f->data + used, member->data, member->n_bytes);
	f->data[used + member->n_bytes] = '\0';
}

void fault_add_str(struct fault *f, const char *key, const char *value)
{
	if (!f)
		return;
	struct buf b = BUF_INIT;
	jout_key_cstr(&b, key, value);
	add_member(f, &b);
	buf_release(&b);
}

void fault_add_int(struct fault *f, const char *key, int64_t value)
{
	if (!f)
		return;
	struct buf b = BUF_INIT;
	jout_key_int(&b, key, value);
	add_member(f, &b);
	buf_release(&b);
}

void fault_add_bool(struct fault *f, const char *key, bool value)
{
	fault_add_json(f, key, value ? "true" : "false");
}

void fault_add_json(struct fault *f, const char *key, const char *json)
{
	if (!f)
		return;
	struct buf b = BUF_INIT;
	jout_key_raw(&b, key, json, strlen(json));
	add_member(f, &b);
	buf_release(&b);
}
