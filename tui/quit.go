package tui

import (
	"fmt"

	tea "charm.land/bubbletea/v2"

	"mergescope/merge"
)

// quit leaves, or asks first if something would be lost.
func (a *app) quit() tea.Cmd {
	if a.topLens() != nil {
		return a.goBack()
	}
	unsaved := a.unsaved() && !a.memorable() // a session keeps it
	running := a.busy() && !a.job.quiet
	if !running && !unsaved {
		return a.leave()
	}
	d := &confirm{name: "quit"}
	if running {
		d.lines = append(d.lines, fmt.Sprintf("A %s is running, %s.", a.job.kind(), a.progressText()))
		if a.writing() {
			d.lines = append(d.lines, "Leaving stops it; merging into "+clean(a.job.opt.Out)+" again goes on where it stopped.")
		}
	}
	if unsaved {
		d.lines = append(d.lines, "The plan has changes that are not saved.")
		d.choices = append(d.choices, choice{"s", "save the plan, then quit", func(a *app) tea.Cmd { return a.saveThen((*app).leave) }})
	}
	leave := "quit without saving"
	if running {
		leave = "cancel the " + a.job.kind() + " and quit"
	}
	d.choices = append(d.choices, choice{"q", leave, (*app).leave}, choice{"b", "back, everything goes on", nil})
	return a.ask(d, false)
}

// interrupt is ctrl+c: the same question, and when that is open already, leave.
func (a *app) interrupt() tea.Cmd {
	if a.quitDialog() != nil {
		return a.leave()
	}
	a.overlays = nil
	return a.quit()
}

// quitDialog returns the question whether to leave, nil if it is not on top.
func (a *app) quitDialog() *confirm {
	if d, ok := a.topOverlay().(*confirm); ok && d.name == "quit" {
		return d
	}
	return nil
}

// leave stops a running job and ends the program; Run waits for the job.
func (a *app) leave() tea.Cmd {
	if a.busy() {
		a.job.cancel()
	}
	a.left = true
	return tea.Quit
}

// unsaved reports whether leaving would lose work on the plan. On the demo
// there is none.
func (a *app) unsaved() bool { return !a.opt.Demo && !a.history.Now().Equal(a.saved) }

func (a *app) askCancel() tea.Cmd {
	if x, ok := a.topOverlay().(*evalBox); ok {
		x.cancel()
		return nil
	}
	lines := []string{fmt.Sprintf("The %s is running, %s.", a.job.kind(), a.progressText())}
	if a.writing() {
		lines = append(lines, "What is written stays in "+clean(a.job.opt.Out)+"; merging there again goes on where it stopped.")
	}
	return a.ask(&confirm{name: "cancel the " + a.job.kind() + "?", lines: lines, choices: []choice{
		{"x", "cancel it", func(a *app) tea.Cmd {
			if a.busy() {
				a.job.cancel()
			}
			return nil
		}},
		{"b", "back, it goes on", nil},
	}}, false)
}

func (a *app) pause() tea.Cmd {
	if a.job.snap.State == merge.Paused {
		a.job.run.Resume()
		return a.view("goes on")
	}
	a.job.run.Pause()
	return a.view("paused; p goes on")
}

// suspend stops the whole process, which stops a running job too.
func (a *app) suspend() tea.Cmd {
	if !a.busy() || a.job.quiet {
		return tea.Suspend
	}
	return a.ask(&confirm{name: "suspend?", lines: []string{"The " + a.job.kind() + " stops too, until the program is in the foreground again."}, choices: []choice{
		{"ctrl+z", "suspend", func(*app) tea.Cmd { return tea.Suspend }},
		{"b", "back", nil},
	}}, false)
}

func (a *app) toggleMouse() tea.Cmd {
	a.mouseOff = !a.mouseOff
	a.prefs.MouseOff = a.mouseOff
	if a.mouseOff {
		return a.view("the mouse is the terminal's")
	}
	return a.view("mouse on; shift+drag selects text in most terminals")
}
