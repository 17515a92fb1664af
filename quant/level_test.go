package quant

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// at runs do with the kernels of a level.
func at(t testing.TB, l Level, do func()) {
	t.Helper()
	before := forced.Load()
	defer forced.Store(before)
	if err := Use(l); err != nil {
		t.Fatal(err)
	}
	do()
}

// Everything that compares with bitsandbytes, torch and MKL holds at each level,
// not only at the best one.
func TestEveryLevel(t *testing.T) {
	if Best() == Go {
		t.Skip("this machine or build has no vector kernels, so the other tests say it all")
	}
	for _, l := range Levels() {
		if l == Best() {
			continue
		}
		for name, test := range map[string]func(*testing.T){
			"4Bit":          TestGolden4Bit,
			"Edges4Bit":     TestGoldenEdges4Bit,
			"Nested2D":      TestGoldenNested2D,
			"Ragged":        TestGoldenRagged,
			"Storage":       TestGoldenStorage,
			"Int8":          TestGoldenInt8,
			"Delta":         TestGoldenDelta,
			"Merges":        TestGoldenMerges,
			"Sequences":     TestGoldenSequences,
			"MKL":           TestDeltaMatchesMKL,
			"DeltaShapes":   TestDeltaShapes,
			"DeltaSpecial":  TestDeltaNonFinite,
			"DeltaHalf":     TestGoldenDeltaHalf,
			"NearestRandom": TestNearestRandom,
			"RoundTo":       TestRoundTo,
			"DecodeFloats":  TestDecodeFloats,
			"NonFinite":     TestMeasureBlockNonFinite,
			"PanelReuse":    TestPanelReuse,
			"Blockwise8":    TestGoldenBlockwise8,
			"Mean":          TestGoldenMean,
		} {
			t.Run(l.String()+"/"+name, func(t *testing.T) { at(t, l, func() { test(t) }) })
		}
	}
}

func TestUse(t *testing.T) {
	if Kernels() != Best() {
		t.Errorf("%v in use, best is %v", Kernels(), Best())
	}
	for _, l := range Levels() {
		at(t, l, func() {
			if Kernels() != l {
				t.Errorf("%v in use after Use(%v)", Kernels(), l)
			}
		})
		if got, ok := ParseLevel(l.String()); !ok || got != l {
			t.Errorf("ParseLevel(%q) = %v, %v", l.String(), got, ok)
		}
	}
	for l := Go; l <= AVX512+1; l++ {
		if !slices.Contains(Levels(), l) && Use(l) == nil {
			t.Errorf("Use(%v) on a machine whose best is %v", l, Best())
		}
	}
	if _, ok := ParseLevel("sse"); ok {
		t.Error("ParseLevel takes sse")
	}
}

// identical compares bits, those of NaN included.
func identical(t *testing.T, what string, got, want []float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	for i, v := range got {
		if math.Float32bits(v) != math.Float32bits(want[i]) {
			t.Fatalf("%s: [%d] = %v (%08x), the Go twin has %v (%08x)", what, i,
				v, math.Float32bits(v), want[i], math.Float32bits(want[i]))
		}
	}
}

// levelCase is one LoRA merge into a quantized weight.
type levelCase struct {
	rows, cols, rank int
	spec             Spec
	out              Format
	profile          Profile
	special          uint8 // what is planted, a bit each
	seed             uint64
	fused, scaled    bool // MergeWith, with scales of its own
}

