package tui

import (
	"slices"
	"strings"

	"github.com/charmbracelet/x/ansi"

	"mergescope/loader"
	"mergescope/merge"
)

// node is a row of the layer tree: a group or a layer.
type node struct {
	path   string // module path, for a group the part that is shared
	label  string // path without what the rows above say
	depth  int
	layer  int // index of the layer, -1 for a group
	parent int // index of the group it is in, -1 at the top
	end    int // nodes[i+1:end] are the rows below a group
}

// flatten turns layers in natural order into the rows of a tree, each group
// before what it holds. loader.Tree says what makes a group.
func flatten(layers []merge.Layer) []node {
	weights := make([]*loader.Weight, len(layers))
	index := make(map[*loader.Weight]int, len(layers))
	for i := range layers {
		weights[i] = layers[i].Weight
		index[weights[i]] = i
	}
	var nodes []node
	var add func(tree []*loader.Node, parent, depth int)
	add = func(tree []*loader.Node, parent, depth int) {
		for _, t := range tree {
			at := len(nodes)
			n := node{path: t.Name, label: t.Label, depth: depth, layer: -1, parent: parent}
			if t.Weight != nil {
				n.layer = index[t.Weight]
			}
			nodes = append(nodes, n)
			add(t.Children, at, depth+1)
			nodes[at].end = len(nodes)
		}
	}
	add(loader.Tree(weights), -1, 0)
	prefix := sharedPrefix(nodes)
	for i := range nodes {
		if nodes[i].depth == 0 {
			nodes[i].label = strings.TrimPrefix(nodes[i].label, prefix)
		}
	}
	return nodes
}

// sharedPrefix returns what the paths of all outer groups begin with, without
// the part before the number: "model." of "model.layers.0".
func sharedPrefix(nodes []node) string {
	common, first := "", true
	for _, n := range nodes {
		if n.depth > 0 || n.layer >= 0 {
			continue
		}
		stem := dropPart(dropPart(n.path))
		if first {
			common, first = stem, false
		}
		for !strings.HasPrefix(stem, common) {
			common = dropPart(strings.TrimSuffix(common, "."))
		}
	}
	return common
}

// dropPart cuts off what follows the last dot but one: "a.b." of "a.b.c".
func dropPart(path string) string {
	return path[:strings.LastIndexByte(strings.TrimSuffix(path, "."), '.')+1]
}

func isNumber(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// layerNumber returns the number of the layer a path is in, -1 if it is in none.
func layerNumber(path string) int {
	for part := range strings.SplitSeq(path, ".") {
		if isNumber(part) && len(part) < 9 {
			n := 0
			for _, c := range part {
				n = n*10 + int(c-'0')
			}
			return n
		}
	}
	return -1
}

// shortNames returns names of at most w cells that still differ: the name, its
// last part, or its beginning.
func shortNames(names []string, w int) map[string]string {
	out := make(map[string]string, len(names))
	taken := map[string]bool{}
	for _, n := range names {
		short := clean(n)
		if width(short) > w {
			last := clean(n[strings.LastIndexAny(n, "-_./:")+1:])
			clash := slices.ContainsFunc(names, func(o string) bool {
				return o != n && strings.HasSuffix(o, last)
			})
			if last == "" || width(last) > w || clash {
				last = ansi.Truncate(short, w, "")
			}
			short = last
		}
		stem := ansi.Truncate(short, w-1, "")
		for k := '2'; taken[short] && k <= '9'; k++ {
			short = stem + string(k)
		}
		taken[short] = true
		out[n] = short
	}
	return out
}
