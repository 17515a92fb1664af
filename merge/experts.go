package merge

import (
	"fmt"
	"strings"

	"mergescope/loader"
	"mergescope/quant"
)

// Share is the share that one weight has in the factors of a module of
// target_parameters: A [Experts*r, in] and B [out, r*Experts], of which rows
// e*r to e*r+r of A and columns e, Experts+e, 2*Experts+e, ... of B belong to
// expert e (lora/layer.py, ParamWrapper).
type Share struct {
	Expert, Count int // experts the weight holds: the first, and how many
	Experts       int // of the module
	Row, Rows     int // rows of B that belong to it
}

// shareOf is a weight with its part.
type shareOf struct {
	weight *loader.Weight
	share  Share
}

// expertNames are the tensors in which checkpoints keep the experts of what
// transformers fuses into one parameter: gate_up_proj is gate above up
// (transformers, conversion_mapping.py).
var expertNames = []struct{ gate, up, down string }{
	{"gate_proj", "up_proj", "down_proj"},
	{"w1", "w3", "w2"},
	{"fc1", "fc3", "fc2"},
}

// expertPaths are module paths of experts in transformers and in checkpoints.
var expertPaths = [][2]string{{".mlp.experts", ".block_sparse_moe.experts"}, {".mlp.experts", ".feed_forward.experts"}, {".mlp.experts", ".moe.experts"}}

// transposedExperts are the model types whose fused experts are stored
// [experts, in, out] (transformers, is_transposed).
var transposedExperts = map[string]bool{"gpt_oss": true, "aria": true, "aria_text": true, "openai_privacy_filter": true}

// parts returns the weights a module of target_parameters belongs to, nil if
// there are none or the module is an ordinary one.
func (p *Project) shares(m *loader.Module) []shareOf {
	if m.Parameter == "" || m.A == nil || m.B == nil {
		return nil
	}
	if w := p.Model.Weight(weightName(m)); w != nil {
		all := Share{Count: max(m.Experts, 1), Experts: max(m.Experts, 1), Rows: int(m.B.Shape[0])}
		return []shareOf{{w, all}}
	}
	paths := []string{m.Path}
	for _, x := range expertPaths {
		if s, ok := strings.CutSuffix(m.Path, x[0]); ok {
			paths = append(paths, s+x[1])
		}
	}
	for _, path := range paths {
		for _, n := range expertNames {
			leaves := []string{m.Parameter}
			switch m.Parameter {
			case "gate_up_proj":
				leaves = []string{n.gate, n.up}
			case "down_proj":
				leaves = []string{n.down}
			}
			if list := p.expertShares(m, path, leaves); list != nil {
				return list
			}
		}
	}
	return nil
}

// expertShares returns the weights PATH.E.LEAF of all experts; the leaves lie one
// below the other in B. Experts the model has beyond those of the module are
// listed too: newPart finds the difference.
func (p *Project) expertShares(m *loader.Module, path string, leaves []string) []shareOf {
	var list []shareOf
	for e := 0; ; e++ {
		row := 0
		for _, leaf := range leaves {
			w := p.Model.Weight(fmt.Sprintf("%s.%d.%s", path, e, leaf))
			if w == nil {
				return list
			}
			list = append(list, shareOf{w, Share{Expert: e, Count: 1, Experts: m.Experts, Row: row, Rows: w.Rows()}})
			row += w.Rows()
		}
	}
}

// newPart checks a module against a weight it has a part in.
func (p *Project) newShare(a *loader.Adapter, m *loader.Module, x shareOf, f *resolution) hit {
	h := hit{module: m, share: &x.share}
	if f.broken(&h, x.weight) {
		return h
	}
	if x.weight.Format.IsFloat() {
		var at *loader.Tensor
		if h.transpose, at, h.problem = p.fitShare(m, x); h.problem != "" {
			f.problems = append(f.problems, newAlert(Error, CodeShape, x.weight.Name, h.problem).at(tensorPlace(at)))
		}
		return h
	}
	h.problem = fmt.Sprintf("target_parameters: %s is %s. PEFT adds the delta to a dequantized copy, and the merge is lost", x.weight.Param, x.weight.Format)
	f.problems = append(f.problems, newAlert(Error, CodeUnmergeable, x.weight.Name, a.Name+": "+h.problem).at(tensorPlace(m.A)))
	return h
}

