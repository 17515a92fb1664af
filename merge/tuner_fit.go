package merge

import (
	"fmt"
	"slices"

	"mergescope/loader"
)

// fitTuner is fit for the parameters of a tuner other than LoRA. It leaves the
// weight's sides to the tuner: all that follows may index without looking.
func fitTuner(a *loader.Adapter, m *loader.Module, w *loader.Weight, fanIn bool) (flip bool, tensor *loader.Tensor, problem string) {
	if reason := tuners[m.Tuner].reason(w.Format.Is4Bit(), !w.Format.IsFloat()); reason != "" && defectOf(m.Tuner, w) == "" {
		return false, nil, fmt.Sprintf("%s: %s", tuners[m.Tuner].name, reason)
	}
	if len(w.Shape) != 2 {
		return false, w.Data, fmt.Sprintf("weight %s is %v: only matrices are merged", w.Name, w.Shape)
	}
	if problem = formProblem(a, m, w); problem != "" {
		return false, nil, problem
	}
	rows, cols := int(w.Shape[0]), int(w.Shape[1])
	f := fitting{m: m, w: w}
	switch m.Tuner {
	case "HIRA", "ADALORA":
		flip, tensor, problem = fit(m, w, fanIn)
		if problem == "" && m.Tuner == "ADALORA" {
			f.want("lora_E", m.Rank, 1)
		}
		if problem != "" {
			return flip, tensor, problem
		}
	case "VERA", "PVERA", "RANDLORA", "IA3":
		// A Conv1D is the only layer stored [in, out]. Its class and not its shape
		// decides, as in PEFT.
		if flip = fanIn && w.Format.IsFloat(); flip {
			rows, cols = cols, rows
		}
	default:
		if fanIn && w.Format.IsFloat() {
			return false, nil, fmt.Sprintf("%s on Conv1D layers has not been checked against PEFT and is not merged", tuners[m.Tuner].name)
		}
	}
	f.tuner(a, rows, cols)
	return flip, f.at, f.problem
}

// formProblem says why a variant of a tuner is not merged, "" if it is.
func formProblem(a *loader.Adapter, m *loader.Module, w *loader.Weight) string {
	c := a.Config.Tuner
	switch {
	case m.Params["hada_t1"] != nil, m.Params["lokr_t2"] != nil:
		return "tensors of convolutions on a linear layer"
	case m.Embedding && m.Tuner != "HIRA":
		return "only linear layers are merged"
	case m.Tuner == "OFT" && c.COFT:
		return "coft: the projection of constrained OFT is not supported"
	case m.Tuner == "ROAD" && !slices.Contains([]string{"road_1", "road_2", "road_4"}, c.Variant):
		return fmt.Sprintf("variant %q, want road_1, road_2 or road_4", c.Variant)
	case m.Tuner == "WAVEFT" && c.IDWT && !slices.Contains([]string{"db1", "haar"}, c.Wavelet):
		return fmt.Sprintf("wavelet_family %q: only db1 (haar) is supported", c.Wavelet)
	case m.Tuner == "PEANUT" && (c.Activation != "relu" || c.Depth != 0):
		return fmt.Sprintf("act_fn %q, depth %d: only relu without hidden layers is supported", c.Activation, c.Depth)
	case m.Params["supertuning_lora_A"] != nil:
		return "r: SuperTuning with a low-rank part (Supra) is not supported"
	case m.Tuner == "DEFT" && !slices.Contains([]string{"relu", "qr"}, c.Decompose):
		return fmt.Sprintf("decomposition_method %q, want relu or qr", c.Decompose)
	case m.Params["vblora_logits_A_topk_weights"] != nil:
		return "save_only_topk_weights: only whole logits are supported"
	case m.Tuner == "ROAD" && (c.GroupSize%2 != 0 || int(w.Shape[0])%c.GroupSize != 0):
		return fmt.Sprintf(`PEFT: "The out_features of the base layer must be divisible by group_size (%d) when using RoadLayer."`, c.GroupSize)
	}
	return ""
}

// fitting collects the first parameter that has not the shape it should.
type fitting struct {
	m       *loader.Module
	w       *loader.Weight
	at      *loader.Tensor
	problem string
}

// want checks the shape of a parameter; -1 stands for any length.
func (f *fitting) want(role string, shape ...int) {
	t := f.m.Params[role]
	switch {
	case f.problem != "":
		return
	case t == nil:
		f.problem = fmt.Sprintf("adapter module %s lacks %s", f.m.Path, role)
		return
	}
	ok := len(t.Shape) == len(shape)
	for i := 0; ok && i < len(shape); i++ {
		ok = t.Shape[i] == int64(shape[i]) || shape[i] < 0 && t.Shape[i] > 0
	}
	if !ok {
		f.at = t
		f.problem = fmt.Sprintf("%s is %v but weight %s is %v: want %s", t.Name, t.Shape, f.w.Name, f.w.Shape, dimensions(shape))
	}
}

