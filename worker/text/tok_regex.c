/* tok_regex.c - compiling and matching one pattern with PCRE2, within limits. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "worker/text/tok_regex.h"
#include "protocol/mem.h"
#include <pcre2.h>
#include <stdlib.h>

#define PATTERN_MAX   ((size_t)64 << 10) /* bytes, after translation */
#define NEST_MAX      100
#define STEPS_MAX     10000000 /* of one match; the published patterns need a few hundred */
#define JIT_STACK_MAX ((size_t)1 << 20)
#define HEAP_KIB_MAX  (64u << 10)

struct tok_regex {
	pcre2_code *code;
	bool is_jit;
};

static int wrong_pattern(int code, struct fault *f)
{
	PCRE2_UCHAR why[128];
	pcre2_get_error_message(code, why, sizeof why);
	return fault_set(f, ERR_TOKENIZER, "is not a usable regex: %s", (const char *)why);
}

int tok_regex_new(const char *pattern, size_t n, struct tok_regex **out, struct fault *f)
{
	struct buf text = BUF_INIT;
	pcre2_compile_context *limits = pcre2_compile_context_create(NULL);
	int err, code;
	PCRE2_SIZE at;
	struct fault why = { 0 };
	*out = NULL;
	if (tok_regex_translate(pattern, n, &text, &why) != 0) {
		err = fault_set(f, ERR_TOKENIZER, "is not a usable regex: %s", why.text);
		goto out;
	}
	if (text.n_bytes > PATTERN_MAX) {
		err = fault_set(f, ERR_TOKENIZER, "is a regex longer than %zu bytes", PATTERN_MAX);
		goto out;
	}
	pcre2_set_parens_nest_limit(limits, NEST_MAX);
	pcre2_set_newline(limits, PCRE2_NEWLINE_LF);
	pcre2_code *re = pcre2_compile((PCRE2_SPTR)buf_cstr(&text), text.n_bytes,
		PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &code, &at,
		limits);
	if (re == NULL) {
		err = wrong_pattern(code, f);
		goto out;
	}
	*out = xcalloc(1, sizeof **out);
	(*out)->code = re;
	/* Without a JIT (a hardened kernel forbids it) the interpreter gives the same. */
	(*out)->is_jit = pcre2_jit_compile(re, PCRE2_JIT_COMPLETE) == 0;
	err = 0;
out:
	pcre2_compile_context_free(limits);
	buf_release(&text);
	return err;
}

void tok_regex_free(struct tok_regex *re)
{
	if (re)
		pcre2_code_free(re->code);
	free(re);
}

static bool work_ready(struct regex_work *w)
{
	if (w->match)
		return true;
	w->match = pcre2_match_data_create(1, NULL);
	w->context = pcre2_match_context_create(NULL);
	w->stack = pcre2_jit_stack_create(32 << 10, JIT_STACK_MAX, NULL);
	if (!w->match || !w->context || !w->stack) {
		regex_work_release(w);
		return false;
	}
	pcre2_set_match_limit(w->context, STEPS_MAX);
	pcre2_set_heap_limit(w->context, HEAP_KIB_MAX);
	pcre2_jit_stack_assign(w->context, NULL, w->stack);
	return true;
}

void regex_work_release(struct regex_work *w)
{
	pcre2_match_data_free(w->match);
	pcre2_match_context_free(w->context);
	pcre2_jit_stack_free(w->stack);
	*w = (struct regex_work) { 0 };
}

int tok_regex_find(const struct tok_regex *re, struct regex_work *w, struct tok_span text,
	const char *s, struct tok_span *out)
{
	if (!work_ready(w))
		return ERR_NOMEM;
	PCRE2_SPTR subject = (PCRE2_SPTR)s;
	int rc = PCRE2_ERROR_JIT_STACKLIMIT;
	if (re->is_jit)
		rc = pcre2_jit_match(re->code, subject, text.end, text.start, PCRE2_NO_UTF_CHECK,
			w->match, w->context);
	if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
		rc = pcre2_match(re->code, subject, text.end, text.start,
			PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, w->match, w->context);
	if (rc == PCRE2_ERROR_NOMATCH)
		return 0;
	if (rc < 0)
		return ERR_TOKENIZER;
	PCRE2_SIZE *bounds = pcre2_get_ovector_pointer(w->match);
	*out = (struct tok_span) { bounds[0], bounds[1] };
	return 1;
}
