package merge

import (
	"fmt"

	"mergescope/loader"
	"mergescope/quant"
)

// content is the bytes of a tensor as it is written. Safe for concurrent use.
type content interface {
	// ReadFull fills p from byte off on.
	ReadFull(p []byte, off int64) error
}

// contentIn returns a float tensor's elements in a format, as torch's copy_
// converts them.
func contentIn(t *loader.Tensor, to quant.Format) (content, error) {
	from, ok := tensorFormats[t.DType]
	switch {
	case !ok:
		return nil, fmt.Errorf("%s: tensor %s: dtype %s, want F32, F16 or BF16", t.File().Name, t.Name, t.DType)
	case from == to:
		return t, nil
	}
	return cast{t, from, to}, nil
}

// cast reads a float tensor in another float format. Offsets and lengths must
// be those of whole elements.
type cast struct {
	t        *loader.Tensor
	from, to quant.Format
}

func (c cast) ReadFull(p []byte, off int64) error {
	const step = 1 << 14 // elements
	n, first := int64(len(p))/c.to.Bytes(1), off/c.to.Bytes(1)
	values := make([]float32, min(step, n))
	raw := make([]byte, c.from.Bytes(int64(len(values))))
	for i := int64(0); i < n; i += step {
		part := values[:min(step, n-i)]
		src := raw[:c.from.Bytes(int64(len(part)))]
		if err := c.t.ReadFull(src, c.from.Bytes(first+i)); err != nil {
			return err
		}
		quant.DecodeFloats(part, src, c.from)
		quant.EncodeFloats(p[c.to.Bytes(i):c.to.Bytes(i+int64(len(part)))], part, c.to)
	}
	return nil
}

// patched is a matrix of which some rows come from elsewhere.
type patched struct {
	base content
	row  int64           // bytes of a row
	rows map[int64]patch // by row
}

// patch is a row of another matrix with rows of the same size.
type patch struct {
	from content
	row  int64
}

func (c patched) ReadFull(p []byte, off int64) error {
	if err := c.base.ReadFull(p, off); err != nil {
		return err
	}
	end := off + int64(len(p))
	for row := off / c.row; row*c.row < end; row++ {
		r, ok := c.rows[row]
		if !ok {
			continue
		}
		lo, hi := max(row*c.row, off), min((row+1)*c.row, end)
		if err := r.from.ReadFull(p[lo-off:hi-off], r.row*c.row+lo-row*c.row); err != nil {
			return err
		}
	}
	return nil
}
