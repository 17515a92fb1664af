package merge_test

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mergescope/loader"
	"mergescope/merge"
)

const goldenDir = "../testdata/golden"

// goldenCase is case.json of a merge made by PEFT.
type goldenCase struct {
	dir        string   // testdata/golden or a directory like it
	Method     string   `json:"-"` // of the plan; "" for the default
	Name       string   `json:"name"`
	Base       string   `json:"base"`
	Adapters   []string `json:"adapters"`
	Action     string   `json:"action"`
	Order      []string `json:"order"`
	Safe       bool     `json:"safe_merge"`
	DeltaExact bool     `json:"delta_exact"`
	Load       struct {
		Autocast  *bool `json:"autocast_adapter_dtype"`
		LowCPUMem bool  `json:"low_cpu_mem_usage"`
	} `json:"load"`
	Error *struct {
		Phase, Text string
	} `json:"error"`
	Expected struct {
		Slim    bool     `json:"slim"`
		Removed []string `json:"removed"`
	} `json:"expected"`
}

// rawTensor is a tensor as it stands in a file.
type rawTensor struct {
	dtype string
	shape string
	data  []byte
}

// readRaw reads all tensors of a directory without package loader.
func readRaw(dir string) (map[string]rawTensor, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.safetensors"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("%s: no safetensors file (%v)", dir, err)
	}
	out := map[string]rawTensor{}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		n := binary.LittleEndian.Uint64(raw)
		var header map[string]struct {
			Dtype   string
			Shape   json.RawMessage
			Offsets []int `json:"data_offsets"`
		}
		dec := json.NewDecoder(bytes.NewReader(raw[8 : 8+n]))
		var all map[string]json.RawMessage
		if err := dec.Decode(&all); err != nil {
			return nil, err
		}
		delete(all, "__metadata__")
		text, _ := json.Marshal(all)
		if err := json.Unmarshal(text, &header); err != nil {
			return nil, err
		}
		for name, t := range header {
			out[name] = rawTensor{t.Dtype, string(t.Shape), raw[8+int(n)+t.Offsets[0] : 8+int(n)+t.Offsets[1]]}
		}
	}
	return out, nil
}

// want returns all tensors PEFT's result has.
func (c *goldenCase) want() (map[string]rawTensor, error) {
	dir := filepath.Join(c.dir, "cases", c.Name)
	sub := "expected"
	if _, err := os.Stat(filepath.Join(dir, "expected_flat")); err == nil && c.Method == "" {
		sub = "expected_flat" // what every device but an AVX-512 CPU gives
	}
	got, err := readRaw(filepath.Join(dir, sub))
	if err != nil || !c.Expected.Slim {
		return got, err
	}
	base, err := readRaw(filepath.Join(c.dir, c.Base))
	if err != nil {
		return nil, err
	}
	for name, t := range base {
		if _, ok := got[name]; !ok && !slices.Contains(c.Expected.Removed, name) {
			got[name] = t
		}
	}
	return got, nil
}

// run merges the case into a directory as PEFT was asked to.
func (c *goldenCase) run(t *testing.T, out string) (*merge.Report, error) {
	t.Helper()
	p := c.project(t)
	plan := p.NewPlan()
	plan.Method = cmp.Or(c.Method, plan.Method)
	job, err := merge.NewJob(p, plan, c.options(out))
	if err != nil {
		return nil, err
	}
	return job.Run(t.Context())
}

// project opens the base and the adapters of the case in the order of merging.
func (c *goldenCase) project(t *testing.T) *merge.Project {
	t.Helper()
	var src loader.Source
	model, err := src.Checkpoint(filepath.Join(c.dir, c.Base))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = model.Close() })
	names := []string{"default"}
	for i := range c.Adapters[1:] {
		names = append(names, fmt.Sprintf("a%d", i+1))
	}
	dirs := c.Adapters
	if c.Action == "combine" {
		names, dirs = []string{"combined"}, []string{"combined"}
	}
	byName := map[string]*loader.Adapter{}
	for i, d := range dirs {
		a, err := src.Adapter(filepath.Join(c.dir, "cases", c.Name, d))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = a.Close() })
		a.Name = names[i]
		a.Native = c.Action == "combine" // as PEFT makes it, not loads it
		byName[a.Name] = a
	}
	if c.Order != nil {
		names = c.Order
	}
	p := merge.NewProject(model)
	for _, n := range names {
		p.Adapters = append(p.Adapters, byName[n])
	}
	return p
}

// deviation is what a result differs by.
type deviation struct {
	tensors, equal int
	loose          []string // differences that torch itself does not determine
	wrong          []string
}

// compare holds got against want. Only the mean of nested scales, and what
// follows from it, may differ by the ulps golden/README.md names.
func compare(want, got map[string]rawTensor) deviation {
	var d deviation
	for name, w := range want {
		d.tensors++
		g, ok := got[name]
		switch {
		case !ok:
			d.wrong = append(d.wrong, name+" is missing")
		case w.dtype != g.dtype || w.shape != g.shape && !strings.Contains(name, ".quant_state."):
			d.wrong = append(d.wrong, fmt.Sprintf("%s is %s%s, want %s%s", name, g.dtype, g.shape, w.dtype, w.shape))
		case bytes.Equal(w.data, g.data):
			d.equal++
		case strings.Contains(name, ".quant_state."):
			d.add(name, stateDistance(w.data, g.data), 2)
		case strings.HasSuffix(name, ".nested_absmax"):
			d.add(name, floatDistance(w.data, g.data), 8)
		default:
			d.wrong = append(d.wrong, fmt.Sprintf("%s: %d of %d bytes differ", name, differing(w.data, g.data), len(w.data)))
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			d.wrong = append(d.wrong, name+" is too much")
		}
	}
	slices.Sort(d.wrong)
	return d
}

