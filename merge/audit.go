package merge

import (
	"context"
	"fmt"
	"strings"
	"time"

	"mergescope/loader"
)

// AuditReport says whether a merged checkpoint holds what model and adapters
// say, in the shape of `verify --json`. It does not change once returned.
type AuditReport struct {
	Version  int            `json:"version"`
	Model    ModelInfo      `json:"model"`
	Merged   ModelInfo      `json:"merged"`
	Adapters []AdapterInfo  `json:"adapters"`
	Plan     string         `json:"plan_digest"`
	Verdict  Verdict        `json:"verdict"`
	Summary  string         `json:"summary"` // the verdict in words
	Findings []Finding      `json:"findings"`
	Totals   AuditFigures   `json:"totals"`  // over the layers with an adapter
	Modules  []AuditGroup   `json:"modules"` // the same by the last part of the module path
	Layers   []*AuditLayer  `json:"layers"`  // all weights, natural order
	Alerts   []Alert        `json:"alerts"`  // of the plan
	Others   AuditedTensors `json:"tensors"` // what is no weight: norms, biases
	Seconds  float64        `json:"seconds"`
}

// AuditLayer is one weight of the model and its counterpart.
type AuditLayer struct {
	Name         string      `json:"name"`
	MergedName   string      `json:"merged_name"` // "" if the merged checkpoint lacks it
	Format       string      `json:"format"`
	MergedFormat string      `json:"merged_format"`
	Shape        []int64     `json:"shape"`
	Adapters     []LayerStep `json:"adapters"`
	Verdict      Verdict     `json:"verdict"`
	Exact        bool        `json:"exact"`       // equal to the simulated merge in every weight
	Factor       Figure      `json:"factor"`      // scale applied, in units of the plan's; null if not known
	Causes       []string    `json:"causes"`      // mistakes that make such a factor
	FinerBase    bool        `json:"finer_base"`  // built on weights finer than the model's, such as the 16-bit original
	Explanation  string      `json:"explanation"` // in words
	AuditFigures

	sums      auditSums
	regressed bool // the verdict is that of the regression alone
}

// AuditGroup pools the layers that share the last part of their module path.
type AuditGroup struct {
	Name   string `json:"name"`
	Layers int    `json:"layers"`
	Right  int    `json:"right"`
	AuditFigures
}

// AuditedTensors counts the tensors that are no weights.
type AuditedTensors struct {
	Compared int      `json:"compared"`
	Changed  []string `json:"changed"`
	Absent   []string `json:"absent"`
}

// AuditProgress is where an audit stands.
type AuditProgress struct {
	LayersDone, LayersTotal   int
	WeightsDone, WeightsTotal int64
	Last                      *AuditLayer // finished last, nil at the beginning
}

// Audit compares a merged checkpoint, made by whatever program and in whatever
// format, with what the plan says of the project's model and adapters. No model
// is run: for each layer R = merged - base is regressed on the delta D, and the
// merged values are compared with those PEFT's merge would have given. See
// docs/audit.md.
//
// Weights are read by panels of rows; memory is a few panels per worker and the
// scales and factors of one layer. progress, if not nil, is called from the
// calling goroutine between layers. What is wrong with a layer is its verdict;
// the error is one of reading, or the end of ctx.
func (p *Project) Audit(ctx context.Context, plan Plan, merged *loader.Checkpoint, progress func(AuditProgress)) (*AuditReport, error) {
	if err := p.Validate(plan); err != nil {
		return nil, err
	}
	start := time.Now()
	layers, replaced, alerts := p.layers(plan)
	a := &audit{
		p: p, merged: merged, opt: p.arithmetic(plan, Options{Unsafe: true}),
		names: newCounterparts(p.Model, merged), replaced: map[string]*replacement{},
	}
	if err := a.witness(ctx, plan); err != nil {
		return nil, err
	}
	for i := range replaced {
		a.replaced[replaced[i].name] = &replaced[i]
	}
	r := &AuditReport{
		Version: 1, Model: NewModelInfo(p.Model), Merged: NewModelInfo(merged), Adapters: []AdapterInfo{},
		Plan: plan.Digest(), Findings: []Finding{}, Alerts: append([]Alert{}, alerts...),
	}
	for _, ref := range plan.Adapters {
		r.Adapters = append(r.Adapters, NewAdapterInfo(p.Adapter(ref.Name)))
	}
	state := AuditProgress{LayersTotal: len(layers)}
	for i := range layers {
		state.WeightsTotal += layers[i].Weight.Numel()
	}
	for i := range layers {
		if progress != nil {
			progress(state)
		}
		l, err := a.layer(ctx, &layers[i])
		if err != nil {
			return nil, layerError(&layers[i], err)
		}
		r.Layers = append(r.Layers, l)
		state.LayersDone, state.Last = i+1, l
		state.WeightsDone += layers[i].Weight.Numel()
	}
	var err error
	if r.Others, err = a.others(ctx, layers); err != nil {
		return nil, err
	}
	if progress != nil {
		progress(state)
	}
	SortAlerts(r.Alerts)
	r.pool()
	r.conclude(merged)
	r.Seconds = time.Since(start).Seconds()
	return r, nil
}

