/* fuzz_sentencepiece.c - any bytes as tokenizer.model; one that opens must encode and decode. */
#include "worker/text/tok_sentencepiece.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	static const char text[] =
		"  the  cat \xe6\xbc\xa2\xe5\xad\x97 caf\xc3\xa9 \xef\xbc\xa1<s> ";
	struct tokenizer *t;
	struct fault f = { 0 };
	struct tok_ids ids = { 0 };
	struct buf out = BUF_INIT;
	if (tok_sentencepiece_open((const char *)bytes, n, "fuzz", &t, &f) != 0) {
		if (f.text[0] == '\0')
			abort();
		return 0;
	}
	tokenizer_encode(t, text, strlen(text), TOK_ADD_SPECIAL, &ids, &f);
	for (size_t i = 0; i < ids.n; i++)
		if (ids.ids[i] < 0 || (size_t)ids.ids[i] >= tokenizer_vocab_size(t))
			abort();
	if (tokenizer_decode(t, ids.ids, ids.n, false, &out, &f) != 0)
		abort();
	buf_release(&out);
	tok_ids_release(&ids);
	tokenizer_free(t);
	return 0;
}
