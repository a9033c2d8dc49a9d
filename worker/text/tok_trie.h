/* tok_trie.h - byte strings with a value each, found from their beginning.
 *
 * The edges lie in one hash table. Node 0 is the root. At most TRIE_NODES_MAX nodes. */
#ifndef WORKER_TEXT_TOK_TRIE_H
#define WORKER_TEXT_TOK_TRIE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TRIE_NODES_MAX ((uint32_t)1 << 24)

struct tok_trie {
	struct {
		uint32_t parent;
		uint32_t child_byte; /* child << 8 | byte; 0: free */
	} * edges;
	size_t n_edges;  /* power of two, or 0 */
	int32_t *values; /* by node; -1: none ends here */
	uint32_t n_nodes, cap_nodes;
	uint32_t from_root[256]; /* the first step without hashing */
};

void tok_trie_release(struct tok_trie *t);
/* false if there would be too many nodes. A string that exists keeps its first value. */
bool tok_trie_add(struct tok_trie *t, const char *s, size_t n, int32_t value);
/* The node that byte leads to, 0 if none. */
uint32_t tok_trie_step(const struct tok_trie *t, uint32_t node, unsigned char byte);
/* Length of the longest string that s[0..n) begins with and its value; 0 if none. */
size_t tok_trie_longest(const struct tok_trie *t, const char *s, size_t n, int32_t *value);
#endif
