package loader

import (
	"strings"
)

// NaturalCompare orders names so that layers.2 comes before layers.10: runs of
// digits compare as numbers, the rest byte by byte. It is a total order in
// which names with a common prefix lie together.
func NaturalCompare(a, b string) int {
	for i := 0; i < len(a) && i < len(b); {
		if !isDigit(a[i]) || !isDigit(b[i]) {
			if a[i] != b[i] {
				return int(a[i]) - int(b[i])
			}
			i++
			continue
		}
		// Both were equal up to here, so the runs begin at the same place,
		// or one run began earlier with equal digits.
		x, y := digitRun(a[i:]), digitRun(b[i:])
		if c := compareNumbers(x, y); c != 0 {
			return c
		}
		i += len(x)
	}
	return len(a) - len(b)
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func digitRun(s string) string {
	n := 0
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	return s[:n]
}

// compareNumbers compares two runs of digits by value, then by length.
func compareNumbers(x, y string) int {
	p, q := strings.TrimLeft(x, "0"), strings.TrimLeft(y, "0")
	if len(p) != len(q) {
		return len(p) - len(q)
	}
	if c := strings.Compare(p, q); c != 0 {
		return c
	}
	return len(x) - len(y)
}

// Node is a line of the layer tree: a group of layers, or a weight.
type Node struct {
	Name     string // full path: "model.layers.11" or "model.layers.11.self_attn.q_proj"
	Label    string // what the parent's Name leaves: "self_attn.q_proj"
	Children []*Node
	Weight   *Weight // nil for a group
}

// Tree groups weights, which must be in natural order as in
// Checkpoint.Weights, by the numbered parts of their paths: one group for
// "model.layers.11", in it one for "block_sparse_moe.experts.3". What has no
// number, such as lm_head, stands at the top.
func Tree(ws []*Weight) []*Node {
	root := &Node{}
	open := []*Node{root} // groups around the previous weight, outermost first
	for _, w := range ws {
		depth, start := 1, 0
		for end := nextGroup(w.Name, start); end >= 0; end = nextGroup(w.Name, start) {
			name := w.Name[:end]
			if depth >= len(open) || open[depth].Name != name {
				g := &Node{Name: name, Label: w.Name[start:end]}
				parent := open[depth-1]
				parent.Children = append(parent.Children, g)
				open = append(open[:depth], g)
			}
			depth, start = depth+1, end+1
		}
		open = open[:depth]
		parent := open[depth-1]
		parent.Children = append(parent.Children, &Node{Name: w.Name, Label: w.Name[start:], Weight: w})
	}
	return root.Children
}

// nextGroup returns where the next group's path ends: after the first
// component from start on that is a number and not the last; -1 if none is.
func nextGroup(name string, start int) int {
	for i := start; ; {
		n := strings.IndexByte(name[i:], '.')
		if n < 0 {
			return -1
		}
		if n > 0 && len(digitRun(name[i:i+n])) == n && i > start {
			return i + n
		}
		i += n + 1
	}
}
