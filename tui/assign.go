package tui

import (
	"slices"

	tea "charm.land/bubbletea/v2"

	"mergescope/loader"
	"mergescope/merge"
	"mergescope/themes"
)

// use is what happens with an adapter that was picked or opened.
type use func(*app, *loader.Adapter) tea.Cmd

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
		func(a *app, ad *loader.Adapter) tea.Cmd { return a.assign(ad, names, false) },
		func(a *app, ad *loader.Adapter) tea.Cmd { return a.assign(ad, names, true) },
		item{text: "none", note: "take adapters off", run: (*app).clearChosen}))
	return nil
}

// assignAll offers the adapters for every layer they target.
func (a *app) assignAll() tea.Cmd {
	on := map[string]bool{}
	for _, ad := range a.history.Now().Adapters {
		on[ad.Name] = true
	}
	a.push(a.adapterPicker("adapter for all targets", on, (*app).useAdapter, (*app).useBeside,
		item{text: "none", note: "take adapters off all layers", run: func(a *app) tea.Cmd {
			return a.apply(a.history.Now().ClearAll(), "cleared all layers")
		}}))
	return nil
}

// assign puts an adapter on layers: in place of what is there, or beside it. One
// that is on all of them already is taken off instead of put beside itself.
func (a *app) assign(ad *loader.Adapter, names []string, beside bool) tea.Cmd {
	plan := withAdapter(a.history.Now(), ad)
	if names = a.takers(plan, ad, names); len(names) == 0 {
		return a.say(themes.Warn, ad.Name+" has no module for this")
	}
	off := func(n string) bool { return !a.book.has(a.book.index(n), ad.Name) }
	if beside && !slices.ContainsFunc(names, off) {
		return a.apply(plan.Assign(ad.Name, 0, names...), ad.Name+" off "+a.describe(names))
	}
	for _, other := range plan.Adapters {
		if !beside && other.Name != ad.Name {
			plan = plan.Assign(other.Name, 0, names...)
		}
	}
	return a.apply(plan.Assign(ad.Name, 1, names...), ad.Name+" on "+a.describe(names))
}

// withAdapter returns a plan that knows an adapter.
func withAdapter(plan merge.Plan, ad *loader.Adapter) merge.Plan {
	if _, ok := plan.Adapter(ad.Name); ok {
		return plan
	}
	return plan.WithAdapter(merge.AdapterRef{Name: ad.Name, Path: ad.Path})
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
	return a.apply(withAdapter(plan, ad).AssignAll(ad.Name, 1), ad.Name+" on all its targets")
}

// useBeside puts an adapter on every layer it targets beside the others, or
// takes it off.
func (a *app) useBeside(ad *loader.Adapter) tea.Cmd {
	plan := a.history.Now()
	if _, ok := plan.Adapter(ad.Name); ok {
		return a.apply(plan.WithoutAdapter(ad.Name), ad.Name+" off")
	}
	return a.apply(withAdapter(plan, ad).AssignAll(ad.Name, 1), ad.Name+" beside the others")
}
