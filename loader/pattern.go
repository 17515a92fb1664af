package loader

import (
	"fmt"
	"strings"
	"time"

	"github.com/dlclark/regexp2"
)

// matchTimeout bounds one match of a backtracking regex from a file.
const matchTimeout = time.Second

// maxKey bounds a regex from a file, since the engine's parser recurses.
const maxKey = 4096

// Pattern is one entry of rank_pattern or alpha_pattern, in file order: the
// first key whose regex `(.*\.)?(KEY)$` matches a module path from its start
// wins (peft/utils/other.py, get_pattern_key).
type Pattern struct {
	Key   string
	Value float64

	re *regexp2.Regexp // nil if Key needs no regex engine
}

// NewPattern compiles a key, which has the syntax of Python's re.
func NewPattern(key string, value float64) (Pattern, error) {
	p := Pattern{Key: key, Value: value}
	if len(key) > maxKey {
		return p, fmt.Errorf("%d bytes are too long for a module's name", len(key))
	}
	if plainKey(key) {
		return p, nil
	}
	re, err := CompilePython(`(.*\.)?(` + key + `)$`)
	p.re = re
	return p, err
}

// Match reports whether the pattern applies to a module path. The error is that
// of a match that takes too long.
func (p Pattern) Match(module string) (bool, error) {
	if p.re == nil && isASCII(module) {
		return plainMatch(p.Key, module), nil
	}
	re := p.re
	if re == nil {
		var err error
		if re, err = CompilePython(`(.*\.)?(` + p.Key + `)$`); err != nil {
			return false, err
		}
	}
	return re.MatchString(module)
}

// lookup returns the value of the first pattern that matches a module path.
// Like PEFT it falls back to a key that is the path itself.
func lookup(patterns []Pattern, module string) (value float64, ok bool, err error) {
	for _, p := range patterns {
		switch ok, err := p.Match(module); {
		case err != nil:
			return 0, false, fmt.Errorf("key %q: %w", p.Key, err)
		case ok:
			return p.Value, true, nil
		}
	}
	for _, p := range patterns {
		if p.Key == module {
			return p.Value, true, nil
		}
	}
	return 0, false, nil
}

// CompilePython compiles a regex of Python's re so that it matches from the
// start of the text, as re.match does. A match gives up with an error after a
// second.
func CompilePython(expr string) (*regexp2.Regexp, error) {
	re, err := regexp2.Compile(`\A(?:`+pythonGroups(expr)+`)`, regexp2.None)
	if err != nil {
		return nil, err
	}
	re.MatchTimeout = matchTimeout
	return re, nil
}

// pythonGroups rewrites (?P<name>...) and (?P=name), which regexp2 spells
// (?<name>...) and \k<name>.
func pythonGroups(expr string) string {
	if !strings.Contains(expr, "(?P") {
		return expr
	}
	var b strings.Builder
	for i := 0; i < len(expr); i++ {
		switch rest := expr[i:]; {
		case rest[0] == '\\' && len(rest) > 1:
			b.WriteString(rest[:2])
			i++
		case strings.HasPrefix(rest, "(?P<"):
			b.WriteString("(?<")
			i += 3
		case strings.HasPrefix(rest, "(?P="):
			end := strings.IndexByte(rest, ')')
			if end < 0 {
				b.WriteString(rest)
				return b.String()
			}
			b.WriteString(`\k<` + rest[4:end] + `>`)
			i += end
		default:
			b.WriteByte(rest[0])
		}
	}
	return b.String()
}

// plainKey reports whether key is made of letters, digits, "_", "-" and ".",
// the last of which stands for any character. Most keys are, and a file can
// have one for each of thousands of modules.
func plainKey(key string) bool {
	for i := range len(key) {
		c := key[i]
		if !isDigit(c) && !('a' <= c && c <= 'z') && !('A' <= c && c <= 'Z') && c != '_' && c != '-' && c != '.' {
			return false
		}
	}
	return true
}

// plainMatch is `(.*\.)?(key)$` for a plain key and an ASCII path.
func plainMatch(key, path string) bool {
	n := len(path) - len(key)
	if n < 0 || n > 0 && path[n-1] != '.' {
		return false
	}
	for i := len(key) - 1; i >= 0; i-- {
		if key[i] != path[n+i] && key[i] != '.' {
			return false
		}
	}
	return true
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
