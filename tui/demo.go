package tui

import (
	"fmt"
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"

	"mergescope/loader"
	"mergescope/merge"
	"mergescope/themes"
)

// Adapters of the demo with a part in its story.
const (
	demoLight  = "gocode-light"
	demoBroken = "broken"
)

// openedMsg brings an adapter that was opened, and what to do with it.
type openedMsg struct {
	adapter *loader.Adapter
	err     error
	use     func(*app, *loader.Adapter) tea.Cmd
	from    *prompt // that asked for it, if one is open
}

// openAdapter opens an adapter by the name a user types.
func (a *app) openAdapter(name string, use func(*app, *loader.Adapter) tea.Cmd) tea.Cmd {
	return a.openFrom(name, use, nil)
}

func (a *app) openFrom(name string, use func(*app, *loader.Adapter) tea.Cmd, from *prompt) tea.Cmd {
	for _, ad := range a.eng.adapters() {
		if ad.Path == name || "demo:"+ad.Name == name {
			if from != nil {
				a.pop(from)
			}
			return use(a, ad)
		}
	}
	src := a.opt.Source
	return a.work(func() tea.Msg {
		ad, err := src.Adapter(name)
		return openedMsg{ad, err, use, from}
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
	base := msg.adapter.Name
	for n := 2; a.named(msg.adapter.Name); n++ {
		msg.adapter.Name = fmt.Sprintf("%s-%d", base, n)
	}
	a.opened = append(a.opened, msg.adapter)
	a.eng = a.eng.with(msg.adapter)
	return msg.use(a, msg.adapter)
}

func (a *app) named(name string) bool {
	return slices.ContainsFunc(a.eng.adapters(), func(ad *loader.Adapter) bool { return ad.Name == name })
}

// closeAdapters closes what was opened here.
func (a *app) closeAdapters() {
	for _, ad := range a.opened {
		_ = ad.Close() // read only: nothing is lost
	}
}

// askAdapter opens an adapter and then asks where it goes.
func (a *app) askAdapter() tea.Cmd {
	return a.promptAdapter(func(a *app, ad *loader.Adapter) tea.Cmd {
		names := a.targets()
		a.push(newPicker("where does "+ad.Name+" go?", "enter chooses · esc back", false, []item{
			{text: "every layer it targets", note: adapterNote(ad), run: func(a *app) tea.Cmd { return a.useAdapter(ad) }},
			{text: a.describe(names), note: "marked or under the cursor", run: func(a *app) tea.Cmd { return a.assignOnly(ad, names) }},
		}))
		return nil
	})
}

// promptAdapter lets the name of an adapter be typed.
func (a *app) promptAdapter(use func(*app, *loader.Adapter) tea.Cmd) tea.Cmd {
	help := "a PEFT directory, its safetensors file, or a name in the Hugging Face cache"
	if len(a.demo) > 0 {
		help += "; the demo has demo:" + strings.Join(a.demo, ", demo:")
	}
	a.push(newPrompt("open adapter", help, "", func(a *app, p *prompt, text string) tea.Cmd {
		if text == "" {
			return p.refuse("a name is needed")
		}
		p.wait = true
		return a.openFrom(text, use, p)
	}))
	return nil
}

// useDemo puts an adapter of the demo on all its targets.
func (a *app) useDemo(name string) tea.Cmd {
	return a.openAdapter("demo:"+name, (*app).useAdapter)
}

// beginDemo makes the light adapter the plan to begin with.
func (a *app) beginDemo() tea.Cmd {
	return a.openAdapter("demo:"+demoLight, func(a *app, ad *loader.Adapter) tea.Cmd {
		ref := merge.AdapterRef{Name: ad.Name, Path: ad.Path}
		a.history = merge.NewHistory(merge.NewPlan(a.history.Now().Model, ref))
		cmd := a.replan()
		a.startCursor()
		return cmd
	})
}

// demoOn is the adapter the plan has, "" if it has none or several.
func (a *app) demoOn() string {
	if ads := a.history.Now().Adapters; len(ads) == 1 {
		return ads[0].Name
	}
	return ""
}

// toggleBroken puts the broken adapter on, and then the light one again.
func (a *app) toggleBroken() tea.Cmd {
	if a.demoOn() == demoBroken {
		return a.useDemo(demoLight)
	}
	a.chase = true
	return a.useDemo(demoBroken)
}

// nextDemo goes through the adapters from light to strong.
func (a *app) nextDemo() tea.Cmd {
	story := []string{demoLight, "gocode-mid", "gocode"}
	i := slices.Index(story, a.demoOn())
	return a.useDemo(story[(i+1)%len(story)])
}
