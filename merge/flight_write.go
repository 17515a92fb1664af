package merge

import (
	"context"

	"mergescope/quant"
)

// write stores the panel's codes, and its scales unless they are nested.
func (f *flight) write(w *work, r0 int) error {
	if f.sink == nil {
		return nil
	}
	p, s, l := &w.p, f.sub, f.sub.layer.target()
	at, _ := s.codeRange(s.outForm(), r0, 0)
	var err error
	if s.layer.turned {
		err = writeTurned(f.sink, l.Data.Name, p.NewCodes, p.Rows, r0, s.rows, int(s.form.Bytes(1)), &w.out)
	} else {
		err = f.sink.WriteAt(l.Data.Name, p.NewCodes, at)
	}
	w.lap(stageWrite, len(p.NewCodes))
	if err != nil {
		return err
	}
	if len(p.NewAbsmax) == 0 || s.nested() || s.keepsScales() {
		return nil
	}
	name := ""
	if l.SCB != nil {
		name = l.SCB.Name
	} else {
		name = l.State.Absmax.Name
	}
	first, _ := s.scaleRange(r0, p.Rows)
	if s.nest != nil {
		return f.writeMoved(w, name, first)
	}
	err = writeFloats(f.sink, name, p.NewAbsmax, 4*int64(first), &w.out)
	w.lap(stageWrite, 4*len(p.NewAbsmax))
	return err
}

// writeMoved stores scales that moved, from one on, as codes under the statistics
// that the base has for them.
func (f *flight) writeMoved(w *work, tensor string, first int) error {
	w.out = resize(w.out, len(w.p.NewAbsmax))
	for i, v := range w.p.NewAbsmax {
		w.out[i], _ = f.sub.nest.Nearest(first+i, v)
	}
	err := f.sink.WriteAt(tensor, w.out, int64(first))
	w.lap(stageWrite, len(w.out))
	return err
}

// writeTurned stores rows [r0, r0+n) of a matrix of so many rows as columns of
// its transpose. Elements have size bytes; buf is memory to use.
func writeTurned(sink layerSink, tensor string, codes []byte, n, r0, rows, size int, buf *[]byte) error {
	row := len(codes) / n // bytes
	*buf = resize(*buf, n*size)
	for at := 0; at < row; at += size {
		for i := range n {
			copy((*buf)[i*size:(i+1)*size], codes[i*row+at:])
		}
		if err := sink.WriteAt(tensor, *buf, int64(at)*int64(rows)+int64(r0*size)); err != nil {
			return err
		}
	}
	return nil
}

// writeFloats stores float32 values at byte off of a tensor; buf is memory to
// use.
func writeFloats(sink layerSink, tensor string, v []float32, off int64, buf *[]byte) error {
	*buf = resize(*buf, 4*len(v))
	quant.EncodeFloats(*buf, v, quant.F32)
	return sink.WriteAt(tensor, *buf, off)
}

// endPass does what needs the whole weight, after the last panel of a pass and
// before the first of the next.
func (f *flight) endPass() error {
	s := f.sub
	if !s.nested() || f.pass >= s.scalePasses() {
		return nil
	}
	stored := f.absmax
	if f.pending != nil {
		f.raw, stored = f.absmax, f.spare.floats.take(len(f.absmax))
	}
	n := s.settle(f.absmax, stored)
	f.odd = !n.Finite()
	if f.pass < s.scalePasses()-1 {
		f.absmax = f.spare.floats.take(len(f.absmax))
		return nil
	}
	f.absmax, f.offset = nil, n.Offset
	if f.sink == nil {
		return nil
	}
	q := s.layer.target().State
	if err := f.sink.WriteAt(q.Absmax.Name, n.Codes, 0); err != nil {
		return err
	}
	var buf []byte
	if err := writeFloats(f.sink, q.NestedAbsmax.Name, n.Absmax, 0, &buf); err != nil {
		return err
	}
	return writeFloats(f.sink, q.NestedMap.Name, n.Map[:], 0, &buf)
}

// finish writes the quant state, whose dtype becomes that of what PEFT adds up,
// and the bias, and commits what was written, or undoes it if the layer was stopped.
func (f *flight) finish(ctx context.Context, stopped bool, note []byte) error {
	if f.sink == nil {
		return nil
	}
	if stopped {
		f.sink.revert()
		return f.sink.commit(ctx, note)
	}
	s, w := f.sub, f.sub.layer.target()
	if s.outForm().Is4Bit() && !s.baseScales() {
		dtype := s.dtype()
		if s.into != nil {
			dtype = w.State.Dtype
		}
		if err := f.sink.WriteAt(w.State.JSON.Name, w.State.Encode(dtype, f.offset), 0); err != nil {
			return err
		}
	}
	if s.into != nil {
		if err := writeConstants(f.sink, s.into); err != nil {
			return err
		}
	}
	if s.bias != nil {
		if err := f.sink.WriteAt(w.Bias.Name, s.bias, 0); err != nil {
			return err
		}
	}
	return f.sink.commit(ctx, note)
}
