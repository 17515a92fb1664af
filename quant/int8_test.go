package quant

import (
	"math"
	"math/rand/v2"
	"testing"
)

func quantizeInt8(src []float32, rows int, p Profile) (codes []byte, scb []float32, ambiguous int) {
	codes, scb = make([]byte, len(src)), make([]float32, rows)
	return codes, scb, QuantizeInt8(codes, scb, src, p)
}

func TestInt8Steps(t *testing.T) {
	// With 127 as the largest magnitude a step is 1.
	src := []float32{127, -127, 0.5, 1.5, 2.5, -0.5, -1.5, 0, 126.5, 0.49}
	codes, scb, _ := quantizeInt8(src, 1, CPU)
	want := []int8{127, -127, 0, 2, 2, 0, -2, 0, 126, 0}
	for i, w := range want {
		if int8(codes[i]) != w {
			t.Errorf("%v became %d, want %d", src[i], int8(codes[i]), w)
		}
	}
	if scb[0] != 127 {
		t.Errorf("scb %v", scb[0])
	}
}

// The scale is the largest magnitude after rounding to float16, and values
// beyond float16 take their row with them.
func TestInt8Half(t *testing.T) {
	src := []float32{1.0001, 0.5, 70000, 1, 65519, -1, float32(math.NaN()), 2}
	codes, scb, _ := quantizeInt8(src, 4, CPU)
	sameBits(t, "scb", scb, []float32{1, inf, 65504, float32(math.NaN())})
	sameBytes(t, "codes", codes, []byte{127, 64, 0, 0, 127, 0, 0, 0})
}

func TestInt8CUDA(t *testing.T) {
	nan := float32(math.NaN())
	codes, scb, _ := quantizeInt8([]float32{nan, 2, -1, nan, nan, nan, inf, 1, 2, 0, 0, 0}, 4, CUDA)
	sameBits(t, "scb", scb, []float32{2, 0, inf, 0})
	sameBytes(t, "codes", codes, []byte{0, 127, 0xc0, 0, 0, 0, 0, 0, 0, 0, 0, 0}) // -63.5 goes to the even -64
}

// Rows are scaled by 127/scb on CUDA and by 127 * (1/scb) on the CPU; values are
// ambiguous if factors up to 2 ulp off give another integer.
func TestInt8Ambiguous(t *testing.T) {
	rng := rand.New(rand.NewPCG(29, 30))
	differ, want := 0, 0
	var src []float32
	const rows, cols = 400, 64
	for range rows {
		scb := half(rng.Float32() + 0.5)
		row := make([]float32, cols)
		for i := range row {
			row[i] = half(scb * (float32(rng.IntN(254)) - 126.5) / 127)
		}
		row[0] = scb
		src = append(src, row...)
		factor := float64(127 / scb)
		ulp := math.Ldexp(1, int(math.Floor(math.Log2(factor)))-23)
		for _, v := range row {
			low, high := float32(factor-2*ulp), float32(factor+2*ulp)
			if math.RoundToEven(float64(v*low)) != math.RoundToEven(float64(v*high)) {
				want++
			}
		}
	}
	onCPU, _, none := quantizeInt8(src, rows, CPU)
	onCUDA, _, got := quantizeInt8(src, rows, CUDA)
	for i := range onCPU {
		if onCPU[i] != onCUDA[i] {
			differ++
		}
	}
	if none != 0 || got != want || want == 0 {
		t.Errorf("%d and %d ambiguous, want 0 and %d (not 0)", none, got, want)
	}
	if differ > want {
		t.Errorf("%d values differ between the profiles, but only %d are ambiguous", differ, want)
	}
}

// q = 127 does not always give back the scale: products are rounded in order.
func TestInt8DequantizeOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(31, 32))
	other := 0
	for range 1000 {
		q, scb := int8(rng.IntN(255)-127), rng.Float32()
		var got [1]float32
		DequantizeInt8(got[:], []byte{byte(q)}, []float32{scb})
		product := float32(q) * scb
		if want := product * math.Float32frombits(0x3c010204); got[0] != want {
			t.Fatalf("%d * %v = %v, want %v", q, scb, got[0], want)
		}
		if got[0] != float32(q)*(scb*math.Float32frombits(0x3c010204)) {
			other++
		}
	}
	if other == 0 {
		t.Error("the order of the products made no difference: nothing was tested")
	}
}

func TestInt8Empty(t *testing.T) {
	if n := QuantizeInt8(nil, nil, nil, CPU); n != 0 {
		t.Error(n)
	}
	DequantizeInt8(nil, nil, nil)
	scb := []float32{1, 2}
	if QuantizeInt8(nil, scb, nil, CPU); scb[0] != 0 || scb[1] != 0 { // rows without columns
		t.Error(scb)
	}
}
