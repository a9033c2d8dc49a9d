#include "worker/text/tokenizer.h"
#include <criterion/criterion.h>
#include <string.h>

#define FILE_OF(vocab, merges, more) \
	"{\"model\":{\"type\":\"BPE\",\"vocab\":{" vocab "},\"merges\":[" merges "]}" more "}"
#define ABC     "\"a\":0,\"b\":1,\"c\":2,\"ab\":3,\"bc\":4"
#define RULES   "\"a b\",\"b c\""
#define CONTROL ",\"added_tokens\":[{\"id\":2,\"content\":\"c\",\"special\":true}]"

struct verdict {
	bool is_compatible;
	struct buf errors, warnings;
};

static struct verdict compare(const char *primary, const char *draft)
{
	struct verdict v = { false, BUF_INIT, BUF_INIT };
	struct tokenizer *a, *b;
	struct fault f = { 0 };
	cr_assert_eq(tokenizer_open_json(primary, strlen(primary), NULL, 0, "a", &a, &f), 0, "%s",
		f.text);
	cr_assert_eq(
		tokenizer_open_json(draft, strlen(draft), NULL, 0, "b", &b, &f), 0, "%s", f.text);
	v.is_compatible = tokenizer_compare(a, b, &v.errors, &v.warnings);
	buf_cstr(&v.errors);
	buf_cstr(&v.warnings);
	tokenizer_free(a);
	tokenizer_free(b);
	return v;
}

static void expect(struct verdict v, bool is_compatible, const char *error, const char *warning)
{
	cr_expect_eq(v.is_compatible, is_compatible, "%s", v.errors.data);
	cr_expect(error ? strstr(v.errors.data, error) != NULL : v.errors.n_bytes == 0, "%s",
		v.errors.data);
	cr_expect(warning ? strstr(v.warnings.data, warning) != NULL : v.warnings.n_bytes == 0,
		"%s", v.warnings.data);
	buf_release(&v.errors);
	buf_release(&v.warnings);
}

Test(tok_compare, a_file_is_compatible_with_itself)
{
	expect(compare(FILE_OF(ABC, RULES, ""), FILE_OF(ABC, RULES, "")), true, NULL, NULL);
}

Test(tok_compare, one_piece_that_differs_makes_a_pair_unusable)
{
	expect(compare(FILE_OF(ABC, RULES, ""),
		       FILE_OF("\"a\":0,\"b\":1,\"c\":2,\"bc\":3,\"ab\":4", RULES, "")),
		false, "2 of 5 shared token ids mean different pieces, the first is 3",
		"Merge rules");
}

Test(tok_compare, sizes_rules_and_control_tokens_are_warnings)
{
	expect(compare(FILE_OF(ABC, RULES, ""), FILE_OF(ABC ",\"d\":5", RULES, "")), true, NULL,
		"sizes differ: 5 in the primary, 6 in the draft");
	expect(compare(FILE_OF(ABC, RULES, ""), FILE_OF(ABC, "\"b c\",\"a b\"", "")), true, NULL,
		"Merge rules differ");
	expect(compare(FILE_OF(ABC, RULES, ""), FILE_OF(ABC, RULES, CONTROL)), true, NULL,
		"1 tokens are control tokens");
	expect(compare(FILE_OF(ABC, RULES, ""),
		       FILE_OF(ABC, RULES, ",\"normalizer\":{\"type\":\"NFC\"}")),
		true, NULL, "Normalizers differ");
}
