package merge

import (
	"fmt"

	"mergescope/quant"
)

// UseKernels chooses the kernels of all later work by name: "go", "neon", "avx2"
// or "avx512"; "" keeps the fastest. All give the same bits.
func UseKernels(name string) error {
	if name == "" {
		return nil
	}
	level, ok := quant.ParseLevel(name)
	if !ok {
		return fmt.Errorf("kernels %q: want go, neon, avx2 or avx512", name)
	}
	return quant.Use(level)
}

// Kernels names the kernels in use.
func Kernels() string { return quant.Kernels().String() }
