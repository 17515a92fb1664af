package tui

import (
	"fmt"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"

	"mergescope/loader"
	"mergescope/merge"
	"mergescope/quant"
)

// hugeEngine is a model of many layers, all with an adapter.
type hugeEngine struct {
	fakeEngine
	all []merge.Layer
}

func (e *hugeEngine) layers(merge.Plan) ([]merge.Layer, []merge.Alert) { return e.all, nil }
func (e *hugeEngine) adapters() []*loader.Adapter {
	return []*loader.Adapter{e.all[0].Steps[0].Adapter}
}

// hugeApp has 1000 layers of 7 tensors and a merge half done: the screen of
// issue D that no frame may take longer than 50 ms for.
func hugeApp(tb testing.TB) (*app, *fakeRunner) {
	tb.Helper()
	return appOfBlocks(tb, 1000)
}

// appOfBlocks has so many layers of 7 tensors, half of them merged.
func appOfBlocks(tb testing.TB, blocks int) (*app, *fakeRunner) {
	tb.Helper()
	all := 7 * blocks
	model := &loader.Checkpoint{Name: "huge"}
	ad := &loader.Adapter{Name: "adapter"}
	eng := &hugeEngine{}
	run := &fakeRunner{snap: merge.Snapshot{State: merge.Running, LayersTotal: all, LayersDone: all / 2, WeightsDone: 1, WeightsTotal: 2}}
	for i := range all {
		name := fmt.Sprintf("model.layers.%d.%s", i/7, []string{"mlp.down_proj", "mlp.gate_proj", "mlp.up_proj", "self_attn.k_proj", "self_attn.o_proj", "self_attn.q_proj", "self_attn.v_proj"}[i%7])
		w := &loader.Weight{Name: name, Format: quant.NF4, Shape: []int64{4096, 4096}, Data: &loader.Tensor{}}
		model.Weights = append(model.Weights, w)
		eng.all = append(eng.all, merge.Layer{Index: i, Weight: w, Output: merge.Same, Steps: []merge.Step{{Adapter: ad, Module: &loader.Module{Path: name, Rank: 8}, Factor: 1, Scale: 2}}})
		l := merge.LayerState{State: merge.Queued}
		if i < all/2 {
			r := metrics(4096*4096, 0.01*float64(i%100), 1, 1, 10)
			r.Name = name
			r.Alerts = []merge.Alert{{Level: merge.Warning, Code: merge.CodeErased, Layer: name, Message: "adapter erased", Count: 1}}
			l = merge.LayerState{State: merge.Finished, Result: r}
			run.snap.Alerts = append(run.snap.Alerts, r.Alerts...)
		}
		run.snap.Layers = append(run.snap.Layers, l)
	}
	run.snap.Layers[all/2] = merge.LayerState{State: merge.Active, Fraction: 0.5}
	eng.run = run
	dark := true
	a := newApp(tb.Context(), Options{Project: merge.NewProject(model), Plan: merge.NewPlan("huge"), Dark: &dark}, eng)
	a.auto = false
	a.after = func(time.Duration, tea.Msg) tea.Cmd { return nil }
	a.Update(tea.WindowSizeMsg{Width: 200, Height: 60})
	a.Update(keyPress("D"))
	a.Update(jobReadyMsg{gen: a.job.gen, run: run})
	return a, run
}

func BenchmarkPollAndFrame(b *testing.B) {
	a, run := hugeApp(b)
	for b.Loop() {
		run.snap.LayersDone++ // so that every list is made anew
		a.Update(pollMsg{a.job.gen})
		a.View()
	}
}

func BenchmarkCursorAndFrame(b *testing.B) {
	a, _ := hugeApp(b)
	a.Update(keyPress("E"))
	for b.Loop() {
		a.Update(keyPress("j"))
		a.View()
	}
}

func BenchmarkSortedPoll(b *testing.B) {
	a, run := hugeApp(b)
	a.Update(keyPress("o"))
	for b.Loop() {
		run.snap.LayersDone++
		a.Update(pollMsg{a.job.gen})
		a.View()
	}
}
