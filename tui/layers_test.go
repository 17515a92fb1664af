package tui

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mergescope/loader"
	"mergescope/merge"
)

// bookOf is a ledger over layers of the given names.
func bookOf(names ...string) *ledger {
	b := &ledger{at: map[string]int{}}
	for i, n := range names {
		b.layers = append(b.layers, merge.Layer{Index: i, Weight: &loader.Weight{Name: n}})
		b.sigs = append(b.sigs, n)
		b.at[n] = i
	}
	b.reports = make([]*merge.LayerReport, len(names))
	return b
}

func treeOf(names ...string) *layersPane {
	p := &layersPane{}
	p.setBook(bookOf(names...))
	p.foldAll(false)
	p.resize(100)
	return p
}

// shownRows are the rows as text, two spaces for each level.
func shownRows(p *layersPane) []string {
	var out []string
	for _, i := range p.rows {
		out = append(out, strings.Repeat("  ", p.nodes[i].depth)+p.nodes[i].label)
	}
	return out
}

func TestFlatten(t *testing.T) {
	p := treeOf(
		"lm_head",
		"model.embed_tokens",
		"model.layers.2.mlp.up_proj",
		"model.layers.2.self_attn.q_proj",
		"model.layers.10.block_sparse_moe.experts.3.w1",
		"model.layers.10.block_sparse_moe.experts.3.w2",
		"model.layers.10.block_sparse_moe.gate",
	)
	want := []string{
		"lm_head",
		"embed_tokens",
		"layers.2",
		"  mlp.up_proj",
		"  self_attn.q_proj",
		"layers.10",
		"  block_sparse_moe.experts.3",
		"    w1",
		"    w2",
		"  block_sparse_moe.gate",
	}
	if diff := cmp.Diff(want, shownRows(p)); diff != "" {
		t.Errorf("rows:\n%s", diff)
	}
}

func TestFoldingKeepsTheCursor(t *testing.T) {
	p := treeOf("m.l.0.a", "m.l.0.b", "m.l.1.a", "m.l.1.b")
	p.reveal("m.l.1.b")
	if p.fold(true); p.node().path != "m.l.1" {
		t.Errorf("closing a layer's group leaves the cursor on %q", p.node().path)
	}
	if diff := cmp.Diff([]string{"l.0", "  a", "  b", "l.1"}, shownRows(p)); diff != "" {
		t.Error(diff)
	}
	p.foldAll(true)
	p.reveal("m.l.0.b")
	if diff := cmp.Diff([]string{"l.0", "  a", "  b", "l.1"}, shownRows(p)); diff != "" {
		t.Error(diff)
	}
}

// metrics is a report over n weights with the sums RD, DD, EE and TT.
func metrics(n int64, rd, dd, ee, tt float64) *merge.LayerReport {
	fn := float64(n)
	m := noFigures().Metrics
	m.Kept = merge.Figure(rd / dd)
	m.DeltaRMS = merge.Figure(math.Sqrt(dd / fn))
	m.WeightRMS = 1
	m.ErrorRMS = merge.Figure(math.Sqrt(ee / fn))
	m.ErrorRelative = merge.Figure(math.Sqrt(ee / tt))
	m.CodesChanged = 0.25
	return &merge.LayerReport{Shape: []int64{n, 1}, Metrics: m}
}

func TestGroupFiguresAreEnergyWeighted(t *testing.T) {
	b := bookOf("l.0.a", "l.0.b", "l.0.c")
	b.reports[0] = metrics(100, 2, 4, 9, 50)
	b.reports[1] = metrics(300, 30, 36, 16, 350)
	got := b.overall()
	// product.md, section 3: sums of numerators over sums of denominators.
	for _, c := range []struct {
		name      string
		got, want float64
	}{
		{"kept", float64(got.Kept), 32.0 / 40},
		{"error_relative", float64(got.ErrorRelative), math.Sqrt(25.0 / 400)},
		{"snr_db", float64(got.SNR), 10 * math.Log10(40.0/25)},
		{"codes_changed", float64(got.CodesChanged), 0.25},
	} {
		if math.Abs(c.got-c.want) > 1e-6*math.Abs(c.want) {
			t.Errorf("%s = %v, want %v", c.name, c.got, c.want)
		}
	}
	if kept := float64(bookOf("a").overall().Kept); !math.IsNaN(kept) {
		t.Errorf("kept without reports is %v, want NaN", kept)
	}
}

