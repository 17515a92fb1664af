package merge

import (
	"math"

	"gonum.org/v1/gonum/dsp/fourier"

	"mergescope/quant"
)

// openFourierFT is delta = scaling * real(ifft2(S)), S being zero but for the
// spectrum's values at places drawn by seed (peft/tuners/fourierft/layer.py).
// The transform is done in float64; torch's in float32 differs in the last bits.
func openFourierFT(t *tunerStep) (update, error) {
	at := t.drawPlaces("fourierft_spectrum")
	spectrum := t.value["fourierft_spectrum"]
	turn := make([]complex128, t.rows) // e^(2 pi i k / rows)
	for k := range turn {
		sin, cos := math.Sincos(2 * math.Pi * float64(k) / float64(t.rows))
		turn[k] = complex(cos, sin)
	}
	rows, cols, scale := t.rows, t.cols, float32(t.Scale)
	norm := 1 / float64(rows*cols)
	return t.newSum(func(d []float32, n, r0 int) {
		fft := fourier.NewCmplxFFT(cols)
		row, out := make([]complex128, cols), make([]complex128, cols)
		for r := range n {
			clear(row)
			for i, p := range at {
				row[p%cols] += complex(float64(spectrum[i]), 0) * turn[p/cols*(r0+r)%rows]
			}
			fft.Sequence(out, row)
			for c, v := range out {
				d[r*cols+c] = float32(real(v)*norm) * scale
			}
		}
	}), nil
}

// openWaveFT is delta = scaling * S, or scaling times the inverse Haar transform
// of S (peft/tuners/waveft/layer.py), S as for FourierFT. The four quarters of S
// are the bands; sides are even or padded by one row or column at the end.
func openWaveFT(t *tunerStep) (update, error) {
	at := t.drawPlaces("waveft_spectrum")
	spectrum, scale, cols := t.value["waveft_spectrum"], float32(t.Scale), t.cols
	type term struct {
		col   int
		value float32
	}
	byRow := make([][]term, t.rows)
	add := func(row, col int, v float32) {
		if row < t.rows && col < cols {
			byRow[row] = append(byRow[row], term{col, v})
		}
	}
	half := float32(haar * haar)
	high, wide := (t.rows+1)/2, (cols+1)/2 // of a band
	for i, p := range at {
		row, col := p/cols, p%cols
		if !t.Adapter.Config.Tuner.IDWT {
			add(row, col, spectrum[i])
			continue
		}
		below, right := row >= high, col >= wide
		for y := range 2 {
			for x := range 2 {
				v := spectrum[i] * half
				// The detail of a band along rows or columns changes sign in the second half.
				if (below && x == 1) != (right && y == 1) {
					v = -v
				}
				add(row%high*2+y, col%wide*2+x, v)
			}
		}
	}
	return t.newSum(func(d []float32, n, r0 int) {
		clear(d)
		for r := range n {
			for _, e := range byRow[r0+r] {
				d[r*cols+e.col] += e.value
			}
		}
		for i := range d {
			d[i] *= scale
		}
	}), nil
}

// haar is the filter of the Haar wavelet, which PEFT calls db1.
const haar = 1 / math.Sqrt2

// drawPlaces returns the flat places of a spectrum's values: the first of
// torch.randperm(out*in) with the seed random_loc_seed.
func (t *tunerStep) drawPlaces(role string) []int {
	out, in := t.outIn()
	return randperm(out*in, len(t.value[role]), uint32(t.Adapter.Config.Tuner.LocSeed))
}

// randperm returns the first k elements of torch.randperm(n) on CPU, with
// torch.Generator().manual_seed(seed) (aten/src/ATen/native/TensorFactories.cpp,
// randperm_cpu). n must be below 2^32.
func randperm(n, k int, seed uint32) []int {
	g := newMersenne(seed)
	moved := map[int]int{} // what stands at places that were exchanged
	at := func(i int) int {
		if v, ok := moved[i]; ok {
			return v
		}
		return i
	}
	out := make([]int, k)
	for i := range out {
		j := i
		if i < n-1 {
			j += int(g.next()) % (n - i)
		}
		out[i] = at(j)
		moved[j] = at(i)
	}
	return out
}

// mersenne is the generator mt19937 of torch on CPU
// (aten/src/ATen/core/MT19937RNGEngine.h).
type mersenne struct {
	state [624]uint32
	used  int
}

func newMersenne(seed uint32) *mersenne {
	g := &mersenne{used: 624}
	g.state[0] = seed
	for i := 1; i < len(g.state); i++ {
		g.state[i] = 1812433253*(g.state[i-1]^g.state[i-1]>>30) + uint32(i)
	}
	return g
}

func (g *mersenne) next() uint32 {
	if g.used == len(g.state) {
		g.refill()
	}
	y := g.state[g.used]
	g.used++
	y ^= y >> 11
	y ^= y << 7 & 0x9d2c5680
	y ^= y << 15 & 0xefc60000
	return y ^ y>>18
}

func (g *mersenne) refill() {
	const n, m = 624, 397
	for i := range g.state {
		y := g.state[i]&0x80000000 | g.state[(i+1)%n]&0x7fffffff
		g.state[i] = g.state[(i+m)%n] ^ y>>1 ^ y&1*0x9908b0df
	}
	g.used = 0
}

// openC3A adds circulant blocks: element (i, j) of block (m, n) is kernel [m, n,
// (j-i) mod b] / in_features (peft/tuners/c3a). torch finds them by Fourier
// transforms, which leave noise in the last bits. The block is rounded to the
// weight's dtype before and after the division.
func openC3A(t *tunerStep) (update, error) {
	kernel, b := t.value["c3a_kernel"], t.size("c3a_kernel", 2)
	cols, scale := t.cols, float32(t.Scale)
	circulant := func(d []float32, r0 int) {
		for i := range d {
			o, k := r0+i/cols, i%cols
			d[i] = kernel[(o/b*(cols/b)+k/b)*b+(k%b+b-o%b)%b]
		}
	}
	s := t.newSum(func(d []float32, _, r0 int) {
		circulant(d, r0)
		if t.w.Format.IsFloat() {
			quant.RoundTo(d, t.w.Format)
		}
		for i, v := range d {
			d[i] = v / float32(cols) * scale
		}
	})
	if t.w.Format.IsFloat() {
		s.round = t.w.Format
		return s, nil
	}
	return &overCodes{s, func(p *quant.Panel, r0 int) { c3aCodes(p, circulant, r0) }}, nil
}
