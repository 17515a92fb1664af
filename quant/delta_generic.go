//go:build !(amd64 || arm64) || !gc || noasm

package quant

func hasLevel(l Level) bool                                             { return l == Go }
func packFactor(*Factor) []float32                                      { return nil }
func deltaVector(dst, b []float32, f *Factor, rows int, s float32) bool { return false }
