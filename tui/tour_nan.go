package tui

import (
	"fmt"
	"math"
	"slices"

	"mergescope/merge"
	"mergescope/quant"
	"mergescope/themes"
)

func nanTour() tour {
	return tour{"nan", "NaN laundering", []page{
		{
			title: "what is planted",
			text: func(s *stage) string {
				return fmt.Sprintf("The demo's broken adapter has three values that should not be there. Merging it as PEFT does without safe_merge writes a file that loads. This program stops these layers, %d errors:", len(s.errors()))
			},
			picture: func(s *stage, c canvas, w, h int) []string {
				var out []string
				for _, al := range s.errors() {
					text := shortLayer(al.Layer) + ": " + al.Message
					for i, l := range wrapWords(c.plain(text), w-2) {
						lead := "  "
						if i == 0 {
							lead = c.paint.text(themes.Bad, c.glyphs().bad) + " "
						}
						out = append(out, lead+l)
					}
				}
				return out
			},
		},
		{
			title: "one NaN in a block",
			text: func(s *stage) string {
				cpu, cuda := s.poison(quant.CPU), s.poison(quant.CUDA)
				return fmt.Sprintf("Put a NaN into one weight of a block of %d and quantize it. On a CPU the scale becomes NaN and with it %d weights. On CUDA every comparison with NaN is false: "+
					"the scale ignores it and the weight becomes code 0, %s. No NaN is left (%d): it is laundered into the largest negative weight.",
					s.box.Spec.Blocksize, cpu.nan, four(cuda.value), cuda.nan)
			},
			picture: func(s *stage, c canvas, w, h int) []string {
				rows := [][]string{{"profile", "absmax", "weights NaN", "the weight was", "became", "is now"}}
				for _, p := range []quant.Profile{quant.CPU, quant.CUDA} {
					r := s.poison(p)
					rows = append(rows, []string{p.String(), four(r.absmax), fmt.Sprint(r.nan), four(r.was), "NaN", four(r.value)})
				}
				return c.table(rows, w, h)
			},
		},
		{
			title: "finite, and still wrong",
			text: func(s *stage) string {
				p := s.trial.Panel
				scales := slices.Clone(p.NewAbsmax)
				scales[len(scales)/2] = 5e37
				n := quant.QuantizeAbsmax(scales, p.Profile)
				back := make([]float32, len(scales))
				n.Dequantize(back)
				off := 0
				for i, v := range back {
					if math.Abs(float64(v)-float64(scales[i])) > math.Abs(float64(scales[i])) {
						off++
					}
				}
				return fmt.Sprintf("Nothing needs to be NaN. One weight of 5e37 passes every check for NaN and infinity. With double quantization the mean of the scales becomes %s, "+
					"and %d of the other %d scales of the layer come back more than twice what they were, or negative.", four(n.Offset), off, len(scales)-1)
			},
			picture: func(s *stage, c canvas, w, h int) []string {
				rows := [][]string{{"layer of the broken adapter", "largest error", "absmax growth", "non-finite"}}
				for _, l := range s.broken.Layers {
					if l.AbsmaxGrowth > 10 || l.NonFinite.Any() {
						rows = append(rows, []string{shortLayer(l.Name), scientific(float64(l.ErrorMax)), scientific(float64(l.AbsmaxGrowth)), fmt.Sprint(l.NonFinite.Sum)})
					}
				}
				return c.table(rows, w, h)
			},
		},
	}}
}

// errors are the errors of the broken adapter's merge.
func (s *stage) errors() []merge.Alert {
	var out []merge.Alert
	for _, al := range s.broken.Alerts {
		if al.Level == merge.Error {
			out = append(out, al)
		}
	}
	return out
}

// poisoned is a block that was quantized with a NaN in it.
type poisoned struct {
	absmax, was, value float32
	nan                int // weights that are NaN afterwards
}

// poison quantizes the first block of the layer with a NaN in its middle.
func (s *stage) poison(p quant.Profile) poisoned {
	spec := s.box.Spec
	n := min(spec.Blocksize, s.trial.Panel.Len())
	w := slices.Clone(s.trial.Panel.W[:n])
	at := n / 2
	out := poisoned{was: w[at]}
	w[at] = float32(math.NaN())
	codes, absmax := make([]byte, (n+1)/2), make([]float32, 1)
	quant.Quantize4(codes, absmax, w, spec, p)
	spec.Dtype = quant.F32
	quant.Dequantize4(w, codes, absmax, spec)
	out.absmax, out.value = absmax[0], w[at]
	for _, v := range w {
		if v != v {
			out.nan++
		}
	}
	return out
}
