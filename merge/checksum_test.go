package merge

import (
	"bytes"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestChecksumOfPieces: pieces of any length that come in any order have the
// checksum of the whole, which package crc32 computes in one go.
func TestChecksumOfPieces(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range 200 {
		all := make([]byte, 1+rng.IntN(5000))
		for i := range all {
			all[i] = byte(rng.Uint32())
		}
		want := checksum{crc32.Checksum(all, crc32.MakeTable(crc32.Castagnoli)), crc32.ChecksumIEEE(all)}
		var cuts []int
		for range rng.IntN(20) {
			cuts = append(cuts, rng.IntN(len(all)))
		}
		cuts = append(cuts, 0, len(all))
		slices.Sort(cuts)
		var l extents
		left := int64(len(all))
		for _, i := range rng.Perm(len(cuts) - 1) {
			if _, ok := l.whole(int64(len(all))); ok && left > 0 {
				t.Fatalf("round %d: whole with %d bytes missing", round, left)
			}
			from, to := cuts[i], cuts[i+1]
			if !l.add(runOf(int64(from), all[from:to])) {
				t.Fatalf("round %d: bytes %d to %d are taken for known", round, from, to)
			}
			left -= int64(to - from)
		}
		if got, ok := l.whole(int64(len(all))); !ok || got != want {
			t.Fatalf("round %d: %08x, want %08x, from %d runs", round, got, want, len(l.runs))
		}
		read, err := checksumOf(t.Context(), bytes.NewReader(all), 0, int64(len(all)))
		if err != nil || read != want {
			t.Fatalf("round %d: read %08x: %v", round, read, err)
		}
	}
}

// TestPiecesTwice: what is written twice is noticed, wherever it lies.
func TestPiecesTwice(t *testing.T) {
	var l extents
	b := make([]byte, 100)
	for _, from := range []int64{0, 200, 400} {
		if !l.add(runOf(from, b)) {
			t.Fatal("refused")
		}
	}
	for _, from := range []int64{0, 1, 99, 101, 150, 199, 200, 299, 350, 400, 499} {
		if l.add(runOf(from, b)) {
			t.Errorf("bytes from %d on came twice", from)
		}
	}
	if l.add(runOf(0, make([]byte, 1000))) {
		t.Error("what encloses others is taken for new")
	}
	if !l.add(runOf(100, b)) || !l.add(runOf(300, b)) {
		t.Error("gaps are not filled")
	}
	if n := l.bytes(); n != 500 {
		t.Errorf("%d bytes", n)
	}
	if _, ok := l.whole(500); !ok {
		t.Error("not whole")
	}
}

func TestChecksumText(t *testing.T) {
	c := checksum{0x0000beef, 0xdead0000}
	text, err := c.MarshalText()
	if err != nil || string(text) != "0000beefdead0000" {
		t.Errorf("%s %v", text, err)
	}
	var back checksum
	if err := back.UnmarshalText(text); err != nil || back != c {
		t.Errorf("%x %v", back, err)
	}
	for _, bad := range []string{"", "0", "0000beefdead000g", "0000beefdead00000"} {
		if err := back.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}
