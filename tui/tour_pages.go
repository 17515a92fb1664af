package tui

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"mergescope/merge"
	"mergescope/quant"
)

// tours lists the tours in the order in which they build on each other.
func tours() []tour {
	return []tour{
		nf4Tour(), vanishTour(), doubleTour(), bitsTour(), nanTour(), separateTour(), verifyTour(),
	}
}

func nf4Tour() tour {
	return tour{"nf4", "What is NF4", []page{
		{
			title: "sixteen values",
			text: func(s *stage) string {
				near, far := gaps(quant.NF4)
				return fmt.Sprintf("A 4-bit weight is one of sixteen values between -1 and 1. NF4 puts them where Gaussian weights are: %.2f apart near 0, %.2f at the ends. "+
					"The bars are the %d weights of %s.", near, far, s.file.weights, shortLayer(s.layer))
			},
			picture: drawCodes,
			begin:   func(s *stage) { s.set.Factor = 0 },
		},
		{
			title: "blocks and their scale",
			text: func(s *stage) string {
				p := s.trial.Panel
				return fmt.Sprintf("A value alone has no size: %d weights in a row share a scale, absmax, the largest magnitude among them. This layer has %d of them, from %.3f to %.3f.\n"+
					"Codes take %s, scales %s: %.2f bits a weight instead of 16.", s.box.Spec.Blocksize, len(p.Absmax), slices.Min(p.Absmax), slices.Max(p.Absmax),
					fileSize(s.file.codes), fileSize(s.file.scales), 8*float64(s.file.codes+s.file.scales)/float64(s.file.weights))
			},
			picture: drawScales,
			begin:   func(s *stage) { s.set.Factor = 0 },
		},
		{
			title: "rounding",
			text: func(s *stage) string {
				return fmt.Sprintf("What lies between two values goes to the nearer one. Rounding to %s moves the weights by %s of their size (against the int8 copy of the layer, which is nearly the original). "+
					"Larger blocks have larger scales, so wider steps. Try it.", s.set.Format, (&unicodeGlyphs).percent(s.trial.Off))
			},
			picture: drawRounding,
			sliders: []slider{formatSlider, blockSlider},
			begin:   func(s *stage) { s.set.Factor = 0 },
		},
	}}
}

func vanishTour() tour {
	return tour{"vanish", "Why a small delta vanishes", []page{
		{
			title: "weights sit on their codes",
			text: func(s *stage) string {
				return fmt.Sprintf("A weight read from a 4-bit file is exactly one of the sixteen values times its scale, half a step away from the decision boundary on either side. "+
					"Requantized without any adapter, %s of the %d codes of %s change.", (&unicodeGlyphs).figure(merge.MetricCodes, float64(s.trial.CodesChanged)), s.file.weights, shortLayer(s.layer))
			},
			picture: drawStairs,
			begin:   func(s *stage) { s.set.Factor = 0 },
		},
		{
			title: "the dead zone",
			text: func(s *stage) string {
				over := 0
				for _, r := range s.trial.Reach {
					if r > 1 {
						over++
					}
				}
				return fmt.Sprintf("To become another code a weight must move by half a step. The light adapter's deltas have an rms of %s, %s of the weights' own. "+
					"Of %d that have a code to go to, %d get across (%s); all others are rounded away as if they were not there.", scientific(float64(s.trial.DeltaRMS)), (&unicodeGlyphs).percent(float64(s.trial.DeltaRatio)),
					len(s.trial.Reach), over, (&unicodeGlyphs).percent(float64(over)/float64(len(s.trial.Reach))))
			},
			picture: drawReach,
		},
		{
			title: "turn it up",
			text: func(s *stage) string {
				return "kept is how much of the delta arrives: 100% all of it, 0% nothing. Scale the delta, use fewer of its components, change blocks and format, and watch when it comes through."
			},
			picture: drawTrial,
			sliders: []slider{factorSlider, rankSlider, blockSlider, formatSlider},
		},
		{
			title: "a small error is no comfort",
			text: func(s *stage) string {
				return "Where nothing arrives the weights hardly change, so the relative error is smallest just where the adapter is gone. That is why kept comes first on every screen here."
			},
			picture: func(s *stage, c canvas, w, h int) []string {
				rows := [][]string{{"adapter", "delta ratio", "kept", "codes changed", "error"}}
				for _, name := range tourAdapters {
					rows = append(rows, append([]string{name}, totals(s.nf4[name].Totals, c)...))
				}
				return c.table(rows, w, h)
			},
		},
	}}
}

