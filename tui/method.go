package tui

import (
	tea "charm.land/bubbletea/v2"

	"mergescope/merge"
)

// methods are the choices of chooseMethod, with what they mean.
func methods() []struct {
	method merge.Method
	note   string
} {
	return []struct {
		method merge.Method
		note   string
	}{
		{merge.Method{Kind: merge.MethodPeft}, "nearest code after each adapter, bit for bit as PEFT writes it"},
		{merge.Method{Kind: merge.MethodPeft, Defects: true}, "also what PEFT is known to merge wrongly"},
		{merge.Method{Kind: merge.MethodSum}, "adapters added up first, then the nearest code once"},
		{merge.Method{Kind: merge.MethodDithered}, "right on average: keeps small deltas, adds noise; scales stay"},
		{merge.Method{Kind: merge.MethodDithered, Scales: merge.ScalesFresh}, "the same on PEFT's new scales"},
		{merge.Method{Kind: merge.MethodCalibrated}, "right for what inputs see: runs the model; scales stay"},
		{merge.Method{Kind: merge.MethodCalibrated, Scales: merge.ScalesMove}, "on scales moved a little: closer, for little more"},
		{merge.Method{Kind: merge.MethodCalibrated, Optimizer: merge.OptimizerDescent}, "then descent: slower, hardly better"},
		{merge.Method{Kind: merge.MethodCalibrated, Optimizer: merge.OptimizerDirections}, "by main directions: less work, worse"},
	}
}

// otherMethod is what typing a method is for.
const otherMethod = "type it: a residual adapter, tokens, damping, a seed"

// chooseMethod offers how the codes of the chosen layers are found.
func (a *app) chooseMethod() tea.Cmd {
	names := a.targets()
	var items []item
	for _, m := range methods() {
		items = append(items, item{text: m.method.String(), note: m.note, run: func(a *app) tea.Cmd {
			return a.apply(a.history.Now().SetMethod(m.method, names...), "method "+m.method.String()+" for "+a.describe(names))
		}})
	}
	where := a.describe(names)
	items = append(items, item{text: "another…", note: otherMethod, run: func(a *app) tea.Cmd {
		return a.askMethod(func(p merge.Plan, m merge.Method) merge.Plan { return p.SetMethod(m, names...) }, where)
	}})
	a.push(newPicker("method of "+where, "enter chooses · esc back", false, items))
	return nil
}

// chooseMethodAll is chooseMethod for every layer.
func (a *app) chooseMethodAll() tea.Cmd {
	var items []item
	for _, m := range methods() {
		items = append(items, item{text: m.method.String(), note: m.note, run: func(a *app) tea.Cmd {
			return a.apply(a.history.Now().SetMethodAll(m.method), "method "+m.method.String()+" for all layers")
		}})
	}
	items = append(items, item{text: "another…", note: otherMethod, run: func(a *app) tea.Cmd {
		return a.askMethod(merge.Plan.SetMethodAll, "all layers")
	}})
	a.push(newPicker("method of all layers", "enter chooses · esc back", false, append(items, a.ontoItems()...)))
	return nil
}