// audit is what the layers of one audit share.
type audit struct {
	p        *Project
	merged   *loader.Checkpoint
	opt      mergeOptions
	names    counterparts
	written  *Report // that the merging program left beside the checkpoint, nil if it did not
	foreign  bool    // it speaks of other adapters
	replaced map[string]*replacement

	// What explained the layer before: tried first on the next, since layers
	// of one merge mostly share their fate. It changes the cost, not the verdict
	// of a layer that one explanation alone fits.
	last  *hypothesis
	noisy bool // it was not a merge onto this base but one of finer weights
}

// counterparts finds the tensors of the merged checkpoint that belong to those
// of the model. Where names differ it is by what stands before them, as
// "language_model." does in multimodal checkpoints.
type counterparts struct {
	merged       *Project
	bySuffix     map[string]*loader.Weight
	before, then string // a name of the model that begins with before begins with then there
}

func newCounterparts(model, merged *loader.Checkpoint) counterparts {
	c := counterparts{merged: NewProject(merged), bySuffix: suffixes(merged.Weights)}
	for _, w := range model.Weights {
		m := c.weight(w)
		if m == nil || m.Name == w.Name || merged.Weight(w.Name) != nil {
			continue
		}
		n := 0
		for n < min(len(m.Name), len(w.Name)) && m.Name[len(m.Name)-1-n] == w.Name[len(w.Name)-1-n] {
			n++
		}
		c.before, c.then = w.Name[:len(w.Name)-n], m.Name[:len(m.Name)-n]
		break
	}
	return c
}

// weight returns the counterpart of a weight, nil if there is none. That of an
// unmerged PEFT model is the layer inside the adapter's wrapper.
func (c *counterparts) weight(w *loader.Weight) *loader.Weight {
	for _, name := range [...]string{w.Param, w.Name, w.Name + ".base_layer"} {
		if m := c.merged.Model.Weight(name); m != nil {
			return m
		}
	}
	m, _ := c.merged.bySuffix(w.Name, c.bySuffix)
	if m == nil {
		m, _ = c.merged.bySuffix(w.Name+".base_layer", c.bySuffix)
	}
	return m
}

// tensor returns the counterpart of a tensor that is no weight.
func (c *counterparts) tensor(name string) *loader.Tensor {
	if t := c.merged.Model.Tensor(name); t != nil {
		return t
	}
	if rest, ok := strings.CutPrefix(name, c.before); ok {
		return c.merged.Model.Tensor(c.then + rest)
	}
	return nil
}

// layer audits one weight.
func (a *audit) layer(ctx context.Context, l *Layer) (*AuditLayer, error) {
	w, m := l.Weight, a.names.weight(l.Weight)
	out := &AuditLayer{
		Name: w.Name, Format: w.Format.String(), Shape: w.Shape, Adapters: l.LayerSteps(), Causes: []string{},
		Factor: noFigure(), AuditFigures: auditSums{}.figures(),
	}
	if !l.Merges() {
		out.Adapters = []LayerStep{}
	}
	if m == nil {
		out.Verdict, out.Explanation = VerdictAbsent, "the merged checkpoint has no such weight"
		if a.merged.Config.TieEmbeddings && (isEmbedding(w.Name) || w.Param == outputEmbedding) {
			out.Verdict, out.Explanation = VerdictSame, "tied to the other embedding"
		}
		return out, nil
	}
	out.MergedName, out.MergedFormat = m.Name, m.Format.String()
	switch {
	case w.Problem != nil || m.Problem != nil:
		out.Verdict, out.Explanation = VerdictUnreadable, fmt.Sprint(firstError(m.Problem, w.Problem))
		return out, nil
	case w.Rows() != m.Rows() || w.Cols() != m.Cols():
		out.Verdict, out.Explanation = VerdictShape, fmt.Sprintf("is %v, merged %v", w.Shape, m.Shape)
		return out, nil
	}
	la := &layerAudit{audit: a, layer: l, weight: m, out: out}
	return out, la.judge(ctx)
}

func firstError(list ...error) error {
	for _, err := range list {
		if err != nil {
			return err
		}
	}
	return nil
}
