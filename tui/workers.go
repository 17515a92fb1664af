package tui

import (
	"fmt"
	"runtime"
	"strconv"

	tea "charm.land/bubbletea/v2"
)

// maxWorkers is how many workers a job takes.
func maxWorkers() int { return 2 * runtime.GOMAXPROCS(0) }

// workers returns how many workers the running job has, or the next one will.
func (a *app) workers() int {
	if a.busy() && a.job.run != nil && a.job.snap.Workers > 0 {
		return a.job.snap.Workers
	}
	if a.opt.Workers > 0 {
		return a.opt.Workers
	}
	return runtime.GOMAXPROCS(0)
}

// setWorkers changes the running job at once, and those that follow.
func (a *app) setWorkers(n int) tea.Cmd {
	n = between(n, 1, maxWorkers())
	a.opt.Workers = n
	if a.busy() && a.job.run != nil {
		a.job.run.SetWorkers(n)
		a.takeSnapshot()
		return a.view(plural(n, "worker"))
	}
	return a.view(plural(n, "worker") + " from the next job on")
}

// askWorkers lets the number of workers be typed.
func (a *app) askWorkers() tea.Cmd {
	help := fmt.Sprintf("how many layers are computed at once, 1 to %d; fewer leave the machine to others", maxWorkers())
	a.push(newPrompt("workers", help, strconv.Itoa(a.workers()), func(a *app, p *prompt, text string) tea.Cmd {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxWorkers() {
			return p.refuse(fmt.Sprintf("want a number from 1 to %d", maxWorkers()))
		}
		a.pop(p)
		return a.setWorkers(n)
	}))
	return nil
}

func workerActions() []action {
	return []action{
		{"job.workers", nil, inPanes, "", "Workers…", "How many layers are computed at once, in the running job too.", nil, (*app).askWorkers},
		{"job.workers.more", nil, inPanes, "", "One more worker", "The running job takes it at once.", nil, func(a *app) tea.Cmd { return a.setWorkers(a.workers() + 1) }},
		{"job.workers.fewer", nil, inPanes, "", "One worker less", "The running job lets it go after what it is at.", nil, func(a *app) tea.Cmd { return a.setWorkers(a.workers() - 1) }},
	}
}
