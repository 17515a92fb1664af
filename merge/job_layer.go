package merge

import (
	"cmp"
	"context"
	"fmt"

	"mergescope/quant"
)

// open begins a layer: reads what it needs besides its codes, or takes over
// what an earlier run left.
func (j *Job) open(ctx context.Context, layer int) (*flight, error) {
	l := &j.layers[layer]
	var sink layerSink
	if j.out != nil {
		sink = j.out.layer(l.Weight.Name)
		if sink.done() {
			if !j.beside.needs(layer) {
				return nil, j.resume(l, sink.note())
			}
			sink = j.beside.again(layer, sink.note())
		}
	}
	if step, why := l.refusal(j.merge); step != nil {
		return nil, j.refuse(ctx, l, step, why, sink)
	}
	s, err := openSubject(l, j.merge)
	if err != nil {
		return nil, err
	}
	j.bytes.Add(l.Weight.Bytes() - l.Weight.Data.Size)
	f := newFlight(s, sink, j.panel, &j.spare)
	if j.beside != nil || j.room(l) {
		f.result.codes = newCoded(s)
	}
	if j.opt.Tiles && !l.packedDefect() {
		f.result.heat = s.newHeat(0, s.rows, j.tile, TileCols)
	}
	j.mu.Lock()
	j.status[layer].State = Active
	j.flights[layer] = f
	j.mu.Unlock()
	return f, nil
}

// count does one panel and counts it.
func (j *Job) count(w *work, t task) error {
	if err := t.f.compute(w, t.pass, t.panel); err != nil {
		return err
	}
	t.f.done.Add(1)
	if t.pass == 0 {
		j.bytes.Add(int64(len(w.raw)))
	}
	// Each pass counts for its share; the last takes what division leaves over.
	n, passes := int64(w.p.Len()), int64(t.f.sub.passes())
	if share := n / passes; int64(t.pass) < passes-1 {
		n = share
	} else {
		n -= share * (passes - 1)
	}
	j.weights.Add(n)
	return nil
}

// end judges a layer, lets its bytes be committed or dropped, and publishes it.
func (j *Job) end(ctx context.Context, w *work, layer int, f *flight) error {
	v := f.verdict(j.merge)
	if j.beside != nil {
		var err error
		if f, v, err = j.beside.land(ctx, w, layer, f, v); err != nil {
			return err
		}
	}
	if j.beside == nil && f.result.codes != nil && !v.Stopped {
		j.mu.Lock()
		j.kept[f.sub.layer.Weight.Param] = f.result.codes
		j.mu.Unlock()
	}
	if err := j.keepKnown(ctx, w, layer, f, v); err != nil {
		return err
	}
	if j.opt.NoiseFloor {
		noise, err := f.sub.noiseFloor(ctx, w)
		if err != nil {
			return err
		}
		v.Report.NoiseFloor = noise
	}
	if err := f.finish(ctx, v.Stopped, v.encode()); err != nil {
		return err
	}
	var tile *Tile
	if f.result.heat != nil {
		tile = f.result.heat.tile()
	}
	j.publish(layer, v, tile)
	f.release()
	return nil
}

// refuse keeps the bytes of a layer of which a step cannot be merged.
func (j *Job) refuse(ctx context.Context, l *Layer, step *Step, why string, sink layerSink) error {
	v := newVerdict(l, MetricsOf(quant.Sums{}), quant.Sums{})
	v.Stopped = true
	m := step.Module
	alert := newAlert(Error, CodeUnmergeable, l.Weight.Name, step.Adapter.Name+": "+why)
	if trainsBias(step.Adapter, m) {
		alert.Hint = HintFor(CodeLoraBias)
	}
	v.Report.Alerts = append(v.Report.Alerts, alert.at(tensorPlace(cmp.Or(m.BiasB, m.A))))
	if sink != nil {
		sink.revert()
		if err := sink.commit(ctx, v.encode()); err != nil {
			return err
		}
	}
	j.skip(l, v)
	return nil
}

// resume publishes a layer that an earlier run finished.
func (j *Job) resume(l *Layer, note []byte) error {
	v, err := decodeVerdict(note)
	if err != nil {
		return fmt.Errorf("the state of the earlier run: %w", err)
	}
	j.skip(l, v)
	return nil
}

// skip publishes a layer that is not computed.
func (j *Job) skip(l *Layer, v *verdict) {
	j.weights.Add(l.Weight.Numel())
	j.bytes.Add(l.Weight.Bytes())
	j.publish(l.Index, v, nil)
}

func (j *Job) publish(layer int, v *verdict, tile *Tile) {
	j.log.Add(v.Report.Alerts...)
	j.log.Add(v.Rounding...)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.status[layer] = LayerState{State: Finished, Fraction: 1, Result: v.Report}
	if v.Stopped {
		j.status[layer].State = Stopped
	}
	j.sums[layer], j.seen[layer] = v.sums(), v.Seen
	j.factors.A += v.Report.NonFinite.A
	j.factors.B += v.Report.NonFinite.B
	delete(j.flights, layer)
	if tile != nil {
		j.tiles[layer] = tile
	}
}

// abandon marks the layers that were in flight when the job ended early.
// Callers hold mu.
func (j *Job) abandon() {
	for layer, f := range j.flights {
		j.status[layer] = LayerState{State: Stopped, Fraction: f.fraction()}
		delete(j.flights, layer)
	}
}

func (j *Job) place(layer int, err error) error { return layerError(&j.layers[layer], err) }
