package merge

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"unicode/utf8"

	"mergescope/loader"
	"mergescope/model"
	"mergescope/model/tokenizer"
)

// EvalText is a text as tokens.
type EvalText struct {
	Name   string
	Pieces [][]int32 // what stands alone: windows do not go across
	BOS    int32     // put before every window; negative for none

	Bytes   int // of the text; 0 if it came as tokens
	Unknown int // tokens that stand for something the vocabulary lacks
	First   int // index of the first of them
}

// Tokenizer turns text into tokens. Package model/tokenizer has those of Hugging
// Face; a vocabulary of bytes needs none.
type Tokenizer interface {
	// Encode returns the tokens of a text, none added around it.
	Encode(text string) ([]int32, error)

	// Decode returns the text of tokens, U+FFFD for what is none.
	Decode(ids []int32) string

	// BOS returns the token that begins a text, and Unknown that for what the
	// vocabulary lacks; negative if there is none.
	BOS() int32
	Unknown() int32
}

// ReadText encodes a text. A text that is empty or not UTF-8 is an error:
// what its figures would be about is not known.
func ReadText(name string, text []byte, t Tokenizer) (EvalText, error) {
	x := EvalText{Name: name, BOS: t.BOS(), Bytes: len(text)}
	if len(bytes.TrimSpace(text)) == 0 {
		return x, fmt.Errorf("text %s is empty", name)
	}
	if at := notUTF8(text); at >= 0 {
		if _, ok := t.(byteVocabulary); !ok {
			return x, fmt.Errorf("text %s: byte %d (0x%02x) is not UTF-8", name, at, text[at])
		}
	}
	ids, err := t.Encode(string(text))
	if err != nil {
		return x, fmt.Errorf("text %s: %w", name, err)
	}
	for i, id := range ids {
		if unknown := t.Unknown(); unknown >= 0 && id == unknown {
			if x.Unknown == 0 {
				x.First = i
			}
			x.Unknown++
		}
	}
	x.Pieces = [][]int32{ids}
	return x, nil
}

// notUTF8 returns the offset of the first byte that is not UTF-8, -1 if all are.
func notUTF8(text []byte) int {
	for at := 0; at < len(text); {
		r, n := utf8.DecodeRune(text[at:])
		if r == utf8.RuneError && n <= 1 {
			return at
		}
		at += n
	}
	return -1
}

// byteVocabulary is a vocabulary of 256 bytes, as that of the demo: a token is
// a byte.
type byteVocabulary struct{ bos int32 }

func (byteVocabulary) Encode(text string) ([]int32, error) {
	ids := make([]int32, len(text))
	for i := range len(text) {
		ids[i] = int32(text[i])
	}
	return ids, nil
}

func (byteVocabulary) Decode(ids []int32) string {
	text := make([]byte, len(ids))
	for i, id := range ids {
		text[i] = byte(id)
	}
	return strings.ToValidUTF8(string(text), "\uFFFD")
}

func (v byteVocabulary) BOS() int32 { return v.bos }

// Unknown is the byte that begins texts: in one it is out of place.
func (v byteVocabulary) Unknown() int32 { return v.bos }

// ByteTokenizer returns the tokenizer of a model whose tokens are bytes, false
// if they are not. bos_token_id of config.json begins a text.
func ByteTokenizer(c *model.Config, config []byte) (Tokenizer, bool) {
	if c.Vocab != 256 {
		return nil, false
	}
	return byteVocabulary{bosOf(config)}, true
}

// bosOf reads bos_token_id, -1 if there is none.
func bosOf(config []byte) int32 {
	var raw struct {
		BOS *int32 `json:"bos_token_id"`
	}
	if json.Unmarshal(config, &raw) != nil || raw.BOS == nil {
		return -1
	}
	return *raw.BOS
}

// ReadTokens reads token ids: a line is a text of its own, see
// tokenizer.ReadSequences. Nothing is put before them. Ids outside of the
// vocabulary are errors.
func ReadTokens(name string, r io.Reader, vocab int) (EvalText, error) {
	x := EvalText{Name: name, BOS: -1}
	lists, err := tokenizer.ReadSequences(r)
	if err != nil {
		return x, fmt.Errorf("tokens %s: %w", name, err)
	}
	for n, list := range lists {
		ids, err := tokenIDs(list, vocab)
		if err != nil {
			return x, fmt.Errorf("tokens %s: sequence %d: %w", name, n+1, err)
		}
		x.Pieces = append(x.Pieces, ids)
	}
	return x, nil
}

// tokenIDs checks ids against a vocabulary.
func tokenIDs(list []int, vocab int) ([]int32, error) {
	ids := make([]int32, len(list))
	for i, id := range list {
		if id < 0 || id >= vocab {
			return nil, fmt.Errorf("token %d is outside the vocabulary of %d", id, vocab)
		}
		ids[i] = int32(id)
	}
	return ids, nil
}

// window is a part of a text that is run by itself. Token i of input predicts
// targets[i] at position i+1, which counts the tokens that were seen.
type window struct {
	text           int
	input, targets []int32
}

