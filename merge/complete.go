package merge

import (
	"context"
	"fmt"

	"mergescope/loader"
)

const (
	configName = "config.json"
	reportName = "mergescope-report.json"
)

// copyRest writes the tensors that no weight owns.
func (o *output) copyRest(ctx context.Context) error {
	for _, file := range o.shards {
		for _, s := range file.copies(o) {
			r, err := s.fill(ctx, o, o.spec.progress)
			if err != nil {
				return err
			}
			if err := o.finished(ctx, nil, nil, []*slot{s}, []record{r}); err != nil {
				return err
			}
		}
	}
	return nil
}

// copies returns the slots that are still to be copied.
func (s *shard) copies(o *output) []*slot {
	var list []*slot
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done {
		return nil // perhaps arranged anew, with slots that say nothing
	}
	for _, t := range s.layout.slots {
		if t.owner == "" && !t.done && o.writes(t) {
			list = append(list, t)
		}
	}
	return list
}

// finish makes the directory a checkpoint once every tensor is written.
// config.json, without which nothing loads it, comes last; the state goes when
// the checkpoint is there. report is written as mergescope-report.json. A part
// is only marked as written.
func (o *output) finish(ctx context.Context, report []byte) error {
	if o.spec.part.on() {
		return o.finishPart(ctx)
	}
	for _, s := range o.shards {
		if !s.done {
			return fmt.Errorf("output %s: %s: %d tensors are not written", o.spec.dir, s.name, s.left)
		}
	}
	err := o.copyOthers(ctx)
	if err == nil && report != nil {
		err = o.writeSmall(reportName, report)
	}
	if err == nil {
		err = o.writeIndex()
	}
	if err == nil {
		err = o.writeConfig()
	}
	if err == nil {
		err = o.leave()
	}
	if err != nil {
		return fmt.Errorf("output %s: %w", o.spec.dir, err)
	}
	return nil
}

// written opens the finished files with the configuration that they get.
func (o *output) written() (*loader.Checkpoint, error) {
	config, err := o.config(o.state.Kept)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, s := range o.shards {
		if !s.done {
			return nil, fmt.Errorf("output %s: %s: %d tensors are not written", o.spec.dir, s.name, s.left)
		}
		names = append(names, s.name)
	}
	return loader.OpenFiles(o.root.Name(), names, config)
}

// leave removes what only an unfinished output needs.
func (o *output) leave() error {
	o.mu.Lock()
	o.dirty = false
	o.mu.Unlock()
	if err := removeParts(o.root); err != nil {
		return err
	}
	if err := o.root.Remove(stateName); err != nil {
		return err
	}
	return syncDir(o.root, ".")
}

// copyOthers carries over the tokenizer and everything else beside the weights.
func (o *output) copyOthers(ctx context.Context) error {
	for _, name := range o.spec.model.Other {
		if err := ctx.Err(); err != nil {
			return err
		}
		f, err := o.spec.model.FS().Open(name)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		err = writeStream(o.root, name, f)
		f.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// writeSmall writes a file that is absent or complete at any moment.
func (o *output) writeSmall(name string, text []byte) error {
	if err := writeSmall(o.root, name, text); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// writeConfig writes config.json if the model has one.
func (o *output) writeConfig() error {
	text, err := o.config(o.state.Kept)
	if err != nil || text == nil {
		return err
	}
	return o.writeSmall(configName, text)
}

// config returns config.json of the output, nil if the model has none.
func (o *output) config(kept map[string]bool) ([]byte, error) {
	raw := o.spec.model.Config.Raw
	if raw == nil {
		return nil, nil
	}
	s := &o.spec
	edit := func() ([]byte, error) { return editConfig(raw, s.model, s.layers, kept) }
	if s.quantize != "" {
		q, err := ParseQuantization(s.quantize)
		if err != nil {
			return nil, err
		}
		edit = func() ([]byte, error) { return quantizedConfig(raw, s.model, s.against, s.layers, kept, q) }
	}
	text, err := edit()
	if err == nil && o.spec.untied {
		text, err = setUntied(text)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", configName, err)
	}
	return text, nil
}
