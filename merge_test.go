package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// stored is a tensor as it is in a file.
type stored struct {
	dtype string
	shape []int64
	data  []byte
}

// readTensors reads every safetensors file of a directory. It shares no code
// with package loader, whose output it judges.
func readTensors(t *testing.T, dir string) map[string]stored {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.safetensors"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: no safetensors files (%v)", dir, err)
	}
	all := map[string]stored{}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		n := binary.LittleEndian.Uint64(data)
		var header map[string]struct {
			Dtype   string
			Shape   []int64
			Offsets [2]int64 `json:"data_offsets"`
		}
		dec := json.NewDecoder(bytes.NewReader(data[8 : 8+n]))
		if err := dec.Decode(&header); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for tensor, e := range header {
			if tensor == "__metadata__" {
				continue
			}
			if _, twice := all[tensor]; twice {
				t.Errorf("%s: tensor %s is in two files", dir, tensor)
			}
			all[tensor] = stored{e.Dtype, e.Shape, data[8+int64(n):][e.Offsets[0]:e.Offsets[1]]}
		}
	}
	return all
}

// TestMergeBytes runs `mergescope merge` and compares with what PEFT wrote.
func TestMergeBytes(t *testing.T) {
	for _, name := range []string{"nf4-plain", "nf4-dq", "fp4", "int8", "rslora", "patterns", "shards"} {
		t.Run(name, func(t *testing.T) {
			c := readGolden(t, name)
			out := filepath.Join(t.TempDir(), "out")
			args := []string{"merge", c.base, "-a", c.adapter, "-o", out}
			if !c.safe {
				args = append(args, "--unsafe")
			}
			if _, stderr, code := command(t, args...); code != exitFine {
				t.Fatalf("exit code %d\n%s", code, stderr)
			}
			want := readTensors(t, filepath.Join(c.dir, "expected"))
			if c.slim {
				base := readTensors(t, c.base)
				maps.Copy(base, want)
				want = base
			}
			got := readTensors(t, out)
			if len(got) != len(want) {
				t.Errorf("%d tensors, want %d", len(got), len(want))
			}
			for tensor, w := range want {
				g, ok := got[tensor]
				switch {
				case !ok:
					t.Errorf("tensor %s is missing", tensor)
				case g.dtype != w.dtype || !slices.Equal(g.shape, w.shape):
					t.Errorf("tensor %s is %s %v, want %s %v", tensor, g.dtype, g.shape, w.dtype, w.shape)
				case !sameData(tensor, g.data, w.data):
					t.Errorf("tensor %s: bytes differ", tensor)
				}
			}
		})
	}
}

// sameData compares the bytes of a tensor. Only the nested statistics of double
// quantization may differ, by 1e-6: torch's mean is one or two ulp off a mean
// in float64 rounded once.
func sameData(tensor string, got, want []byte) bool {
	if bytes.Equal(got, want) {
		return true
	}
	switch {
	case strings.HasSuffix(tensor, ".nested_absmax"):
		if len(got) != len(want) {
			return false
		}
		for i := 0; i < len(got); i += 4 {
			g := math.Float32frombits(binary.LittleEndian.Uint32(got[i:]))
			w := math.Float32frombits(binary.LittleEndian.Uint32(want[i:]))
			if math.Abs(float64(g-w)) > 1e-6*math.Abs(float64(w)) {
				return false
			}
		}
		return true
	case strings.Contains(tensor, ".quant_state."):
		var g, w map[string]any
		if json.Unmarshal(got, &g) != nil || json.Unmarshal(want, &w) != nil {
			return false
		}
		a, ok1 := g["nested_offset"].(float64)
		b, ok2 := w["nested_offset"].(float64)
		if !ok1 || !ok2 || math.Abs(a-b) > 1e-6*math.Abs(b) {
			return false
		}
		delete(g, "nested_offset")
		delete(w, "nested_offset")
		x, _ := json.Marshal(g)
		y, _ := json.Marshal(w)
		return bytes.Equal(x, y)
	}
	return false
}

// A cancelled merge exits with 4 and says how to go on; the same command then
// finishes what it began.
func TestMergeInterrupted(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	args := []string{"merge", "demo", "-a", "demo:gocode", "-o", out}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stdout, stderr bytes.Buffer
	if code := run(ctx, args, &stdout, &stderr); code != exitInterrupted {
		t.Fatalf("exit code %d, want %d\n%s", code, exitInterrupted, stderr.Bytes())
	}
	for _, want := range []string{"interrupted", "run the same command again to resume"} {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("stderr does not say %q:\n%s", want, stderr.Bytes())
		}
	}
	if files, _ := filepath.Glob(filepath.Join(out, "*.safetensors")); len(files) > 0 {
		t.Errorf("an interrupted merge left %v", files)
	}
	if _, stderr, code := command(t, args...); code != exitFine {
		t.Fatalf("resuming: exit code %d\n%s", code, stderr)
	}
	fresh := filepath.Join(t.TempDir(), "fresh")
	if _, stderr, code := command(t, "merge", "demo", "-a", "demo:gocode", "-o", fresh); code != exitFine {
		t.Fatalf("exit code %d\n%s", code, stderr)
	}
	a, b := readTensors(t, out), readTensors(t, fresh)
	for name := range b {
		if !bytes.Equal(a[name].data, b[name].data) {
			t.Errorf("tensor %s differs after resuming", name)
		}
	}
}
