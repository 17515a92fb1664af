package merge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mergescope/model"
	"mergescope/quant"
)

// savedPlan is a calibrated plan that keeps statistics in a file of that name.
func savedPlan(t *testing.T, p *Project, method string) (Plan, Options, string) {
	t.Helper()
	plan, opt := calibratedPlan(p, method)
	plan.Statistics = filepath.Join(t.TempDir(), "new", "s")
	opt.Calibrate.Texts = shortText(t, 512)
	return plan, opt, filepath.Join(plan.Statistics, "statistics.safetensors")
}

// Statistics are written once and then used without the model, which a run could
// not even recognize any more: the bytes are the same, for any number of workers.
func TestStatisticsAreReused(t *testing.T) {
	p := lightDemo(t, "base-nf4")
	plan, opt, file := savedPlan(t, p, "calibrated,tokens=256")
	opt.Workers = 1
	first, a := runPlan(t, p, plan, opt)
	info, err := os.Stat(file)
	// 4 blocks with 3 inputs of 192 features and one of 448, half of each matrix.
	const values = 4 * (3*192*193/2 + 448*449/2)
	if err != nil || info.Size() < 4*values || info.Size() > 4*values+8192 {
		t.Fatalf("%v, %v: want little more than %d bytes", info, err, 4*values)
	}
	if list, err := os.ReadDir(filepath.Dir(file)); err != nil || len(list) != 1 {
		t.Errorf("%v beside the file, %v", list, err)
	}
	opt.Workers, opt.Calibrate = 5, Calibration{}
	raw := p.Model.Config.Raw
	p.Model.Config.Raw = []byte(`{"architectures": ["NewForCausalLM"]}`)
	again, b := runPlan(t, p, plan, opt)
	p.Model.Config.Raw = raw
	if x, y := first.Totals.KeptOnInputs, again.Totals.KeptOnInputs; x != y || !(x > 0.9 && x < 1.1) {
		t.Errorf("kept on inputs %v, then %v", x, y)
	}
	if len(a.tensors) != 28 || len(b.tensors) != 28 {
		t.Errorf("%d tensors, then %d", len(a.tensors), len(b.tensors))
	}
	for name, data := range a.tensors {
		if !bytes.Equal(data, b.tensors[name]) {
			t.Errorf("%s differs", name)
		}
	}
	if s, err := os.Stat(file); err != nil || !s.ModTime().Equal(info.ModTime()) {
		t.Errorf("the file was written again: %v", err)
	}
}

// The file holds the means of products of inputs, worked out here in float64, but
// for their rounding to 12 bits.
func TestStatisticsValues(t *testing.T) {
	p := lightDemo(t, "base-nf4")
	plan, opt, file := savedPlan(t, p, "calibrated,tokens=256")
	runPlan(t, p, plan, opt)
	s, err := openStatistics(file)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if s.Tokens != 256 {
		t.Errorf("says %d tokens", s.Tokens)
	}
	job, err := NewJob(p, plan, opt)
	if err != nil {
		t.Fatal(err)
	}
	c := &calibration{j: job, ctx: t.Context()}
	reference, err := c.reference()
	if err != nil {
		t.Fatal(err)
	}
	sequences, err := c.sequences(reference)
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	err = model.Forward(t.Context(), c.config, []model.Variant{reference}, sequences, model.Sink{Inputs: func(modules []string, in model.Inputs) error {
		n := in.Features()
		x := make([]float32, in.Tokens()*n)
		in.Rows(x, 0, 0)
		tensor, err := s.tensor(modules[len(modules)-1], n)
		if err != nil {
			return err
		}
		raw, err := tensor.Bytes()
		if err != nil {
			return err
		}
		got := make([]float32, tensor.Numel())
		quant.DecodeFloats(got, raw, quant.F32)
		at := 0
		for i := range n {
			for j := i; j < n; j++ {
				var want, meanI, meanJ, mostI, mostJ float64
				for k := range in.Tokens() {
					a, b := float64(x[k*n+i]), float64(x[k*n+j])
					want += a * b / float64(in.Tokens())
					meanI, meanJ = meanI+math.Abs(a)/float64(in.Tokens()), meanJ+math.Abs(b)/float64(in.Tokens())
					mostI, mostJ = max(mostI, math.Abs(a)), max(mostJ, math.Abs(b))
				}
				halfI, halfJ := mostI/4094, mostJ/4094
				if math.Abs(float64(got[at])-want) > 1.001*(meanI*halfJ+meanJ*halfI+halfI*halfJ) {
					return fmt.Errorf("%s: element %d, %d is %v, want %v", tensor.Name, i, j, got[at], want)
				}
				at++
			}
		}
		seen++
		return nil
	}}, model.Options{})
	if err != nil || seen != 16 {
		t.Errorf("%d inputs, %v", seen, err)
	}
}