// fitShare checks the shapes. transpose is true for fused experts stored
// [experts, in, out].
func (p *Project) fitShare(m *loader.Module, x shareOf) (transpose bool, tensor *loader.Tensor, problem string) {
	w, part := x.weight, x.share
	if len(m.A.Shape) != 2 || len(m.B.Shape) != 2 {
		return false, m.A, fmt.Sprintf("%s is %v and %s is %v: only matrices can be merged", m.A.Name, m.A.Shape, m.B.Name, m.B.Shape)
	}
	experts, shape := int64(1), w.Shape
	if len(shape) == 3 {
		experts, shape = shape[0], shape[1:]
	}
	if len(shape) != 2 || experts != int64(part.Count) || part.Expert+part.Count > part.Experts {
		return false, m.A, fmt.Sprintf("%s is %v, which makes %d experts of the configuration's rank; weight %s is %v and expert %d",
			m.A.Name, m.A.Shape, part.Experts, w.Name, w.Shape, part.Expert)
	}
	in, out := m.A.Shape[1], int64(part.Rows)
	plain, flipped := shape[0] == out && shape[1] == in, shape[0] == in && shape[1] == out
	if len(w.Shape) == 3 && flipped && (!plain || transposedExperts[p.Model.Config.ModelType]) {
		return true, nil, ""
	}
	if plain && int64(part.Row)+out <= m.B.Shape[0] {
		return false, nil, ""
	}
	return false, m.B, fmt.Sprintf("%s is %v and %s is %v: they do not fit weight %s, which is %v", m.A.Name, m.A.Shape, m.B.Name, m.B.Shape, w.Name, w.Shape)
}

// experts adds the deltas of one or more experts, one below the other.
type experts struct {
	list []*lora
	rows int // of the weight, an expert
}

// openPart reads the share of a weight in the factors of its module. PEFT
// rounds a delta of experts to the weight's dtype before it adds it, whether the
// merge is safe or not.
func openShare(step *Step, w *loader.Weight, opt mergeOptions) (update, error) {
	m, part := step.Module, step.Share
	a, b, err := part.read(m)
	if err != nil {
		return nil, err
	}
	stored, kind := loadedAs(step, w, opt)
	rank, in := int(m.A.Shape[0])/part.Experts, int(m.A.Shape[1])
	x := &experts{rows: w.Rows() / part.Count}
	for i := range part.Count {
		fa, fb := a[i*rank*in:(i+1)*rank*in], part.column(b, part.Expert+i, rank)
		l := &lora{scale: float32(step.Scale), kind: kind, round: w.Format, minus: opt.unmerge == Subtract}
		l.upper = part.Experts == 1 // get_delta_weight is that of a linear layer then
		l.bad = part.faults(m, fa, fb, part.Expert+i)
		quant.RoundTo(fa, stored)
		quant.RoundTo(fb, stored)
		width := in
		if step.Transpose {
			fa, fb = transpose(fb, part.Rows, rank), transpose(fa, rank, in)
			width = part.Rows
		}
		l.a, l.b = quant.NewFactor(fa, rank, width), fb
		x.list = append(x.list, l)
	}
	return x, nil
}

// read returns the rows of A and of B that the part needs.
func (t *Share) read(m *loader.Module) (a, b []float32, err error) {
	rank := int(m.A.Shape[0]) / t.Experts
	if a, err = readRows(m.A, t.Expert*rank, t.Count*rank); err != nil {
		return nil, nil, err
	}
	b, err = readRows(m.B, t.Row, t.Rows)
	return a, b, err
}

