package merge

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mergescope/loader"
)

// combineCase is what case.json says of a weighted merge.
type combineCase struct {
	Base     string   `json:"base"`
	Adapters []string `json:"adapters"`
	Combine  struct {
		Weights  []float64 `json:"weights"`
		Type     string    `json:"combination_type"`
		Density  *float64  `json:"density"`
		Majority string    `json:"majority_sign_method"`
		Rank     int       `json:"svd_rank"`
	} `json:"combine"`
}

func openCombineCase(t *testing.T, name string) (combineCase, *loader.Checkpoint, []*loader.Adapter, *loader.Adapter) {
	t.Helper()
	const golden = "../testdata/golden"
	dir := filepath.Join(golden, "cases", name)
	text, err := os.ReadFile(filepath.Join(dir, "case.json"))
	if err != nil {
		t.Fatal(err)
	}
	var c combineCase
	if err := json.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	var src loader.Source
	model, err := src.Checkpoint(filepath.Join(golden, c.Base))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { model.Close() })
	open := func(sub string) *loader.Adapter {
		a, err := src.Adapter(filepath.Join(dir, sub))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { a.Close() })
		return a
	}
	var adapters []*loader.Adapter
	for _, a := range c.Adapters {
		adapters = append(adapters, open(a))
	}
	return c, model, adapters, open("combined")
}

func (c combineCase) combination() Combination {
	out := Combination{Type: c.Combine.Type, Rank: c.Combine.Rank, Frequency: c.Combine.Majority == "frequency", Density: math.NaN()}
	if c.Combine.Density != nil {
		out.Density = *c.Combine.Density
	}
	return out
}

// The factors are PEFT's own, bit for bit, wherever nothing is random and no
// singular value decomposition is involved.
func TestCombineMatchesPEFT(t *testing.T) {
	for _, name := range []string{
		"weighted-linear", "weighted-linear-negative", "weighted-linear-rslora", "weighted-cat", "weighted-cat-ranks",
		"weighted-ties", "weighted-ties-frequency", "weighted-magnitude-prune",
	} {
		t.Run(name, func(t *testing.T) {
			c, model, adapters, want := openCombineCase(t, name)
			got, err := Combine(model, adapters, c.Combine.Weights, c.combination())
			if err != nil {
				t.Fatal(err)
			}
			if len(got.Modules) != len(want.Modules) {
				t.Fatalf("%d modules, want %d", len(got.Modules), len(want.Modules))
			}
			for i, w := range want.Modules {
				g := got.Modules[i]
				if g.Path != w.Path || g.Scale != w.Scale {
					t.Errorf("module %s scale %v, want %s %v", g.Path, g.Scale, w.Path, w.Scale)
				}
				sameTensor(t, g.A, w.A)
				sameTensor(t, g.B, w.B)
			}
		})
	}
}

func sameTensor(t *testing.T, got, want *loader.Tensor) {
	t.Helper()
	if got.DType != want.DType || !slices.Equal(got.Shape, want.Shape) {
		t.Errorf("%s: %s %v, want %s %v", want.Name, got.DType, got.Shape, want.DType, want.Shape)
		return
	}
	g, err := readFloats(got)
	if err != nil {
		t.Fatal(err)
	}
	w, err := readFloats(want)
	if err != nil {
		t.Fatal(err)
	}
	for i := range w {
		if g[i] != w[i] { // -0 equals +0: torch multiplies by a mask where this code selects
			t.Errorf("%s: element %d is %v, want %v", want.Name, i, g[i], w[i])
			return
		}
	}
}

// Singular vectors have a free sign and LAPACK's last bits, so the product is
// compared.
func TestCombineSVDProduct(t *testing.T) {
	for _, name := range []string{"weighted-svd", "weighted-ties-svd"} {
		t.Run(name, func(t *testing.T) {
			c, model, adapters, want := openCombineCase(t, name)
			got, err := Combine(model, adapters, c.Combine.Weights, c.combination())
			if err != nil {
				t.Fatal(err)
			}
			for i, w := range want.Modules {
				g, p := product(t, got.Modules[i]), product(t, w)
				var diff, size float64
				for j := range p {
					diff += (g[j] - p[j]) * (g[j] - p[j])
					size += p[j] * p[j]
				}
				if rel := math.Sqrt(diff / size); !(rel < 1e-5) {
					t.Errorf("%s: the product differs by %.2g relative", w.Path, rel)
				}
			}
		})
	}
}

// product returns B@A in float64.
func product(t *testing.T, m *loader.Module) []float64 {
	t.Helper()
	a, err := readFloats(m.A)
	if err != nil {
		t.Fatal(err)
	}
	b, err := readFloats(m.B)
	if err != nil {
		t.Fatal(err)
	}
	in, rank := int(m.A.Shape[1]), int(m.A.Shape[0])
	out := make([]float64, int(m.B.Shape[0])*in)
	for i := range out {
		for k := range rank {
			out[i] += float64(b[i/in*rank+k]) * float64(a[k*in+i%in])
		}
	}
	return out
}

