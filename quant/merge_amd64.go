//go:build amd64 && gc && !noasm

package quant

import "unsafe"

// mergeKernels are the two halves of a merge of 4-bit blocks, by dtype of the
// state from F32 on and by format from NF4 on.
type mergeKernels struct {
	target [3]func(t, w, d *float32, codes *byte, absmax *float32, table *[16]float32, next, inverse, sums *float32, step, blocks, chunks int)
	code   [2]func(codes, old *byte, t, w, d, absmax, inverse, tables, sums *float32, step, blocks, chunks int)
	drift  func(drifts *float32, step int, w, d *float32, codes *byte, absmax, scales *float32, table *[16]float32, blocks, chunks int)
	both   [2]func(codes, old *byte, t, w, d, absmax, inverse, tables, sums, drifts *float32, step, blocks, chunks int) // code and drift for the same scales
}

var (
	mergeAVX2 = mergeKernels{
		target: [3]func(t, w, d *float32, codes *byte, absmax *float32, table *[16]float32, next, inverse, sums *float32, step, blocks, chunks int){
			target4F32AVX2, target4F16AVX2, target4BF16AVX2,
		},
		code: [2]func(codes, old *byte, t, w, d, absmax, inverse, tables, sums *float32, step, blocks, chunks int){
			codeNF4AVX2, codeFP4AVX2,
		},
		drift: drift4AVX2,
		both: [2]func(codes, old *byte, t, w, d, absmax, inverse, tables, sums, drifts *float32, step, blocks, chunks int){
			codeDriftNF4AVX2, codeDriftFP4AVX2,
		},
	}
	mergeAVX512 = mergeKernels{
		target: [3]func(t, w, d *float32, codes *byte, absmax *float32, table *[16]float32, next, inverse, sums *float32, step, blocks, chunks int){
			target4F32AVX512, target4F16AVX512, target4BF16AVX512,
		},
		code: [2]func(codes, old *byte, t, w, d, absmax, inverse, tables, sums *float32, step, blocks, chunks int){
			codeNF4AVX512, codeFP4AVX512,
		},
		drift: drift4AVX512,
		both: [2]func(codes, old *byte, t, w, d, absmax, inverse, tables, sums, drifts *float32, step, blocks, chunks int){
			codeDriftNF4AVX512, codeDriftFP4AVX512,
		},
	}
)

// tileChunks returns about how many chunks of 64 columns a tile of four rows has. Wide
// tiles take fewer calls; their part of A stays within 256 KiB of the second-level
// cache.
func tileChunks(rank int) int { return min(max(1024/max(rank, 1), 16), 64) }

// mergeVector is MergeWith by tiles that stay in the core's caches. It
// reports false, having done nothing that counts, if something is not finite or
// the kernels do not cover the panel's kind.
func (p *Panel) mergeVector(b []float32, f *Factor, scale float32, scales []float32) bool {
	m, ok := p.newMerge4(b, f, scale)
	if !ok {
		return false
	}
	if m.wanted = andFigures; scales != nil {
		m.wanted, m.scales = andDrifts, scales
		if len(scales) != len(p.Absmax) {
			panic(badLength)
		}
		if !finite(maxAbs(scales)) {
			return false
		}
	}
	if !m.run() {
		return false
	}
	for i := range scales {
		p.Sums[i].move(&p.drifts[i], p.NewAbsmax[i], scales[i])
	}
	p.W, p.D, p.T = p.W[:0], p.D[:0], p.T[:0]
	return true
}

// pendingVector is MergePending.
func (p *Panel) pendingVector(dst []Pending, b []float32, f *Factor, scale float32) bool {
	m, ok := p.newMerge4(b, f, scale)
	m.wanted, m.pending = unsettled, dst
	return ok && m.run()
}

// scalesVector is MergeScales.
func (p *Panel) scalesVector(b []float32, f *Factor, scale float32) bool {
	m, ok := p.newMerge4(b, f, scale)
	return ok && m.run()
}

// newMerge4 prepares a merge of which only the new scales are wanted; ok is false if the kernels do not
// cover the panel's kind.
func (p *Panel) newMerge4(b []float32, f *Factor, scale float32) (m merge4, ok bool) {
	level, s := Kernels(), p.Spec
	if level == Go || !s.Format.Is4Bit() || s.Blocksize%chunk != 0 || p.Cols%s.Blocksize != 0 ||
		p.Profile != CPU || p.Ref != nil || p.OutDtype != Unknown && p.OutDtype != F32 ||
		f.tiles == nil || f.Cols != p.Cols || len(b) != p.Rows*f.Rank {
		return m, false
	}
	check4(p.Len(), p.Codes, p.Absmax, s)
	if !finite(maxAbs(p.Absmax)) {
		return m, false
	}
	m = merge4{p: p, b: b, f: f, scale: scale, level: level, tables: &nf4Tables}
	if s.Format == FP4 {
		m.tables = &fp4Tables
	}
	p.NewCodes, p.NewAbsmax, p.Sums = grow(p.NewCodes, len(p.Codes)), grow(p.NewAbsmax, len(p.Absmax)), grow(p.Sums, len(p.Absmax))
	kernels := &mergeAVX2
	if level == AVX512 {
		kernels = &mergeAVX512
	}
	m.target, m.code = kernels.target[0], kernels.code[s.Format-NF4]
	m.drift, m.both = kernels.drift, kernels.both[s.Format-NF4]
	p.drifts = grow(p.drifts, len(p.Absmax))
	if s.Dtype != Unknown {
		m.target = kernels.target[s.Dtype-F32]
	}
	return m, true
}

