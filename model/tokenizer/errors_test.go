package tokenizer

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// small are tokenizers worked out by hand.
var small = []struct {
	json, text string
	ids        []int
	decoded    string
}{
	{
		`{"version":"1.0","added_tokens":[{"id":3,"content":"<s>","single_word":false,"lstrip":false,"rstrip":true,"normalized":false,"special":true}],
		"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false},"decoder":{"type":"ByteLevel"},
		"post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>","type_id":0}},{"Sequence":{"id":"A","type_id":0}}],"pair":[],
		"special_tokens":{"<s>":{"id":"<s>","ids":[3],"tokens":["<s>"]}}},
		"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":[["a","b"]]}}`,
		"aab<s>  b",
		[]int{3, 0, 2, 3, 1},
		"<s>aab<s>b",
	},
	{
		`{"normalizer":{"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},{"type":"Replace","pattern":{"String":" "},"content":"▁"}]},
		"decoder":{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},"content":" "},{"type":"ByteFallback"},{"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]},
		"model":{"type":"BPE","unk_token":"<unk>","byte_fallback":true,"fuse_unk":true,"vocab":{"<unk>":0,"▁":1,"x":2,"▁x":3,"<0xC3>":4,"<0xA9>":5},"merges":["▁ x"]}}`,
		"x éyyx",
		[]int{3, 1, 4, 5, 0, 2},
		"x é<unk>x",
	},
	{
		`{"pre_tokenizer":{"type":"Metaspace","replacement":"▁","prepend_scheme":"always","split":true},"decoder":{"type":"Metaspace","replacement":"▁"},
		"model":{"type":"Unigram","unk_id":0,"vocab":[["<unk>",0],["▁",-2],["a",-1],["b",-1.5],["▁ab",-3],["▁a",-2.5]]}}`,
		"ab ab??",
		[]int{4, 4, 0},
		"ab ab<unk>",
	},
}

func TestSmall(t *testing.T) {
	for i, s := range small {
		tok, err := Read(strings.NewReader(s.json))
		if err != nil {
			t.Fatalf("%d: %v", i, err)
		}
		ids, err := tok.Encode(s.text, true)
		if err != nil || !slices.Equal(ids, s.ids) {
			t.Errorf("%d: %v, %v, want %v", i, ids, err, s.ids)
		}
		if d := tok.Decode(ids); d != s.decoded {
			t.Errorf("%d: decoded %q, want %q", i, d, s.decoded)
		}
	}
	tok, err := Open(fstest.MapFS{FileName: {Data: []byte(small[0].json)}})
	if err != nil {
		t.Fatal(err)
	}
	if id, ok := tok.ID("<s>"); id != 3 || !ok || tok.Decode([]int{9, 0}) != "\uFFFDa" {
		t.Errorf("%d, %q", id, tok.Decode([]int{9, 0}))
	}
}

