package merge_test

import (
	"math"
	"strings"

	"mergescope/loader"
	"mergescope/merge"
	"mergescope/quant"
)

// scaleTests: wrong scales and merges done twice, in every format. The adapter
// has rank 8 and alpha 16.
func scaleTests() (list []made) {
	adapter := golden("cases", "nf4-all-layers", "adapter")
	for _, base := range []string{"llama-nf4", "llama-nf4-dq", "llama-fp4", "llama-int8", "llama-bf16"} {
		for _, x := range []struct {
			factor float64
			cause  string
		}{
			{math.Sqrt(8), "taken for rsLoRA"},
			{2, "twice"},
			{16, "alpha applied twice"},
			{0.5, "alpha/r left out"},
		} {
			list = append(list, made{
				name: base + "/" + x.cause, base: golden("bases", base), adapter: adapter, want: merge.VerdictScale, factor: x.factor, cause: x.cause,
				make: func(m *maker) *maker { return m.add("", x.factor, nil) },
			})
		}
		list = append(list, made{
			name: base + "/merged twice", base: golden("bases", base), adapter: adapter, want: merge.VerdictTwice,
			make: func(m *maker) *maker { return m.add("", 1, nil).again().add("", 1, nil) },
		})
	}
	rs := golden("cases", "rslora", "adapter")
	list = append(list,
		made{
			name: "rslora ignored", base: golden("bases", "llama-nf4"), adapter: rs, want: merge.VerdictScale, factor: 1 / math.Sqrt(8), cause: "rsLoRA ignored",
			make: func(m *maker) *maker { return m.add("", 1/math.Sqrt(8), nil) },
		},
		made{
			name: "rslora ignored bf16", base: golden("bases", "llama-nf4"), adapter: rs, want: merge.VerdictScale, factor: 1 / math.Sqrt(8), cause: "rsLoRA ignored",
			make: func(m *maker) *maker { return m.add("bf16", 1/math.Sqrt(8), nil) },
		},
		made{
			name: "subtracted", base: golden("bases", "llama-nf4"), adapter: adapter, want: merge.VerdictScale, factor: -1, cause: "subtracted",
			make: func(m *maker) *maker { return m.add("", -1, nil) },
		},
		made{
			name: "no known factor", base: golden("bases", "llama-nf4"), adapter: adapter, want: merge.VerdictScale, factor: 1.37,
			make: func(m *maker) *maker { return m.add("", 1.37, nil) },
		},
		made{
			name: "no known factor bf16", base: golden("bases", "llama-nf4"), adapter: adapter, want: merge.VerdictScale, factor: 1.37,
			make: func(m *maker) *maker { return m.add("bf16", 1.37, nil) },
		},
		made{
			name: "plan scale left out", base: golden("bases", "llama-nf4"), adapter: adapter, want: merge.VerdictScale, factor: 1 / 0.7, cause: "plan's own scale",
			make: func(m *maker) *maker { return m.add("", 1, nil) },
			edit: func(p merge.Plan, q *merge.Project) merge.Plan { return p.AssignAll(q.Adapters[0].Name, 0.7) },
		},
	)
	return list
}

