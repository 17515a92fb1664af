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

// lintTuner says why an adapter of another kind is not merged.
func lintTuner(a *loader.Adapter, w widths) Alert {
	kind := a.Config.PeftType
	t, known := tuners[kind]
	reason := ""
	switch {
	case !known:
		return newAlert(Error, CodeUnsupported, "", fmt.Sprintf("%s: peft_type %q is not known, nothing of it is merged", a.Name, kind)).at(filePlace(a))
	case w.bits4:
		reason = t.bits4
	case w.bits8:
		reason = t.bits8
	case t.bits4 == noDelta:
		reason = noDelta
	}
	if reason == "" {
		return newAlert(Error, CodeUnsupported, "", fmt.Sprintf("%s: a %s adapter, which PEFT can merge into these layers and this program cannot: nothing of it is merged", a.Name, t.name)).at(filePlace(a))
	}
	return newAlert(Error, CodeUnmergeable, "", fmt.Sprintf("%s: a %s adapter: %s. Nothing of it is merged", a.Name, t.name, reason)).at(filePlace(a))
}
