package tui

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"

	"mergescope/merge"
	"mergescope/quant"
	"mergescope/themes"
)

func lesson(t *quant.Trace, i, step int) *explainView {
	e := &explainView{}
	e.set(t, "layers.4 attn.q_proj", i)
	e.step(step - 1)
	return e
}

func TestExplainGolden(t *testing.T) {
	c := sheet(themes.NoColor, true, false)
	nf4 := traceOf(quant.NF4, 7, 0.1)
	nested := traceOf(quant.NF4, 7, 0.1)
	nested.Spec.Nested, nested.NewAbsmax = true, nested.RawAbsmax*1.001
	for _, tc := range []struct {
		name string
		e    *explainView
		c    canvas
		w, h int
	}{
		{"explain-1", lesson(nf4, 12, 1), c, 100, 30},
		{"explain-3", lesson(nf4, 12, 3), c, 100, 30},
		{"explain-5", lesson(nf4, 12, 5), c, 100, 30},
		{"explain-6", lesson(nf4, 12, 6), c, 100, 30},
		{"explain-nested", lesson(nested, 12, 6), c, 100, 30},
		{"explain-80", lesson(nf4, 12, 6), c, 78, 22},
		{"explain-60", lesson(nf4, 12, 6), c, 58, 14},
		{"explain-fp4", lesson(traceOf(quant.FP4, 7, 0.2), 11, 6), c, 100, 30},
		{"explain-int8", lesson(traceOf(quant.Int8, 7, 0.01), 12, 6), c, 100, 30},
		{"explain-bf16", lesson(traceOf(quant.BF16, 7, 0.03), 9, 6), c, 100, 22},
		{"explain-ascii", lesson(nf4, 12, 6), sheet(themes.NoColor, true, true), 100, 30},
	} {
		paneGolden(t, tc.name, tc.c, tc.e, tc.w, tc.h)
	}
}

// Each step adds its line; what is shown does not move.
func TestStepsAppearOneByOne(t *testing.T) {
	c := sheet(themes.NoColor, true, false)
	tr := traceOf(quant.NF4, 7, 0.1)
	names := []string{"1 unpack", "2 dequantize", "3 add", "4 new absmax", "5 requantize", "6 result"}
	var last []string
	for step := 1; step <= explainSteps; step++ {
		lines := lesson(tr, 12, step).draw(c, 98, 28)
		text := strings.Join(lines, "\n")
		for n, name := range names {
			if strings.Contains(text, name) != (n < step) {
				t.Errorf("step %d: %q shown is %v", step, name, n >= step)
			}
		}
		for y, l := range last {
			if strings.TrimSpace(l) != "" && strings.HasPrefix(l, names[0][:1]) && lines[y] != l {
				t.Errorf("step %d moves %q", step, l)
			}
		}
		last = lines
	}
	e := lesson(tr, 12, 1)
	e.step(-5)
	e.step(100)
	if e.shown != explainSteps {
		t.Errorf("past the end is step %d", e.shown)
	}
	e.set(traceOf(quant.NF4, 8, 0.1), "x", 3)
	if e.shown != explainSteps || e.at != 3 {
		t.Errorf("another block begins at step %d, weight %d", e.shown, e.at)
	}
}

// column returns where a mark stands in the first line that has it.
func markColumn(lines []string, mark string) int {
	for _, l := range lines {
		if i := strings.Index(l, mark); i >= 0 {
			return width(l[:i])
		}
	}
	return -1
}

// The marks stand where the numbers say: the stored code on its tick, the merged
// value between the boundaries of the code it rounds to.
func TestMarksStandWhereTheNumbersSay(t *testing.T) {
	c := sheet(themes.NoColor, true, false)
	tr := traceOf(quant.NF4, 7, 0.1)
	bounds := quant.Boundaries(quant.NF4, quant.CPU)
	for i := range tr.W {
		e := lesson(tr, i, 6)
		before, after := e.before(c, 200), e.after(c, 200)
		at := 1 + math.Round((float64(quant.CodeValue(quant.NF4, tr.OldCode[i]))+1)/2*197)
		if got := markColumn(before[1:2], "●"); got != int(at) {
			t.Errorf("weight %d: stored code %X at column %d, want %v", i, tr.OldCode[i], got, at)
		}
		if []rune(before[3])[int(at)] != '┴' {
			t.Errorf("weight %d: no tick below its code", i)
		}
		got := markColumn(after[1:2], "◆")
		want := 1 + math.Round((float64(tr.T[i]/tr.RawAbsmax)+1)/2*197)
		if math.Abs(float64(got)-want) > 0 {
			t.Errorf("weight %d: merged value at column %d, want %v", i, got, want)
		}
		lo, hi := -1.0, 1.0
		if code := tr.NewCode[i]; code > 0 {
			lo = float64(bounds[code-1])
		}
		if code := tr.NewCode[i]; code < 15 {
			hi = float64(bounds[code])
		}
		if float64(got) < math.Floor((lo+1)/2*197) || float64(got) > math.Ceil((hi+1)/2*197)+2 {
			t.Errorf("weight %d: column %d is outside the boundaries of code %X", i, got, tr.NewCode[i])
		}
		if n := strings.Count(after[4], "╵"); n != 15 {
			t.Errorf("%d boundaries drawn", n)
		}
	}
}

