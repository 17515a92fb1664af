package tokenizer

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
)

// fixture is what testdata/make.py wrote of one tokenizer.
type fixture struct {
	name      string
	Tokenizer json.RawMessage  `json:"tokenizer"`
	IDs       []string         `json:"ids"`     // digests of 100 lines each
	Decoded   []string         `json:"decoded"` // and of their ids decoded
	Lines     map[string][]int `json:"lines"`   // the ids of some lines
}

const block = 100

func readGzip(t testing.TB, name string, into any) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.NewDecoder(z).Decode(into); err != nil {
		t.Fatal(err)
	}
}

func readText(t testing.TB) (text []string) {
	t.Helper()
	readGzip(t, "testdata/text.json.gz", &text)
	if len(text) != 10000 {
		t.Fatalf("%d lines", len(text))
	}
	return text
}

func fixtures(t testing.TB) (list []*fixture) {
	t.Helper()
	names, err := filepath.Glob("testdata/*.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if base := filepath.Base(n); base != "text.json.gz" {
			f := &fixture{name: strings.TrimSuffix(base, ".json.gz")}
			readGzip(t, n, f)
			list = append(list, f)
		}
	}
	if len(list) != 16 {
		t.Fatalf("%d tokenizers", len(list))
	}
	return list
}

func (f *fixture) open(t testing.TB) *Tokenizer {
	t.Helper()
	tok, err := Read(bytes.NewReader(f.Tokenizer))
	if err != nil {
		t.Fatalf("%s: %v", f.name, err)
	}
	return tok
}

func digest(rows []string) string {
	sum := sha256.Sum256([]byte(strings.Join(rows, "")))
	return hex.EncodeToString(sum[:])[:16]
}

// Ids and decoded text are those of Hugging Face tokenizers, for 10 000 lines
// and tokenizers of every kind.
func TestAsTokenizers(t *testing.T) {
	text := readText(t)
	for _, f := range fixtures(t) {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			tok := f.open(t)
			for b := range f.IDs {
				var ids, decoded []string
				for i := b * block; i < (b+1)*block; i++ {
					got, err := tok.Encode(text[i], i%2 == 0)
					if err != nil {
						t.Fatalf("line %d, %q: %v", i, text[i], err)
					}
					if want, ok := f.Lines[strconv.Itoa(i)]; ok && !slices.Equal(got, want) {
						t.Errorf("line %d, %q:\n got %v\nwant %v", i, text[i], got, want)
					}
					ids = append(ids, strings.Trim(fmt.Sprint(got), "[]")+"\n")
					decoded = append(decoded, tok.Decode(got)+"\n")
				}
				if digest(ids) != f.IDs[b] {
					t.Errorf("lines %d to %d: other ids", b*block, (b+1)*block-1)
				}
				if digest(decoded) != f.Decoded[b] {
					t.Errorf("lines %d to %d: decoded to other text", b*block, (b+1)*block-1)
				}
			}
		})
	}
}

// A stand-in is of the category, in Go's tables, that its range is of in Unicode
// 16, and no range is known to Go already.
func TestProxies(t *testing.T) {
	of := map[rune]*unicode.RangeTable{
		upper: unicode.Lu, lower: unicode.Ll, modifier: unicode.Lm, letter: unicode.Lo, ideograph: unicode.Lo,
		mark: unicode.M, digit: unicode.Nd, point: unicode.Po, sign: unicode.So,
	}
	for i, x := range newer {
		if !unicode.Is(of[x.like], x.like) || x.last < x.first || i > 0 && x.first <= newer[i-1].last {
			t.Errorf("%+v", x)
		}
		if got := proxy(x.first); got != x.like {
			t.Errorf("%U stands for %U, want %U", got, x.first, x.like)
		}
	}
	if proxy('a') != 'a' || proxy(0x2EE5E) != 0x2EE5E || !unicode.Is(unicode.Han, ideograph) {
		t.Error("others are themselves")
	}
}
