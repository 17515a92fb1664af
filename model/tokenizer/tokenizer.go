package tokenizer

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"unicode/utf8"
)

// FileName is where Open looks.
const FileName = "tokenizer.json"

const (
	maxFile = 256 << 20 // bytes of tokenizer.json; those of large vocabularies have 35 MB
	maxText = 64 << 20  // bytes Encode takes at once
)

// ErrUnsupported is wrapped by every error about a tokenizer.json that asks for
// something this package does not compute.
var ErrUnsupported = errors.New("not supported")

// ErrText is wrapped by every error about a text that has no tokens: it is not
// UTF-8, too long, or has a character the vocabulary lacks while there is no
// unknown token.
var ErrText = errors.New("text cannot be tokenized")

// Tokenizer is an opened tokenizer.json. Its methods are safe for concurrent
// use.
type Tokenizer struct {
	model      model
	normalize  []normalizer
	split      []splitter
	decoders   []decoder
	prefix     []int // of the post-processor
	suffix     []int
	raw        *trie // added tokens found in the text as it is
	normalized *trie // and those found in normalized text
	added      map[int]*addedToken
	tokens     map[int]string // content by id
	ids        map[string]int
}

// model turns a word into ids.
type model interface {
	encode(ids []int, word string) ([]int, error)
}

// Open reads tokenizer.json of a checkpoint's directory. The error is
// fs.ErrNotExist if there is none.
func Open(fsys fs.FS) (*Tokenizer, error) {
	f, err := fsys.Open(FileName)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return Read(f)
}

// Read reads the text of a tokenizer.json.
func Read(r io.Reader) (*Tokenizer, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", FileName, err)
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("%s: larger than %d bytes", FileName, maxFile)
	}
	t, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", FileName, err)
	}
	return t, nil
}

// piece is a part of the text on its way through the stages.
type piece struct {
	text  string
	first bool // it begins where the text begins
}

// Encode returns the ids of a text. With special, the post-processor adds what
// it adds to a single text, usually bos. Added tokens that occur in the text,
// special ones among them, become their ids, as in tokenizers. The text must be
// UTF-8.
func (t *Tokenizer) Encode(text string, special bool) ([]int, error) {
	if len(text) > maxText {
		return nil, fmt.Errorf("%w: %d bytes, more than %d", ErrText, len(text), maxText)
	}
	if !utf8.ValidString(text) {
		return nil, fmt.Errorf("%w: byte %d is not UTF-8", ErrText, invalidAt(text))
	}
	var ids []int
	if special {
		ids = append(ids, t.prefix...)
	}
	err := t.cut(t.raw, piece{text, true}, &ids, func(p piece) error {
		var err error
		for _, n := range t.normalize {
			if p.text, err = n(p.text); err != nil {
				return err
			}
		}
		return t.cut(t.normalized, p, &ids, func(p piece) error {
			words, err := t.words(p)
			for i := 0; err == nil && i < len(words); i++ {
				ids, err = t.model.encode(ids, words[i].text)
			}
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	if special {
		ids = append(ids, t.suffix...)
	}
	return ids, nil
}

func invalidAt(text string) int {
	for i, r := range text {
		if r == utf8.RuneError && !strings.HasPrefix(text[i:], "\uFFFD") {
			return i
		}
	}
	return len(text)
}

// words runs the pre-tokenizer.
func (t *Tokenizer) words(p piece) ([]piece, error) {
	words := []piece{p}
	for _, split := range t.split {
		var next []piece
		for _, w := range words {
			parts, err := split(w)
			if err != nil {
				return nil, err
			}
			for _, part := range parts {
				if part.text != "" {
					next = append(next, part)
				}
			}
		}
		words = next
	}
	return words, nil
}

// Decode returns the text of ids, special tokens included. An id without a
// token gives U+FFFD, and so do bytes that are not UTF-8.
func (t *Tokenizer) Decode(ids []int) string {
	tokens := make([]string, len(ids))
	for i, id := range ids {
		tokens[i] = "\uFFFD"
		if s, ok := t.tokens[id]; ok {
			tokens[i] = s
		}
	}
	if t.decoders == nil {
		return strings.Join(tokens, " ")
	}
	for _, d := range t.decoders {
		tokens = d(tokens)
	}
	return strings.Join(tokens, "")
}

// ID returns the id of a token by its content, for example "<s>".
func (t *Tokenizer) ID(token string) (id int, ok bool) {
	id, ok = t.ids[token]
	return id, ok
}
