package merge

import (
	"fmt"
	"slices"

	"mergescope/loader"
)

// tuner says what becomes of an adapter that is no LoRA when PEFT 0.21.2 merges
// it into bitsandbytes layers: a reason, or "" where PEFT merges it. The
// sentences in quotes are PEFT's or torch's own.
type tuner struct {
	name         string
	bits4, bits8 string
}

// Reasons that several tuners share.
const (
	noDelta       = "it holds no change of weights, so there is nothing to merge"
	noMerge       = "PEFT's bitsandbytes layers have no merge for it (NotImplementedError)"
	packed4       = "PEFT adds a matrix to the packed 4-bit bytes, whose shape or type does not fit (or fits, where bnb_4bit_quant_storage is a float type, and corrupts them)"
	packed8       = `PEFT adds a float matrix in place to int8 codes: "result type Float can't be cast to the desired output type Char"`
	notReset      = "PEFT stores the float result as if it were quantized: the merged weights are garbage"
	noGradients   = `PEFT cannot create it on packed weights: "Only Tensors of floating point and complex dtype can require gradients"`
	noFactors     = `PEFT multiplies its factors in the wrong order on bitsandbytes layers: layers that are not square fail ("mat1 and mat2 shapes cannot be multiplied"), square ones get a wrong delta`
	truncated8    = "PEFT multiplies int8 codes and truncates them: the merge is wrong"
	cast8         = "PEFT takes the int8 codes for weights, and casts the delta it finds from them to int8: the merge is wrong"
	intoBytes     = "PEFT adds its values, cut to whole numbers, to the codes of bitsandbytes layers: the merge does nothing or is wrong"
	shadowRefused = `PEFT: "ShadowPEFT cannot be merged into the base model"`
	noNorm        = `PEFT cannot create it on packed weights: "linalg.vector_norm: Expected a floating point or complex tensor as input."`
	psoftInit     = `PEFT: "PSOFT init requires float32/float16/bfloat16. Re-quantize after init if needed."`
	ia3Refused    = `PEFT: "Cannot merge ia3 layers when the model is loaded in %d-bit mode"`
	lilyRefused   = `PEFT: "This method is not supported for Lily."`
	gloraPlain    = `PEFT: "is not a plain torch.nn.Linear (after unwrapping); GLoRA does not support this layer type."`
	byInput       = "it mixes adapters by input, which no single weight can do"
	byTask        = "it mixes adapters by task"
	onlyNorms     = "it trains norms, not matrices"
	onlyBiases    = "it trains biases, not matrices"
	onlyTokens    = "it trains rows of an embedding, not quantized layers"
)

// tuners lists PEFT's tuners by peft_type (peft/utils/peft_types.py). What PEFT
// does with each was tried on a small model of each width.
var tuners = map[string]tuner{
	"HIRA":        {"HiRA", "", ""},
	"VERA":        {"VeRA", "", ""},
	"OFT":         {"OFT", "", ""},
	"BOFT":        {"BOFT", "", ""},
	"ROAD":        {"RoAd", "", ""},
	"MISS":        {"MiSS", "", ""},
	"SHIRA":       {"SHiRA", "", ""},
	"PVERA":       {"PVeRA", notReset, ""},
	"RANDLORA":    {"RandLoRA", noFactors, noFactors},
	"ADALORA":     {"AdaLoRA", noMerge, noMerge},
	"IA3":         {"IA3", fmt.Sprintf(ia3Refused, 4), fmt.Sprintf(ia3Refused, 8)},
	"LOHA":        {"LoHa", packed4, packed8},
	"LOKR":        {"LoKr", packed4, packed8},
	"FOURIERFT":   {"FourierFT", packed4, packed8},
	"VBLORA":      {"VB-LoRA", packed4, packed8},
	"GRALORA":     {"GraLoRA", packed4, packed8},
	"WAVEFT":      {"WaveFT", packed4, packed8},
	"UNILORA":     {"UniLoRA", packed4, packed8},
	"TINYLORA":    {"TinyLoRA", noGradients, noGradients},
	"FROD":        {"FRoD", noGradients, noGradients},
	"OSF":         {"OSF", noGradients, noGradients},
	"ADAMSS":      {"AdaMSS", packed4, packed8},
	"SUPERTUNING": {"SuperTuning", intoBytes, intoBytes},
	"C3A":         {"C3A", packed4, "PEFT casts the delta to int8 and divides the codes by in_features: the merge is wrong"},
	"DELORA":      {"DeLoRA", noNorm, noNorm},
	"PSOFT":       {"PSOFT", psoftInit, psoftInit},
	"HRA":         {"HRA", packed4, truncated8},
	"DEFT":        {"DEFT", packed4, cast8},
	"PEANUT":      {"PEANUT", packed4, "PEFT multiplies and truncates int8 codes: the merge is wrong"},
	"GLORA":       {"GLoRA", gloraPlain, gloraPlain},
	"LILY":        {"Lily", lilyRefused, lilyRefused},

	"BEFT":             {"BEFT", onlyBiases, onlyBiases},
	"LN_TUNING":        {"LN tuning", onlyNorms, onlyNorms},
	"TRAINABLE_TOKENS": {"trainable tokens", onlyTokens, onlyTokens},
	"SHADOW":           {"ShadowPEFT", shadowRefused, shadowRefused},
	"XLORA":            {"X-LoRA", byInput, byInput},
	"POLY":             {"Poly", byTask, byTask},

	"PROMPT_TUNING":           {"prompt tuning", noDelta, noDelta},
	"MULTITASK_PROMPT_TUNING": {"multitask prompt tuning", noDelta, noDelta},
	"P_TUNING":                {"p-tuning", noDelta, noDelta},
	"PREFIX_TUNING":           {"prefix tuning", noDelta, noDelta},
	"ADAPTION_PROMPT":         {"adaption prompt", noDelta, noDelta},
	"CPT":                     {"CPT", noDelta, noDelta},
	"CARTRIDGE":               {"Cartridge", noDelta, noDelta},
}

