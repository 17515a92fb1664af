package merge

import (
	"context"
	"fmt"
	"math"

	"mergescope/quant"
)

// Names of rungs, from what PEFT does to what loses nothing.
const (
	RungPeft       = "peft"
	RungDithered   = "dithered"
	RungCalibrated = "calibrated"
	RungBF16       = "bf16-worst"
	RungSeparate   = "separate"
)

// Limits of the advice.
const (
	rungGrowth = 0.25 // by how much of its size RungBF16 may let the layers grow
	rungKeeps  = 0.9  // and below which kept a layer is among the worst
	rungLoses  = 0.1  // effect lost above which a larger output is advised
)

// Rung is one way to ship adapters, with what it costs and what it loses.
type Rung struct {
	Name     string    `json:"name"`
	What     string    `json:"what"`  // in words
	Bytes    int64     `json:"bytes"` // of weights as written, adapters beside them included
	Kept     Figure    `json:"kept"`
	OnInputs Figure    `json:"kept_on_inputs"`
	NLL      Uncertain `json:"nll"`
	KL       Uncertain `json:"kl"` // from the adapters kept separate; its error is over sequences
	Lost     Figure    `json:"effect_lost"`
	Seconds  float64   `json:"merge_seconds"`
	Plan     Plan      `json:"-"`
}

// Ladder is the ways to ship the adapters of a plan side by side, all measured in
// one run of the model.
type Ladder struct {
	Version int         `json:"version"`
	Rungs   []Rung      `json:"rungs"`
	Advised string      `json:"advised"` // name of a rung
	Reason  string      `json:"reason"`  // with the figures it rests on
	Run     *EvalReport `json:"run"`
}

// LadderRun is an evaluation of the ways to ship adapters.
type LadderRun struct {
	*Eval
	plans []NamedPlan
	bytes []int64 // of each plan
}

// NewLadderRun prepares the run. It merges once without writing, to know which
// layers keep least; opt.Plans is ignored.
func NewLadderRun(ctx context.Context, p *Project, plan Plan, opt EvalOptions) (*LadderRun, error) {
	plans, err := p.ladderPlans(ctx, plan, Options{Workers: opt.Workers, Unsafe: opt.Unsafe})
	if err != nil {
		return nil, err
	}
	opt.Plans = plans
	e, err := NewEval(p, plan, opt)
	if err != nil {
		return nil, err
	}
	r := &LadderRun{Eval: e, plans: plans}
	for _, n := range plans {
		r.bytes = append(r.bytes, p.planBytes(n.Plan))
	}
	return r, nil
}

// ladderPlans returns the plans to hold against each other.
func (p *Project) ladderPlans(ctx context.Context, plan Plan, opt Options) ([]NamedPlan, error) {
	plan.Onto, plan.Quantize = "", ""
	method := func(kind string) Plan {
		m, err := ParseMethod(plan.Method)
		if err != nil || m.Kind != kind { // else with the plan's own options
			m = Method{Kind: kind}
		}
		return plan.SetOutputAll(Same).SetMethodAll(m)
	}
	job, err := NewJob(p, method(MethodPeft), opt)
	if err != nil {
		return nil, err
	}
	dry, err := job.Run(ctx)
	if err != nil {
		return nil, err
	}
	size := p.planBytes(method(MethodPeft))
	worst := p.KeepAbove(method(MethodCalibrated), dry, rungKeeps, int64(rungGrowth*float64(size)))
	plans := []NamedPlan{
		{RungPeft, method(MethodPeft)},
		{RungDithered, method(MethodDithered)},
		{RungCalibrated, method(MethodCalibrated)},
	}
	if len(worst.Layers) > 0 {
		plans = append(plans, NamedPlan{RungBF16, worst.Plan})
	}
	apart := plan.SetOutputAll(Separate)
	if _, err := p.residualLoRA(apart); err == nil { // else adapters of a kind that cannot be kept beside
		plans = append(plans, NamedPlan{RungSeparate, apart})
	}
	return plans, nil
}

// planBytes is what the weights of a plan take as they are written.
func (p *Project) planBytes(plan Plan) int64 {
	layers, _ := p.Layers(plan)
	var n int64
	for i := range layers {
		n += layers[i].OutBytes()
	}
	return n
}

