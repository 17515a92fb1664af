//go:build gc && !noasm

package quant

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"unsafe"
)

// The generator has these numbers too, in gen/measure.go, merge.go, fourbit.go, lattice.go and sweep.go.
func TestLayout(t *testing.T) {
	var s BlockSum
	var x tables
	var d drift
	var q Pending
	var points pointTables
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
		"few":                   {unsafe.Offsetof(x.few), 264},
		"fewRank":               {unsafe.Offsetof(x.fewRank), 328},
		"least":                 {unsafe.Offsetof(x.least), 360},
		"most":                  {unsafe.Offsetof(x.most), 392},
		"steps":                 {unsafe.Offsetof(x.steps), 424},
		"codes":                 {unsafe.Offsetof(x.codes), 456},
		"values":                {unsafe.Offsetof(x.values), 488},
		"points.below":          {unsafe.Offsetof(points.below), 128},
		"points.value":          {unsafe.Offsetof(points.value), 256},
		"points.code":           {unsafe.Offsetof(points.code), 320},
		"points.mids":           {unsafe.Offsetof(points.mids), 384},
		"points.zero":           {unsafe.Offsetof(points.zero), 448},
		"ProductRows":           {ProductRows, 12},
		"ProductCols":           {ProductCols, 32},
		"missLanes":             {missLanes, 16},
		"chunk":                 {chunk, 64},
		"StatBlock":             {StatBlock, chunk},
	} {
		if v[0] != v[1] {
			t.Errorf("%s: %d, the kernels have %d", name, v[0], v[1])
		}
	}
}

// A bound too many for its cell would be lost.
func TestCells(t *testing.T) {
	for _, x := range []*tables{&nf4Tables, &fp4Tables} {
		count := func(bounds ...float32) (n int) {
			for _, b := range bounds {
				if b != inf {
					n++
				}
			}
			return n
		}
		apart := count(x.near[:]...)
		if n := apart + count(x.bound[:]...); n != 15 {
			t.Errorf("%d of 15 bounds are in the tables", n)
		}
		if n := apart + count(x.few[0][:]...) + count(x.few[1][:]...); n != 15 {
			t.Errorf("%d of 15 bounds are in 8 cells", n)
		}
	}
}

// The assembler takes registers 16 to 31 in instructions that AVX2 has, whose encoding
// is then that of AVX-512.
func TestAVX2Registers(t *testing.T) {
	text, err := os.ReadFile("vector_amd64.s")
	if err != nil {
		t.Fatal(err)
	}
	wide := regexp.MustCompile(`\b([XY](1[6-9]|2[0-9]|3[01])|Z[0-9]+|K[0-7])\b`)
	kernel, kernels := "", 0
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(line, "TEXT ·"); ok {
			kernel, _, _ = strings.Cut(name, "(")
			if strings.HasSuffix(kernel, "AVX2") {
				kernels++
			}
		}
		if strings.HasSuffix(kernel, "AVX2") && wide.MatchString(line) {
			t.Errorf("%s: %s", kernel, strings.TrimSpace(line))
		}
	}
	if kernels == 0 {
		t.Error("no kernels found")
	}
}
