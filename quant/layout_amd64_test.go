//go:build gc && !noasm

package quant

import (
	"testing"
	"unsafe"
)

// The generator has these numbers too, in gen/measure.go, merge.go and fourbit.go.
func TestLayout(t *testing.T) {
	var s BlockSum
	var x tables
	var d drift
	var q Pending
	for name, v := range map[string][2]uintptr{
		"BlockSum":              {unsafe.Sizeof(s), 56},
		"DD":                    {unsafe.Offsetof(s.DD), 4},
		"TT":                    {unsafe.Offsetof(s.TT), 8},
		"RD":                    {unsafe.Offsetof(s.RD), 12},
		"EE":                    {unsafe.Offsetof(s.EE), 16},
		"MaxE":                  {unsafe.Offsetof(s.MaxE), 20},
		"Codes":                 {unsafe.Offsetof(s.Codes), 28},
		"Pending.DD":            {unsafe.Offsetof(q.DD), 4},
		"Pending.TT":            {unsafe.Offsetof(q.TT), 8},
		"Pending.RD":            {unsafe.Offsetof(q.RD), 12},
		"Pending.EE":            {unsafe.Offsetof(q.EE), 16},
		"Pending.MaxE":          {unsafe.Offsetof(q.MaxE), 20},
		"Pending.Codes":         {unsafe.Offsetof(q.Codes), 28},
		"Pending.EV":            {unsafe.Offsetof(q.EV) - unsafe.Offsetof(q.VD), 4},
		"Pending.VV":            {unsafe.Offsetof(q.VV) - unsafe.Offsetof(q.VD), 8},
		"Pending.MaxE of drift": {unsafe.Sizeof(q) - unsafe.Offsetof(q.VD), 16},
		"EV":                    {unsafe.Offsetof(d.EV), 4},
		"VV":                    {unsafe.Offsetof(d.VV), 8},
		"driftMaxE":             {unsafe.Offsetof(d.MaxE), 12},
		"rank":                  {unsafe.Offsetof(x.rank), 128},
		"near":                  {unsafe.Offsetof(x.near), 256},
		"root":                  {unsafe.Offsetof(x.root), 264},
		"tree":                  {unsafe.Offsetof(x.tree), 296},
		"codes":                 {unsafe.Offsetof(x.codes), 392},
		"values":                {unsafe.Offsetof(x.values), 424},
		"chunk":                 {chunk, 64},
		"StatBlock":             {StatBlock, chunk},
	} {
		if v[0] != v[1] {
			t.Errorf("%s: %d, the kernels have %d", name, v[0], v[1])
		}
	}
}

// A cell with two bounds would lose one of them.
func TestCells(t *testing.T) {
	for _, x := range []*tables{&nf4Tables, &fp4Tables} {
		n := 0
		for _, b := range x.bound {
			if b != inf {
				n++
			}
		}
		for _, b := range x.near {
			if b != inf {
				n++
			}
		}
		if n != 15 {
			t.Errorf("%d of 15 bounds are in the tables", n)
		}
	}
}
