package merge

import (
	"cmp"
	"slices"

	"mergescope/loader"
)

// Proposal is a plan with some layers in another output form.
type Proposal struct {
	Plan   Plan
	Layers []string // written in bf16 instead, the most worthwhile first
	Left   []string // would need it too, but do not fit the budget
	Bytes  int64    // by how much the checkpoint grows
}

// KeepAbove proposes to write in bf16 the requantized layers of which a merge
// keeps less than above (0..1), going by the report of a dry run of the plan.
// budget limits by how many bytes the checkpoint may grow, negative for no
// limit; layers come first in which most of the delta's energy is lost,
// (1-kept) |D|^2, for each byte more. Layers without a kept stay as they are.
func (p *Project) KeepAbove(plan Plan, r *Report, above float64, budget int64) Proposal {
	var short []candidate
	for _, l := range r.Layers {
		w := p.Model.Weight(l.Name)
		if w == nil || l.Output != Same || w.Format.IsFloat() || !(float64(l.Kept) < above) {
			continue
		}
		lost := (1 - float64(l.Kept)) * float64(l.DeltaRMS) * float64(l.DeltaRMS) * float64(w.Numel())
		short = append(short, newCandidate(w, lost))
	}
	return propose(plan, short, budget)
}

// KeepSensitive proposes to write in bf16 the requantized layers that change
// what the model predicts: those with most KL for each byte more come first,
// until layers with at most 1-above (0..1) of the KL summed over all are left. A
// layer whose KL is not known stays as it is.
func (p *Project) KeepSensitive(plan Plan, s *Sensitivity, above float64, budget int64) Proposal {
	forms := map[string]Output{}
	layers, _ := p.Layers(plan)
	for i := range layers {
		forms[layers[i].Weight.Name] = layers[i].Output
	}
	var all []candidate
	sum := 0.0
	for _, l := range s.Layers {
		w, kl := p.Model.Weight(l.Name), float64(l.KL.Value)
		if w != nil && forms[l.Name] == Same && !w.Format.IsFloat() && kl > 0 {
			all = append(all, newCandidate(w, kl))
			sum += kl
		}
	}
	slices.SortStableFunc(all, worthMost)
	n, left := 0, sum
	for n < len(all) && left > (1-above)*sum*(1+1e-9) {
		left -= all[n].lost
		n++
	}
	return propose(plan, all[:n], budget)
}

// candidate is a layer that would be written in bf16.
type candidate struct {
	name  string
	bytes int64   // more
	lost  float64 // without
	worth float64 // lost for each byte
}

func newCandidate(w *loader.Weight, lost float64) candidate {
	more := bf16Growth(w)
	return candidate{w.Name, more, lost, lost / float64(more)}
}

func worthMost(a, b candidate) int { return cmp.Compare(b.worth, a.worth) }

// propose takes candidates, the most worthwhile first, as far as they fit.
func propose(plan Plan, list []candidate, budget int64) Proposal {
	slices.SortStableFunc(list, worthMost)
	var out Proposal
	for _, c := range list {
		if budget >= 0 && out.Bytes+c.bytes > budget {
			out.Left = append(out.Left, c.name)
			continue
		}
		out.Layers = append(out.Layers, c.name)
		out.Bytes += c.bytes
	}
	out.Plan = plan.SetOutput(AsBF16, out.Layers...)
	return out
}

// bf16Growth is how many bytes a quantized weight needs more in bf16. Its
// scales and maps go.
func bf16Growth(w *loader.Weight) int64 { return max(1, 2*w.Numel()-w.Bytes()) }
