package tui

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"

	"mergescope/loader"
	"mergescope/merge"
	"mergescope/quant"
	"mergescope/themes"
)

// lightDemo opens the demo with its light adapter on every layer it fits.
func lightDemo(t testing.TB) (*merge.Project, merge.Plan) {
	t.Helper()
	src := loader.Source{Demo: os.DirFS("../testdata/demo")}
	model, err := src.Checkpoint("demo")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { model.Close() })
	ad, err := src.Adapter("demo:gocode-light")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ad.Close() })
	return merge.NewProject(model, ad), merge.NewPlan("demo", merge.AdapterRef{Name: ad.Name, Path: ad.Path})
}

// What the pane says of a block is what an exact trace of that block says, and
// the cursor names the block the trace is of.
func TestFootersAgreeWithTraces(t *testing.T) {
	p, plan := lightDemo(t)
	layers, _ := p.Layers(plan)
	c := sheet(themes.NoColor, true, false)
	const w, h = 100, 14
	for _, name := range []string{"model.layers.0.self_attn.q_proj", "model.layers.3.mlp.down_proj"} {
		b := &blocksPane{}
		for i := range layers {
			if layers[i].Weight.Name == name {
				b.setLayer(&layers[i])
			}
		}
		fetch := func() {
			for s, ok := b.want(w, h); ok; s, ok = b.want(w, h) {
				ex, err := p.Examine(t.Context(), plan, s.layer, s.r0, s.r1, s.rows, s.cols)
				if err != nil {
					t.Fatal(err)
				}
				b.setTile(ex.Tile, s.r0, s.r1)
			}
		}
		fetch()
		b.draw(c, w, h)
		for b.zoom(1) {
			fetch()
		}
		for _, at := range []struct{ row, col int }{{0, 0}, {17, 128}, {100, 64}, {191, 128}} {
			b.jump(at.row, at.col)
			fetch()
			row, col := b.cursor()
			tr, err := p.Explain(t.Context(), plan, name, row, col)
			if err != nil {
				t.Fatal(err)
			}
			if tr.Row != at.row || tr.Col != at.col {
				t.Errorf("%s: the cursor at %+v is the block at %d,%d", name, at, tr.Row, tr.Col)
			}
			var s quant.Sums
			s.Add(tr.Sum)
			g := c.glyphs()
			want := fmt.Sprintf("block r%d c%d (weights %d–%d)  kept %s  flips %d/64  snr %s  absmax %s", at.row, at.col/64, at.col, at.col+63,
				g.figure(merge.MetricKept, merge.MetricKept.Of(s)), tr.Sum.Codes,
				g.figure(merge.MetricSNR, merge.MetricSNR.Of(s)), g.figure(merge.MetricGrowth, merge.MetricGrowth.Of(s)))
			if got := ansi.Strip(b.draw(c, w, h)[h-1]); !strings.HasPrefix(got, want) {
				t.Errorf("%s: footer %q, the trace says %q", name, got, want)
			}
		}
	}
}

func BenchmarkBlocksDraw(b *testing.B) {
	p, plan := lightDemo(b)
	layers, _ := p.Layers(plan)
	pane := &blocksPane{}
	for i := range layers {
		if layers[i].Weight.Name == "model.layers.0.mlp.down_proj" {
			pane.setLayer(&layers[i])
		}
	}
	s, _ := pane.want(118, 33)
	ex, err := p.Examine(b.Context(), plan, s.layer, s.r0, s.r1, merge.TileRows, merge.TileCols)
	if err != nil {
		b.Fatal(err)
	}
	pane.setTile(ex.Tile, s.r0, s.r1)
	c := sheet(themes.TrueColor, true, false)
	b.ReportAllocs()
	for b.Loop() {
		pane.draw(c, 118, 33)
	}
}