// run does the merge at a level.
func (c *levelCase) run(t *testing.T, l Level) (p *Panel) {
	at(t, l, func() {
		rng := rand.New(rand.NewPCG(c.seed, 1))
		a, b := gauss(rng, c.rank*c.cols, 1), gauss(rng, c.rows*c.rank, 0.01)
		p = &Panel{Spec: c.spec, OutDtype: c.out, Profile: c.profile, Rows: c.rows, Cols: c.cols}
		p.Codes = make([]byte, c.spec.Format.Bytes(int64(p.Len())))
		for i := range p.Codes {
			p.Codes[i] = byte(rng.Uint32())
		}
		switch f := c.spec.Format; {
		case f.Is4Bit():
			p.Absmax = gauss(rng, p.Blocks(), 0.1)
		case f == Int8:
			p.Absmax = gauss(rng, c.rows, 0.1)
		default:
			EncodeFloats(p.Codes, gauss(rng, p.Len(), 0.02), f)
		}
		c.plant(rng, p, a, b)
		factor := NewFactor(a, c.rank, c.cols)
		scale := float32(0.5)
		if c.special&128 != 0 {
			scale = 0 // so that T has zero blocks and code points
		}
		var scales []float32
		if c.scaled {
			scales = gauss(rng, len(p.Absmax), 0.1)
		}
		if c.scaled && c.spec.Format.Is4Bit() {
			c.settle(t, l, p, b, factor, scale, scales)
		}
		if c.fused {
			var first []float32
			found := p.MergeScales(b, factor, scale)
			if found {
				first = slices.Clone(p.NewAbsmax)
			}
			p.MergeWith(b, factor, scale, scales)
			if found {
				identical(t, fmt.Sprintf("%s %+v: scales alone", l, *c), first, p.NewAbsmax)
			}
		} else {
			p.MergeSteps(b, factor, scale, scales)
		}
	})
	return p
}

// settle merges without knowing the scales and wants what MergeWith finds.
func (c *levelCase) settle(t *testing.T, l Level, p *Panel, b []float32, f *Factor, scale float32, scales []float32) {
	name := fmt.Sprintf("%s %+v", l, *c)
	pending := make([]Pending, p.Blocks())
	ok := p.MergePending(pending, b, f, scale)
	codes, absmax := slices.Clone(p.NewCodes), slices.Clone(p.NewAbsmax)
	p.MergeSteps(b, f, scale, scales)
	for _, s := range p.Sums {
		if !finite(s.DD + s.TT + s.EE + s.RD) {
			return
		}
	}
	if !ok {
		if p.drifting() && p.Profile == CPU && c.special == 0 {
			t.Fatalf("%s: not merged", name)
		}
		return
	}
	sameBytes(t, name+" codes before the scales", codes, p.NewCodes)
	identical(t, name+" scales", absmax, p.NewAbsmax)
	settled := make([]BlockSum, len(p.Sums))
	Settle(settled, pending, p.Spec.Blocksize, p.Absmax, absmax, scales)
	for i, want := range p.Sums {
		lo, hi := p.Block(i)
		got := settled[i]
		got.N = uint32(hi - lo)
		if got.MaxE < want.MaxE {
			t.Fatalf("%s: block %d: largest error %v, not bounded by %v", name, i, want.MaxE, got.MaxE)
		}
		if lo/p.Cols == (hi-1)/p.Cols {
			got.MaxE = p.LargestError(i, b, f, scale, scales[i])
		} else {
			got.MaxE = want.MaxE
		}
		if got != want {
			t.Fatalf("%s: block %d: %+v, with the scales known %+v", name, i, got, want)
		}
	}
}

// odd are values whose sums, products and scales leave the normal range.
var odd = []float32{
	0, float32(math.Copysign(0, -1)), math.SmallestNonzeroFloat32, -3e-45, 1e-40, 1.2e-38, 9e-39, 1e-38,
	math.MaxFloat32, -math.MaxFloat32, 1e38, 65504, 65520, 7e4, 1e19, -2e19, 3e20, 6e-8, 3e-8,
	float32(math.Inf(1)), float32(math.Inf(-1)),
	float32(math.NaN()), math.Float32frombits(0xffc12345), math.Float32frombits(0x7f812345),
}

