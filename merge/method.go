package merge

import (
	"fmt"
	"strconv"
	"strings"
)

// Method is how a layer's new codes are chosen.
type Method struct {
	Kind  string // MethodPeft, MethodSum or MethodDithered
	Seed  uint64 // of dithered
	Fresh bool   // dithered with PEFT's new scales instead of the base's own
}

// MethodPeft requantizes to the nearest code after each adapter, bit for bit as
// PEFT and bitsandbytes do. MethodSum adds up all adapters of a layer first and
// requantizes once. MethodDithered does so too and rounds each weight to one of
// its two neighbouring codes with the probability that makes it right on
// average, see quant.Dither.
const (
	MethodPeft     = "peft"
	MethodSum      = "sum"
	MethodDithered = "dithered"
)

// Methods lists the kinds of methods.
func Methods() []string { return []string{MethodPeft, MethodSum, MethodDithered} }

// ParseMethod reads "peft", "sum" or "dithered[,seed=N][,scales=keep|fresh]".
func ParseMethod(text string) (Method, error) {
	parts := strings.Split(text, ",")
	m := Method{Kind: parts[0]}
	switch {
	case m.Kind != MethodPeft && m.Kind != MethodSum && m.Kind != MethodDithered:
		return m, fmt.Errorf("unknown method %q, known are %s", m.Kind, strings.Join(Methods(), ", "))
	case m.Kind != MethodDithered && len(parts) > 1:
		return m, fmt.Errorf("method %s has no options", m.Kind)
	}
	for _, p := range parts[1:] {
		key, value, _ := strings.Cut(p, "=")
		switch {
		case key == "seed":
			seed, err := strconv.ParseUint(value, 10, 64)
			if err != nil {
				return m, fmt.Errorf("method %s: %s: want a whole number", m.Kind, p)
			}
			m.Seed = seed
		case p == "scales=keep" || p == "scales=fresh":
			m.Fresh = value == "fresh"
		default:
			return m, fmt.Errorf("method %s: unknown option %q, known are seed=N and scales=keep|fresh", m.Kind, p)
		}
	}
	return m, nil
}

// String is the inverse of ParseMethod.
func (m Method) String() string {
	if m.Kind != MethodDithered {
		return m.Kind
	}
	s := m.Kind
	if m.Seed != 0 {
		s += ",seed=" + strconv.FormatUint(m.Seed, 10)
	}
	if m.Fresh {
		s += ",scales=fresh"
	}
	return s
}
