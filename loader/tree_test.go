package loader

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func TestNaturalCompare(t *testing.T) {
	sorted := []string{
		"", "a", "a.b", "a1", "a01", "a1.b", "a2", "a10", "ab", "layers.1.x", "layers.2.x", "layers.9", "layers.10.x",
		"layers.18446744073709551616", "layers.18446744073709551617", "lm_head", "x-2-of-10", "x-10-of-10",
	}
	sorted[4], sorted[5] = sorted[5], sorted[4] // a1.b before a01: 1 is shorter than 01
	for i, a := range sorted {
		for j, b := range sorted {
			if got := NaturalCompare(a, b); (got < 0) != (i < j) || (got > 0) != (i > j) {
				t.Errorf("%q %q: %d", a, b, got)
			}
		}
	}
}

// TestNaturalOrder checks what a tree relies on: a total order in which the
// names below one path lie together.
func TestNaturalOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var names []string
	for range 400 {
		var b strings.Builder
		for range 1 + rng.IntN(6) {
			b.WriteByte("01a.-9"[rng.IntN(6)])
		}
		names = append(names, b.String())
	}
	slices.SortFunc(names, NaturalCompare)
	for i := range names {
		for j := range names[:i] {
			if NaturalCompare(names[j], names[i]) > 0 {
				t.Fatalf("%q after %q", names[j], names[i])
			}
		}
		dot := strings.LastIndexByte(names[i], '.')
		for j := i + 2; dot >= 0 && j < len(names); j++ {
			if prefix := names[i][:dot+1]; strings.HasPrefix(names[j], prefix) && !strings.HasPrefix(names[j-1], prefix) {
				t.Fatalf("%q lies between %q and %q", names[j-1], names[i], names[j])
			}
		}
	}
}

func tree(names ...string) []*Node {
	slices.SortFunc(names, NaturalCompare)
	var ws []*Weight
	for _, n := range names {
		ws = append(ws, &Weight{Name: n, Param: n + ".weight"})
	}
	return Tree(ws)
}

func outline(nodes []*Node, indent string) string {
	var b strings.Builder
	for _, n := range nodes {
		leaf := ""
		if n.Weight != nil {
			leaf = " *"
		}
		b.WriteString(indent + n.Label + leaf + "\n" + outline(n.Children, indent+"  "))
	}
	return b.String()
}

func TestTree(t *testing.T) {
	got := outline(tree("lm_head", "model.embed_tokens", "model.layers.10.mlp.up_proj", "model.layers.2.mlp.up_proj", "model.layers.2.self_attn.q_proj",
		"model.layers.2.moe.experts.0.w1", "model.layers.2.moe.experts.11.w1", "model.layers.2.moe.experts.11.w2", "model.layers.2.moe.gate",
		"vision.blocks.0.mlp.0", "0.dense", "h.3"), "")
	want := `0.dense *
h.3 *
lm_head *
model.embed_tokens *
model.layers.2
  mlp.up_proj *
  moe.experts.0
    w1 *
  moe.experts.11
    w1 *
    w2 *
  moe.gate *
  self_attn.q_proj *
model.layers.10
  mlp.up_proj *
vision.blocks.0
  mlp.0 *
`
	if got != want {
		t.Errorf("tree\n%s, want\n%s", got, want)
	}
	if Tree(nil) != nil {
		t.Error("tree of nothing")
	}
}

// TestTreeLarge: 7000 weights, each of which is in the tree once, under the
// groups its name spells.
func TestTreeLarge(t *testing.T) {
	var names []string
	for l := range 50 {
		for e := range 46 {
			for _, w := range []string{"w1", "w2", "w3"} {
				names = append(names, fmt.Sprintf("model.layers.%d.moe.experts.%d.%s", l, e, w))
			}
		}
		names = append(names, fmt.Sprintf("model.layers.%d.moe.gate", l), fmt.Sprintf("model.layers.%d.q_proj", l))
	}
	roots := tree(names...)
	if len(roots) != 50 {
		t.Fatalf("%d roots", len(roots))
	}
	seen := 0
	var walk func(path string, nodes []*Node)
	walk = func(path string, nodes []*Node) {
		for _, n := range nodes {
			if n.Name != strings.TrimPrefix(path+"."+n.Label, ".") {
				t.Fatalf("%s under %s is %s", n.Label, path, n.Name)
			}
			if n.Weight != nil {
				seen++
			}
			walk(n.Name, n.Children)
		}
	}
	walk("", roots)
	if seen != 7000 || len(roots[0].Children) != 48 {
		t.Errorf("%d weights, %d children", seen, len(roots[0].Children))
	}
}
