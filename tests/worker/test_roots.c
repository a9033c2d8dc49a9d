#include "protocol/buf.h"
#include "protocol/mem.h"
#include "worker/glance.h"
#include "worker/roots.h"
#include <criterion/criterion.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Every test has a folder of its own as working directory; "r" in it is the root. */
static char folder[] = "/tmp/tandem-roots-XXXXXX";
static const char *const ROOT[] = { "r" };
static const struct worker_options OPTIONS = { .roots = (const char **)(uintptr_t)ROOT,
	.n_roots = 1 };

static void enter(void)
{
	cr_assert_not_null(mkdtemp(folder));
	cr_assert_eq(chdir(folder), 0);
	cr_assert_eq(mkdir("r", 0700), 0);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *f)
{
	(void)st;
	(void)type;
	(void)f;
	return remove(path);
}

static void leave(void)
{
	nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

TestSuite(roots, .init = enter, .fini = leave, .timeout = 60);

static void make_parents(const char *path)
{
	for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
		char *parent = xstrndup(path, (size_t)(slash - path));
		mkdir(parent, 0700);
		free(parent);
	}
}

static void put(const char *path, const void *bytes, size_t n)
{
	make_parents(path);
	FILE *to = fopen(path, "w");
	cr_assert(to && fwrite(bytes, 1, n, to) == n && fclose(to) == 0, "%s", path);
}

static void put_text(const char *path, const char *text)
{
	put(path, text, strlen(text));
}

static void put_link(const char *path, const char *target)
{
	make_parents(path);
	cr_assert_eq(symlink(target, path), 0, "%s", path);
}

/* A folder that looks like a model with n bytes of weights. */
static void put_model(const char *path, size_t n)
{
	static const char zeros[4096];
	char *config = xasprintf("%s/config.json", path);
	char *weights = xasprintf("%s/model.safetensors", path);
	put_text(config, "{\"model_type\":\"llama\"}");
	put(weights, zeros, n);
	free(weights);
	free(config);
}

static void put_gguf(const char *path)
{
	static const char head[] = "GGUF\3\0\0\0"
				   "\0\0\0\0\0\0\0\0"
				   "\1\0\0\0\0\0\0\0"
				   "\24\0\0\0\0\0\0\0general.architecture\10\0\0\0"
				   "\5\0\0\0\0\0\0\0qwen3";
	put(path, head, sizeof head - 1);
}

static void note(void *arg, const struct found_model *m)
{
	char *line = xasprintf("%s=%s %s %s %llu\n", m->model_id, m->path, m->format,
		m->architecture ? m->architecture : "?", (unsigned long long)m->n_bytes);
	char *found = roots_find(&OPTIONS, m->model_id, NULL);
	cr_assert_str_eq(found, m->path, "%s is not what load_model would take", m->model_id);
	buf_adds(arg, line);
	free(found);
	free(line);
}

/* The list, a line each in any order. */
static void list(struct buf *out)
{
	cr_assert(roots_each(&OPTIONS, note, out));
}

static void must_list(struct buf *out, const char *line)
{
	char *whole = xasprintf("%s\n", line);
	const char *at = strstr(buf_cstr(out), whole);
	cr_assert(at && (at == out->data || at[-1] == '\n'), "no line %s in\n%s", line,
		buf_cstr(out));
	free(whole);
}

static size_t count_lines(const struct buf *out)
{
	size_t n = 0;
	for (size_t i = 0; i < out->n_bytes; i++)
		n += out->data[i] == '\n';
	return n;
}

static void must_find(const char *id, const char *path)
{
	struct fault f = { 0 };
	char *found = roots_find(&OPTIONS, id, &f);
	cr_assert(found, "%s: %s", id, f.text);
	cr_assert_str_eq(found, path, "%s is %s", id, found);
	free(found);
}

static void must_not_find(const char *id)
{
	struct fault f = { 0 };
	char *found = roots_find(&OPTIONS, id, &f);
	cr_assert_null(found, "%s is %s", id, found);
	cr_assert_eq(f.err, ERR_MODEL_LOAD);
	cr_assert(strstr(f.text, id), "%s", f.text);
}

Test(roots, folders_and_ggufs_go_by_their_path_below_the_root)
{
	struct buf out = BUF_INIT;
	put_model("r/plain", 100);
	put_model("r/org/name", 200);
	put_gguf("r/org/repo/file-Q4_K_M.gguf");
	put_gguf("r/top.gguf");
	put_text("r/org/notes.txt", "not a model");
	put_text("r/broken.gguf", "not a GGUF either, whatever it is called");
	put_text("r/config-only/config.json", "{}");
	list(&out);
	must_list(&out, "plain=r/plain safetensors llama 100");
	must_list(&out, "org/name=r/org/name safetensors llama 200");
	must_list(&out, "org/repo/file-Q4_K_M.gguf=r/org/repo/file-Q4_K_M.gguf gguf qwen3 69");
	must_list(&out, "top.gguf=r/top.gguf gguf qwen3 69");
	cr_assert_eq(count_lines(&out), 4, "%s", buf_cstr(&out));
	must_find("top", "r/top.gguf");
	must_find("org/repo/file-Q4_K_M", "r/org/repo/file-Q4_K_M.gguf");
	must_not_find("absent");
	must_not_find("org");
	buf_release(&out);
}