func totals(m merge.Metrics, c canvas) []string {
	g := c.glyphs()
	return []string{g.percent(float64(m.DeltaRatio)), g.percent(float64(m.Kept)), g.percent(float64(m.CodesChanged)), g.percent(float64(m.ErrorRelative))}
}

func doubleTour() tour {
	return tour{"double", "Double quantization", []page{
		{
			title: "scales cost too",
			text: func(s *stage) string {
				n := int64(len(s.trial.Panel.Absmax))
				return fmt.Sprintf("A float32 scale for every %d weights is %.2f bits a weight. Double quantization stores the %d scales of this layer in 8 bits each: %s with all that belongs to them instead of %s.",
					s.box.Spec.Blocksize, 32/float64(s.box.Spec.Blocksize), n, fileSize(s.file.scales), fileSize(4*n))
			},
			picture: drawScales,
			begin:   func(s *stage) { s.set.Factor = 0 },
		},
		{
			title: "an absmax in 8 bits",
			text: func(s *stage) string {
				return "The mean of all scales is taken off, the rest divided by the largest of each 256, and the quotient rounded to one of 256 values that are dense near 0. These are scales of this layer after a merge."
			},
			picture: drawNested,
		},
		{
			title: "everything hangs together",
			text: func(s *stage) string {
				p := s.trial.Panel
				scales := slices.Clone(p.NewAbsmax)
				scales[0] = float32(math.NaN())
				n := quant.QuantizeAbsmax(scales, p.Profile)
				back := make([]float32, len(scales))
				n.Dequantize(back)
				lost := 0
				for _, v := range back {
					if v != v {
						lost++
					}
				}
				return fmt.Sprintf("The mean is one number for the whole layer, so one block that changes moves all scales a little: merging an adapter of scale 0 changes %s of the codes and %s of the scales. "+
					"And one NaN among %d scales makes the mean NaN: %d of them are lost.",
					(&unicodeGlyphs).figure(merge.MetricCodes, float64(s.still().CodesChanged)), (&unicodeGlyphs).percent(float64(s.still().ScalesChanged)), len(scales), lost)
			},
			picture: func(s *stage, c canvas, w, h int) []string {
				still := s.still()
				rows := [][]string{{"merged", "codes", "scales", "error"}}
				rows = append(rows, []string{"nothing", c.glyphs().percent(float64(still.CodesChanged)), c.glyphs().percent(float64(still.ScalesChanged)), c.glyphs().percent(float64(still.ErrorRelative))})
				rows = append(rows, []string{"light adapter", c.glyphs().percent(float64(s.trial.CodesChanged)), c.glyphs().percent(float64(s.trial.ScalesChanged)), c.glyphs().percent(float64(s.trial.ErrorRelative))})
				return c.table(rows, w, h)
			},
		},
	}}
}

func bitsTour() tour {
	return tour{"bits", "4-bit against 8-bit", []page{
		{
			title: "how far to the next code",
			text: func(s *stage) string {
				g := &unicodeGlyphs
				four := s.with(func(x *merge.Setting) { x.Format, x.Blocksize = quant.NF4, s.box.Spec.Blocksize })
				eight := s.with(func(x *merge.Setting) { x.Format = quant.Int8 })
				return fmt.Sprintf("int8 has one scale a row and 255 even steps. The median delta is %.2f half steps of NF4 but %.2f of int8, where %s of the codes change. Those that do move further than asked, others not at all: "+
					"on average the delta arrives. Kept: %s in int8, %s in NF4.",
					median(four.Reach), median(eight.Reach), g.percent(float64(eight.CodesChanged)), g.percent(float64(eight.Kept)), g.percent(float64(four.Kept)))
			},
			picture: drawTrial,
			sliders: []slider{formatSlider, factorSlider},
		},
		{
			title: "all layers, three adapters",
			text: func(s *stage) string {
				return fmt.Sprintf("What a merge keeps of the demo's adapters. The price: the quantized layers take %s in NF4 and %s in int8.", fileSize(s.bytes[quant.NF4]), fileSize(s.bytes[quant.Int8]))
			},
			picture: func(s *stage, c canvas, w, h int) []string {
				var names []string
				var kept []float64
				for _, name := range tourAdapters {
					names = append(names, name+", nf4", name+", int8")
					kept = append(kept, float64(s.nf4[name].Totals.Kept), float64(s.int8[name].Totals.Kept))
				}
				return c.bars(names, kept, w, h)
			},
		},
	}}
}

