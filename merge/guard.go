package merge

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"mergescope/loader"
)

// ErrRefused marks errors of a safety check: nothing was written, and nothing
// will be until the user decides otherwise.
var ErrRefused = errors.New("refused")

func refusef(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrRefused}, args...)...)
}

// checkTarget refuses an output directory that is an input, lies inside one, or
// holds files that no earlier run of mergescope left there. It writes nothing.
// The directory need not exist.
func checkTarget(dir string, inputs []string) error {
	real, err := checkApart(dir, inputs)
	if err != nil {
		return err
	}
	info, err := os.Stat(real)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("output %s: %w", dir, err)
	case !info.IsDir():
		return refusef("output %s is a file, not a directory", dir)
	}
	return checkForeign(dir, real)
}

// checkApart refuses a directory that is an input or lies inside one, and
// returns where links lead to.
func checkApart(dir string, inputs []string) (real string, err error) {
	if strings.TrimSpace(dir) == "" {
		return "", refusef("no output directory named")
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("output %s: %w", dir, err)
	}
	real, err = resolve(abs)
	if err != nil {
		return "", fmt.Errorf("output %s: %w", dir, err)
	}
	for _, in := range inputs {
		if err := apart(dir, real, in); err != nil {
			return "", err
		}
	}
	return real, nil
}

// checkForeign refuses a directory with visible files unless it carries the
// state of an unfinished run. Whose run it was is checked when it is resumed.
func checkForeign(name, dir string) error {
	list, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("output %s: %w", name, err)
	}
	foreign, finished := "", false
	for _, e := range list {
		n := e.Name()
		_, state, own := partOf(n)
		switch {
		case n == stateName, state:
			return nil
		case n == reportName:
			finished = true
		case n == lockName || n == stateName+".tmp" || strings.HasPrefix(n, "."), own:
		default:
			foreign = n
		}
	}
	switch {
	case finished:
		return refusef("output %s already holds a finished merge; choose a new directory", name)
	case foreign != "":
		return refusef("output %s is not empty (it holds %s) and no unfinished run of mergescope; choose a new directory", name, foreign)
	}
	return nil
}

// FreeOutput returns dir or, if it holds a finished merge or files that are
// none of mergescope's, the first of dir-2, dir-3 and so on that does not. An
// unfinished run is not passed over: merging there goes on where it stopped.
func FreeOutput(dir string) string {
	const most = 1000
	for n := 1; n < most; n++ {
		name := dir
		if n > 1 {
			name = fmt.Sprintf("%s-%d", dir, n)
		}
		if err := checkForeign(name, name); err == nil || errors.Is(err, fs.ErrNotExist) {
			return name
		}
	}
	return dir
}

// resolve follows the symbolic links of the part of path that exists.
func resolve(path string) (string, error) {
	real, err := filepath.EvalSymlinks(path)
	if err == nil {
		return real, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if info, err := os.Lstat(path); err == nil {
		if info.Mode()&fs.ModeSymlink != 0 {
			return "", refusef("%s is a symbolic link to nowhere", path)
		}
		return filepath.EvalSymlinks(path) // another process has made it just now
	}
	parent := filepath.Dir(path)
	if parent == path {
		return path, nil
	}
	base, err := resolve(parent)
	if err != nil {
		return "", err
	}
	return filepath.Join(base, filepath.Base(path)), nil
}

// apart refuses real, the resolved output, if it is the input or lies inside
// it. Directories are compared by identity, so neither links nor the case of
// letters hide one.
func apart(name, real, input string) error {
	in, err := os.Stat(input)
	if err != nil {
		return nil // embedded, or gone: reading it will say so
	}
	for dir := real; ; dir = filepath.Dir(dir) {
		if at, err := os.Stat(dir); err == nil && os.SameFile(at, in) {
			if dir == real {
				return refusef("output %s is the input %s", name, input)
			}
			return refusef("output %s lies inside the input %s", name, input)
		}
		if dir == filepath.Dir(dir) {
			return nil
		}
	}
}

// inputPaths lists the directories and files that must not be written to. A
// lone weights file does not make the directory around it an input.
func inputPaths(models []*loader.Checkpoint, adapters []*loader.Adapter) []string {
	var paths []string
	add := func(path string, lone bool) {
		if path == "" {
			return
		}
		paths = append(paths, path)
		if info, err := os.Stat(path); err == nil && !info.IsDir() && !lone {
			paths = append(paths, filepath.Dir(path))
		}
	}
	for _, m := range models {
		add(m.Path, m.Config.Raw == nil)
	}
	for _, a := range adapters {
		add(a.Path, false)
	}
	return paths
}
