package merge

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"

	"mergescope/loader"
)

// Where the adapter of the layers with output form "separate" goes, and the
// names PEFT gives its files.
const (
	residualDir    = "adapter"
	residualFile   = "adapter_model.safetensors"
	residualConfig = "adapter_config.json"
)

// residual is a PEFT adapter of the output directory: what one of the inputs
// holds for the layers that are kept separate, or what calibrated ones leave.
type residual struct {
	dir    string // slash-separated, inside the output directory
	layout *layout
	config []byte
}

// residuals collects the separate layers by adapter, in the order of layers.
// One adapter goes to adapter/, several go to adapter/NAME/. base is what the
// adapters say they belong to.
func residuals(layers []Layer, base string) ([]residual, error) {
	var adapters []*loader.Adapter
	steps := map[*loader.Adapter][]Step{}
	for _, l := range layers {
		if l.Output != Separate {
			continue
		}
		for _, s := range l.Steps {
			if steps[s.Adapter] == nil {
				adapters = append(adapters, s.Adapter)
			}
			steps[s.Adapter] = append(steps[s.Adapter], s)
		}
	}
	var list []residual
	for i, a := range adapters {
		if a.Config.PeftType != "LORA" {
			return nil, fmt.Errorf("adapter %s: output separate: only LoRA adapters can be written anew, this is %s", a.Name, a.Config.PeftType)
		}
		r := residual{dir: residualDir}
		if len(adapters) > 1 {
			r.dir = path.Join(residualDir, unsafeInName.ReplaceAllString(a.Name, "_"))
			if slices.ContainsFunc(list, func(o residual) bool { return o.dir == r.dir }) {
				r.dir += fmt.Sprint("-", i)
			}
		}
		var err error
		if r.config, err = residualConfigOf(a, steps[a], base); err != nil {
			return nil, fmt.Errorf("adapter %s: %s: %w", a.Name, residualConfig, err)
		}
		if r.layout, err = residualLayout(a, steps[a]); err != nil {
			return nil, fmt.Errorf("adapter %s: %w", a.Name, err)
		}
		list = append(list, r)
	}
	return appendRemainders(list, layers, base)
}

var unsafeInName = regexp.MustCompile(`[^A-Za-z0-9_-]`)

// residualLayout lays out the tensors of the steps' modules in the order of the
// adapter's file.
func residualLayout(a *loader.Adapter, steps []Step) (*layout, error) {
	wanted := map[*loader.Tensor]bool{}
	for _, s := range steps {
		for _, t := range [...]*loader.Tensor{s.Module.A, s.Module.B, s.Module.Magnitude, s.Module.BiasB} {
			wanted[t] = t != nil
		}
	}
	var list []outTensor
	for _, t := range a.File.HeaderOrder() {
		if wanted[t] {
			list = append(list, copyOf(t))
		}
	}
	return newLayout(a.File.Metadata, list)
}

// residualConfigOf narrows adapter_config.json to the modules of the steps. The
// plan's scales go into lora_alpha, by pattern where they differ.
func residualConfigOf(a *loader.Adapter, steps []Step, base string) ([]byte, error) {
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(a.Config.JSON, &fields); err != nil {
		return nil, err
	}
	targets := []string{}
	ranks, alphas := map[string]int{}, map[string]float64{}
	rank, alpha, uniform := 0, 0.0, true
	for _, s := range steps {
		m := s.Module
		if m.Parameter != "" || m.A == nil {
			continue // target_parameters stays as it is; nothing to keep of a fresh adapter
		}
		targets = append(targets, m.Path)
		key := exactly(m.Path)
		if m.Rank != a.Config.R {
			ranks[key] = m.Rank
		}
		own := m.Alpha * s.Factor
		if own != a.Config.Alpha {
			alphas[key] = own
		}
		if len(targets) == 1 {
			rank, alpha = m.Rank, own
		}
		uniform = uniform && m.Rank == rank && own == alpha
	}
	// Where one rank and alpha will do there are no patterns, which vLLM does not
	// read (lora/peft_helper.py).
	if uniform && len(targets) > 0 {
		clear(ranks)
		clear(alphas)
	} else {
		rank, alpha = a.Config.R, a.Config.Alpha
	}
	for key, v := range map[string]any{
		"base_model_name_or_path": base,
		"target_modules":          targets,
		"r":                       rank,
		"lora_alpha":              alpha,
		"rank_pattern":            ranks,
		"alpha_pattern":           alphas,
		"bias":                    "none", // replaced tensors are in the checkpoint
		"modules_to_save":         nil,
		"trainable_token_indices": nil,
	} {
		text, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		fields[key] = text
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(fields)
	return b.Bytes(), err
}

// exactly is the key of a pattern that fits one module: PEFT matches keys as
// regular expressions against the end of a path.
func exactly(module string) string { return "^" + regexp.QuoteMeta(module) }

// size returns the bytes of both files.
func (r *residual) size() int64 { return r.layout.size(maxLength) + int64(len(r.config)) }

// weights returns the bytes of the adapter's weights file.
func (r *residual) weights() io.Reader {
	parts := []io.Reader{bytes.NewReader(r.layout.header(maxLength))}
	order := slices.Clone(r.layout.slots)
	slices.SortStableFunc(order, func(a, b *slot) int { return cmp.Compare(a.off, b.off) })
	for _, s := range order {
		parts = append(parts, s.reader())
	}
	return io.MultiReader(parts...)
}

// writeBeside writes the adapters of the separate layers. The configuration,
// without which PEFT loads nothing, comes last.
func (o *output) writeBeside(ctx context.Context) error {
	for _, r := range o.residuals {
		if err := ctx.Err(); err != nil {
			return err
		}
		name := path.Join(r.dir, residualFile)
		if err := writeStream(o.root, name, r.weights()); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := o.writeSmall(path.Join(r.dir, residualConfig), r.config); err != nil {
			return err
		}
	}
	return nil
}