func TestWorstWeight(t *testing.T) {
	tr := traceOf(quant.NF4, 7, 0.1)
	e := lesson(tr, 0, 6)
	e.worst()
	for i := range tr.Out {
		if math.Abs(float64(tr.Out[i]-tr.T[i])) > math.Abs(float64(tr.Out[e.at]-tr.T[e.at])) {
			t.Fatalf("weight %d is worse than %d", i, e.at)
		}
	}
	tr.Out = slices.Clone(tr.Out)
	tr.Out[50] = float32(math.NaN())
	e.worst()
	if e.at != 50 {
		t.Errorf("NaN at 50 is not the worst, %d is", e.at)
	}
	e.weight(-100)
	if e.at != 0 {
		t.Errorf("the first weight is %d", e.at)
	}
}

func TestExplainText(t *testing.T) {
	tr := traceOf(quant.NF4, 7, 0.1)
	e := lesson(tr, 12, 1)
	if got, want := e.text(), (merge.Explain{Trace: tr, Layer: "layers.4 attn.q_proj"}).Text(12); got != want {
		t.Errorf("copies\n%s\nwant\n%s", got, want)
	}
	if (&explainView{}).text() != "" {
		t.Error("there is text without a weight")
	}
}

// The neighbour in the byte: with an even index this weight is the high nibble.
func TestNeighbour(t *testing.T) {
	tr := &quant.Trace{
		Spec: quant.Spec{Format: quant.NF4, Blocksize: 2}, W: make([]float32, 2),
		OldCode: []uint8{6, 5}, NewCode: []uint8{7, 4},
	}
	e := &explainView{trace: tr}
	if got, want := e.neighbour(), "neighbour (low nibble): 5 → 4   byte 0x65 → 0x74"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	e.at = 1
	if got, want := e.neighbour(), "neighbour (high nibble): 6 → 7   byte 0x65 → 0x74"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// Against the next value up in float32, and steps known from the formats.
func TestULP(t *testing.T) {
	for _, v := range []float32{1, 1.5, 0.02051, 3e-5, -7, 65504, 1e-40} {
		next := math.Nextafter32(float32(math.Abs(float64(v))), float32(math.Inf(1)))
		want := float64(next) - math.Abs(float64(v))
		if got := ulpOf(quant.F32, float64(v)); got != want {
			t.Errorf("f32 %v: %v, want %v", v, got, want)
		}
	}
	for _, tc := range []struct {
		f       quant.Format
		v, want float64
	}{
		{quant.BF16, 1, 1.0 / 128}, {quant.BF16, 0.02, 1.0 / 8192}, {quant.F16, 1, 1.0 / 1024}, {quant.F16, 65504, 32}, {quant.F16, 1e-6, 1.0 / (1 << 24)},
	} {
		if got := ulpOf(tc.f, tc.v); got != tc.want {
			t.Errorf("%s %v: %v, want %v", tc.f, tc.v, got, tc.want)
		}
	}
}

func TestHang(t *testing.T) {
	c := sheet(themes.NoColor, true, false)
	got := hang(c, "6 result      one two -3 four\n              five", 24)
	want := []string{"6 result one two -3 four", "five"}
	if !slices.Equal(got, want) {
		t.Errorf("without room to indent: %q, want %q", got, want)
	}
	got = hang(c, "6 result      twenty letters here  and -3.25e-04 more\n              five", 46)
	want = []string{"6 result      twenty letters here  and", "              -3.25e-04 more", "              five"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestExplainHasItsSize(t *testing.T) {
	broken := traceOf(quant.NF4, 7, 0.1)
	broken.T, broken.X, broken.D = slices.Clone(broken.T), slices.Clone(broken.X), slices.Clone(broken.D)
	nan := float32(math.NaN())
	broken.T[3], broken.X[3], broken.D[3] = nan, nan, nan
	zero := traceOf(quant.NF4, 7, 0.1)
	zero.RawAbsmax, zero.NewAbsmax, zero.OldAbsmax = 0, 0, 0
	traces := []*quant.Trace{broken, zero}
	for _, l := range blockLooks {
		traces = append(traces, traceOf(l.f, 5, l.ratio))
	}
	for k, tr := range traces {
		for _, ascii := range []bool{false, true} {
			c := sheet(themes.TrueColor, true, ascii)
			for step := 1; step <= explainSteps; step += 1 + k%2 {
				e := lesson(tr, 3, step)
				for w := 0; w <= 140; w += 11 {
					for h := 0; h <= 34; h += 1 + w%4 {
						checkDrawing(t, c, e.draw(c, w, h), w, h)
						if l, _ := e.title(w); w > 30 && !strings.Contains(ansi.Strip(l), "weight 3") {
							t.Fatalf("title %q", l)
						}
					}
				}
			}
		}
	}
}
