package merge

import (
	"sync"

	"mergescope/quant"
)

// coded is a merged weight in memory, as it is stored but for nested scales,
// which are decoded. As model.Matrix it is safe for concurrent use once it is
// complete; panels of different rows may be put at the same time.
type coded struct {
	spec       quant.Spec // read in float32
	rows, cols int
	codes      []byte
	scales     []float32
	buffers    sync.Pool // *[]float32
}

func newCoded(s *subject) *coded {
	c := &coded{spec: s.spec, rows: s.rows, cols: s.cols}
	switch {
	case s.into != nil:
		c.spec = s.outSpec()
	case s.form != s.spec.Format:
		c.spec = quant.Spec{Format: s.form}
	}
	c.spec.Dtype = quant.F32
	_, size := s.codeRange(c.spec.Format, 0, s.rows)
	c.codes = make([]byte, size)
	_, blocks := scaleRange(c.spec, 0, s.rows, s.cols)
	c.scales = make([]float32, blocks)
	return c
}

// put stores the codes and scales of rows from r0 on, which begin a block.
func (c *coded) put(codes []byte, scales []float32, r0 int) {
	copy(c.codes[c.spec.Format.Bytes(int64(r0)*int64(c.cols)):], codes)
	first, _ := scaleRange(c.spec, r0, 0, c.cols)
	copy(c.scales[min(first, len(c.scales)):], scales)
}

// take returns the codes of rows [r0, r0+n), which begin a block.
func (c *coded) take(r0, n int) []byte {
	cols := int64(c.cols)
	return c.codes[c.spec.Format.Bytes(int64(r0)*cols):c.spec.Format.Bytes(int64(r0+n)*cols)]
}

// Size returns out_features and in_features.
func (c *coded) Size() (rows, cols int) { return c.rows, c.cols }

// Rows fills dst with rows from first on.
func (c *coded) Rows(dst []float32, first int) error {
	f, lo := c.spec.Format, first*c.cols
	hi := lo + len(dst)
	if !f.Is4Bit() {
		raw := c.codes[f.Bytes(int64(lo)):f.Bytes(int64(hi))]
		if f == quant.Int8 {
			quant.DequantizeInt8(dst, raw, c.scales[first:first+len(dst)/c.cols])
		} else {
			quant.DecodeFloats(dst, raw, f)
		}
		return nil
	}
	size := c.spec.Blocksize
	b0, b1 := lo/size, (hi+size-1)/size
	from, to := b0*size, min(b1*size, c.rows*c.cols)
	buf, _ := c.buffers.Get().(*[]float32)
	if buf == nil {
		buf = new([]float32)
	}
	*buf = resize(*buf, to-from)
	quant.Dequantize4(*buf, c.codes[from/2:(to+1)/2], c.scales[b0:b1], c.spec)
	copy(dst, (*buf)[lo-from:])
	c.buffers.Put(buf)
	return nil
}
