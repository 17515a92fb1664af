package model

import (
	"encoding/json"
	"fmt"
	"math"
)

// Rope is a rotary position embedding: which form, and its parameters as in
// rope_parameters (transformers/modeling_rope_utils.py).
type Rope struct {
	Type        string // default, linear, dynamic, llama3, yarn or longrope
	Theta       float64
	Dim         int // rotated features of a head, the first ones
	Factor      float64
	OriginalMax int // original_max_position_embeddings; of dynamic max_position_embeddings

	LowFreq, HighFreq  float64 // llama3
	BetaFast, BetaSlow float64 // yarn
	Truncate           bool    // yarn
	Short, Long        []float64
	AttentionFactor    float64 // yarn and longrope: cos and sin are multiplied by it
	maxPositions       int
}

// rawRope is one object of rope_parameters or rope_scaling.
type rawRope struct {
	RopeType  *string   `json:"rope_type"`
	Type      *string   `json:"type"`
	Theta     *float64  `json:"rope_theta"`
	Partial   *float64  `json:"partial_rotary_factor"`
	Factor    *float64  `json:"factor"`
	Original  *int      `json:"original_max_position_embeddings"`
	Attention *float64  `json:"attention_factor"`
	BetaFast  *float64  `json:"beta_fast"`
	BetaSlow  *float64  `json:"beta_slow"`
	MScale    *float64  `json:"mscale"`
	MScaleAll *float64  `json:"mscale_all_dim"`
	Truncate  *bool     `json:"truncate"`
	Low       *float64  `json:"low_freq_factor"`
	High      *float64  `json:"high_freq_factor"`
	Short     []float64 `json:"short_factor"`
	Long      []float64 `json:"long_factor"`
}

// ropes reads the embedding of full layers and of sliding ones, which are the
// same unless the architecture has a local base.
func (c *Config) ropes(raw *rawConfig, arch architecture) (global, local *Rope, err error) {
	var flat rawRope
	var nested map[string]json.RawMessage
	for _, f := range []struct {
		name string
		text json.RawMessage
	}{{"rope_scaling", raw.RopeScaling}, {"rope_parameters", raw.RopeParams}} {
		if f.text == nil || string(f.text) == "null" || string(f.text) == "{}" {
			continue
		}
		if err := json.Unmarshal(f.text, &nested); err != nil {
			return nil, nil, fmt.Errorf("field %q: %w", f.name, err)
		}
		if err := json.Unmarshal(f.text, &flat); err != nil {
			return nil, nil, fmt.Errorf("field %q: %w", f.name, err)
		}
		break // rope_scaling counts first
	}
	full, sliding := flat, flat
	for name, to := range map[string]*rawRope{fullAttention: &full, slidingAttention: &sliding} {
		if text, ok := nested[name]; ok {
			*to = rawRope{}
			if err := json.Unmarshal(text, to); err != nil {
				return nil, nil, fmt.Errorf("field \"rope_parameters\": %s: %w", name, err)
			}
		}
	}
	theta := 10000.0
	if arch.localBase {
		theta = 1e6
	}
	if global, err = c.rope(raw, arch, full, or(raw.RopeTheta, theta)); err != nil {
		return nil, nil, err
	}
	_, own := nested[slidingAttention]
	switch {
	case own && !arch.localBase:
		local, err = c.rope(raw, arch, sliding, or(raw.RopeTheta, 10000))
	case own:
		local, err = c.rope(raw, arch, sliding, or(raw.RopeLocal, 10000))
	case arch.localBase: // rope_scaling concerns full layers only
		local, err = c.rope(raw, arch, rawRope{}, or(raw.RopeLocal, 10000))
	default:
		local = global
	}
	return global, local, err
}

func (c *Config) rope(raw *rawConfig, arch architecture, p rawRope, theta float64) (*Rope, error) {
	r := &Rope{
		Type: or(p.RopeType, or(p.Type, "default")), Theta: or(p.Theta, theta), Factor: or(p.Factor, 0), Truncate: or(p.Truncate, true),
		LowFreq: or(p.Low, 0), HighFreq: or(p.High, 0), BetaFast: or(p.BetaFast, 32), BetaSlow: or(p.BetaSlow, 1),
		Short: p.Short, Long: p.Long, AttentionFactor: 1, maxPositions: c.MaxPositions,
	}
	partial := or(p.Partial, or(raw.PartialRotary, 1))
	if !(partial > 0) || partial > 1 || !(r.Theta > 0) {
		return nil, fmt.Errorf("partial_rotary_factor %v or rope_theta %v is out of range", partial, r.Theta)
	}
	r.Dim = int(float64(c.HeadDim) * partial)
	if arch.longropeAs && (r.Type == "su" || r.Type == "yarn") {
		r.Type = "longrope"
	}
	r.OriginalMax = or(p.Original, c.MaxPositions)
	if raw.OriginalMax != nil {
		r.OriginalMax = *raw.OriginalMax
	}
	if r.Dim < 2 || r.Dim%2 != 0 || r.OriginalMax < 1 {
		return nil, fmt.Errorf("rope: %d rotated features, %d original positions", r.Dim, r.OriginalMax)
	}
	if r.Type != "default" && r.Type != "longrope" && !(r.Factor > 0) {
		if r.Type != "yarn" {
			return nil, fmt.Errorf("rope type %q needs a positive factor", r.Type)
		}
	}
	switch r.Type {
	case "default", "linear":
	case "dynamic":
		if r.Dim < 4 {
			return nil, fmt.Errorf("rope type dynamic needs more than %d rotated features", r.Dim)
		}
	case "llama3":
		if !(r.LowFreq > 0) || !(r.HighFreq > r.LowFreq) {
			return nil, fmt.Errorf("rope type llama3: low_freq_factor %v, high_freq_factor %v", r.LowFreq, r.HighFreq)
		}
	case "yarn":
		r.yarn(p)
	case "longrope":
		if len(r.Short) != r.Dim/2 || len(r.Long) != r.Dim/2 {
			return nil, fmt.Errorf("rope type longrope: %d short and %d long factors for %d pairs", len(r.Short), len(r.Long), r.Dim/2)
		}
		r.longrope(p)
	default:
		return nil, fmt.Errorf("rope type %q is not supported", r.Type)
	}
	return r, nil
}

