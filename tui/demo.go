package tui

import (
	"slices"

	tea "charm.land/bubbletea/v2"

	"mergescope/loader"
	"mergescope/merge"
)

// Adapters of the demo with a part in its story.
const (
	demoLight  = "gocode-light"
	demoBroken = "broken"
)

// useDemo puts an adapter of the demo on all its targets.
func (a *app) useDemo(name string) tea.Cmd {
	return a.openAdapter("demo:"+name, (*app).useAdapter)
}

// beginDemo makes the light adapter the plan to begin with.
func (a *app) beginDemo() tea.Cmd {
	return a.openAdapter("demo:"+demoLight, func(a *app, ad *loader.Adapter) tea.Cmd {
		ref := merge.AdapterRef{Name: ad.Name, Path: ad.Path}
		a.history = merge.NewHistory(merge.NewPlan(a.history.Now().Model, ref))
		cmd := a.replan()
		a.startCursor()
		return cmd
	})
}

// demoOn is the adapter the plan has, "" if it has none or several.
func (a *app) demoOn() string {
	if ads := a.history.Now().Adapters; len(ads) == 1 {
		return ads[0].Name
	}
	return ""
}

// toggleBroken puts the broken adapter on, and then the light one again.
func (a *app) toggleBroken() tea.Cmd {
	if a.demoOn() == demoBroken {
		return a.useDemo(demoLight)
	}
	a.chase = true
	return a.useDemo(demoBroken)
}

// nextDemo goes through the adapters from light to strong.
func (a *app) nextDemo() tea.Cmd {
	story := []string{demoLight, "gocode-mid", "gocode"}
	i := slices.Index(story, a.demoOn())
	return a.useDemo(story[(i+1)%len(story)])
}
