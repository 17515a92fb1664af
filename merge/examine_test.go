package merge

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"mergescope/quant"
)

// examineCases have whole and straddling blocks, nested scales, rows without
// blocks of their own, several updates and plain floats.
var examineCases = []struct{ name, layer string }{
	{"nf4-plain", "model.layers.0.mlp.down_proj"},
	{"nf4-dq", "model.layers.1.self_attn.v_proj"},
	{"sequence-nf4-dq", "model.layers.0.self_attn.q_proj"},
	{"int8", "model.layers.0.mlp.down_proj"},
	{"ragged", "model.layers.0.self_attn.q_proj"},
	{"nf4-bs128-narrow", "model.layers.0.self_attn.q_proj"},
	{"gpt2-f32", "transformer.h.0.attn.c_attn"},
}

// TestExamineIsJob compares every row and block with what a job computes.
func TestExamineIsJob(t *testing.T) {
	defer noLeaks(t)
	for _, c := range examineCases {
		t.Run(c.name, func(t *testing.T) {
			p, g := golden(t, c.name)
			plan := p.NewPlan()
			r, _ := runPlan(t, p, plan, Options{Unsafe: !g.Safe})
			at := slices.IndexFunc(r.Layers, func(l *LayerReport) bool { return l.Name == c.layer })
			whole, err := p.Examine(t.Context(), plan, c.layer, 0, 0, 1<<20, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			got := MetricsOf(whole.Sums)
			want := r.Layers[at].Metrics
			if got.Kept != want.Kept || got.ErrorRMS != want.ErrorRMS || got.CodesChanged != want.CodesChanged || got.SNR != want.SNR {
				t.Errorf("kept %v, job has %v", got.Kept, want.Kept)
			}
			rows := whole.Layer.Weight.Rows()
			if len(whole.Rows) != rows || whole.Tile.Rows != rows || whole.Tile.Cols != whole.Tile.Grid.Cols {
				t.Fatalf("%d rows, tile of %d by %d, want %d", len(whole.Rows), whole.Tile.Rows, whole.Tile.Cols, rows)
			}
			for _, span := range [][2]int{{0, 1}, {3, 4}, {5, 17}, {rows - 1, rows}, {1, rows}} {
				part, err := p.Examine(t.Context(), plan, c.layer, span[0], span[1], 1<<20, 1<<20)
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(part.Rows, whole.Rows[span[0]:span[1]]) {
					t.Errorf("rows %v differ from those of the whole", span)
				}
				for row := range part.Tile.Rows {
					for col := range part.Tile.Cols {
						for m := range NumMetrics {
							v, s := part.Tile.At(m, Worst, row, col)
							u, q := whole.Tile.At(m, Worst, row+span[0], col)
							if s != q || math.Float64bits(v) != math.Float64bits(u) {
								t.Fatalf("rows %v: %s of cell %d, %d is %g (%d), want %g (%d)", span, m.Info().Name, row, col, v, s, u, q)
							}
						}
					}
				}
			}
			worst := r.Layers[at].WorstBlock
			v, _ := whole.Tile.At(MetricKept, Worst, worst.Row, worst.Col/whole.Tile.Grid.Width)
			if math.Abs(v-float64(worst.Kept)) > 1e-6 {
				t.Errorf("worst block keeps %g, the tile says %g", float64(worst.Kept), v)
			}
		})
	}
}

// TestExplainIsJob compares the codes of traced blocks with the bytes written.
func TestExplainIsJob(t *testing.T) {
	for _, c := range examineCases {
		t.Run(c.name, func(t *testing.T) {
			p, g := golden(t, c.name)
			plan := p.NewPlan()
			_, m := runPlan(t, p, plan, Options{Unsafe: !g.Safe})
			w := p.Model.Weight(c.layer)
			data := m.tensors[w.Data.Name]
			for _, at := range [][2]int{{0, 0}, {3, 5}, {w.Rows() - 1, w.Cols() - 1}, {w.Rows() / 2, 33}} {
				tr, err := p.Explain(t.Context(), plan, c.layer, at[0], at[1])
				if err != nil {
					t.Fatal(err)
				}
				if first := tr.First + int64(tr.Cursor); first != int64(at[0]*w.Cols()+at[1]) {
					t.Errorf("cursor of %v is at %d", at, first)
				}
				if tr.Row*w.Cols()+tr.Col != int(tr.First) {
					t.Errorf("block of %v begins at row %d, column %d, flat %d", at, tr.Row, tr.Col, tr.First)
				}
				for i := range tr.W {
					flat := int(tr.First) + i
					switch {
					case w.Format.Is4Bit():
						if code := data[flat/2] >> (4 * (1 - flat%2)) & 15; code != tr.NewCode[i] {
							t.Fatalf("weight %d of %v: code %d, written is %d", i, at, tr.NewCode[i], code)
						}
					case w.Format == quant.Int8:
						if data[flat] != tr.NewCode[i] {
							t.Fatalf("weight %d of %v: code %d, written is %d", i, at, tr.NewCode[i], data[flat])
						}
					default:
						var v [1]float32
						quant.DecodeFloats(v[:], data[4*flat:4*flat+4], quant.F32)
						if v[0] != tr.Out[i] {
							t.Fatalf("weight %d of %v: %g, written is %g", i, at, tr.Out[i], v[0])
						}
					}
				}
			}
		})
	}
}

func TestExamineErrors(t *testing.T) {
	p, _ := golden(t, "nf4-dq")
	plan := p.NewPlan()
	const layer = "model.layers.0.self_attn.q_proj"
	for _, c := range []struct {
		layer    string
		row, col int
	}{{"model.layers.9.self_attn.q_proj", 0, 0}, {"model.embed_tokens", 0, 0}, {layer, 64, 0}, {layer, 0, 64}, {layer, -1, 0}} {
		if _, err := p.Explain(t.Context(), plan, c.layer, c.row, c.col); err == nil {
			t.Errorf("%+v: no error", c)
		}
	}
	if _, err := p.Examine(t.Context(), plan, layer, 64, 65, 10, 10); err == nil {
		t.Error("rows beyond the weight: no error")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Examine(ctx, plan, layer, 0, 0, 10, 10); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestRemembered asks that a nested weight is settled once, and again when the
// plan changes what is merged.
func TestRemembered(t *testing.T) {
	p := openProject(t, filepath.Join(goldenDir, "bases", "llama-nf4-dq"),
		[2]string{"a", filepath.Join(goldenDir, "cases", "nf4-dq", "adapter")})
	const layer = "model.layers.0.self_attn.q_proj"
	plan := p.NewPlan()
	first, err := p.subject(t.Context(), plan, layer)
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := p.subject(t.Context(), plan, layer); again != first {
		t.Error("computed twice")
	}
	half, _ := p.subject(t.Context(), plan.Assign("a", 0.5, layer), layer)
	if half == first || half.updates[0].(*lora).scale*2 != first.updates[0].(*lora).scale {
		t.Error("the plan's scale has no effect")
	}
	other, _ := p.subject(t.Context(), plan.Assign("a", 0.5, "model.layers.1.self_attn.q_proj"), layer)
	if other != first {
		t.Error("another layer's rule counts")
	}
}
