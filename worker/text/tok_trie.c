/* tok_trie.c - a trie whose edges are hashed. */
#include "worker/text/tok_trie.h"
#include "protocol/mem.h"
#include <stdlib.h>
#include <string.h>

void tok_trie_release(struct tok_trie *t)
{
	free(t->edges);
	free(t->values);
	*t = (struct tok_trie) { 0 };
}

static size_t find_edge(const struct tok_trie *t, uint32_t node, unsigned char byte)
{
	uint64_t h = ((uint64_t)node << 8 | byte) * 0x9e3779b97f4a7c15u;
	size_t i = h >> 32 & (t->n_edges - 1);
	while (t->edges[i].child_byte != 0 &&
		(t->edges[i].parent != node || (t->edges[i].child_byte & 255) != byte))
		i = (i + 1) & (t->n_edges - 1);
	return i;
}

uint32_t tok_trie_step(const struct tok_trie *t, uint32_t node, unsigned char byte)
{
	if (node == 0)
		return t->from_root[byte];
	return t->edges[find_edge(t, node, byte)].child_byte >> 8;
}

static void grow_edges(struct tok_trie *t)
{
	struct tok_trie old = *t;
	t->n_edges = old.n_edges ? 2 * old.n_edges : 256;
	t->edges = xcalloc(t->n_edges, sizeof *t->edges);
	for (size_t i = 0; i < old.n_edges; i++)
		if (old.edges[i].child_byte != 0)
			t->edges[find_edge(t, old.edges[i].parent, old.edges[i].child_byte & 255)] =
				old.edges[i];
	free(old.edges);
}

static uint32_t new_node(struct tok_trie *t)
{
	if (t->n_nodes == t->cap_nodes) {
		t->cap_nodes = t->cap_nodes ? 2 * t->cap_nodes : 256;
		t->values = xreallocarray(t->values, t->cap_nodes, sizeof *t->values);
	}
	t->values[t->n_nodes] = -1;
	return t->n_nodes++;
}

bool tok_trie_add(struct tok_trie *t, const char *s, size_t n, int32_t value)
{
	if (n >= TRIE_NODES_MAX || t->n_nodes + n + 1 > TRIE_NODES_MAX)
		return false;
	if (t->n_nodes == 0)
		new_node(t);
	uint32_t node = 0;
	for (size_t k = 0; k < n; k++) {
		unsigned char byte = (unsigned char)s[k];
		if (t->n_edges < 2 * ((size_t)t->n_nodes + 1))
			grow_edges(t);
		size_t i = find_edge(t, node, byte);
		if (t->edges[i].child_byte == 0) {
			t->edges[i].parent = node;
			t->edges[i].child_byte = new_node(t) << 8 | byte;
		}
		if (node == 0)
			t->from_root[byte] = t->edges[i].child_byte >> 8;
		node = t->edges[i].child_byte >> 8;
	}
	if (t->values[node] < 0)
		t->values[node] = value;
	return true;
}

size_t tok_trie_longest(const struct tok_trie *t, const char *s, size_t n, int32_t *value)
{
	size_t longest = 0;
	uint32_t node = 0;
	for (size_t k = 0; k < n && (node = tok_trie_step(t, node, (unsigned char)s[k])) != 0; k++)
		if (t->values[node] >= 0) {
			longest = k + 1;
			*value = t->values[node];
		}
	return longest;
}
