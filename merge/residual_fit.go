package merge

import (
	"context"
	"errors"
	"fmt"
)

// ResidualFit is the search for the smallest residual with which calibrated codes
// reach a KL.
type ResidualFit struct {
	Target float64       `json:"target_kl"`
	Rank   int           `json:"rank"`  // 0: the codes alone reach it
	Steps  []ResidualTry `json:"steps"` // in the order in which they were tried
	Plan   Plan          `json:"-"`     // with that rank
}

// ResidualTry is a rank that was tried, with what running the model over the text
// showed.
type ResidualTry struct {
	Rank  int       `json:"rank"`
	KL    Uncertain `json:"kl"` // from the adapters kept separate
	Bytes int64     `json:"bytes"`
}

// Reached is the try of the rank found.
func (f *ResidualFit) Reached() ResidualTry {
	for _, s := range f.Steps {
		if s.Rank == f.Rank {
			return s
		}
	}
	return ResidualTry{}
}

// FitResidual merges calibrated layers of a plan without writing, with residuals of
// several ranks, and runs each over the texts of opt; run does that, and may show
// how far it is. It returns the smallest rank of those tried that has at most the
// target KL where all larger ones that were tried have so too: ranks are doubled
// until one has, and then halved in between.
func (p *Project) FitResidual(ctx context.Context, plan Plan, target float64, opt EvalOptions, run func(context.Context, *Eval) (*EvalReport, error)) (*ResidualFit, error) {
	layers, _ := p.Layers(plan)
	most := 0
	for i := range layers {
		if l := &layers[i]; l.calibrated() {
			most = max(most, min(l.Weight.Rows(), l.Weight.Cols(), maxResidual))
		}
	}
	if most == 0 {
		return nil, errors.New("a residual carries what calibrated codes leave, and the plan has no layer of method calibrated")
	}
	f := &ResidualFit{Target: target}
	reaches := func(rank int) (bool, error) {
		opt.Plans = []NamedPlan{{fmt.Sprintf("residual of rank %d", rank), plan.withResidual(rank)}}
		e, err := NewEval(p, plan, opt)
		if err != nil {
			return false, err
		}
		r, err := run(ctx, e)
		if err != nil {
			return false, err
		}
		v := r.Variant(opt.Plans[0].Name)
		if v == nil {
			return false, errors.New("the run ended before there were figures")
		}
		try := ResidualTry{Rank: rank, KL: Uncertain{v.Figures.KL.Value, v.Figures.KLSequences.Error}}
		for _, l := range e.Merged(v.Name).Layers {
			if l.Residual != nil {
				try.Bytes += l.Residual.Bytes
			}
		}
		f.Steps = append(f.Steps, try)
		return float64(try.KL.Value) <= target, nil
	}
	var err error
	if f.Rank, err = smallest(most, reaches); err != nil {
		return f, err
	}
	if f.Rank > most {
		return f, fmt.Errorf("a residual of rank %d leaves a KL of %.4g, more than %.4g", most, float64(f.Steps[len(f.Steps)-1].KL.Value), target)
	}
	f.Plan = plan.withResidual(f.Rank)
	return f, nil
}

// smallest returns the smallest of 0 to most that reaches something, most+1 if none
// does, if all above one that does do so. It asks about few.
func smallest(most int, reaches func(n int) (bool, error)) (int, error) {
	low, high := -1, 0 // low does not, high is asked next
	for {
		ok, err := reaches(high)
		if err != nil {
			return 0, err
		}
		if ok {
			break
		}
		if low = high; high == most {
			return most + 1, nil
		}
		high = min(max(4, 2*high), most)
	}
	for high-low > 1 {
		mid := (low + high) / 2
		ok, err := reaches(mid)
		if err != nil {
			return 0, err
		}
		if ok {
			high = mid
		} else {
			low = mid
		}
	}
	return high, nil
}

// withResidual returns the plan with a residual of that rank beside all calibrated
// layers, none if it is 0.
func (p Plan) withResidual(rank int) Plan {
	set := func(text string) string {
		m, err := ParseMethod(text)
		if err != nil || m.Kind != MethodCalibrated {
			return text
		}
		m.Residual = rank
		return m.String()
	}
	p = p.clone()
	p.Method = set(p.Method)
	for i := range p.Rules {
		p.Rules[i].Method = set(p.Rules[i].Method)
	}
	return p
}
