// Command mergescope shows what merging LoRA adapters into a
// bitsandbytes-quantized checkpoint does to the adapters, block by block, and
// writes the merged checkpoint.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"

	"charm.land/fang/v2"

	"mergescope/loader"
	"mergescope/loader/remote"
	"mergescope/merge"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	// Most of the memory is arrays of large layers, without pointers to follow, so
	// that collecting four times as often costs little.
	debug.SetGCPercent(25)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run executes a command line and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	obeyNoColor()
	a := &app{
		source: loader.Source{Demo: demoFS(), Cache: loader.HubCache(os.Getenv), Web: remote.New(ctx)},
		config: configDir(),
		out:    stdout,
		err:    stderr,
	}
	if err := merge.UseKernels(os.Getenv("MERGESCOPE_KERNELS")); err != nil {
		err = &failure{what: "MERGESCOPE_KERNELS", err: err, code: exitUsage}
		printFailure(stderr, err)
		return exitCode(err)
	}
	root := newRoot(a)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := fang.Execute(ctx, root,
		fang.WithVersion(version()),
		fang.WithColorSchemeFunc(fang.AnsiColorScheme),
		fang.WithErrorHandler(func(io.Writer, fang.Styles, error) {}),
	)
	if err == nil {
		err = a.failure
	}
	if err != nil {
		printFailure(stderr, err)
		return exitCode(err)
	}
	return a.code
}

// configDir is where the user's sessions and themes are.
func configDir() string {
	dir, err := os.UserConfigDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "mergescope")
}

// obeyNoColor makes any non-empty NO_COLOR count, as no-color.org asks; the
// library that detects the terminal's colours wants a Go boolean.
func obeyNoColor() {
	if os.Getenv("NO_COLOR") != "" {
		os.Setenv("NO_COLOR", "1")
	}
}
