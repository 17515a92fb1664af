package merge

import (
	"maps"
	"slices"
)

// PEFT's own sentences (peft/tuners/lora/bnb.py).
const (
	peftRounding4 = "Merge lora module to 4-bit linear may get different generations due to rounding errors."
	peftRounding8 = "Merge lora module to 8-bit linear may get different generations due to rounding errors."
)

// PeftBroken is what PEFT says of non-finite merged weights under safe_merge.
func PeftBroken(adapter string) string {
	return "NaNs detected in the merged weights. The adapter " + adapter + " seems to be broken"
}

// Remedies, the words of which hints are made.
const (
	adviseSeparate   = "keep the adapter separate (load the base, then model.set_adapter)"
	adviseFloat      = "write those layers in bf16 (output bf16)"
	adviseOriginal   = "merge onto the original 16-bit weights"
	adviseCalibrated = "requantize with calibration"
	adviseVerify     = "verify on a validation set before export"
	adviseTrain      = "train against the full-precision base"
)

// hints says for each code what to do about it. Every code has one.
var hints = map[Code]string{
	CodeNonFinite:     "the adapter file is damaged or training diverged: take an earlier checkpoint; until then leave the adapter off these layers",
	CodeErased:        adviseSeparate + ", or " + adviseFloat + ", or " + adviseOriginal + ", or " + adviseCalibrated,
	CodeWeak:          adviseFloat + ", or " + adviseSeparate + ", or " + adviseOriginal + ", or " + adviseCalibrated,
	CodeNoisy:         adviseVerify + "; " + adviseFloat + " if it matters",
	CodeRounding4:     "for inference " + adviseSeparate + "; " + adviseVerify + "; 4-bit loses more than 8-bit; for production " + adviseTrain,
	CodeRounding8:     "for inference " + adviseSeparate + "; " + adviseVerify + "; for production " + adviseTrain,
	CodeAbsmaxGrowth:  "every other weight of such a block gets coarser steps: " + adviseVerify + ", or " + adviseFloat,
	CodeUnmatched:     "check that the adapter belongs to this model and that module names agree; nothing is merged for these tensors",
	CodeShape:         "check that the adapter belongs to this model: PEFT refuses to load it",
	CodeMissingAlpha:  "put the lora_alpha of training into adapter_config.json: alpha cannot be read from the tensors",
	CodeConflict:      "restore the adapter_config.json that was saved with the tensors",
	CodeMutatedBase:   "merge into the base that training started from (saved beside the adapter), or convert the adapter with path_initial_model_for_weight_conversion",
	CodeUnmergeable:   adviseSeparate,
	CodeReplaced:      "these tensors replace tensors of the base: a tool that merges only A and B gives a different model; " + adviseVerify,
	CodeTied:          "untie the embeddings first or leave the adapter off the tied weight; " + adviseVerify,
	CodeRagged:        "serve such layers on a GPU, or write them in bf16 (output bf16), or use a blocksize that divides in_features",
	CodeNegAbsmax:     "quantize again without double quantization, or " + adviseFloat,
	CodeCPUMinusOne:   "quantize the base again with bitsandbytes 0.50 or later, or on a GPU",
	CodeConverterDrop: "merge first and convert the merged checkpoint, not the adapter",
	CodeUnsupported:   adviseSeparate + "; these layers are copied unchanged",
	CodeOtherBase:     "another copy of the same weights is fine; else merge into the base the adapter was trained on",
	CodeCalibration:   "a model whose architecture is known can be run; --calibration FILE gives it a text, plan rules give layers another method",
	CodeFusedSplit:    "write q_proj, k_proj and v_proj, or gate_proj and up_proj, in the same form if vLLM is to load the checkpoint",
	CodeMixedDtypes:   "write those layers in the model's own dtype, or all layers as floats",
	CodeOtherOriginal: "name the checkpoint that this model was quantized from: the adapter was trained on its weights",
	CodeUnknownField:  "compare with the PEFT version that wrote it; " + adviseVerify,
	CodeLoraBias:      adviseFloat + ", where the bias is scaled, or " + adviseSeparate + ", or train without lora_bias; --unsafe merges it as PEFT does without safe_merge",
	CodeLowMem:        "load the adapter without low_cpu_mem_usage to get the weights merged here",
	CodeUnknownTokens: "give a text in the model's language and encoding, or tokens with --tokens",
	CodeLongWindow:    "choose a shorter --window or --length, or a model that takes it",
	CodeDiverges:      adviseSeparate + ", or " + adviseFloat + " for the layers that matter most (plan --keep-above --by kl)",
	CodeDefect:        "merge without reproduce-defects, which refuses these layers; " + adviseSeparate + ", or " + adviseOriginal,
	CodeDisk:          "choose another output directory or free some space",
}

// HintFor returns the remedy for a code.
func HintFor(c Code) string { return hints[c] }

// Codes lists all codes by name.
func Codes() []Code { return slices.Sorted(maps.Keys(hints)) }

// newAlert fills in what every alert has.
func newAlert(level Level, code Code, layer, message string) Alert {
	return Alert{Level: level, Code: code, Layer: layer, Place: Nowhere(), Message: message, Hint: hints[code], Count: 1}
}

// at returns the alert pointing at a place.
func (a Alert) at(p Place) Alert {
	a.Place = p
	return a
}

// Situation is a moment at which the community's guidance matters.
type Situation string

// Situations, in the order in which a user meets them.
const (
	Inference  Situation = "inference"
	Export     Situation = "export"
	Production Situation = "production"
	Always     Situation = "always"
)

// Advice is a sentence of guidance for screens and reports.
type Advice struct {
	When Situation
	Text string
}

// Guidance returns what PEFT's documentation and maintainers advise about
// merging into quantized weights.
func Guidance() []Advice {
	return []Advice{
		{Inference, "for inference keep adapters separate: model.set_adapter loses nothing and switches at once"},
		{Export, "before export verify the merged model on a validation set"},
		{Production, "for production merge onto, or train against, the full-precision base"},
		{Always, "merging into 4-bit loses more than into 8-bit"},
		{Always, "longer sequences accumulate more: each token that differs changes what follows"},
		{Always, "architectures differ: figures of one model do not carry over to another"},
		{Always, "safe_merge catches NaN, not rounding"},
		{Always, "a merged model is simpler to deploy: one checkpoint, no PEFT at run time"},
	}
}
