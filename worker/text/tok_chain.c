/* tok_chain.c - flattening Sequences and finding the row of a stage's kind. */
#include "worker/text/tok_chain.h"
#include <stdio.h>
#include <string.h>

static int read_stage(const struct tok_chain *c, void *into, const struct tok_field *x, int depth);

static int read_sequence(
	const struct tok_chain *c, void *into, const struct tok_field *x, int depth)
{
	struct tok_field list = tok_field_get(x, c->list);
	char members[64];
	struct json_span value;
	if (depth == STAGES_MAX / 4)
		return tok_field_wrong(x, "is nested too deeply");
	snprintf(members, sizeof members, "type %s", c->list);
	int err = tok_field_knows(x, members);
	if (err == 0)
		err = tok_field_is_array(&list);
	if (err)
		return err;
	struct json_cursor cursor = json_iterate(list.value);
	for (size_t i = 0; err == 0 && json_next_element(&cursor, &value); i++) {
		struct tok_field element = tok_field_element(&list, i, value);
		err = read_stage(c, into, &element, depth + 1);
	}
	return err;
}

static int read_stage(const struct tok_chain *c, void *into, const struct tok_field *x, int depth)
{
	struct tok_field type = tok_field_get(x, "type");
	char name[64];
	int err = tok_field_is_object(x);
	if (err)
		return err;
	if (!json_copy_str(type.value, name, sizeof name))
		return tok_field_wrong(&type, "is not the name of a %s", c->what);
	if (strcmp(name, "Sequence") == 0)
		return read_sequence(c, into, x, depth);
	for (size_t row = 0; c->type_at(row); row++)
		if (strcmp(c->type_at(row), name) == 0)
			return c->read(into, row, x);
	return tok_field_wrong(&type, "is \"%s\", a %s that is not understood", name, c->what);
}

int tok_chain_read(const struct tok_chain *c, void *into, const struct tok_field *x)
{
	return tok_field_is_set(x) ? read_stage(c, into, x, 0) : 0;
}