func (c *levelCase) plant(rng *rand.Rand, p *Panel, a, b []float32) {
	pick := func(x []float32, n int, from []float32) {
		for range n {
			if len(x) > 0 {
				x[rng.IntN(len(x))] = from[rng.IntN(len(from))]
			}
		}
	}
	finite := odd[:len(odd)-5]
	if c.special&1 != 0 {
		pick(p.Absmax, 1+len(p.Absmax)/3, finite)
	}
	if c.special&2 != 0 {
		pick(p.Absmax, 1+len(p.Absmax)/5, odd)
	}
	if c.special&4 != 0 {
		pick(a, 1+c.cols/20, finite)
	}
	if c.special&8 != 0 {
		pick(a, 1+c.cols/60, odd)
	}
	if c.special&16 != 0 {
		pick(b, 1, odd)
	}
	if c.special&32 != 0 {
		pick(b, 1+len(b)/2, finite)
	}
	if c.special&64 != 0 && c.spec.Format.IsFloat() {
		x := gauss(rng, p.Len(), 1)
		pick(x, 1+len(x)/10, odd)
		EncodeFloats(p.Codes, x, c.spec.Format)
	}
}

// same runs the merge at every level and compares all that a panel holds.
func (c *levelCase) same(t *testing.T) {
	want := c.run(t, Go)
	for _, l := range Levels()[1:] {
		got := c.run(t, l)
		name := fmt.Sprintf("%s %+v", l, *c)
		if len(got.W)+len(got.D)+len(got.T) > 0 || !c.fused {
			identical(t, name+" D", got.D, want.D)
			identical(t, name+" W", got.W, want.W)
			identical(t, name+" T", got.T, want.T)
		}
		identical(t, name+" scales", got.NewAbsmax, want.NewAbsmax)
		if !slices.Equal(got.NewCodes, want.NewCodes) {
			for i, v := range got.NewCodes {
				if v != want.NewCodes[i] {
					t.Fatalf("%s: code byte %d is %02x, the Go twin has %02x", name, i, v, want.NewCodes[i])
				}
			}
		}
		for i := range want.Sums {
			if fmt.Sprint(got.Sums[i]) != fmt.Sprint(want.Sums[i]) {
				t.Fatalf("%s: block %d: %+v, the Go twin has %+v", name, i, got.Sums[i], want.Sums[i])
			}
		}
	}
}

var blocksizes = []int{64, 128, 32, 256, 96, 4096, 192}

func newLevelCase(rows, blocksize uint8, cols, rank uint16, format, dtype, out, profile, special uint8, seed uint64) levelCase {
	c := levelCase{
		rows: 1 + int(rows)%9, cols: 1 + int(cols)%400, rank: int(rank) % 301,
		out: []Format{Unknown, F32, F16, BF16}[out%4], profile: Profile(profile % 2), special: special, seed: seed,
	}
	c.spec = Spec{Format: []Format{NF4, FP4, Int8, F32, F16, BF16}[format%6], Dtype: F32}
	if c.spec.Format.Is4Bit() {
		c.spec.Blocksize = blocksizes[int(blocksize)%len(blocksizes)]
	}
	if !c.spec.Format.IsFloat() {
		c.spec.Dtype = []Format{F32, F16, BF16, Unknown}[dtype%4]
	}
	c.fused, c.scaled = seed%4 > 0, seed%8 > 5
	if c.fused && seed%16 > 3 && c.spec.Format.Is4Bit() { // no block straddles two rows
		c.out = Unknown
		c.cols = (c.cols/c.spec.Blocksize + 1) * c.spec.Blocksize
	}
	return c
}

// Every format, dtype and kind of special value at shapes with remainders.
func TestLevelsAgree(t *testing.T) {
	rng := rand.New(rand.NewPCG(61, 62))
	for i := range 1500 {
		u := func() uint8 { return uint8(rng.Uint32()) }
		special := u()
		if i%4 > 0 { // one kind of special value at most times
			special &= 1 << (u() % 8)
		}
		rank := uint16(rng.UintN(40))
		if i%16 == 0 {
			rank = uint16(rng.UintN(301))
		}
		c := newLevelCase(u(), u(), uint16(rng.Uint32()), rank, u(), u(), u(), u()/192, special, rng.Uint64())
		c.same(t)
	}
}

