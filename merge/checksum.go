package merge

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
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
