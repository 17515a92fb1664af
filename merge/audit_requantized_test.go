package merge

import (
	"os"
	"path/filepath"
	"testing"

	"mergescope/loader"
)

// mergedInto writes a merge by a plan and opens it, without its report if it is
// not to be told.
func mergedInto(t *testing.T, p *Project, plan Plan, told bool) *loader.Checkpoint {
	t.Helper()
	opt := Options{Out: filepath.Join(t.TempDir(), "out"), Calibrate: Calibration{Texts: shortText(t, 512)}}
	job, err := NewJob(p, plan, opt)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := job.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !told {
		if err := os.Remove(filepath.Join(opt.Out, reportName)); err != nil {
			t.Fatal(err)
		}
	}
	c, err := loader.Source{}.Checkpoint(opt.Out)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// A merge whose codes were weighed against each other is called that, whether a
// report beside it says so or not; another adapter, another scale and codes drawn
// at random are called what they are.
func TestAuditRequantized(t *testing.T) {
	for _, c := range []struct {
		name, base, adapter, method string
		scale                       float64
		told                        bool
		want                        Verdict
	}{
		{"told", "base-nf4", "gocode-light", "calibrated,tokens=256", 1, true, VerdictRequantized},
		{"not told", "base-nf4", "gocode-light", "calibrated,tokens=256", 1, false, VerdictRequantized},
		{"on new scales, told", "base-nf4", "gocode-light", "calibrated,tokens=256,scales=fresh", 1, true, VerdictRequantized},
		{"on moved scales, not told", "base-nf4", "gocode-light", "calibrated,tokens=256,scales=move", 1, false, VerdictRequantized},
		{"twice the scale, told", "base-nf4", "gocode-light", "calibrated,tokens=256", 2, true, VerdictScale},
		{"other adapter", "base-nf4", "gocode-mid", "calibrated,tokens=256", 1, false, VerdictOtherAdapter},
		{"other adapter, told", "base-nf4", "gocode-mid", "calibrated,tokens=256", 1, true, VerdictOtherAdapter},
		{"drawn", "base-nf4", "gocode-light", "dithered", 1, false, VerdictRight},
		{"drawn at half the scale", "base-nf4", "gocode-light", "dithered", 0.5, false, VerdictScale},
		{"as PEFT", "base-nf4", "gocode-light", "peft", 1, true, VerdictErased},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := openProject(t, demoDir+"/"+c.base, [2]string{"a", demoDir + "/adapter-" + c.adapter})
			plan := p.NewPlan()
			plan.Method = c.method
			if c.scale != 1 {
				plan = plan.AssignAll(p.Adapters[0].Name, c.scale)
			}
			merged := mergedInto(t, p, plan, c.told)
			q := lightDemo(t, c.base)
			r, err := q.Audit(t.Context(), q.NewPlan(), merged, nil)
			if err != nil {
				t.Fatal(err)
			}
			if r.Verdict != c.want {
				n := map[Verdict]int{}
				for _, l := range r.Layers {
					n[l.Verdict]++
				}
				t.Errorf("verdict %s, want %s: %v\n%s", r.Verdict, c.want, n, r.Summary)
			}
		})
	}
}