// faultTests: parts missing, other bases, other adapters, things in places
// where they do not belong.
func faultTests() (list []made) {
	adapter, other := golden("cases", "nf4-all-layers", "adapter"), golden("cases", "nf4-plain", "adapter")
	for _, x := range []struct{ base, to string }{
		{"llama-nf4", ""},
		{"llama-nf4", "bf16"},
		{"llama-nf4", "int8"},
		{"llama-nf4-dq", ""},
		{"llama-fp4", ""},
		{"llama-int8", ""},
		{"llama-int8", "f16"},
		{"llama-bf16", ""},
		{"llama-bf16", "nf4"},
	} {
		test := func(name string, want merge.Verdict, f func(m *maker) *maker) {
			list = append(list, made{name: x.base + " to " + x.to + "/" + name, base: golden("bases", x.base), adapter: adapter, want: want, make: f})
		}
		test("modules missing", merge.VerdictMissing, func(m *maker) *maker {
			return m.each(x.to, func(w *loader.Weight, v []float32, d []float64) []float32 {
				switch {
				case d == nil:
					return nil
				case strings.Contains(w.Name, "mlp"):
					return v
				}
				return plus(v, d, 1)
			})
		})
		test("other adapter", merge.VerdictOtherAdapter, func(m *maker) *maker {
			m.deltas = deltasOf(m.t, other)
			return m.add(x.to, 1, nil)
		})
		test("wrong base", merge.VerdictOtherBase, func(m *maker) *maker {
			return m.each(x.to, func(w *loader.Weight, v []float32, d []float64) []float32 {
				out := make([]float32, len(v))
				for i := range v {
					out[i] = v[i] + float32(0.02*m.rng.NormFloat64())
				}
				if d == nil {
					return out
				}
				return plus(out, d, 1)
			})
		})
	}
	nf4 := golden("bases", "llama-nf4")
	return append(list,
		made{name: "nothing merged", base: nf4, adapter: adapter, want: merge.VerdictMissing, make: func(m *maker) *maker { return m }},
		made{name: "a layer without adapter changed", base: nf4, adapter: other, want: merge.VerdictChanged, make: func(m *maker) *maker {
			return m.add("", 1, nil).again().each("", func(w *loader.Weight, v []float32, _ []float64) []float32 {
				if !strings.HasSuffix(w.Name, "0.self_attn.o_proj") {
					return nil
				}
				v[0] += 2 * v[1]
				v[3], v[100], v[200], v[300], v[400] = v[100], v[3], v[400], v[500], -v[200]
				return v
			})
		}},
		made{name: "norm changed", base: nf4, adapter: adapter, want: merge.VerdictChanged, make: func(m *maker) *maker {
			m.add("", 1, nil)
			x := m.raw["model.norm.weight"]
			x.data = append([]byte{}, x.data...)
			x.data[1] ^= 1
			m.raw["model.norm.weight"] = x
			return m
		}},
		made{name: "weight lacking", base: nf4, adapter: adapter, want: merge.VerdictAbsent, make: func(m *maker) *maker {
			m.add("", 1, nil)
			delete(m.raw, "lm_head.weight")
			return m
		}},
		made{name: "vocabulary resized", base: nf4, adapter: adapter, want: merge.VerdictShape, make: func(m *maker) *maker {
			m.add("", 1, nil)
			x := m.raw["lm_head.weight"]
			m.raw["lm_head.weight"] = rawTensor{x.dtype, "[63,64]", x.data[:63*64*2]}
			return m
		}},
		made{name: "saved unmerged", base: nf4, adapter: adapter, want: merge.VerdictMissing, make: func(m *maker) *maker {
			m.raw["model.layers.0.self_attn.q_proj.lora_A.default.weight"] = rawTensor{"F32", "[1,2]", make([]byte, 8)}
			return m
		}},
		made{name: "NaN in a merged weight", base: nf4, adapter: adapter, want: merge.VerdictNonFinite, make: func(m *maker) *maker {
			return m.each("bf16", func(w *loader.Weight, v []float32, d []float64) []float32 {
				if d == nil {
					return nil
				}
				out := plus(v, d, 1)
				out[17] = float32(math.NaN())
				return out
			})
		}},
	)
}

