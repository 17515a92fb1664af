package tui

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	tea "charm.land/bubbletea/v2"

	"mergescope/loader"
	"mergescope/merge"
	"mergescope/themes"
)

// screenSizes are one size of each form of the screen.
var screenSizes = [][2]int{{120, 36}, {80, 24}, {60, 16}}

// sized names a screen of a size.
func sized(name string, size [2]int) string { return fmt.Sprintf("%s-%dx%d", name, size[0], size[1]) }

// The screens of the demo at the three sizes, as characters and styles. Those of
// tours, insight, comparisons, audits and evaluations are tested beside them.
func TestScreens(t *testing.T) {
	for _, s := range []struct {
		name string
		keys []string
	}{
		{"demo", nil},
		{"blocks", []string{"2"}},
		{"blocks-mean", []string{"2", "b", "b"}},
		{"blocks-rows", []string{"2", "+"}},
		{"blocks-growth", []string{"2", "v", "v", "v", "v"}},
		{"block", []string{"3"}},
		{"block-list", []string{"3", "i"}},
		{"block-bytes", []string{"3", "i", "i"}},
		{"alerts", []string{"4"}},
		{"alerts-open", []string{"4", "enter", "j", "U"}},
		{"alerts-errors", []string{"4", "f", "f"}},
		{"alert", []string{"4", "e"}},
		{"broken", []string{"B"}},
		{"filter", []string{"/", "k", "e", "p", "t", "<", "2", "%"}},
		{"filter-hint", []string{"/", "f", "o", "o", ":", "b", "a", "r"}},
		{"filter-nothing", []string{"/", "z", "z", "z", "enter"}},
		{"sort", []string{":", "s", "o", "r", "t", " ", "l", "enter"}},
		{"marks", []string{"V", "j", "j", "V", "o"}},
		{"merge", []string{"m"}},
		{"adapters", []string{"a"}},
		{"scale", []string{"="}},
		{"output", []string{"O"}},
		{"method", []string{"R"}},
		{"help", []string{"?"}},
		{"palette", []string{":", "m", "e", "r"}},
		{"explain", []string{"e", "right", "right", "right", "right", "right"}},
		{"elsewhere", []string{"v"}},
	} {
		for _, size := range screenSizes {
			t.Run(sized(s.name, size), func(t *testing.T) {
				r := demoRig(t, size[0], size[1], nil)
				r.press(s.keys...)
				r.golden(sized(s.name, size))
			})
		}
	}
}

func TestScreenTooSmall(t *testing.T) {
	r := demoRig(t, 50, 10, nil)
	r.golden("small-50x10")
	if got := r.text(); !strings.Contains(got, "needs 60x14, have 50x10") {
		t.Errorf("got:\n%s", got)
	}
	run, _ := runningRig(t, 50, 10)
	if got := run.text(); !strings.Contains(got, "merge continues 51 %") {
		t.Errorf("a running merge is not mentioned:\n%s", got)
	}
}

func TestScreensOfARunningMerge(t *testing.T) {
	for _, size := range screenSizes {
		r, run := runningRig(t, size[0], size[1])
		r.golden(sized("merging", size))
		v := r.a.View()
		if v.ProgressBar == nil || v.ProgressBar.Value != 51 || !strings.HasSuffix(v.WindowTitle, "merge 51%") {
			t.Errorf("%v: progress bar %+v, title %q", size, v.ProgressBar, v.WindowTitle)
		}
		run.snap.Alerts = []merge.Alert{{Level: merge.Error, Code: merge.CodeNonFinite, Layer: "model.layers.0.mlp.up_proj", Message: "1 NaN", Count: 1}}
		r.a.Update(pollMsg{r.a.job.gen})
		if got := r.a.View().ProgressBar.State; got != tea.ProgressBarError {
			t.Errorf("%v: the terminal's bar is %v with an error", size, got)
		}
		r.golden(sized("merging-error", size))
	}
}