// minTargets is how many predicted tokens an evaluation needs at least: a bucket of
// positions.
const minTargets = 16

// windowsOf cuts texts into windows of so many tokens.
func windowsOf(texts []EvalText, length int) ([]window, error) {
	var list []window
	for i, t := range texts {
		targets := 0
		for _, ids := range t.Pieces {
			for len(ids) > 0 {
				w := window{text: i}
				n := min(length, len(ids))
				if t.BOS >= 0 {
					w.input = append(append(make([]int32, 0, n), t.BOS), ids[:n-1]...)
					w.targets, ids = ids[:n], ids[n:]
				} else {
					n = min(length, len(ids)-1)
					w.input, w.targets, ids = ids[:n], ids[1:n+1], ids[n:]
					if len(ids) == 1 {
						ids = nil // there is nothing after it to predict
					}
				}
				if targets += len(w.targets); len(w.targets) > 0 {
					list = append(list, w)
				}
			}
		}
		if targets < minTargets {
			return nil, fmt.Errorf("text %s is too short: %s to predict, at least %d are needed", t.Name, count(targets, "token"), minTargets)
		}
	}
	if len(list) == 0 {
		return nil, errors.New("there is no text to run the model over")
	}
	return list, nil
}

// spread orders n windows so that the first of them, however many, lie all over
// the text: those of bit-reversed index.
func spread(n int) []int {
	bits := 0
	for 1<<bits < n {
		bits++
	}
	var order []int
	for i := range 1 << bits {
		at := 0
		for b := range bits {
			at |= (i >> b & 1) << (bits - 1 - b)
		}
		if at < n {
			order = append(order, at)
		}
	}
	return order
}

// Builtin is the name of the texts that come with the program: prose in the
// public domain, and Go source.
const Builtin = "builtin"

// builtinTexts are their files.
var builtinTexts = []string{"eval.txt", "eval-domain.txt"}

// OpenTexts reads texts, and files of token ids, for a model. Builtin stands for
// the files of that name; it is what is read if nothing is named. builtin holds
// them.
func OpenTexts(c *loader.Checkpoint, builtin fs.FS, texts, tokens []string) ([]EvalText, error) {
	cfg, err := runnable(c)
	if err != nil {
		return nil, err
	}
	var list []EvalText
	for _, name := range tokens {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		x, err := ReadTokens(name, f, cfg.Vocab)
		f.Close()
		if err != nil {
			return nil, err
		}
		list = append(list, x)
	}
	if len(texts)+len(tokens) == 0 {
		texts = []string{Builtin}
	}
	if len(texts) == 0 {
		return list, nil
	}
	t, err := tokenizerOf(c, cfg)
	if err != nil {
		return nil, err
	}
	for _, name := range texts {
		read, files := os.ReadFile, []string{name}
		if name == Builtin {
			if builtin == nil {
				return nil, errors.New("this program has no built-in texts")
			}
			read, files = func(name string) ([]byte, error) { return fs.ReadFile(builtin, name) }, builtinTexts
		}
		for _, file := range files {
			text, err := read(file)
			if err != nil {
				return nil, err
			}
			x, err := ReadText(file, text, t)
			if err != nil {
				return nil, err
			}
			list = append(list, x)
		}
	}
	return list, nil
}

// tokenizerOf returns the tokenizer of a model.
func tokenizerOf(c *loader.Checkpoint, cfg *model.Config) (Tokenizer, error) {
	if t, ok := ByteTokenizer(cfg, c.Config.Raw); ok {
		return t, nil
	}
	t, err := tokenizer.Open(c.FS())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: there is no %s beside the model, so a text cannot be read; token ids can", c.Name, tokenizer.FileName)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Name, err)
	}
	return newFileTokenizer(t, cfg.Vocab)
}

// fileTokenizer is that of a tokenizer.json.
type fileTokenizer struct {
	*tokenizer.Tokenizer
	vocab        int
	bos, unknown int32
}

// newFileTokenizer asks what the tokenizer puts before a text; models trained
// without get nothing there.
func newFileTokenizer(t *tokenizer.Tokenizer, vocab int) (Tokenizer, error) {
	f := fileTokenizer{t, vocab, -1, -1}
	around, err := t.Encode("", true)
	if err != nil {
		return nil, err
	}
	if len(around) > 0 && around[0] < vocab {
		f.bos = int32(around[0])
	}
	for _, name := range []string{"<unk>", "[UNK]"} {
		if id, ok := t.ID(name); ok && id < vocab {
			f.unknown = int32(id)
		}
	}
	return f, nil
}

func (f fileTokenizer) Encode(text string) ([]int32, error) {
	list, err := f.Tokenizer.Encode(text, false)
	if err != nil {
		return nil, err
	}
	return tokenIDs(list, f.vocab)
}

func (f fileTokenizer) Decode(ids []int32) string {
	list := make([]int, len(ids))
	for i, id := range ids {
		list[i] = int(id)
	}
	return f.Tokenizer.Decode(list)
}

func (f fileTokenizer) BOS() int32     { return f.bos }
func (f fileTokenizer) Unknown() int32 { return f.unknown }
