/* Strictness about unknown fields must not shut out the models people have: the configs of
 * published models, as they are spelled, are understood whole. */
#include "protocol/mem.h"
#include "worker/model/arch.h"
#include "worker/model/quantization.h"
#include <criterion/criterion.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

static void check(const char *path)
{
	struct config *c = NULL, *quantization = NULL;
	struct decoder d = { 0 };
	struct fault f = { 0 };

	cr_assert_eq(config_open(path, &c, &f), 0, "%s", f.text);
	const struct arch *a = arch_find(config_str(c, "model_type"));
	cr_assert_not_null(a, "%s", path);
	a->configure(&d, c);
	cr_expect_eq(quantization_read(c, &quantization, &f), 0, "%s", f.text);
	cr_expect_eq(config_finish(c, &f), 0, "%s", f.text);
	cr_expect(d.n_layers >= 12 && d.n_heads % d.n_kv_heads == 0, "%s", path);
	decoder_release(&d);
	config_free(quantization);
	config_free(c);
}

Test(published_configs, are_understood_whole)
{
	DIR *dir = opendir("tests/data/configs");
	struct dirent *e;
	size_t n = 0;

	cr_assert_not_null(dir);
	while ((e = readdir(dir)) != NULL) {
		if (!strstr(e->d_name, ".json"))
			continue;
		char *path = xasprintf("tests/data/configs/%s", e->d_name);
		check(path);
		free(path);
		n++;
	}
	closedir(dir);
	cr_assert_geq(n, 20);
}

Test(published_configs, longrope_is_chosen_by_the_length_of_the_text)
{
	struct config *c = NULL;
	struct decoder d = { 0 };
	struct fault f = { 0 };
	float cosines[2][64], sines[2][64];

	cr_assert_eq(config_open("tests/data/configs/phi4mini.json", &c, &f), 0, "%s", f.text);
	ARCH_PHI3.configure(&d, c);
	cr_assert_eq(config_status(c, &f), 0, "%s", f.text);
	cr_assert_eq(d.ropes[0].n_rot, 96, "three quarters of a head of 128");
	/* The same position of a short text and of one longer than the trained 4096. */
	rope_fill(&d.ropes[0], 100, 4096, cosines[0], sines[0]);
	rope_fill(&d.ropes[0], 100, 4097, cosines[1], sines[1]);
	cr_assert_eq(sines[0][0], sines[1][0], "the first factor is 1 in both");
	cr_assert_neq(sines[0][1], sines[1][1]);
	decoder_release(&d);
	config_free(c);
}
