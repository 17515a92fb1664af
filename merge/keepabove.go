package merge

import (
	"cmp"
	"slices"

	"mergescope/loader"
	"mergescope/quant"
)

// Proposal is a plan with some layers in another output form. What is lost is
// energy of the delta, or KL, summed over layers.
type Proposal struct {
	Plan   Plan
	Form   Output   // the other form: floats in the model's dtype
	Layers []string // written in it, the most worthwhile first
	Left   []string // would need it too, but do not fit the budget
	Bytes  int64    // by how much the checkpoint grows

	Lost      float64 // by all candidates, Layers and Left
	Recovered float64 // by Layers
	Bound     float64 // that no choice within the budget can exceed
}

// KeepAbove proposes to write as floats the requantized layers of which a merge
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
		short = append(short, p.newCandidate(w, lost))
	}
	return p.propose(plan, short, budget)
}

// KeepSensitive proposes to write as floats the requantized layers that change
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
			all = append(all, p.newCandidate(w, kl))
			sum += kl
		}
	}
	slices.SortStableFunc(all, worthMost)
	n, left := 0, sum
	for n < len(all) && left > (1-above)*sum*(1+1e-9) {
		left -= all[n].lost
		n++
	}
	return p.propose(plan, all[:n], budget)
}

// candidate is a layer that would be written as floats.
type candidate struct {
	name  string
	bytes int64   // more
	lost  float64 // without
	worth float64 // lost for each byte
}

func (p *Project) newCandidate(w *loader.Weight, lost float64) candidate {
	more := growth(w, outputFormats[p.FloatForm()])
	return candidate{w.Name, more, lost, lost / float64(more)}
}

func worthMost(a, b candidate) int { return cmp.Compare(b.worth, a.worth) }

// propose takes candidates, the most worthwhile first, as far as they fit: the
// greedy solution of a knapsack problem. The bound is the optimum if layers could
// be taken in part, which the optimum of whole ones cannot exceed.
func (p *Project) propose(plan Plan, list []candidate, budget int64) Proposal {
	slices.SortStableFunc(list, worthMost)
	out := Proposal{Form: p.FloatForm()}
	room := budget // of the fractional solution, which ends at the first that does not fit
	for _, c := range list {
		out.Lost += c.lost
		switch {
		case budget < 0 || c.bytes <= room:
			out.Bound += c.lost
		case room > 0:
			out.Bound += c.worth * float64(room)
		}
		room = max(room-c.bytes, 0)
		if budget >= 0 && out.Bytes+c.bytes > budget {
			out.Left = append(out.Left, c.name)
			continue
		}
		out.Layers = append(out.Layers, c.name)
		out.Bytes += c.bytes
		out.Recovered += c.lost
	}
	out.Plan = plan.SetOutput(out.Form, out.Layers...)
	return out
}

// growth is how many bytes a quantized weight needs more in a float format. Its
// scales and maps go.
func growth(w *loader.Weight, f quant.Format) int64 { return max(1, f.Bytes(w.Numel())-w.Bytes()) }

// NoInt8 says why layers of a 4-bit model cannot be written in int8.
const NoInt8 = "int8 is no choice for single layers: load_in_4bit and load_in_8bit exclude each other in a checkpoint " +
	"(transformers, BitsAndBytesConfig); --onto ORIGINAL --quantize int8 writes the whole model in int8"
