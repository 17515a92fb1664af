package merge

import (
	"strings"
	"testing"

	"mergescope/loader"
	"mergescope/quant"
)

func TestFit(t *testing.T) {
	tensor := func(name string, shape ...int64) *loader.Tensor { return &loader.Tensor{Name: name, Shape: shape} }
	a, b := tensor("A", 4, 64), tensor("B", 32, 4)
	linear := &loader.Module{Path: "m", A: a, B: b}
	square := &loader.Module{Path: "m", A: a, B: tensor("B", 64, 4)}
	embedding := &loader.Module{Path: "m", A: a, B: b, Embedding: true}
	weight := func(f quant.Format, shape ...int64) *loader.Weight {
		return &loader.Weight{Name: "w", Format: f, Shape: shape}
	}
	tests := []struct {
		name      string
		m         *loader.Module
		w         *loader.Weight
		fanIn     bool
		transpose bool
		at        string // tensor blamed
		problem   string
	}{
		{name: "linear", m: linear, w: weight(quant.NF4, 32, 64)},
		{name: "linear, float", m: linear, w: weight(quant.BF16, 32, 64)},
		{name: "Conv1D", m: linear, w: weight(quant.F32, 64, 32), fanIn: true, transpose: true},
		{name: "square Conv1D", m: square, w: weight(quant.F32, 64, 64), fanIn: true, transpose: true},
		{name: "square linear", m: square, w: weight(quant.F32, 64, 64)},
		{name: "quantized Conv1D is stored [out, in]", m: square, w: weight(quant.Int8, 64, 64), fanIn: true},
		{name: "linear in a model of Conv1D", m: linear, w: weight(quant.F32, 32, 64), fanIn: true},
		{name: "transposed without reason", m: linear, w: weight(quant.F32, 64, 32), at: "A", problem: "A is [4 64] but weight w is [64 32]: 64 columns where 32 are needed"},
		{name: "rows", m: linear, w: weight(quant.NF4, 48, 64), at: "B", problem: "B is [32 4] but weight w is [48 64]: 32 rows where 48 are needed"},
		{name: "embedding", m: embedding, w: weight(quant.BF16, 64, 32), transpose: true},
		{name: "embedding, vocabulary", m: embedding, w: weight(quant.BF16, 65, 32), at: "A", problem: "64 columns where 65 are needed"},
		{name: "embedding, width", m: embedding, w: weight(quant.BF16, 64, 33), at: "B", problem: "32 rows where 33 are needed"},
		{name: "quantized embedding", m: embedding, w: weight(quant.NF4, 64, 32), at: "A", problem: "only float embeddings can be merged"},
		{name: "ranks", m: &loader.Module{A: a, B: tensor("B", 32, 5)}, w: weight(quant.NF4, 32, 64), at: "B", problem: "ranks 4 and 5 differ"},
		{name: "no B", m: &loader.Module{Path: "m", A: a}, w: weight(quant.NF4, 32, 64), at: "A", problem: "m lacks lora_A or lora_B"},
		{name: "convolution", m: &loader.Module{A: tensor("A", 4, 3, 3, 3), B: b}, w: weight(quant.F32, 32, 3, 3, 3), at: "A", problem: "A is [4 3 3 3]: only matrices"},
		{name: "experts", m: linear, w: weight(quant.BF16, 8, 32, 64), problem: "only matrices take a LoRA delta"},
	}
	for _, tt := range tests {
		transpose, at, problem := fit(tt.m, tt.w, tt.fanIn)
		name := ""
		if at != nil {
			name = at.Name
		}
		if transpose != tt.transpose || name != tt.at || !strings.Contains(problem, tt.problem) || tt.problem == "" && problem != "" {
			t.Errorf("%s: %t, %q, %q; want %t, %q, %q", tt.name, transpose, name, problem, tt.transpose, tt.at, tt.problem)
		}
	}
}
