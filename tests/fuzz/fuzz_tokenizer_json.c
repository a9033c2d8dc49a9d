/* fuzz_tokenizer_json.c - any bytes as tokenizer.json; one that opens must encode and decode. */
#include "worker/text/tokenizer.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static const char TEXT[] = "It's  the 21st <s>century</s>\xe2\x80\x94 caf\xc3\xa9 cafe\xcc\x81, "
			   "\xe6\xbc\xa2\xe5\xad\x97 "
			   "\xf0\x9f\x98\x80\n\n\t a\xe2\x96\x81"
			   "b ABBA 123456";

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct tokenizer *t;
	struct fault f = { 0 };
	struct tok_ids ids = { 0 };
	struct buf text = BUF_INIT;
	if (tokenizer_open_json((const char *)bytes, n, NULL, 0, "fuzz", &t, &f) != 0) {
		if (f.text[0] == '\0')
			abort();
		return 0;
	}
	tokenizer_encode(t, TEXT, strlen(TEXT), TOK_ADD_SPECIAL | TOK_PARSE_SPECIAL, &ids, &f);
	for (size_t i = 0; i < ids.n; i++)
		if (ids.ids[i] < 0 || (size_t)ids.ids[i] >= tokenizer_vocab_size(t))
			abort();
	if (tokenizer_decode(t, ids.ids, ids.n, false, &text, &f) != 0)
		abort();
	buf_release(&text);
	tok_ids_release(&ids);
	tokenizer_free(t);
	return 0;
}
