package themes

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
)

// maxThemes bounds how many files of a directory are read.
const maxThemes = 256

// ReadDir loads the themes of a directory: its *.json files in the order of
// their names. A theme is known by the name in its file; of two with the same
// name the first counts. Files that hold no theme are left out and joined in the
// error, each with its name. A directory that is not there has no themes.
func ReadDir(dir fs.FS) ([]Theme, error) {
	names, err := fs.Glob(dir, "*.json")
	if err != nil {
		return nil, err
	}
	if len(names) > maxThemes {
		err = fmt.Errorf("only the first %d of %d themes are read", maxThemes, len(names))
		names = names[:maxThemes]
	}
	var all []Theme
	for _, name := range names {
		t, e := readFile(dir, name)
		switch {
		case e != nil:
			err = errors.Join(err, fmt.Errorf("%s: %w", name, e))
		case slices.ContainsFunc(all, func(o Theme) bool { return o.Name == t.Name }):
			err = errors.Join(err, fmt.Errorf("%s: another file has a theme %q already", name, t.Name))
		default:
			all = append(all, t)
		}
	}
	return all, err
}

func readFile(dir fs.FS, name string) (Theme, error) {
	f, err := dir.Open(path.Clean(name))
	if err != nil {
		return Theme{}, err
	}
	defer f.Close()
	return Load(f)
}