// OutBytes is what a layer takes as it is written, an adapter beside it
// included.
func (l *Layer) OutBytes() int64 {
	n := l.Weight.Bytes()
	if f, ok := quant.ParseFormat(string(l.Output)); ok {
		n = f.Bytes(l.Weight.Numel())
	}
	if l.Output == Separate {
		for _, s := range l.Steps {
			if s.Module.A != nil && s.Module.B != nil {
				n += s.Module.A.Size + s.Module.B.Size
			}
		}
	}
	return n
}

// Ladder judges what was run so far, nil before the first pass.
func (e *LadderRun) Ladder() *Ladder {
	l := &Ladder{Version: 1, Run: e.Snapshot().Report}
	if l.Run == nil {
		return nil
	}
	what := map[string]string{
		RungPeft: "nearest codes, as PEFT merges", RungDithered: "codes drawn at random, right on average",
		RungCalibrated: "codes chosen for what the layers' inputs see",
		RungBF16:       fmt.Sprintf("calibrated, and the layers that keep least in bf16, at most %.0f %% larger", 100*rungGrowth),
		RungSeparate:   "base bytes, with the adapter beside them",
	}
	for i, n := range e.plans {
		v := l.Run.Variant(n.Name)
		if v == nil {
			continue
		}
		r := Rung{
			Name: n.Name, What: what[n.Name], Plan: n.Plan, Bytes: e.bytes[i],
			Kept: noFigure(), OnInputs: noFigure(), NLL: v.Figures.NLL, Lost: v.Lost,
			KL: Uncertain{v.Figures.KL.Value, v.Figures.KLSequences.Error},
		}
		if m := e.Merged(n.Name); m != nil {
			r.Kept, r.OnInputs, r.Seconds = m.Totals.Kept, m.Totals.KeptOnInputs, m.Seconds
		}
		if n.Name == RungSeparate {
			r.Kept = 1 // nothing is requantized
		}
		l.Rungs = append(l.Rungs, r)
	}
	l.advise()
	return l
}

// advise names the smallest output that loses little: among those of the same
// size the one with the least KL, or a simpler one that cannot be told from it.
func (l *Ladder) advise() {
	i := 0
	for i < len(l.Rungs) {
		best := i
		end := i
		for ; end < len(l.Rungs) && l.Rungs[end].Bytes == l.Rungs[i].Bytes; end++ {
			if l.Rungs[end].KL.Value < l.Rungs[best].KL.Value {
				best = end
			}
		}
		for k := i; k < best; k++ {
			if l.Rungs[k].alike(&l.Rungs[best]) {
				best = k
			}
		}
		last := end == len(l.Rungs)
		if r := &l.Rungs[best]; float64(r.Lost) <= rungLoses || last {
			l.Advised = r.Name
			l.Reason = l.because(r)
			return
		}
		i = end
	}
}

// alike reports whether two rungs cannot be told apart by KL: they differ by less
// than two standard errors of both.
func (r *Rung) alike(other *Rung) bool {
	d := math.Abs(float64(r.KL.Value - other.KL.Value))
	return d <= 2*math.Hypot(float64(r.KL.Error), float64(other.KL.Error))
}

// because says why a rung is advised.
func (l *Ladder) because(r *Rung) string {
	said := fmt.Sprintf("%s loses %s of the adapter's effect (KL %.4g", r.Name, Percent(float64(r.Lost)), float64(r.KL.Value))
	if e := float64(r.KL.Error); !math.IsNaN(e) { // of one sequence it is not known
		said += fmt.Sprintf(" ± %.2g", e)
	}
	said += " nats per token"
	first := &l.Rungs[0]
	if r != first {
		said += fmt.Sprintf("; %s loses %s, KL %.4g", first.Name, Percent(float64(first.Lost)), float64(first.KL.Value))
	}
	said += ")"
	switch growth := r.Bytes - first.Bytes; {
	case growth > 0:
		said += fmt.Sprintf(" and is %s larger", Percent(float64(growth)/float64(first.Bytes)))
	case r != first:
		said += " in a file of the same size"
	}
	return said
}
