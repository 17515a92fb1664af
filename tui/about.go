package tui

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"mergescope/merge"
	"mergescope/themes"
)

// maxLog bounds what the log keeps, in lines.
const maxLog = 500

// logLine is something that was said, and when.
type logLine struct {
	when time.Time
	role themes.Role
	text string
}

// note keeps a sentence for the log.
func (a *app) note(role themes.Role, text string) {
	if len(a.log) >= maxLog {
		a.log = append(a.log[:0:0], a.log[maxLog/2:]...)
	}
	a.log = append(a.log, logLine{a.now(), role, text})
}

// openLog shows what was said since the program began, the last first.
func (a *app) openLog() tea.Cmd {
	a.push(&pager{name: "log", text: func(c canvas, w int) []string {
		var out []string
		for i := len(a.log) - 1; i >= 0; i-- {
			l := a.log[i]
			for k, text := range wrap(c.plain(l.text), w-12) {
				head := strings.Repeat(" ", 10)
				if k == 0 {
					head = " " + c.paint.text(themes.Dim, l.when.Format("15:04:05")) + " "
				}
				out = append(out, head+c.paint.text(l.role, text))
			}
		}
		if len(out) == 0 {
			out = append(out, " nothing was said yet")
		}
		return out
	}})
	return nil
}

// terminal is what is known of it beyond the skin.
type terminal struct {
	keys   bool // it tells more keys apart than old ones do
	status bool // it shows what programs are at (OSC 7501)
	told   bool // it said what its background is
}

// openTerminal shows what the terminal can do and how that was found out.
func (a *app) openTerminal() tea.Cmd {
	a.push(&pager{name: "terminal", text: a.terminalText})
	return nil
}

func (a *app) terminalText(c canvas, w int) []string {
	yes := func(b bool, what string) string {
		if b {
			return what
		}
		return "no, or it did not say so"
	}
	depth := [...]string{themes.NoColor: "none", themes.ANSI16: "16", themes.ANSI256: "256", themes.TrueColor: "24 bits"}[a.skin.depth]
	if a.skin.forced {
		depth += ", as told by --color or NO_COLOR"
	} else {
		depth += ", as found"
	}
	background := "dark"
	if !a.skin.seen {
		background = "light"
	}
	if !a.term.told {
		background += ", assumed"
	}
	mouse := "taken; shift+drag selects text"
	if a.mouseOff || a.skin.plain {
		mouse = "left to the terminal"
	}
	characters := "Unicode"
	if a.skin.ascii {
		characters = "ASCII only"
	}
	out := []string{}
	for _, l := range [][2]string{
		{"size", fmt.Sprintf("%d x %d cells", a.w, a.h)},
		{"colours", depth},
		{"background", background},
		{"theme", a.skin.theme.Name},
		{"characters", characters},
		{"mouse", mouse},
		{"more keys", yes(a.term.keys, "yes")},
		{"program status", yes(a.term.status, "yes")},
		{"system", runtime.GOOS + "/" + runtime.GOARCH},
	} {
		out = append(out, " "+c.fit(l[0], 16)+c.plain(l[1]))
	}
	for _, name := range []string{"TERM", "COLORTERM", "TERM_PROGRAM", "TMUX", "SSH_TTY", "NO_COLOR", "LANG", "LC_ALL"} {
		value := os.Getenv(name)
		if value == "" {
			value = c.glyphs().dash
		}
		out = append(out, " "+c.paint.text(themes.Dim, c.fit(name, 16))+c.fit(c.plain(value), max(1, w-20)))
	}
	sample := " sample          "
	for r := range themes.NumRoles {
		if r != themes.Select {
			sample += c.paint.text(r, r.String()) + " "
		}
	}
	return append(out, "", c.fit(sample, w), c.fit(" symbols         "+c.glyphs().full+c.glyphs().bad+c.glyphs().warn+c.glyphs().done+c.glyphs().active+c.glyphs().mark+c.glyphs().times, w))
}

// openJob shows the job stage by stage, while it runs too.
func (a *app) openJob() tea.Cmd {
	a.push(&pager{name: a.job.kind(), text: a.jobText})
	return nil
}

func (a *app) noJobYet() string {
	if a.job == nil {
		return "no job has run yet; D runs one"
	}
	return ""
}

// stage names what a job is at.
func (j *jobRun) stage() string {
	s := j.snap
	switch {
	case j.run == nil && !j.ended:
		return "checking plan, disk and output"
	case s.State == merge.Paused:
		return "paused"
	case j.ended && j.err != nil:
		return "stopped: " + clean(j.err.Error())
	case j.ended:
		return "done"
	case !j.computed():
		return "dequantize, add, requantize"
	}
	return j.finish()
}

