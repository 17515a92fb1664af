package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"unicode/utf8"
)

// unigram finds the most likely segmentation (models/unigram/model.rs,
// encode_optimized). Ids are places in the list.
type unigram struct {
	tokens       []string
	vocab        map[string]int
	trie         *trie
	score        []float64
	unkScore     float64
	unk          int // -1: none
	byteFallback bool
}

type rawUnigram struct {
	Type         string               `json:"type"`
	Unk          *int                 `json:"unk_id"`
	ByteFallback bool                 `json:"byte_fallback"`
	Vocab        [][2]json.RawMessage `json:"vocab"`
}

// unkPenalty is what an unknown character costs below the least likely token.
const unkPenalty = 10

func parseUnigram(text json.RawMessage) (*unigram, error) {
	var raw rawUnigram
	if err := strict(text, &raw); err != nil {
		return nil, err
	}
	if len(raw.Vocab) == 0 {
		return nil, errors.New("there is no vocab")
	}
	m := &unigram{vocab: make(map[string]int, len(raw.Vocab)), trie: newTrie(), unk: -1, byteFallback: raw.ByteFallback}
	least := math.Inf(1)
	for id, entry := range raw.Vocab {
		var token string
		var score float64
		err := json.Unmarshal(entry[0], &token)
		if err == nil {
			err = json.Unmarshal(entry[1], &score)
		}
		if err != nil {
			return nil, fmt.Errorf("vocab entry %d: %w", id, err)
		}
		m.vocab[token] = id // of a token that is there twice the last counts
		m.tokens = append(m.tokens, token)
		m.score = append(m.score, score)
		m.trie.add(token, id)
		least = min(least, score)
	}
	m.unkScore = least - unkPenalty
	if raw.Unk != nil {
		if m.unk = *raw.Unk; m.unk < 0 || m.unk >= len(m.score) {
			return nil, fmt.Errorf("unk_id %d is outside the vocabulary of %d", m.unk, len(m.score))
		}
	}
	return m, nil
}

// node is the best path that ends at a byte.
type node struct {
	id, start int
	score     float64
	reached   bool
}

func (m *unigram) encode(ids []int, word string) ([]int, error) {
	best := make([]node, len(word)+1)
	for at, r := range word {
		till, width, single := best[at].score, utf8.RuneLen(r), false
		reach := func(n, id int, score float64) {
			if to := &best[at+n]; !to.reached || score > to.score {
				*to = node{id, at, score, true}
			}
		}
		m.trie.prefixes(word[at:], func(n, id int) {
			reach(n, id, m.score[id]+till)
			single = single || n == width
		})
		if single {
			continue
		}
		if m.unk < 0 {
			return nil, fmt.Errorf("%w: character %U is not in the vocabulary and there is no unk_id", ErrText, r)
		}
		reach(width, m.unk, m.unkScore+till)
	}
	var parts []string
	for end := len(word); end > 0; {
		n := best[end]
		start := n.start
		for n.id == m.unk && start > 0 && best[start].id == m.unk {
			start = best[start].start // unknown characters in a row are one
		}
		parts = append(parts, word[start:end])
		end = start
	}
	for _, p := range slices.Backward(parts) {
		ids = m.token(ids, p)
	}
	return ids, nil
}

// token appends the id of a part, or those of its bytes.
func (m *unigram) token(ids []int, part string) []int {
	if id, ok := m.vocab[part]; ok {
		return append(ids, id)
	}
	if m.byteFallback {
		if bytes := byteIDs(m.vocab, part); bytes != nil {
			return append(ids, bytes...)
		}
	}
	return append(ids, m.unk)
}
