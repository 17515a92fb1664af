package merge

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// Every bound is found, by few questions.
func TestSmallest(t *testing.T) {
	for most := range 40 {
		for want := range most + 2 {
			asked := 0
			got, err := smallest(most, func(n int) (bool, error) {
				if asked++; n > most {
					t.Fatalf("asks about %d of %d", n, most)
				}
				return n >= want, nil
			})
			if got != want || err != nil || asked > 10 {
				t.Fatalf("%d of %d: %d after %d questions, %v", want, most, got, asked, err)
			}
		}
	}
	fails := errors.New("no")
	if _, err := smallest(9, func(n int) (bool, error) { return false, fails }); !errors.Is(err, fails) {
		t.Error(err)
	}
}

// The rank found reaches the KL and the one below does not, as running either plan
// by itself says; the codes alone are enough where they are, and what no rank
// reaches is an error.
func TestFitResidual(t *testing.T) {
	p := lightDemo(t, "base-nf4")
	text := shortText(t, 8192)
	text[0].Pieces[0] = text[0].Pieces[0][7168:]
	plan, opt := calibratedPlan(p, "calibrated,tokens=512")
	opt.Calibrate.Texts = shortText(t, 2048)
	eval := EvalOptions{Texts: text, Window: 512, Calibrate: opt.Calibrate}
	run := func(ctx context.Context, e *Eval) (*EvalReport, error) { return e.Run(ctx) }
	kl := func(rank int) float64 {
		q := eval
		q.Plans = []NamedPlan{{"x", plan.withResidual(rank)}}
		return float64(evaluate(t, p, plan, q).Variant("x").Figures.KL.Value)
	}
	alone, four := kl(0), kl(4)
	if !(four < alone) {
		t.Fatalf("KL %v without, %v with a residual of rank 4", alone, four)
	}
	f, err := p.FitResidual(t.Context(), plan, four, eval, run)
	if err != nil {
		t.Fatal(err)
	}
	if f.Rank < 1 || f.Rank > 4 || !(kl(f.Rank) <= four) || !(kl(f.Rank-1) > four) || float64(f.Reached().KL.Value) != kl(f.Rank) {
		t.Errorf("rank %d, steps %+v", f.Rank, f.Steps)
	}
	if m, err := ParseMethod(f.Plan.Method); err != nil || m.Residual != f.Rank || f.Reached().Bytes == 0 {
		t.Errorf("plans %s, %d bytes", f.Plan.Method, f.Reached().Bytes)
	}
	if f, err = p.FitResidual(t.Context(), plan, 2*alone, eval, run); err != nil || f.Rank != 0 || len(f.Steps) != 1 || f.Plan.Method != plan.Method {
		t.Errorf("twice the KL: %+v, %v", f, err)
	}
	if _, err = p.FitResidual(t.Context(), p.NewPlan(), 1, eval, run); err == nil || !strings.Contains(err.Error(), "no layer of method calibrated") {
		t.Errorf("without calibration: %v", err)
	}
}