// computed reports whether every layer is computed; what is left is on the disk.
func (j *jobRun) computed() bool {
	s := j.snap
	return s.LayersTotal > 0 && (s.LayersDone >= s.LayersTotal || s.WeightsTotal > 0 && s.WeightsDone >= s.WeightsTotal)
}

// finish names what a job is at when every layer is computed.
func (j *jobRun) finish() string {
	if j.opt.Out != "" {
		return "copying the rest, syncing and checking"
	}
	return "summing up"
}

func (a *app) jobText(c canvas, w int) []string {
	j, s := a.job, a.job.snap
	bars := min(36, w-44)
	line := func(name, text string) string { return " " + c.fit(name, 10) + text }
	count := func(n int64) string { return strings.TrimSpace(quantity(float64(n))) }
	part := func(name string, done, all int64, text func(int64) string) string {
		if all <= 0 {
			return line(name, c.glyphs().dash)
		}
		return line(name, c.bar(float64(done)/float64(all), bars)+" "+text(done)+" of "+text(all))
	}
	out := []string{line("stage", c.plain(j.stage()))}
	if j.opt.Out != "" {
		out = append(out, line("into", c.plain(j.opt.Out)))
	}
	if j.ended && j.err == nil && j.opt.Out != "" {
		for _, s := range append(a.mergedFacts(), "") {
			for _, l := range wrap(c.plain(s), w-2) {
				out = append(out, " "+l)
			}
		}
	}
	out = append(out,
		part("layers", int64(s.LayersDone), int64(s.LayersTotal), count),
		part("weights", s.WeightsDone, s.WeightsTotal, count),
		part("bytes", s.BytesDone, s.BytesTotal, fileSize))
	rate := c.glyphs().dash
	if s.Rate > 0 && !j.ended {
		rate = count(int64(s.Rate)) + " weights a second"
		if s.ETA > 0 {
			rate += ", " + brief(s.ETA) + " to go"
		}
	}
	out = append(out, line("rate", rate), line("time", brief(s.Elapsed)), line("workers", fmt.Sprint(s.Workers)))
	stopped := 0
	for i, l := range s.Layers {
		if l.State == merge.Stopped {
			stopped++
		}
		if l.State == merge.Active && i < len(a.book.layers) {
			out = append(out, line("at work", c.bar(l.Fraction, bars)+" "+c.plain(a.book.short(a.book.layers[i].Weight.Name))))
		}
	}
	if stopped > 0 {
		out = append(out, line("stopped", c.paint.text(themes.Bad, plural(stopped, "layer")+", their original bytes are kept")))
	}
	return out
}

// programStatus tells a terminal that shows it what the program is at.
func (a *app) programStatus() *tea.ProgramStatus {
	if !a.term.status {
		return nil
	}
	s := &tea.ProgramStatus{State: tea.ProgramStateIdle, App: "mergescope"}
	switch {
	case a.left && a.wrote != nil && a.wrote.err != nil: // not cleared at exit, so it must be the last word
		s.State = tea.ProgramStateError
	case a.left:
		s.State = tea.ProgramStateDone
	case a.busy() && !a.job.quiet && a.job.run != nil:
		s.State, s.Progress, s.HasProgress = tea.ProgramStateWorking, int(a.progress()*100), true
		s.Title = a.job.kind() + " of " + clean(a.model.Name)
	case a.busy():
		s.State, s.Title = tea.ProgramStateWorking, "figures of "+clean(a.model.Name)
	}
	if d, ok := a.topOverlay().(*confirm); ok && d.deaf { // opened by an event
		s.State, s.Kind, s.Title = tea.ProgramStateBlocked, tea.ProgramStatusKindQuestion, d.name
	}
	return s
}

func aboutActions() []action {
	return []action{
		{"job.show", nil, inPanes, "", "Show job", "The running or last job stage by stage: layers, weights, bytes, rate, workers and what is at work.", (*app).noJobYet, (*app).openJob},
		{"app.plain", nil, inPanes, "", "Plain text", "One pane at a time as sentences, for screen readers; again for the full screen.", nil, (*app).togglePlain},
		{"app.log", nil, inPanes, "", "Show log", "What was said since the program began.", nil, (*app).openLog},
		{"app.terminal", nil, inPanes, "", "Show terminal capabilities", "Colours, characters, mouse and what else was found of the terminal.", nil, (*app).openTerminal},
	}
}

// togglePlain goes to plain text and back.
func (a *app) togglePlain() tea.Cmd {
	a.skin.plain = !a.skin.plain
	a.relayout()
	if a.skin.plain {
		return a.view("plain text; the command Plain text goes back")
	}
	return a.view("full screen")
}
