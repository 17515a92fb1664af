package merge

import (
	"fmt"

	"mergescope/loader"
	"mergescope/quant"
)

// Lint reports everything about a plan that can be known without merging: what
// Layers finds, what the small tensors beside the weights give away, and notes
// on what other programs make of the adapters. It reads no weights and at most a
// bounded part of their scales, so it is quick on any model. The order is that
// of SortAlerts.
func (p *Project) Lint(plan Plan) []Alert {
	_, out := p.Layers(plan)
	out = append(out, p.lintScales()...)
	widths := widthsOf(p.Model)
	for _, a := range p.planned(plan) {
		if a.Config.PeftType == "LORA" {
			out = append(out, p.lintNotes(a, widths)...)
			out = append(out, lintConverters(a)...)
		}
	}
	SortAlerts(out)
	return out
}

// findings is the part of Lint that endangers a merge and takes so little time
// that every edit of a plan can ask for it.
func (p *Project) findings(plan Plan, layers []Layer) []Alert {
	out := p.lintModel()
	widths := widthsOf(p.Model)
	for _, a := range p.planned(plan) {
		if a.Config.PeftType == "LORA" {
			out = append(out, lintTraining(a)...)
			out = append(out, lintForms(a, widths)...)
		}
	}
	out = append(out, p.lintTied(plan, layers)...)
	return append(out, p.lintOutput(layers)...)
}

// planned returns the adapters of a plan that are open, in merge order.
func (p *Project) planned(plan Plan) []*loader.Adapter {
	var out []*loader.Adapter
	for _, ref := range plan.Adapters {
		if a := p.Adapter(ref.Name); a != nil {
			out = append(out, a)
		}
	}
	return out
}

// widths says which kinds of linear layers a model has.
type widths struct {
	bits4, bits8 bool
	compute      string // bnb_4bit_compute_dtype
}

func widthsOf(c *loader.Checkpoint) widths {
	var w widths
	for _, x := range c.Weights {
		w.bits4 = w.bits4 || x.Format.Is4Bit()
		w.bits8 = w.bits8 || x.Format == quant.Int8
	}
	w.compute, _ = c.Config.Quantization["bnb_4bit_compute_dtype"].(string)
	return w
}

func (w widths) quantized() bool { return w.bits4 || w.bits8 }

// tally collects places of one kind of finding; the first is shown.
type tally struct {
	n     int
	first string
	at    Place
}

func (t *tally) add(what string, at Place) {
	if t.n == 0 {
		t.first, t.at = what, at
	}
	t.n++
}

// alert words the tally; format gets the count and the first.
func (t *tally) alert(level Level, code Code, format string) []Alert {
	if t.n == 0 {
		return nil
	}
	a := newAlert(level, code, "", fmt.Sprintf(format, t.n, t.first)).at(t.at)
	a.Count = t.n
	return []Alert{a}
}
