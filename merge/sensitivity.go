package merge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/stat"

	"mergescope/model"
)

// Sensitivity says what merging one layer alone does, the adapters of all others
// kept separate.
type Sensitivity struct {
	Plan         string           `json:"plan"` // name of the plan that merges
	Windows      int              `json:"windows"`
	Tokens       int              `json:"tokens"`
	Complete     bool             `json:"complete"` // false: some layers were not run
	Layers       []SensitiveLayer `json:"layers"`   // most sensitive first
	Correlations []Correlation    `json:"correlations"`
}

// SensitiveLayer is a layer with its KL and with figures that need no run.
type SensitiveLayer struct {
	Name          string    `json:"name"`
	KL            Uncertain `json:"kl"`
	Kept          Figure    `json:"kept"`
	ErrorRelative Figure    `json:"error_relative"`
	ErrorRMS      Figure    `json:"error_rms"`
	LostRMS       Figure    `json:"lost_rms"`       // (1-kept) of the delta's rms
	KeptOnInputs  Figure    `json:"kept_on_inputs"` // null but for method calibrated
}

// Correlation is how well a figure that needs no run ranks the layers: Spearman's
// coefficient with KL.
type Correlation struct {
	Figure string `json:"figure"`
	Rank   Figure `json:"spearman"`
	Layers int    `json:"layers"`
}

// tryAtOnce is how many layers are tried in one pass: as many share each read of
// what they have in common, and the reference.
const tryAtOnce = 8

// oneMerged are weights of which one layer is merged.
type oneMerged struct {
	model.Weights
	merged *planWeights
	layer  *Layer
}

func (w *oneMerged) Matrix(param string) (model.Matrix, error) {
	if param == w.layer.Weight.Param {
		return w.merged.Matrix(param)
	}
	return w.Weights.Matrix(param)
}

func (w *oneMerged) Vector(param string) ([]float32, error) {
	if b := w.layer.Weight.Bias; b != nil && b.Name == param {
		return w.merged.Vector(param)
	}
	return w.Weights.Vector(param)
}

// sensitivity tries one layer after the other.
func (e *Eval) sensitivity(ctx context.Context) error {
	if e.opt.Sensitivity <= 0 {
		return nil
	}
	if len(e.opt.Plans) == 0 {
		return errors.New("sensitivity needs a plan that merges")
	}
	n, at := e.opt.Plans[0].Name, e.variantOf(e.opt.Plans[0].Name)
	merged, ok := e.variants[at].Weights.(*planWeights)
	if !ok {
		return errors.New("sensitivity: a model whose adapter unties its embeddings is not supported")
	}
	s := &Sensitivity{Plan: n}
	windows := e.order
	for i, w := range e.order {
		if s.Tokens += len(e.windows[w].targets); s.Tokens >= e.opt.Sensitivity {
			windows = e.order[:i+1]
			break
		}
	}
	s.Windows = len(windows)
	var layers []*Layer
	for _, l := range merged.layers {
		if l.Merges() {
			layers = append(layers, l)
		}
	}
	slices.SortFunc(layers, func(a, b *Layer) int { return a.Index - b.Index })
	for at := 0; at < len(layers); at += tryAtOnce {
		list := layers[at:min(at+tryAtOnce, len(layers))]
		e.setPhase(fmt.Sprintf("one layer merged at a time: %d of %d", at, len(layers)), float64(at)/float64(len(layers)))
		if err := e.tryLayers(ctx, s, merged, list, windows); err != nil {
			return err
		}
		s.Complete = at+tryAtOnce >= len(layers)
		e.publishSensitivity(s)
	}
	e.setPhase("", 0)
	return nil
}

func (e *Eval) setPhase(text string, share float64) {
	e.mu.Lock()
	e.phase, e.share = text, share
	e.mu.Unlock()
}

func (e *Eval) variantOf(name string) int {
	return slices.IndexFunc(e.names, func(n variantName) bool { return n.name == name })
}

