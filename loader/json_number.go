package loader

import (
	"errors"
	"strconv"
	"strings"
)

// digits returns the end of the run of digits that begins at i.
func (s *scanner) digits(i int) int {
	for i < len(s.s) && '0' <= s.s[i] && s.s[i] <= '9' {
		i++
	}
	return i
}

// number reads a number and returns its text.
func (s *scanner) number() (string, error) {
	s.peek()
	start, i := s.pos, s.pos
	if s.words {
		for _, w := range [...]string{"NaN", "Infinity", "-Infinity"} {
			if strings.HasPrefix(s.s[i:], w) {
				s.pos += len(w)
				return w, nil
			}
		}
	}
	if i < len(s.s) && s.s[i] == '-' {
		i++
	}
	whole := i
	i = s.digits(i)
	if i == whole {
		return "", s.want("a number")
	}
	if s.s[whole] == '0' && i > whole+1 {
		return "", s.fail("number has a leading zero")
	}
	if i < len(s.s) && s.s[i] == '.' {
		if j := s.digits(i + 1); j > i+1 {
			i = j
		} else {
			return "", s.fail("number ends in a point")
		}
	}
	if i < len(s.s) && (s.s[i] == 'e' || s.s[i] == 'E') {
		j := i + 1
		if j < len(s.s) && (s.s[j] == '+' || s.s[j] == '-') {
			j++
		}
		if i = s.digits(j); i == j {
			return "", s.fail("number has an empty exponent")
		}
	}
	s.pos = i
	return s.s[start:i], nil
}

// integer reads a number without fraction and exponent that fits int64.
func (s *scanner) integer() (int64, error) {
	s.peek()
	at := s.pos
	t, err := s.number()
	if err != nil {
		return 0, s.failAt(at, "want an integer: %v", err)
	}
	v, err := strconv.ParseInt(t, 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange):
		return 0, s.failAt(at, "%s is beyond 64 bits", t)
	case err != nil:
		return 0, s.failAt(at, "want an integer, got %s", t)
	}
	return v, nil
}

// float reads a number. One beyond the range becomes infinite, as in Python.
func (s *scanner) float() (float64, error) {
	t, err := s.number()
	if err != nil {
		return 0, err
	}
	v, _ := strconv.ParseFloat(t, 64)
	return v, nil
}
