package merge_test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mergescope/loader"
	"mergescope/merge"
	"mergescope/quant"
)

const demoDir = "../testdata/demo"

// maker makes merged checkpoints by formula: it shares the number formats with
// the engine, but neither its delta nor its merge.
type maker struct {
	t        *testing.T
	base     string
	model    *loader.Checkpoint
	raw      map[string]rawTensor
	deltas   map[string][]float64 // by layer, at the right scale
	adapters []string
	rename   string // put before every name
	rng      *rand.Rand
}

func newMaker(t *testing.T, base, adapter string) *maker {
	t.Helper()
	raw, err := readRaw(base)
	if err != nil {
		t.Fatal(err)
	}
	return &maker{t, base, openModel(t, base), raw, deltasOf(t, adapter), []string{adapter}, "", rand.New(rand.NewPCG(7, 11))}
}

// deltasOf works out alpha/r * B@A of every module in float64.
func deltasOf(t *testing.T, dir string) map[string][]float64 {
	t.Helper()
	var c struct {
		R     float64 `json:"r"`
		Alpha float64 `json:"lora_alpha"`
		RS    bool    `json:"use_rslora"`
	}
	text, err := os.ReadFile(filepath.Join(dir, "adapter_config.json"))
	if err == nil {
		err = json.Unmarshal(text, &c)
	}
	if err != nil {
		t.Fatal(err)
	}
	scale := c.Alpha / c.R
	if c.RS {
		scale = c.Alpha / math.Sqrt(c.R)
	}
	raw, err := readRaw(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]float64{}
	for name, a := range raw {
		layer, ok := strings.CutSuffix(strings.TrimPrefix(name, "base_model.model."), ".lora_A.weight")
		if !ok {
			continue
		}
		b := raw[strings.Replace(name, "lora_A", "lora_B", 1)]
		r := int(c.R)
		x, y := f32Of(a.data), f32Of(b.data)
		rows, cols := len(y)/r, len(x)/r
		d := make([]float64, rows*cols)
		for i := range rows {
			for k := range r {
				for j := range cols {
					d[i*cols+j] += scale * y[i*r+k] * x[k*cols+j]
				}
			}
		}
		out[layer] = d
	}
	return out
}

func f32Of(b []byte) []float64 {
	v := make([]float64, len(b)/4)
	for i := range v {
		v[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:])))
	}
	return v
}

// values decodes a weight as PEFT's merge reads it.
func (m *maker) values(w *loader.Weight) []float32 {
	m.t.Helper()
	read := func(x *loader.Tensor) []byte {
		b, err := x.Bytes()
		if err != nil {
			m.t.Fatal(err)
		}
		return b
	}
	p := quant.Panel{Spec: w.Spec(), Rows: w.Rows(), Cols: w.Cols(), Codes: read(w.Data)}
	switch {
	case w.State != nil && w.State.Nested:
		n := quant.Nested{Codes: read(w.State.Absmax), Offset: w.State.NestedOffset, Blocksize: 256, Map: new([256]float32)}
		n.Absmax, _ = w.State.NestedAbsmax.Float32s()
		q, _ := w.State.NestedMap.Float32s()
		copy(n.Map[:], q)
		p.Absmax = make([]float32, len(n.Codes))
		n.Dequantize(p.Absmax)
	case w.State != nil:
		p.Absmax, _ = w.State.Absmax.Float32s()
	case w.SCB != nil:
		p.Absmax, _ = w.SCB.Float32s()
	}
	p.Dequantize()
	return p.W
}

