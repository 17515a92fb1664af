package tui

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	tea "charm.land/bubbletea/v2"

	"mergescope/loader"
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
	return a.refigure()
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

// assignChosen offers the adapters for the chosen layers.
func (a *app) assignChosen() tea.Cmd {
	names := a.targets()
	on := map[string]bool{}
	for _, i := range a.tree.chosen() {
		for _, st := range a.book.layers[i].Steps {
			on[adapterName(st.Adapter)] = true
		}
	}
	a.push(a.adapterPicker("adapter for "+a.describe(names), on,
		func(a *app, ad *loader.Adapter) tea.Cmd { return a.assignOnly(ad, names) },
		item{text: "none", note: "take adapters off", run: (*app).clearChosen}))
	return nil
}

// assignAll offers the adapters for every layer they target.
func (a *app) assignAll() tea.Cmd {
	a.push(a.adapterPicker("adapter for all targets", nil, (*app).useAdapter,
		item{text: "none", note: "take adapters off all layers", run: func(a *app) tea.Cmd {
			return a.apply(a.history.Now().ClearAll(), "cleared all layers")
		}}))
	return nil
}

// describe names layers for a title.
func (a *app) describe(names []string) string {
	if len(names) == 1 {
		return clean(a.book.short(names[0]))
	}
	return plural(len(names), "layer")
}

// adapterPicker lists the open adapters, the demo's, and a way to open others.
func (a *app) adapterPicker(title string, on map[string]bool, use func(*app, *loader.Adapter) tea.Cmd, more ...item) *picker {
	var items []item
	open := map[string]bool{}
	for _, ad := range a.eng.adapters() {
		open[ad.Name] = true
		note := adapterNote(ad)
		if on[ad.Name] {
			note = "on · " + note
		}
		items = append(items, item{text: ad.Name, note: note, run: func(a *app) tea.Cmd { return use(a, ad) }})
	}
	for _, name := range a.demo {
		if !open[name] {
			items = append(items, item{text: name, note: "demo", run: func(a *app) tea.Cmd { return a.openAdapter("demo:"+name, use) }})
		}
	}
	items = append(items, item{text: "open adapter…", note: "directory, file or cache name", run: func(a *app) tea.Cmd {
		return a.promptAdapter(use)
	}})
	items = append(items, more...)
	return newPicker(title, "enter chooses · esc back", false, items)
}

// adapterNote says what an adapter is made of.
func adapterNote(ad *loader.Adapter) string {
	s := fmt.Sprintf("r %d · alpha %g · %s", ad.Config.R, ad.Config.Alpha, plural(len(ad.Modules), "module"))
	if ad.Config.UseDoRA {
		s += " · DoRA"
	}
	if ad.Config.UseRSLoRA {
		s += " · rsLoRA"
	}
	return s
}

// assignOnly puts one adapter on layers in place of what is there.
func (a *app) assignOnly(ad *loader.Adapter, names []string) tea.Cmd {
	plan := a.history.Now()
	if _, ok := plan.Adapter(ad.Name); !ok {
		plan = plan.WithAdapter(merge.AdapterRef{Name: ad.Name, Path: ad.Path})
	}
	if names = a.takers(plan, ad, names); len(names) == 0 {
		return a.say(themes.Warn, ad.Name+" has no module for this")
	}
	for _, other := range plan.Adapters {
		if other.Name != ad.Name {
			plan = plan.Assign(other.Name, 0, names...)
		}
	}
	plan = plan.Assign(ad.Name, 1, names...)
	return a.apply(plan, ad.Name+" on "+a.describe(names))
}

// takers keeps the layers that an adapter has a module for, so that plans hold
// no rules without effect.
func (a *app) takers(plan merge.Plan, ad *loader.Adapter, names []string) []string {
	all, _ := a.eng.layers(plan.ClearAll().AssignAll(ad.Name, 1))
	takes := map[string]bool{}
	for i := range all {
		takes[all[i].Weight.Name] = len(all[i].Steps) > 0
	}
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !takes[n] })
}

// useAdapter puts one adapter on every layer it targets in place of all others.
func (a *app) useAdapter(ad *loader.Adapter) tea.Cmd {
	plan := a.history.Now()
	for _, other := range plan.Adapters {
		if other.Name != ad.Name {
			plan = plan.WithoutAdapter(other.Name)
		}
	}
	plan = plan.WithAdapter(merge.AdapterRef{Name: ad.Name, Path: ad.Path}).AssignAll(ad.Name, 1)
	return a.apply(plan, ad.Name+" on all its targets")
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
