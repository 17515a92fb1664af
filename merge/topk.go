package merge

import "math/bits"

// entry is one candidate of topK: a magnitude and where it came from.
type entry struct {
	value float32
	index int32
}

// before orders entries as torch.topk does for the largest values: NaN first.
func (e entry) before(f entry) bool {
	return e.value != e.value && f.value == f.value || e.value > f.value
}

// topK returns which k of the values are the largest. Among equal values it
// picks the ones torch.topk picks on CPU, because adapters trained or rounded
// to few bits are full of ties: torch runs libstdc++'s partial_sort where 64k <=
// n and nth_element elsewhere (aten/src/ATen/native/TopKImpl.h), so these two
// algorithms are followed step by step.
func topK(values []float32, k int) []bool {
	chosen := make([]bool, len(values))
	if k <= 0 {
		return chosen
	}
	queue := make([]entry, len(values))
	for i, v := range values {
		queue[i] = entry{v, int32(i)}
	}
	if k < len(queue) {
		if k*64 <= len(queue) {
			heapSelect(queue, k)
		} else {
			nthElement(queue, k-1)
		}
	}
	for _, e := range queue[:min(k, len(queue))] {
		chosen[e.index] = true
	}
	return chosen
}

// nthElement is std::nth_element: introselect with a heap fallback.
func nthElement(q []entry, nth int) {
	first, last := 0, len(q)
	for depth := 2 * (bits.Len(uint(len(q))) - 1); last-first > 3; depth-- {
		if depth == 0 {
			heapSelect(q[first:last], nth+1-first)
			q[first], q[nth] = q[nth], q[first]
			return
		}
		mid := first + (last-first)/2
		medianToFirst(q, first, first+1, mid, last-1)
		if cut := partition(q, first+1, last, first); cut <= nth {
			first = cut
		} else {
			last = cut
		}
	}
	for i := first + 1; i < last; i++ {
		for j := i; j > first && q[j].before(q[j-1]); j-- {
			q[j], q[j-1] = q[j-1], q[j]
		}
	}
}

func medianToFirst(q []entry, to, a, b, c int) {
	median := a
	switch {
	case q[a].before(q[b]):
		if q[b].before(q[c]) {
			median = b
		} else if q[a].before(q[c]) {
			median = c
		}
	case q[a].before(q[c]):
	case q[b].before(q[c]):
		median = c
	default:
		median = b
	}
	q[to], q[median] = q[median], q[to]
}

// partition is __unguarded_partition around q[pivot]; the median of three
// guards both ends.
func partition(q []entry, first, last, pivot int) int {
	for {
		for q[first].before(q[pivot]) {
			first++
		}
		last--
		for q[pivot].before(q[last]) {
			last--
		}
		if first >= last {
			return first
		}
		q[first], q[last] = q[last], q[first]
		first++
	}
}

// heapSelect is __heap_select: the k first of the order end up in q[:k].
func heapSelect(q []entry, k int) {
	if k >= 2 {
		for parent := (k - 2) / 2; parent >= 0; parent-- {
			adjustHeap(q[:k], parent, q[parent])
		}
	}
	for i := k; i < len(q); i++ {
		if q[i].before(q[0]) {
			value := q[i]
			q[i] = q[0]
			adjustHeap(q[:k], 0, value)
		}
	}
}

// adjustHeap is __adjust_heap followed by __push_heap.
func adjustHeap(q []entry, hole int, value entry) {
	top, child := hole, hole
	for child < (len(q)-1)/2 {
		child = 2 * (child + 1)
		if q[child].before(q[child-1]) {
			child--
		}
		q[hole] = q[child]
		hole = child
	}
	if len(q)%2 == 0 && child == (len(q)-2)/2 {
		child = 2*child + 1
		q[hole] = q[child]
		hole = child
	}
	for hole > top && q[(hole-1)/2].before(value) {
		q[hole] = q[(hole-1)/2]
		hole = (hole - 1) / 2
	}
	q[hole] = value
}