func TestSortPutsUnknownLast(t *testing.T) {
	p := treeOf("l.0.a", "l.0.b", "l.1.a", "l.1.b")
	p.book.reports[0] = metrics(10, 0.9, 1, 1, 10)
	p.book.reports[2] = metrics(10, 0.1, 1, 1, 10)
	p.book.reports[3] = metrics(10, 0.5, 1, 1, 10)
	p.order = 1
	p.rebuild()
	var got []string
	for _, i := range p.rows {
		got = append(got, p.nodes[i].path)
	}
	if diff := cmp.Diff([]string{"l.1.a", "l.1.b", "l.0.a", "l.0.b"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestMarks(t *testing.T) {
	p := treeOf("l.0.a", "l.0.b", "l.1.a", "l.1.b")
	p.find("l.0")
	p.mark() // the group
	if diff := cmp.Diff([]int{0, 1}, p.chosen()); diff != "" {
		t.Error(diff)
	}
	p.find("l.0")
	p.mark() // all of it was marked
	if len(p.marks()) != 0 {
		t.Errorf("marks %v after marking twice", p.marks())
	}
	p.find("l.0.b")
	p.beginRange()
	p.move(2) // over l.1 to l.1.a
	if diff := cmp.Diff([]int{1, 2, 3}, p.marks()); diff != "" {
		t.Error("a range over a group takes all of it:", diff)
	}
	p.endRange()
	p.markAll(false)
	p.setFilter("a")
	p.markAll(true)
	if diff := cmp.Diff([]int{0, 2}, p.chosen()); diff != "" {
		t.Error(diff)
	}
	p.markAll(false)
	p.find("l.1")
	if diff := cmp.Diff([]int{2}, p.chosen()); diff != "" {
		t.Error("an edit of a group reaches what the filter hides:", diff)
	}
}

func TestShortNamesDiffer(t *testing.T) {
	got := shortNames([]string{"gocode", "gocode-light", "gocode-mid", "other/long-adapter-name", "other/long-adapter-game"}, 7)
	want := map[string]string{
		"gocode": "gocode", "gocode-light": "light", "gocode-mid": "mid",
		"other/long-adapter-name": "name", "other/long-adapter-game": "game",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	same := shortNames([]string{"aaaaaaaaaa1", "aaaaaaaaaa2"}, 4)
	if same["aaaaaaaaaa1"] == same["aaaaaaaaaa2"] {
		t.Errorf("two adapters are both called %q", same["aaaaaaaaaa1"])
	}
}

func TestUndoBringsReportsBack(t *testing.T) {
	r := demoRig(t, 120, 36, nil)
	i := r.a.tree.current()
	before := r.a.book.report(i)
	if before == nil {
		t.Fatal("no report after the first dry run")
	}
	r.press("+")
	if after := r.a.book.report(i); after == nil || after == before {
		t.Errorf("figures did not follow the scale: %v", after)
	}
	r.press("z")
	if got := r.a.book.report(i); got != before {
		t.Error("undo computed the figures again")
	}
}

// A range begins at a layer, not at a row: rows go when figures or filters do.
func TestRangeOverRowsThatGo(t *testing.T) {
	r := demoRig(t, 120, 36, nil)
	r.press("/")
	r.typed("nothing like this")
	r.press("enter", "V")
	if r.a.tree.anchor >= 0 || r.a.tree.marks() != nil {
		t.Error("a range begins on an empty list")
	}
	r.press("esc", "/")
	r.typed("kept<0.1")
	r.press("enter", "G", "V", "k")
	if len(r.a.tree.marks()) == 0 {
		t.Fatal("no range")
	}
	for i := range r.a.book.reports {
		r.a.book.reports[i] = nil // as after a change of the plan
	}
	r.a.tree.refresh()
	if r.a.tree.anchor >= len(r.a.tree.rows) {
		t.Error("the range begins beyond the rows")
	}
	r.a.drawn.touch()
	r.text()
}
