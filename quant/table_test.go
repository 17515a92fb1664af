package quant

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestDynamicMap(t *testing.T) {
	m := DynamicMap()
	if m[0] != -0.99296874 || m[127] != 0 || m[255] != 1 {
		t.Errorf("ends and middle: %v %v %v", m[0], m[127], m[255])
	}
	for i := range 127 {
		if m[i] != -m[254-i] {
			t.Errorf("%d and %d are not opposite", i, 254-i)
		}
	}
	if !slices.IsSorted(m[:]) {
		t.Error("not ascending")
	}
	m[0] = 5
	if DynamicMap()[0] == 5 {
		t.Error("callers share the table")
	}
}

// The map by its construction: group i has 2^i means of neighbouring points
// between 0.1 and 1, times 10^(i-6). Worked out in float64 it is torch's to a few ulp.
func TestDynamicMapConstruction(t *testing.T) {
	want := []float64{0, 1}
	for i := range 7 {
		n := 1 << i
		for j := range n {
			step := 0.9 / float64(n)
			v := (0.1 + step*(float64(j)+0.5)) * math.Pow(10, float64(i-6))
			want = append(want, v, -v)
		}
	}
	slices.Sort(want)
	for i, w := range want {
		if math.Abs(float64(dynamicMap[i])-w) > 1e-6*math.Abs(w) {
			t.Errorf("[%d] = %v, want about %v", i, dynamicMap[i], w)
		}
	}
}

// The values of both formats as printed in decimal by bitsandbytes.
func TestValues(t *testing.T) {
	nf4 := [16]float64{
		-1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
		-0.18477343022823334, -0.09105003625154495, 0, 0.07958029955625534, 0.16093020141124725,
		0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1,
	}
	fp4 := [8]float64{0, 0.0625 / 12, 8.0 / 12, 1, 4.0 / 12, 6.0 / 12, 2.0 / 12, 3.0 / 12}
	for i, v := range nf4 {
		if nf4Values[i] != float32(v) {
			t.Errorf("nf4 %d = %v, want %v", i, nf4Values[i], v)
		}
	}
	for i, v := range fp4 {
		if fp4Values[i] != float32(v) || fp4Values[i+8] != -float32(v) {
			t.Errorf("fp4 %d = %v and %v, want +-%v", i, fp4Values[i], fp4Values[i+8], v)
		}
	}
	if !math.Signbit(float64(fp4Values[8])) {
		t.Error("fp4 code 8 is not -0")
	}
}

// Bounds of NF4 and of FP4 on the CPU are midpoints of neighbouring values
// rounded to float32.
func TestBoundsAreMidpoints(t *testing.T) {
	for _, f := range []Format{NF4, FP4} {
		v := slices.Sorted(slices.Values(valuesOf(f)[:]))
		for i, b := range Boundaries(f, CPU) {
			if mid := float32((float64(v[i]) + float64(v[i+1])) / 2); b != mid {
				t.Errorf("%s bound %d = %x, want %x", f, i, b, mid)
			}
		}
	}
}

// cudaFP4 is the tree of dQuantizeFP4 spelled out.
func cudaFP4(x float32) uint8 {
	var sign uint8
	if x < 0 {
		sign = 8
	}
	m := abs(x)
	hex := math.Float32frombits
	switch {
	case m > hex(0x3f155550):
		if m > hex(0x3f555555) {
			return sign | 3
		}
		return sign | 2
	case m > hex(0x3e955555):
		if m > hex(0x3ed55556) {
			return sign | 5
		}
		return sign | 4
	case m > hex(0x3db00000):
		if m > hex(0x3e555555) {
			return sign | 7
		}
		return sign | 6
	case m > hex(0x3b2aaab9):
		return sign | 1
	}
	return sign
}

