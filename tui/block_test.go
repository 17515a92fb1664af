package tui

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/charmbracelet/x/ansi"

	"mergescope/quant"
	"mergescope/themes"
	"mergescope/tui/screentest"
)

// blockLooks are blocks of every format, with deltas that vanish and that do not.
var blockLooks = []struct {
	name  string
	f     quant.Format
	ratio float64
}{
	{"nf4", quant.NF4, 0.1}, {"nf4-erased", quant.NF4, 0.02}, {"fp4", quant.FP4, 0.1}, {"int8", quant.Int8, 0.01}, {"bf16", quant.BF16, 0.03},
}

func blockWith(t *quant.Trace) *blockPane {
	b := &blockPane{}
	b.setTrace(t, "")
	b.move(12)
	return b
}

func TestBlockGolden(t *testing.T) {
	c := sheet(themes.NoColor, true, false)
	for _, l := range blockLooks {
		b := blockWith(traceOf(l.f, 7, l.ratio))
		for form := range numBlockForms {
			b.form = form
			paneGolden(t, fmt.Sprintf("block-%s-%d", l.name, form), c, b, 74, 12)
		}
	}
	b := blockWith(traceOf(quant.NF4, 7, 0.1))
	paneGolden(t, "block-tall", c, b, 74, 18)
	paneGolden(t, "block-low", c, b, 74, 6)
	paneGolden(t, "block-narrow", c, b, 32, 8)
	paneGolden(t, "block-ascii", sheet(themes.NoColor, true, true), b, 74, 18)
	paneGolden(t, "block-none", c, &blockPane{why: "not computed yet"}, 44, 6)
}

// The histogram counts each weight once before and once after, at the code it
// has, and what moves is what the kernels say changed.
func TestHistogram(t *testing.T) {
	for _, l := range blockLooks {
		tr := traceOf(l.f, 3, l.ratio)
		h := histogramOf(tr)
		if len(h.bins) != 16 {
			t.Errorf("%s: %d bins", l.name, len(h.bins))
		}
		before, after, movedCodes := 0, 0, 0
		for k, b := range h.bins {
			before, after, movedCodes = before+b.before, after+b.after, movedCodes+b.moved
			if tr.Spec.Format.Is4Bit() {
				var code uint8
				if _, err := fmt.Sscanf(b.label, "%X", &code); err != nil {
					t.Fatalf("%s: label %q", l.name, b.label)
				}
				want := 0
				for _, c := range tr.OldCode {
					if c == code {
						want++
					}
				}
				if b.before != want {
					t.Errorf("%s: %d weights of code %X, want %d", l.name, b.before, code, want)
				}
				if k > 0 {
					var last uint8
					fmt.Sscanf(h.bins[k-1].label, "%X", &last)
					if quant.CodeValue(l.f, last) > quant.CodeValue(l.f, code) {
						t.Errorf("%s: code %X comes before %X", l.name, last, code)
					}
				}
			}
		}
		if before != 64 || after != 64 || movedCodes != int(tr.Sum.Codes) {
			t.Errorf("%s: %d before, %d after, %d moved; want 64, 64, %d", l.name, before, after, movedCodes, tr.Sum.Codes)
		}
	}
}

// Half a step by hand: from the NF4 table the nearest boundary of code 8 lies
// 0.039790 below it, of code 15 0.138522 (spec of the formats, section 2.1).
func TestHalfStep(t *testing.T) {
	tr := &quant.Trace{
		Spec: quant.Spec{Format: quant.NF4, Blocksize: 2}, OldAbsmax: 2, NewAbsmax: 2, Extreme: 1,
		OldCode: []uint8{8, 15}, NewCode: []uint8{8, 15},
		W: []float32{2 * 0.0795803, 2}, D: []float32{-0.079, 0}, T: []float32{0.08, 2}, Out: []float32{2 * 0.0795803, 2},
	}
	f := factsOf(tr)
	if math.Abs(f.halfStep-2*0.039790) > 1e-6 {
		t.Errorf("half-step %v, want %v", f.halfStep, 2*0.039790)
	}
	if f.reach != 0 || f.asked != 1 || f.moved != 0 {
		t.Errorf("%d reach, %d asked, %d moved", f.reach, f.asked, f.moved)
	}
	if want := 0.079 / math.Sqrt2; math.Abs(f.deltaRMS-want) > 1e-8 {
		t.Errorf("delta rms %v, want %v", f.deltaRMS, want)
	}
	tr.D[0] = -0.0797
	if f := factsOf(tr); f.reach != 1 {
		t.Errorf("a delta past the boundary is not seen: %+v", f)
	}
	tr.D[0] = 0.0797 // upwards the boundary is at 0.040675
	if f := factsOf(tr); f.reach != 0 {
		t.Errorf("a delta short of the upper boundary counts: %+v", f)
	}
}

