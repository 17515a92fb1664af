package merge

import (
	"encoding/json"
	"fmt"

	"mergescope/loader"
	"mergescope/quant"
)

// quantizedConfig returns config.json of a float model of which weights were
// quantized: the input's with the quantization_config that transformers 5.23
// writes (utils/quantization_config.py, BitsAndBytesConfig). against is the
// quantized model whose compute dtype it keeps. Layers in kept stay floats.
func quantizedConfig(raw []byte, model, against *loader.Checkpoint, layers []Layer, kept map[string]bool, q Quantization) ([]byte, error) {
	var quantized []*loader.Weight
	floats, listed := []string{}, false
	for _, l := range layers {
		switch {
		case l.into != nil && !kept[l.Weight.Name]:
			quantized = append(quantized, l.Weight)
		case len(l.Weight.Shape) == 2:
			floats = append(floats, l.Weight.Name)
			// transformers leaves the output embedding alone by itself, and
			// everything that is no linear layer.
			listed = listed || isLinear(l.Weight)
		}
	}
	if len(quantized) == 0 {
		return raw, nil
	}
	var skip any
	if listed {
		list := defaultSkips(model, floats)
		if err := checkSkips(list, quantized); err != nil {
			return nil, err
		}
		skip = withFused(list)
	}
	compute := torchDtype(quantized[0].Format)
	if v, ok := against.Config.Quantization["bnb_4bit_compute_dtype"].(string); ok {
		compute = v
	}
	four := q.Format.Is4Bit()
	kind := "fp4" // what int8 models say, too
	if four {
		kind = q.Format.String()
	}
	value, err := json.Marshal(map[string]any{
		"_load_in_4bit":                    four,
		"_load_in_8bit":                    !four,
		"bnb_4bit_compute_dtype":           compute,
		"bnb_4bit_quant_storage":           "uint8",
		"bnb_4bit_quant_type":              kind,
		"bnb_4bit_use_double_quant":        q.Double,
		"llm_int8_enable_fp32_cpu_offload": false,
		"llm_int8_has_fp16_weight":         false,
		skipKey:                            skip,
		"llm_int8_threshold":               json.Number("6.0"),
		"load_in_4bit":                     four,
		"load_in_8bit":                     !four,
		"quant_method":                     "bitsandbytes",
	})
	if err != nil {
		return nil, err
	}
	text, err := jsonText(raw).set(value, quantizationKey)
	if err == nil && !json.Valid(text) {
		err = fmt.Errorf("%s cannot be added", quantizationKey)
	}
	return text, err
}

// torchDtype is torch's name of a float format.
func torchDtype(f quant.Format) string {
	return map[quant.Format]string{quant.F32: "float32", quant.F16: "float16", quant.BF16: "bfloat16"}[f]
}
