package merge

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"path/filepath"
	"testing"
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

// TestDequantizedForms works base + delta out from the raw files: A and B of
// the golden adapters are small integers times a power of two, so the delta is
// exact in any order.
func TestDequantizedForms(t *testing.T) {
	const layer, scale = "model.layers.0.mlp.down_proj", 2
	dir := filepath.Join(goldenDir, "cases", "nf4-plain")
	base := rawTensors(t, filepath.Join(goldenDir, "bases", "llama-nf4"))
	adapter := rawTensors(t, filepath.Join(dir, "adapter"))
	var config struct {
		R     int
		Alpha float64 `json:"lora_alpha"`
	}
	readJSON(t, filepath.Join(dir, "adapter", "adapter_config.json"), &config)
	if config.Alpha/float64(config.R) != scale {
		t.Fatalf("the adapter's scale is %v", config.Alpha/float64(config.R))
	}
	codes, absmax := base[layer+".weight"], floatsLE(base[layer+".weight.absmax"])
	a := floatsLE(adapter["base_model.model."+layer+".lora_A.weight"])
	b := floatsLE(adapter["base_model.model."+layer+".lora_B.weight"])
	rows := len(b) / config.R
	cols := len(a) / config.R
	want := make([]float32, rows*cols)
	for i := range want {
		code := codes[i/2] >> (4 * (1 - i%2)) & 15
		w := toBF16(nf4[code] * absmax[i/64])
		var d float64
		for k := range config.R {
			d += float64(b[i/cols*config.R+k]) * float64(a[k*cols+i%cols])
		}
		want[i] = w + float32(scale*d)
	}

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

// TestDequantizedWithoutAdapter writes layers in bf16 that no adapter changes:
// their values are those of the base.
func TestDequantizedWithoutAdapter(t *testing.T) {
	const layer = "model.layers.0.self_attn.k_proj"
	p, _ := golden(t, "nf4-plain")
	r, m := runPlan(t, p, p.NewPlan().ClearAll().SetOutput(AsBF16, layer), Options{})
	base := rawTensors(t, filepath.Join(goldenDir, "bases", "llama-nf4"))
	codes, absmax := base[layer+".weight"], floatsLE(base[layer+".weight.absmax"])
	got := m.tensors[layer+".weight"]
	for i := range len(got) / 2 {
		want := toBF16(nf4[codes[i/2]>>(4*(1-i%2))&15] * absmax[i/64])
		if v := math.Float32frombits(uint32(binary.LittleEndian.Uint16(got[2*i:])) << 16); v != want {
			t.Fatalf("weight %d is %g, want %g", i, v, want)
		}
	}
	if len(m.tensors) != 1 || len(got) != 4*len(codes) {
		t.Errorf("%d tensors, %d bytes", len(m.tensors), len(got))
	}
	if len(r.Layers) != 0 || len(r.Alerts) != 0 {
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

// TestRefused keeps the bytes of a layer whose adapter holds more than A and B
// of a kind that is not merged.
func TestRefused(t *testing.T) {
	const layer = "model.layers.0.self_attn.q_proj"
	p, _ := golden(t, "nf4-plain")
	for _, m := range p.Adapters[0].Modules {
		if m.Path == layer {
			m.BiasB = m.B
		}
	}
	p.Model.Weight(layer).Bias = p.Model.Weight(layer).Data
	r, m := runPlan(t, p, p.NewPlan(), Options{})
	if m.tensors[layer+".weight"] != nil {
		t.Error("was written")
	}
	for _, l := range r.Layers {
		if l.Name == layer && (len(l.Alerts) != 1 || l.Alerts[0].Code != CodeUnsupported || !math.IsNaN(float64(l.Kept))) {
			t.Errorf("%+v", l)
		}
	}
}
