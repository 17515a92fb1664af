//go:build unix

package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// largeModules are the seven weights of a layer.
var largeModules = []string{"mlp.down_proj", "mlp.gate_proj", "mlp.up_proj", "self_attn.k_proj", "self_attn.o_proj", "self_attn.q_proj", "self_attn.v_proj"}

// writeLarge writes an NF4 checkpoint of layers of seven square weights, and an
// adapter of rank 8 on all of them.
func writeLarge(tb testing.TB, layers, size int) (model, adapter string) {
	tb.Helper()
	const rank = 8
	root := tb.TempDir()
	model, adapter = filepath.Join(root, "large"), filepath.Join(root, "adapter")
	var base, lora safetensorsFile
	var n noise
	state := fmt.Sprintf(`{"quant_type": "nf4", "blocksize": 64, "dtype": "bfloat16", "shape": [%d, %d]}`, size, size)
	for i := range layers {
		for _, m := range largeModules {
			name := fmt.Sprintf("model.layers.%d.%s", i, m)
			w := name + ".weight"
			base.add(w, "U8", []int{size * size / 2, 1}, n.bytes(size*size/2))
			base.add(w+".absmax", "F32", []int{size * size / 64}, n.floats(size*size/64, 0.02, 0.06))
			base.add(w+".quant_map", "F32", []int{16}, make([]byte, 64))
			base.add(w+".quant_state.bitsandbytes__nf4", "U8", []int{len(state)}, []byte(state))
			lora.add("base_model.model."+name+".lora_A.weight", "F32", []int{rank, size}, n.floats(rank*size, -0.02, 0.02))
			lora.add("base_model.model."+name+".lora_B.weight", "F32", []int{size, rank}, n.floats(size*rank, -0.02, 0.02))
		}
	}
	base.write(tb, model, "model.safetensors")
	lora.write(tb, adapter, "adapter_model.safetensors")
	put := func(dir, name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			tb.Fatal(err)
		}
	}
	put(model, "config.json", `{"model_type": "llama", "quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": true, "bnb_4bit_quant_type": "nf4"}}`)
	put(adapter, "adapter_config.json", `{"peft_type": "LORA", "r": 8, "lora_alpha": 16, "target_modules": ["down_proj", "gate_proj", "up_proj", "k_proj", "o_proj", "q_proj", "v_proj"]}`)
	return model, adapter
}

// noise draws numbers that are the same in every run (Knuth's MMIX generator).
type noise uint64

func (n *noise) next() uint32 {
	*n = *n*6364136223846793005 + 1442695040888963407
	return uint32(*n >> 32)
}

func (n *noise) bytes(size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(n.next())
	}
	return b
}

func (n *noise) floats(count int, low, high float32) []byte {
	b := make([]byte, 4*count)
	for i := range count {
		x := low + (high-low)*float32(n.next()>>8)/(1<<24)
		_, _ = binary.Encode(b[4*i:], binary.LittleEndian, x) // there is room
	}
	return b
}

// safetensorsFile is a file in the making.
type safetensorsFile struct {
	head []string
	data [][]byte
	size int
}

func (f *safetensorsFile) add(name, dtype string, shape []int, b []byte) {
	dims := strings.ReplaceAll(fmt.Sprint(shape), " ", ",")
	f.head = append(f.head, fmt.Sprintf(`%q:{"dtype":%q,"shape":%s,"data_offsets":[%d,%d]}`, name, dtype, dims, f.size, f.size+len(b)))
	f.data = append(f.data, b)
	f.size += len(b)
}

func (f *safetensorsFile) write(tb testing.TB, dir, name string) {
	tb.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		tb.Fatal(err)
	}
	file, err := os.Create(filepath.Join(dir, name))
	if err != nil {
		tb.Fatal(err)
	}
	defer file.Close()
	w := bufio.NewWriter(file)
	head := `{"__metadata__":{"format":"pt"},` + strings.Join(f.head, ",") + "}"
	head += strings.Repeat(" ", (8-len(head)%8)%8)
	_, _ = w.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(head)))) // Flush has the error
	_, _ = w.WriteString(head)
	for _, b := range f.data {
		_, _ = w.Write(b)
	}
	if err := w.Flush(); err != nil {
		tb.Fatal(err)
	}
}
