/* tok_post.c - post-processors: the control tokens put before and after a text. */
#include "worker/text/tok_chain.h"
#include "worker/text/tok_stages.h"
#include <string.h>

/* Wrap around what is there: processors of a Sequence go from the inside out. */
static void wrap(struct tok_post *p, const struct tok_ids *before, const struct tok_ids *after)
{
	struct tok_ids all = { 0 };
	for (size_t i = 0; i < before->n; i++)
		tok_ids_push(&all, before->ids[i]);
	for (size_t i = 0; i < p->before.n; i++)
		tok_ids_push(&all, p->before.ids[i]);
	tok_ids_release(&p->before);
	p->before = all;
	for (size_t i = 0; i < after->n; i++)
		tok_ids_push(&p->after, after->ids[i]);
}

static int add_id(struct tok_ids *to, const struct tok_field *x, struct json_span value)
{
	int64_t id;
	if (!json_get_int(value, &id) || id < 0 || id >= (int64_t)VOCAB_IDS_MAX)
		return tok_field_wrong(x, "is not a token id");
	tok_ids_push(to, (int32_t)id);
	return 0;
}

/* -- TemplateProcessing ---------------------------------------------------------------------- */

/* The ids of special token `name` of the template. */
static int add_special(struct tok_ids *to, const struct tok_field *x, const char *name)
{
	struct tok_field table = tok_field_get(x, "special_tokens");
	int err = tok_field_is_object(&table);
	if (err)
		return err;
	struct tok_field token = tok_field_get(&table, name), ids = tok_field_get(&token, "ids");
	if (!tok_field_is_set(&token))
		return tok_field_wrong(&table, "lacks \"%s\", which the template names", name);
	err = tok_field_knows(&token, "id ids tokens");
	if (err || (err = tok_field_is_array(&ids)) != 0)
		return err;
	struct json_cursor c = json_iterate(ids.value);
	struct json_span value;
	while (err == 0 && json_next_element(&c, &value))
		err = add_id(to, &ids, value);
	return err;
}

/* One {"SpecialToken": …} or {"Sequence": {"id": "A"}}; *n_texts counts the latter. */
static int read_item(const struct tok_field *template, const struct tok_field *item,
	struct tok_ids *to, int *n_texts)
{
	struct tok_field special = tok_field_get(item, "SpecialToken"),
			 sequence = tok_field_get(item, "Sequence");
	bool is_text = tok_field_is_set(&sequence);
	const struct tok_field *x = is_text ? &sequence : &special;
	struct tok_field id = tok_field_get(x, "id");
	char name[256];
	int err = tok_field_knows(item, "SpecialToken Sequence");
	if (err == 0)
		err = tok_field_knows(x, "id type_id");
	if (err)
		return err;
	if (!json_copy_str(id.value, name, sizeof name))
		return tok_field_wrong(&id, "is not the name of a token");
	if (!is_text)
		return add_special(to, template, name);
	if (strcmp(name, "A") != 0)
		return tok_field_wrong(&id, "is \"%.20s\"; a single text is \"A\"", name);
	++*n_texts;
	return 0;
}

static int read_template(struct tok_post *p, const struct tok_field *x)
{
	struct tok_field single = tok_field_get(x, "single");
	struct tok_ids before = { 0 }, after = { 0 };
	struct json_span value;
	int n_texts = 0;
	int err = tok_field_is_array(&single);
	if (err)
		return err;
	struct json_cursor c = json_iterate(single.value);
	for (size_t i = 0; err == 0 && json_next_element(&c, &value); i++) {
		struct tok_field item = tok_field_element(&single, i, value);
		err = read_item(x, &item, n_texts ? &after : &before, &n_texts);
	}
	if (err == 0 && n_texts != 1)
		err = tok_field_wrong(&single, "holds the text %d times, not once", n_texts);
	if (err == 0)
		wrap(p, &before, &after);
	tok_ids_release(&before);
	tok_ids_release(&after);
	return err;
}

/* -- BertProcessing, RobertaProcessing, ByteLevel --------------------------------------------- */

/* ["[SEP]", 102] */
static int read_named_id(const struct tok_field *x, struct tok_ids *to)
{
	struct json_span name, id, more;
	struct json_cursor c = json_iterate(x->value);
	int err = tok_field_is_array(x);
	if (err)
		return err;
	if (!json_next_element(&c, &name) || json_kind(name) != '"' ||
		!json_next_element(&c, &id) || json_next_element(&c, &more))
		return tok_field_wrong(x, "is not a token and its id");
	return add_id(to, x, id);
}

static int read_bert(struct tok_post *p, const struct tok_field *x)
{
	struct tok_field sep = tok_field_get(x, "sep"), cls = tok_field_get(x, "cls");
	struct tok_ids before = { 0 }, after = { 0 };
	int err = read_named_id(&cls, &before);
	if (err == 0)
		err = read_named_id(&sep, &after);
	if (err == 0)
		wrap(p, &before, &after);
	tok_ids_release(&before);
	tok_ids_release(&after);
	return err;
}

/* Only moves offsets, which we do not report. */
static int read_bytelevel(struct tok_post *p, const struct tok_field *x)
{
	(void)p;
	(void)x;
	return 0;
}

/* -- the table -------------------------------------------------------------------------------- */

static const struct post_kind {
	const char *type, *members;
	int (*read)(struct tok_post *p, const struct tok_field *x);
} kinds[] = {
	{ "TemplateProcessing", "type single pair special_tokens", read_template },
	{ "ByteLevel", "type add_prefix_space trim_offsets use_regex", read_bytelevel },
	{ "BertProcessing", "type sep cls", read_bert },
	{ "RobertaProcessing", "type sep cls trim_offsets add_prefix_space", read_bert },
};

static int read_one(void *into, size_t row, const struct tok_field *x)
{
	int err = tok_field_knows(x, kinds[row].members);
	return err ? err : kinds[row].read(into, x);
}

static const char *type_at(size_t row)
{
	return row < sizeof kinds / sizeof kinds[0] ? kinds[row].type : NULL;
}

static const struct tok_chain chain = { "post-processor", "processors", type_at, read_one };

int tok_post_read(struct tok_post *p, const struct tok_field *x)
{
	return tok_chain_read(&chain, p, x);
}

void tok_post_release(struct tok_post *p)
{
	tok_ids_release(&p->before);
	tok_ids_release(&p->after);
}
