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
	type candidate struct {
		name  string
		bytes int64
		worth float64
	}
	var short []candidate
	for _, l := range r.Layers {
		w := p.Model.Weight(l.Name)
		if w == nil || l.Output != Same || w.Format.IsFloat() || !(float64(l.Kept) < above) {
			continue
		}
		more := bf16Growth(w)
		lost := (1 - float64(l.Kept)) * float64(l.DeltaRMS) * float64(l.DeltaRMS) * float64(w.Numel())
		short = append(short, candidate{l.Name, more, lost / float64(more)})
	}
	slices.SortStableFunc(short, func(a, b candidate) int { return cmp.Compare(b.worth, a.worth) })
	var out Proposal
	for _, c := range short {
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