// unported says why this program does not merge a tuner that PEFT merges into
// float layers.
var unported = map[string]string{
	"UNILORA":  "its indices are drawn at random and are not in the file unless save_indices was set",
	"TINYLORA": "the file does not say which module has which of the shared vectors",
	"FROD":     "PEFT finds part of it anew from a joint decomposition of the model's weights",
	"PSOFT":    "PEFT finds part of it anew from a singular value decomposition of the weight, whose signs are LAPACK's",
	"OSF":      "PEFT finds part of it anew from a singular value decomposition of the weight, whose signs are LAPACK's",
	"ADAMSS":   "PEFT finds part of it anew by clustering singular vectors of the weight at random (scikit-learn)",
	"GLORA":    "its five parts, each in one of several forms, have not been checked against PEFT",
}

// reason is why PEFT's merge into layers of a width cannot be used, "" if it can.
func (t tuner) reason(bits4, bits8 bool) string {
	switch {
	case bits4:
		return t.bits4
	case bits8:
		return t.bits8
	case slices.Contains([]string{noDelta, lilyRefused, shadowRefused, byInput, byTask, onlyNorms, onlyBiases, onlyTokens}, t.bits4):
		return t.bits4
	}
	return ""
}

// refusal says why nothing of an adapter is merged: PEFT refuses it, merges it
// wrongly and that is not to be reproduced, or this program does not know its
// kind. reason is "" for adapters that are merged.
func refusal(a *loader.Adapter, w widths, reproduce bool) (code Code, reason string) {
	c := &a.Config
	switch {
	case c.PeftType != "LORA":
		code, reason = otherTuner(c.PeftType, w, reproduce)
		if reason == "" && len(a.Modules) == 0 {
			return CodeUnsupported, fmt.Sprintf("this is %s, but the file has none of its tensors", tuners[c.PeftType].name)
		}
		if reason == "" && !c.Tuner.Saved && !a.HasProjections() {
			return CodeUnmergeable, "save_projection is false: the shared projections are not in the file. PEFT draws them again from projection_prng_key, " +
				`which it says "may not be accurate on all system configurations"; save the adapter with save_projection=True`
		}
		return code, reason
	case len(c.ALoRATokens) > 0:
		reason = `alora_invocation_tokens: the adapter is active only after its invocation tokens. PEFT: "aLoRA does not support safe merging."`
	case c.Arrow != nil:
		reason = `arrow_config: a router chooses adapters by input. PEFT: "Cannot merge an active Arrow router adapter. Remove it first."`
	case c.VeLoRA != nil && w.quantized():
		reason = `velora_config: PEFT refuses it on bitsandbytes layers: "does not support VeLoRA."`
	case c.UseQALoRA:
		reason = "use_qalora: QALoRA works on GPTQ layers only, and PEFT cannot merge it"
	case len(c.LayerReplication) > 0:
		reason = "layer_replication: several layers share one set of weights, and merging into one changes all of them"
	}
	return CodeUnmergeable, reason
}

// otherTuner is refusal for adapters that are no LoRA.
func otherTuner(kind string, w widths, reproduce bool) (Code, string) {
	t, known := tuners[kind]
	if !known {
		return CodeUnsupported, fmt.Sprintf("peft_type %q is not known", kind)
	}
	if reproduce {
		w.bits4, w.bits8 = w.bits4 && !wrongly[kind].bits4, w.bits8 && !wrongly[kind].bits8
	}
	reason := t.reason(w.bits4, false)
	if reason == "" {
		reason = t.reason(false, w.bits8)
	}
	switch _, mergeable := tunerUpdates[kind]; {
	case reason != "":
		return CodeUnmergeable, fmt.Sprintf("this is %s: %s", t.name, reason)
	case !mergeable:
		return CodeUnsupported, fmt.Sprintf("this is %s, which PEFT can merge into these layers and this program cannot: %s", t.name, unported[kind])
	}
	return "", ""
}
