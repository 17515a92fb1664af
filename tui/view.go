package tui

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	tea "charm.land/bubbletea/v2"

	"mergescope/merge"
	"mergescope/themes"
)

// frameCache keeps what was drawn. View runs after every message, most of which
// change nothing that is shown.
type frameCache struct {
	fresh   bool
	content string
	cursor  *tea.Cursor
}

// touch says that something changed.
func (f *frameCache) touch() { f.fresh = false }

// View draws the screen. The frame of an idle program is the same to the byte.
func (a *app) View() tea.View {
	if !a.drawn.fresh {
		lines, cursor := a.draw()
		a.drawn = frameCache{fresh: true, content: strings.Join(lines, "\n"), cursor: cursor}
	}
	v := tea.NewView(a.drawn.content)
	v.AltScreen = true
	v.Cursor = a.drawn.cursor
	v.WindowTitle = a.windowTitle()
	if !a.mouseOff && !a.skin.plain {
		v.MouseMode = tea.MouseModeCellMotion
	}
	v.ProgressBar = a.progressBar()
	v.ProgramStatus = a.programStatus()
	return v
}

func (a *app) windowTitle() string {
	s := "mergescope " + clean(a.model.Name)
	if a.busy() && !a.job.quiet {
		s += fmt.Sprintf(" %s %.0f%%", a.job.kind(), math.Floor(a.progress()*100))
	}
	return s
}

// progressBar is the terminal's own bar, red while there are errors.
func (a *app) progressBar() *tea.ProgressBar {
	if !a.busy() || a.job.quiet || a.job.run == nil {
		return nil
	}
	state := tea.ProgressBarDefault
	if a.feed.counts()[merge.Error] > 0 {
		state = tea.ProgressBarError
	}
	return tea.NewProgressBar(state, int(a.progress()*100))
}

// draw returns the lines of the screen, each as wide as the screen.
func (a *app) draw() ([]string, *tea.Cursor) {
	if a.w <= 0 || a.h <= 0 {
		return nil, nil
	}
	if a.skin.plain && a.lay.form != tooSmall {
		return a.drawPlain()
	}
	c := a.skin.canvas(false)
	if a.lay.form == tooSmall {
		return a.drawSmall(c), nil
	}
	lines := make([]string, a.h)
	lines[a.lay.header.y] = a.header(c, a.w)
	for _, s := range a.lay.slots {
		for i, l := range a.drawSlot(s) {
			lines[s.at.y+i] += l
		}
	}
	lines[a.lay.status.y] = a.statusLine(c, a.w)
	lines[a.lay.notice.y] = a.noticeLine(c, a.w)
	lines[a.lay.footer.y] = a.footer(c, a.w)
	return lines, a.drawOverlays(lines)
}

// pane returns a pane by its number.
func (a *app) pane(p paneID) pane {
	switch p {
	case layersID:
		return &a.tree
	case blocksID:
		return &a.blocks
	case blockID:
		return &a.block
	default:
		return &a.feed
	}
}

// drawSlot draws a pane with its frame, or with a line of title on a small
// screen.
func (a *app) drawSlot(s slot) []string {
	c := a.skin.canvas(s.pane == a.focus && a.topOverlay() == nil)
	p := a.pane(s.pane)
	inside := exactly(c, p.draw(c, s.inside.w, s.inside.h), s.inside.w, s.inside.h)
	left, right := p.title(s.at.w)
	left, right = c.plain(left), c.plain(right)
	if a.lay.form == onePane {
		title := c.ends(" "+c.paint.text(themes.Title, left), c.paint.text(themes.Dim, right)+" ", s.at.w)
		return append([]string{title}, inside...)
	}
	if pad := s.inside.x - s.at.x - 1; pad > 0 {
		for i := range inside {
			inside[i] = strings.Repeat(" ", pad) + inside[i]
		}
	}
	return c.frame(a.slotTitle(c, s), right, inside, s.at.w, s.at.h)
}

