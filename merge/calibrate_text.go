package merge

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"

	"mergescope/loader"
	"mergescope/model"
)

// Calibration says over which text the inputs of layers are observed, for
// layers whose method is calibrated.
type Calibration struct {
	Texts []EvalText // none: the model writes it itself, with its adapters
}

// digest identifies the text, "" if there is none.
func (c Calibration) digest() string {
	if len(c.Texts) == 0 {
		return ""
	}
	h := sha256.New()
	for _, t := range c.Texts {
		for _, ids := range t.Pieces {
			fmt.Fprintln(h, t.BOS, ids)
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Sequences that are observed, and written.
const (
	observedLength = 512 // of a given text
	composedLength = 512
)

// baseSeeds is how far the seeds of what the base writes are from those of what it
// writes with its adapters.
const baseSeeds = 1 << 32

// sequences returns what the model runs over: those that the base writes alone,
// then a given text, or what it writes with its adapters.
func (c *calibration) sequences(reference model.Variant) ([][]int32, error) {
	m := c.method()
	tokens := m.tokens()
	length := min(composedLength, c.config.MaxPositions, tokens)
	n := max(tokens/length, 1)
	base := int(math.RoundToEven(m.BaseText * float64(n)))
	list, err := c.compose(c.alone, model.Writing{N: base, Length: length, Seed: m.Seed + baseSeeds})
	if err != nil || base == n {
		return list, err
	}
	tokens -= base * length
	if texts := c.j.opt.Calibrate.Texts; len(texts) > 0 {
		windows, err := windowsOf(texts, min(observedLength, c.config.MaxPositions))
		if err != nil {
			return nil, err
		}
		for _, i := range spread(len(windows)) {
			if w := windows[i].input; tokens > 0 {
				list = append(list, w[:min(len(w), tokens)])
				tokens -= len(w)
			}
		}
		return list, nil
	}
	own, err := c.compose(reference, model.Writing{N: n - base, Length: length, Seed: m.Seed, Guide: m.Guide, Base: c.alone})
	return append(list, own...), err
}

// compose lets a variant write, from the token on that begins a text.
func (c *calibration) compose(v model.Variant, w model.Writing) ([][]int32, error) {
	if w.N == 0 {
		return nil, nil
	}
	var err error
	if w.Begin, err = beginning(c.j.model, c.config); err != nil {
		return nil, err
	}
	step := func(done int) { c.j.setStage(Stage{"writing the text", done, w.Length, "token"}) }
	step(0)
	return model.Compose(c.ctx, c.config, v, w, model.Options{Workers: c.workers()}, step)
}

// beginning returns the token that a text of its own begins with.
func beginning(c *loader.Checkpoint, cfg *model.Config) (int32, error) {
	if id := bosOf(c.Config.Raw); id >= 0 && int(id) < cfg.Vocab {
		return id, nil
	}
	t, err := tokenizerOf(c, cfg)
	if err != nil {
		return 0, err
	}
	if t.BOS() < 0 {
		return 0, fmt.Errorf("%s: which token begins a text is not known, so the model cannot write one: give it a text", c.Name)
	}
	return t.BOS(), nil
}

// method is that of the first calibrated layer, whose text serves all.
func (c *calibration) method() Method {
	for _, i := range c.j.todo {
		if m := c.j.layers[i].Method; m.Kind == MethodCalibrated {
			return m
		}
	}
	return Method{Kind: MethodCalibrated}
}