func TestSentence(t *testing.T) {
	erased := traceOf(quant.NF4, 7, 0.02)
	zero := traceOf(quant.NF4, 7, 0)
	broken := traceOf(quant.NF4, 7, 0.1)
	broken.D = slices.Clone(broken.D)
	broken.D[5], broken.D[6] = float32(math.NaN()), float32(math.Inf(1))
	stuck := traceOf(quant.NF4, 7, 0.02)
	stuck.NewAbsmax = stuck.OldAbsmax
	for _, tc := range []struct {
		t    *quant.Trace
		want string
	}{
		{erased, "no delta reaches half a step: no code moves, only the scale does (×1.007)"},
		{stuck, "no delta reaches half a step: no code moves, and the scale stays: nothing of it arrives"},
		{zero, "the adapter asks for nothing here"},
		{broken, "2 values of the delta are not finite"},
		{traceOf(quant.NF4, 7, 0.1), " of 64 codes move, kept "},
		{traceOf(quant.BF16, 7, 0.1), "the result has no codes"},
	} {
		if got := factsOf(tc.t).sentence(tc.t); !strings.Contains(got, tc.want) {
			t.Errorf("%q, want %q", got, tc.want)
		}
	}
}

// The cursor stays on its weight while the plan changes the delta, and follows
// a jump into another block.
func TestBlockCursor(t *testing.T) {
	b := blockWith(traceOf(quant.NF4, 7, 0.1))
	if b.weight() != 12 {
		t.Fatalf("cursor at %d", b.weight())
	}
	b.setTrace(nil, "not computed yet")
	b.move(5)
	b.setTrace(traceOf(quant.NF4, 7, 0.2), "")
	other := traceOf(quant.NF4, 8, 0.2)
	other.First += 64
	other.Cursor = 40
	b.setTrace(other, "")
	if b.weight() != 40 {
		t.Errorf("in another block the cursor is at %d, want 40", b.weight())
	}
	b.setTrace(other, "")
	b.move(1)
	b.setTrace(other, "")
	if b.weight() != 41 {
		t.Errorf("the same block again moves the cursor to %d", b.weight())
	}
	b.move(1000)
	if b.weight() != 63 {
		t.Errorf("the last weight is %d", b.weight())
	}
	if l, r := b.title(80); !strings.Contains(l, "r2113 c37  weight 63") || !strings.HasPrefix(r, "absmax 0.0") {
		t.Errorf("title %q %q", l, r)
	}
}

// Dequantized layers lose their codes; the trace then has none after the merge.
func TestBlockWithoutCodes(t *testing.T) {
	tr := traceOf(quant.NF4, 7, 0.1)
	tr.NewCode = nil
	b := blockWith(tr)
	for range numBlockForms {
		lines := b.draw(sheet(themes.NoColor, true, false), 74, 12)
		if len(lines) != 12 {
			t.Errorf("%d lines", len(lines))
		}
		b.cycle()
	}
}

// checkDrawing checks that a pane draws h lines of w cells, all ASCII if it must.
func checkDrawing(t *testing.T, c canvas, lines []string, w, h int) {
	t.Helper()
	if h <= 0 {
		if len(lines) != 0 {
			t.Fatalf("%d lines in a height of %d", len(lines), h)
		}
		return
	}
	if err := screentest.Fits(strings.Join(lines, "\n"), max(0, w), h); err != nil {
		t.Fatal(err)
	}
	for _, l := range lines {
		for _, r := range ansi.Strip(l) {
			if c.ascii && r > unicode.MaxASCII {
				t.Fatalf("%q in ASCII: %q", r, l)
			}
		}
	}
}

func TestBlockHasItsSize(t *testing.T) {
	for _, l := range blockLooks {
		b := blockWith(traceOf(l.f, 5, l.ratio))
		for _, ascii := range []bool{false, true} {
			c := sheet(themes.ANSI256, true, ascii)
			for form := range numBlockForms {
				b.form = form
				for w := 0; w <= 130; w += 7 {
					for h := 0; h <= 24; h += 1 + w%3 {
						checkDrawing(t, c, b.draw(c, w, h), w, h)
					}
				}
			}
		}
	}
}