// put stores values as a weight in a format: one of quant's names, or "nf4-dq".
func (m *maker) put(w *loader.Weight, v []float32, form string) {
	m.t.Helper()
	delete(m.raw, w.Param)
	for _, c := range w.Companions {
		delete(m.raw, c.Name)
	}
	shape := fmt.Sprintf("[%d,%d]", w.Rows(), w.Cols())
	name, nested := strings.CutSuffix(form, "-dq")
	f, ok := quant.ParseFormat(name)
	if !ok {
		m.t.Fatalf("format %q", form)
	}
	q := quant.Panel{Spec: quant.Spec{Format: f, Blocksize: 64, Dtype: quant.F32}, Rows: w.Rows(), Cols: w.Cols(), T: v}
	q.Requantize()
	switch {
	case f.IsFloat():
		m.raw[w.Param] = rawTensor{map[string]string{"bf16": "BF16", "f16": "F16", "f32": "F32"}[name], shape, q.NewCodes}
	case f == quant.Int8:
		m.raw[w.Param] = rawTensor{"I8", shape, q.NewCodes}
		m.raw[w.Name+".SCB"] = rawTensor{"F32", fmt.Sprintf("[%d]", w.Rows()), f32Bytes(q.NewAbsmax)}
		m.raw[w.Name+".weight_format"] = rawTensor{"U8", "[]", []byte{0}}
	default:
		m.putState(w, f, q, nested)
	}
}

func (m *maker) putState(w *loader.Weight, f quant.Format, q quant.Panel, nested bool) {
	state := fmt.Sprintf(`{"quant_type": "%s", "blocksize": 64, "dtype": "float32", "shape": [%d, %d]`, f, w.Rows(), w.Cols())
	put := func(part, dtype string, n int, data []byte) {
		m.raw[w.Param+part] = rawTensor{dtype, fmt.Sprintf("[%d]", n), data}
	}
	m.raw[w.Param] = rawTensor{"U8", fmt.Sprintf("[%d,1]", len(q.NewCodes)), q.NewCodes}
	put(".quant_map", "F32", 16, make([]byte, 64))
	if !nested {
		put(".absmax", "F32", len(q.NewAbsmax), f32Bytes(q.NewAbsmax))
	} else {
		n := quant.QuantizeAbsmax(q.NewAbsmax, quant.CPU)
		put(".absmax", "U8", len(n.Codes), n.Codes)
		put(".nested_absmax", "F32", len(n.Absmax), f32Bytes(n.Absmax))
		put(".nested_quant_map", "F32", 256, f32Bytes(n.Map[:]))
		state += fmt.Sprintf(`, "nested_blocksize": 256, "nested_dtype": "float32", "nested_offset": %v`, float64(n.Offset))
	}
	state += "}"
	put(".quant_state.bitsandbytes__"+f.String(), "U8", len(state), []byte(state))
}

func f32Bytes(v []float32) []byte {
	b := make([]byte, 4*len(v))
	quant.EncodeFloats(b, v, quant.F32)
	return b
}

// form is how a weight of the base is stored.
func form(w *loader.Weight) string {
	if w.State != nil && w.State.Nested {
		return w.Format.String() + "-dq"
	}
	return w.Format.String()
}

// each rewrites the weights that f returns values for. to is the format, ""
// for the base's.
func (m *maker) each(to string, f func(w *loader.Weight, v []float32, d []float64) []float32) *maker {
	m.t.Helper()
	n := 0
	for _, w := range m.model.Weights {
		out := to
		if out == "" {
			out = form(w)
		}
		if v := f(w, m.values(w), m.deltas[w.Name]); v != nil {
			m.put(w, v, out)
			n++
		}
	}
	if n == 0 {
		m.t.Fatal("no weight was written")
	}
	return m
}

// add merges scale times the delta into every layer of the adapter that pick
// takes; nil takes all.
func (m *maker) add(to string, scale float64, pick func(layer string) bool) *maker {
	m.t.Helper()
	return m.each(to, func(w *loader.Weight, v []float32, d []float64) []float32 {
		if d == nil || pick != nil && !pick(w.Name) {
			return nil
		}
		return plus(v, d, scale)
	})
}

func plus(v []float32, d []float64, scale float64) []float32 {
	out := make([]float32, len(v))
	for i := range v {
		out[i] = float32(float64(v[i]) + scale*d[i])
	}
	return out
}

// write stores the checkpoint and returns its directory.
func (m *maker) write() string {
	m.t.Helper()
	if m.rename != "" {
		renamed := map[string]rawTensor{}
		for name, x := range m.raw {
			renamed[m.rename+name] = x
		}
		m.raw = renamed
	}
	return writeRaw(m.t, m.raw, filepath.Join(m.base, "config.json"))
}

