package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
)

// Config describes a model's computation, as far as config.json and the
// defaults of its transformers class decide it.
type Config struct {
	Architecture string // "LlamaForCausalLM"

	Vocab, Hidden, Intermediate int
	Heads, KVHeads, HeadDim     int
	MaxPositions                int // max_position_embeddings

	Eps        float64 // of every RMSNorm
	UnitOffset bool    // RMSNorm multiplies by 1+w (Gemma)
	PostNorms  bool    // norms after attention and MLP as well (Gemma)
	QKNorm     bool    // RMSNorm over each head's queries and keys (Qwen3, Gemma 3)
	EmbedScale float32 // what embeddings are multiplied by, 1 unless Gemma

	Activation          Activation
	Tied                bool // the head is the embedding
	Fused               bool // qkv_proj and gate_up_proj (Phi-3)
	QKVBias, OutputBias bool // of q, k and v, and of o_proj
	MLPBias             bool

	AttentionScale   float32
	AttentionSoftcap float32 // 0: none
	LogitSoftcap     float32 // 0: none

	Layers []LayerConfig
}

// LayerConfig is what differs from layer to layer.
type LayerConfig struct {
	Window int   // tokens a query sees, itself included; 0: all before it
	Rope   *Rope // shared between layers of one kind
}

// Activation is the function of the gated MLP.
type Activation uint8

// SiLU gives SwiGLU, GELUTanh GeGLU with the tanh approximation.
const (
	SiLU Activation = iota
	GELUTanh
)

// maxSize bounds every dimension, so that products of two fit an int64.
const maxSize = 1 << 24

// rawConfig is config.json. Pointers tell absent fields, whose default is the
// class's; RawMessage also tells null.
type rawConfig struct {
	Architectures []string `json:"architectures"`
	ModelType     string   `json:"model_type"`

	Vocab        *int `json:"vocab_size"`
	Hidden       *int `json:"hidden_size"`
	Intermediate *int `json:"intermediate_size"`
	Layers       *int `json:"num_hidden_layers"`
	Heads        *int `json:"num_attention_heads"`
	KVHeads      *int `json:"num_key_value_heads"`
	HeadDim      *int `json:"head_dim"`
	MaxPositions *int `json:"max_position_embeddings"`
	OriginalMax  *int `json:"original_max_position_embeddings"`

	Eps              *float64 `json:"rms_norm_eps"`
	HiddenAct        *string  `json:"hidden_act"`
	HiddenActivation *string  `json:"hidden_activation"`
	Tied             *bool    `json:"tie_word_embeddings"`
	AttentionBias    bool     `json:"attention_bias"`
	MLPBias          bool     `json:"mlp_bias"`
	Bidirectional    *bool    `json:"use_bidirectional_attention"`

	PreAttnScalar *float64        `json:"query_pre_attn_scalar"`
	AttnSoftcap   json.RawMessage `json:"attn_logit_softcapping"`
	FinalSoftcap  json.RawMessage `json:"final_logit_softcapping"`

	SlidingWindow    json.RawMessage `json:"sliding_window"`
	UseSlidingWindow bool            `json:"use_sliding_window"`
	MaxWindowLayers  *int            `json:"max_window_layers"`
	WindowPattern    *int            `json:"sliding_window_pattern"`
	LayerTypes       []string        `json:"layer_types"`

	RopeTheta     *float64        `json:"rope_theta"`
	RopeLocal     *float64        `json:"rope_local_base_freq"`
	PartialRotary *float64        `json:"partial_rotary_factor"`
	RopeParams    json.RawMessage `json:"rope_parameters"` // transformers 5
	RopeScaling   json.RawMessage `json:"rope_scaling"`    // transformers 4
}

// ParseConfig reads config.json, as loader.Config.Raw holds it. An architecture
// or a feature that Forward does not compute is an error that names it.
func ParseConfig(text []byte) (*Config, error) {
	if len(text) == 0 {
		return nil, errors.New("config.json is missing: without it the model's computation is not known")
	}
	var raw rawConfig
	if err := json.Unmarshal(text, &raw); err != nil {
		return nil, fmt.Errorf("config.json: %w", err)
	}
	name := ""
	if len(raw.Architectures) > 0 {
		name = raw.Architectures[0]
	}
	arch, ok := architectures[name]
	if !ok {
		return nil, unsupported(name, raw.ModelType)
	}
	c := &Config{Architecture: name, EmbedScale: 1}
	if err := c.sizes(&raw, arch); err != nil {
		return nil, fmt.Errorf("config.json: %s: %w", name, err)
	}
	if err := c.features(&raw, arch); err != nil {
		return nil, fmt.Errorf("config.json: %s: %w", name, err)
	}
	if err := c.layers(&raw, arch); err != nil {
		return nil, fmt.Errorf("config.json: %s: %w", name, err)
	}
	return c, nil
}

func or[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}

