package tui

import (
	"errors"
	"path/filepath"

	tea "charm.land/bubbletea/v2"

	"mergescope/loader"
	"mergescope/merge"
)

// ontoItems are the choices of a merge onto the original: to open it, or, once
// the plan has one, what the result is quantized to.
func (a *app) ontoItems() []item {
	now := a.history.Now()
	if now.Onto == "" {
		return []item{{text: "onto the original…", note: "add the deltas to the 16-bit weights the model was quantized from", run: (*app).askOnto}}
	}
	name := filepath.Base(now.Onto)
	items := []item{{text: "not onto " + name, note: "merge into the model itself again", run: func(a *app) tea.Cmd {
		p := a.history.Now()
		p.Onto, p.Quantize = "", ""
		return a.apply(p, "merge into the model itself")
	}}}
	for _, q := range []string{"", "nf4", "nf4,double", "fp4", "fp4,double", "int8"} {
		text, note := "onto "+name+", "+q, "quantized once, after the merge"
		if q == "" {
			text, note = "onto "+name, "written in its own 16 bits"
		}
		items = append(items, item{text: text, note: note, run: func(a *app) tea.Cmd {
			p := a.history.Now()
			p.Quantize = q
			return a.apply(p, text)
		}})
	}
	return items
}

// askOnto lets the name of the original be typed.
func (a *app) askOnto() tea.Cmd {
	p := newPrompt("merge onto the original", "the 16-bit checkpoint this model was quantized from: a directory, a .safetensors file or a cache name", "",
		func(a *app, p *prompt, text string) tea.Cmd {
			if text == "" {
				return p.refuse("a name is needed")
			}
			p.wait = true
			src, name := a.opt.Source, expandHome(text)
			return a.work(func() tea.Msg {
				c, err := src.Checkpoint(name)
				return ontoMsg{name, c, err, p}
			})
		})
	p.files = true
	a.push(p)
	return nil
}

// ontoMsg brings an original that was opened.
type ontoMsg struct {
	name     string
	original *loader.Checkpoint
	err      error
	from     *prompt
}

// takeOriginal lets plans merge onto an original that was opened here. One that
// does not fit is closed.
func (a *app) takeOriginal(name string, original *loader.Checkpoint) error {
	eng, err := a.eng.onto(name, original)
	if err == nil && len(original.Weights) != len(a.model.Weights) {
		err = errors.New("one of the two stores a tied embedding twice: mergescope merge --onto can do that, this screen cannot")
	}
	if err != nil {
		_ = original.Close() // read only: nothing is lost
		return err
	}
	a.eng, a.onto = eng, name
	a.models = append(a.models, original)
	return nil
}

// original opens what a plan merges onto; nil if that is nothing, or open.
func original(src loader.Source, plan merge.Plan, open string) (*loader.Checkpoint, error) {
	if plan.Onto == "" || plan.Onto == open {
		return nil, nil
	}
	return src.Checkpoint(plan.Onto)
}

// arrive lets the plan merge onto the original, if it is one.
func (msg ontoMsg) arrive(a *app) tea.Cmd {
	if msg.err != nil {
		return msg.from.refuse(msg.err.Error())
	}
	if err := a.takeOriginal(msg.name, msg.original); err != nil {
		return msg.from.refuse(err.Error())
	}
	a.pop(msg.from)
	plan := a.history.Now()
	plan.Onto = msg.name
	return a.apply(plan, "onto "+filepath.Base(msg.name))
}
