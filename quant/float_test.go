package quant

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/x448/float16"
)

func TestDecodeFloats(t *testing.T) {
	var halves, brains []byte
	wantHalf, wantBrain := make([]float32, 1<<16), make([]float32, 1<<16)
	for u := range 1 << 16 {
		halves = binary.LittleEndian.AppendUint16(halves, uint16(u))
		brains = binary.LittleEndian.AppendUint16(brains, uint16(u))
		wantHalf[u] = slowHalf(uint16(u))
		wantBrain[u] = math.Float32frombits(uint32(u) << 16)
	}
	got := make([]float32, 1<<16)
	DecodeFloats(got, halves, F16)
	sameBits(t, "f16", got, wantHalf)
	DecodeFloats(got, brains, BF16)
	sameBits(t, "bf16", got, wantBrain)
	DecodeFloats(got[:2], []byte{0, 0, 0x80, 0x3f, 1, 0, 0, 0}, F32)
	sameBits(t, "f32", got[:2], []float32{1, math.SmallestNonzeroFloat32})
}

// nearest rounds v to a float format with the given bits of significand and
// least exponent by arithmetic in float64.
func nearest(v float32, precision, least, greatest int) float32 {
	if v != v || v == 0 || !finite(v) {
		return v
	}
	_, e := math.Frexp(float64(v))
	unit := math.Ldexp(1, max(e, least)-precision)
	r := math.RoundToEven(float64(v)/unit) * unit
	if math.Abs(r) >= math.Ldexp(1, greatest) {
		r = math.Inf(int(math.Copysign(1, r)))
	}
	if r == 0 {
		r = math.Copysign(0, float64(v))
	}
	return float32(r)
}

func TestRoundTo(t *testing.T) {
	rng := rand.New(rand.NewPCG(27, 28))
	x := append([]float32{65504, 65519.996, 65520, -65520, 0x1p-14, 0x1.ffcp-15, 0x1p-25, 0x1.000002p-25, 6e-8}, specials...)
	for range 300000 {
		x = append(x, math.Float32frombits(rng.Uint32()))
	}
	for u := range 1 << 16 { // ties and their neighbours in both formats
		h := math.Float32bits(float16.Frombits(uint16(u)).Float32())
		for d := range uint32(3) {
			x = append(x, math.Float32frombits(h+0x1000+d-1), math.Float32frombits(uint32(u)<<16+0x8000+d-1))
		}
	}
	for _, f := range []struct {
		format                     Format
		precision, least, greatest int
	}{{F16, 11, -13, 16}, {BF16, 8, -125, 128}, {F32, 24, -125, 128}} {
		want := make([]float32, len(x))
		for i, v := range x {
			want[i] = nearest(v, f.precision, f.least, f.greatest)
		}
		got := append([]float32(nil), x...)
		RoundTo(got, f.format)
		sameBits(t, f.format.String(), got, want)

		raw := make([]byte, f.format.Bytes(int64(len(x))))
		EncodeFloats(raw, x, f.format)
		DecodeFloats(got, raw, f.format)
		sameBits(t, f.format.String()+" stored", got, want)
	}
}

func TestBFloat16NaN(t *testing.T) {
	for _, u := range []uint32{0x7f800001, 0xff800001, 0x7fffffff, 0xffc12345} {
		if got := bfloat16(math.Float32frombits(u)); got != 0x7fc0 {
			t.Errorf("%08x became %04x", u, got)
		}
	}
}
