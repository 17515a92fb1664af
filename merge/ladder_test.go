package merge

import (
	"strings"
	"testing"
)

// The rungs of the demo: outputs of one size that lose less and less, and the
// adapter beside the base that loses nothing.
func TestLadder(t *testing.T) {
	p := openDemo(t, "base-nf4", "gocode-light")
	plan := p.NewPlan().SetMethodAll(Method{Kind: MethodCalibrated, Tokens: 512})
	run, err := NewLadderRun(t.Context(), p, plan, EvalOptions{Texts: shortText(t, 2048)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := run.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	l := run.Ladder()
	at := map[string]*Rung{}
	for i := range l.Rungs {
		at[l.Rungs[i].Name] = &l.Rungs[i]
	}
	for _, n := range []string{RungPeft, RungDithered, RungCalibrated, RungBF16, RungSeparate} {
		if at[n] == nil {
			t.Fatalf("no rung %s among %d", n, len(l.Rungs))
		}
	}
	var base, factors int64
	for _, w := range p.Model.Weights {
		base += w.Bytes()
	}
	for _, m := range p.Adapters[0].Modules {
		factors += m.A.Size + m.B.Size
	}
	for n, want := range map[string]int64{RungPeft: base, RungDithered: base, RungCalibrated: base, RungSeparate: base + factors} {
		if got := at[n].Bytes; got != want {
			t.Errorf("%s takes %d bytes, want %d", n, got, want)
		}
	}
	if got := at[RungBF16].Bytes; got <= base || float64(got) > (1+rungGrowth)*float64(base) {
		t.Errorf("%s takes %d bytes of %d", RungBF16, got, base)
	}
	// The demo's README: PEFT's merge of this adapter is as far from the separate
	// one as the base is, to a few percent; the same codes chosen otherwise are not.
	if v := at[RungPeft].Lost; v < 0.9 {
		t.Errorf("%s lost %v", RungPeft, v)
	}
	for _, n := range []string{RungDithered, RungCalibrated, RungBF16} {
		if v := at[n].Lost; !(v < 0.1) {
			t.Errorf("%s lost %v", n, v)
		}
	}
	if kl := at[RungSeparate].KL.Value; kl != 0 {
		t.Errorf("the adapter beside the base has KL %v from itself", kl)
	}
	if at[l.Advised].Bytes != base || l.Advised == RungPeft || !strings.Contains(l.Reason, "in a file of the same size") {
		t.Errorf("advised %s: %s", l.Advised, l.Reason)
	}
}

func TestAdvice(t *testing.T) {
	rung := func(name string, bytes int64, kl, err, lost Figure) Rung {
		return Rung{Name: name, Bytes: bytes, KL: Uncertain{kl, err}, Lost: lost}
	}
	for _, tt := range []struct {
		name, want string
		rungs      []Rung
	}{
		{"the least KL of one size", "b", []Rung{rung("a", 10, 0.9, 0.01, 0.9), rung("b", 10, 0.02, 0.001, 0.02), rung("c", 20, 0, 0, 0)}},
		{"a simpler one that cannot be told from it", "a", []Rung{rung("a", 10, 0.021, 0.001, 0.02), rung("b", 10, 0.02, 0.001, 0.02)}},
		{"a larger one where all of a size lose much", "c", []Rung{rung("a", 10, 0.9, 0.01, 0.9), rung("b", 10, 0.2, 0.01, 0.2), rung("c", 20, 0.01, 0.001, 0.01), rung("d", 30, 0, 0, 0)}},
		{"the last where nothing else will do", "d", []Rung{rung("a", 10, 0.9, 0.01, 0.9), rung("c", 20, 0.5, 0.01, 0.5), rung("d", 30, 0, 0, 0)}},
		{"nothing known of the first", "b", []Rung{rung("a", 10, noFigure(), noFigure(), noFigure()), rung("b", 20, 0, 0, 0)}},
	} {
		l := Ladder{Rungs: tt.rungs}
		l.advise()
		if l.Advised != tt.want || !strings.Contains(l.Reason, tt.want+" loses") {
			t.Errorf("%s: advised %s (%s), want %s", tt.name, l.Advised, l.Reason, tt.want)
		}
	}
}
