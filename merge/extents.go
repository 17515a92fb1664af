package merge

import (
	"cmp"
	"slices"
)

// extents are the parts of a tensor that are written: runs without gap between
// them are one.
type extents struct {
	runs []run // ascending
	jump jump  // the last that was needed; most pieces have the same length
}

type run struct {
	from, to int64
	sum      checksum
}

// runOf is the run of bytes p from off on.
func runOf(off int64, p []byte) run {
	r := run{from: off, to: off + int64(len(p))}
	r.sum.update(p)
	return r
}

// add takes a piece. It reports false if part of it was there before.
func (l *extents) add(r run) bool {
	if r.from == r.to {
		return true
	}
	i, found := slices.BinarySearchFunc(l.runs, r.from, func(r run, off int64) int { return cmp.Compare(r.from, off) })
	if found || i > 0 && l.runs[i-1].to > r.from || i < len(l.runs) && l.runs[i].from < r.to {
		return false
	}
	before, after := i > 0 && l.runs[i-1].to == r.from, i < len(l.runs) && l.runs[i].from == r.to
	switch {
	case before:
		l.runs[i-1] = l.join(l.runs[i-1], r)
		if after {
			l.runs[i-1] = l.join(l.runs[i-1], l.runs[i])
			l.runs = slices.Delete(l.runs, i, i+1)
		}
	case after:
		l.runs[i] = l.join(r, l.runs[i])
	default:
		l.runs = slices.Insert(l.runs, i, r)
	}
	return true
}

// join makes one of two runs that touch.
func (l *extents) join(a, b run) run {
	if n := b.to - b.from; l.jump.bytes != n {
		l.jump = jumpOf(n)
	}
	for i, f := range l.jump.factor {
		b.sum[i] ^= gfProduct(a.sum[i], f, polynomials[i].poly)
	}
	return run{a.from, b.to, b.sum}
}

// bytes is how many are written.
func (l *extents) bytes() (n int64) {
	for _, r := range l.runs {
		n += r.to - r.from
	}
	return n
}

// whole returns the checksum of a tensor of so many bytes; ok is false unless all
// of them are written.
func (l *extents) whole(size int64) (sum checksum, ok bool) {
	if size == 0 {
		return sum, true
	}
	if len(l.runs) != 1 || l.runs[0].from != 0 || l.runs[0].to != size {
		return sum, false
	}
	return l.runs[0].sum, true
}