// sizes reads dimensions. Those of real models are always written down, so an
// absent one is an error and not the class's default.
func (c *Config) sizes(raw *rawConfig, arch architecture) error {
	for _, f := range []struct {
		name string
		from *int
		to   *int
	}{
		{"vocab_size", raw.Vocab, &c.Vocab},
		{"hidden_size", raw.Hidden, &c.Hidden},
		{"intermediate_size", raw.Intermediate, &c.Intermediate},
		{"num_attention_heads", raw.Heads, &c.Heads},
		{"max_position_embeddings", raw.MaxPositions, &c.MaxPositions},
	} {
		if f.from == nil {
			return fmt.Errorf("field %q is missing", f.name)
		}
		if *f.from < 1 || *f.from > maxSize {
			return fmt.Errorf("field %q is %d, want 1 to %d", f.name, *f.from, maxSize)
		}
		*f.to = *f.from
	}
	c.KVHeads = or(raw.KVHeads, c.Heads)
	if c.KVHeads < 1 || c.Heads%c.KVHeads != 0 {
		return fmt.Errorf("%d key/value heads do not divide %d heads", c.KVHeads, c.Heads)
	}
	c.HeadDim = c.Hidden / c.Heads
	if arch.headDim > 0 {
		c.HeadDim = arch.headDim
	}
	c.HeadDim = or(raw.HeadDim, c.HeadDim)
	if c.HeadDim < 2 || c.HeadDim%2 != 0 || c.HeadDim > maxSize {
		return fmt.Errorf("head_dim is %d, want an even number from 2 to %d", c.HeadDim, maxSize)
	}
	return nil
}

// features reads what kind of computation it is.
func (c *Config) features(raw *rawConfig, arch architecture) (err error) {
	c.Eps = or(raw.Eps, arch.eps)
	c.Tied = or(raw.Tied, arch.gemma)
	c.QKNorm, c.Fused = arch.qkNorm, arch.fused
	c.QKVBias = arch.qkvBias || arch.attentionBias && raw.AttentionBias
	c.OutputBias = arch.attentionBias && raw.AttentionBias
	c.MLPBias = arch.mlpBias && raw.MLPBias
	if or(raw.Bidirectional, false) {
		return errors.New("use_bidirectional_attention is not supported: only causal attention is")
	}
	act := or(raw.HiddenAct, "silu")
	if arch.gemma {
		act = or(raw.HiddenActivation, "gelu_pytorch_tanh")
	}
	switch act {
	case "silu", "swish":
		c.Activation = SiLU
	case "gelu_pytorch_tanh", "gelu_new", "gelu_fast":
		c.Activation = GELUTanh
	default:
		return fmt.Errorf("activation %q is not supported: only silu and gelu_pytorch_tanh are", act)
	}
	scalar := float64(c.HeadDim)
	if arch.gemma {
		c.UnitOffset, c.PostNorms = true, true
		c.EmbedScale = float32(math.Sqrt(float64(c.Hidden)))
		scalar = or(raw.PreAttnScalar, 256)
	}
	if !(scalar > 0) || !(c.Eps >= 0) {
		return fmt.Errorf("query_pre_attn_scalar %v and rms_norm_eps %v must be positive", scalar, c.Eps)
	}
	c.AttentionScale = float32(1 / math.Sqrt(scalar))
	if arch.attentionSoftcap > 0 {
		if c.AttentionSoftcap, err = softcap(raw.AttnSoftcap, arch.attentionSoftcap); err != nil {
			return fmt.Errorf("field \"attn_logit_softcapping\": %w", err)
		}
	}
	if arch.gemma {
		if c.LogitSoftcap, err = softcap(raw.FinalSoftcap, arch.logitSoftcap); err != nil {
			return fmt.Errorf("field \"final_logit_softcapping\": %w", err)
		}
	}
	return nil
}

// softcap reads a cap; null turns it off.
func softcap(text json.RawMessage, otherwise float32) (float32, error) {
	if text == nil {
		return otherwise, nil
	}
	var v *float32
	if err := json.Unmarshal(text, &v); err != nil {
		return 0, err
	}
	if v != nil && !(*v > 0) {
		return 0, fmt.Errorf("%v is not positive", *v)
	}
	return or(v, 0), nil
}

// layers sets the window and the rotary embedding of each layer.
func (c *Config) layers(raw *rawConfig, arch architecture) error {
	n := or(raw.Layers, 0)
	if n < 1 || n > 1<<16 {
		return fmt.Errorf("num_hidden_layers is %d, want 1 to %d", n, 1<<16)
	}
	window, err := slidingWindow(raw, arch)
	if err != nil {
		return err
	}
	if arch.layerTypes && raw.LayerTypes != nil && len(raw.LayerTypes) != n {
		return fmt.Errorf("layer_types has %d entries for %d layers", len(raw.LayerTypes), n)
	}
	global, local, err := c.ropes(raw, arch)
	if err != nil {
		return err
	}
	for i := range n {
		sliding := arch.slides(raw, i)
		if arch.layerTypes && raw.LayerTypes != nil {
			t := raw.LayerTypes[i]
			if !slices.Contains([]string{fullAttention, slidingAttention}, t) {
				return fmt.Errorf("layer type %q is not supported: only full_attention and sliding_attention are", t)
			}
			sliding = t == slidingAttention
		}
		l := LayerConfig{Rope: global}
		if sliding {
			if l.Rope = local; arch.layerTypes && window == 0 {
				return fmt.Errorf("layer %d slides, but sliding_window is not set", i)
			}
			l.Window = window
		}
		c.Layers = append(c.Layers, l)
	}
	return nil
}

// slidingWindow returns the window of layers that slide, 0 for none.
func slidingWindow(raw *rawConfig, arch architecture) (int, error) {
	w := &arch.window
	if raw.SlidingWindow != nil {
		w = nil
		if err := json.Unmarshal(raw.SlidingWindow, &w); err != nil {
			return 0, fmt.Errorf("field \"sliding_window\": %w", err)
		}
		if w != nil && (*w < 1 || *w > 1<<30) {
			return 0, fmt.Errorf("field \"sliding_window\" is %d", *w)
		}
	}
	if arch.optInWindow && !raw.UseSlidingWindow {
		return 0, nil
	}
	return or(w, 0), nil
}
