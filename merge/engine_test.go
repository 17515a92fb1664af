package merge

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"mergescope/loader"
)

// golden opens a case of testdata/golden.
func golden(t *testing.T, name string) (*Project, goldenFacts) {
	t.Helper()
	for _, g := range goldenCases(t) {
		if g.Name == name {
			return openGolden(t, g), g
		}
	}
	t.Fatalf("no golden case %s", name)
	return nil, goldenFacts{}
}

// caseFigures is what make.py computed in float64 for one layer.
type caseFigures struct {
	Shape    []int64
	Delta    *float64 `json:"delta_rms"`
	W        *float64 `json:"w_rms"`
	Kept     *float64
	SNR      *float64 `json:"snr_db"`
	Codes    *float64 `json:"codes_changed"`
	ErrorMax *float64 `json:"err_max_abs"`
}

func figuresOf(t *testing.T, name string) map[string]caseFigures {
	t.Helper()
	var f struct{ Layers map[string]caseFigures }
	readJSON(t, filepath.Join(goldenDir, "cases", name, "expected.json"), &f)
	if len(f.Layers) == 0 {
		t.Fatal("expected.json has no layers")
	}
	return f.Layers
}

func readJSON(t *testing.T, file string, v any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, v); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// rawTensors reads all tensors of the safetensors files in a directory. It
// shares nothing with package loader.
func rawTensors(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.safetensors"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s has no safetensors files", dir)
	}
	all := map[string][]byte{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		n := binary.LittleEndian.Uint64(data)
		var header map[string]json.RawMessage
		if err := json.Unmarshal(data[8:8+n], &header); err != nil {
			t.Fatal(err)
		}
		for name, text := range header {
			var e struct {
				Offsets [2]int64 `json:"data_offsets"`
			}
			if name == "__metadata__" {
				continue
			}
			if err := json.Unmarshal(text, &e); err != nil {
				t.Fatal(err)
			}
			body := data[8+n:]
			all[name] = body[e.Offsets[0]:e.Offsets[1]]
		}
	}
	return all
}

// memorySink keeps what a job writes.
type memorySink struct {
	mu      sync.Mutex
	tensors map[string][]byte
}

func newMemorySink() *memorySink { return &memorySink{tensors: map[string][]byte{}} }

func (m *memorySink) layer(string) layerSink {
	return &memoryLayer{sink: m, parts: map[string][]memoryPart{}}
}
func (m *memorySink) copyRest(context.Context) error       { return nil }
func (m *memorySink) writeBeside(context.Context) error    { return nil }
func (m *memorySink) finish(context.Context, []byte) error { return nil }
func (m *memorySink) written() (*loader.Checkpoint, error) { return nil, nil }
func (m *memorySink) close() error                         { return nil }

type memoryPart struct {
	off  int64
	data []byte
}

type memoryLayer struct {
	sink  *memorySink
	mu    sync.Mutex
	parts map[string][]memoryPart
}

func (l *memoryLayer) done() bool            { return false }
func (l *memoryLayer) note() json.RawMessage { return nil }

func (l *memoryLayer) WriteAt(tensor string, p []byte, off int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.parts[tensor] = append(l.parts[tensor], memoryPart{off, bytes.Clone(p)})
	return nil
}

func (l *memoryLayer) revert() { l.parts = map[string][]memoryPart{} }

func (l *memoryLayer) commit(context.Context, json.RawMessage) error {
	l.sink.mu.Lock()
	defer l.sink.mu.Unlock()
	for name, parts := range l.parts {
		var size int64
		for _, p := range parts {
			size += int64(len(p.data))
		}
		whole, seen := make([]byte, size), make([]bool, size)
		for _, p := range parts {
			for i, b := range p.data {
				at := p.off + int64(i)
				if at >= size || seen[at] {
					return fmt.Errorf("%s: byte %d comes twice, or there is a gap", name, at)
				}
				whole[at], seen[at] = b, true
			}
		}
		l.sink.tensors[name] = whole
	}
	return nil
}

// runPlan runs a plan into memory.
func runPlan(t *testing.T, p *Project, plan Plan, opt Options) (*Report, *memorySink) {
	t.Helper()
	j, err := NewJob(p, plan, opt)
	if err != nil {
		t.Fatal(err)
	}
	m := newMemorySink()
	j.out = m
	r, err := j.Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return r, m
}

// near reports whether two numbers agree to a relative tolerance, or both do
// not exist.
func near(got Figure, want *float64, tolerance float64) bool {
	v := float64(got)
	if want == nil {
		return math.IsNaN(v) || math.IsInf(v, 0)
	}
	return math.Abs(v-*want) <= tolerance*math.Abs(*want)
}

func show(v *float64) string {
	if v == nil {
		return "null"
	}
	return fmt.Sprintf("%.9g", *v)
}

