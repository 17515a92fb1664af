package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Exit codes; README.md and `mergescope help` repeat them.
const (
	exitFine        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitAlerts      = 3
	exitInterrupted = 4
	exitRefused     = 5
)

// failure is an error as the user sees it: what failed, why, and what to do
// about it, together with the exit code.
type failure struct {
	what string // "open checkpoint demo:nope"
	err  error  // why
	hint string // "" if there is nothing to advise
	code int
}

func (f *failure) Error() string {
	if f.what == "" {
		return f.err.Error()
	}
	return f.what + ": " + f.err.Error()
}

func (f *failure) Unwrap() error { return f.err }

// usagef is a failure of the command line itself.
func usagef(hint, format string, args ...any) *failure {
	return &failure{err: fmt.Errorf(format, args...), hint: hint, code: exitUsage}
}

// exitCode is the one place where errors become exit codes.
func exitCode(err error) int {
	var f *failure
	switch {
	case err == nil:
		return exitFine
	case errors.As(err, &f) && f.code != 0:
		return f.code
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	}
	return exitFailed
}

// printFailure writes err in three parts: what failed, why, hint.
func printFailure(w io.Writer, err error) {
	fmt.Fprintf(w, "mergescope: error: %s\n", strings.TrimRight(err.Error(), ".\n"))
	var f *failure
	if errors.As(err, &f) && f.hint != "" {
		fmt.Fprintf(w, "mergescope: hint: %s\n", f.hint)
	}
}
