package merge

import (
	"fmt"
	"math"
	"time"

	"mergescope/model"
)

// publish makes the report of what was run so far.
func (e *Eval) publish() {
	positions, text := e.positions()
	r := &EvalReport{
		Version: 1, Model: NewModelInfo(e.p.Model), Adapters: []AdapterInfo{}, Plan: e.plan.Digest(),
		Reference: e.names[reference].name, Window: e.length, Windows: len(e.run), Tokens: len(positions),
		Complete: len(e.run) == len(e.windows),
	}
	for _, ref := range e.plan.Adapters {
		r.Adapters = append(r.Adapters, NewAdapterInfo(e.p.Adapter(ref.Name)))
	}
	for i, x := range e.opt.Texts {
		info := EvalTextInfo{Name: x.Name}
		for _, w := range e.windows {
			if w.text == i {
				info.Tokens += len(w.targets)
			}
		}
		r.Texts = append(r.Texts, info)
	}
	for _, i := range text {
		r.Texts[i].Run++
	}
	for v := range e.variants {
		r.Variants = append(r.Variants, e.variant(v, positions, text))
	}
	for _, v := range r.Variants {
		v.Lost = ratio(float64(v.Figures.KL.Value), float64(r.Variants[0].Figures.KL.Value))
	}
	r.Alerts = append(e.log.All(), nonFiniteScores(r)...)
	SortAlerts(r.Alerts)
	e.mu.Lock()
	defer e.mu.Unlock()
	r.Seconds = e.clock.elapsed(time.Now()).Seconds()
	e.report = r
}

// judge raises what is wrong with variants that a merge made.
func (e *Eval) judge() {
	if e.opt.MaxKL <= 0 {
		return
	}
	for _, v := range e.report.Variants[reference+1:] {
		if kl := v.Figures.KL; !(float64(kl.Value) <= e.opt.MaxKL) {
			e.log.Add(newAlert(Error, CodeDiverges, "", fmt.Sprintf("%s: KL from the separate adapter is %.4g ± %.2g nats per token, the bound is %.4g",
				v.Name, kl.Value, v.Figures.KLSequences.Error, e.opt.MaxKL)))
		}
	}
	e.publish()
}

// positions returns the position and the text of every token that was run.
func (e *Eval) positions() (positions, text []int) {
	for _, i := range e.run {
		w := e.windows[i]
		for p := range w.targets {
			positions, text = append(positions, p+1), append(text, w.text)
		}
	}
	return positions, text
}

func (e *Eval) variant(v int, positions, text []int) *VariantReport {
	tokens := e.tokens[v]
	r := &VariantReport{
		Name: e.names[v].name, What: e.names[v].what, Figures: newEvalFigures(tokens, positions),
		Positions: positionReports(tokens, positions), Trend: newTrend(tokens, positions), Texts: []TextReport{}, Depth: e.depths(v),
	}
	for i, x := range e.opt.Texts {
		var part []model.Token
		var at []int
		for k := range tokens {
			if text[k] == i {
				part, at = append(part, tokens[k]), append(at, positions[k])
			}
		}
		r.Texts = append(r.Texts, TextReport{x.Name, newEvalFigures(part, at), positionReports(part, at)})
	}
	return r
}

// depths are the errors of a variant's hidden states so far.
func (e *Eval) depths(v int) []Figure {
	list := []Figure{}
	for _, s := range e.depth[v] {
		list = append(list, Figure(math.Sqrt(float64(ratio(s.Value, s.Err)))))
	}
	return list
}

// Merged returns what merging a plan of that name reported, nil before that.
func (e *Eval) Merged(name string) *Report {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.cheap[name]
}
