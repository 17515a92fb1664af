package tui

import (
	"bytes"
	"fmt"

	tea "charm.land/bubbletea/v2"

	"mergescope/loader"
	"mergescope/merge"
	"mergescope/themes"
)

// maxPlan bounds a plan file, in bytes.
const maxPlan = 16 << 20

// planMsg brings a plan that was read, with the adapters it needs.
type planMsg struct {
	path  string
	read  merge.Plan // as in the file
	plan  merge.Plan // with the names adapters have here
	fresh []*loader.Adapter
	onto  *loader.Checkpoint // the original that the plan merges onto, if it was not open
	err   error
	from  *prompt
}

// askLoad lets the name of a plan file be typed.
func (a *app) askLoad() tea.Cmd {
	value := a.opt.PlanFile
	if value == "" {
		value = merge.PlanFile
	}
	p := newPrompt("load plan", "a plan file; its adapters are opened too, and z takes it back", value, func(a *app, p *prompt, text string) tea.Cmd {
		if text == "" {
			return p.refuse("a file name is needed")
		}
		p.wait = true
		return a.readPlan(expandHome(text), p)
	})
	p.files = true
	a.push(p)
	return nil
}

func (a *app) readPlan(path string, from *prompt) tea.Cmd {
	src, model, open, onto := a.opt.Source, a.model, a.eng.adapters(), a.onto
	return a.work(func() tea.Msg {
		msg := planMsg{path: path, from: from}
		data, err := readBounded(path, maxPlan)
		if err == nil {
			msg.read, err = merge.ReadPlan(bytes.NewReader(data), path)
		}
		if err == nil {
			msg.plan, msg.fresh, err = openPlan(src, model, open, msg.read)
		}
		if err == nil {
			msg.onto, err = original(src, msg.read, onto)
		}
		if err != nil {
			closeAll(msg.fresh)
			msg.fresh = nil
		}
		msg.err = err
		return msg
	})
}

// arrive makes the plan the current one, as an edit that can be undone.
func (msg planMsg) arrive(a *app) tea.Cmd {
	if msg.err != nil {
		return msg.from.refuse(msg.err.Error())
	}
	if msg.onto != nil {
		if err := a.takeOriginal(msg.plan.Onto, msg.onto); err != nil {
			closeAll(msg.fresh)
			return msg.from.refuse(err.Error())
		}
	}
	a.pop(msg.from)
	a.adopt(msg.fresh)
	made, here := msg.plan.Model, a.history.Now().Model
	msg.plan.Model = here
	changed := a.history.Do(msg.plan)
	a.opt.PlanFile, a.saved = msg.path, msg.plan
	text := fmt.Sprintf("plan of %s loaded; z takes it back", clean(msg.path))
	role := themes.Good
	switch {
	case !changed:
		text = "the plan is as in " + clean(msg.path) + " already"
	case made != here && absolute(made) != absolute(here):
		role, text = themes.Warn, fmt.Sprintf("that plan was made for %s; rules for layers that are not here do nothing", clean(made))
	}
	return tea.Batch(a.say(role, text), a.replan())
}
