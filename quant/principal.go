package quant

import (
	"math"
	"slices"
)

// Subspace iteration of Principal: directions beside those wanted, and rounds.
const (
	spareDirections = 8
	principalRounds = 6
)

// Principal returns about the count main directions of second moments H [cols,
// cols], by falling value: orthonormal rows [count, cols], and H along them. It
// needs no H, but times, which returns m H for m [_, cols]. It iterates on a
// subspace that begins with counted draws (Halko, Martinsson and Tropp, 2011),
// and gives the same bits wherever times does. There may be fewer than count
// directions: no more than cols, and none in which H is 0.
func Principal(count, cols int, times func(m []float32) ([]float32, error)) (rows []float32, values []float64, err error) {
	k := min(count+spareDirections, cols)
	q := make([]float64, k*cols)
	draws := NewDither(0, "principal")
	for i := range q {
		q[i] = float64(draws.uniform(int64(i))) - 0.5
	}
	single := make([]float32, k*cols)
	var image []float32
	for range principalRounds {
		orthonormal(q, cols)
		for i, v := range q {
			single[i] = float32(v)
		}
		if image, err = times(single); err != nil {
			return nil, nil, err
		}
		for i, v := range image {
			q[i] = float64(v)
		}
	}
	t := make([]float64, k*k) // H in the subspace
	for i := range k {
		for j := range i + 1 {
			v := (inner(q[i*cols:(i+1)*cols], single[j*cols:]) + inner(q[j*cols:(j+1)*cols], single[i*cols:])) / 2
			t[i*k+j], t[j*k+i] = v, v
		}
	}
	turn := eigen(t, k)
	order := make([]int, k)
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch x, y := t[a*k+a], t[b*k+b]; {
		case x > y:
			return -1
		case x < y:
			return 1
		}
		return 0
	})
	for _, i := range order[:min(count, k)] {
		value := t[i*k+i]
		if !(value > 1e-12*t[order[0]*k+order[0]]) {
			break
		}
		row := make([]float64, cols)
		for j := range k {
			for c, v := range single[j*cols : (j+1)*cols] {
				row[c] += float64(turn[i*k+j] * float64(v))
			}
		}
		for _, v := range row {
			rows = append(rows, float32(v))
		}
		values = append(values, value)
	}
	return rows, values, nil
}

func inner(x []float64, y []float32) (sum float64) {
	for i, v := range x {
		sum += float64(v * float64(y[i]))
	}
	return sum
}

// orthonormal replaces the rows of q by orthonormal ones that span the same,
// those that depend on earlier ones by 0.
func orthonormal(q []float64, cols int) {
	for i := 0; i < len(q); i += cols {
		row := q[i : i+cols]
		was := norm(row)
		for range 2 {
			for j := 0; j < i; j += cols {
				other, along := q[j:j+cols], 0.0
				for c, v := range other {
					along += float64(v * row[c])
				}
				for c, v := range other {
					row[c] -= float64(along * v)
				}
			}
		}
		size := norm(row)
		if !(size > 1e-10*was) {
			clear(row)
			continue
		}
		for c := range row {
			row[c] /= size
		}
	}
}

func norm(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += float64(v * v)
	}
	return math.Sqrt(sum)
}

// eigen makes the symmetric t [n, n] diagonal by Jacobi's rotations and returns
// what turned it, rows as eigenvectors.
func eigen(t []float64, n int) (turn []float64) {
	turn = make([]float64, n*n)
	for i := range n {
		turn[i*n+i] = 1
	}
	for range 60 { // sweeps; some ten are enough
		off, all := 0.0, 0.0
		for i, v := range t {
			all += float64(v * v)
			if i/n != i%n {
				off += float64(v * v)
			}
		}
		if !(off > 1e-28*all) {
			break
		}
		for p := range n {
			for q := p + 1; q < n; q++ {
				rotate(t, turn, n, p, q)
			}
		}
	}
	return turn
}

// rotate makes t[p, q] 0.
func rotate(t, turn []float64, n, p, q int) {
	if t[p*n+q] == 0 {
		return
	}
	theta := (t[q*n+q] - t[p*n+p]) / float64(2*t[p*n+q])
	tan := 1 / (math.Abs(theta) + math.Sqrt(float64(theta*theta)+1))
	if theta < 0 {
		tan = -tan
	}
	cos := 1 / math.Sqrt(float64(tan*tan)+1)
	sin := tan * cos
	for k := range n { // columns
		x, y := t[k*n+p], t[k*n+q]
		t[k*n+p] = float64(cos*x) - float64(sin*y)
		t[k*n+q] = float64(sin*x) + float64(cos*y)
	}
	for k := range n { // rows
		x, y := t[p*n+k], t[q*n+k]
		t[p*n+k] = float64(cos*x) - float64(sin*y)
		t[q*n+k] = float64(sin*x) + float64(cos*y)
		x, y = turn[p*n+k], turn[q*n+k]
		turn[p*n+k] = float64(cos*x) - float64(sin*y)
		turn[q*n+k] = float64(sin*x) + float64(cos*y)
	}
}