// DARE's draws are random, but what they may give is not: every factor value
// is the weighted sum over some subset of the adapters, each divided by the
// density, and about the density's share is kept.
func TestCombineDAREKeepsOrDrops(t *testing.T) {
	c, model, adapters, _ := openCombineCase(t, "weighted-dare-linear")
	got, err := Combine(model, adapters, c.Combine.Weights, c.combination())
	if err != nil {
		t.Fatal(err)
	}
	kept, total := 0, 0
	for _, m := range got.Modules {
		g, _ := readFloats(m.A)
		x, _ := readFloats(adapters[0].Module(m.Path).A)
		y, _ := readFloats(adapters[1].Module(m.Path).A)
		root := func(i int) float32 {
			return float32(math.Sqrt(c.Combine.Weights[i] * adapters[i].Module(m.Path).Scale))
		}
		d := float32(*c.Combine.Density)
		for j, v := range g {
			p, q := x[j]/d*root(0), y[j]/d*root(1)
			if v != 0 && v != p && v != q && v != p+q {
				t.Fatalf("%s: element %d is %v, want 0, %v, %v or their sum", m.Path, j, v, p, q)
			}
			if x[j] != 0 {
				total++
				if v == p || v == p+q {
					kept++
				}
			}
		}
	}
	if share := float64(kept) / float64(total); math.Abs(share-*c.Combine.Density) > 0.1 {
		t.Errorf("%.2f of the values are kept, want about %.2f", share, *c.Combine.Density)
	}
}

func TestParseCombination(t *testing.T) {
	for _, text := range []string{"linear", "cat", "svd,rank=4", "ties,density=0.5,majority=frequency", "dare_ties_svd,density=0.2,rank=8,seed=7"} {
		c, err := ParseCombination(text)
		if err != nil || c.String() != text {
			t.Errorf("%s: %v, %v", text, c, err)
		}
	}
	for _, text := range []string{"", "mean", "ties", "ties,density=-1", "ties,density=x", "svd,rank=0", "linear,color=1", "ties,density=1,majority=some"} {
		if _, err := ParseCombination(text); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
}

func TestTopKIsASelection(t *testing.T) {
	// Every size around the switch between the two algorithms; the chosen values
	// must be a correct answer, ties or not.
	for n := 1; n < 300; n += 7 {
		values := make([]float32, n)
		for i := range values {
			values[i] = float32(uint64(i) * 2654435761 % 17)
		}
		sorted := slices.Clone(values)
		slices.Sort(sorted)
		for k := range n + 1 {
			var got []float32
			for i, c := range topK(values, k) {
				if c {
					got = append(got, values[i])
				}
			}
			slices.Sort(got)
			if !slices.Equal(got, sorted[n-k:]) {
				t.Fatalf("n %d k %d: %v", n, k, got)
			}
		}
	}
}

// TestCombineRefusals: what PEFT refuses, or would lose without a word.
func TestCombineRefusals(t *testing.T) {
	for says, change := range map[string]func(a, b *loader.Adapter) Combination{
		"only LoRA adapters": func(a, _ *loader.Adapter) Combination { a.Config.PeftType = "IA3"; return Combination{Type: "linear"} },
		"nn.Parameter": func(_, b *loader.Adapter) Combination {
			b.Config.TargetParameters = []string{"x"}
			return Combination{Type: "cat"}
		},
		"would be lost":      func(a, _ *loader.Adapter) Combination { a.Config.UseDoRA = true; return Combination{Type: "linear"} },
		"must have the same": func(a, _ *loader.Adapter) Combination { a.Config.R++; return Combination{Type: "ties"} },
		"[4 9]": func(a, b *loader.Adapter) Combination {
			b.Config.RankPattern = []loader.Pattern{{Key: "q", Value: 9}}
			return Combination{Type: "linear"}
		},
		"shapes differ": func(a, _ *loader.Adapter) Combination {
			a.Modules[0].B = a.Modules[0].A
			return Combination{Type: "svd"}
		},
		"ranks differ: 1 and": func(a, _ *loader.Adapter) Combination { a.Modules[0].Rank = 1; return Combination{Type: "linear"} },
	} {
		_, model, list, _ := openCombineCase(t, "weighted-linear")
		c := change(list[0], list[1])
		if _, err := Combine(model, list, []float64{1, 1}, c); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
	c, model, list, _ := openCombineCase(t, "weighted-linear")
	for _, a := range list {
		_ = a.Close()
	}
	if _, err := Combine(model, list, c.Combine.Weights, c.combination()); err == nil {
		t.Error("closed files are no error")
	}
	if _, err := Combine(model, list, nil, c.combination()); err == nil {
		t.Error("no weights are no error")
	}
}
