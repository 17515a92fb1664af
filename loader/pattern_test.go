package loader

import (
	"strings"
	"testing"
	"time"
)

// TestPattern compares with CPython 3's re.match(rf"(.*\.)?({key})$", path).
func TestPattern(t *testing.T) {
	paths := []string{
		"model.layers.0.self_attn.q_proj", "model.layers.10.self_attn.q_proj", "model.layers.1.mlp.down_proj",
		"lm_head", "q_proj", "model.layers.1.mlp.experts.gate_up_proj",
	}
	for _, tt := range []struct{ key, want string }{
		{`q_proj`, "110010"},
		{`.*q_proj`, "110010"},
		{`proj`, "000000"},
		{`_proj`, "000000"},
		{`self_attn.q_proj`, "110000"},
		{`selfXattn.q_proj`, "000000"},
		{`self.attn.q_proj`, "110000"},
		{`layers\.1\.mlp\.down_proj`, "001000"},
		{`layers\.1\..*`, "001001"},
		{`layers.1.*`, "011001"},
		{`model\.layers\.(0|10)\..*`, "110000"},
		{`q_proj|lm_head`, "110110"},
		{`a)|(lm_head`, "000100"},
		{`(?P<a>l)m_head`, "000100"},
		{`layers\.\d\.self_attn\.[qkv]_proj`, "100000"},
		{`^model.*q_proj`, "110000"},
		{`(?:.*\.)?down_proj`, "001000"},
		{`(?P<x>m)lp\.experts\.gate_up_proj`, "000001"},
		{`(?i:LM_HEAD)`, "000100"},
		{`.*(?<!down)_proj`, "110011"},
		{`(?!lm).*`, "111011"},
		{``, "000000"},
		{`model`, "000000"},
		{`layers\.\w+\.mlp\.[^.]*$`, "001000"},
		{`(?P<d>\d)(?P=d)*\.mlp.*`, "001001"},
		{`model.layers.0.self_attn.q_proj`, "100000"},
		{` q_proj`, "000000"},
		{`q_proj$`, "110010"},
	} {
		p, err := NewPattern(tt.key, 1)
		if err != nil {
			t.Errorf("%s: %v", tt.key, err)
			continue
		}
		got := ""
		for _, path := range paths {
			ok, err := p.Match(path)
			if err != nil {
				t.Error(err)
			}
			got += map[bool]string{false: "0", true: "1"}[ok]
		}
		if got != tt.want {
			t.Errorf("%s: %s, want %s", tt.key, got, tt.want)
		}
	}
	for _, key := range []string{"(", "[", "*q", "(?P<a", "a)", "x{2,1}"} {
		if _, err := NewPattern(key, 1); err == nil {
			t.Errorf("%s compiles, re.error in Python", key)
		}
	}
	if _, err := NewPattern(strings.Repeat("(", maxKey/2)+strings.Repeat(")", maxKey/2), 1); err != nil {
		t.Error(err)
	}
	_, err := NewPattern(strings.Repeat("(", 1<<20), 1)
	wantError(t, err, "1048576 bytes are too long")
}

// TestPlainPattern checks the shortcut for plain keys against the engine.
func TestPlainPattern(t *testing.T) {
	words := []string{"", "a", ".", "q", "a.q", "a.", ".q", "..", "b.a.q", "b.aq", "axq", "b-a_q.q", "q.q", "aaq"}
	for _, key := range words {
		re, err := CompilePython(`(.*\.)?(` + key + `)$`)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range words {
			want, err := re.MatchString(path)
			if err != nil {
				t.Fatal(err)
			}
			if got := plainMatch(key, path); got != want {
				t.Errorf("key %q path %q: %v, want %v", key, path, got, want)
			}
		}
	}
	p, _ := NewPattern("a.b", 1)
	if ok, err := p.Match("x.aéb"); !ok || err != nil {
		t.Errorf("a point does not stand for é: %v %v", ok, err)
	}
}

// TestLookup: the first key in file order wins, and a key that is the path
// itself counts though it does not match as a regex.
func TestLookup(t *testing.T) {
	var ps []Pattern
	for i, key := range []string{"b", "a.*", "a.b", `x+y`} {
		p, err := NewPattern(key, float64(i))
		if err != nil {
			t.Fatal(err)
		}
		ps = append(ps, p)
	}
	for path, want := range map[string]float64{"a.b": 0, "a.c": 1, "x+y": 3, "xxy": 3} {
		if v, ok, err := lookup(ps, path); v != want || !ok || err != nil {
			t.Errorf("%s: %v %v %v", path, v, ok, err)
		}
	}
	if _, ok, _ := lookup(ps, "c"); ok {
		t.Error("c matches")
	}
}

// TestPatternTimeout: a pattern that backtracks for ever is an error of the
// adapter, which names the field.
func TestPatternTimeout(t *testing.T) {
	p, err := NewPattern(`(x+x+)+y`, 1)
	if err != nil {
		t.Fatal(err)
	}
	p.re.MatchTimeout = 20 * time.Millisecond
	m := &Module{Path: strings.Repeat("x", 60)}
	err = m.scale(&AdapterConfig{R: 8, AlphaPattern: []Pattern{p}})
	wantError(t, err, `field "alpha_pattern": key "(x+x+)+y"`, "timeout")
}
