package merge

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
)

// checksum tells whether bytes are those that were written: their CRC-32 by
// Castagnoli's polynomial and by IEEE's, 64 bits in all, which processors compute
// faster than a disk reads. It guards against damage, not against malice: who can
// change tensors of an unfinished output can change its state.
//
// Unlike a digest it can be put together from those of pieces in any order, so
// every worker takes that of what it has just written and has in its cache.
type checksum [2]uint32

// polynomials are those of checksum, reversed, with the tables for them.
var polynomials = [2]struct {
	poly  uint32
	table *crc32.Table
}{{crc32.Castagnoli, crc32.MakeTable(crc32.Castagnoli)}, {crc32.IEEE, crc32.IEEETable}}

// update adds bytes that follow.
func (c *checksum) update(p []byte) {
	for i := range c {
		c[i] = crc32.Update(c[i], polynomials[i].table, p)
	}
}

// MarshalText writes 16 hexadecimal digits.
func (c checksum) MarshalText() ([]byte, error) {
	return hex.AppendEncode(nil, binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, c[0]), c[1])), nil
}

// UnmarshalText is the inverse of MarshalText.
func (c *checksum) UnmarshalText(text []byte) error {
	var b [8]byte
	if len(text) != hex.EncodedLen(len(b)) {
		return fmt.Errorf("checksum %q: want %d digits", text, hex.EncodedLen(len(b)))
	}
	if _, err := hex.Decode(b[:], text); err != nil {
		return fmt.Errorf("checksum %q: %w", text, err)
	}
	*c = checksum{binary.BigEndian.Uint32(b[:4]), binary.BigEndian.Uint32(b[4:])}
	return nil
}

// checksumOf reads bytes [off, off+size) of r.
func checksumOf(ctx context.Context, r io.ReaderAt, off, size int64) (c checksum, err error) {
	buf := make([]byte, min(chunk, max(size, 1)))
	for end := off + size; off < end; {
		if err := ctx.Err(); err != nil {
			return c, err
		}
		p := buf[:min(int64(len(buf)), end-off)]
		if n, err := r.ReadAt(p, off); n < len(p) {
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return c, err
		}
		c.update(p)
		off += int64(len(p))
	}
	return c, nil
}

// jump is what appending so many bytes does to a checksum.
type jump struct {
	bytes  int64
	factor [2]uint32 // x^(8*bytes) modulo each polynomial
}

func jumpOf(bytes int64) jump {
	j := jump{bytes: bytes}
	for i := range j.factor {
		poly := polynomials[i].poly
		p, square := uint32(1)<<31, uint32(1)<<23 // 1 and x^8: the highest bit is the lowest power
		for n := bytes; n > 0; n >>= 1 {
			if n&1 != 0 {
				p = gfProduct(p, square, poly)
			}
			square = gfProduct(square, square, poly)
		}
		j.factor[i] = p
	}
	return j
}

// gfProduct multiplies polynomials over GF(2) modulo poly, as zlib's crc32_combine
// does.
func gfProduct(a, b, poly uint32) (p uint32) {
	for bit := uint32(1) << 31; bit != 0; bit >>= 1 {
		if a&bit != 0 {
			p ^= b
		}
		low := b & 1
		b >>= 1
		if low != 0 {
			b ^= poly
		}
	}
	return p
}

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
