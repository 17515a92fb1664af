package loader

import (
	"bytes"
	"fmt"
	"testing"
)

// manyTensors is a file of n 4-bit experts with nested statistics, six
// tensors each.
func manyTensors(n int) []byte {
	var all []entry
	for i := range n {
		all = append(all, nested4(fmt.Sprintf("model.layers.%d.mlp.experts.%d.up_proj.weight", i/128, i%128), "nf4")...)
	}
	return build(all...)
}

func BenchmarkNewFile(b *testing.B) {
	data := manyTensors(1000)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := NewFile(bytes.NewReader(data), int64(len(data)), "x"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAssemble(b *testing.B) {
	data := manyTensors(1000)
	f, err := NewFile(bytes.NewReader(data), int64(len(data)), "x")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		weights, _, err := assemble(f.Tensors, f.byName)
		if err != nil || len(weights) != 1000 || weights[999].Problem != nil {
			b.Fatal(err)
		}
	}
}
