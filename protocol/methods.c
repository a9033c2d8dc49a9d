/* methods.c - finding a method, and what to say when there is none. Stop 5; next:
 * controller/registry.c. The rows are in methods_*.c by subject, checks in methods_check.c. */
#include "protocol/methods.h"
#include "protocol/methods_table.h"
#include <string.h>

static const struct method *const GROUPS[] = { METHODS_SESSION, METHODS_MODELS, METHODS_TEXT,
	METHODS_GENERATE };
#define N_GROUPS (sizeof GROUPS / sizeof GROUPS[0])

#define METHODS_MAX 64

const struct method *method_at(size_t i)
{
	for (size_t g = 0; g < N_GROUPS; g++)
		for (const struct method *m = GROUPS[g]; m->name; m++)
			if (i-- == 0)
				return m;
	return NULL;
}

size_t method_index(const struct method *m)
{
	size_t n = 0;
	for (size_t g = 0; g < N_GROUPS; g++)
		for (const struct method *row = GROUPS[g]; row->name; row++, n++)
			if (row == m)
				return n;
	return n;
}

const struct method *method_find(const char *name)
{
	for (size_t g = 0; g < N_GROUPS; g++)
		for (const struct method *m = GROUPS[g]; m->name; m++)
			if (m->name[0] == name[0] && strcmp(m->name, name) == 0)
				return m;
	return NULL;
}

int method_unknown(const char *name, struct fault *f)
{
	const char *names[METHODS_MAX];
	size_t n = 0;
	for (const struct method *m; n < METHODS_MAX && (m = method_at(n)) != NULL;)
		names[n++] = m->name;
	const char *near = method_nearest(name, names, n);
	fault_set(f, ERR_METHOD_NOT_FOUND, "Unknown method: %s", name);
	if (near)
		fault_add_str(f, "did_you_mean", near);
	return ERR_METHOD_NOT_FOUND;
}

#define WORD_MAX 64

static size_t smallest(size_t a, size_t b, size_t c)
{
	size_t least = a < b ? a : b;
	return least < c ? least : c;
}

/* Edit distance (insert, delete, replace, swap of neighbours), both at most WORD_MAX long.
 * Three rows of the usual table: the swap looks two rows back. */
static size_t distance(const char *a, size_t n_a, const char *b, size_t n_b)
{
	size_t rows[3][WORD_MAX + 1];
	for (size_t j = 0; j <= n_b; j++)
		rows[0][j] = j;
	for (size_t i = 1; i <= n_a; i++) {
		size_t *now = rows[i % 3], *above = rows[(i + 2) % 3], *above2 = rows[(i + 1) % 3];
		now[0] = i;
		for (size_t j = 1; j <= n_b; j++) {
			now[j] = smallest(now[j - 1] + 1, above[j] + 1,
				above[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				now[j] = smallest(now[j], above2[j - 2] + 1, now[j]);
		}
	}
	return rows[n_a % 3][n_b];
}

const char *method_nearest(const char *word, const char *const *names, size_t n)
{
	size_t n_word = strlen(word);
	if (n_word == 0 || n_word > WORD_MAX)
		return NULL;
	/* Fewer edits than letters, or any short word would be near any other. */
	size_t allowed = n_word / 3 > 2 ? n_word / 3 : 2;
	size_t best = allowed < n_word ? allowed + 1 : n_word;
	const char *found = NULL;
	for (size_t i = 0; i < n; i++) {
		size_t n_name = strlen(names[i]);
		if (n_name > WORD_MAX)
			continue;
		size_t d = distance(word, n_word, names[i], n_name);
		if (d < best) {
			best = d;
			found = names[i];
		}
	}
	return found;
}

/* The next space-separated word at *list; moves past it. 0 at the end. */
static size_t next_word(const char **list, const char **word)
{
	*word = *list + strspn(*list, " ");
	size_t n = strcspn(*word, " ");
	*list = *word + n;
	return n;
}

static bool name_array(
	const struct method *m, struct json_span array, struct buf *out, struct fault *f)
{
	const char *order = m->positional ? m->positional : "";
	struct json_cursor c = json_iterate(array);
	struct json_span value;
	buf_addc(out, '{');
	while (json_next_element(&c, &value)) {
		const char *word;
		size_t n = next_word(&order, &word);
		if (n == 0) {
			fault_set(f, ERR_INVALID_PARAMS,
				m->positional ? "%s takes at most these positional params: %s"
					      : "%s takes named params only%s",
				m->name, m->positional ? m->positional : "");
			return false;
		}
		jout_sep(out);
		jout_str(out, word, n);
		buf_addc(out, ':');
		buf_add(out, value.at, value.n);
	}
	buf_addc(out, '}');
	return true;
}

bool method_name_params(
	const struct method *m, struct json_span params, struct buf *out, struct fault *f)
{
	if (!params.at)
		buf_add(out, "{}", 2);
	else if (json_kind(params) == '[')
		return name_array(m, params, out, f);
	else
		buf_add(out, params.at, params.n);
	return true;
}