// column returns the columns of B [rows, rank*Experts] that belong to an expert.
func (t *Share) column(b []float32, expert, rank int) []float32 {
	if t.Experts == 1 {
		return b
	}
	out := make([]float32, t.Rows*rank)
	for i := range out {
		out[i] = b[i*t.Experts+expert]
	}
	return out
}

// faults is factorFaultsOf for the factors of one expert.
func (t *Share) faults(m *loader.Module, a, b []float32, expert int) factorFaults {
	nb, firstB := nonFinite(b)
	na, firstA := nonFinite(a)
	f := factorFaults{A: na, B: nb, At: Nowhere()}
	rank, in := int(m.A.Shape[0])/t.Experts, int(m.A.Shape[1])
	switch {
	case nb > 0:
		f.Origin, f.At = "lora_B", elementPlace(m.B, t.Row*rank*t.Experts+firstB*t.Experts+expert)
	case na > 0:
		f.Origin, f.At = "lora_A", elementPlace(m.A, expert*rank*in+firstA)
	}
	return f
}

func (x *experts) dtype(base quant.Format) quant.Format { return x.list[0].dtype(base) }

func (x *experts) faults() factorFaults {
	sum := factorFaults{At: Nowhere()}
	for _, l := range x.list {
		if bad := l.bad; bad.B > 0 && sum.B == 0 || bad.A > 0 && sum.A+sum.B == 0 {
			sum.Origin, sum.At = bad.Origin, bad.At
		}
		sum.A += l.bad.A
		sum.B += l.bad.B
	}
	return sum
}

func (x *experts) add(p *quant.Panel, r0 int) {
	p.D, p.T = resize(p.D, p.Len()), resize(p.T, p.Len())
	for from := 0; from < p.Rows; {
		e, row := (r0+from)/x.rows, (r0+from)%x.rows
		n := min(x.rows-row, p.Rows-from)
		lo, hi := from*p.Cols, (from+n)*p.Cols
		part := quant.Panel{Spec: p.Spec, Rows: n, Cols: p.Cols, W: p.W[lo:hi], D: p.D[lo:hi:hi], T: p.T[lo:hi:hi]}
		x.list[e].add(&part, row)
		from += n
	}
}

// readRows reads rows of a float matrix and widens them to float32.
func readRows(t *loader.Tensor, from, n int) ([]float32, error) {
	c, err := contentIn(t, quant.F32)
	if err != nil {
		return nil, err
	}
	cols := int(t.Shape[1])
	raw := make([]byte, 4*n*cols)
	if err := c.ReadFull(raw, 4*int64(from)*int64(cols)); err != nil {
		return nil, err
	}
	x := make([]float32, n*cols)
	quant.DecodeFloats(x, raw, quant.F32)
	return x, nil
}

// splitExperts takes the factors of a module off its weights where only some of
// them are to be separate: a residual adapter holds whole factors, which would
// be applied twice.
func splitExperts(layers []Layer) []Alert {
	apart := map[*loader.Module][2]int{} // separate weights and others
	for _, l := range layers {
		for _, s := range l.Steps {
			if s.Share != nil {
				n := apart[s.Module]
				if l.Output == Separate {
					n[0]++
				} else {
					n[1]++
				}
				apart[s.Module] = n
			}
		}
	}
	var mixed tally
	for i := range layers {
		l := &layers[i]
		for _, s := range l.Steps {
			if n := apart[s.Module]; s.Share != nil && l.Output == Separate && n[1] > 0 {
				mixed.add(l.Weight.Name, tensorPlace(s.Module.A))
				l.Steps, l.Reason = nil, "output separate needs all weights of "+s.Module.Path+", since they share factors"
				break
			}
		}
	}
	return mixed.alert(Error, CodeUnsupported, "weights kept separate that share factors with weights that are not: %d, first %s; their adapter is dropped")
}
