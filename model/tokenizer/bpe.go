package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// bpe is byte pair encoding (models/bpe/model.rs and word.rs).
type bpe struct {
	vocab        map[string]int
	rank         map[[2]int]int // of a pair of ids
	result       []int          // of a merge, by rank
	unk          int            // -1: none
	fuse         bool
	byteFallback bool
	whole        bool // a word of the vocabulary is not merged (ignore_merges)
}

type rawBPE struct {
	Type         string          `json:"type"`
	Dropout      *float64        `json:"dropout"`
	Unk          *string         `json:"unk_token"`
	Prefix       string          `json:"continuing_subword_prefix"`
	Suffix       string          `json:"end_of_word_suffix"`
	FuseUnk      bool            `json:"fuse_unk"`
	ByteFallback bool            `json:"byte_fallback"`
	IgnoreMerges bool            `json:"ignore_merges"`
	Vocab        map[string]int  `json:"vocab"`
	Merges       json.RawMessage `json:"merges"`
}

func parseBPE(text json.RawMessage) (*bpe, error) {
	var raw rawBPE
	if err := strict(text, &raw); err != nil {
		return nil, err
	}
	switch {
	case raw.Dropout != nil && *raw.Dropout != 0:
		return nil, unsupported("dropout %v, which makes tokens random", *raw.Dropout)
	case raw.Prefix != "":
		return nil, unsupported("continuing_subword_prefix %q", raw.Prefix)
	case raw.Suffix != "":
		return nil, unsupported("end_of_word_suffix %q", raw.Suffix)
	case raw.Vocab == nil || raw.Merges == nil:
		return nil, errors.New("there is no vocab or no merges")
	}
	m := &bpe{vocab: raw.Vocab, unk: -1, fuse: raw.FuseUnk, byteFallback: raw.ByteFallback, whole: raw.IgnoreMerges}
	if raw.Unk != nil {
		id, ok := m.vocab[*raw.Unk]
		if !ok {
			return nil, fmt.Errorf("unk_token %q is not in the vocabulary", *raw.Unk)
		}
		m.unk = id
	}
	pairs, err := parseMerges(raw.Merges)
	if err != nil {
		return nil, err
	}
	m.rank = make(map[[2]int]int, len(pairs))
	for i, p := range pairs {
		a, okA := m.vocab[p[0]]
		b, okB := m.vocab[p[1]]
		ab, ok := m.vocab[p[0]+p[1]]
		if !ok || !okA || !okB {
			return nil, fmt.Errorf("merge %d, %q and %q: not all of them and their result are in the vocabulary", i, p[0], p[1])
		}
		m.rank[[2]int{a, b}] = i
		m.result = append(m.result, ab)
	}
	return m, nil
}

// parseMerges reads [["a","b"],...] or the older ["a b",...].
func parseMerges(text json.RawMessage) ([][2]string, error) {
	var pairs [][2]string
	var lists [][]string
	if json.Unmarshal(text, &lists) == nil {
		for i, l := range lists {
			if len(l) != 2 {
				return nil, fmt.Errorf("merge %d has %d parts, want 2", i, len(l))
			}
			pairs = append(pairs, [2]string{l[0], l[1]})
		}
		return pairs, nil
	}
	var lines []string
	if err := json.Unmarshal(text, &lines); err != nil {
		return nil, fmt.Errorf("merges: %w", err)
	}
	for i, l := range lines {
		if strings.HasPrefix(l, "#version") {
			continue
		}
		a, b, ok := strings.Cut(l, " ")
		if !ok || strings.Contains(b, " ") {
			return nil, fmt.Errorf("merge %d, %q, is not two parts with a space between", i, l)
		}
		pairs = append(pairs, [2]string{a, b})
	}
	return pairs, nil
}

func (m *bpe) encode(ids []int, word string) ([]int, error) {
	if m.whole {
		if id, ok := m.vocab[word]; ok {
			return append(ids, id), nil
		}
	}
	symbols, err := m.symbols(word)
	if err != nil {
		return nil, err
	}
	m.merge(symbols)
	for _, s := range symbols {
		if s.id >= 0 {
			ids = append(ids, s.id)
		}
	}
	return ids, nil
}

// symbol is a token of a word in a linked list; a merged one has id -1.
type symbol struct{ id, prev, next int }

// symbols looks characters up. As in tokenizers, an unknown token that waits to
// be fused comes behind the bytes of a later character.
func (m *bpe) symbols(word string) ([]symbol, error) {
	list := make([]symbol, 0, len(word))
	add := func(id int) { list = append(list, symbol{id, len(list) - 1, len(list) + 1}) }
	waiting := false
	for at, r := range word {
		s := word[at : at+utf8.RuneLen(r)]
		if id, ok := m.vocab[s]; ok {
			if waiting {
				add(m.unk)
				waiting = false
			}
			add(id)
			continue
		}
		if bytes := m.bytes(s); bytes != nil {
			for _, id := range bytes {
				add(id)
			}
			continue
		}
		if m.unk < 0 {
			return nil, fmt.Errorf("%w: character %U is not in the vocabulary and there is no unk_token", ErrText, r)
		}
		if waiting && !m.fuse {
			add(m.unk)
		}
		waiting = true
	}
	if waiting {
		add(m.unk)
	}
	return list, nil
}

// bytes returns the ids of a character's bytes, nil if one is missing.
func (m *bpe) bytes(s string) []int {
	if !m.byteFallback {
		return nil
	}
	return byteIDs(m.vocab, s)
}

func byteIDs(vocab map[string]int, s string) []int {
	ids := make([]int, len(s))
	for i := range len(s) {
		id, ok := vocab[byteToken(s[i])]
		if !ok {
			return nil
		}
		ids[i] = id
	}
	return ids
}

// merge joins pairs, lowest rank first, then leftmost.
func (m *bpe) merge(list []symbol) {
	var q queue
	push := func(left int) {
		if right := list[left].next; right < len(list) {
			if rank, ok := m.rank[[2]int{list[left].id, list[right].id}]; ok {
				q.push(uint64(rank)<<32 | uint64(left))
			}
		}
	}
	for i := range list {
		push(i)
	}
	for len(q) > 0 {
		top := q.pop()
		at, result := int(uint32(top)), m.result[top>>32]
		left := &list[at]
		if left.id < 0 || left.next >= len(list) {
			continue
		}
		right := &list[left.next]
		if rank, ok := m.rank[[2]int{left.id, right.id}]; !ok || m.result[rank] != result {
			continue // the pair is no longer there
		}
		left.id, right.id = result, -1
		left.next = right.next
		if left.next < len(list) {
			list[left.next].prev = at
		}
		if left.prev >= 0 {
			push(left.prev)
		}
		push(at)
	}
}

// queue is a binary heap, smallest first.
type queue []uint64

func (q *queue) push(v uint64) {
	h := append(*q, v)
	i := len(h) - 1
	for i > 0 && h[(i-1)/2] > v {
		h[i] = h[(i-1)/2]
		i = (i - 1) / 2
	}
	h[i] = v
	*q = h
}

func (q *queue) pop() uint64 {
	h := *q
	top, v := h[0], h[len(h)-1]
	h = h[:len(h)-1]
	i := 0
	for {
		c := 2*i + 1
		if c+1 < len(h) && h[c+1] < h[c] {
			c++
		}
		if c >= len(h) || h[c] >= v {
			break
		}
		h[i] = h[c]
		i = c
	}
	if len(h) > 0 {
		h[i] = v
	}
	*q = h
	return top
}
