package tokenizer

// trie finds which of its keys a text begins with. Nodes are numbers; an edge
// is a node and a byte.
type trie struct {
	edges map[uint64]int32
	value []int32 // by node, -1 if no key ends there
}

func newTrie() *trie { return &trie{edges: map[uint64]int32{}, value: []int32{-1}} }

func (t *trie) add(key string, value int) {
	node := int32(0)
	for i := range len(key) {
		edge := uint64(node)<<8 | uint64(key[i])
		next, ok := t.edges[edge]
		if !ok {
			next = int32(len(t.value))
			t.edges[edge] = next
			t.value = append(t.value, -1)
		}
		node = next
	}
	t.value[node] = int32(value)
}

// prefixes calls found for every key text begins with, short ones first.
func (t *trie) prefixes(text string, found func(length, value int)) {
	node := int32(0)
	for i := range len(text) {
		next, ok := t.edges[uint64(node)<<8|uint64(text[i])]
		if !ok {
			return
		}
		node = next
		if v := t.value[node]; v >= 0 {
			found(i+1, int(v))
		}
	}
}

// longest returns the longest key text begins with.
func (t *trie) longest(text string) (length, value int) {
	t.prefixes(text, func(n, v int) { length, value = n, v })
	return length, value
}
