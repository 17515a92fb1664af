package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"mergescope/loader"
	"mergescope/merge"
)

// app is what every command needs of its surroundings.
type app struct {
	source   loader.Source
	out, err io.Writer
	config   string // directory for sessions and themes; "" if the user has none
	code     int    // exit code of a command that finished but has something to say
	failure  error  // of the command that ran
}

// newRoot builds the command tree.
func newRoot(a *app) *cobra.Command {
	root := newBrowse(a)
	root.AddCommand(
		newInspect(a),
		newReport(a),
		newMerge(a),
		newPlan(a),
		newExplain(a),
		newVerify(a),
		newGenerate(a),
		newDoctor(a),
		newBench(a),
		newVersion(a),
	)
	root.PersistentFlags().Var(&hubFlag{source: &a.source, getenv: os.Getenv}, "hub",
		"look for names like org/name[@revision] on the hub at this URL, not in the cache; env takes HF_ENDPOINT.\nOnly the parts that are looked at are fetched; a token in HF_TOKEN is sent there and nowhere else")
	a.catch(root)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		var bad *pflag.InvalidValueError
		if errors.As(err, &bad) && bad.GetFlag().Name == "hub" {
			err = fmt.Errorf("--hub: %w", bad.Unwrap()) // the value may hold a password
		}
		return usagef("see "+c.CommandPath()+" --help", "%w", err)
	})
	return root
}

// catch keeps the errors of a command and those below it from fang, which asks the terminal for its
// background before it shows one.
func (a *app) catch(c *cobra.Command) {
	runE := c.RunE
	c.RunE = func(c *cobra.Command, args []string) error {
		a.failure = runE(c, args)
		return nil
	}
	for _, sub := range c.Commands() {
		a.catch(sub)
	}
}

// arguments turns a wrong number of arguments into a usage failure.
func arguments(low, high int) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if low <= len(args) && len(args) <= high {
			return nil
		}
		want := plural(low, "argument")
		if low != high {
			want = fmt.Sprintf("%d to %s", low, plural(high, "argument"))
		}
		return usagef(fmt.Sprintf("%s; see %s --help", c.UseLine(), c.CommandPath()),
			"%s takes %s, not %d", c.CommandPath(), want, len(args))
	}
}

func newVersion(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  arguments(0, 0),
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(a.out, "mergescope %s (%s, %s/%s, %s kernels)\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH, merge.Kernels())
			return err
		},
	}
}

// version is the module version the binary was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}
