/* lex.h - a template's source cut into tokens, with Jinja's whitespace control applied
 * (trim_blocks and lstrip_blocks on, `-` and `+` markers, one trailing newline dropped). */
#ifndef WORKER_TEMPLATE_LEX_H
#define WORKER_TEMPLATE_LEX_H
#include "protocol/err.h"
#include "worker/template/value.h"

enum token_kind {
	T_DATA, /* text between tags */
	T_BLOCK_BEGIN,
	T_BLOCK_END,
	T_VAR_BEGIN,
	T_VAR_END,
	T_NAME,
	T_STRING, /* unescaped */
	T_INT,
	T_FLOAT,
	T_OP, /* punctuation; text is the operator */
	T_END,
};

struct token {
	enum token_kind kind;
	int line;
	struct str text;
	int64_t i;
	double f;
};

struct tokens {
	struct token *items; /* in the arena; the last is T_END */
	size_t n;
};

/* 0, or ERR_INVALID_PARAMS naming the line. Everything is copied into the arena. */
int lex(struct arena *a, const char *source, size_t n, struct tokens *out, struct fault *f);
#endif