// demoTests: the demo's adapters, light and strong, on layers of real size.
func demoTests() []made {
	nf4, light, mid, strong := demo("base-nf4"), demo("adapter-gocode-light"), demo("adapter-gocode-mid"), demo("adapter-gocode")
	own := func(scale float64, pick func(string) bool) func(m *maker) *maker {
		return func(m *maker) *maker { return m.add("", scale, pick) }
	}
	from := func(adapter, to string) func(m *maker) *maker {
		return func(m *maker) *maker {
			m.deltas = deltasOf(m.t, adapter)
			return m.add(to, 1, nil)
		}
	}
	onto := func(to string, scale float64) func(m *maker) *maker {
		return func(m *maker) *maker {
			return m.each(to, func(w *loader.Weight, v []float32, d []float64) []float32 {
				v = m.original(w, v)
				if d != nil {
					return plus(v, d, scale)
				}
				return v
			})
		}
	}
	list := []made{
		{name: "demo/light x2", base: nf4, adapter: light, want: merge.VerdictScale, factor: 2, make: own(2, nil)},
		{name: "demo/light sqrt(r)", base: nf4, adapter: light, want: merge.VerdictScale, factor: math.Sqrt(8), cause: "taken for rsLoRA", make: own(math.Sqrt(8), nil)},
		{name: "demo/light alpha", base: nf4, adapter: light, want: merge.VerdictScale, factor: 16, cause: "alpha applied twice", make: own(16, nil)},
		{name: "demo/light twice", base: nf4, adapter: light, want: merge.VerdictTwice, make: func(m *maker) *maker { return m.add("", 1, nil).again().add("", 1, nil) }},
		{name: "demo/light attention only", base: nf4, adapter: light, want: merge.VerdictMissing, make: own(1, func(l string) bool { return strings.HasSuffix(l, "v_proj") })},
		{name: "demo/mid for light", base: nf4, adapter: light, want: merge.VerdictOtherAdapter, make: from(mid, "")},
		{name: "demo/strong for mid", base: nf4, adapter: mid, want: merge.VerdictOtherAdapter, make: from(strong, "")},
		{name: "demo/light for mid", base: nf4, adapter: mid, want: merge.VerdictOtherAdapter, make: from(light, "")},
		{name: "demo/mid for light bf16", base: nf4, adapter: light, want: merge.VerdictOtherAdapter, make: from(mid, "bf16")},
		{name: "demo/mid for light int8", base: demo("base-int8"), adapter: light, want: merge.VerdictOtherAdapter, make: from(mid, "")},
		{name: "demo/original x2", base: nf4, adapter: mid, want: merge.VerdictScale, factor: 2, make: onto("bf16", 2)},
		{name: "demo/original sqrt(r)", base: nf4, adapter: mid, want: merge.VerdictScale, factor: math.Sqrt(8), make: onto("nf4", math.Sqrt(8))},
		{name: "demo/original without adapter", base: nf4, adapter: mid, want: merge.VerdictMissing, make: onto("bf16", 0)},
		{name: "demo/q and k permuted bf16", base: nf4, adapter: mid, want: merge.VerdictPermuted, make: permuted("bf16", false)},
		{name: "demo/q and k permuted", base: nf4, adapter: strong, want: merge.VerdictPermuted, make: permuted("", false)},
		{name: "demo/q and k weights permuted", base: nf4, adapter: mid, want: merge.VerdictPermuted, make: permuted("f16", true)},
		{name: "demo/NaN laundered", base: nf4, adapter: demo("adapter-broken"), want: merge.VerdictLaundered, make: func(m *maker) *maker {
			return m.each("", func(w *loader.Weight, v []float32, d []float64) []float32 {
				if d == nil {
					return nil
				}
				out := plus(v, d, 1)
				for i, x := range out { // as codes of 0 where the scale ignored NaN
					if !(math.Abs(float64(x)) < 1e30) {
						out[i] = -0.05
					}
				}
				return out
			})
		}, part: "layers.1"},
	}
	for i := range list {
		if list[i].part == "" {
			list[i].part = "layers.0"
		}
	}
	return list
}

// permuted merges with query and key rows interleaved as llama.cpp does:
// reshape(heads, 2, size/2, in).swapaxes(1, 2).
func permuted(to string, whole bool) func(m *maker) *maker {
	return func(m *maker) *maker {
		return m.each(to, func(w *loader.Weight, v []float32, d []float64) []float32 {
			if d == nil {
				return nil
			}
			heads := map[bool]int{true: 6, false: 2}[strings.HasSuffix(w.Name, "q_proj")]
			if !strings.HasSuffix(w.Name, "q_proj") && !strings.HasSuffix(w.Name, "k_proj") {
				return plus(v, d, 1)
			}
			cols, size := w.Cols(), w.Rows()/heads
			pd, pv := make([]float64, len(d)), append([]float32{}, v...)
			for h := range heads {
				for s := range 2 {
					for i := range size / 2 {
						from, at := (h*size+s*size/2+i)*cols, (h*size+2*i+s)*cols
						copy(pd[at:at+cols], d[from:from+cols])
						if whole {
							copy(pv[at:at+cols], v[from:from+cols])
						}
					}
				}
			}
			return plus(pv, pd, 1)
		})
	}
}