Test(roots, shards_and_parts_count_together_and_only_first_parts_are_models)
{
	struct buf out = BUF_INIT;
	put_model("r/sharded", 7); /* left over beside the shards: the index decides */
	put_text("r/sharded/model.safetensors.index.json", "{}");
	put_text("r/sharded/model-00001-of-00002.safetensors", "0123456789");
	put_text("r/sharded/model-00002-of-00002.safetensors", "01234");
	put_gguf("r/split-00001-of-00003.gguf");
	put_gguf("r/split-00002-of-00003.gguf");
	put_gguf("r/split-00003-of-00003.gguf");
	list(&out);
	must_list(&out, "sharded=r/sharded safetensors llama 15");
	must_list(&out, "split-00001-of-00003.gguf=r/split-00001-of-00003.gguf gguf qwen3 207");
	cr_assert_eq(count_lines(&out), 2, "%s", buf_cstr(&out));
	buf_release(&out);
}

#define REPO "r/models--org--the-name"

static void put_cache(const char *repo)
{
	char *blob = xasprintf("%s/blobs/0a1b", repo), *old = xasprintf("%s/snapshots/old", repo);
	char *new = xasprintf("%s/snapshots/f00d", repo), *link = xasprintf("%s/config.json", new);
	char *weights = xasprintf("%s/model.safetensors", new),
	     *main = xasprintf("%s/refs/main", repo);
	put_model(old, 1);
	put_text(blob, "{\"model_type\":\"llama\"}");
	put_link(link, "../../blobs/0a1b");
	put_text(weights, "0123456789");
	put_text(main, "f00d\n");
	free(main);
	free(weights);
	free(link);
	free(new);
	free(old);
	free(blob);
}

Test(roots, a_hugging_face_cache_gives_the_revision_that_main_names)
{
	struct buf out = BUF_INIT;
	put_cache(REPO);
	put_cache("r/hub/models--other--model");
	put_model("r/models--gpt2/snapshots/only", 3);
	put_model("r/models--two--revisions/snapshots/a", 4);
	put_model("r/models--two--revisions/snapshots/b", 4);
	put_text("r/models--bad--ref/refs/main", "../../../etc");
	list(&out);
	must_list(&out, "org/the-name=" REPO "/snapshots/f00d safetensors llama 10");
	must_list(
		&out, "other/model=r/hub/models--other--model/snapshots/f00d safetensors llama 10");
	must_list(&out, "gpt2=r/models--gpt2/snapshots/only safetensors llama 3");
	cr_assert_eq(count_lines(&out), 3, "%s", buf_cstr(&out));
	must_not_find("two/revisions");
	must_not_find("bad/ref");
	buf_release(&out);
}

Test(roots, ggufs_of_a_cached_repository_go_by_its_name_and_theirs)
{
	struct buf out = BUF_INIT;
	put_gguf("r/models--org--quants/blobs/dead");
	put_link("r/models--org--quants/snapshots/1/m-Q8_0.gguf", "../../blobs/dead");
	put_gguf("r/models--org--quants/snapshots/1/Q4/m-00001-of-00001.gguf");
	put_text("r/models--org--quants/refs/main", "1");
	list(&out);
	must_list(&out, "org/quants/m-Q8_0.gguf=r/models--org--quants/snapshots/1/m-Q8_0.gguf gguf "
			"qwen3 69");
	must_list(&out, "org/quants/Q4/m-00001-of-00001.gguf="
			"r/models--org--quants/snapshots/1/Q4/m-00001-of-00001.gguf gguf qwen3 69");
	cr_assert_eq(count_lines(&out), 2, "%s", buf_cstr(&out));
	must_find("org/quants/m-Q8_0", "r/models--org--quants/snapshots/1/m-Q8_0.gguf");
	buf_release(&out);
}

static bool is_refused(const char *path)
{
	struct worker_options o = OPTIONS;
	struct fault f = { 0 };
	o.roots_only = true;
	bool yes = roots_check_links(&o, path, &f) < 0;
	cr_assert(!yes || (f.err == ERR_MODEL_LOAD && strstr(f.text, "out of the model roots")),
		"%s: %s", path, f.text);
	cr_assert_eq(roots_check_links(&OPTIONS, path, &f), 0, "without roots_only all is allowed");
	return yes;
}