// What a job asks and says: whether to cancel it or to leave, that it is paused,
// finishing, stopped, failed or done.
func TestScreensOfAJobsEnd(t *testing.T) {
	end := func(err error) func(*rig, *fakeRunner) {
		return func(r *rig, run *fakeRunner) {
			run.snap.State, run.snap.LayersDone, run.snap.WeightsDone = merge.Done, 28, 100
			if err != nil {
				run.snap.State, run.snap.LayersDone, run.snap.WeightsDone = merge.Failed, 14, 51
			}
			r.a.Update(jobDoneMsg{gen: r.a.job.gen, report: &merge.Report{}, err: err})
		}
	}
	for name, do := range map[string]func(*rig, *fakeRunner){
		"cancel": func(r *rig, _ *fakeRunner) { r.a.Update(keyPress("x")) },
		"quit":   func(r *rig, _ *fakeRunner) { r.a.Update(keyPress("q")) },
		"paused": func(r *rig, run *fakeRunner) {
			run.snap.State = merge.Paused
			r.a.Update(pollMsg{r.a.job.gen})
		},
		"finishing": func(r *rig, run *fakeRunner) {
			run.snap.WeightsDone, run.snap.LayersDone = 100, 27
			r.a.Update(pollMsg{r.a.job.gen})
		},
		"stopped": end(context.Canceled),
		"failed":  end(errors.New("output demo-nf4-merged: no space left on device")),
		"merged":  end(nil),
	} {
		for _, size := range screenSizes {
			r, run := runningRig(t, size[0], size[1])
			do(r, run)
			r.golden(sized(name, size))
		}
	}
}

// An adapter of which nothing is computed, as on a large model.
func TestScreensBeforeTheFirstRun(t *testing.T) {
	for _, size := range screenSizes {
		opt := lightOptions(t)
		r := newRig(t, opt, &fakeEngine{engine: projectEngine{opt.Project}, run: &fakeRunner{}}, size[0], size[1])
		r.golden(sized("before", size))
	}
}

func TestScreenWithoutAdapter(t *testing.T) {
	for _, size := range screenSizes {
		opt := demoOptions(t)
		opt.Demo = false
		newRig(t, opt, nil, size[0], size[1]).golden(sized("bare", size))
	}
}

func TestScreenOfAnEmptyCheckpoint(t *testing.T) {
	opt := demoOptions(t)
	opt.Demo = false
	opt.Project = merge.NewProject(&loader.Checkpoint{Name: "nothing"})
	for _, size := range screenSizes {
		newRig(t, opt, nil, size[0], size[1]).golden(sized("empty", size))
	}
}

func TestScreenWithoutColour(t *testing.T) {
	opt := demoOptions(t)
	opt.Color = nil
	t.Setenv("NO_COLOR", "yes") // not a Go boolean
	r := newRig(t, opt, nil, 120, 36)
	r.golden("nocolor-120x36")
	content := r.a.View().Content
	for _, colour := range []string{"[3", "[4", ";3", ";4", "[9", "[10", ";9", ";10"} {
		if strings.Contains(content, "\x1b"+colour) {
			t.Errorf("the frame has a colour sequence \\e%s", colour)
		}
	}
}

func TestScreenInASCII(t *testing.T) {
	for _, keys := range [][]string{nil, {"B"}, {"?"}, {"m"}, {":"}, {"a"}, {"e", "right", "right", "right", "right", "right"}, {"3", "i"}, {"4", "enter"}} {
		r := demoRig(t, 120, 36, func(o *Options) { o.ASCII = true })
		r.press(keys...)
		if keys == nil {
			r.golden("ascii-120x36")
		}
		for i, c := range r.text() {
			if c > 127 {
				line := strings.Count(r.text()[:i], "\n")
				t.Errorf("keys %v: %q on line %d", keys, c, line)
				break
			}
		}
	}
}

func TestThemeFollowsTheBackground(t *testing.T) {
	r := demoRig(t, 120, 36, nil)
	dark := r.a.View().Content
	r.a.skin.background(false)
	r.a.drawn.touch()
	if r.a.skin.theme.Dark || r.a.View().Content == dark {
		t.Error("the theme stays dark on a light background")
	}
	r.press("T")
	chosen := r.a.skin.theme.Name
	r.a.skin.background(true)
	if r.a.skin.theme.Name != chosen {
		t.Error("the background overrules the theme the user picked")
	}
}

func TestPaintHasNoColourWithoutColours(t *testing.T) {
	for r := range themes.NumRoles {
		on := newPaint(themes.Default(true), themes.NoColor).on[r]
		if on != "" && on != "\x1b[1m" && on != "\x1b[7m" {
			t.Errorf("role %d is %q", r, on)
		}
	}
}
