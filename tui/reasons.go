package tui

// Why actions cannot run now; "" if they can.

func (a *app) noLayer() string {
	if len(a.tree.chosen()) == 0 {
		return "no layer is marked or under the cursor"
	}
	return ""
}

func (a *app) noAdapterHere() string {
	if why := a.noLayer(); why != "" {
		return why
	}
	for _, i := range a.tree.chosen() {
		if a.book.planned(i) {
			return ""
		}
	}
	return "no adapter here; a puts one on"
}

func (a *app) noUndo() string {
	if !a.history.CanUndo() {
		return "nothing to take back"
	}
	return ""
}

func (a *app) noRedo() string {
	if !a.history.CanRedo() {
		return "nothing was taken back"
	}
	return ""
}

func (a *app) noPlanned() string {
	if a.book.countPlanned() > 0 {
		return ""
	}
	if len(a.eng.adapters()) == 0 {
		return "no adapter is open; A opens one"
	}
	return "the plan puts no adapter on any layer; a or A does"
}

// noJob says why no job can begin.
func (a *app) noJob() string {
	if a.busy() && !a.job.quiet {
		return "a " + a.job.kind() + " is running; x cancels it"
	}
	return a.noPlanned()
}

func (a *app) noRerun() string {
	if why := a.noJob(); why != "" {
		return why
	}
	return a.noAdapterHere()
}

func (a *app) noRunning() string {
	if x, ok := a.topOverlay().(*evalBox); ok && !x.ended {
		return ""
	}
	if !a.busy() || a.job.run == nil {
		return "nothing is running"
	}
	return ""
}

func (a *app) noDemo() string {
	if len(a.demo) == 0 {
		return "only with the demo"
	}
	return ""
}

func (a *app) noAlert() string {
	if a.feed.current() == nil {
		return "there are no alerts"
	}
	return ""
}

func (a *app) noTrace() string {
	if l := a.book.layer(a.tree.current()); l == nil || len(l.Steps) == 0 {
		return "no adapter changes this layer"
	}
	if a.sight.trace == nil {
		return "this block has not been computed yet"
	}
	return ""
}

func (a *app) noFigures() string {
	if len(a.book.points(false)) == 0 {
		if why := a.noPlanned(); why != "" {
			return why
		}
		return "nothing is computed yet; D runs the merge without writing"
	}
	return ""
}