Test(roots, files_of_a_model_that_lead_out_of_the_roots_are_refused_where_only_roots_are_allowed)
{
	put_text("outside.json", "{}");
	put_model("r/m", 9);
	put_text("r/blobs/vocab", "{}");
	put_link("r/m/vocab.json", "../blobs/vocab");
	put_link("r/m/dangling.json", "nowhere");
	put_link("r/m/again", ".");
	cr_assert_not(is_refused("r/m"));
	put_link("r/m/1_Pooling/config.json", "../../../outside.json");
	cr_assert(is_refused("r/m"), "a file in a folder of it");
	put_link("r/n/model.safetensors", "../../outside.json");
	cr_assert(is_refused("r/n"));
	put_gguf("r/s-00001-of-00002.gguf");
	put_link("r/other.gguf", "../outside.json");
	cr_assert_not(is_refused("r/s-00001-of-00002.gguf"));
	put_link("r/s-00002-of-00002.gguf", "../outside.json");
	cr_assert(is_refused("r/s-00001-of-00002.gguf"));
	put_gguf("r/one.gguf");
	cr_assert_not(is_refused("r/one.gguf"));
}

Test(roots, links_are_followed_within_the_root_and_not_out_of_it_nor_round_in_circles)
{
	struct buf out = BUF_INIT;
	put_model("outside", 5);
	put_gguf("outside.gguf");
	put_model("r/inside", 6);
	put_link("r/alias", "inside");
	put_link("r/leak", "../outside");
	put_link("r/leak.gguf", "../outside.gguf");
	put_link("r/org/loop", "..");
	put_link("r/dangling", "nowhere");
	put_link("r/models--a--b/snapshots/1", "../../../outside");
	list(&out);
	must_list(&out, "inside=r/inside safetensors llama 6");
	must_list(&out, "alias=r/alias safetensors llama 6");
	cr_assert_eq(count_lines(&out), 2, "%s", buf_cstr(&out));
	must_not_find("leak");
	must_not_find("leak.gguf");
	must_not_find("a/b");
	must_not_find("dangling");
	buf_release(&out);
}

Test(roots, what_is_too_deep_or_cannot_be_an_id_is_left_out)
{
	struct buf out = BUF_INIT;
	put_gguf("r/1/2/3/in.gguf");
	put_gguf("r/1/2/3/4/out.gguf");
	put_gguf("r/two words.gguf");
	put_gguf("r/dots..gguf");
	put_gguf("r/.hidden.gguf");
	list(&out);
	must_list(&out, "1/2/3/in.gguf=r/1/2/3/in.gguf gguf qwen3 69");
	cr_assert_eq(count_lines(&out), 1, "%s", buf_cstr(&out));
	buf_release(&out);
}

Test(roots, of_two_roots_the_first_that_has_an_id_gives_it)
{
	static const char *const both[] = { "r", "s" };
	const struct worker_options two = { .roots = (const char **)(uintptr_t)both, .n_roots = 2 };
	put_model("r/same", 1);
	put_model("s/same", 2);
	put_model("s/other", 3);
	char *same = roots_find(&two, "same", NULL), *other = roots_find(&two, "other", NULL);
	cr_assert_str_eq(same, "r/same");
	cr_assert_str_eq(other, "s/other");
	free(same);
	free(other);
}

static void count(void *arg, const struct found_model *m)
{
	(void)m;
	++*(size_t *)arg;
}

Test(roots, a_walk_without_end_ends)
{
	size_t n = 0;
	char path[64];
	put_gguf("r/0.gguf");
	for (int i = 1; i <= ROOTS_MODELS_MAX; i++) {
		snprintf(path, sizeof path, "r/%d.gguf", i);
		cr_assert_eq(link("r/0.gguf", path), 0);
	}
	cr_assert_not(roots_each(&OPTIONS, count, &n));
	cr_assert_eq(n, ROOTS_MODELS_MAX);
}

Test(roots, with_roots_only_a_path_is_admitted_where_it_really_lies)
{
	struct worker_options o = OPTIONS;
	struct fault f;
	put_text("r/in/config.json", "{}");
	put_text("r2/config.json", "{}");
	cr_assert_eq(symlink("../r2", "r/out"), 0);
	static const char *const paths[] = { "r/in", "r/../r/in", "r/out", "r2", "r/in/../../r2",
		"/etc/passwd", "r/absent", "" };
	for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
		o.roots_only = false;
		char *path = roots_admit(&o, paths[i], &f);
		cr_assert_str_eq(path, paths[i]);
		free(path);
		o.roots_only = true;
		path = roots_admit(&o, paths[i], &f);
		cr_assert_eq(path != NULL, i < 2, "%s", paths[i]);
		cr_assert(path || f.err == ERR_MODEL_LOAD);
		free(path);
	}
}
