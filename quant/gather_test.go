package quant

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// checkTiles gathers and packs some rows at each level, and looks where each weight
// went.
func checkTiles(t *testing.T, seed uint64, rows, cols uint16, format uint8) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	p := Panel{Rows: 1 + int(rows)%40, Cols: 1 + int(cols)%300, Spec: Spec{Format: []Format{NF4, FP4, Int8}[format%3], Blocksize: 64}}
	p.T, p.W = gauss(rng, p.Len(), 1), gauss(rng, p.Len(), 1)
	scales := gauss(rng, p.Len(), 1) // more than are needed
	f := &Feedback{cols: p.Cols, order: rng.Perm(p.Cols), dead: make([]bool, p.Cols)}
	f.dead[rng.IntN(p.Cols)] = rng.IntN(2) == 0
	l := latticeOf(p.Spec.Format)
	for _, level := range Levels() {
		at(t, level, func() {
			var c Chooser
			c.Load(f, &p, scales, 0)
			codes := make([]byte, p.Spec.Format.Bytes(int64(p.Len())))
			for i := range codes {
				codes[i] = byte(rng.Uint32())
			}
			for i := range c.codes {
				if c.codes[i] = byte(rng.Uint32()); p.Spec.Format.Is4Bit() {
					c.codes[i] &= 15
				}
			}
			c.pack(codes, l)
			for place, j := range f.order {
				for r := range p.Rows {
					i, k := r*p.Cols+j, c.index(r, place)
					want := p.T[i]
					if f.dead[j] {
						want = p.W[i]
					}
					if c.target[k] != want {
						t.Fatalf("%s, %d x %d: target [%d, %d] is %v, want %v", level, p.Rows, p.Cols, r, j, c.target[k], want)
					}
					code, block := codes[i/2]>>(4*(1-i%2))&15, i/64
					if p.Spec.Format == Int8 {
						code, block = codes[i], r
					}
					if code != c.codes[k] {
						t.Fatalf("%s, %d x %d: code [%d, %d] is %d, want %d", level, p.Rows, p.Cols, r, j, code, c.codes[k])
					}
					if s, inverse := c.scaleAt(r, place); s != scales[block] || inverse != l.inverse(s) {
						t.Fatalf("%s, %d x %d: scale [%d, %d] is %v, want %v", level, p.Rows, p.Cols, r, j, s, scales[block])
					}
				}
			}
			for r := range c.tiles * ProductRows {
				for place := range f.width() {
					if (r >= p.Rows || place >= p.Cols) && c.target[c.index(r, place)] != 0 {
						t.Fatalf("%s, %d x %d: padding at [%d, %d]", level, p.Rows, p.Cols, r, place)
					}
				}
			}
		})
	}
}

func TestAddTurned(t *testing.T) {
	const size = ProductRows * ProductCols
	rng := rand.New(rand.NewPCG(6, 6))
	y, d, z := gauss(rng, size, 1), gauss(rng, ProductCols, 1), gauss(rng, size, 1)
	want := slices.Clone(z)
	for i := range want {
		want[i] += float32(d[i/ProductRows] * y[i%ProductRows*ProductCols+i/ProductRows])
	}
	for _, l := range Levels() {
		got := slices.Clone(z)
		at(t, l, func() { addTurned(got, y, d) })
		identical(t, l.String(), got, want)
	}
}

func TestTiles(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	for range 300 {
		checkTiles(t, rng.Uint64(), uint16(rng.Uint32()), uint16(rng.Uint32()), uint8(rng.Uint32()))
	}
}

func FuzzTiles(f *testing.F) {
	f.Add(uint64(1), uint16(23), uint16(63), uint8(0))
	f.Add(uint64(2), uint16(11), uint16(34), uint8(1))
	f.Add(uint64(3), uint16(12), uint16(16), uint8(2))
	f.Fuzz(checkTiles)
}