// What would give other tokens than tokenizers is an error that says what it is.
func TestUnsupported(t *testing.T) {
	model := `"model":{"type":"BPE","vocab":{"a":0},"merges":[]}`
	split := func(pattern string) string {
		return `{"pre_tokenizer":{"type":"Split","pattern":{"Regex":"` + pattern + `"},"behavior":"Isolated","invert":false},` + model + `}`
	}
	for _, x := range []struct{ json, want string }{
		{`{` + model + `,"extra":1}`, `unknown field "extra"`},
		{`{"version":"2.0",` + model + `}`, `version "2.0"`},
		{`{"model":{"type":"WordPiece","vocab":{}}}`, `model: not supported: type "WordPiece"`},
		{`{"model":{"type":"BPE","vocab":{"a":0},"merges":[],"dropout":0.1}}`, "dropout 0.1"},
		{`{"model":{"type":"BPE","vocab":{"a":0},"merges":[],"end_of_word_suffix":"</w>"}}`, `end_of_word_suffix "</w>"`},
		{`{"model":{"type":"BPE","vocab":{"a":0},"merges":[],"unk_token":"u"}}`, `unk_token "u" is not in the vocabulary`},
		{`{"model":{"type":"BPE","vocab":{"a":0,"b":0},"merges":[]}}`, `tokens "a" and "b" have one id, 0`},
		{`{"model":{"type":"BPE","vocab":{"a":-1},"merges":[]}}`, `token "a" has id -1`},
		{`{"model":{"type":"BPE","vocab":{"a":0},"merges":[["a","a"]]}}`, "merge 0"},
		{`{"model":{"type":"BPE","vocab":{"a":0},"merges":["a"]}}`, `merge 0, "a", is not two parts`},
		{`{"model":{"type":"Unigram","unk_id":5,"vocab":[["a",0]]}}`, "unk_id 5 is outside"},
		{`{"normalizer":{"type":"Precompiled","precompiled_charsmap":""},` + model + `}`, `normalizer: Precompiled: not supported: type "Precompiled"`},
		{`{"normalizer":{"type":"NFC"},"pre_tokenizer":{"type":"Whitespace"},` + model + `}`, "pre_tokenizer: Whitespace"},
		{`{"normalizer":{"type":"Prepend","prepend":"x"},"pre_tokenizer":{"type":"Metaspace","replacement":"_","prepend_scheme":"first"},` + model + `}`, "prepend_scheme"},
		{`{"decoder":{"type":"CTC"},` + model + `}`, "decoder: CTC"},
		{`{"post_processor":{"type":"BertProcessing"},` + model + `}`, "post_processor: BertProcessing"},
		{`{"added_tokens":[{"id":7,"content":"b"}],` + model + `}`, `added token "b" has id 7, tokenizers gives it 1`},
		{`{"normalizer":` + strings.Repeat(`{"type":"Sequence","normalizers":[`, 20) + strings.Repeat("]}", 20) + `,` + model + `}`, "more than 8 sequences"},
		{`{"pre_tokenizer":{"type":"Split","pattern":{"Glob":"*"},"behavior":"Isolated","invert":false},` + model + `}`, `unknown field "Glob"`},
		{split("[[:alpha:]]"), "it may mean something else here"},
		{split("a++"), "regular expression"},
		{split("[a&&b]"), "regular expression"},
		{split("(?m:.)"), "regular expression"},
		{split("(?i:ß)"), "regular expression"},
		{split(`\\h`), "regular expression"},
		{split(`\\w+`), "regular expression"},
		{split(`\\p{Foo}`), "regular expression"},
		{split(`\\p{Mn}`), "regular expression"},
		{split("a)"), "regular expression"},
		{`[1]`, "cannot unmarshal"},
		{`{}`, "model: there is none"},
	} {
		_, err := Read(strings.NewReader(x.json))
		if err == nil || !strings.Contains(err.Error(), x.want) || !strings.HasPrefix(err.Error(), FileName+": ") {
			t.Errorf("%s: %v, want %q", x.json, err, x.want)
		}
		if strings.Contains(x.want, "not supported") && !errors.Is(err, ErrUnsupported) {
			t.Errorf("%v is not ErrUnsupported", err)
		}
	}
	if _, err := Open(os.DirFS(t.TempDir())); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

func TestTextWithoutTokens(t *testing.T) {
	tok, err := Read(strings.NewReader(`{"normalizer":{"type":"NFC"},"model":{"type":"BPE","vocab":{"a":0},"merges":[]}}`))
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"aa\xffa":                                "byte 2 is not UTF-8",
		"aé":                                     "character U+00E9 is not in the vocabulary",
		"\uFFFD\xc3":                             "byte 3 is not UTF-8",
		"a" + strings.Repeat("\u0323\u0301", 20): "more than 30 combining marks",
	} {
		if _, err := tok.Encode(text, false); !errors.Is(err, ErrText) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestReadSequences(t *testing.T) {
	want := [][]int{{1, 15, 7}, {2}}
	for _, text := range []string{"1 15 7\n2", "\n[1, 15, 7]\r\n\n2\n", "[[1,15,\n7],[2]]", " [ [1,15,7],\n [2] ]\n"} {
		got, err := ReadSequences(strings.NewReader(text))
		if err != nil || len(got) != 2 || !slices.Equal(got[0], want[0]) || !slices.Equal(got[1], want[1]) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"":             "there are no token ids",
		"\n\n":         "there are no token ids",
		"1\n2 x":       `line 2: "x" is not a token id`,
		"1 -2":         "line 1: token id -2 is out of range",
		"[1]\n[]":      "line 2: an empty list",
		"[[1],[]]":     "list 2: an empty list",
		"[[1],[2]":     "as a list of lists",
		"[1, 2.5]":     "line 1",
		"4294967296":   "line 1: token id 4294967296 is out of range",
		"[[1]]\n[[2]]": "as a list of lists",
	} {
		if _, err := ReadSequences(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
