package tui

import (
	"maps"
	"slices"
	"time"

	"mergescope/merge"
)

// gatherAlerts lists what the plan, the last job and the reports say.
func (a *app) gatherAlerts() {
	all := append(a.gathered[:0], a.book.notes...)
	for _, r := range a.book.reports {
		if r != nil {
			all = append(all, r.Alerts...)
		}
	}
	all = append(all, a.general.fitting(a.book.plan)...)
	if j := a.job; j != nil {
		same := slices.Equal(j.sigs, a.book.sigs)
		for _, al := range j.snap.Alerts {
			if (same || al.Layer == "" && j.plan.Equal(a.book.plan)) && !al.More() {
				all = append(all, al)
			}
		}
	}
	all = append(all, a.eval.alerts(a.book.plan)...)
	a.feed.todo = a.noAlerts()
	before := a.feed.counts()[merge.Error]
	a.gathered = all // of which the pane keeps a copy
	a.feed.set(all)
	a.book.flag(all)
	a.tree.facts = facts{alerts: a.feed.byLayer}
	if a.feed.counts()[merge.Error] > before {
		a.errorsCame()
	}
}

// noAlerts is what to do for alerts while there are none.
func (a *app) noAlerts() string {
	switch {
	case a.busy():
		return "what the " + a.job.kind() + " finds comes here while it runs"
	case a.book.countPlanned() == 0:
		return "what is wrong with an adapter, and what a merge would lose, comes here; A puts one on"
	default:
		return "D runs the merge without writing and shows what it would lose"
	}
}

// errorsCame shows that there are new errors.
func (a *app) errorsCame() {
	a.flash = a.flash || a.focus != alertsID
	if first := a.feed.alerts[0]; a.chase && a.book.index(first.Layer) >= 0 {
		a.chase = false
		a.tree.reveal(first.Layer)
	}
}

// general holds what jobs said of the model as a whole. A job over some layers
// only would count less than one over all, so the earlier ones are kept.
type general struct {
	adapters []merge.AdapterRef
	alerts   map[alertID]merge.Alert
}

func (g *general) keep(j *jobRun) {
	if g.alerts == nil || !slices.Equal(g.adapters, j.plan.Adapters) {
		g.adapters, g.alerts = j.plan.Adapters, map[alertID]merge.Alert{}
	}
	for _, al := range j.snap.Alerts {
		id := alertKey(&al)
		if old, ok := g.alerts[id]; al.Layer == "" && !al.More() && (!ok || al.Count > old.Count) {
			g.alerts[id] = al
		}
	}
}

// fitting returns the alerts as long as the plan has the same adapters.
func (g *general) fitting(plan merge.Plan) []merge.Alert {
	if !slices.Equal(g.adapters, plan.Adapters) {
		return nil
	}
	return slices.Collect(maps.Values(g.alerts))
}

// news is what tells two snapshots of a job apart as far as lists depend on
// them.
type news struct {
	done, alerts, count int
	last                time.Time
}

func newsOf(s merge.Snapshot) news {
	n := news{done: s.LayersDone, alerts: len(s.Alerts)}
	if n.alerts > 0 {
		n.count, n.last = s.Alerts[0].Count, s.Alerts[0].Last
	}
	return n
}
