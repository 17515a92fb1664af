package merge

import (
	"context"
	"fmt"
	"math"

	"mergescope/model"
)

// nonFiniteScores reports variants whose figures do not exist. If the reference
// is one of them nothing can be held against it, and it alone is named.
func nonFiniteScores(r *EvalReport) []Alert {
	var list []Alert
	for i, v := range r.Variants {
		if v.Figures.NonFinite == 0 {
			continue
		}
		where := "in the output layer"
		if b := v.brokenBlock(); b >= 0 {
			where = fmt.Sprintf("first behind block %d", b)
		}
		text := fmt.Sprintf("%s: scores of %s are NaN or infinite, %s: there are no figures", v.Name, tokens(v.Figures), where)
		a := newAlert(Error, CodeNonFinite, "", text)
		if i == reference {
			return []Alert{a}
		}
		list = append(list, a)
	}
	return list
}

func tokens(f EvalFigures) string {
	if f.NonFinite == f.Tokens {
		return "all tokens"
	}
	return fmt.Sprintf("%d of %d tokens", f.NonFinite, f.Tokens)
}

// brokenBlock is the first block after which the hidden state is not finite, -1
// if it is finite after all of them.
func (v *VariantReport) brokenBlock() int {
	for i, e := range v.Depth {
		if math.IsNaN(float64(e)) || math.IsInf(float64(e), 0) {
			return i
		}
	}
	return -1
}

// findBroken names the first weight that is not finite in the block where a
// variant's hidden states cease to be.
func (e *Eval) findBroken(ctx context.Context) error {
	found := false
	for i, v := range e.report.Variants {
		if v.Figures.NonFinite == 0 {
			continue
		}
		names := e.cfg.Parameters(v.brokenBlock())
		a, err := firstBroken(ctx, v.Name, e.variantsDuring(ctx)[i], names)
		if err != nil {
			return err
		}
		e.log.Add(a...)
		found = true
		if i == reference {
			break
		}
	}
	if found {
		e.publish()
	}
	return nil
}

// firstBroken looks through parameters, and the adapters beside them.
func firstBroken(ctx context.Context, variant string, v model.Variant, names []model.Parameter) ([]Alert, error) {
	for _, n := range names {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		for _, pair := range v.LoRA[n.Module] {
			if a, _ := nonFinite(pair.A); a > 0 {
				return brokenAt(variant, n.Module+" lora_A", -1, -1), nil
			}
			if b, _ := nonFinite(pair.B); b > 0 {
				return brokenAt(variant, n.Module+" lora_B", -1, -1), nil
			}
		}
		row, col, err := brokenElement(v.Weights, n)
		if err != nil {
			return nil, err
		}
		if col >= 0 {
			return brokenAt(variant, n.Name, row, col), nil
		}
	}
	return nil, nil
}

// brokenElement returns the first element that is not finite, columns of -1 if
// there is none.
func brokenElement(w model.Weights, n model.Parameter) (row, col int, err error) {
	if n.Vector {
		v, err := w.Vector(n.Name)
		_, at := nonFinite(v)
		return 0, at, err
	}
	m, err := w.Matrix(n.Name)
	if err != nil {
		return 0, 0, err
	}
	rows, cols := m.Size()
	part := make([]float32, cols)
	for r := range rows {
		if err := m.Rows(part, r); err != nil {
			return 0, 0, err
		}
		if bad, at := nonFinite(part); bad > 0 {
			return r, at, nil
		}
	}
	return 0, -1, nil
}

func brokenAt(variant, tensor string, row, col int) []Alert {
	at := Place{Tensor: tensor, Row: row, Col: col}
	return []Alert{newAlert(Error, CodeNonFinite, "", fmt.Sprintf("%s: %s is not finite", variant, at)).at(at)}
}
