#include "protocol/mem.h"
#include "worker/model/pooling.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/tandem-pooling-XXXXXX";

static void make_folder(void)
{
	cr_assert_not_null(mkdtemp(folder));
	cr_assert_eq(chdir(folder), 0);
	cr_assert_eq(mkdir("1_Pooling", 0700), 0);
}

static void remove_folder(void)
{
	unlink("1_Pooling/config.json");
	unlink("modules.json");
	rmdir("1_Pooling");
	rmdir(folder);
}

TestSuite(pooling, .init = make_folder, .fini = remove_folder);

static void put(const char *path, const char *text)
{
	FILE *to = fopen(path, "w");
	cr_assert_not_null(to);
	cr_assert_geq(fputs(text, to), 0);
	cr_assert_eq(fclose(to), 0);
}

#define TRANSFORMER                                                                        \
	"{\"idx\":0,\"name\":\"0\",\"path\":\"\",\"type\":\"sentence_transformers.models." \
	"Transformer\"}"
#define POOL                                                          \
	",{\"idx\":1,\"name\":\"1\",\"path\":\"1_Pooling\",\"type\":" \
	"\"sentence_transformers.models.Pooling\"}"
#define NORMALIZE                                                       \
	",{\"idx\":2,\"name\":\"2\",\"path\":\"2_Normalize\",\"type\":" \
	"\"sentence_transformers.models.Normalize\"}"

static struct pooling_defaults read_with(const char *config_json)
{
	struct pooling_defaults d;
	struct config *c;
	struct fault f = { 0 };
	cr_assert_eq(config_parse(config_json, strlen(config_json), "config.json", &c, &f), 0);
	pooling_read(&d, folder, c);
	cr_assert_eq(config_finish(c, &f), 0, "%s", f.text);
	config_free(c);
	return d;
}

Test(pooling, a_model_that_says_nothing_pools_its_last_row_to_unit_length)
{
	struct pooling_defaults d = read_with("{}");
	cr_assert(d.pooling == POOLING_LAST && d.normalize && !d.trouble[0]);
}

Test(pooling, the_flags_of_sentence_transformers_and_the_word_of_newer_ones_mean_the_same)
{
	static const struct {
		const char *json;
		enum pooling pooling;
	} ROWS[] = {
		{ "{\"pooling_mode_cls_token\":true,\"pooling_mode_mean_tokens\":false}",
			POOLING_CLS },
		{ "{\"word_embedding_dimension\":384,\"pooling_mode_cls_token\":false,"
		  "\"pooling_mode_mean_tokens\":true}",
			POOLING_MEAN },
		{ "{\"pooling_mode_lasttoken\":true,\"include_prompt\":true}", POOLING_LAST },
		{ "{\"pooling_mode\":\"mean\"}", POOLING_MEAN },
		{ "{\"pooling_mode\":\"lasttoken\"}", POOLING_LAST },
		{ "{}", POOLING_MEAN },
	};
	put("modules.json", "[" TRANSFORMER POOL NORMALIZE "]");
	for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
		put("1_Pooling/config.json", ROWS[i].json);
		struct pooling_defaults d = read_with("{}");
		cr_assert_eq(d.pooling, ROWS[i].pooling, "%s", ROWS[i].json);
		cr_assert(d.normalize && !d.trouble[0], "%s: %s", ROWS[i].json, d.trouble);
	}
}

Test(pooling, only_a_normalize_module_scales_to_unit_length)
{
	put("1_Pooling/config.json", "{\"pooling_mode_mean_tokens\":true}");
	put("modules.json", "[" TRANSFORMER POOL "]");
	cr_assert_not(read_with("{}").normalize);
	cr_assert_eq(unlink("modules.json"), 0);
	struct pooling_defaults d = read_with("{}");
	cr_assert(d.normalize && d.pooling == POOLING_MEAN, "without the list, the usual");
}

Test(pooling, what_is_not_understood_is_kept_as_trouble_that_names_it)
{
	static const struct {
		const char *modules, *pooling, *word;
	} ROWS[] = {
		{ "[" TRANSFORMER POOL "]", "{\"pooling_mode_max_tokens\":true}", "max_tokens" },
		{ "[" TRANSFORMER POOL "]", "{\"pooling_mode\":\"splade\"}", "splade" },
		{ "[" TRANSFORMER POOL "]",
			"{\"pooling_mode_cls_token\":true,\"pooling_mode_mean_tokens\":true}",
			"several" },
		{ "[" TRANSFORMER POOL ",{\"path\":\"2_Dense\",\"type\":\"x.Dense\"}]", "{}",
			"Dense" },
		{ "[" TRANSFORMER ",{\"path\":\"../../etc\",\"type\":\"x.Pooling\"}]", "{}",
			"Pooling" },
		{ "[" TRANSFORMER POOL "]", "{\"pooling_mode_cls_token\":1}",
			"pooling_mode_cls_token" },
		{ "[" TRANSFORMER POOL "]", "[", "config.json" },
		{ "[{\"path\":\"\"}]", "{}", "modules.json" },
		{ "{}", "{}", "modules.json" },
		{ "[", "{}", "modules.json" },
	};
	for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
		put("modules.json", ROWS[i].modules);
		put("1_Pooling/config.json", ROWS[i].pooling);
		struct pooling_defaults d = read_with("{}");
		cr_assert(strstr(d.trouble, ROWS[i].word), "row %zu: %s", i, d.trouble);
	}
}

Test(pooling, a_gguf_says_it_by_number)
{
	cr_assert_eq(read_with("{\"pooling_type\":1}").pooling, POOLING_MEAN);
	cr_assert_eq(read_with("{\"pooling_type\":2}").pooling, POOLING_CLS);
	cr_assert_eq(read_with("{\"pooling_type\":3}").pooling, POOLING_LAST);
	cr_assert_eq(read_with("{\"pooling_type\":0}").pooling, POOLING_LAST);
	cr_assert(strstr(read_with("{\"pooling_type\":4}").trouble, "pooling_type 4"));
}