// atLeast checks a dimension of a shared projection.
func (f *fitting) atLeast(role string, dim, n int) {
	t := f.m.Params[role]
	if f.problem == "" && t.Shape[dim] < int64(n) {
		f.at = t
		f.problem = fmt.Sprintf("%s has a size of %d but %d or greater is required", t.Name, t.Shape[dim], n)
	}
}

// size is a dimension of a parameter, 0 if it has none.
func (f *fitting) size(role string, dim int) int {
	if t := f.m.Params[role]; t != nil && dim < len(t.Shape) {
		return int(t.Shape[dim])
	}
	return 0
}

func dimensions(shape []int) string {
	s := "["
	for i, n := range shape {
		if i > 0 {
			s += " "
		}
		if n < 0 {
			s += "any"
		} else {
			s += fmt.Sprint(n)
		}
	}
	return s + "]"
}

// tuner checks the parameters of a layer with so many outputs and inputs.
func (f *fitting) tuner(a *loader.Adapter, out, in int) {
	c := a.Config.Tuner
	switch f.m.Tuner {
	case "VERA", "PVERA":
		f.vera(map[string]string{"VERA": "vera_", "PVERA": "pvera_"}[f.m.Tuner], out, in)
	case "RANDLORA":
		f.randlora(out, in)
	case "LOHA":
		r := f.size("hada_w1_b", 0)
		f.want("hada_w1_a", out, r)
		f.want("hada_w1_b", r, in)
		f.want("hada_w2_a", out, r)
		f.want("hada_w2_b", r, in)
	case "LOKR":
		f.lokr(out, in)
	case "SHIRA":
		f.want("shira_weight", -1)
		f.want("shira_indices", 2, f.size("shira_weight", 0))
	case "IA3":
		if f.size("ia3_l", 0) == 1 {
			f.want("ia3_l", 1, in)
		} else {
			f.want("ia3_l", out, 1)
		}
	case "ROAD":
		n := map[string]int{"road_1": out / 2, "road_2": out, "road_4": out * 2}[c.Variant]
		f.want("road_theta", n)
		f.want("road_alpha", n)
	case "MISS":
		f.miss(c.Init, out, in)
	case "OFT":
		f.want("oft_R", -1, -1)
		f.oft(c.BlockShare, in)
	case "BOFT":
		f.boft(out, in)
	default:
		f.tunerRare(c, out, in)
	}
}

// tunerRare is tuner for those that PEFT merges into float layers only.
func (f *fitting) tunerRare(c loader.TunerConfig, out, in int) {
	switch f.m.Tuner {
	case "FOURIERFT":
		f.spectrum("fourierft_spectrum", out, in)
	case "WAVEFT":
		f.spectrum("waveft_spectrum", out, in)
	case "C3A":
		b := f.size("c3a_kernel", 2)
		f.want("c3a_kernel", -1, -1, -1)
		if f.problem == "" {
			f.want("c3a_kernel", out/b, in/b, b)
			f.divides("c3a_kernel", b, out, in)
		}
	case "HRA":
		f.want("hra_u", in, -1)
	case "DELORA":
		r := f.size("delora_A", 0)
		f.want("delora_A", -1, in)
		f.want("delora_B", out, r)
		f.want("delora_lambda", 1)
		f.want("delora_w_norm", in)
	case "DEFT":
		f.want("deft_P", out, -1)
		if !c.Removal {
			f.want("deft_R", f.size("deft_P", 1), in)
		}
	case "PEANUT":
		f.want("peanut_A", -1, out)
		f.want("peanut_B", out, f.size("peanut_A", 0))
	case "SUPERTUNING":
		f.want("supertuning_values", -1)
		f.want("supertuning_indices", f.size("supertuning_values", 0))
	case "GRALORA":
		f.gralora(c.Blocks, out, in)
	case "VBLORA":
		f.vblora(out, in)
	}
}

// spectrum checks values at places that are drawn out of out*in.
func (f *fitting) spectrum(role string, out, in int) {
	f.want(role, -1)
	if n := f.size(role, 0); f.problem == "" && (n > out*in || int64(out)*int64(in) >= 1<<32) {
		f.at = f.m.Params[role]
		f.problem = fmt.Sprintf("%s has %d values for a weight of %d by %d: PEFT draws their places among its elements, of which there may be 2^32 at most", f.at.Name, n, out, in)
	}
}

// divides checks that sides of a weight are multiples of a block's.
func (f *fitting) divides(role string, b, out, in int) {
	if f.problem == "" && (b < 1 || out%b != 0 || in%b != 0) {
		f.at = f.m.Params[role]
		f.problem = fmt.Sprintf("%s is %v: the sides of weight %s, %v, are no multiples of %d", f.at.Name, f.at.Shape, f.w.Name, f.w.Shape, b)
	}
}

func (f *fitting) gralora(k, out, in int) {
	r := f.size("gralora_A", 2)
	f.want("gralora_A", k, in/k, -1)
	f.want("gralora_B", k, r, out/k)
	f.divides("gralora_A", k, out, in)
	if f.problem == "" && r%k != 0 {
		f.at = f.m.Params["gralora_A"]
		f.problem = fmt.Sprintf("%s is %v: its rank is no multiple of gralora_k, %d", f.at.Name, f.at.Shape, k)
	}
	if f.m.Params["gralora_A_general"] != nil || f.m.Params["gralora_B_general"] != nil {
		f.want("gralora_A_general", -1, in)
		f.want("gralora_B_general", out, f.size("gralora_A_general", 0))
	}
}