// merge4 is a merge of a panel of 4-bit blocks none of which straddles two rows.
type merge4 struct {
	p       *Panel
	b       []float32
	f       *Factor
	scale   float32
	scales  []float32 // those the figures are wanted for, if andDrifts
	pending []Pending // by block, if unsettled
	wanted  wanted
	level   Level
	tables  *tables
	target  func(t, w, d *float32, codes *byte, absmax *float32, table *[16]float32, next, inverse, sums *float32, step, blocks, chunks int)
	code    func(codes, old *byte, t, w, d, absmax, inverse, tables, sums *float32, step, blocks, chunks int)
	drift   func(drifts *float32, step int, w, d *float32, codes *byte, absmax, scales *float32, table *[16]float32, blocks, chunks int)
	both    func(codes, old *byte, t, w, d, absmax, inverse, tables, sums, drifts *float32, step, blocks, chunks int)
}

// wanted is how much of a merge is asked for.
type wanted uint8

const (
	onlyScales wanted = iota // NewAbsmax
	andFigures               // and codes and sums
	andDrifts                // and what other scales change
	unsettled                // the same for scales not known yet
)

// run reports whether all results are finite.
func (m *merge4) run() bool {
	p := m.p
	width := max(tileChunks(m.f.Rank)*chunk/p.Spec.Blocksize, 1) * p.Spec.Blocksize
	p.tile, p.inverse = grow(p.tile, 6*width), grow(p.inverse, 4*width/p.Spec.Blocksize)
	for lo := 0; lo < p.Cols; lo += width {
		n := min(width, p.Cols-lo)
		for o := 0; o < p.Rows; {
			h := 1
			if p.Rows-o >= 4 {
				h = 4
			}
			d := deltaTileOf{f: m.f, level: m.level, rows: h, block: lo / chunk, blocks: n / chunk, scale: m.scale}
			if d.run(p.tile, n, m.b[o*m.f.Rank:]) {
				return false
			}
			if n == p.Cols && 3*h*n <= len(p.tile) { // short rows, whose blocks are consecutive
				if !m.row(o*n, p.tile[:h*n], p.tile[h*n:]) {
					return false
				}
				o += h
				continue
			}
			for r := range h {
				if !m.row((o+r)*p.Cols+lo, p.tile[r*n:(r+1)*n], p.tile[4*width:]) {
					return false
				}
			}
			o += h
		}
	}
	return true
}

// row merges d, the delta of weights from flat index at on, by way of scratch
// memory for W and T, as long each.
func (m *merge4) row(at int, d, scratch []float32) bool {
	p, bs := m.p, m.p.Spec.Blocksize
	b, n, chunks := at/bs, len(d)/bs, bs/chunk
	w, t := scratch[:len(d)], scratch[len(d):2*len(d)]
	inverse := &p.inverse[0]
	sums, step := &p.Sums[b].WW, int(unsafe.Sizeof(BlockSum{}))
	if m.wanted == unsettled {
		sums, step = &m.pending[b].WW, int(unsafe.Sizeof(Pending{}))
	}
	m.target(&t[0], &w[0], &d[0], &p.Codes[at/2], &p.Absmax[b], valuesOf(p.Spec.Format), &p.NewAbsmax[b], inverse, sums, step, n, chunks)
	switch {
	case m.wanted == onlyScales:
		for i := range p.Sums[b : b+n] {
			if s := &p.Sums[b+i]; !finite(s.DD + s.TT) {
				return false
			}
		}
		return true
	case m.wanted == unsettled:
		m.both(&p.NewCodes[at/2], &p.Codes[at/2], &t[0], &w[0], &d[0], &p.NewAbsmax[b], inverse, &m.tables.bound[0], sums, &m.pending[b].VD, step, n, chunks)
		return m.counted(b, n)
	}
	m.code(&p.NewCodes[at/2], &p.Codes[at/2], &t[0], &w[0], &d[0], &p.NewAbsmax[b], inverse, &m.tables.bound[0], sums, step, n, chunks)
	if m.wanted == andDrifts {
		m.drift(&p.drifts[b].VD, int(unsafe.Sizeof(drift{})), &w[0], &d[0], &p.NewCodes[at/2], &p.NewAbsmax[b], &m.scales[b], valuesOf(p.Spec.Format), n, chunks)
	}
	return m.counted(b, n)
}

// counted fills what else there is of n sums from block b on, and reports whether
// they are finite.
func (m *merge4) counted(b, n int) bool {
	p := m.p
	if m.wanted == unsettled {
		return allFinite(m.pending[b : b+n])
	}
	sums := p.Sums[b : b+n]
	for i := range sums {
		s := &sums[i]
		if !s.complete(p.Spec.Blocksize) {
			return false
		}
		s.Ambiguous = 0
		s.OldAbsmax, s.NewAbsmax = p.Absmax[b+i], p.NewAbsmax[b+i]
	}
	return true
}
