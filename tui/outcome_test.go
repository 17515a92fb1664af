package tui

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mergescope/merge"
)

// mergedRig has just merged the light demo into a directory of its own.
func mergedRig(t *testing.T, w, h int) (r *rig, out string) {
	t.Helper()
	opt := lightOptions(t)
	opt.Out = filepath.Join(t.TempDir(), "merged")
	r = newRig(t, opt, nil, w, h)
	r.press("m", "enter")
	return r, opt.Out
}

// At the end of a merge a large screen has a dialog, a small one a line that
// stays until a key is pressed: a dialog would cover its only pane.
func TestTheEndOfAMerge(t *testing.T) {
	for _, size := range [][2]int{{120, 36}, {80, 24}, {60, 16}} {
		r, _ := mergedRig(t, size[0], size[1])
		text := r.text()
		if !strings.Contains(text, "28 layers merged into ") {
			t.Fatalf("%v: not said:\n%s", size, text)
		}
		if _, dialog := r.a.topOverlay().(*confirm); dialog == (size[1] == 16) {
			t.Errorf("%v: dialog %t", size, dialog)
		}
		if size[1] > 16 {
			continue
		}
		r.send(toastMsg{r.a.toast.gen - 1})
		r.press("j")
		if strings.Contains(r.text(), "merged into") {
			t.Error("the line stays after a key")
		}
		r.press(":")
		r.typed("show job")
		r.press("enter")
		if got := r.text(); !strings.Contains(got, "of the adapter is kept") || !strings.Contains(got, "next: ") {
			t.Errorf("the job does not tell what the merge left:\n%s", got)
		}
	}
}

// A dialog does not open over another one.
func TestTheEndOfAMergeBehindADialog(t *testing.T) {
	r, run := runningRig(t, 120, 36)
	r.a.Update(keyPress("?"))
	run.snap.State, run.snap.LayersDone = merge.Done, 28
	r.a.Update(jobDoneMsg{gen: r.a.job.gen, report: &merge.Report{}})
	if _, ok := r.a.topOverlay().(*pager); !ok || !strings.Contains(r.text(), "28 layers merged into") {
		t.Errorf("%T is on top:\n%s", r.a.topOverlay(), r.text())
	}
}

func TestMergingAgainProposesAnotherDirectory(t *testing.T) {
	opt := lightOptions(t)
	t.Chdir(t.TempDir())
	r := newRig(t, opt, nil, 120, 36)
	proposed := func() string {
		t.Helper()
		r.press("m")
		defer r.press("esc")
		return r.a.topOverlay().(*mergeBox).in.value()
	}
	if got := proposed(); got != "demo-nf4-merged" {
		t.Errorf("%q is proposed", got)
	}
	if err := os.MkdirAll("demo-nf4-merged", 0o755); err != nil {
		t.Fatal(err)
	}
	if got := proposed(); got != "demo-nf4-merged" {
		t.Errorf("beside an empty directory %q is proposed", got)
	}
	if err := os.WriteFile(filepath.Join("demo-nf4-merged", "mergescope-report.json"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if got := proposed(); got != "demo-nf4-merged-2" {
		t.Errorf("after a merge %q is proposed", got)
	}
}

// A log of a large model only counts what is beyond its end; the reports have
// the rest, so nothing is listed or counted twice.
func TestAlertsOfALargeModel(t *testing.T) {
	r, run := runningRig(t, 120, 36)
	log := merge.Log{Now: testTime}
	for i := range 3000 {
		log.Add(merge.Alert{Level: merge.Warning, Code: merge.CodeErased, Layer: "layer " + string(rune('0'+i%10)) + strings.Repeat("x", i/10), Message: "erased"})
	}
	run.snap.Alerts = log.All()
	more := 0
	for _, al := range run.snap.Alerts {
		if al.More() {
			more++
		}
	}
	if more != 1 {
		t.Fatalf("%d alerts stand for more", more)
	}
	r.a.Update(pollMsg{r.a.job.gen})
	for _, al := range r.a.feed.alerts {
		if al.More() {
			t.Error("the end of the log is listed")
		}
	}
}

func TestProgressSaysWhatIsLeft(t *testing.T) {
	r, run := runningRig(t, 120, 36)
	if got := r.text(); strings.Contains(got, "syncing") || !strings.Contains(got, "eta 1m12s") {
		t.Errorf("half done:\n%s", got)
	}
	run.snap.WeightsDone, run.snap.LayersDone = 100, 27
	r.a.Update(pollMsg{r.a.job.gen})
	if got := r.text(); !strings.Contains(got, "copying the rest, syncing and checking") {
		t.Errorf("all computed:\n%s", got)
	}
}