func (f *fitting) vblora(out, in int) {
	f.want("vblora_vector_bank", -1, -1)
	n, length := f.size("vblora_vector_bank", 0), f.size("vblora_vector_bank", 1)
	f.divides("vblora_vector_bank", length, out, in)
	if f.problem == "" {
		f.want("vblora_logits_A", -1, in/length, n)
		f.want("vblora_logits_B", out/length, f.size("vblora_logits_A", 0), n)
	}
}

func (f *fitting) vera(prefix string, out, in int) {
	f.want(prefix+"lambda_b", out)
	f.want(prefix+"lambda_d", -1)
	f.want(prefix+"A", f.size(prefix+"lambda_d", 0), -1)
	r := f.size(prefix+"lambda_d", 0)
	if f.m.Tuner == "PVERA" {
		r /= 2
	}
	f.want(prefix+"B", -1, r)
	f.atLeast(prefix+"A", 1, in)
	f.atLeast(prefix+"B", 0, out)
}

func (f *fitting) randlora(out, in int) {
	f.want("randlora_lambda", -1, -1)
	r, n := f.size("randlora_lambda", 0), f.size("randlora_lambda", 1)
	f.want("randlora_gamma", n, min(out, in))
	f.want("randlora_A", r, -1, -1)
	f.want("randlora_B", -1, -1, r)
	f.atLeast("randlora_A", 2, min(out, in))
	f.atLeast("randlora_B", 0, max(out, in))
	f.atLeast("randlora_B", 1, n)
	if !f.w.Format.IsFloat() && f.problem == "" && (out != in || r*n != out) {
		f.at = f.m.Params["randlora_lambda"]
		f.problem = "RandLoRA: " + noFactors
	}
	if k := f.size("randlora_A", 1); f.problem == "" && k != 1 && k < n {
		f.atLeast("randlora_A", 1, n)
	}
}

func (f *fitting) lokr(out, in int) {
	side := func(role string) (rows, cols int) {
		if f.m.Params[role] != nil {
			f.want(role, -1, -1)
			return f.size(role, 0), f.size(role, 1)
		}
		f.want(role+"_a", -1, -1)
		f.want(role+"_b", f.size(role+"_a", 1), -1)
		return f.size(role+"_a", 0), f.size(role+"_b", 1)
	}
	r1, c1 := side("lokr_w1")
	r2, c2 := side("lokr_w2")
	if f.problem == "" && (r1*r2 != out || c1*c2 != in) {
		f.at = f.m.Params["lokr_w1"]
		f.problem = fmt.Sprintf("the factors of %s are %dx%d and %dx%d but weight %s is %v", f.m.Path, r1, c1, r2, c2, f.w.Name, f.w.Shape)
	}
}

func (f *fitting) miss(init string, out, in int) {
	if init == "bat" {
		r := f.size("miss_block", 2)
		if r == 0 || out%r != 0 || in%r != 0 {
			f.problem = `PEFT: "The weight matrix must be fully divisible into [r, r] blocks."`
			return
		}
		f.want("miss_block", out/r, r, r)
		return
	}
	f.want("miss_block", -1, -1)
	if n := f.size("miss_block", 1); f.problem == "" && (n > out || out%n != 0 || init != "mini" && n != out) {
		f.want("miss_block", -1, out)
	}
}

func (f *fitting) oft(share bool, in int) {
	n, b := f.size("oft_R", 0), oftBlock(f.size("oft_R", 1))
	if f.problem == "" && (b < 1 || in%b != 0 || share && n != 1 || !share && n*b != in) {
		f.at = f.m.Params["oft_R"]
		f.problem = fmt.Sprintf("%s is %v, which makes no blocks for %d columns of weight %s", f.at.Name, f.at.Shape, in, f.w.Name)
	}
}

func (f *fitting) boft(out, in int) {
	b := f.size("boft_R", 2)
	if n := f.size("boft_R", 0); n > 1 {
		f.at = f.m.Params["boft_R"]
		f.problem = fmt.Sprintf("boft_n_butterfly_factor %d: PEFT merges more than one butterfly factor only with its CUDA extension", n)
		return
	}
	if b > 0 {
		f.want("boft_R", 1, in/b, b, b)
		f.want("boft_s", out, 1)
	}
	if f.problem == "" && (b == 0 || in%b != 0) {
		f.want("boft_R", 1, -1, -1, in)
	}
}

// fitAny is fit or fitTuner.
func fitAny(a *loader.Adapter, m *loader.Module, w *loader.Weight, fanIn bool) (flip bool, tensor *loader.Tensor, problem string) {
	if m.Tuner != "" {
		return fitTuner(a, m, w, fanIn)
	}
	return fit(m, w, fanIn)
}
