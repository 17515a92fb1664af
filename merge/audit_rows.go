package merge

import (
	"context"
	"encoding/json"
	"math"
	"strings"

	"mergescope/loader"
)

// permutation is an order of rows in which converters store query and key
// projections: llama.cpp interleaves the two halves of every head, since its
// rotary embedding turns neighbours (convert_hf_to_gguf.py, LlamaModel.permute).
type permutation struct {
	kind  rowOrder
	heads int
	whole bool // rows of the base as well as of the delta
}

type rowOrder uint8

const (
	asIs rowOrder = iota
	interleaved
	separated // the inverse
)

// row returns which row of a matrix stands at place i of the reordered one.
func (p permutation) row(i, rows int) int {
	size := rows / p.heads
	head, at := i/size*size, i%size
	if p.kind == interleaved {
		return head + at%2*(size/2) + at/2
	}
	return head + at%(size/2)*2 + at/(size/2)
}

// permute reorders the rows of the deltas, and of the base if whole, and
// reports false where that is not possible.
func (s *subject) permute(p permutation) bool {
	if p.heads <= 0 || s.rows%(2*p.heads) != 0 || s.unit != 1 {
		return false
	}
	list := make([]update, len(s.updates))
	for n, u := range s.updates {
		l, ok := u.(*lora)
		if !ok {
			return false
		}
		c := *l
		c.b = make([]float32, len(l.b))
		for i := range s.rows {
			from := p.row(i, s.rows) * l.a.Rank
			copy(c.b[i*l.a.Rank:(i+1)*l.a.Rank], l.b[from:from+l.a.Rank])
		}
		list[n] = &c
	}
	s.updates = list
	if !p.whole {
		return true
	}
	rows := s.rows
	_, size := s.codeRange(s.spec.Format, 0, 1)
	s.data = reordered{s.data, size, func(i int) int { return p.row(i, rows) }}
	if per := len(s.absmax) / rows; per > 0 {
		old := s.absmax
		s.absmax = make([]float32, len(old))
		for i := range rows {
			copy(s.absmax[i*per:(i+1)*per], old[p.row(i, rows)*per:])
		}
	}
	return true
}

// reordered is a matrix with its rows in another order.
type reordered struct {
	from content
	size int64 // bytes of a row
	row  func(i int) int
}

// ReadFull fills p, which must begin and end at rows.
func (c reordered) ReadFull(p []byte, off int64) error {
	for i := int64(0); i*c.size < int64(len(p)); i++ {
		row := int64(c.row(int(off/c.size + i)))
		if err := c.from.ReadFull(p[i*c.size:(i+1)*c.size], row*c.size); err != nil {
			return err
		}
	}
	return nil
}

// headCounts reads the numbers of query and key heads from config.json, 0 if
// they are not there.
func headCounts(c loader.Config) (query, key int) {
	type heads struct {
		Query int `json:"num_attention_heads"`
		Key   int `json:"num_key_value_heads"`
	}
	var in struct {
		heads
		Text heads `json:"text_config"`
	}
	if json.Unmarshal(c.Raw, &in) != nil {
		return 0, 0
	}
	query, key = in.Query, in.Key
	if query == 0 {
		query, key = in.Text.Query, in.Text.Key
	}
	if key == 0 {
		key = query
	}
	return query, key
}

// judgeRows tries the row orders of converters on query and key projections.
func (la *layerAudit) judgeRows(ctx context.Context, s auditSums) (bool, error) {
	query, key := headCounts(la.p.Model.Config)
	heads := 0
	switch la.layer.Weight.Name[strings.LastIndexByte(la.layer.Weight.Name, '.')+1:] {
	case "q_proj":
		heads = query
	case "k_proj":
		heads = key
	}
	if heads == 0 {
		return false, nil
	}
	for _, p := range [...]permutation{{interleaved, heads, false}, {interleaved, heads, true}, {separated, heads, false}, {separated, heads, true}} {
		h := hypothesis{scale: 1, rows: p}
		t, err := la.try(ctx, h)
		if err != nil {
			return false, err
		}
		// What rounding makes is allowed, since the weights are another program's.
		c := float64(ratio(t.RD, math.Sqrt(t.RR*t.DD)))
		if t.distance(1) <= fitsWithin || !p.whole && c > 0.5 && c*c > 4*cosine2(s) {
			what := "the adapter's rows are"
			if p.whole {
				what = "the rows of the weight are"
			}
			la.say(VerdictPermuted, math.NaN(), "%s in the order that llama.cpp gives query and key heads", what)
			return true, nil
		}
	}
	return false, nil
}
