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

// What Go's tables lack of Unicode 16 has the property it is said to have, and
// others have not.
func TestNewerCharacters(t *testing.T) {
	for i, x := range newer {
		if x.last < x.first || i > 0 && x.first <= newer[i-1].last || unicode.In(x.first, unicode.L, unicode.M, unicode.N, unicode.P, unicode.S) {
			t.Errorf("%+v", x)
		}
	}
	for pattern, want := range map[string]string{
		`\p{L}`:     "a\u1c89\U0002ebf0\U0002ee5d",
		`\p{Lu}`:    "\u1c89",
		`\p{Han}`:   "\U0002ebf0\U0002ee5d",
		`[^\p{P}a]`: "\u1c89\U0002ebf0\U0002ee5d\u2427\U0002ee5e",
		`\P{S}`:     "a\u1c89\U0002ebf0\U0002ee5d\u1b4e\U0002ee5e",
	} {
		find, err := compile(pattern)
		if err != nil {
			t.Fatal(err)
		}
		const text = "a\u1c89\U0002ebf0\U0002ee5d\u2427\u1b4e\U0002ee5e"
		spans, err := find(text)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, s := range spans {
			if s.match {
				got += text[s.start:s.end]
			}
		}
		if got != want {
			t.Errorf("%s finds %+q, want %+q", pattern, got, want)
		}
	}
}
