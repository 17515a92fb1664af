package loader

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestValue compares with encoding/json, which accepts all of these.
func TestValue(t *testing.T) {
	for _, text := range []string{
		`"\"\\\/\b\f\n\r\t\u0041\u00e9\u20ac\ud83d\ude00 plain é"`,
		`"\\"`, `""`, ` [ ] `, `{ }`, `[1, -0, 0.5, -1e3, 2E+2, 1e-7, 12345678901234567890]`,
		"{\"a\" :\t[{\"b\":null},true,\nfalse]\r, \"\":{}}", `null`,
	} {
		var want any
		if err := json.Unmarshal([]byte(text), &want); err != nil {
			t.Fatal(text, err)
		}
		s := &scanner{s: text}
		got, err := s.value()
		if err == nil {
			err = s.end()
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %#v %v, want %#v", text, got, err, want)
		}
	}
}

func TestValueErrors(t *testing.T) {
	for text, at := range map[string]int{
		``: 0, `[`: 1, `[1`: 2, `[1 2]`: 3, `[,]`: 1, `{"a":}`: 5, `{1:2}`: 1, `{"a"}`: 4, `"a`: 0, `"\`: 1, `"\u12"`: 1, `"\u+123"`: 1,
		`"\ud800\u0041"`: 1, `"\udc00"`: 1, `"\ud800"`: 1, `"a\x"`: 2, "\"a\\n\x01\"": 4, "\"\\n\xff\"": 1, `"\n`: 0,
		`01`: 0, `-`: 0, `1.e3`: 0, `.5`: 0, `+1`: 0, `1e+`: 0, `NaN`: 0, `Infinity`: 0, `-Infinity`: 0, `nulL`: 0, `tru`: 0, `'a'`: 0,
		"\x00": 0, "\u00a01": 0, `1 1`: 2, `{"a":1}}`: 7, `[[[]]`: 5,
	} {
		if lenient := strings.Contains(text, `\ud`) || !utf8.ValidString(text); json.Valid([]byte(text)) && !lenient {
			t.Fatalf("%q is valid", text) // encoding/json replaces lone surrogates and invalid UTF-8
		}
		s := &scanner{s: text}
		_, err := s.value()
		if err == nil {
			err = s.end()
		}
		if se, ok := err.(*syntaxError); !ok || se.at != at {
			t.Errorf("%q: %#v, want a fault at %d", text, err, at)
		}
	}
}

// TestManyKeys: repeats are noticed however many keys lie between.
func TestManyKeys(t *testing.T) {
	for n := range 40 {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `"k%d":0,`, i)
		}
		for i := range n {
			s := &scanner{s: fmt.Sprintf(`{%s"k%d":1}`, b.String(), i)}
			_, err := s.value()
			wantError(t, err, fmt.Sprintf(`duplicate key "k%d"`, i))
		}
		s := &scanner{s: `{` + b.String() + `"end":1}`}
		if v, err := s.value(); err != nil || len(v.(map[string]any)) != n+1 {
			t.Fatal(n, err)
		}
	}
}
