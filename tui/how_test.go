package tui

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mergescope/merge"
)

// A method can be typed with all it can be told: the residual adapter is written
// beside the output.
func TestTypedMethod(t *testing.T) {
	r := newRig(t, lightOptions(t), nil, 120, 36)
	r.a.auto = false
	r.choose("Requantize all layers by")
	for range methods() {
		r.press("down")
	}
	r.press("enter")
	r.golden("typed-method-120x36")
	r.answer("calibrated,residual=x")
	if p, ok := r.a.topOverlay().(*prompt); !ok || p.bad == "" {
		t.Fatalf("residual=x is taken:\n%s", r.text())
	}
	r.answer("calibrated,tokens=256,residual=2")
	if m := r.a.history.Now().Method; m != "calibrated,tokens=256,residual=2" || len(r.a.overlays) != 0 {
		t.Fatalf("method %q\n%s", m, r.text())
	}
	out := filepath.Join(t.TempDir(), "out")
	r.press("m", "ctrl+u")
	r.typed(out)
	r.press("enter")
	if _, err := os.Stat(filepath.Join(out, "adapter", "adapter_model.safetensors")); err != nil {
		t.Errorf("%v\n%s", err, r.text())
	}
	if rep := r.a.book.report(r.a.book.index("model.layers.0.mlp.up_proj")); rep == nil || rep.Residual == nil || rep.Residual.Rank != 2 {
		t.Errorf("%+v", rep)
	}
}

// What jobs are told beside the plan reaches them and the command line, and makes
// older figures void.
func TestHow(t *testing.T) {
	r := newRig(t, lightOptions(t), nil, 120, 36)
	r.a.auto = false
	if why := r.a.noCalibrated(); why == "" {
		t.Error("a text for layers that are not observed")
	}
	r.run(r.a.apply(r.a.history.Now().SetMethodAll(merge.Method{Kind: merge.MethodCalibrated, Tokens: 256}), "calibrated"))
	r.choose("Text for calibrated layers")
	r.answer("no such file")
	if p, ok := r.a.topOverlay().(*prompt); !ok || p.bad == "" {
		t.Fatalf("taken:\n%s", r.text())
	}
	r.answer("builtin")
	r.choose("Stop at NaN or write it")
	r.press("D")
	if opt := r.a.job.opt; !opt.Unsafe || len(opt.Calibrate.Texts) == 0 || r.a.job.err != nil {
		t.Errorf("%+v", opt)
	}
	line, _ := r.a.commandLine()
	if !strings.HasSuffix(line, " --unsafe --calibration builtin") {
		t.Error(line)
	}
	one := r.a.book.report(4)
	r.choose("Text for calibrated layers")
	r.press("ctrl+u", "enter")
	if one == nil || r.a.book.report(4) != nil || len(r.a.how.calibrate.Texts) != 0 {
		t.Errorf("figures of another text stay: %v", r.a.book.report(4))
	}
	dir := filepath.Join(t.TempDir(), "statistics")
	r.choose("Statistics of inputs")
	r.typed(dir)
	r.press("enter", "D")
	if _, err := os.Stat(dir); err != nil || r.a.history.Now().Statistics != dir {
		t.Errorf("%v\n%s", err, r.text())
	}
	r.choose("Profile of rounding")
	r.press("down", "enter")
	if r.a.history.Now().Profile != merge.ProfileCUDA {
		t.Error(r.a.history.Now().Profile)
	}
}

// Another checkpoint, another plan and another base are run beside the plan.
func TestEvalBeside(t *testing.T) {
	r := newRig(t, lightOptions(t), nil, 120, 36)
	dir := t.TempDir()
	out, file := filepath.Join(dir, "out"), filepath.Join(dir, "plan.json")
	job, err := r.a.eng.newJob(r.a.history.Now(), merge.Options{Out: out})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := job.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	other := r.a.history.Now().SetMethodAll(merge.Method{Kind: merge.MethodDithered})
	if err := writeFile(file, other.Encode()); err != nil {
		t.Fatal(err)
	}
	r.press("F", "ctrl+u")
	r.typed("builtin 256 beside=" + out + " compare=" + file + " on=../testdata/demo/base-int8")
	r.press("enter")
	x, ok := r.a.topOverlay().(*evalBox)
	if !ok || !x.ended || x.seen.Report == nil {
		t.Fatalf("%s", r.text())
	}
	if n := len(x.seen.Report.Variants); n != 6 {
		t.Errorf("%d variants, want base, separate, plan, the other plan, the checkpoint and the other base: %s", n, r.text())
	}
	r.press("F", "ctrl+u")
	r.typed("builtin beside=nowhere")
	r.press("enter")
	if p, ok := r.a.topOverlay().(*prompt); !ok || p.bad == "" {
		t.Errorf("%s", r.text())
	}
}
