package main

import (
	"path/filepath"

	"github.com/spf13/cobra"

	"mergescope/loader"
	"mergescope/merge"
)

// besideFlags are the flags of commands that run several variants of a model at
// once: what is run beside the base, the separate adapters and their merge.
type besideFlags struct{ compare, beside, on []string }

func (f *besideFlags) add(c *cobra.Command) {
	fl := c.Flags()
	fl.StringArrayVar(&f.compare, "compare", nil, "run this plan file's merge beside the others; repeatable")
	fl.StringArrayVar(&f.beside, "beside", nil, "run this checkpoint beside the others, as it is; repeatable")
	fl.StringArrayVar(&f.on, "on", nil, "run the adapters on this base beside the others, kept separate; repeatable")
}

func (f *besideFlags) any() bool { return len(f.compare)+len(f.beside)+len(f.on) > 0 }

// open opens what the flags name. closeAll is never nil.
func (f *besideFlags) open(a *app, s *session, opt *merge.EvalOptions) (closeAll func(), err error) {
	var open []*loader.Checkpoint
	closeAll = func() {
		for _, c := range open {
			c.Close()
		}
	}
	for _, file := range f.compare {
		p, err := readPlan(file)
		if err != nil {
			return closeAll, err
		}
		opt.Plans = append(opt.Plans, merge.NamedPlan{Name: filepath.Base(file), Plan: p})
	}
	for _, name := range f.beside {
		c, err := a.source.Checkpoint(name)
		if err != nil {
			return closeAll, &failure{what: "open checkpoint", err: err}
		}
		open = append(open, c)
		opt.Merged = append(opt.Merged, c)
	}
	for _, name := range f.on {
		c, err := a.source.Checkpoint(name)
		if err != nil {
			return closeAll, &failure{what: "open base", err: err}
		}
		open = append(open, c)
		opt.Bases = append(opt.Bases, merge.NewProject(c, s.project.Adapters...))
	}
	return closeAll, nil
}