// What belongs to something else is refused, and says which file and why.
func TestStatisticsOfSomethingElse(t *testing.T) {
	p := lightDemo(t, "base-nf4")
	plan, opt, file := savedPlan(t, p, "calibrated,tokens=256")
	runPlan(t, p, plan, opt)
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	half := plan
	half.Rules = append(half.Rules, Rule{Match: "*", Adapter: "light", Scale: 0.5})
	other := opt
	other.Calibrate.Texts = shortText(t, 600)
	other.Calibrate.Texts[0].Pieces[0] = other.Calibrate.Texts[0].Pieces[0][1:]
	const tensor = "model.layers.1.mlp.down_proj"
	for name, x := range map[string]struct {
		p    *Project
		plan Plan
		opt  Options
		edit func(b []byte) []byte
		want string
	}{
		"model":   {lightDemo(t, "base-int8"), plan, opt, nil, "of another model"},
		"adapter": {openDemo(t, "base-nf4", "gocode"), plan, opt, nil, "of other adapters"},
		"scale":   {p, half, opt, nil, "another scale"},
		"text":    {p, plan, other, nil, "of another text"},
		"absent": {p, plan, opt, func(b []byte) []byte {
			return bytes.Replace(b, []byte(tensor), []byte("model.layers.1.mlp.down_pr0j"), 1)
		}, "no tensor for layer " + tensor},
		"size": {p, plan, opt, func(b []byte) []byte { return bytes.ReplaceAll(b, []byte(`"F32"`), []byte(`"I32"`)) }, "inputs of layer"},
		"kind": {p, plan, opt, func(b []byte) []byte {
			return bytes.Replace(b, []byte("mergescope_statistics"), []byte("mergescope_statistixx"), 1)
		}, "no statistics of version 1"},
		"short": {p, plan, opt, func(b []byte) []byte { return b[:len(b)-4] }, file},
		"NaN": {p, plan, opt, func(b []byte) []byte {
			copy(b[len(b)-4:], []byte{0, 0, 0xc0, 0x7f})
			return b
		}, "element 447, 447 is not finite"},
		"negative": {p, plan, opt, func(b []byte) []byte {
			b[len(b)-1] |= 0x80
			return b
		}, "is the mean of squares"},
	} {
		b := bytes.Clone(data)
		if x.edit != nil {
			b = x.edit(b)
		}
		if err := os.WriteFile(file, b, 0o644); err != nil {
			t.Fatal(err)
		}
		q := x.plan
		if x.p != p {
			q = x.p.NewPlan()
			q.Method, q.Statistics = plan.Method, plan.Statistics
		}
		err := runJob(t, x.p, q, x.opt)
		if err == nil || !strings.Contains(err.Error(), x.want) || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What cannot be written leaves nothing behind, and neither does a run that is
// cancelled while it observes.
func TestStatisticsAreWhole(t *testing.T) {
	p := lightDemo(t, "base-nf4")
	plan, opt, file := savedPlan(t, p, "calibrated,tokens=256")
	job, err := NewJob(p, plan, opt)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	c := &calibration{j: job, ctx: ctx}
	of, sequences, err := c.identify(true)
	if err != nil {
		t.Fatal(err)
	}
	reference, err := c.reference()
	if err != nil {
		t.Fatal(err)
	}
	reference.Weights = cancelling{reference.Weights, cancel}
	groups := [][]string{{"model.layers.0.mlp.down_proj"}, {"model.layers.3.mlp.down_proj"}}
	w, err := newStatisticsWriter(file, of, groups, []int{448, 448})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.watch(reference, sequences, groups, w); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	w.drop()
	if list, err := os.ReadDir(filepath.Dir(file)); err != nil || len(list) != 0 {
		t.Errorf("%v is left, %v", list, err)
	}

	blocked := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(blocked, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	plan.Statistics = filepath.Join(blocked, "s.safetensors")
	if err := runJob(t, p, plan, opt); err == nil || !strings.Contains(err.Error(), blocked) {
		t.Errorf("below a file: %v", err)
	}
}

// cancelling cancels when the third block is read.
type cancelling struct {
	model.Weights
	cancel func()
}

func (c cancelling) Matrix(param string) (model.Matrix, error) {
	if strings.HasPrefix(param, "model.layers.2.") {
		c.cancel()
	}
	return c.Weights.Matrix(param)
}

// From saved statistics layers do not depend on each other: parts that are merged
// by themselves, and a merge that is resumed, give the same model.
func TestStatisticsParts(t *testing.T) {
	p := lightDemo(t, "base-nf4")
	plan, opt, _ := savedPlan(t, p, "calibrated,tokens=256")
	whole, parts, broken := filepath.Join(t.TempDir(), "whole"), filepath.Join(t.TempDir(), "parts"), filepath.Join(t.TempDir(), "broken")
	opt.Out = whole
	if err := runJob(t, p, plan, opt); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if err := runPart(t, p, plan, parts, Part{i + 1, 3}); err != nil {
			t.Fatal(err)
		}
	}
	opt.Out = broken
	if err := runUntil(t, p, plan, opt, 5); !errors.Is(err, context.Canceled) {
		t.Fatalf("cancelled: %v", err)
	}
	if err := runUntil(t, p, plan, opt, 0); err != nil {
		t.Fatal(err)
	}
	sameCodes(t, modelAt(t, whole), modelAt(t, parts))
	sameCodes(t, modelAt(t, whole), modelAt(t, broken))
}

// FuzzStatistics checks that a file either is refused or gives moments of the size
// of its layer.
func FuzzStatistics(f *testing.F) {
	name := filepath.Join(f.TempDir(), "s.safetensors")
	w, err := newStatisticsWriter(name, identity{"m", "a", "t", 7}, [][]string{{"a", "b"}, {"c"}}, []int{3, 2})
	if err != nil {
		f.Fatal(err)
	}
	var memory quant.Memory
	for layer, n := range map[string]int{"a": 3, "c": 2} {
		m := quant.NewMoments(&memory, n, model.Product, model.PairProduct)
		for i := range n {
			m.SetUpper(i, []float32{4, 1, 2}[:n-i])
		}
		if err := w.put(layer, m); err != nil {
			f.Fatal(err)
		}
	}
	if err := w.finish(); err != nil {
		f.Fatal(err)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(bytes.Replace(data, []byte(`"tokens":"7"`), []byte(`"tokens":"x"`), 1))
	f.Add(data[:len(data)-1])
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := newStatistics(bytes.NewReader(b), int64(len(b)), "fuzz")
		if err != nil {
			if !errors.Is(err, errStatistics) {
				t.Fatalf("%v does not say where it is from", err)
			}
			return
		}
		for layer, n := range map[string]int{"a": 3, "b": 3, "c": 2} {
			tensor, err := s.tensor(layer, n)
			if err != nil {
				continue
			}
			m := quant.NewMoments(&memory, n, model.Product, model.PairProduct)
			if s.moments(tensor, n, m) != nil {
				continue
			}
			row := make([]float32, n)
			m.Upper(row, 0)
			if row[0] < 0 || row[0]-row[0] != 0 {
				t.Fatalf("%s: %v", layer, row)
			}
		}
	})
}
