package tui

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"mergescope/loader"
	"mergescope/merge"
	"mergescope/quant"
)

// The demo as the tours show it: its adapters from weak to strong, and the layer
// that is looked at.
var (
	tourAdapters = []string{demoLight, "gocode-mid", "gocode"}
	tourLayer    = "model.layers.1.self_attn.q_proj"
)

// tourFacts are the numbers of all tours. They do not change.
type tourFacts struct {
	box     *merge.Sandbox // the light adapter on the layer
	layer   string
	nf4     map[string]*merge.Report // by adapter
	int8    map[string]*merge.Report
	broken  *merge.Report
	outputs []outcomeRow // of the light adapter
	bytes   map[quant.Format]int64
	file    fileFacts
	inputs  []float32 // standard normal inputs of the layer
}

// outcomeRow is one way of writing the model.
type outcomeRow struct {
	name  string
	kept  float64
	bytes int64
}

// fileFacts is what the layer takes as it is stored.
type fileFacts struct{ weights, codes, scales int64 }

// tourInputs is how many input vectors outputs are compared on.
const tourInputs = 32

// gatherTour opens the demo beside whatever is open and merges it in all ways
// that the tours speak of.
func gatherTour(ctx context.Context, source loader.Source, workers int) (_ *tourFacts, err error) {
	f := &tourFacts{nf4: map[string]*merge.Report{}, int8: map[string]*merge.Report{}, bytes: map[quant.Format]int64{}}
	g := &tourGuide{ctx: ctx, source: source, opt: merge.Options{Workers: workers}}
	defer func() { err = errors.Join(err, g.close()) }()
	var origin []float32
	for _, model := range []string{"demo:int8", "demo"} {
		reports := f.int8
		if model == "demo" {
			reports = f.nf4
		}
		for _, name := range tourAdapters {
			p, err := g.open(model, name)
			if err != nil {
				return nil, err
			}
			if reports[name], err = g.run(p, p.NewPlan()); err != nil {
				return nil, err
			}
			if name != demoLight {
				continue
			}
			box, err := p.Sandbox(ctx, p.NewPlan(), tourLayer, origin)
			if err != nil {
				return nil, err
			}
			origin, f.box, f.layer = box.Origin(), box, tourLayer
			if model == "demo" {
				if err := f.ways(g, p); err != nil {
					return nil, err
				}
			}
			f.count(p.Model)
		}
	}
	p, err := g.open("demo", demoBroken)
	if err == nil {
		f.broken, err = g.run(p, p.NewPlan())
	}
	f.inputs = normals(tourInputs * f.box.Cols)
	return f, err
}

// count adds up what the layer and the layers of a format take.
func (f *tourFacts) count(m *loader.Checkpoint) {
	for _, w := range m.Weights {
		if !w.Format.IsFloat() {
			f.bytes[w.Format] += w.Bytes()
		}
		if w.Name == tourLayer && w.Format.Is4Bit() {
			f.file = fileFacts{w.Numel(), w.Data.Size, w.Bytes() - w.Data.Size}
		}
	}
}

// ways merges the light adapter in every way there is.
func (f *tourFacts) ways(g *tourGuide, p *merge.Project) error {
	plan := p.NewPlan()
	for _, way := range []struct {
		name string
		plan merge.Plan
	}{
		{"nf4, as PEFT", plan},
		{"nf4, dithered", plan.SetMethodAll(merge.Method{Kind: merge.MethodDithered})},
		{"bf16", plan.SetOutputAll(merge.AsBF16)},
		{"separate", plan.SetOutputAll(merge.Separate)},
	} {
		row := outcomeRow{name: way.name, kept: 1}
		layers, _ := p.Layers(way.plan)
		for i := range layers {
			if len(layers[i].Steps) > 0 {
				row.bytes += layers[i].OutBytes()
			}
		}
		if way.name != "separate" { // what is beside loses nothing
			r, err := g.run(p, way.plan)
			if err != nil {
				return err
			}
			row.kept = float64(r.Totals.Kept)
		}
		f.outputs = append(f.outputs, row)
	}
	return nil
}

// tourGuide opens parts of the demo and closes them again.
type tourGuide struct {
	ctx    context.Context
	source loader.Source
	opt    merge.Options
	opened []interface{ Close() error }
}

func (g *tourGuide) open(model, adapter string) (*merge.Project, error) {
	m, err := g.source.Checkpoint(model)
	if err != nil {
		return nil, fmt.Errorf("open the demo: %w", err)
	}
	g.opened = append(g.opened, m)
	ad, err := g.source.Adapter("demo:" + adapter)
	if err != nil {
		return nil, fmt.Errorf("open the demo: %w", err)
	}
	g.opened = append(g.opened, ad)
	return merge.NewProject(m, ad), nil
}

func (g *tourGuide) run(p *merge.Project, plan merge.Plan) (*merge.Report, error) {
	j, err := merge.NewJob(p, plan, g.opt)
	if err != nil {
		return nil, err
	}
	return j.Run(g.ctx)
}

func (g *tourGuide) close() error {
	var errs []error
	for _, c := range g.opened {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// normals are n standard normal numbers, always the same.
func normals(n int) []float32 {
	rng := rand.New(rand.NewPCG(1, 2))
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(rng.NormFloat64())
	}
	return out
}
