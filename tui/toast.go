package tui

import (
	"time"

	tea "charm.land/bubbletea/v2"

	"mergescope/themes"
)

// toast is a sentence that goes away by itself.
type toast struct {
	text string
	role themes.Role
	gen  int
	held bool // until a key is pressed
}

// toastMsg takes a toast away, unless another one has come.
type toastMsg struct{ gen int }

// say shows a toast: two seconds, errors and warnings four.
func (a *app) say(role themes.Role, text string) tea.Cmd {
	if text == "" {
		return nil
	}
	if role != themes.Note {
		a.note(role, text)
	}
	a.toast = toast{text: text, role: role, gen: a.toast.gen + 1}
	stay := 2 * time.Second
	if role == themes.Bad || role == themes.Warn {
		stay = 4 * time.Second
	}
	return a.after(stay, toastMsg{a.toast.gen})
}

// hold shows a toast that stays until a key is pressed: news of what took so
// long that nobody may be looking.
func (a *app) hold(role themes.Role, text string) tea.Cmd {
	a.note(role, text)
	a.toast = toast{text: text, role: role, gen: a.toast.gen + 1, held: true}
	return nil
}

// letGo takes a held toast away.
func (a *app) letGo() {
	if a.toast.held {
		a.toast = toast{gen: a.toast.gen}
	}
}

func (a *app) endToast(msg toastMsg) {
	if msg.gen == a.toast.gen {
		a.toast.text = ""
	}
}
