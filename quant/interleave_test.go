package quant

import "testing"

// Numbers get where they belong, and nothing else is written.
func TestInterleave(t *testing.T) {
	for _, l := range Levels() {
		at(t, l, func() {
			for rows := range 14 {
				for _, cols := range []int{1, 3, 4, 5, 17, 32} {
					checkInterleave(t, rows, cols, rows+2, cols+3)
				}
			}
		})
	}
}

func FuzzInterleave(f *testing.F) {
	f.Add(uint8(12), uint8(32), uint8(0), uint8(0))
	f.Add(uint8(32), uint8(32), uint8(1), uint8(7))
	f.Fuzz(func(t *testing.T, rows, cols, beside, behind uint8) {
		for _, l := range Levels() {
			at(t, l, func() {
				checkInterleave(t, int(rows), int(cols), int(rows)+int(beside), int(cols)+int(behind))
			})
		}
	})
}

func checkInterleave(t *testing.T, rows, cols, width, stride int) {
	t.Helper()
	src, dst := make([]float32, rows*stride+1), make([]float32, cols*width)
	for i := range src {
		src[i] = float32(i + 1)
	}
	Interleave(dst, width, src, stride, rows, cols)
	for c := range cols {
		for r := range width {
			want := float32(0)
			if r < rows {
				want = float32(r*stride + c + 1)
			}
			if got := dst[c*width+r]; got != want {
				t.Fatalf("%v: %dx%d: column %d of row %d is %v, want %v", Kernels(), rows, cols, c, r, got, want)
			}
		}
	}
}
