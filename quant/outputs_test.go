package quant

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// feedbackOutputs makes a Feedback that answers for the outputs y = T x of a layer of
// which the panel's rows begin at first.
func (x *shaped) feedbackOutputs(t *testing.T, first int, damping float64, own *Own) *Feedback {
	t.Helper()
	f, err := x.feedbackOf(false, damping, own)
	if err != nil {
		t.Fatal(err)
	}
	n := x.p.Cols
	panels := f.Outputs(first + x.p.Rows)
	for b, p := range panels {
		for i := range p {
			p[i] = float32(math.NaN()) // of rows that are not asked for
		}
		for r := range x.p.Rows {
			row := p[(first+r)*ProductCols:][:ProductCols]
			for c := range row {
				at := b*ProductCols + c
				if at >= n {
					continue
				}
				j, sum := f.Order()[at], 0.0
				for i := range n { // E[x x'^T] is E[x' x'^T] less E[(x'-x) x'^T]
					sum += float64(x.p.T[r*n+i]) * (float64(x.h[i*n+j]) - float64(x.cross[i*n+j]))
				}
				row[c] = float32(sum)
			}
		}
	}
	if err := f.AnswerOutputs(panels, damping, own, inOrder); err != nil {
		t.Fatal(err)
	}
	return f
}

// Codes chosen for outputs are those nearest to where M and G want the weights,
// and their loss is the sum worked out from these.
func TestFeedbackOutputs(t *testing.T) {
	const damping = 0.02
	for _, cols := range []int{40, 130} {
		x := newShaped(NF4, 13, cols)
		m, g := x.metric(damping)
		fb := x.feedbackOutputs(t, 0, damping, nil)
		if cols == 40 {
			x.wantNearest(t, fb, m, g)
		}
		var c Chooser
		c.Load(fb, &x.p, x.p.Absmax, 0)
		constant := slices.Clone(c.Loss(x.p.T))
		for r, l := range c.Loss(x.p.W) {
			want := constant[r] + x.sum(m, g, r, x.p.W[r*cols:(r+1)*cols])
			if math.Abs(l-want) > 1e-3*math.Abs(want)+1e-8 {
				t.Errorf("%d columns, row %d: loss %v, want %v", cols, r, l, want)
			}
		}
	}
}

// An own metric and rows further down a layer count as with cross moments.
func TestFeedbackOutputsOwn(t *testing.T) {
	const cols, rows, first, damping = 70, 25, 36, 0.01
	for _, rank := range []int{3, 40} {
		x := newShaped(NF4, rows, cols)
		rng := rand.New(rand.NewPCG(9, 9))
		own := &Own{Rank: rank, A: make([]float32, rank*cols), KA: make([]float32, rank*cols)}
		for i := range own.A {
			own.A[i] = float32(rng.NormFloat64()) / float32(rank)
			own.KA[i] = 2 * own.A[i]
		}
		cross, err := x.feedbackOf(true, damping, own)
		if err != nil {
			t.Fatal(err)
		}
		var a, b Chooser
		a.Load(cross, &x.p, x.p.Absmax, 0)
		b.Load(x.feedbackOutputs(t, first, damping, own), &x.p, x.p.Absmax, first)
		want, got := a.Loss(x.p.W), b.Loss(x.p.W)
		for r, w := range want {
			// What rounding adds to G adds at most as much over the root of the damping
			// to the root of the loss.
			noise := 0.0
			for at := range cols {
				v, _ := x.answerNoise(&a, r, at)
				noise += v
			}
			if math.Abs(math.Sqrt(got[r])-math.Sqrt(w)) > sigmas*math.Sqrt(noise/damping)+1e-3*math.Sqrt(w) {
				t.Errorf("rank %d, row %d: loss %v, want %v", rank, r, got[r], w)
			}
		}
		codes, same := make([]byte, len(x.p.Codes)), make([]byte, len(x.p.Codes))
		a.Choose(codes, x.p.Spec)
		b.Choose(same, x.p.Spec)
		if d := differing(codes, same); d > len(codes)/10 { // one moves others after it
			t.Errorf("rank %d: %d of %d codes differ", rank, d, len(codes))
		}
	}
}

func differing(a, b []byte) (n int) {
	for i := range a {
		if a[i] != b[i] {
			n++
		}
	}
	return n
}