// around returns the neighbours of the bounds of all rules, some random values
// in [-1, 1] and what has no place on the line.
func around(rng *rand.Rand) (x []float32) {
	for _, f := range []Format{NF4, FP4} {
		for _, p := range []Profile{CPU, CUDA} {
			for _, b := range Boundaries(f, p) {
				u := math.Float32bits(b)
				for d := -20; d <= 20; d++ {
					x = append(x, math.Float32frombits(u+uint32(d)), -math.Float32frombits(u+uint32(d)))
				}
			}
		}
	}
	for range 10000 {
		x = append(x, 2*rng.Float32()-1)
	}
	return append(x, specials...)
}

func TestRuleFP4CUDA(t *testing.T) {
	for _, x := range around(rand.New(rand.NewPCG(11, 12))) {
		if got, want := fp4RuleCUDA.code(x), cudaFP4(x); got != want {
			t.Errorf("%x (%08x): code %d, want %d", x, math.Float32bits(x), got, want)
		}
	}
}

// Both other rules count the bounds strictly below.
func TestRuleCounts(t *testing.T) {
	sorted := [16]uint8{11, 10, 13, 12, 15, 14, 9, 0, 8, 1, 6, 7, 4, 5, 2, 3} // FP4 codes by value, +0 before -0
	for _, x := range around(rand.New(rand.NewPCG(13, 14))) {
		if x != x {
			continue
		}
		var nf4, fp4 int
		for i := range 15 {
			if x > math.Float32frombits(nf4Bounds[i]) {
				nf4++
			}
			if x > math.Float32frombits(fp4BoundsCPU[i]) {
				fp4++
			}
		}
		if got := nf4Rule.code(x); int(got) != nf4 {
			t.Errorf("nf4 %x: code %d, want %d", x, got, nf4)
		}
		if got := nf4RuleCUDA.code(x); int(got) != nf4 {
			t.Errorf("nf4 on cuda %x: code %d, want %d", x, got, nf4)
		}
		if got := fp4Rule.code(x); got != sorted[fp4] {
			t.Errorf("fp4 %x: code %d, want %d", x, got, sorted[fp4])
		}
	}
}

func TestRuleEdges(t *testing.T) {
	nan := float32(math.NaN())
	negZero := float32(math.Copysign(0, -1))
	for _, c := range []struct {
		name string
		rule *rule
		x    float32
		want uint8
	}{
		{"nf4 cpu NaN", &nf4Rule, nan, 15},
		{"nf4 cuda NaN", &nf4RuleCUDA, nan, 0},
		{"fp4 cpu NaN", &fp4Rule, nan, 3},
		{"fp4 cuda NaN", &fp4RuleCUDA, nan, 0},
		{"nf4 tie goes down", &nf4Rule, math.Float32frombits(nf4Bounds[9]), 9},
		{"nf4 zero", &nf4Rule, 0, 7},
		{"fp4 cpu zero", &fp4Rule, 0, 0},
		{"fp4 cpu -0", &fp4Rule, negZero, 0},
		{"fp4 cpu tiny positive", &fp4Rule, 1e-9, 8},
		{"fp4 cpu tiny negative", &fp4Rule, -1e-9, 0},
		{"fp4 cuda tiny positive", &fp4RuleCUDA, 1e-9, 0},
		{"fp4 cuda tiny negative", &fp4RuleCUDA, -1e-9, 8},
		{"fp4 cuda -0", &fp4RuleCUDA, negZero, 0},
		{"fp4 cpu positive tie to the smaller magnitude", &fp4Rule, math.Float32frombits(0x3e955556), 7},
		{"fp4 cpu negative tie to the larger magnitude", &fp4Rule, -math.Float32frombits(0x3e955556), 12},
		{"fp4 cuda negative tie to the smaller magnitude", &fp4RuleCUDA, -math.Float32frombits(0x3e955555), 15},
	} {
		if got := c.rule.code(c.x); got != c.want {
			t.Errorf("%s: code %d, want %d", c.name, got, c.want)
		}
	}
}
