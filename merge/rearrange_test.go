package merge

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"mergescope/loader"
)

// stopper is a sink whose engine gives up on some weights after writing them,
// as the safe merge does when a value is not finite.
type stopper struct {
	diskSink
	stops map[string]bool
}

func (s stopper) layer(weight string) layerSink {
	w := s.diskSink.layer(weight)
	if s.stops[weight] {
		return stoppedLayer{w}
	}
	return w
}

type stoppedLayer struct{ layerSink }

func (s stoppedLayer) commit(ctx context.Context, note json.RawMessage) error {
	s.revert()
	return s.layerSink.commit(ctx, note)
}

// TestStoppedLayers: a layer that is given up keeps the input's bytes whatever
// its output form, so the result is that of a plan that keeps the layer.
func TestStoppedLayers(t *testing.T) {
	for _, base := range []string{"llama-nf4-dq", "llama-nf4-shards", "llama-int8"} {
		for _, form := range []Output{Same, AsBF16} {
			t.Run(base+"/"+string(form), func(t *testing.T) {
				c := goldenBase(t, base)
				layers := layersOf(c, quantizedAs(form))
				stops := map[string]bool{}
				kept := layersOf(c, func(w *loader.Weight) Output {
					if quantizedAs(form)(w) == "" {
						return ""
					}
					if len(stops) < 3 && w.Name != "model.layers.0.mlp.down_proj" {
						stops[w.Name] = true
						return Keep
					}
					return form
				})
				for i := range kept {
					if kept[i].Output == Keep {
						kept[i].Steps = nil
					}
				}
				ref := filepath.Join(t.TempDir(), "ref")
				writeFake(t, ref, c, kept)
				checkFake(t, ref, c, kept)

				spec := outputSpec{dir: filepath.Join(t.TempDir(), "out"), model: c, layers: layers, plan: "p"}
				var ops atomic.Int64
				for at := int64(10); ; at += 25 {
					ops.Store(0)
					o, err := tripOutput(t.Context(), spec, func(int) error {
						if ops.Add(1) > at {
							return errCrash
						}
						return nil
					})
					if err == nil {
						err = fakeMerge(t.Context(), stopper{diskSink{o}, stops}, layers)
					}
					abandon(o)
					if err == nil {
						break
					}
					if !errors.Is(err, errCrash) {
						t.Fatal(err)
					}
				}
				if err := os.Remove(filepath.Join(spec.dir, lockName)); err != nil {
					t.Fatal(err)
				}
				if form == Same {
					// A stopped layer has room for another quant state than the input's.
					checkFake(t, spec.dir, c, kept)
					return
				}
				sameFiles(t, "stopped", hashes(t, spec.dir), hashes(t, ref))
			})
		}
	}
}