func separateTour() tour {
	return tour{"separate", "When to keep the adapter separate", []page{
		{
			title: "four ways to write it",
			text: func(s *stage) string {
				return "The light adapter on the demo, written in every way there is. Beside the base it loses nothing and takes little room, but needs PEFT when the model runs."
			},
			picture: func(s *stage, c canvas, w, h int) []string {
				rows := [][]string{{"written as", "kept", "size of these layers"}}
				for _, o := range s.outputs {
					rows = append(rows, []string{o.name, c.glyphs().percent(o.kept), fileSize(o.bytes)})
				}
				return c.table(rows, w, h)
			},
		},
		{
			title: "layers differ",
			text: func(s *stage) string {
				r := s.nf4["gocode-mid"]
				good := 0
				for _, l := range r.Layers {
					if l.Kept >= 0.9 {
						good++
					}
				}
				return fmt.Sprintf("Of the middle adapter %s is kept in all, and %d of %d layers keep at least 90%%. A plan can merge those and write the others in bf16, or leave the adapter beside them: O sets the form of the marked layers.",
					(&unicodeGlyphs).percent(float64(r.Totals.Kept)), good, len(r.Layers))
			},
			picture: func(s *stage, c canvas, w, h int) []string {
				worst := slices.SortedFunc(slices.Values(s.nf4["gocode-mid"].Layers), func(a, b *merge.LayerReport) int {
					return cmp.Compare(a.Kept, b.Kept)
				})
				var names []string
				var kept []float64
				for _, l := range worst[:min(len(worst), max(1, h))] {
					names, kept = append(names, shortLayer(l.Name)), append(kept, float64(l.Kept))
				}
				return c.bars(names, kept, w, h)
			},
		},
		{
			title: "what is advised",
			text: func(s *stage) string {
				text := "From PEFT's documentation and maintainers:"
				for _, g := range merge.Guidance() {
					text += "\n· " + g.Text
				}
				return text
			},
		},
	}}
}

func verifyTour() tour {
	return tour{"verify", "What verifying means", []page{
		{
			title: "three questions",
			text: func(s *stage) string {
				return "Are the bytes right? With the method peft a merge writes those of PEFT and bitsandbytes: same rounding, same order of sums.\n" +
					"Did the adapter arrive in the weights? That is kept, and what this program measures.\n" +
					"Does the model behave as with the adapter beside it? Only running it tells."
			},
			picture: func(s *stage, c canvas, w, h int) []string {
				rows := [][]string{{"light adapter", "kept", "snr", "codes changed"}}
				for _, in := range []struct {
					name string
					m    merge.Metrics
				}{{"in nf4", s.nf4[demoLight].Totals}, {"in int8", s.int8[demoLight].Totals}} {
					rows = append(rows, []string{in.name, c.glyphs().percent(float64(in.m.Kept)), c.glyphs().decibels(float64(in.m.SNR)), c.glyphs().percent(float64(in.m.CodesChanged))})
				}
				return c.table(rows, w, h)
			},
		},
		{
			title: "from weights to outputs",
			text: func(s *stage) string {
				kept, off := s.trial.OnInputs(s.inputs)
				g := &unicodeGlyphs
				return fmt.Sprintf("A layer turns inputs into outputs. On %d random inputs %s of the adapter's effect on them is kept, as of the weights (%s); what is off is %s of the effect itself. "+
					"Real inputs have directions of their own, so a model may forgive more or less.", tourInputs, g.percent(kept), g.percent(float64(s.trial.Kept)), g.percent(off))
			},
			picture: drawTrial,
			sliders: []slider{factorSlider, formatSlider},
		},
		{
			title: "before you ship it",
			text: func(s *stage) string {
				return "Compare the merged model with the adapter beside the base on text it has not seen: loss, and how often the most likely token agrees.\n" +
					"Compare at the length you will use: tokens that differ change what follows.\n" +
					"safe_merge looks for NaN only. A model that lost its adapter passes."
			},
			picture: func(s *stage, c canvas, w, h int) []string {
				g := c.glyphs()
				rows := [][]string{{"would safe_merge object?", "non-finite", "kept"}}
				for _, name := range tourAdapters {
					m := s.nf4[name].Totals
					rows = append(rows, []string{name + ": no", fmt.Sprint(m.NonFinite.Sum), g.percent(float64(m.Kept))})
				}
				m := s.broken.Totals
				return c.table(append(rows, []string{demoBroken + ": yes", fmt.Sprint(m.NonFinite.Sum), g.dash}), w, h)
			},
		},
	}}
}
