package model

import (
	"context"

	"mergescope/quant"
)

// Product is the kernel of all products of matrices here, see quant.Product: y
// [12, 32], rows stride apart, becomes x^T w of x [k][12] and w [k][32], or that
// is added.
func Product(y []float32, stride int, x, w []float32, k int, add bool) { dot(y, stride, x, w, k, add) }

// PairProduct is the kernel of products of rounded values, see quant.PairProduct.
func PairProduct(y []float32, stride int, x, w []int16, units *quant.PairUnits, k int, add bool) {
	dotPairs(y, stride, x, w, units, k, add)
}

// Moments returns E[x x^T] over the tokens of a batch, of the inputs of a variant.
// Terms are added as doc.go says, tokens in order, whatever the number of workers.
// Inputs are rounded to 8 bits, as by Cross, or if fine to 12, as by Outputs: rounding draws codes
// like damping does, to the weight wanted where errors are weighed, but to 0 where
// outputs are. The moments are in memory, see quant.NewMoments.
func (in Inputs) Moments(ctx context.Context, v, workers int, fine bool, memory *quant.Memory) (*quant.Moments, error) {
	m := quant.NewMoments(memory, in.Features(), Product, PairProduct)
	return m, in.products(ctx, fine, vectors{}, in.features(v, -1, nil), workers, m.Panels())
}

// Cross fills panels with E[(x_v - x_less) x_v^T] of two variants, in the order
// of the feedback's places; see quant.Feedback.Cross.
func (in Inputs) Cross(ctx context.Context, v, less, workers int, order []int, panels [][]float32) error {
	return in.products(ctx, false, in.features(v, less, order), in.features(v, -1, order), workers, panels)
}

// Outputs fills panels with E[y x_v^T], y what the layer handed out as number i gives
// for another variant, its biases not included; see quant.Feedback.Outputs. The
// products that takes are not computed again when the pass goes on. It must not be called concurrently.
func (in Inputs) Outputs(ctx context.Context, i, of, v, workers int, order []int, panels [][]float32) error {
	if err := in.output(i, of); err != nil {
		return err
	}
	e := in.early
	l := e.list[i]
	return in.products(ctx, true, e.out.columns(of*in.r.rows, l.col, l.out), in.features(v, -1, order), workers, panels)
}

// products fills panels [rows][32] with means of products of vectors, the left ones by rows and 32 of the right ones
// to a panel. If there are no left ones, the right ones are both.
func (in Inputs) products(ctx context.Context, fine bool, left, right vectors, workers int, panels [][]float32) error {
	tiles := 0
	for _, y := range panels {
		tiles = max(tiles, len(y)/(tileRows*panelCols))
	}
	to := precisionOf(fine)
	a, b := rounded{precision: to}, rounded{precision: to}
	memory := rounding{all: rounded{precision: to}, some: make([][someCols * spread]float32, workers)}
	a.resize(tileRows, tiles)
	b.resize(panelCols, len(panels))
	// what of a shares a read of b should stay in the second-level cache
	share := max(min(chunkTiles, tiles/(2*workers)), 1)
	scale := 1 / float32(in.Tokens())
	for first := 0; first < in.Tokens(); first += runTokens {
		k := min(runTokens, in.Tokens()-first)
		var err error
		if left.get == nil {
			err = memory.round(ctx, right, first, k, &a, &b)
		} else if err = memory.round(ctx, left, first, k, &a); err == nil {
			err = memory.round(ctx, right, first, k, &b)
		}
		if err != nil {
			return err
		}
		err = parallel(ctx, workers, roundUp(tiles, share)/share, func(_, i int) error {
			for p, y := range panels {
				for t := i * share; t < min((i+1)*share, len(y)/(tileRows*panelCols)); t++ {
					a.times(y[t*tileRows*panelCols:], panelCols, &b, t, p, k, scale, first > 0)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
