package merge

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mergescope/loader"
)

// TestReplacedNonFinite puts NaN and an infinity into tensors that an adapter
// brings in place of the model's.
func TestReplacedNonFinite(t *testing.T) {
	for name, tt := range map[string]struct {
		tensor, module string
		places         []int // elements of the tensor
		at             [2]int
	}{
		"modules-to-save":  {"base_model.model.lm_head.weight", "lm_head", []int{64*3 + 5, 70}, [2]int{1, 6}},
		"trainable-tokens": {"base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta", "model.embed_tokens", []int{2}, [2]int{0, 2}},
		"bias-lora-only":   {"base_model.model.model.layers.0.self_attn.q_proj.base_layer.bias", "model.layers.0.self_attn.q_proj", []int{7}, [2]int{0, 7}},
	} {
		t.Run(name, func(t *testing.T) {
			p, _ := golden(t, name)
			plan := p.NewPlan()
			good, err := NewJob(p, plan, Options{})
			if err != nil {
				t.Fatal(err)
			}
			report, err := good.Run(t.Context())
			if err != nil || len(alertsWith(report.Alerts, CodeNonFinite)) != 0 {
				t.Fatalf("before: %v %+v", err, report.Alerts)
			}
			a := p.Adapters[0]
			bad, err := loader.Source{}.Adapter(poisoned(t, a.Path, tt.tensor, tt.places...))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = bad.Close() })
			bad.Name = a.Name
			p.Adapters[0] = bad
			for _, out := range []string{"", filepath.Join(t.TempDir(), "out")} {
				job, err := NewJob(p, plan, Options{Out: out})
				if err != nil {
					t.Fatal(err)
				}
				report, err := job.Run(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				found := alertsWith(report.Alerts, CodeNonFinite)
				if len(found) != 1 || found[0].Level != Error || found[0].Layer != tt.module || found[0].Place.Tensor != tt.tensor ||
					[2]int{found[0].Place.Row, found[0].Place.Col} != tt.at || !strings.Contains(found[0].Message, count(len(tt.places), "non-finite value")) {
					t.Errorf("%+v", found)
				}
			}
		})
	}
}

func alertsWith(list []Alert, code Code) (out []Alert) {
	for _, a := range list {
		if a.Code == code {
			out = append(out, a)
		}
	}
	return out
}

// poisoned copies an adapter and sets elements of a tensor to NaN and infinity
// by turns.
func poisoned(t *testing.T, dir, tensor string, places ...int) string {
	t.Helper()
	out := t.TempDir()
	if err := os.CopyFS(out, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(out, "adapter_model.safetensors")
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	n := 8 + int(binary.LittleEndian.Uint64(raw))
	var header map[string]struct {
		DType   string `json:"dtype"`
		Offsets []int  `json:"data_offsets"`
	}
	if err := json.Unmarshal(raw[8:n], &header); err != nil {
		t.Fatal(err)
	}
	h, ok := header[tensor]
	if !ok {
		t.Fatalf("%s has no %s", dir, tensor)
	}
	for i, at := range places {
		bits := math.Float32bits([]float32{float32(math.NaN()), float32(math.Inf(-1))}[i%2])
		switch h.DType {
		case "F32":
			binary.LittleEndian.PutUint32(raw[n+h.Offsets[0]+4*at:], bits)
		case "BF16":
			binary.LittleEndian.PutUint16(raw[n+h.Offsets[0]+2*at:], uint16(bits>>16))
		default:
			t.Fatalf("%s is %s", tensor, h.DType)
		}
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, raw, 0o644); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestTunerNonFinite: values that are not finite stop the layer, as in LoRA.
func TestTunerNonFinite(t *testing.T) {
	const tensor, module = "base_model.model.model.layers.0.self_attn.q_proj.vera_lambda_b", "model.layers.0.self_attn.q_proj"
	var src loader.Source
	model, err := src.Checkpoint(filepath.Join(goldenDir, "bases", "llama-nf4"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = model.Close() })
	a, err := src.Adapter(poisoned(t, "../testdata/golden-tuners/cases/vera-nf4/adapter", tensor, 3))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	p := NewProject(model, a)
	job, err := NewJob(p, p.NewPlan(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	report, err := job.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	found := alertsWith(report.Alerts, CodeNonFinite)
	if len(found) != 1 || found[0].Layer != module || !strings.Contains(found[0].Message, "vera_lambda_b") || found[0].Place.Col != 3 {
		t.Errorf("%+v", found)
	}
}
