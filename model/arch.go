package model

import (
	"fmt"
	"slices"
	"strings"
)

// Layer types of transformers.
const (
	fullAttention    = "full_attention"
	slidingAttention = "sliding_attention"
)

// architecture holds what a class of transformers fixes, and its defaults
// (transformers/models/*/configuration_*.py and modeling_*.py of 5.23).
type architecture struct {
	headDim int     // default; 0: hidden/heads
	eps     float64 // default of rms_norm_eps

	gemma         bool // 1+w norms around both halves, scaled and tied embeddings, GeGLU
	qkNorm        bool
	fused         bool
	qkvBias       bool // q, k and v always have one
	attentionBias bool // attention_bias decides
	mlpBias       bool // mlp_bias decides

	attentionSoftcap float32 // default; 0: the class knows none
	logitSoftcap     float32 // default of Gemma classes

	window      int  // default of sliding_window; 0: null
	layerTypes  bool // layer_types decides which layers slide
	optInWindow bool // use_sliding_window must be set
	localBase   bool // sliding layers have a rotary embedding of their own
	longropeAs  bool // "su" and "yarn" mean longrope

	slides func(raw *rawConfig, layer int) bool // without layer_types
}

func always(*rawConfig, int) bool { return true }
func never(*rawConfig, int) bool  { return false }

// lateLayers is Qwen's rule: layers from max_window_layers on slide.
func lateLayers(raw *rawConfig, layer int) bool {
	return raw.UseSlidingWindow && string(raw.SlidingWindow) != "null" && layer >= or(raw.MaxWindowLayers, 28)
}

// everyOther is Gemma 2's rule.
func everyOther(_ *rawConfig, layer int) bool { return layer%2 == 0 }

// pattern is Gemma 3's rule: one layer in so many sees everything.
func pattern(raw *rawConfig, layer int) bool { return (layer+1)%max(or(raw.WindowPattern, 6), 1) != 0 }

// architectures are those Forward computes.
var architectures = map[string]architecture{
	"LlamaForCausalLM":   {eps: 1e-6, attentionBias: true, mlpBias: true, slides: never},
	"MistralForCausalLM": {eps: 1e-6, window: 4096, slides: always},
	"Qwen2ForCausalLM":   {eps: 1e-6, qkvBias: true, window: 4096, layerTypes: true, optInWindow: true, slides: lateLayers},
	"Qwen3ForCausalLM": {
		eps: 1e-6, headDim: 128, qkNorm: true, attentionBias: true,
		window: 4096, layerTypes: true, optInWindow: true, slides: lateLayers,
	},
	"Gemma2ForCausalLM": {
		eps: 1e-6, headDim: 256, gemma: true, attentionBias: true, attentionSoftcap: 50, logitSoftcap: 30,
		window: 4096, layerTypes: true, slides: everyOther,
	},
	"Gemma3ForCausalLM": {
		eps: 1e-6, headDim: 256, gemma: true, qkNorm: true, attentionBias: true,
		window: 4096, layerTypes: true, localBase: true, slides: pattern,
	},
	"Phi3ForCausalLM": {eps: 1e-5, fused: true, longropeAs: true, slides: always},
}

// Architectures lists what Forward computes, sorted.
func Architectures() []string {
	var names []string
	for n := range architectures {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// lacking says what common architectures need that is not here.
var lacking = []struct{ mark, what string }{
	{"Moe", "routed experts"},
	{"MoE", "routed experts"},
	{"Mixtral", "routed experts"},
	{"GptOss", "routed experts and attention sinks"},
	{"Deepseek", "latent attention and routed experts"},
	{"ConditionalGeneration", "inputs beside text"},
	{"GPT2", "learned positions and LayerNorm"},
	{"GPTNeoX", "parallel blocks and LayerNorm"},
	{"Falcon", "parallel blocks and LayerNorm"},
	{"Bloom", "ALiBi and LayerNorm"},
	{"Cohere", "parallel blocks and LayerNorm"},
	{"Mamba", "state-space layers"},
	{"Qwen3Next", "linear attention"},
	{"Olmo", "its norms"},
	{"Phi", "parallel blocks and LayerNorm"},
}

func unsupported(name, modelType string) error {
	known := strings.Join(Architectures(), ", ")
	if name == "" {
		return fmt.Errorf("config.json names no architecture (model_type %q); supported are %s", modelType, known)
	}
	for _, l := range lacking {
		if strings.Contains(name, l.mark) {
			return fmt.Errorf("architecture %s is not supported: it needs %s; supported are %s", name, l.what, known)
		}
	}
	return fmt.Errorf("architecture %s is not supported; supported are %s", name, known)
}
