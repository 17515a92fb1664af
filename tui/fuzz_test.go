package tui

import (
	"context"
	"slices"
	"testing"

	tea "charm.land/bubbletea/v2"

	"mergescope/merge"
	"mergescope/tui/screentest"
)

// fuzzKeys are the keys of the registry and what dialogs take beside them.
func fuzzKeys() []string {
	var keys []string
	for _, x := range registry() {
		keys = append(keys, x.keys...)
	}
	keys = append(keys, "enter", "esc", "tab", "backspace", "left", "right", "ctrl+w", "0", "5", ".", "q", "b", "<")
	slices.Sort(keys)
	keys = slices.Compact(keys)
	return slices.DeleteFunc(keys, func(k string) bool { return k == "ctrl+z" })
}

// fuzzSizes are widths and heights around the breakpoints and far from them.
var fuzzSizes = [][2]int{{0, 0}, {1, 1}, {59, 13}, {60, 14}, {60, 16}, {79, 19}, {80, 20}, {80, 24}, {119, 29}, {120, 30}, {120, 36}, {200, 60}, {300, 120}, {300, 14}, {60, 120}}

// FuzzInterface types keys, clicks, resizes and lets a job begin, move and end in
// any order. Nothing may panic, and every frame must fill the screen exactly.
// Commands are not run, so nothing is read or written.
func FuzzInterface(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("m\x01\x02\x03p\x04:\x05"))
	f.Add([]byte{200, 10, 201, 20, 202, 30, 203, 40, 220, 3, 1, 2, 3, 240, 4, 5, 6, 250, 1, 251, 2})
	for i := range 16 {
		seed := make([]byte, 64)
		for k := range seed {
			seed[k] = byte(i*37 + k*(2*i+1)*11)
		}
		f.Add(seed)
	}
	f.Fuzz(playScript)
}

// playScript does what each byte says; the two after it are where.
func playScript(t *testing.T, script []byte) {
	keys := fuzzKeys()
	opt := lightOptions(t)
	run := &fakeRunner{snap: merge.Snapshot{State: merge.Running, LayersTotal: 28, WeightsTotal: 100, Layers: make([]merge.LayerState, len(opt.Project.Model.Weights))}}
	r := newRig(t, opt, &fakeEngine{engine: projectEngine{opt.Project}, run: run}, 120, 36)
	r.hold, r.a.auto = true, false
	for len(script) > 2 {
		op, x, y := int(script[0]), int(script[1]), int(script[2])
		script = script[1:]
		switch {
		case op < 200:
			r.a.Update(keyPress(keys[op%len(keys)]))
		case op < 215:
			size := fuzzSizes[op-200]
			r.a.Update(tea.WindowSizeMsg{Width: size[0], Height: size[1]})
		case op < 230:
			r.a.Update(tea.MouseClickMsg{X: x * max(1, r.a.w) / 255, Y: y * max(1, r.a.h) / 255, Button: tea.MouseLeft})
		case op < 234:
			r.a.Update(tea.MouseMotionMsg{X: x * max(1, r.a.w) / 255, Y: y * max(1, r.a.h) / 255, Button: tea.MouseLeft})
		case op < 238:
			r.a.Update(tea.MouseWheelMsg{X: x * max(1, r.a.w) / 255, Y: y * max(1, r.a.h) / 255, Button: tea.MouseWheelDown})
		case op < 242:
			r.a.Update(tea.PasteMsg{Content: "kept<0.1 ü\n\x00"})
		case r.a.job == nil:
		case op < 246:
			r.a.Update(jobReadyMsg{gen: r.a.job.gen, run: run})
		case op < 250:
			run.snap.LayersDone, run.snap.WeightsDone = min(28, x), int64(min(100, y))
			r.a.Update(pollMsg{r.a.job.gen})
		case op < 253:
			end := jobDoneMsg{gen: r.a.job.gen, report: &merge.Report{}}
			if r.a.job.run == nil || x%3 == 0 {
				end.err = context.Canceled
			}
			r.a.Update(end)
		default:
			r.a.Update(armMsg{dialog: fuzzDialog(r.a)})
		}
		content := r.a.View().Content
		if r.a.w == 0 || r.a.h == 0 || r.a.skin.plain {
			continue
		}
		if err := screentest.Fits(content, r.a.w, r.a.h); err != nil {
			t.Fatalf("%dx%d: %v", r.a.w, r.a.h, err)
		}
	}
}

// fuzzDialog returns the question on top, or one that is nowhere.
func fuzzDialog(a *app) *confirm {
	if d, ok := a.topOverlay().(*confirm); ok {
		return d
	}
	return &confirm{}
}
