package model

import (
	"context"

	"mergescope/quant"
)

// Product is the kernel of all products of matrices here, see quant.Product: y
// [12, 32], rows stride apart, becomes x^T w of x [k][12] and w [k][32], or that
// is added.
func Product(y []float32, stride int, x, w []float32, k int, add bool) { dot(y, stride, x, w, k, add) }

// Moments returns E[x x^T] over the tokens of a batch, of the inputs of a variant.
// Terms are added as doc.go says, tokens in order, whatever the number of workers.
// They are in memory, see quant.NewMoments.
func (in Inputs) Moments(ctx context.Context, v, workers int, memory *quant.Memory) (*quant.Moments, error) {
	m := quant.NewMoments(memory, in.Features(), Product)
	panels := m.Panels()
	return m, in.products(ctx, v, workers, nil, len(panels)*panelCols, panels, func(a, b *pairs, _, k int) error {
		return a.regroup(ctx, b, workers, k)
	})
}

// Cross fills panels with E[(x_v - x_less) x_v^T] of two variants, in the order
// of the feedback's places; see quant.Feedback.Cross.
func (in Inputs) Cross(ctx context.Context, v, less, workers int, order []int, panels [][]float32) error {
	return in.products(ctx, v, workers, order, len(panels)*panelCols, panels, func(a, _ *pairs, first, k int) error {
		return in.round(ctx, a, v, less, workers, order, first, k)
	})
}

// Outputs fills panels with E[y x_v^T], y what the layer handed out as number i gives
// for another variant, its biases not included; see quant.Feedback.Outputs. The
// products that takes are not computed again when the pass goes on. It must not be called concurrently.
func (in Inputs) Outputs(ctx context.Context, i, of, v, workers int, order []int, panels [][]float32) error {
	if err := in.output(i, of); err != nil {
		return err
	}
	e := in.early
	return in.products(ctx, v, workers, order, e.list[i].out, panels, func(a, _ *pairs, first, k int) error {
		y := matrix{rows: k, stride: e.out.stride, data: e.out.data[(of*in.r.rows+first)*e.out.stride+e.list[i].col:]}
		return a.roundRows(ctx, workers, &y, e.list[i].out, k)
	})
}

// products fills panels [rows][32] with means of products of rows vectors with the
// inputs of a variant, 32 to a panel. Those are in that order, their own if it is nil. left
// rounds the vectors for k tokens from first on; b has the inputs.
func (in Inputs) products(ctx context.Context, v, workers int, order []int, rows int, panels [][]float32, left func(a, b *pairs, first, k int) error) error {
	const group = 8 // tiles that share a read of b
	tiles := roundUp(rows, tileRows) / tileRows
	var a, b pairs
	a.resize(tileRows, tiles)
	b.resize(panelCols, len(panels))
	for first := 0; first < in.Tokens(); first += pairTokens {
		k := min(pairTokens, in.Tokens()-first)
		err := in.round(ctx, &b, v, -1, workers, order, first, k)
		if err == nil {
			err = left(&a, &b, first, k)
		}
		if err != nil {
			return err
		}
		err = parallel(ctx, workers, roundUp(tiles, group)/group, func(_, i int) error {
			for p, y := range panels {
				for t := i * group; t < min((i+1)*group, tiles, len(y)/(tileRows*panelCols)); t++ {
					a.times(y[t*tileRows*panelCols:], panelCols, &b, t, p, k, first > 0)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	scale := 1 / float32(in.Tokens())
	return parallel(ctx, workers, len(panels), func(_, p int) error {
		for i := range panels[p] {
			panels[p][i] *= scale
		}
		return nil
	})
}