// tryLayers runs the reference and some variants with one layer merged each.
func (e *Eval) tryLayers(ctx context.Context, s *Sensitivity, merged *planWeights, list []*Layer, windows []int) error {
	ref := e.variantsDuring(ctx)[reference]
	merged = merged.during(ctx)
	variants := []model.Variant{ref}
	for _, l := range list {
		lora := model.LoRA{}
		for name, pairs := range ref.LoRA {
			if name != l.Weight.Name {
				lora[name] = pairs
			}
		}
		variants = append(variants, model.Variant{Name: l.Weight.Name, Weights: &oneMerged{ref.Weights, merged, l}, LoRA: lora})
	}
	found := make([][]model.Token, len(variants))
	var positions []int
	step := max(1, passBytes/max(1, e.windowBytes()*len(variants)))
	for at := 0; at < len(windows); at += step {
		var inputs [][]int32
		var targets []int32
		for _, i := range windows[at:min(at+step, len(windows))] {
			inputs = append(inputs, e.windows[i].input)
			targets = append(targets, e.windows[i].targets...)
			for p := range e.windows[i].targets {
				positions = append(positions, p+1)
			}
		}
		scores := model.NewScores(targets, len(variants), 0)
		if err := model.Forward(ctx, e.cfg, variants, inputs, model.Sink{Logits: scores.Logits}, model.Options{Workers: e.opt.Workers}); err != nil {
			return err
		}
		for v := range variants {
			found[v] = append(found[v], scores.Tokens(v)...)
		}
	}
	for i, l := range list {
		x := SensitiveLayer{Name: l.Weight.Name, KL: uncertain(model.KLBySequence(found[i+1], positions))}
		x.cheap(e.cheap[s.Plan])
		s.Layers = append(s.Layers, x)
	}
	return nil
}

// cheap takes the figures of a dry run.
func (x *SensitiveLayer) cheap(r *Report) {
	x.Kept, x.ErrorRelative, x.ErrorRMS, x.LostRMS, x.KeptOnInputs = noFigure(), noFigure(), noFigure(), noFigure(), noFigure()
	for _, l := range r.Layers {
		if l.Name == x.Name {
			x.Kept, x.ErrorRelative, x.ErrorRMS = l.Kept, l.ErrorRelative, l.ErrorRMS
			x.KeptOnInputs = l.KeptOnInputs
			x.LostRMS = Figure(math.Abs(1-float64(l.Kept))) * l.DeltaRMS
		}
	}
}

// publishSensitivity puts a copy of what is known into a new report.
func (e *Eval) publishSensitivity(s *Sensitivity) {
	c := *s
	c.Layers = slices.Clone(s.Layers)
	slices.SortStableFunc(c.Layers, func(a, b SensitiveLayer) int { return cmp.Compare(b.KL.Value, a.KL.Value) })
	c.Correlations = correlations(c.Layers)
	e.mu.Lock()
	defer e.mu.Unlock()
	r := *e.report
	r.Sensitivity = &c
	e.report = &r
}

// correlations hold figures that need no run against KL. 1-kept and errors
// should rank layers as KL does.
func correlations(layers []SensitiveLayer) []Correlation {
	list := []Correlation{}
	for _, f := range []struct {
		name string
		of   func(SensitiveLayer) float64
	}{
		{"1-kept", func(l SensitiveLayer) float64 { return 1 - float64(l.Kept) }},
		{"error_relative", func(l SensitiveLayer) float64 { return float64(l.ErrorRelative) }},
		{"error_rms", func(l SensitiveLayer) float64 { return float64(l.ErrorRMS) }},
		{"lost_rms", func(l SensitiveLayer) float64 { return float64(l.LostRMS) }},
		{"1-kept_on_inputs", func(l SensitiveLayer) float64 { return 1 - float64(l.KeptOnInputs) }},
	} {
		var x, y []float64
		for _, l := range layers {
			if a, b := f.of(l), float64(l.KL.Value); !math.IsNaN(a) && !math.IsNaN(b) {
				x, y = append(x, a), append(y, b)
			}
		}
		if len(x) > 0 {
			list = append(list, Correlation{f.name, Figure(spearman(x, y)), len(x)})
		}
	}
	return list
}

// spearman is the correlation of ranks, NaN for fewer than three pairs.
func spearman(x, y []float64) float64 {
	if len(x) < 3 {
		return math.NaN()
	}
	return stat.Correlation(ranks(x), ranks(y), nil)
}

// ranks gives equal values the mean of their ranks.
func ranks(x []float64) []float64 {
	order := make([]int, len(x))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(x[a], x[b]) })
	r := make([]float64, len(x))
	for lo := 0; lo < len(x); {
		hi := lo + 1
		for hi < len(x) && x[order[hi]] == x[order[lo]] {
			hi++
		}
		for _, i := range order[lo:hi] {
			r[i] = float64(lo+hi-1) / 2
		}
		lo = hi
	}
	return r
}
