package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
)

// reportFiles are the flags of `report` that write files or read the baseline.
type reportFiles struct {
	junit, sarif, markdown, html string

	baseline  string
	tolerance float64
}

func (f *reportFiles) add(c *cobra.Command) {
	fl := c.Flags()
	fl.StringVar(&f.junit, "junit", "", "write a JUnit XML file: a test case per layer")
	fl.StringVar(&f.sarif, "sarif", "", "write the alerts as SARIF 2.1.0")
	fl.StringVar(&f.markdown, "markdown", "", "write a summary for a model card")
	fl.StringVar(&f.html, "html", "", "write one self-contained page with heatmaps")
	fl.StringVar(&f.baseline, "baseline", "", "earlier report --json: exit with 3 only for what is worse than there")
	fl.Float64Var(&f.tolerance, "kept-tolerance", 0.01, "by how much kept may fall below the baseline's, per layer and in total")
}

// reportFile is a file to write and what writes it.
type reportFile struct {
	flag, name string
	encode     func(*dossier) ([]byte, error)
}

// files lists the files that were asked for.
func (f *reportFiles) files() []reportFile {
	var list []reportFile
	for _, file := range []reportFile{
		{"--junit", f.junit, junitXML},
		{"--sarif", f.sarif, sarifJSON},
		{"--markdown", f.markdown, modelCard},
		{"--html", f.html, htmlPage},
	} {
		if file.name != "" {
			list = append(list, file)
		}
	}
	return list
}

// check reports, before anything is computed, what would only fail at the end.
func (f *reportFiles) check(c *cobra.Command) error {
	if !(f.tolerance >= 0 && f.tolerance <= 1) {
		return usagef("kept is 1 for all of the adapter: 0.01 is a hundredth of it", "--kept-tolerance: %v is not within 0 and 1", f.tolerance)
	}
	if f.baseline == "" && c.Flags().Changed("kept-tolerance") {
		return usagef("add --baseline FILE", "--kept-tolerance needs a baseline")
	}
	taken := map[string]string{}
	for _, file := range f.files() {
		path, err := filepath.Abs(file.name)
		if err != nil {
			return &failure{what: file.flag, err: err}
		}
		if other, ok := taken[path]; ok {
			return usagef("give each its own file", "%s and %s name the same file", other, file.flag)
		}
		taken[path] = file.flag
		if err := checkPlace(path); err != nil {
			return &failure{what: file.flag, err: err, hint: "name a file in a directory that exists"}
		}
	}
	return nil
}

// checkPlace reports whether a file can be written at path.
func checkPlace(path string) error {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a plain file", path)
	}
	info, err := os.Stat(filepath.Dir(path))
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is not a directory", filepath.Dir(path))
	}
	return err
}

// guard refuses to write over what the report is made from.
func (f *reportFiles) guard(s *session, plan string) error {
	inputs := []string{s.project.Model.Path, plan, f.baseline}
	for _, ad := range s.project.Adapters {
		inputs = append(inputs, ad.Path)
	}
	for _, file := range f.files() {
		target, err := os.Stat(file.name)
		if err != nil {
			continue // a new file
		}
		for _, in := range inputs {
			if isInput(target, in) {
				return &failure{
					what: file.flag, err: fmt.Errorf("%s is an input of the report", file.name),
					hint: "name another file; inputs are never changed", code: exitRefused,
				}
			}
		}
	}
	return nil
}

// isInput reports whether a file is the input, or lies in the input directory
// and is no report of an earlier run.
func isInput(target fs.FileInfo, input string) bool {
	if input == "" {
		return false
	}
	info, err := os.Stat(input)
	if err != nil {
		return false // of the demo or the hub's cache: not named by the user
	}
	if !info.IsDir() {
		return os.SameFile(target, info)
	}
	entries, err := os.ReadDir(input)
	if err != nil {
		return false
	}
	for _, e := range entries {
		if e.Name() != target.Name() || reportSuffix(e.Name()) {
			continue
		}
		if info, err := os.Stat(filepath.Join(input, e.Name())); err == nil && os.SameFile(target, info) {
			return true
		}
	}
	return false
}

// reportSuffix reports whether a file is of a kind that no part of a model or an
// adapter is.
func reportSuffix(name string) bool {
	switch filepath.Ext(name) {
	case ".html", ".xml", ".sarif":
		return true
	case ".md":
		return name != "README.md" // the model card, which merges carry over
	}
	return false
}

// readBaseline reads the baseline, nil if there is none.
func (f *reportFiles) readBaseline(partial bool) (*baseline, error) {
	if f.baseline == "" {
		return nil, nil
	}
	r, err := readBaseline(f.baseline)
	if err != nil {
		return nil, err
	}
	return &baseline{name: f.baseline, report: r, tolerance: f.tolerance, partial: partial}, nil
}

// write writes the files that were asked for and returns their names.
func (f *reportFiles) write(d *dossier) ([]string, error) {
	var names []string
	for _, file := range f.files() {
		data, err := file.encode(d)
		if err == nil {
			err = replaceFile(file.name, data)
		}
		if err != nil {
			return names, &failure{what: "write " + file.flag, err: err}
		}
		names = append(names, file.name)
	}
	return names, nil
}

// replaceFile writes a file whole or not at all.
func replaceFile(name string, data []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}