// Weights wider than a tile and a call of the kernels, and the last tile narrower.
func TestLevelsAgreeOnWideWeights(t *testing.T) {
	for _, f := range []Format{NF4, FP4, Int8, BF16} {
		for _, cols := range []int{2240, 9000, 16448} {
			for _, blocksize := range []int{64, 1024} {
				c := levelCase{
					rows: 7, cols: cols, rank: 3, fused: true, seed: uint64(cols),
					spec: Spec{Format: f, Dtype: F32},
				}
				if f.Is4Bit() {
					c.spec.Blocksize, c.spec.Dtype = blocksize, BF16
				}
				c.same(t)
			}
		}
	}
}

func FuzzMergeKernels(f *testing.F) {
	f.Add(uint8(3), uint8(0), uint16(127), uint16(8), uint8(0), uint8(2), uint8(0), uint8(0), uint8(0), uint64(1))
	f.Add(uint8(4), uint8(1), uint16(99), uint16(200), uint8(1), uint8(1), uint8(3), uint8(0), uint8(7), uint64(2))
	f.Add(uint8(8), uint8(0), uint16(320), uint16(16), uint8(2), uint8(0), uint8(1), uint8(1), uint8(255), uint64(3))
	f.Fuzz(func(t *testing.T, rows, blocksize uint8, cols, rank uint16, format, dtype, out, profile, special uint8, seed uint64) {
		c := newLevelCase(rows, blocksize, cols, rank, format, dtype, out, profile, special, seed)
		c.same(t)
	})
}

// sameNested compares all that is done with so many scales at each level.
func sameNested(t *testing.T, n int, mean, spread, offset float32, special uint8, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 3))
	absmax := make([]float32, n)
	for i := range absmax {
		absmax[i] = mean + float32(spread*float32(rng.NormFloat64()))
	}
	from := odd[:len(odd)-5] // finite
	if special&2 != 0 {
		from = odd
	}
	if special&1 != 0 && n > 0 {
		for range 1 + n/200 {
			absmax[rng.IntN(n)] = from[rng.IntN(len(from))]
		}
	}
	if special&4 != 0 { // a block of one value, which is the offset in the end
		for i := range min(n, 300) {
			absmax[i] = offset
		}
	}
	codes, scales, table := make([]byte, n), make([]float32, (n+99)/100), dynamicMap
	for i := range codes {
		codes[i] = byte(rng.Uint32())
	}
	copy(scales, absmax)
	if special&8 != 0 {
		table[rng.IntN(256)] = odd[rng.IntN(len(odd))]
	}
	type results struct {
		floats  []float32
		codes   [][]byte
		changes []int
	}
	compute := func() (r results) {
		r.floats = append(r.floats, Mean(absmax))
		for _, p := range profiles {
			for _, q := range []Nested{QuantizeAbsmax(absmax, p), QuantizeAbsmaxAt(absmax, offset, p)} {
				r.floats = append(append(r.floats, q.Offset), q.Absmax...)
				r.codes = append(r.codes, q.Codes)
				r.changes = append(r.changes, q.OffsetUlp(absmax, p))
			}
		}
		stored := Nested{Codes: codes, Absmax: scales, Map: &table, Offset: offset, Blocksize: 100}
		dst := make([]float32, n)
		stored.Dequantize(dst)
		r.floats = append(r.floats, dst...)
		return r
	}
	var want results
	at(t, Go, func() { want = compute() })
	for _, l := range Levels()[1:] {
		var got results
		at(t, l, func() { got = compute() })
		name := fmt.Sprintf("%s, %d scales of %v +- %v less %v, special %d, seed %d", l, n, mean, spread, offset, special, seed)
		identical(t, name, got.floats, want.floats)
		for i := range want.codes {
			sameBytes(t, name, got.codes[i], want.codes[i])
		}
		if !slices.Equal(got.changes, want.changes) {
			t.Fatalf("%s: %v codes hang on an ulp, the Go twin has %v", name, got.changes, want.changes)
		}
	}
}

