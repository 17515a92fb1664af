package merge

import "math"

// tail keeps the worst blocks of a cell by each metric: those it takes to know
// the 99th percentile without keeping all. The percentile is a nearest rank
// counted from the good end, so of fewer than 100 blocks it is the worst.
type tail struct {
	count [NumMetrics]int       // blocks that have the metric
	worst [NumMetrics][]float64 // Metric.order, the worst first, at most depth
}

// tailDepth returns how many blocks a tail must keep of at most n in a cell.
func tailDepth(n int) int { return n/100 + 1 }

// add takes a block's figure, NaN for one that does not have the metric.
func (t *tail) add(m Metric, v float64, depth int) {
	if v != v {
		return
	}
	t.count[m]++
	t.insert(m, v, depth)
}

func (t *tail) insert(m Metric, v float64, depth int) {
	list := t.worst[m]
	if len(list) == depth && !m.worse(v, list[depth-1]) {
		return
	}
	if len(list) < depth {
		list = append(list, v)
	}
	i := len(list) - 1
	for ; i > 0 && m.worse(v, list[i-1]); i-- {
		list[i] = list[i-1]
	}
	list[i] = v
	t.worst[m] = list
}

// merge adds the blocks of o.
func (t *tail) merge(o *tail, depth int) {
	for m := range NumMetrics {
		t.count[m] += o.count[m]
		for _, v := range o.worst[m] {
			t.insert(m, v, depth)
		}
	}
}

// p99 returns the figure that 99 of 100 blocks are no worse than, NaN without
// blocks.
func (t *tail) p99(m Metric) float64 {
	n := len(t.worst[m])
	if n == 0 {
		return math.NaN()
	}
	return t.worst[m][min(t.count[m]/100, n-1)]
}
