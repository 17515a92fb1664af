package tui

import (
	"fmt"
	"strings"

	tea "charm.land/bubbletea/v2"

	"mergescope/loader"
	"mergescope/merge"
	"mergescope/themes"
)

// openedMsg brings an adapter that was opened, and what to do with it.
type openedMsg struct {
	adapter *loader.Adapter
	err     error
	then    use
	from    *prompt // that asked for it, if one is open
}

// openAdapter opens an adapter by the name a user types.
func (a *app) openAdapter(name string, then use) tea.Cmd {
	return a.openFrom(name, then, nil)
}

func (a *app) openFrom(name string, then use, from *prompt) tea.Cmd {
	for _, ad := range a.eng.adapters() {
		if ad.Path == name || "demo:"+ad.Name == name {
			if from != nil {
				a.pop(from)
			}
			return then(a, ad)
		}
	}
	src, model := a.opt.Source, a.model
	return a.work(func() tea.Msg {
		ad, err := merge.OpenAdapter(src, model, name)
		return openedMsg{ad, err, then, from}
	})
}

// adapterOpened takes an adapter in. Its name becomes unique.
func (a *app) adapterOpened(msg openedMsg) tea.Cmd {
	if msg.err != nil {
		if msg.from != nil {
			return msg.from.refuse(msg.err.Error())
		}
		return a.say(themes.Bad, clean(msg.err.Error()))
	}
	if msg.from != nil {
		a.pop(msg.from)
	}
	msg.adapter.Name = freeName(msg.adapter.Name, a.eng.adapters())
	a.adopt([]*loader.Adapter{msg.adapter})
	return msg.then(a, msg.adapter)
}

// closeFiles closes what was opened here.
func (a *app) closeFiles() {
	closeAll(a.opened)
	for _, m := range a.models {
		_ = m.Close() // read only: nothing is lost
	}
	a.opened, a.models = nil, nil
}

// askAdapter opens an adapter and then asks where it goes.
func (a *app) askAdapter() tea.Cmd { return a.promptAdapter((*app).placeAdapter) }

// placeAdapter asks where an adapter goes.
func (a *app) placeAdapter(ad *loader.Adapter) tea.Cmd {
	names := a.targets()
	items := []item{
		{text: "every layer it targets", note: adapterNote(ad), run: func(a *app) tea.Cmd { return a.useAdapter(ad) }},
		{text: "beside the others", note: "every layer it targets", run: func(a *app) tea.Cmd { return a.useBeside(ad) }},
	}
	if len(names) > 0 {
		items = append(items, item{text: a.describe(names), note: "marked or under the cursor", run: func(a *app) tea.Cmd { return a.assign(ad, names, false) }})
	}
	a.push(newPicker("where does "+ad.Name+" go?", "enter chooses · esc back", false, items))
	return nil
}

// promptAdapter lets the name of an adapter be typed.
func (a *app) promptAdapter(then use) tea.Cmd {
	help := "a PEFT directory, its safetensors file, or a name in the Hugging Face cache"
	if len(a.demo) > 0 {
		help += "; the demo has demo:" + strings.Join(a.demo, ", demo:")
	}
	p := newPrompt("open adapter", help, "", func(a *app, p *prompt, text string) tea.Cmd {
		if text == "" {
			return p.refuse("a name is needed")
		}
		p.wait = true
		return a.openFrom(expandHome(text), then, p)
	})
	p.files = true
	a.push(p)
	return nil
}

// adapterPicker lists the open adapters, the demo's, and a way to open others.
// Enter puts an adapter in place of what is there (only), space beside it (also).
func (a *app) adapterPicker(title string, on map[string]bool, only, also use, more ...item) *picker {
	var items []item
	open := map[string]bool{}
	for _, ad := range a.eng.adapters() {
		open[ad.Name] = true
		note := adapterNote(ad)
		if on[ad.Name] {
			note = "on · " + note
		}
		items = append(items, item{
			text: ad.Name, note: note,
			run:  func(a *app) tea.Cmd { return only(a, ad) },
			also: func(a *app) tea.Cmd { return also(a, ad) },
		})
	}
	for _, name := range a.demo {
		if !open[name] {
			items = append(items, item{
				text: name, note: "demo",
				run:  func(a *app) tea.Cmd { return a.openAdapter("demo:"+name, only) },
				also: func(a *app) tea.Cmd { return a.openAdapter("demo:"+name, also) },
			})
		}
	}
	items = append(items, item{
		text: "open adapter…", note: "directory, file or cache name",
		run:  func(a *app) tea.Cmd { return a.promptAdapter(only) },
		also: func(a *app) tea.Cmd { return a.promptAdapter(also) },
	})
	items = append(items, more...)
	return newPicker(title, "enter only this one · space beside others, or off · esc back", false, items)
}

// adapterNote says what an adapter is made of.
func adapterNote(ad *loader.Adapter) string {
	s := fmt.Sprintf("r %d · alpha %g · %s", ad.Config.R, ad.Config.Alpha, plural(len(ad.Modules), "module"))
	if ad.Config.UseDoRA {
		s += " · DoRA"
	}
	if ad.Config.UseRSLoRA {
		s += " · rsLoRA"
	}
	return s
}