// again returns a maker that goes on from what this one wrote.
func (m *maker) again() *maker {
	dir := m.write()
	return &maker{m.t, dir, openModel(m.t, dir), m.raw, m.deltas, m.adapters, "", m.rng}
}

// original replaces the weights by some that the base could have been quantized
// from: evenly spread over the values each code stands for.
func (m *maker) original(w *loader.Weight, v []float32) []float32 {
	if w.Format.IsFloat() {
		return v
	}
	p := quant.Panel{Spec: w.Spec(), Rows: w.Rows(), Cols: w.Cols(), T: v}
	p.Spec.Blocksize = max(p.Spec.Blocksize, 1)
	p.Requantize()
	scales := p.NewAbsmax
	out := make([]float32, len(v))
	for i := range v {
		code, a := uint8(0), float32(0)
		if w.Format == quant.Int8 {
			code, a = p.NewCodes[i], quant.Unit(w.Format, scales[i/w.Cols()])
		} else {
			code, a = p.NewCodes[i/2]>>(4*(1-i%2))&15, scales[i/64]
		}
		down, up := quant.DeadZone(w.Format, quant.CPU, code)
		if down > 1 {
			down = 0
		}
		if up > 1 {
			up = 0
		}
		out[i] = v[i] + a*(-down+(down+up)*m.rng.Float32())
	}
	return out
}

func golden(parts ...string) string { return filepath.Join(append([]string{goldenDir}, parts...)...) }
func demo(parts ...string) string   { return filepath.Join(append([]string{demoDir}, parts...)...) }

// made is one merged checkpoint and what an audit must say of it.
type made struct {
	name          string
	base, adapter string
	make          func(m *maker) *maker
	want          merge.Verdict
	factor        float64
	cause         string // part of one of the causes named
	edit          func(merge.Plan, *merge.Project) merge.Plan
	part          string // what of the base is used: weights whose names contain it; "" is all
}

// cut writes the part of a checkpoint whose weights' names contain a text.
func cut(t *testing.T, base, part string) string {
	t.Helper()
	raw, err := readRaw(base)
	if err != nil {
		t.Fatal(err)
	}
	maps.DeleteFunc(raw, func(name string, _ rawTensor) bool {
		return strings.Contains(name, "layers.") && !strings.Contains(name, part)
	})
	return writeRaw(t, raw, filepath.Join(base, "config.json"))
}

// TestAuditMade audits merges with known faults, and merges without.
func TestAuditMade(t *testing.T) {
	tests := slices.Concat(scaleTests(), faultTests(), demoTests(), honestTests())
	bad, good := 0, 0
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			base := tt.base
			if tt.part != "" {
				base = cut(t, base, tt.part)
			}
			merged := tt.make(newMaker(t, base, tt.adapter)).write()
			p := openAudit(t, base, tt.adapter)
			plan := p.NewPlan()
			if tt.edit != nil {
				plan = tt.edit(plan, p)
			}
			r := auditPlan(t, p, plan, merged)
			checkMade(t, tt, r)
			if tt.want.Level() == merge.Error {
				bad++
			} else {
				good++
			}
		})
	}
	t.Logf("%d faulty merges, %d honest ones", bad, good)
	if bad < 60 || good < 20 {
		t.Errorf("want 60 and 20 or more")
	}
}

func checkMade(t *testing.T, tt made, r *merge.AuditReport) {
	t.Helper()
	fail := func(format string, args ...any) {
		t.Helper()
		t.Errorf(format, args...)
		for _, f := range r.Findings {
			t.Logf("%s: %s", f.Verdict, f.Message)
		}
	}
	if r.Verdict != tt.want {
		fail("verdict %s, want %s: %s", r.Verdict, tt.want, r.Summary)
		return
	}
	if tt.factor != 0 && math.Abs(float64(r.Findings[0].Factor)/tt.factor-1) > 0.05 {
		fail("factor %v, want %v", r.Findings[0].Factor, tt.factor)
	}
	if tt.cause != "" && !strings.Contains(r.Findings[0].Message, tt.cause) {
		fail("no cause %q", tt.cause)
	}
	if tt.want.Level() < merge.Error && slices.ContainsFunc(r.Findings, func(f merge.Finding) bool { return f.Level == merge.Error }) {
		fail("false alarm")
	}
}
