package merge

import (
	"fmt"
	"strings"

	"mergescope/loader"
	"mergescope/quant"
)

// LoRADtype says in which dtype PEFT holds an adapter and multiplies it.
type LoRADtype uint8

// LoRAFloat32 is PEFT's default: adapters are upcast when loaded
// (autocast_adapter_dtype). LoRALayer leaves them in the dtype of the layer,
// which is the compute dtype of a 4-bit layer, the weight's of a float layer and
// float32 over int8. LoRARounded is low_cpu_mem_usage=True: rounded to the
// layer's dtype first and upcast after that.
const (
	LoRAFloat32 LoRADtype = iota
	LoRALayer
	LoRARounded
)

// ParseLoRADtype reads the values of --lora-dtype: f32, file, compute.
func ParseLoRADtype(s string) (LoRADtype, error) {
	switch s {
	case "f32", "":
		return LoRAFloat32, nil
	case "file":
		return LoRALayer, nil
	case "compute":
		return LoRARounded, nil
	}
	return 0, fmt.Errorf("lora dtype %q: want f32, file or compute", s)
}

// Unmerge says whether a job takes adapters out again.
type Unmerge uint8

// Subtract takes the adapters off a model they were merged into. RoundTrip
// merges them and takes them off again, last first, and so shows what PEFT's
// unmerge does not give back.
const (
	NoUnmerge Unmerge = iota
	Subtract
	RoundTrip
)

// computeDtype is the dtype 4-bit layers of the model compute in, float32 if
// config.json does not say.
func computeDtype(model *loader.Checkpoint) quant.Format {
	name, _ := model.Config.Quantization["bnb_4bit_compute_dtype"].(string)
	if f, ok := quant.ParseFormat(strings.TrimPrefix(name, "torch.")); ok && f.IsFloat() {
		return f
	}
	return quant.F32
}

// layerDtype is the dtype in which PEFT creates an adapter on a weight.
func layerDtype(w *loader.Weight, compute quant.Format) quant.Format {
	switch {
	case w.Format.Is4Bit():
		return compute
	case w.Format.IsFloat():
		return w.Format
	}
	return quant.F32
}

// promote is torch's type promotion of two float dtypes.
func promote(a, b quant.Format) quant.Format {
	if a == b {
		return a
	}
	return quant.F32
}

// loadedAs says how PEFT holds a step's factors: the dtype their elements are
// rounded to on loading, and the dtype they are multiplied in.
func loadedAs(step *Step, w *loader.Weight, opt mergeOptions) (stored, kind quant.Format) {
	own := layerDtype(w, opt.compute)
	switch {
	case step.Adapter.Native:
		kind = quant.F32
		if m := step.Module; m.B != nil {
			kind = tensorFormats[m.B.DType]
		}
		return quant.F32, kind
	case opt.lora == LoRAFloat32:
		return quant.F32, quant.F32
	case opt.lora == LoRALayer:
		return own, own
	}
	return own, quant.F32
}