// TestGoldenFigures compares with figures that make.py works out in float64
// from the files PEFT wrote.
func TestGoldenFigures(t *testing.T) {
	for _, name := range []string{
		"nf4-plain", "nf4-dq", "nf4-dq-bs256", "fp4", "fp4-dq", "int8", "nf4-f16", "nf4-f32", "nf4-bs128", "nf4-gauss", "int8-gauss",
		"rslora", "patterns", "scaling-thirds", "negative-scaling", "sequence-nf4", "sequence-nf4-dq", "sequence-int8",
		"zero-rows-nf4", "zero-rows-nf4-dq", "zero-rows-int8", "float-bf16-safe", "float-f16-unsafe", "float-f32-safe", "gpt2-f32",
		"sweep-nf4-0.1pct", "sweep-nf4-0.3pct", "sweep-nf4-1pct", "sweep-nf4-3pct", "sweep-nf4-10pct", "sweep-nf4-30pct",
		"sweep-int8-0.1pct", "sweep-int8-0.3pct", "sweep-int8-1pct", "sweep-int8-3pct", "sweep-int8-10pct", "sweep-int8-30pct",
		"sweep-nf4-dq-0.3pct", "sweep-nf4-dq-3pct",
	} {
		t.Run(name, func(t *testing.T) {
			p, info := golden(t, name)
			r, _ := runPlan(t, p, p.NewPlan(), Options{Unsafe: !info.Safe})
			layers := map[string]*LayerReport{}
			for _, l := range r.Layers {
				layers[l.Name] = l
			}
			for layer, want := range figuresOf(t, name) {
				got := layers[layer]
				if got == nil {
					t.Errorf("%s: not in the report", layer)
					continue
				}
				for _, f := range []struct {
					name string
					got  Figure
					want *float64
				}{
					{"kept", got.Kept, want.Kept},
					{"snr_db", got.SNR, want.SNR},
					{"codes_changed", got.CodesChanged, want.Codes},
					{"delta_rms", got.DeltaRMS, want.Delta},
					{"weight_rms", got.WeightRMS, want.W},
					{"error_max", got.ErrorMax, want.ErrorMax},
				} {
					if f.name == "snr_db" && f.want != nil && *f.want > 100 {
						continue // of float32 weights: the error is as small as that of measuring it
					}
					if !near(f.got, f.want, 1e-4) {
						t.Errorf("%s: %s is %.9g, want %s", layer, f.name, float64(f.got), show(f.want))
					}
				}
			}
		})
	}
}

// TestGoldenBytes compares with the tensors PEFT and bitsandbytes wrote. Cases
// whose arithmetic is more than LoRA's are not among these.
func TestGoldenBytes(t *testing.T) {
	for _, name := range []string{
		"nf4-plain", "nf4-all-layers", "nf4-gauss", "nf4-dq", "nf4-dq-gauss", "nf4-dq-bs256", "fp4", "fp4-dq", "nf4-f16", "nf4-f32",
		"nf4-bs128", "nf4-storage-bf16", "int8", "int8-all-layers", "int8-gauss", "lora-r1", "lora-r64", "rslora",
		"scaling-thirds", "negative-scaling", "patterns", "lmhead-quantized", "tied-embedding", "embedding", "gpt2-f32", "gpt2-nf4",
		"gpt2-int8", "bert-int8", "sequence-nf4", "sequence-nf4-swapped", "sequence-int8", "adapter-f16", "adapter-bf16",
		"zero-b-nf4", "zero-b-nf4-dq", "zero-b-fp4", "zero-b-int8", "zero-rows-nf4", "zero-rows-nf4-dq", "zero-rows-int8", "shards",
		"float-bf16-safe", "float-bf16-unsafe", "float-f16-safe", "float-f16-unsafe", "float-f32-safe", "float-f32-unsafe",
		"nan-a-unsafe", "nan-b-unsafe", "inf-b-unsafe", "nan-a-int8-unsafe", "inf-b-int8-unsafe",
		"overflow-f16-int8-safe", "overflow-f16-int8-unsafe", "ragged", "nf4-bs128-narrow",
	} {
		t.Run(name, func(t *testing.T) {
			p, g := golden(t, name)
			_, m := runPlan(t, p, p.NewPlan(), Options{Unsafe: !g.Safe})
			dir := filepath.Join(goldenDir, "cases", name, "expected")
			if flat := dir + "_flat"; isDir(flat) {
				dir = flat // what every device but an AVX-512 CPU gives
			}
			want := rawTensors(t, dir)
			if len(m.tensors) == 0 {
				t.Fatal("nothing was written")
			}
			base := rawTensors(t, filepath.Join(goldenDir, g.Base))
			for name, got := range m.tensors {
				w, ok := want[name]
				if !ok {
					w = base[name] // only tensors that changed were kept
				}
				if !bytes.Equal(got, w) {
					t.Errorf("%s differs", name)
				}
			}
			for name, w := range want {
				if _, ok := m.tensors[name]; !ok && !bytes.Equal(w, base[name]) {
					t.Errorf("%s was not written", name)
				}
			}
		})
	}
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
