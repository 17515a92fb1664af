package merge

import (
	"errors"
	"math/rand/v2"

	"gonum.org/v1/gonum/mat"

	"mergescope/model"
	"mergescope/quant"
)

// remainder is a LoRA pair that carries what a calibrated layer's codes could
// not: the B A of a given rank that is nearest to it in what the layer's inputs
// see. All zero until the layer is computed.
type remainder struct {
	rank, rows, cols int
	a, b             []byte // as written: bf16, [rank, cols] and [rows, rank]
	pair             model.Pair
}

// RemainderReport says what a layer's remainder is.
type RemainderReport struct {
	Rank    int    `json:"rank"`
	Carried Figure `json:"carried"` // share of the codes' loss on the layer's inputs that it takes away
	Bytes   int64  `json:"bytes"`
}

// newRemainder returns what a layer's method asks for, nil if that is nothing.
func newRemainder(l *Layer) *remainder {
	if l.Method.Residual == 0 || !l.calibrated() {
		return nil
	}
	x := &remainder{rows: l.Weight.Rows(), cols: l.Weight.Cols()}
	x.rank = min(l.Method.Residual, x.rows, x.cols)
	x.a = make([]byte, quant.BF16.Bytes(int64(x.rank*x.cols)))
	x.b = make([]byte, quant.BF16.Bytes(int64(x.rows*x.rank)))
	return x
}

// remaindersOf are those that layers have, by module.
func remaindersOf(layers []Layer) model.LoRA {
	lora := model.LoRA{}
	for i := range layers {
		if x := layers[i].remainder; x != nil && x.pair.A != nil {
			lora[layers[i].Weight.Name] = []model.Pair{x.pair}
		}
	}
	return lora
}

// take works out the remainder of a layer of which f has the values.
func (x *remainder) take(w *work, f *flight, feedback *quant.Feedback) (*RemainderReport, error) {
	z, err := f.uncarried(w, feedback)
	if err != nil {
		return nil, err
	}
	total := mat.Norm(z, 2) // Frobenius
	left, right, carried, err := truncate(z, x.rank)
	if err != nil {
		return nil, err
	}
	a, b := make([]float32, 0, x.rank*x.cols), make([]float32, x.rows*x.rank)
	for k := range x.rank {
		a = append(a, feedback.Unweigh(mat.Col(nil, k, right))...)
		for r := range x.rows {
			b[r*x.rank+k] = float32(left.At(r, k))
		}
	}
	x.pair = model.Pair{A: rounded(a, x.a), B: rounded(b, x.b), Rank: x.rank, In: x.cols, Out: x.rows, Scale: 1}
	return &RemainderReport{Rank: x.rank, Carried: ratio(carried, total*total), Bytes: int64(len(x.a) + len(x.b))}, nil
}

// rounded stores values in raw, in bf16, and returns what is read back.
func rounded(values []float32, raw []byte) []float32 {
	quant.EncodeFloats(raw, values, quant.BF16)
	quant.DecodeFloats(values, raw, quant.BF16)
	return values
}

// uncarried returns what a layer's values leave to be carried, weighted as its inputs
// see it.
func (f *flight) uncarried(w *work, feedback *quant.Feedback) (*mat.Dense, error) {
	width := feedback.Width()
	z := mat.NewDense(f.sub.rows, width, nil)
	var rest []float32
	return z, f.reread(w, feedback, f.result.codes, func(r0 int, values []float32) {
		rest = resize(rest, len(values)/f.sub.cols*width)
		w.chooser.Remainder(rest, values)
		for i, v := range rest {
			z.Set(r0+i/width, i%width, float64(v))
		}
	})
}

// lossOf returns the loss if the result were codes.
func (f *flight) lossOf(w *work, codes *coded) (sum float64, err error) {
	err = f.reread(w, f.sub.choice.feedback, codes, func(_ int, values []float32) { sum += total(w.chooser.Loss(values)) })
	return sum, err
}

// reread goes through a layer again: each panel is loaded into w.chooser, and do
// gets the values of codes.
func (f *flight) reread(w *work, feedback *quant.Feedback, codes *coded, do func(r0 int, values []float32)) error {
	s := *f.sub
	s.choice = nil // the codes are known
	rows := s.panelRows(max(panelWeights, choiceRows*s.cols))
	var values []float32
	for r0 := 0; r0 < s.rows; r0 += rows {
		n := min(rows, s.rows-r0)
		if err := s.read(w, r0, n); err != nil {
			return err
		}
		s.apply(w, r0, len(s.updates)-1)
		values = resize(values, n*s.cols)
		if err := codes.Rows(values, r0); err != nil {
			return err
		}
		w.chooser.Load(feedback, &w.p, w.p.Absmax, r0)
		do(r0, values)
	}
	return nil
}

// Subspace iteration of truncate: directions beside those wanted, and rounds.
const (
	spareDirections = 8
	subspaceRounds  = 6
)

// truncate returns left [rows, rank] and right [cols, rank], orthonormal, whose
// product left right^T is nearly the nearest to z of that rank, and the sum of
// its squares. It iterates on a subspace (Halko, Martinsson and Tropp, 2011) that
// begins with counted draws.
func truncate(z *mat.Dense, rank int) (left, right *mat.Dense, carried float64, err error) {
	rows, cols := z.Dims()
	wide := min(rank+spareDirections, rows, cols)
	draws := rand.New(rand.NewPCG(uint64(rows), uint64(cols)))
	q := mat.NewDense(cols, wide, nil)
	for i := range cols {
		for k := range wide {
			q.Set(i, k, draws.NormFloat64())
		}
	}
	var svd mat.SVD
	var y, turn mat.Dense
	for range subspaceRounds {
		y.Mul(z, q)
		if err := orthonormal(&y, &svd); err != nil {
			return nil, nil, 0, err
		}
		q.Mul(z.T(), &y)
		if err := orthonormal(q, &svd); err != nil {
			return nil, nil, 0, err
		}
	}
	y.Mul(z, q)
	if !svd.Factorize(&y, mat.SVDThin) {
		return nil, nil, 0, errDecomposition
	}
	svd.VTo(&turn)
	for _, s := range svd.Values(nil)[:rank] {
		carried += float64(s * s)
	}
	left, right = mat.NewDense(rows, rank, nil), mat.NewDense(cols, rank, nil)
	left.Mul(&y, turn.Slice(0, wide, 0, rank))
	right.Mul(q, turn.Slice(0, wide, 0, rank))
	return left, right, carried, nil
}

var errDecomposition = errors.New("the singular value decomposition did not converge: are there NaN or infinite values?")

// orthonormal replaces columns by orthonormal ones that span the same.
func orthonormal(m *mat.Dense, svd *mat.SVD) error {
	if !svd.Factorize(m, mat.SVDThin) {
		return errDecomposition
	}
	svd.UTo(m)
	return nil
}
