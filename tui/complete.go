package tui

import (
	"os"
	"path/filepath"
	"strings"

	tea "charm.land/bubbletea/v2"
)

// expandHome reads "~" as the shell does.
func expandHome(path string) string {
	rest, ok := strings.CutPrefix(path, "~")
	if !ok || rest != "" && !os.IsPathSeparator(rest[0]) {
		return path
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return path
	}
	return home + rest
}

// completedMsg brings what a name that was begun can become.
type completedMsg struct {
	from     *prompt
	begun    string
	longest  string   // what all have in common
	possible []string // last parts
}

// complete looks for files that begin as typed.
func (a *app) complete(p *prompt) tea.Cmd {
	begun := p.in.value()
	return a.work(func() tea.Msg {
		longest, possible := completions(begun)
		return completedMsg{p, begun, longest, possible}
	})
}

// completions returns the files and directories that a path begins. longest is
// the path as far as all agree; directories end with a separator.
func completions(begun string) (longest string, possible []string) {
	dir, part := filepath.Split(begun)
	look := expandHome(dir)
	if look == "" {
		look = "."
	}
	entries, err := os.ReadDir(look)
	if err != nil {
		return begun, nil
	}
	for _, e := range entries {
		name := e.Name()
		if !strings.HasPrefix(name, part) || part == "" && strings.HasPrefix(name, ".") {
			continue
		}
		if info, err := os.Stat(filepath.Join(look, name)); err == nil && info.IsDir() {
			name += string(filepath.Separator)
		}
		possible = append(possible, name)
	}
	if len(possible) == 0 {
		return begun, nil
	}
	common := possible[0]
	for _, name := range possible[1:] {
		for !strings.HasPrefix(name, common) {
			r := []rune(common)
			common = string(r[:len(r)-1])
		}
	}
	return dir + common, possible
}

// arrive writes what can be completed, unless more was typed meanwhile.
func (msg completedMsg) arrive(*app) tea.Cmd {
	p := msg.from
	if p.in.value() != msg.begun || p.wait {
		return nil
	}
	p.in.set(msg.longest)
	switch {
	case len(msg.possible) == 0:
		p.bad = "no file begins so"
	case len(msg.possible) > 1 && msg.longest == msg.begun:
		p.bad, p.more = "", strings.Join(msg.possible, "  ")
	default:
		p.bad, p.more = "", ""
	}
	return nil
}