// tabName is the name of a pane in a title, painted.
type tabName struct {
	pane paneID
	text string
}

// slotTabs are the number and title of a pane and the names of the others in its
// place.
func (a *app) slotTabs(c canvas, s slot) []tabName {
	left, _ := a.pane(s.pane).title(s.at.w)
	role := themes.Title
	if s.pane == a.focus {
		role = themes.BorderFocus
	}
	var tabs []tabName
	for _, p := range s.tabs {
		number, name := strconv.Itoa(int(p)), paneNames[p]
		if n := len(a.feed.alerts); p == alertsID && n > 0 {
			name += " " + strconv.Itoa(n)
		}
		if p == s.pane {
			name = c.plain(left)
		}
		text := c.paint.text(themes.Dim, number+" "+name)
		switch {
		case p == alertsID && a.flash:
			text = c.paint.text(themes.Bad, number+" "+name)
		case p == s.pane:
			text = c.paint.text(themes.Key, number) + " " + c.paint.text(role, name)
		}
		tabs = append(tabs, tabName{p, text})
	}
	return tabs
}

// slotTitle joins the tabs of a slot.
func (a *app) slotTitle(c canvas, s slot) string {
	var texts []string
	for _, t := range a.slotTabs(c, s) {
		texts = append(texts, t.text)
	}
	return strings.Join(texts, " "+c.paint.text(themes.Border, c.glyphs().thin.v)+" ")
}

// exactly makes lines h of w cells whatever a pane drew.
func exactly(c canvas, lines []string, w, h int) []string {
	out := make([]string, 0, h)
	for i := range h {
		if i < len(lines) {
			out = append(out, c.fit(lines[i], w))
		} else {
			out = append(out, c.fit("", w))
		}
	}
	return out
}

// drawOverlays lays the dialogs over the screen and returns the text cursor.
func (a *app) drawOverlays(lines []string) *tea.Cursor {
	var cursor *tea.Cursor
	for i, o := range a.overlays {
		c := a.skin.canvas(i == len(a.overlays)-1)
		title, inside, at := o.box(c, a.w-4, a.h-4)
		in := a.boxAt(inside)
		box := c.frame(c.paint.text(themes.Title, c.plain(title)), "", inside[:in.h], in.w+2, in.h+2)
		stamp(lines, box, in.x-1, in.y-1)
		cursor = nil
		if at != nil {
			cursor = tea.NewCursor(in.x+at.X, in.y+at.Y)
			cursor.Blink = false
		}
	}
	if len(a.overlays) == 0 && a.tree.typing {
		if s, ok := a.lay.slot(layersID); ok {
			cursor = tea.NewCursor(s.inside.x+min(2+width(string(a.tree.input.text[:a.tree.input.at])), s.inside.w-1), s.inside.y+s.inside.h-1)
			cursor.Blink = false
		}
	}
	return cursor
}

// drawSmall says in the middle of the screen that it is too small.
func (a *app) drawSmall(c canvas) []string {
	text := []string{fmt.Sprintf("needs %dx%d, have %dx%d", minOneW, minOneH, a.w, a.h)}
	if a.busy() && a.job.run != nil {
		text = append(text, fmt.Sprintf("%s continues %.0f %%", a.job.kind(), math.Floor(a.progress()*100)))
	}
	switch {
	case a.quitDialog() == nil:
		text = append(text, "q quits")
	case a.busy() && !a.job.quiet:
		text = append(text, "q again cancels it and quits")
	default:
		text = append(text, "the plan is not saved", "q again quits all the same")
	}
	lines := blank(a.w, a.h)
	top := max(0, (a.h-len(text))/2)
	for i, s := range text {
		if top+i < a.h {
			s = c.fit(s, min(a.w, width(s)))
			lines[top+i] = c.fit(strings.Repeat(" ", max(0, (a.w-width(s))/2))+s, a.w)
		}
	}
	return lines
}