func (d *deviation) add(name string, ulps, most int64) {
	text := fmt.Sprintf("%s: %d ulp", name, ulps)
	if ulps <= most {
		d.loose = append(d.loose, text)
	} else {
		d.wrong = append(d.wrong, text)
	}
}

// stateDistance is how far apart the nested_offset of two states is, huge if
// anything else differs.
func stateDistance(a, b []byte) int64 {
	const key = `"nested_offset": `
	x, offX, okX := strings.Cut(string(a), key)
	y, offY, okY := strings.Cut(string(b), key)
	var u, v float64
	if !okX || !okY || x != y {
		return math.MaxInt64
	}
	if _, err := fmt.Sscanf(offX+" "+offY, "%g} %g}", &u, &v); err != nil {
		return math.MaxInt64
	}
	return ulps(float32(u), float32(v))
}

func floatDistance(a, b []byte) (most int64) {
	if len(a) != len(b) {
		return math.MaxInt64
	}
	for i := 0; i < len(a); i += 4 {
		u := math.Float32frombits(binary.LittleEndian.Uint32(a[i:]))
		v := math.Float32frombits(binary.LittleEndian.Uint32(b[i:]))
		most = max(most, ulps(u, v))
	}
	return most
}

func ulps(a, b float32) int64 {
	d := int64(int32(math.Float32bits(a))) - int64(int32(math.Float32bits(b)))
	return max(d, -d)
}

func differing(a, b []byte) (n int) {
	for i := range a {
		if i >= len(b) || a[i] != b[i] {
			n++
		}
	}
	return n
}

// options are those of a job that does what PEFT was asked to.
func (c *goldenCase) options(out string) merge.Options {
	o := merge.Options{Out: out, Unsafe: !c.Safe}
	if c.Load.Autocast != nil && !*c.Load.Autocast {
		o.LoRADtype = merge.LoRALayer
	}
	if c.Load.LowCPUMem {
		o.LoRADtype = merge.LoRARounded
	}
	if c.Action == "unmerge" {
		o.Unmerge = merge.RoundTrip
	}
	return o
}

// TestConformance merges every golden case and prints a table of what came out.
func TestConformance(t *testing.T) {
	walkGolden(t, goldenDir, (*goldenCase).verdict)
}

// walkGolden runs every case of a directory and prints a table of the verdicts.
func walkGolden(t *testing.T, dir string, verdict func(c *goldenCase, t *testing.T) (tensors, equal int, result string)) {
	t.Helper()
	dirs, err := os.ReadDir(filepath.Join(dir, "cases"))
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	fmt.Fprintf(&table, "%-36s %8s %8s  %s\n", "case", "tensors", "equal", "result")
	for _, d := range dirs {
		t.Run(d.Name(), func(t *testing.T) {
			c := readCase(t, dir, d.Name())
			tensors, equal, result := verdict(c, t)
			fmt.Fprintf(&table, "%-36s %8d %8d  %s\n", c.Name, tensors, equal, result)
		})
	}
	t.Log("\n" + table.String())
}

// readCase reads case.json of a golden case.
func readCase(t *testing.T, dir, name string) *goldenCase {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "cases", name, "case.json"))
	if err != nil {
		t.Fatal(err)
	}
	c := goldenCase{dir: dir}
	if err := json.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	return &c
}

// verdict runs the case and fails the test where it should.
func (c *goldenCase) verdict(t *testing.T) (tensors, equal int, result string) {
	if c.Error != nil && c.Error.Phase == "create" {
		// TestTrainedCopyOfQuantizedWeight merges what PEFT cannot create.
		return 0, 0, "no adapter to merge, PEFT cannot create it: " + c.Error.Text
	}
	out := filepath.Join(t.TempDir(), "out")
	report, err := c.run(t, out)
	if c.Error != nil {
		if refusal := refused(report, err); refusal != nil {
			return 0, 0, "refused as PEFT does: " + refusal.Error()
		}
		t.Errorf("no error, but PEFT says: %s", c.Error.Text)
		return 0, 0, "NOT REFUSED"
	}
	if err != nil {
		t.Error(err)
		return 0, 0, "FAILED: " + err.Error()
	}
	want, err := c.want()
	if err != nil {
		t.Fatal(err)
	}
	got, err := readRaw(out)
	if err != nil {
		t.Fatal(err)
	}
	d := compare(want, got)
	switch {
	case len(d.wrong) > 0:
		t.Errorf("%d differences:\n  %s", len(d.wrong), strings.Join(d.wrong[:min(8, len(d.wrong))], "\n  "))
		return d.tensors, d.equal, fmt.Sprintf("WRONG: %d tensors", len(d.wrong))
	case len(d.loose) > 0:
		return d.tensors, d.equal, "equal but for the mean of scales: " + strings.Join(d.loose[:1], "")
	}
	return d.tensors, d.equal, "equal"
}

// refused returns why a merge did not happen: an error, or an alert of level
// error on a layer whose bytes were kept.
func refused(r *merge.Report, err error) error {
	if err != nil || r == nil {
		return err
	}
	for _, a := range r.Alerts {
		if a.Level == merge.Error {
			return errors.New(a.Message)
		}
	}
	return nil
}
