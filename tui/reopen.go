package tui

import (
	"errors"
	"strings"

	tea "charm.land/bubbletea/v2"

	"mergescope/merge"
	"mergescope/themes"
)

// arrival is a message that knows what to do when it comes.
type arrival interface {
	arrive(a *app) tea.Cmd
}

// noSwitch says why another checkpoint cannot be opened now.
func (a *app) noSwitch() string {
	if a.busy() && !a.job.quiet {
		return "a " + a.job.kind() + " is running; x cancels it"
	}
	return ""
}

// recentMsg brings the checkpoints that were open before.
type recentMsg struct{ all []recent }

// openCheckpoint offers the checkpoints that were open before, and any other.
func (a *app) openCheckpoint() tea.Cmd {
	dir := shelf(a.opt.Sessions)
	return a.work(func() tea.Msg { return recentMsg{dir.recent()} })
}

func (msg recentMsg) arrive(a *app) tea.Cmd {
	other := item{text: "another…", note: "directory, file or cache name", run: (*app).askCheckpoint}
	items := []item{other}
	for _, r := range msg.all {
		it := item{text: r.model, note: r.when.In(a.now().Location()).Format("2 Jan 15:04") + " · " + r.plan, run: func(a *app) tea.Cmd { return a.switchTo(r.model, nil) }}
		switch {
		case r.gone:
			it.reason = "is not there any more"
		case r.model == modelKey(a.opt.Plan.Model):
			it.reason = "is open"
		}
		items = append(items, it)
	}
	if a.opt.Source.Demo != nil && !a.opt.Demo {
		items = append(items, item{text: "demo", note: "the checkpoint inside the program", run: func(a *app) tea.Cmd { return a.switchTo("demo", nil) }})
	}
	if len(items) == 1 {
		return a.askCheckpoint()
	}
	a.push(newPicker("open checkpoint", "enter opens · esc back", true, items))
	return nil
}

// askCheckpoint lets the name of a checkpoint be typed.
func (a *app) askCheckpoint() tea.Cmd {
	p := newPrompt("open checkpoint", "a directory in Hugging Face layout, a .safetensors file, or a name in the Hugging Face cache", "",
		func(a *app, p *prompt, text string) tea.Cmd {
			if text == "" {
				return p.refuse("a name is needed")
			}
			return a.switchTo(expandHome(text), p)
		})
	p.files = true
	a.push(p)
	return nil
}

// switchTo opens another checkpoint in place of this one, after asking where a
// plan would be lost.
func (a *app) switchTo(name string, from *prompt) tea.Cmd {
	if !a.unsaved() || a.memorable() {
		return a.fetch(name, from)
	}
	return a.ask(&confirm{name: "open another checkpoint?", lines: []string{"The plan has changes that are not saved."}, choices: []choice{
		{"s", "save the plan, then open", func(a *app) tea.Cmd {
			return a.saveThen(func(a *app) tea.Cmd { return a.fetch(name, from) })
		}},
		{"o", "open without saving", func(a *app) tea.Cmd { return a.fetch(name, from) }},
		{"b", "back", nil},
	}}, false)
}

// fetchedMsg brings a checkpoint that was opened, with its session.
type fetchedMsg struct {
	opt    Options
	recall recall
	err    error
	from   *prompt // that asked for it, if one is open
}

// fetch opens a checkpoint and reads its session, and keeps that of this one.
func (a *app) fetch(name string, from *prompt) tea.Cmd {
	opt := a.opt
	opt.Plan, opt.PlanFile, opt.Out = merge.NewPlan(name), "", ""
	opt.Demo = name == "demo" || strings.HasPrefix(name, "demo:")
	var now *memory
	if a.memorable() {
		now = a.remembered()
	}
	if from != nil {
		from.wait = true
	}
	return a.work(func() tea.Msg {
		model, err := opt.Source.Checkpoint(name)
		if err != nil {
			return fetchedMsg{err: err, from: from}
		}
		opt.Project = merge.NewProject(model)
		msg := fetchedMsg{opt: opt, from: from}
		if now != nil {
			msg.err = shelf(opt.Sessions).save(now)
		}
		msg.recall = recallSession(opt)
		return msg
	})
}

// arrive puts a model on the checkpoint in this one's place.
func (msg fetchedMsg) arrive(a *app) tea.Cmd {
	if msg.opt.Project == nil {
		if msg.from != nil {
			return msg.from.refuse(msg.err.Error())
		}
		return a.say(themes.Bad, clean(msg.err.Error()))
	}
	if why := a.noSwitch(); why != "" { // a job began meanwhile
		closeAll(msg.recall.fresh)
		if c := msg.recall.onto; c != nil {
			_ = c.Close() // read only: nothing is lost
		}
		return tea.Batch(a.say(themes.Warn, why), ignoring(msg.opt.Project.Model.Close()))
	}
	if a.busy() {
		a.job.cancel()
	}
	a.sight.stop()
	b := newApp(a.ctx, msg.opt, projectEngine{msg.opt.Project})
	b.inherit(a)
	b.models = append(b.models, msg.opt.Project.Model)
	msg.recall.err = errors.Join(msg.recall.err, msg.err)
	b.greeting.role, b.greeting.text = b.takeUp(msg.recall)
	if b.greeting.text == "" {
		b.greeting = toast{role: themes.Note, text: "opened " + clean(b.model.Name)}
	}
	b.resize(a.w, a.h)
	a.next = b
	return b.begin()
}

// ignoring is a command without anything to do; the error of closing what was
// only read tells nobody anything.
func ignoring(error) tea.Cmd { return nil }

// inherit takes over what belongs to the program and not to a checkpoint.
// Answers to what the other one asked come late and must find other generations.
func (a *app) inherit(old *app) {
	a.crew, a.now, a.after = old.crew, old.now, old.after
	a.skin, a.mouseOff, a.prefs, a.began = old.skin, old.mouseOff, old.prefs, old.began
	a.term, a.log = old.term, old.log
	a.opened, a.models, a.wrote = old.opened, old.models, old.wrote
	a.jobGen, a.keepGen, a.toast.gen = old.jobGen+1, old.keepGen+1, old.toast.gen
	a.sight.rest.gen, a.sight.tile.gen, a.sight.ask.gen = old.sight.rest.gen, old.sight.tile.gen, old.sight.ask.gen
}
