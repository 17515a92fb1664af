package merge

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mergescope/loader"
	"mergescope/quant"
)

const experts0 = "model.layers.0.block_sparse_moe.experts."

// TestExpertFault names the element of the fused factor that is not finite, and
// stops the expert it belongs to alone.
func TestExpertFault(t *testing.T) {
	dir := t.TempDir()
	src := filepath.Join(goldenDir, "cases", "mixtral-experts", "adapter")
	if err := os.CopyFS(dir, os.DirFS(src)); err != nil {
		t.Fatal(err)
	}
	const name = "base_model.model.model.layers.0.mlp.experts.base_layer.lora_B.weight" // [128, 2*4]: gate above up
	file := filepath.Join(dir, "adapter_model.safetensors")
	a, err := loader.Source{}.Adapter(dir)
	if err != nil {
		t.Fatal(err)
	}
	off := a.File.Tensor(name).Offset
	a.Close()
	const row, rank, expert = 64 + 5, 1, 2
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	nan := binary.LittleEndian.AppendUint32(nil, math.Float32bits(float32(math.NaN())))
	if _, err := f.WriteAt(nan, off+4*(row*8+rank*4+expert)); err != nil {
		t.Fatal(err)
	}
	p := openProject(t, filepath.Join(goldenDir, "bases", "mixtral-bf16"), [2]string{"a", dir})
	r, m := runPlan(t, p, p.NewPlan(), Options{})
	found := find(r.Alerts, CodeNonFinite)
	if len(found) != 1 || found[0].Layer != experts0+"2.w3" {
		t.Fatalf("%+v", found)
	}
	if at := found[0].Place; at.Tensor != name || at.Row != row || at.Col != rank*4+expert {
		t.Errorf("at %+v", at)
	}
	if m.tensors[experts0+"2.w3.weight"] != nil || m.tensors[experts0+"2.w1.weight"] == nil || m.tensors[experts0+"1.w3.weight"] == nil {
		t.Error("the wrong experts were stopped")
	}
}

// TestSplitExperts drops the adapter of single experts that are to be separate:
// a residual adapter would hold the factors of all.
func TestSplitExperts(t *testing.T) {
	p, _ := golden(t, "mixtral-experts")
	layers, alerts := p.Layers(p.NewPlan().SetOutput(Separate, experts0+"0.w2"))
	found := find(alerts, CodeUnsupported)
	if len(found) != 1 || found[0].Level != Error || found[0].Count != 1 || !strings.Contains(found[0].Message, experts0+"0.w2") {
		t.Errorf("%+v", found)
	}
	for _, l := range layers {
		if l.Weight.Name == experts0+"0.w2" && (len(l.Steps) != 0 || !strings.Contains(l.Reason, "share factors")) {
			t.Errorf("%+v", l)
		}
	}
	all := p.NewPlan().SetOutput(Separate, "model.layers.0.block_sparse_moe.experts.*.w2")
	if _, alerts := p.Layers(all); len(find(alerts, CodeUnsupported)) != 0 {
		t.Errorf("%+v", alerts)
	}
}

// TestQuantizedExperts refuses parameters that are packed, which PEFT's merge
// leaves as they were without a word.
func TestQuantizedExperts(t *testing.T) {
	p, _ := golden(t, "mixtral-experts-nf4")
	p.Model.Weight(experts0 + "1.w2").Format = quant.NF4
	_, alerts := p.Layers(p.NewPlan())
	found := find(alerts, CodeUnmergeable)
	if len(found) != 1 || found[0].Level != Error || found[0].Layer != experts0+"1.w2" || !strings.Contains(found[0].Message, "the merge is lost") {
		t.Errorf("%+v", found)
	}
}

// TestExpertsThatDoNotFit refuses factors for another number of experts.
func TestExpertsThatDoNotFit(t *testing.T) {
	p, _ := golden(t, "mixtral-experts-nf4")
	for _, m := range p.Adapters[0].Modules {
		if m.Parameter != "" {
			m.Experts = 2
		}
	}
	layers, alerts := p.Layers(p.NewPlan())
	if len(find(alerts, CodeShape)) == 0 {
		t.Errorf("%+v", alerts)
	}
	for _, l := range layers {
		if strings.Contains(l.Weight.Name, "experts.3.") && len(l.Steps) > 0 {
			t.Errorf("%s is merged", l.Weight.Name)
		}
	}
}
