package merge

import (
	"fmt"

	"mergescope/loader"
)

// tuner says what becomes of an adapter that is no LoRA when PEFT merges it into
// bitsandbytes layers: a reason, or "" where PEFT merges it. The sentences in
// quotes are PEFT's own.
type tuner struct {
	name         string
	bits4, bits8 string
}

// Reasons that several tuners share.
const (
	noDelta     = "it holds no change of weights, so there is nothing to merge"
	noMerge     = "PEFT's bitsandbytes layers have no merge for it (NotImplementedError)"
	packed4     = "PEFT adds a matrix to the packed 4-bit bytes, whose shape does not fit"
	packed8     = "PEFT adds a float matrix in place to int8 codes, which torch refuses"
	cast8       = "PEFT casts the delta to int8, where it is 0: the merge does nothing and says nothing"
	notReset    = "PEFT stores the float result as if it were quantized: the merged weights are garbage"
	oftBroken   = "PEFT overwrites the rotated weight with the transposed base: the merge is wrong"
	truncated8  = "PEFT multiplies int8 codes and truncates them: the merge is wrong"
	ia3Refused  = `PEFT: "Cannot merge ia3 layers when the model is loaded in %d-bit mode"`
	lilyRefused = `PEFT: "This method is not supported for Lily."`
)

// tuners lists PEFT's tuners by peft_type (src/peft/tuners, each bnb.py).
var tuners = map[string]tuner{
	"ADALORA":   {"AdaLoRA", noMerge, noMerge},
	"IA3":       {"IA3", fmt.Sprintf(ia3Refused, 4), fmt.Sprintf(ia3Refused, 8)},
	"HIRA":      {"HiRA", "", ""},
	"RANDLORA":  {"RandLoRA", notReset, ""},
	"PVERA":     {"PVeRA", notReset, ""},
	"OFT":       {"OFT", oftBroken, oftBroken},
	"ROAD":      {"RoAd", "", ""},
	"VERA":      {"VeRA", "", ""},
	"BOFT":      {"BOFT", "", ""},
	"MISS":      {"MiSS", "", ""},
	"SHIRA":     {"SHiRA", "", ""},
	"LOHA":      {"LoHa", packed4, packed8},
	"LOKR":      {"LoKr", packed4, packed8},
	"FOURIERFT": {"FourierFT", packed4, packed8},
	"VBLORA":    {"VB-LoRA", packed4, packed8},
	"GRALORA":   {"GraLoRA", packed4, packed8},
	"WAVEFT":    {"WaveFT", packed4, packed8},
	"TINYLORA":  {"TinyLoRA", packed4, packed8},
	"UNILORA":   {"UniLoRA", packed4, packed8},
	"FROD":      {"FRoD", packed4, packed8},
	"ADAMSS":    {"AdaMSS", packed4, packed8},
	"C3A":       {"C3A", packed4, "PEFT casts the delta to int8 and divides the codes by in_features: the merge is wrong"},
	"DELORA":    {"DeLoRA", packed4, cast8},
	"PSOFT":     {"PSOFT", packed4, cast8},
	"HRA":       {"HRA", packed4, truncated8},
	"LILY":      {"Lily", lilyRefused, lilyRefused},
	"XLORA":     {"X-LoRA", "it mixes adapters by input, which no single weight can do", "it mixes adapters by input, which no single weight can do"},
	"LN_TUNING": {"LN tuning", "it trains norms, not matrices", "it trains norms, not matrices"},
	"OSF":       {"OSF", noMerge, noMerge},
	"POLY":      {"Poly", "it mixes adapters by task", "it mixes adapters by task"},

	"PROMPT_TUNING":           {"prompt tuning", noDelta, noDelta},
	"MULTITASK_PROMPT_TUNING": {"multitask prompt tuning", noDelta, noDelta},
	"P_TUNING":                {"p-tuning", noDelta, noDelta},
	"PREFIX_TUNING":           {"prefix tuning", noDelta, noDelta},
	"ADAPTION_PROMPT":         {"adaption prompt", noDelta, noDelta},
	"CPT":                     {"CPT", noDelta, noDelta},
	"CARTRIDGE":               {"Cartridge", noDelta, noDelta},
}

// refusal says why nothing of an adapter is merged: PEFT refuses it, merges it
// wrongly, or this program does not know its kind. reason is "" for adapters
// that are merged.
func refusal(a *loader.Adapter, w widths) (code Code, reason string) {
	c := &a.Config
	switch {
	case c.PeftType != "LORA":
		return otherTuner(c.PeftType, w)
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
func otherTuner(kind string, w widths) (Code, string) {
	t, known := tuners[kind]
	reason := ""
	switch {
	case !known:
		return CodeUnsupported, fmt.Sprintf("peft_type %q is not known", kind)
	case w.bits4:
		reason = t.bits4
	case w.bits8:
		reason = t.bits8
	case t.bits4 == noDelta:
		reason = noDelta
	}
	if reason == "" {
		return CodeUnsupported, fmt.Sprintf("this is %s, which PEFT can merge into these layers and this program cannot", t.name)
	}
	return CodeUnmergeable, fmt.Sprintf("this is %s: %s", t.name, reason)
}