// Scales of scales: odd numbers of them, blocks of zeros, and values that are
// subnormal, huge, infinite or NaN.
func TestLevelsAgreeOnNested(t *testing.T) {
	rng := rand.New(rand.NewPCG(67, 68))
	for i := range 400 {
		n := rng.IntN(3000)
		if i%40 == 0 {
			n = 60000 + rng.IntN(40000)
		}
		mean, spread := float32(math.Pow(10, 3*rng.NormFloat64()-2)), float32(math.Pow(10, 3*rng.NormFloat64()-3))
		offset := mean
		if i%5 == 0 {
			offset = odd[rng.IntN(len(odd))]
		}
		special := uint8(0)
		if i%2 == 0 {
			special = uint8(rng.Uint32())
		}
		sameNested(t, n, mean, spread, offset, special, rng.Uint64())
	}
}

func FuzzNested(f *testing.F) {
	f.Add(uint16(1000), float32(0.02), float32(0.004), float32(0.02), uint8(0), uint64(1))
	f.Add(uint16(300), float32(1e-39), float32(1e-40), float32(0), uint8(5), uint64(2))
	f.Add(uint16(513), float32(1e38), float32(1e38), float32(math.Inf(1)), uint8(11), uint64(3))
	f.Fuzz(func(t *testing.T, n uint16, mean, spread, offset float32, special uint8, seed uint64) {
		sameNested(t, int(n)%5000, mean, spread, offset, special, seed)
	})
}

// Rounding, widening and storing take any bits, NaN included.
func TestLevelsAgreeOnFloats(t *testing.T) {
	rng := rand.New(rand.NewPCG(63, 64))
	x := make([]float32, 1<<16+37)
	for i := range x {
		x[i] = math.Float32frombits(rng.Uint32())
		if i%3 == 0 { // around the ends of float16, whose subnormal numbers are few
			x[i] = math.Float32frombits(0x32800000 + uint32(rng.UintN(0x15800000)))
		}
	}
	copy(x, odd)
	raw := make([]byte, 4*len(x))
	for i := range raw {
		raw[i] = byte(i)
		if i%2 == 0 {
			raw[i] = byte(i >> 9)
		}
	}
	type results struct {
		rounded, decoded []float32
		stored           []byte
	}
	compute := func(f Format) (r results) {
		r.rounded = slices.Clone(x)
		RoundTo(r.rounded, f)
		r.stored = make([]byte, f.Bytes(int64(len(x))))
		EncodeFloats(r.stored, x, f)
		r.decoded = make([]float32, len(x))
		DecodeFloats(r.decoded, raw[:len(r.stored)], f)
		return r
	}
	for _, f := range []Format{F32, F16, BF16} {
		var want results
		at(t, Go, func() { want = compute(f) })
		for _, l := range Levels()[1:] {
			var got results
			at(t, l, func() { got = compute(f) })
			name := fmt.Sprintf("%s %s", l, f)
			identical(t, name+" rounded", got.rounded, want.rounded)
			identical(t, name+" decoded", got.decoded, want.decoded)
			sameBytes(t, name+" stored", got.stored, want.stored)
		}
	}
}

// The delta of an adapter in half precision, at ranks that leave products over.
func TestLevelsAgreeOnHalf(t *testing.T) {
	rng := rand.New(rand.NewPCG(65, 66))
	for i := range 400 {
		rows, cols, rank := 1+rng.IntN(5), 1+rng.IntN(300), 1+rng.IntN(40)
		dtype := []Format{F16, BF16, F32}[i%3]
		a, b := gauss(rng, rank*cols, 1), gauss(rng, rows*rank, 1)
		if i%2 == 0 {
			for range 1 + len(a)/50 {
				a[rng.IntN(len(a))] = odd[rng.IntN(len(odd))]
				b[rng.IntN(len(b))] = odd[rng.IntN(len(odd)-5)]
			}
		}
		RoundTo(a, dtype)
		RoundTo(b, dtype)
		compute := func(l Level) []float32 {
			dst := make([]float32, rows*cols)
			at(t, l, func() { DeltaHalf(dst, b, NewFactor(a, rank, cols), rows, 0.3, dtype) })
			return dst
		}
		want := compute(Go)
		for _, l := range Levels()[1:] {
			identical(t, fmt.Sprintf("%s %s %dx%d rank %d", l, dtype, rows, cols, rank), compute(l), want)
		}
	}
}
