package merge_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"mergescope/loader"
	"mergescope/merge"
)

// writeRaw writes tensors and a config.json into a new directory.
func writeRaw(t testing.TB, tensors map[string]rawTensor, config string) string {
	t.Helper()
	type entry struct {
		Dtype   string          `json:"dtype"`
		Shape   json.RawMessage `json:"shape"`
		Offsets [2]int          `json:"data_offsets"`
	}
	header := map[string]entry{}
	var data bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(tensors)) {
		x := tensors[name]
		from := data.Len()
		data.Write(x.data)
		header[name] = entry{x.dtype, json.RawMessage(x.shape), [2]int{from, data.Len()}}
	}
	text, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := binary.LittleEndian.AppendUint64(nil, uint64(len(text)))
	file = append(append(file, text...), data.Bytes()...)
	if err := os.WriteFile(filepath.Join(dir, "model.safetensors"), file, 0o644); err != nil {
		t.Fatal(err)
	}
	if config != "" {
		text, err := os.ReadFile(config)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "config.json"), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// openModel opens a checkpoint for the length of a test.
func openModel(t testing.TB, dir string) *loader.Checkpoint {
	t.Helper()
	c, err := loader.Source{}.Checkpoint(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// openAudit opens a model with adapters.
func openAudit(t testing.TB, base string, adapters ...string) *merge.Project {
	t.Helper()
	p := merge.NewProject(openModel(t, base))
	for _, dir := range adapters {
		a, err := merge.OpenAdapter(loader.Source{}, p.Model, dir)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { a.Close() })
		a.Name = filepath.Base(dir)
		p.Adapters = append(p.Adapters, a)
	}
	return p
}

func auditOf(t testing.TB, p *merge.Project, merged string) *merge.AuditReport {
	t.Helper()
	return auditPlan(t, p, p.NewPlan(), merged)
}

func auditPlan(t testing.TB, p *merge.Project, plan merge.Plan, merged string) *merge.AuditReport {
	t.Helper()
	r, err := p.Audit(t.Context(), plan, openModel(t, merged), nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestAuditPeftMerges audits what PEFT itself wrote: every format and tuner,
// adapters from erased to whole. What is applied must be what make.py counted,
// and nothing but NaN a fault.
func TestAuditPeftMerges(t *testing.T) {
	honest, figures := 0, 0
	for _, c := range auditCases(t) {
		t.Run(filepath.Base(c.dir)+"/"+c.Name, func(t *testing.T) {
			want, err := c.want()
			if err != nil {
				t.Fatal(err)
			}
			merged := writeRaw(t, want, filepath.Join(c.dir, c.Base, "config.json"))
			r := auditOf(t, c.project(t), merged)
			kept, broken := c.kept(t)
			expect := merge.VerdictRight
			if broken {
				expect = merge.VerdictNonFinite
			}
			if broken != (r.Verdict == expect) && (broken || r.Verdict.Level() == merge.Error) {
				t.Errorf("verdict %s: %s", r.Verdict, r.Summary)
			}
			if !broken {
				honest++
			}
			for _, l := range r.Layers {
				k, ok := kept[l.Name]
				if !ok || k == nil || len(l.Adapters) == 0 || l.NonFinite > 0 {
					continue
				}
				figures++
				if math.Abs(float64(l.Applied)-*k) > 1e-4 {
					t.Errorf("%s: applied %v, want %v", l.Name, l.Applied, *k)
				}
				if wantErased := *k < 0.1; wantErased != (l.Verdict == merge.VerdictErased) {
					t.Errorf("%s: verdict %s with %v kept", l.Name, l.Verdict, *k)
				}
			}
		})
	}
	if honest < 100 || figures < 300 {
		t.Errorf("%d honest merges with %d figures, want 100 with 300 or more", honest, figures)
	}
}

// kept is what make.py computed of each layer, nil where it could not; broken
// says that the result has weights that are not finite.
func (c *goldenCase) kept(t *testing.T) (kept map[string]*float64, broken bool) {
	t.Helper()
	name := filepath.Join(c.dir, "cases", c.Name, "expected_flat.json")
	if _, err := os.Stat(name); err != nil {
		name = filepath.Join(c.dir, "cases", c.Name, "expected.json")
	}
	var f struct {
		Layers map[string]struct {
			Kept      *float64
			NonFinite int
		}
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, false
	}
	if err := json.Unmarshal(text, &f); err != nil {
		t.Fatal(err)
	}
	kept = map[string]*float64{}
	for layer, x := range f.Layers {
		kept[layer] = x.Kept
		broken = broken || x.NonFinite > 0
	}
	return kept, broken
}

// auditCases are the golden cases that PEFT merged.
func auditCases(t *testing.T) []*goldenCase {
	t.Helper()
	var list []*goldenCase
	for _, dir := range []string{goldenDir, tunersDir} {
		files, err := filepath.Glob(filepath.Join(dir, "cases", "*", "case.json"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			c := &goldenCase{dir: dir}
			text, err := os.ReadFile(f)
			if err == nil {
				err = json.Unmarshal(text, c)
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, wrong := wrongInPEFT[c.Name]; !wrong && c.Error == nil && c.Action == "merge" {
				list = append(list, c)
			}
		}
	}
	return list
}