// yarn fills in what follows from the other parameters.
func (r *Rope) yarn(p rawRope) {
	if r.Factor == 0 {
		r.Factor = float64(r.maxPositions) / float64(r.OriginalMax)
	}
	mscale := func(m float64) float64 {
		if r.Factor <= 1 {
			return 1
		}
		return float64(0.1*m*math.Log(r.Factor)) + 1
	}
	switch m, all := or(p.MScale, 0), or(p.MScaleAll, 0); {
	case p.Attention != nil:
		r.AttentionFactor = *p.Attention
	case m != 0 && all != 0:
		r.AttentionFactor = mscale(m) / mscale(all)
	default:
		r.AttentionFactor = mscale(1)
	}
}

func (r *Rope) longrope(p rawRope) {
	if r.Factor == 0 {
		r.Factor = float64(r.maxPositions) / float64(r.OriginalMax)
	}
	switch {
	case p.Attention != nil:
		r.AttentionFactor = *p.Attention
	case r.Factor > 1:
		r.AttentionFactor = math.Sqrt(1 + math.Log(r.Factor)/math.Log(float64(r.OriginalMax)))
	}
}

// frequencies returns the inverse frequencies [Dim/2] for a sequence of length
// n, rounded where torch rounds to float32.
func (r *Rope) frequencies(n int) []float32 {
	base := r.Theta
	if r.Type == "dynamic" && n > r.maxPositions {
		stretch := r.Factor*float64(n)/float64(r.maxPositions) - (r.Factor - 1)
		base *= math.Pow(stretch, float64(r.Dim)/float64(r.Dim-2))
	}
	freq := make([]float32, r.Dim/2)
	for i := range freq {
		power := float32(math.Pow(base, float64(float32(2*i)/float32(r.Dim))))
		switch r.Type {
		case "linear":
			freq[i] = 1 / power / float32(r.Factor)
		case "llama3":
			freq[i] = r.llama3(1 / power)
		case "yarn":
			freq[i] = r.blend(i, power)
		case "longrope":
			f := r.Short[i]
			if n > r.OriginalMax {
				f = r.Long[i]
			}
			freq[i] = 1 / float32(float32(f)*power)
		default:
			freq[i] = 1 / power
		}
	}
	return freq
}

// llama3 slows low frequencies down by Factor and the middle ones by less.
func (r *Rope) llama3(freq float32) float32 {
	old, f := float64(r.OriginalMax), float64(freq)
	length := 2 * math.Pi / f
	switch {
	case length < old/r.HighFreq:
		return freq
	case length > old/r.LowFreq:
		return float32(f / r.Factor)
	}
	smooth := (old/length - r.LowFreq) / (r.HighFreq - r.LowFreq)
	return float32((1-smooth)*f/r.Factor + float64(smooth*f))
}

// blend is yarn's mean of the stretched and the plain frequency of pair i.
func (r *Rope) blend(i int, power float32) float32 {
	dim := func(rotations float64) float64 {
		return float64(r.Dim) * math.Log(float64(r.OriginalMax)/(rotations*2*math.Pi)) / (2 * math.Log(r.Theta))
	}
	low, high := dim(r.BetaFast), dim(r.BetaSlow)
	if r.Truncate {
		low, high = math.Floor(low), math.Ceil(high)
	}
	low, high = max(low, 0), min(high, float64(r.Dim-1))
	if low == high {
		high += 0.001
	}
	stretched := min(max((float64(i)-low)/(high-low), 0), 1)
	return float32(stretched/float64(r.Factor*float64(power)) + (1-stretched)/float64(power))
}

// regime tells lengths of sequences apart that have different frequencies.
func (r *Rope) regime(n int) int {
	switch {
	case r.Type == "dynamic" && n > r.maxPositions:
		return n
	case r.Type == "longrope" && n > r.OriginalMax:
		return 1
	}
	return 0
}

// rotations are the cosines and sines [positions, Dim/2] of a sequence.
type rotations struct {
	half     int
	cos, sin []float32
}

func (t *rotations) positions() int { return len(t.cos) / t.half }

// table returns the rotations of positions [0, n) in a sequence of some length.
func (r *Rope) table(length, n int) *rotations {
	freq := r.frequencies(length)
	t := &rotations{half: len(freq), cos: make([]float32, n*len(freq)), sin: make([]float32, n*len(freq))}
	scale := float32(r.AttentionFactor)
	for pos := range n {
		for i, f := range freq {
			sin, cos := math.Sincos(float64(float32(pos) * f))
			t.cos[pos*t.half+i], t.sin[pos*t.half+i] = float32(cos)*scale, float32(sin)*scale
		}
	}
	return t
}

// rotate turns the head x at position pos: feature j and j+half form a pair.
func (t *rotations) rotate(x []float32, pos int) {
	cos, sin := t.cos[pos*t.half:(pos+1)*t.half], t.sin[pos*t.half:(pos+1)*t.half]
	a, b := x[:t.half], x[t.half:2*t.half]
	for i, c := range cos {
		s, u, v := sin[i], a[i], b[i]
		a[i] = float32(u*c) - float32(v*s)
		b[i] = float32(v*c) + float32(u*s)
	}
}
