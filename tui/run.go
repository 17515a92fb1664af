package tui

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"
	"github.com/charmbracelet/x/ansi"

	"mergescope/loader"
	"mergescope/merge"
	"mergescope/themes"
)

// Options of the interface. Source and Project are needed, the rest has
// defaults.
type Options struct {
	Source   loader.Source  // opens adapters the user names
	Project  *merge.Project // opened model with the adapters of the command line; Run neither changes nor closes it
	Plan     merge.Plan     // where editing begins
	PlanFile string         // where the plan came from and is saved to; "" asks
	Out      string         // proposed output directory; "" means NAME-merged
	Demo     bool           // the embedded demo: a dry run starts at once, its adapters are a key away
	Color    *themes.Depth  // colours to use; nil asks the terminal
	Theme    string         // name of a theme; "" picks one by the background
	Dark     *bool          // background of the terminal; nil asks it
	ASCII    bool           // no characters outside ASCII
	Plain    bool           // sentences instead of panes, for screen readers
	NoMouse  bool           // leave the mouse to the terminal
	Workers  int            // of jobs; 0 means all processors
	Themes   string         // directory of the user's themes; "" has none
	Sessions string         // directory that keeps plan, cursors and views for the next time; "" keeps nothing

	Input  io.Reader // nil means the terminal
	Output io.Writer // nil means stdout
}

// Run shows the interface until the user leaves or ctx ends, which is an error.
// A job that still runs then is cancelled and waited for. The summary is one plain line for the
// user's shell: what was written where, how many alerts, how to go on.
//
// Stdout must be a terminal; the caller decides what to do if it is not.
func Run(ctx context.Context, opt Options) (summary string, err error) {
	if opt.Project == nil || opt.Project.Model == nil {
		return "", errors.New("no checkpoint is open")
	}
	inner, cancel := context.WithCancel(ctx)
	a := newApp(inner, opt, projectEngine{opt.Project})
	if err := a.prepare(); err != nil {
		cancel()
		return "", err
	}
	last, err := tea.NewProgram(a, programOptions(inner, opt)...).Run()
	if b, ok := last.(*app); ok { // another checkpoint was opened
		a = b
	}
	if opt.Dark == nil {
		resetReports(opt.Output)
	}
	cancel()
	a.crew.close()
	a.closeFiles()
	switch {
	case err == nil:
	case errors.Is(err, tea.ErrInterrupted):
		err = context.Canceled
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	default:
		err = fmt.Errorf("terminal interface: %w", err)
	}
	return strings.TrimPrefix(a.summary()+a.keepAtEnd(), "\n"), err
}

// prepare reads what the user has: themes, preferences and the session. What
// cannot be read is said in the greeting; only a theme that was asked for and
// is not there is an error.
func (a *app) prepare() error {
	user := themeDir(a.opt.Themes).load()
	a.skin.user, a.skin.stamp = user.all, user.stamp
	if err := a.setTheme(); err != nil {
		return err
	}
	prefs, err := shelf(a.opt.Sessions).preferences()
	a.setPreferences(prefs)
	a.greeting.role, a.greeting.text = a.takeUp(recallSession(a.opt))
	if err = errors.Join(user.err, err); err != nil && a.greeting.text == "" {
		a.greeting.role, a.greeting.text = themes.Warn, clean(firstLine(err))
	}
	return nil
}

// keepAtEnd keeps preferences and session and says so if that cannot be done.
func (a *app) keepAtEnd() string {
	var err error
	if a.prefs != a.began {
		err = shelf(a.opt.Sessions).prefer(a.prefs)
	}
	if a.memorable() {
		err = errors.Join(err, shelf(a.opt.Sessions).save(a.remembered()))
	}
	if err != nil {
		return "\nthe session is not kept: " + clean(firstLine(err))
	}
	return ""
}

// resetReports stops the terminal from reporting changes of its background,
// which Init asks for: after the program they would reach the shell.
func resetReports(out io.Writer) {
	if out == nil {
		out = os.Stdout
	}
	_, _ = io.WriteString(out, ansi.ResetModeLightDark) // a terminal that is gone needs no reset
}

// framesPerSecond is how often Bubble Tea looks for a new frame, idle or not: half
// its default, since what moves here moves ten times a second, and each look is
// a wake-up of the processor and a chance to fill a slow link.
const framesPerSecond = 30

// programOptions turns the options into Bubble Tea's.
func programOptions(ctx context.Context, opt Options) []tea.ProgramOption {
	po := []tea.ProgramOption{tea.WithContext(ctx), tea.WithFPS(framesPerSecond)}
	if opt.Input != nil {
		po = append(po, tea.WithInput(opt.Input))
	}
	if opt.Output != nil {
		po = append(po, tea.WithOutput(opt.Output))
	}
	if d, forced := forcedDepth(opt); forced {
		po = append(po, tea.WithColorProfile(profileOf(d)))
	}
	return po
}

// forcedDepth returns the depth that the options or NO_COLOR prescribe. Any
// non-empty NO_COLOR counts (no-color.org); the detection in colorprofile reads
// it as a boolean.
func forcedDepth(opt Options) (themes.Depth, bool) {
	if opt.Color != nil {
		return *opt.Color, true
	}
	if os.Getenv("NO_COLOR") != "" {
		return themes.NoColor, true
	}
	return themes.TrueColor, false
}

func profileOf(d themes.Depth) colorprofile.Profile {
	return [...]colorprofile.Profile{
		themes.NoColor:   colorprofile.ASCII,
		themes.ANSI16:    colorprofile.ANSI,
		themes.ANSI256:   colorprofile.ANSI256,
		themes.TrueColor: colorprofile.TrueColor,
	}[d]
}

func depthOf(p colorprofile.Profile) themes.Depth {
	switch p {
	case colorprofile.TrueColor:
		return themes.TrueColor
	case colorprofile.ANSI256:
		return themes.ANSI256
	case colorprofile.ANSI:
		return themes.ANSI16
	default:
		return themes.NoColor
	}
}
