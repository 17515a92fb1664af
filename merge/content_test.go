package merge

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"

	"mergescope/quant"
)

// bytesContent is content in memory.
type bytesContent []byte

func (b bytesContent) ReadFull(p []byte, off int64) error {
	copy(p, b[off:])
	return nil
}

// TestPatched reads a matrix with two rows from elsewhere in pieces of every
// length.
func TestPatched(t *testing.T) {
	const row = 6
	base := bytes.Repeat([]byte("."), 5*row)
	other := bytesContent("AAAAAABBBBBBCCCCCC")
	c := patched{bytesContent(base), row, map[int64]patch{1: {other, 2}, 4: {other, 0}}}
	want := "......CCCCCC............AAAAAA"
	for size := 1; size <= len(want); size++ {
		var got []byte
		for off := 0; off < len(want); off += size {
			p := make([]byte, min(size, len(want)-off))
			if err := c.ReadFull(p, int64(off)); err != nil {
				t.Fatal(err)
			}
			got = append(got, p...)
		}
		if string(got) != want {
			t.Fatalf("in pieces of %d: %s, want %s", size, got, want)
		}
	}
}

// TestCast converts as torch's copy_ does: to nearest, ties to even.
func TestCast(t *testing.T) {
	p, _ := golden(t, "nf4-plain")
	a := p.Adapters[0].Modules[0].A // float32
	raw, err := a.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	c, err := contentIn(a, quant.BF16)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(raw)/2)
	for off := 0; off < len(got); off += 50 {
		if err := c.ReadFull(got[off:min(off+50, len(got))], int64(off)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range len(raw) / 4 {
		want := toBF16(math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:])))
		if v := math.Float32frombits(uint32(binary.LittleEndian.Uint16(got[2*i:])) << 16); v != want {
			t.Fatalf("element %d is %g, want %g", i, v, want)
		}
	}
	if same, err := contentIn(a, quant.F32); err != nil || same != content(a) {
		t.Error("float32 is not read as it is")
	}
}
