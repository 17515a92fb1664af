package loader

import (
	"errors"
	"fmt"
	"strings"
)

// FormatError reports a file whose content breaks the rules of its format.
type FormatError struct {
	File   string // as in File.Name
	Tensor string // "" if the fault concerns no single tensor
	Offset int64  // byte from the start of the file, -1 if there is none
	Err    error
}

// Error returns "FILE: tensor NAME: byte OFFSET: fault".
func (e *FormatError) Error() string {
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File + ": ")
	}
	if e.Tensor != "" {
		b.WriteString("tensor " + e.Tensor + ": ")
	}
	if e.Offset >= 0 {
		fmt.Fprintf(&b, "byte %d: ", e.Offset)
	}
	b.WriteString(e.Err.Error())
	return b.String()
}

// Unwrap returns the fault without its place.
func (e *FormatError) Unwrap() error { return e.Err }

// jsonError places a scanner's error in a file whose text begins at byte base.
func jsonError(file string, base int64, err error) error {
	var se *syntaxError
	if errors.As(err, &se) {
		return &FormatError{File: file, Offset: base + int64(se.at), Err: err}
	}
	return &FormatError{File: file, Offset: -1, Err: err}
}
