package merge

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"mergescope/quant"
)

// nf4 is the code table of bitsandbytes, written out in decimal.
var nf4 = [16]float32{
	-1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
	-0.09105003625154495, 0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
	0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1,
}

// toBF16 rounds a finite value to bfloat16, ties to even.
func toBF16(v float32) float32 {
	u := math.Float32bits(v)
	return math.Float32frombits((u + 0x7fff + u>>16&1) &^ 0xffff)
}

func floatsLE(b []byte) []float32 {
	v := make([]float32, len(b)/4)
	for i := range v {
		v[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return v
}

// decodedBase decodes an NF4 weight of the golden base with a bfloat16 state.
func decodedBase(t *testing.T, layer string) []float32 {
	t.Helper()
	base := rawTensors(t, filepath.Join(goldenDir, "bases", "llama-nf4"))
	codes, absmax := base[layer+".weight"], floatsLE(base[layer+".weight.absmax"])
	w := make([]float32, 2*len(codes))
	for i := range w {
		w[i] = toBF16(nf4[codes[i/2]>>(4*(1-i%2))&15] * absmax[i/64])
	}
	return w
}

// exactDelta works scale * (B@A) out from the raw file. A and B of the golden
// adapters are small integers times a power of two and so is the scale: the
// delta is exact in any order.
func exactDelta(t *testing.T, dir, layer string) []float32 {
	t.Helper()
	var config struct {
		R     int
		Alpha float64 `json:"lora_alpha"`
	}
	readJSON(t, filepath.Join(dir, "adapter_config.json"), &config)
	adapter := rawTensors(t, dir)
	a := floatsLE(adapter["base_model.model."+layer+".lora_A.weight"])
	b := floatsLE(adapter["base_model.model."+layer+".lora_B.weight"])
	rows, cols := len(b)/config.R, len(a)/config.R
	delta := make([]float32, rows*cols)
	for i := range delta {
		var d float64
		for k := range config.R {
			d += float64(b[i/cols*config.R+k]) * float64(a[k*cols+i%cols])
		}
		delta[i] = float32(d * config.Alpha / float64(config.R))
	}
	return delta
}

// TestDequantizedForms works base + delta out from the raw files.
func TestDequantizedForms(t *testing.T) {
	const layer = "model.layers.0.mlp.down_proj"
	want := decodedBase(t, layer)
	addTo(want, exactDelta(t, filepath.Join(goldenDir, "cases", "nf4-plain", "adapter"), layer))

	p, _ := golden(t, "nf4-plain")
	for _, form := range []Output{AsF32, AsBF16} {
		r, m := runPlan(t, p, p.NewPlan().SetOutputAll(form), Options{})
		got := m.tensors[layer+".weight"]
		size := map[Output]int{AsF32: 4, AsBF16: 2}[form]
		if len(got) != size*len(want) {
			t.Fatalf("%s: %d bytes", form, len(got))
		}
		for i, w := range want {
			var v float32
			if form == AsF32 {
				v = math.Float32frombits(binary.LittleEndian.Uint32(got[4*i:]))
			} else {
				v, w = math.Float32frombits(uint32(binary.LittleEndian.Uint16(got[2*i:]))<<16), toBF16(w)
			}
			if v != w {
				t.Fatalf("%s: weight %d is %g, want %g", form, i, v, w)
			}
		}
		if m.tensors[layer+".weight.absmax"] != nil || m.tensors[layer+".weight.quant_state.bitsandbytes__nf4"] != nil {
			t.Errorf("%s: the scales were written", form)
		}
		for _, l := range r.Layers {
			if !(l.Kept > 0.99 && l.Kept < 1.01) || !math.IsNaN(float64(l.AbsmaxGrowth)) {
				t.Errorf("%s: %s kept %v, growth %v", form, l.Name, l.Kept, l.AbsmaxGrowth)
			}
		}
		for _, a := range r.Alerts {
			if a.Code == CodeRounding4 {
				t.Errorf("%s: %s", form, a.Message)
			}
		}
	}
}

// TestDequantizedSequence adds two adapters and rounds once.
func TestDequantizedSequence(t *testing.T) {
	const layer = "model.layers.0.self_attn.q_proj"
	dir := filepath.Join(goldenDir, "cases", "sequence-nf4")
	p, _ := golden(t, "sequence-nf4")
	r, m := runPlan(t, p, p.NewPlan().SetOutputAll(AsF32), Options{})
	want, sum := decodedBase(t, layer), exactDelta(t, filepath.Join(dir, "adapter"), layer)
	second := exactDelta(t, filepath.Join(dir, "adapter_a1"), layer)
	var dd, ww float64
	for i := range want {
		ww += float64(want[i]) * float64(want[i])
	}
	addTo(want, sum)
	addTo(want, second)
	addTo(sum, second)
	for i, v := range floatsLE(m.tensors[layer+".weight"]) {
		if v != want[i] {
			t.Fatalf("weight %d is %g, want %g", i, v, want[i])
		}
		dd += float64(sum[i]) * float64(sum[i])
	}
	for _, l := range r.Layers {
		if l.Name == layer {
			within(t, "delta_ratio", float64(l.DeltaRatio), math.Sqrt(dd/ww), 1e-6)
			within(t, "kept", float64(l.Kept), 1, 1e-5)
		}
	}
}

// TestDequantizedWithoutAdapter writes layers in bf16 that no adapter changes:
// their values are those of the base.
func TestDequantizedWithoutAdapter(t *testing.T) {
	const layer = "model.layers.0.self_attn.k_proj"
	p, _ := golden(t, "nf4-plain")
	r, m := runPlan(t, p, p.NewPlan().ClearAll().SetOutput(AsBF16, layer), Options{})
	base, got := decodedBase(t, layer), m.tensors[layer+".weight"]
	if len(got) != 2*len(base) {
		t.Fatalf("%d bytes", len(got))
	}
	for i, want := range base {
		if v := math.Float32frombits(uint32(binary.LittleEndian.Uint16(got[2*i:])) << 16); v != want {
			t.Fatalf("weight %d is %g, want %g", i, v, want)
		}
	}
	if len(m.tensors) != 1 {
		t.Errorf("%d tensors", len(m.tensors))
	}
	if len(r.Layers) != 0 || len(r.Alerts) != 1 || r.Alerts[0].Code != CodeFusedSplit { // k_proj without q_proj and v_proj
		t.Errorf("layers %+v, alerts %+v", r.Layers, r.Alerts)
	}
}

// TestUndecodable copies a weight that cannot be decoded, whatever the plan says.
func TestUndecodable(t *testing.T) {
	const layer = "model.layers.0.self_attn.q_proj"
	p, _ := golden(t, "nf4-plain")
	p.Model.Weight(layer).Problem = errors.New("no state")
	r, m := runPlan(t, p, p.NewPlan().SetOutputAll(AsBF16), Options{})
	if m.tensors[layer+".weight"] != nil {
		t.Error("was written")
	}
	for _, l := range r.Layers {
		if l.Name == layer {
			t.Error("is in the report")
		}
	}
}

// TestNotes asks that a layer's report survives the note an unfinished output
// keeps.
func TestNotes(t *testing.T) {
	p := openDemo(t, "base-nf4", "broken")
	j, err := NewJob(p, p.NewPlan(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	end := j.pool.end
	j.pool.end = func(ctx context.Context, w *work, layer int, f *flight) error {
		v := f.verdict(j.merge)
		back, err := decodeVerdict(v.encode())
		if err != nil {
			return err
		}
		a, _ := json.Marshal(v)
		b, _ := json.Marshal(back)
		if string(a) != string(b) || !v.Stopped && v.sums() != f.result.sums || back.sums() != v.sums() {
			t.Errorf("layer %d: %s, read back %s", layer, a, b)
		}
		return end(ctx, w, layer, f)
	}
	if _, err := j.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"", "{}", `{"Report":{}}`, `{"Report":{},"Sums":"AAAA"}`} {
		if _, err := decodeVerdict([]byte(bad)); err == nil {
			t.Errorf("%q was taken for a note", bad)
		}
	}
}

// TestRefused keeps the bytes of layers on which PEFT's safe merge fails.
func TestRefused(t *testing.T) {
	p, g := golden(t, "lora-bias-nf4-safe")
	r, m := runPlan(t, p, p.NewPlan(), Options{})
	if len(m.tensors) != 0 || len(r.Layers) != 2 {
		t.Errorf("%d tensors written, %d layers", len(m.tensors), len(r.Layers))
	}
	for _, l := range r.Layers {
		if len(l.Alerts) != 1 || !math.IsNaN(float64(l.Kept)) {
			t.Fatalf("%+v", l)
		}
		a := l.Alerts[0]
		if a.Code != CodeUnmergeable || a.Level != Error || !strings.Contains(a.Message, g.Error.Text) || a.Hint == "" ||
			a.Place.Tensor != "base_model.model."+l.Name+".lora_B.bias" || !strings.HasSuffix(a.Place.File, "adapter_model.safetensors") {
			t.Errorf("%+v", a)
		}
	}
}

// TestTurned dequantizes a GPT-2, whose float layers are stored [in, out], by the
// formula of bitsandbytes' int8_vectorwise_dequant.
func TestTurned(t *testing.T) {
	p := NewProject(goldenBase(t, "gpt2-int8"))
	for _, panel := range []int{1, panelWeights} {
		job, err := NewJob(p, p.NewPlan().SetOutputAll(AsF32), Options{Out: filepath.Join(t.TempDir(), "out")})
		if err != nil {
			t.Fatal(err)
		}
		job.panel = panel
		if _, err := job.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, got, _ := readPlain(t, filepath.Join(job.opt.Out, "model.safetensors"))
		turned := 0
		for _, w := range p.Model.Weights {
			if w.Format != quant.Int8 {
				continue
			}
			turned++
			codes, err := w.Data.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			scb, err := w.SCB.Float32s()
			if err != nil {
				t.Fatal(err)
			}
			rows, cols := w.Rows(), w.Cols()
			want := make([]byte, 4*rows*cols)
			for r := range rows {
				for c := range cols {
					v := float32(float32(int8(codes[r*cols+c]))*scb[r]) * float32(1.0/127)
					binary.LittleEndian.PutUint32(want[4*(c*rows+r):], math.Float32bits(v))
				}
			}
			g := got[w.Param]
			if fmt.Sprint(g.shape) != fmt.Sprint([]int64{int64(cols), int64(rows)}) || !bytes.Equal(g.data, want) {
				t.Errorf("%s: shape %v, bytes equal %t", w.Param, g.shape, bytes.Equal(g.data, want))
			}
		}
		if turned == 0 {
			t.Fatal("no int8 weight")
		}
	}
}
