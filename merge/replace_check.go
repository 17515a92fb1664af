package merge

import (
	"context"
	"fmt"

	"mergescope/loader"
	"mergescope/quant"
)

// newcomer is a tensor of an adapter in place of one of the model.
type newcomer struct {
	module string
	tensor *loader.Tensor
}

// newcomers lists the adapters' tensors that take the place of the model's.
func (j *Job) newcomers(list []replacement) {
	add := func(module string, t *loader.Tensor) {
		if t != nil && tensorFormats[t.DType] != quant.Unknown {
			j.replaced = append(j.replaced, newcomer{module, t})
		}
	}
	for _, r := range list {
		add(r.module(), r.whole)
		for _, x := range r.tokens {
			add(r.module(), x.tensor)
		}
	}
	for i := range j.layers {
		l := &j.layers[i]
		if !l.Merges() { // else the sum shows it
			add(l.Weight.Name, l.base)
		}
		add(l.Weight.Name, l.bias)
	}
}

// checkReplaced reports NaN and infinities in tensors that are taken over from
// adapters as they are. PEFT's safe_merge does not look at these.
func (j *Job) checkReplaced(ctx context.Context) error {
	values := make([]float32, floatsAtOnce)
	var buf []byte
	for _, r := range j.replaced {
		t := r.tensor
		var bad int64
		first := -1
		for i, n := 0, int(t.Numel()); i < n; i += floatsAtOnce {
			if err := ctx.Err(); err != nil {
				return err
			}
			part := values[:min(floatsAtOnce, n-i)]
			if err := decodeFrom(t, tensorFormats[t.DType], part, i, &buf); err != nil {
				return err
			}
			k, at := nonFinite(part)
			if k > 0 && first < 0 {
				first = i + at
			}
			bad += k
		}
		if bad > 0 {
			at := elementPlace(t, first)
			j.log.Add(newAlert(Error, CodeNonFinite, r.module, fmt.Sprintf(
				"%s in a tensor that replaces one of the base, first at %s; it is taken over as it is, as in PEFT, whose safe_merge looks at merged weights only",
				count(int(bad), "non-finite value"), at)).at(at))
		}
	}
	return nil
}