// honestTests: right merges that PEFT's CPU code would not have written so.
func honestTests() (list []made) {
	all := golden("cases", "nf4-all-layers", "adapter")
	for _, base := range []string{"llama-nf4", "llama-nf4-dq", "llama-fp4", "llama-int8", "llama-bf16"} {
		for _, to := range []string{"bf16", "f16", "f32", "int8", "nf4"} {
			list = append(list, made{
				name: "honest/" + base + " to " + to, base: golden("bases", base), adapter: all, want: merge.VerdictRight,
				make: func(m *maker) *maker { return m.add(to, 1, nil) },
			})
		}
	}
	for _, adapter := range []string{"light", "mid", "strong"} {
		dir := map[string]string{"light": "adapter-gocode-light", "mid": "adapter-gocode-mid", "strong": "adapter-gocode"}[adapter]
		for _, to := range []string{"bf16", "nf4", "int8"} {
			list = append(list, made{
				name: "honest/original and " + adapter + " to " + to, base: demo("base-nf4"), adapter: demo(dir), part: "layers.1", want: merge.VerdictRight,
				make: func(m *maker) *maker {
					return m.each(to, func(w *loader.Weight, v []float32, d []float64) []float32 {
						if v = m.original(w, v); d != nil {
							return plus(v, d, 1)
						}
						return v
					})
				},
			})
		}
		list = append(list, made{name: "honest/dithered " + adapter, base: demo("base-nf4"), adapter: demo(dir), part: "layers.1", want: merge.VerdictRight, make: dithered})
		for _, x := range []struct{ base, to string }{{"base-nf4", "bf16"}, {"base-nf4", "nf4-dq"}, {"base-int8", "f16"}, {"base-int8", "int8"}} {
			list = append(list, made{
				name: "honest/" + x.base + " and " + adapter + " onto the real original to " + x.to, base: demo(x.base), adapter: demo(dir),
				part: "layers.0.self_attn", want: merge.VerdictRight, make: func(m *maker) *maker { return onOriginal(m, x.to) },
			})
		}
	}
	return append(list,
		made{
			name: "honest/erased", base: golden("bases", "llama-nf4"), adapter: golden("cases", "sweep-nf4-1pct", "adapter"), want: merge.VerdictErased,
			make: func(m *maker) *maker { return m.add("", 1, nil) },
		},
		made{
			name: "honest/light erased", base: demo("base-nf4"), adapter: demo("adapter-gocode-light"), part: "layers.0", want: merge.VerdictErased,
			make: func(m *maker) *maker { return m.add("", 1, nil) },
		},
		made{name: "honest/another prefix", base: golden("bases", "llama-nf4"), adapter: all, want: merge.VerdictRight, make: func(m *maker) *maker {
			m.add("bf16", 1, nil).rename = "language_model."
			return m
		}},
		made{name: "honest/onto the quantized base", base: golden("bases", "llama-bf16"), adapter: all, want: merge.VerdictRight, make: func(m *maker) *maker {
			return m.each("bf16", func(w *loader.Weight, v []float32, d []float64) []float32 {
				if d == nil {
					return nil
				}
				q := quant.Panel{Spec: quant.Spec{Format: quant.NF4, Blocksize: 64, Dtype: quant.BF16}, Rows: w.Rows(), Cols: w.Cols(), T: v}
				q.Requantize()
				q.Codes, q.Absmax = q.NewCodes, q.NewAbsmax
				q.Dequantize()
				return plus(q.W, d, 1)
			})
		}},
		made{name: "honest/factors rounded to bf16", base: golden("bases", "llama-nf4"), adapter: all, want: merge.VerdictRight, make: func(m *maker) *maker {
			return m.each("", func(_ *loader.Weight, v []float32, d []float64) []float32 {
				if d == nil {
					return nil
				}
				noisy := make([]float64, len(d))
				for i := range d {
					noisy[i] = d[i] * (1 + 0.003*m.rng.NormFloat64())
				}
				return plus(v, noisy, 1)
			})
		}},
	)
}

// onOriginal merges onto the weights the demo was quantized from.
func onOriginal(m *maker, to string) *maker {
	original := openModel(m.t, "../testdata/demo-original/model.safetensors")
	return m.each(to, func(w *loader.Weight, _ []float32, d []float64) []float32 {
		if d == nil {
			return nil
		}
		return plus(m.values(original.Weight(w.Name)), d, 1)
	})
}

// dithered rounds each weight to one of its neighbouring codes with the
// probability that is right on average, scales kept.
func dithered(m *maker) *maker {
	return m.each("", func(w *loader.Weight, v []float32, d []float64) []float32 {
		if d == nil {
			return nil
		}
		out := make([]float32, len(v))
		for lo := 0; lo < len(v); lo += 64 {
			var a float64
			for _, x := range v[lo : lo+64] {
				a = max(a, math.Abs(float64(x)))
			}
			for i := lo; i < lo+64; i++ {
				x := (float64(v[i]) + d[i]) / a
				below, above := -1.0, 1.0
				for c := range uint8(16) {
					p := float64(quant.CodeValue(quant.NF4, c))
					if p <= x {
						below = max(below, p)
					}
					if p >= x {
						above = min(above, p)
					}
				}
				p := below
				if above > below && m.rng.Float64() < (x-below)/(above-below) {
					p = above
				}
				if math.Abs(float64(v[i])) == a {
					p = float64(v[i]) / a // keeps the scale
				}
				out[i] = float32(p * a)
			}
		}
		return out
	})
}
