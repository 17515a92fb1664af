package merge

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"mergescope/loader"
	"mergescope/model"
)

// remainderDir is where remainders go if residualDir is taken by layers of
// output form "separate".
const remainderDir = residualDir + "-residual"

// remainderMark in the metadata of a weights file says that the model beside it
// was merged to be run with it.
const remainderMark = "mergescope_residual"

// appendRemainders appends the adapter of what calibrated layers leave, if they
// have one.
func appendRemainders(list []residual, layers []Layer, base string) ([]residual, error) {
	var targets []string
	var tensors []outTensor
	ranks := map[string]int{}
	rank := 0
	for i := range layers {
		x := layers[i].remainder
		if x == nil {
			continue
		}
		name := layers[i].Weight.Name
		targets = append(targets, name)
		ranks[name] = x.rank
		rank = max(rank, x.rank)
		tensors = append(tensors, x.tensor(name+".lora_A", x.a, x.rank, x.cols), x.tensor(name+".lora_B", x.b, x.rows, x.rank))
	}
	if len(targets) == 0 {
		return list, nil
	}
	r := residual{dir: residualDir}
	if len(list) > 0 {
		r.dir = remainderDir
	}
	var err error
	if r.layout, err = newLayout(map[string]string{"format": "pt", remainderMark: strconv.Itoa(rank)}, tensors); err != nil {
		return nil, err
	}
	r.config, err = remainderConfig(targets, ranks, rank, base)
	return append(list, r), err
}

func (x *remainder) tensor(name string, data []byte, rows, cols int) outTensor {
	return outTensor{
		name: "base_model.model." + name + ".weight", dtype: "BF16", shape: []int64{int64(rows), int64(cols)},
		size: int64(len(data)), data: data,
	}
}

// remainderConfig is adapter_config.json: alpha is the rank, so the scale is 1.
func remainderConfig(targets []string, ranks map[string]int, rank int, base string) ([]byte, error) {
	patterns, alphas := map[string]int{}, map[string]int{}
	for name, r := range ranks {
		if r != rank {
			patterns[exactly(name)], alphas[exactly(name)] = r, r
		}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(map[string]any{
		"peft_type": "LORA", "task_type": "CAUSAL_LM", "inference_mode": true, "base_model_name_or_path": base,
		"r": rank, "lora_alpha": rank, "lora_dropout": 0.0, "bias": "none", "fan_in_fan_out": false,
		"target_modules": targets, "rank_pattern": patterns, "alpha_pattern": alphas,
	})
	return b.Bytes(), err
}

// openRemainders reads what was written beside a merged model for it to be run
// with: nothing, for most.
func openRemainders(c *loader.Checkpoint) (model.LoRA, error) {
	for _, dir := range [...]string{residualDir, remainderDir} {
		at := filepath.Join(c.Path, dir)
		if c.Remote || c.Path == "" || !isFile(filepath.Join(at, residualConfig)) || !isFile(filepath.Join(at, residualFile)) {
			continue
		}
		lora, err := openRemainder(at)
		if err != nil {
			return nil, fmt.Errorf("the residual of %s: %w", c.Name, err)
		}
		if lora != nil {
			return lora, nil
		}
	}
	return nil, nil
}

func isFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular()
}

// openRemainder returns nil if the adapter is another's.
func openRemainder(dir string) (model.LoRA, error) {
	a, err := loader.Source{}.Adapter(dir)
	if err != nil {
		return nil, err
	}
	defer a.Close()
	if a.File.Metadata[remainderMark] == "" {
		return nil, nil
	}
	return model.OpenLoRA(a)
}
