package merge

import (
	"fmt"
	"math"
	"path"
	"strings"

	"mergescope/loader"
)

// finding is an alert about an adapter as a whole.
func finding(a *loader.Adapter, level Level, code Code, format string, args ...any) Alert {
	return newAlert(level, code, "", a.Name+": "+fmt.Sprintf(format, args...)).at(filePlace(a))
}

// lintTraining checks what adapter_config.json says of the training.
func lintTraining(a *loader.Adapter) []Alert {
	c := &a.Config
	var out []Alert
	if !c.HasAlpha {
		out = append(out, finding(a, Warning, CodeMissingAlpha,
			"adapter_config.json has no lora_alpha; PEFT takes its default %g, so the scale is %.4g", c.Alpha, float64(configScale(a))))
	}
	if why := mutatedBase(c); why != "" {
		out = append(out, finding(a, Warning, CodeMutatedBase, "%s", why))
	}
	return out
}

// lintNotes reports what may matter to a person who reads all of Lint: keys and
// fields without effect, another base, and how PEFT can be made to round.
func (p *Project) lintNotes(a *loader.Adapter, w widths) []Alert {
	c := &a.Config
	var out []Alert
	for _, bad := range idlePatterns(a) {
		out = append(out, finding(a, Warning, CodeConflict, "%s", bad))
	}
	if len(c.Unknown) > 0 {
		out = append(out, finding(a, Info, CodeUnknownField,
			"adapter_config.json has fields that PEFT 0.21 does not know and ignores: %s; a newer PEFT may merge differently", strings.Join(c.Unknown, ", ")))
	}
	if p.otherBase(c.BaseModel) {
		out = append(out, finding(a, Info, CodeOtherBase, "trained on %s, the model here is %s", c.BaseModel, p.Model.Name))
	}
	if w.bits4 && (w.compute == "bfloat16" || w.compute == "float16") && hasF32(a) {
		out = append(out, finding(a, Info, CodeLowMem,
			"A and B are float32; PEFT's low_cpu_mem_usage=True rounds them to %s (bnb_4bit_compute_dtype) before merging", w.compute))
	}
	return out
}

func filePlace(a *loader.Adapter) Place {
	at := Nowhere()
	if a.File != nil {
		at.File = a.File.Name
	}
	return at
}

// mutatedBase explains initializations that change the base before training
// (PEFT docs, "Initialization options"; tuners/lora/layer.py). A converted
// adapter is saved with init_lora_weights true.
func mutatedBase(c *loader.AdapterConfig) string {
	switch init := strings.ToLower(c.InitLoraWeight); {
	case c.KaSA != nil:
		return "kasa_config: training replaced the base weights by a truncated SVD of them, and the adapter is valid only over those"
	case init == "loftq":
		return "init_lora_weights is loftq: training began from a base that LoftQ requantized to make room for the adapter, which is valid only over that base"
	case init == "pissa", strings.HasPrefix(init, "pissa_niter_"), init == "olora", init == "corda", init == "lora_ga":
		return fmt.Sprintf("init_lora_weights is %s: training subtracted the initial adapter from the base (W - s*B0*A0), and the adapter is valid only over that residual, unless it was converted when saved", c.InitLoraWeight)
	}
	return ""
}

// idlePatterns names keys of rank_pattern and alpha_pattern that match no
// module of the adapter.
func idlePatterns(a *loader.Adapter) []string {
	var out []string
	check := func(field string, patterns []loader.Pattern) {
		for _, p := range patterns {
			if !matchesAny(p, a.Modules) {
				out = append(out, fmt.Sprintf("%s has the key %q, which matches no module of the file", field, p.Key))
			}
		}
	}
	check("rank_pattern", a.Config.RankPattern)
	check("alpha_pattern", a.Config.AlphaPattern)
	const most = 5 // a config can have thousands
	if n := len(out); n > most {
		out = append(out[:most], fmt.Sprintf("and %d more keys of rank_pattern or alpha_pattern match no module", n-most))
	}
	return out
}

func matchesAny(p loader.Pattern, modules []*loader.Module) bool {
	for _, m := range modules {
		// A match that takes too long is an error when the adapter is opened.
		if ok, err := p.Match(weightName(m)); err != nil || ok {
			return true
		}
	}
	return false
}

// otherBase reports whether the base the adapter names is another than the
// model. Only the last part of the names is compared: directories differ between
// machines. The embedded demo has no path; its adapters name a directory it does
// not show.
func (p *Project) otherBase(base string) bool {
	last := func(s string) string {
		s, _, _ = strings.Cut(strings.TrimRight(strings.ReplaceAll(s, `\`, "/"), "/"), "@")
		return strings.ToLower(path.Base(s))
	}
	b := last(base)
	return base != "" && p.Model.Path != "" && b != last(p.Model.Name) && b != last(p.Model.Path)
}

// lintForms checks forms of LoRA that PEFT merges otherwise than it infers.
func lintForms(a *loader.Adapter, w widths) []Alert {
	if !w.quantized() || a.Config.BDLoRA == nil {
		return nil
	}
	return []Alert{finding(a, Warning, CodeUnsupported, "use_bdlora: PEFT ignores it on bitsandbytes layers and merges A and B as they are")}
}

func hasF32(a *loader.Adapter) bool {
	for _, m := range a.Modules {
		if m.A != nil && m.A.DType == "F32" {
			return true
		}
	}
	return false
}

// lintConverters says what tools that take the adapter itself leave out:
// llama.cpp's convert_lora_to_gguf.py reads lora_alpha only and stops at tensors
// that are no lora_A or lora_B; vLLM (lora/peft_helper.py) refuses some forms.
func lintConverters(a *loader.Adapter) []Alert {
	c := &a.Config
	var gguf, vllm []string
	if c.UseRSLoRA && c.R > 0 {
		gguf = append(gguf, fmt.Sprintf("ignores use_rslora: the adapter comes out %.3g times too weak", math.Sqrt(float64(c.R))))
	}
	if len(c.AlphaPattern) > 0 {
		gguf = append(gguf, "ignores alpha_pattern: those modules get the wrong scale")
	}
	if c.UseDoRA {
		gguf = append(gguf, "stops at DoRA's magnitude vectors")
		vllm = append(vllm, "DoRA")
	}
	if c.LoraBias || c.Bias != "none" && c.Bias != "" {
		gguf = append(gguf, "stops at bias tensors")
		vllm = append(vllm, "biases")
	}
	if len(c.ModulesToSave) > 0 {
		gguf = append(gguf, "stops at the tensors of modules_to_save")
		vllm = append(vllm, "modules_to_save")
	}
	var parts []string
	if len(gguf) > 0 {
		parts = append(parts, "llama.cpp's convert_lora_to_gguf.py "+strings.Join(gguf, ", "))
	}
	if len(vllm) > 0 {
		parts = append(parts, "vLLM refuses "+strings.Join(vllm, ", "))
	}
	if len(parts) == 0 {
		return nil
	}
	return []Alert{newAlert(Info, CodeConverterDrop, "", a.Name+": "+strings.Join(parts, "; ")).at(filePlace(a))}
}
