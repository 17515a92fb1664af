package merge

import (
	"errors"
	"strings"

	"mergescope/loader"
	"mergescope/quant"
)

// wrongly lists the tuners that PEFT merges wrongly, by the widths it does so
// on. tuners says what is wrong. Everything else that tuners gives a reason for
// fails in PEFT, so there is nothing to reproduce.
var wrongly = map[string]struct{ bits4, bits8 bool }{
	"PVERA":    {bits4: true},
	"RANDLORA": {bits4: true, bits8: true},
	"C3A":      {bits8: true},
	"HRA":      {bits8: true},
	"DEFT":     {bits8: true},
	"PEANUT":   {bits8: true},

	"SUPERTUNING": {bits4: true, bits8: true},
}

// defectOf says what PEFT does wrongly when it merges a tuner into a weight, ""
// if it does not, or fails.
func defectOf(kind string, w *loader.Weight) string {
	switch x := wrongly[kind]; {
	case w.Format.Is4Bit() && x.bits4:
		return tuners[kind].name + ": " + tuners[kind].bits4
	case w.Format == quant.Int8 && x.bits8:
		return tuners[kind].name + ": " + tuners[kind].bits8
	}
	return ""
}

// reproduces reports whether the method of any layer asks for PEFT's wrong
// merges.
func reproduces(layers []Layer) bool {
	for i := range layers {
		if layers[i].Method.Defects {
			return true
		}
	}
	return false
}

// lintDefects reports the layers whose method does not ask for PEFT's wrong merge
// of an adapter where that of other layers does.
func lintDefects(a *loader.Adapter, hits map[*loader.Weight]hit, layers []Layer) []Alert {
	var left tally
	for i := range layers {
		l := &layers[i]
		if m := hits[l.Weight].module; m != nil && defectOf(m.Tuner, l.Weight) != "" && !l.Method.Defects {
			left.add(l.Weight.Name, tensorPlace(l.Weight.Data))
		}
	}
	return left.alert(Error, CodeUnmergeable, a.Name+": layers that PEFT merges wrongly and whose method does not ask for that: %d, first %s. They are not merged")
}

// packedDefect reports whether the layer's packed 4-bit codes are merged wrongly.
// What the adapter asks for has no meaning there, or nothing can decode the
// result: the layer has no figures.
func (l *Layer) packedDefect() bool {
	return l.Merges() && l.Weight.Format.Is4Bit() && l.Steps[0].Defect != ""
}

// unreset reports whether PEFT stores the layer's merged values as floats beside
// a quant state that still speaks of 4-bit codes (bnb_quantized is not reset in
// tuners/pvera/bnb.py and tuners/randlora/bnb.py).
func (l *Layer) unreset() bool {
	return l.packedDefect() && l.Steps[0].Module.Tuner != "SUPERTUNING"
}

// misread says that the base is read as bitsandbytes' AVX-512 kernel reads it:
// with the absmax of row * (cols div blocksize) + col div blocksize where rows do
// not end on a block boundary (csrc/cpu_ops.cpp).
func (l *Layer) misread() bool {
	w := l.Weight
	return l.Method.Defects && l.Merges() && !l.Output.Dequantized() && w.Format.Is4Bit() && len(w.Shape) == 2 &&
		w.Cols()%16 == 0 && w.State.Blocksize < 2048 && w.Cols()%w.State.Blocksize != 0
}

const misreadText = "bitsandbytes' AVX-512 kernel reads it with the scales of other blocks, since its rows do not end on a block boundary, and the merge stores that"

// defects takes off what is not reproduced and says what is.
func defects(layers []Layer) []Alert {
	var out []Alert
	for i := range layers {
		l := &layers[i]
		var wrong []string
		if l.misread() {
			wrong = append(wrong, misreadText)
		}
		for _, s := range l.Steps {
			if s.Defect != "" {
				wrong = append(wrong, s.Adapter.Name+": "+s.Defect)
			}
		}
		if len(wrong) == 0 {
			continue
		}
		al := newAlert(Error, CodeDefect, l.Weight.Name, "merged wrongly, as PEFT does and as the method asks for: "+strings.Join(wrong, "; "))
		if len(l.Steps) > 1 {
			l.Steps, l.Reason = nil, "a wrong merge of PEFT is reproduced for a single adapter only"
			al = newAlert(Error, CodeUnmergeable, l.Weight.Name, l.Reason+": "+strings.Join(wrong, "; "))
		}
		out = append(out, al.at(tensorPlace(l.Weight.Data)))
	}
	return out
}

// overCodes is an update of codes that PEFT changes without decoding them
// first. The update itself is what the adapter asks for.
type overCodes struct {
	update
	write func(p *quant.Panel, r0 int) // sets NewCodes, and NewAbsmax if it changes
}

// store is Requantize for codes that are not quantized anew.
func (c *overCodes) store(p *quant.Panel, r0 int) {
	p.NewAbsmax = append(p.NewAbsmax[:0], p.Absmax...)
	c.write(p, r0)
}

// codeValues decodes int8 codes without their scale, into dst if it is large
// enough.
func codeValues(dst []float32, codes []byte) []float32 {
	dst = resize(dst, len(codes))
	for i, c := range codes {
		dst[i] = float32(int8(c))
	}
	return dst
}

// toInt8 casts as torch does on x86: cut to an int32, of which the low byte
// stays.
func toInt8(v float32) byte {
	if v != v || v >= 1<<31 || v < -1<<31 {
		return 0
	}
	return byte(int32(v))
}

// c3aCodes adds to int8 codes the circulant delta cut to int8 and divided, and
// quantizes the sum with its own largest magnitude: the scale of the row is
// lost (peft/tuners/c3a/layer.py).
func c3aCodes(p *quant.Panel, circulant func(d []float32, r0 int), r0 int) {
	d := make([]float32, p.Len())
	circulant(d, r0)
	for i, v := range d {
		d[i] = float32(int8(p.Codes[i])) + float32(int8(toInt8(v)))/float32(p.Cols)
	}
	quant.QuantizeInt8(p.NewCodes, p.NewAbsmax, d, p.Profile)
}

// readWrongly overwrites the dequantized rows from r0 on as misread says.
func (s *subject) readWrongly(p *quant.Panel, r0 int) {
	bs := s.spec.Blocksize
	perRow := s.cols / bs
	for row := range p.Rows {
		for c := 0; c < s.cols; c += bs {
			lo := row*s.cols + c
			hi := lo + min(bs, s.cols-c)
			scale := s.absmax[(r0+row)*perRow+c/bs]
			quant.Dequantize4(p.W[lo:hi], p.Codes[lo/2:hi/2], []float32{scale}, s.spec)
		}
	}
}

// errPackedDefect says why nothing can be shown of a layer.
var errPackedDefect = errors.New("PEFT merges into its packed bytes, or stores floats in their place: there is no arithmetic to show")
