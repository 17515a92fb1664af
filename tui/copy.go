package tui

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	tea "charm.land/bubbletea/v2"

	"mergescope/merge"
	"mergescope/themes"
)

// copy puts what the cursor is on on the clipboard. The terminal does not say
// whether it did.
func (a *app) copy() tea.Cmd {
	text := a.copyText()
	if text == "" {
		return a.say(themes.Warn, "nothing to copy here")
	}
	first, _, _ := strings.Cut(text, "\n")
	return tea.Batch(tea.SetClipboard(text), a.say(themes.Good, "copied "+clean(first)))
}

func (a *app) copyText() string {
	if x, ok := a.topOverlay().(*explainBox); ok {
		return x.view.text()
	}
	if x, ok := a.topOverlay().(interface{ copyText() string }); ok {
		return x.copyText()
	}
	l := a.book.layer(a.sight.layer)
	switch {
	case a.focus == alertsID && a.feed.current() != nil:
		al := a.feed.current()
		return fmt.Sprintf("%s %s %s: %s\n%s", al.Level, al.Code, al.Layer, al.Message, al.Hint)
	case l == nil:
		return ""
	case a.focus == blocksID || a.focus == blockID:
		row, col := a.blocks.cursor()
		return fmt.Sprintf("%s:%d:%d", l.Weight.Name, row, col)
	}
	return l.Weight.Name
}

// copyCommand copies the command line that does what the plan does.
func (a *app) copyCommand() tea.Cmd {
	text, file := a.commandLine()
	if file && (a.opt.PlanFile == "" || a.unsaved()) {
		return a.say(themes.Warn, "the plan needs a file for that: s saves it")
	}
	return tea.Batch(tea.SetClipboard(text), a.say(themes.Good, "copied "+clean(text)))
}

// commandLine is the merge command of the plan: adapters and scales where they
// say it all, else the plan file.
func (a *app) commandLine() (line string, file bool) {
	plan := a.history.Now()
	out, _ := a.outDefault()
	line = plan.CommandLine(out, a.opt.PlanFile, a.how.words()...)
	return line, plan.CommandLine(out, "x") != plan.CommandLine(out, "y")
}

// savedMsg is the end of writing a plan file.
type savedMsg struct {
	path string
	plan merge.Plan
	err  error
	then func(*app) tea.Cmd
}

// askSave writes the plan to its file, or asks for one.
func (a *app) askSave() tea.Cmd { return a.saveThen(nil) }

// saveThen saves the plan and then goes on.
func (a *app) saveThen(then func(*app) tea.Cmd) tea.Cmd {
	if a.opt.PlanFile != "" {
		return a.save(a.opt.PlanFile, then)
	}
	return a.askFile("save plan as", "a JSON file that the commands read with --plan", merge.PlanFile,
		func(a *app, path string) tea.Cmd { return a.save(path, then) })
}

// askFile asks for a file to write, and again before one is overwritten.
func (a *app) askFile(name, help, value string, write func(*app, string) tea.Cmd) tea.Cmd {
	p := newPrompt(name, help, value, func(a *app, p *prompt, path string) tea.Cmd {
		if path == "" {
			return p.refuse("a file name is needed")
		}
		a.pop(p)
		path = expandHome(path)
		if _, err := os.Lstat(path); err == nil {
			return a.ask(&confirm{name: "overwrite?", lines: []string{clean(path) + " exists."}, choices: []choice{
				{"o", "overwrite it", func(a *app) tea.Cmd { return write(a, path) }},
				{"b", "back", nil},
			}}, false)
		}
		return write(a, path)
	})
	p.files = true
	a.push(p)
	return nil
}

func (a *app) save(path string, then func(*app) tea.Cmd) tea.Cmd {
	plan := a.history.Now()
	return a.work(func() tea.Msg { return savedMsg{path, plan, writeFile(path, plan.Encode()), then} })
}

// writeFile replaces a file as a whole: a reader sees the old one or the new.
func writeFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Chmod(f.Name(), 0o644)
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // the first error is the one to tell
	}
	return err
}

func (a *app) planSaved(msg savedMsg) tea.Cmd {
	if msg.err != nil {
		return a.say(themes.Bad, "the plan was not saved: "+clean(msg.err.Error()))
	}
	a.opt.PlanFile, a.saved = msg.path, msg.plan
	if msg.then != nil {
		return msg.then(a)
	}
	return a.say(themes.Good, "plan saved in "+clean(msg.path))
}
