package tui

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	tea "charm.land/bubbletea/v2"

	"mergescope/merge"
	"mergescope/themes"
)

// apply makes an edited plan the current one.
func (a *app) apply(plan merge.Plan, what string) tea.Cmd {
	if !a.history.Do(plan) {
		return a.say(themes.Note, "the plan says so already")
	}
	return tea.Batch(a.say(themes.Good, what+"; z takes it back"), a.replan())
}

// replan follows the current plan everywhere.
func (a *app) replan() tea.Cmd {
	a.resolve()
	a.tree.refresh()
	return tea.Batch(a.refigure(), a.keepSoon())
}

// resolve works out what the current plan does with each layer.
func (a *app) resolve() {
	plan := a.history.Now()
	a.book.setPlan(a.eng, plan)
	names := make([]string, 0, len(plan.Adapters))
	for _, ad := range plan.Adapters {
		names = append(names, ad.Name)
	}
	a.tree.names = shortNames(names, 9)
	a.gatherAlerts()
}

func (a *app) undo() tea.Cmd {
	a.history.Undo()
	return tea.Batch(a.say(themes.Note, "taken back; Z makes it again"), a.replan())
}

func (a *app) redo() tea.Cmd {
	a.history.Redo()
	return tea.Batch(a.say(themes.Note, "made again"), a.replan())
}

// targets returns the names of the marked or current layers that have a weight
// an adapter can be put on.
func (a *app) targets() []string {
	var names []string
	for _, i := range a.tree.chosen() {
		names = append(names, a.book.layers[i].Weight.Name)
	}
	return names
}

// scaled sets the scale of every adapter on the chosen layers through f.
func (a *app) scaled(f func(float64) float64) (plan merge.Plan, n int) {
	plan = a.history.Now()
	byScale := map[string]map[float64][]string{} // adapter, scale, layers
	for _, i := range a.tree.chosen() {
		for _, st := range a.book.layers[i].Steps {
			name := adapterName(st.Adapter)
			if byScale[name] == nil {
				byScale[name] = map[float64][]string{}
			}
			v := f(st.Factor)
			byScale[name][v] = append(byScale[name][v], a.book.layers[i].Weight.Name)
		}
		if a.book.planned(i) {
			n++
		}
	}
	for _, ad := range plan.Adapters {
		for _, v := range slices.Sorted(keysOf(byScale[ad.Name])) {
			plan = plan.Assign(ad.Name, v, byScale[ad.Name][v]...)
		}
	}
	return plan, n
}

func keysOf(m map[float64][]string) func(func(float64) bool) {
	return func(yield func(float64) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// scaleBy changes the scale of the chosen layers in steps of a tenth. A scale of
// zero would take the adapter off, so it is stepped over.
func (a *app) scaleBy(d float64) tea.Cmd {
	last := 0.0
	plan, n := a.scaled(func(v float64) float64 {
		v = math.Round((v+d)*1e4) / 1e4
		if v == 0 {
			v = d
		}
		last = v
		return v
	})
	return a.apply(plan, fmt.Sprintf("scale %s on %s", strconv.FormatFloat(last, 'g', 4, 64), plural(n, "layer")))
}

// askScale lets a scale be typed.
func (a *app) askScale() tea.Cmd {
	a.push(newPrompt("scale", "multiplies alpha/r; 1 is as trained, 0 takes the adapter off", "1", func(a *app, p *prompt, text string) tea.Cmd {
		v, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsInf(v, 0) || math.IsNaN(v) {
			return p.refuse("not a number: " + text)
		}
		a.pop(p)
		plan, n := a.scaled(func(float64) float64 { return v })
		return a.apply(plan, fmt.Sprintf("scale %g on %s", v, plural(n, "layer")))
	}))
	return nil
}

func (a *app) clearChosen() tea.Cmd {
	names := a.targets()
	return a.apply(a.history.Now().Clear(names...), "cleared "+plural(len(names), "layer"))
}

// describe names layers for a title.
func (a *app) describe(names []string) string {
	if len(names) == 1 {
		return clean(a.book.short(names[0]))
	}
	return plural(len(names), "layer")
}

// chooseOutput offers the forms in which the chosen layers can be written.
func (a *app) chooseOutput() tea.Cmd {
	names := a.targets()
	notes := map[merge.Output]string{
		merge.Same:     "requantized as it was: smallest, loses small deltas",
		merge.AsBF16:   "dequantized: 4 times as large as 4-bit, keeps the adapter",
		merge.AsF16:    "dequantized, 16 bits",
		merge.AsF32:    "dequantized, 32 bits",
		merge.Keep:     "base bytes untouched, adapter dropped here",
		merge.Separate: "base bytes untouched, adapter kept beside the checkpoint",
	}
	var items []item
	for _, o := range merge.Outputs() {
		items = append(items, item{text: string(o), note: notes[o], run: func(a *app) tea.Cmd {
			return a.apply(a.history.Now().SetOutput(o, names...), "output "+string(o)+" for "+a.describe(names))
		}})
	}
	a.push(newPicker("output form of "+a.describe(names), "enter chooses · esc back", false, items))
	return nil
}
