package loader

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// HubCache returns the Hugging Face cache directory that the environment asks
// for, "" if it cannot be told (huggingface_hub/constants.py).
func HubCache(getenv func(string) string) string {
	for _, key := range [...]string{"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"} {
		if v := getenv(key); v != "" {
			return expandHome(v, getenv)
		}
	}
	home := hubHome(getenv)
	if home == "" {
		return ""
	}
	return filepath.Join(home, "hub")
}

// hubHome returns the directory of everything Hugging Face keeps for a user, ""
// if it cannot be told.
func hubHome(getenv func(string) string) string {
	if v := getenv("HF_HOME"); v != "" {
		return expandHome(v, getenv)
	}
	if v := getenv("XDG_CACHE_HOME"); v != "" {
		return filepath.Join(expandHome(v, getenv), "huggingface")
	}
	home := userHome(getenv)
	if home == "" {
		return ""
	}
	return filepath.Join(home, ".cache", "huggingface")
}

func userHome(getenv func(string) string) string {
	if home := getenv("HOME"); home != "" {
		return home
	}
	return getenv("USERPROFILE")
}

// expandHome replaces a "~" at the beginning of a path.
func expandHome(p string, getenv func(string) string) string {
	home := userHome(getenv)
	if rest, ok := strings.CutPrefix(p, "~"); ok && (rest == "" || os.IsPathSeparator(rest[0])) && home != "" {
		return home + rest
	}
	return p
}

// hubName is "org/name" or the bare name of an old model, with "@revision".
var hubName = regexp.MustCompile(`^(?:([A-Za-z0-9][\w.-]*)/)?([A-Za-z0-9][\w.-]*)(?:@([\w./-]+))?$`)

// commitHash is what a file under refs/ holds and a snapshot is called.
var commitHash = regexp.MustCompile(`^[0-9a-f]{4,64}$`)

// locateHub finds a name in the cache: models--ORG--NAME/snapshots/COMMIT,
// where refs/REVISION holds COMMIT.
func (s Source) locateHub(name string) (place, error) {
	m := hubName.FindStringSubmatch(name)
	if m == nil || s.Cache == "" {
		return place{}, missing(name)
	}
	org, model, revision := m[1], m[2], m[3]
	folder := "models--" + model
	if org != "" {
		folder = "models--" + org + "--" + model
	}
	repo := filepath.Join(s.Cache, folder)
	fsys := os.DirFS(repo)
	if info, err := fs.Stat(fsys, "."); err != nil || !info.IsDir() {
		return place{}, s.notCached(name, folder)
	}
	commit, err := hubCommit(fsys, revision)
	if err != nil {
		return place{}, fmt.Errorf("%s: %w", repo, err)
	}
	dir := filepath.Join(repo, "snapshots", commit)
	if _, err := os.Stat(dir); err != nil {
		return place{}, fmt.Errorf("%s: %w: the download of %s is not complete", dir, cause(err), name)
	}
	return place{fsys: os.DirFS(dir), dir: dir, path: dir, name: model}, nil
}

// notCached explains a name that is neither a path nor in the cache.
func (s Source) notCached(name, folder string) error {
	var known []string
	if entries, err := os.ReadDir(s.Cache); err == nil {
		for _, e := range entries {
			known = append(known, e.Name())
		}
	}
	if n := nearest(folder, known); n != "" {
		n = strings.ReplaceAll(strings.TrimPrefix(n, "models--"), "--", "/")
		return fmt.Errorf("%s: no such path, and not in the cache %s; did you mean %s?", name, s.Cache, n)
	}
	return fmt.Errorf("%w (nor is %s in the cache %s: download it first)", missing(name), name, s.Cache)
}

// hubCommit resolves a revision of a cached repository: a name under refs/, or
// a commit with a snapshot. The default is main.
func hubCommit(fsys fs.FS, revision string) (string, error) {
	name := revision
	if name == "" {
		name = "main"
	}
	if !fs.ValidPath(name) {
		return "", fmt.Errorf("revision %q is not a name", revision)
	}
	text, err := readSmall(fsys, "refs/"+name, "refs/"+name, 4096)
	commit := strings.TrimSpace(string(text))
	switch {
	case err == nil && commitHash.MatchString(commit):
		return commit, nil
	case err == nil:
		return "", fmt.Errorf("refs/%s does not hold a commit", name)
	case !errors.Is(err, fs.ErrNotExist):
		return "", err
	}
	if commitHash.MatchString(name) {
		if info, err := fs.Stat(fsys, "snapshots/"+name); err == nil && info.IsDir() {
			return name, nil
		}
	}
	var known []string
	entries, _ := fs.ReadDir(fsys, "snapshots") // without the list the message is shorter
	for _, e := range entries {
		known = append(known, e.Name())
	}
	return "", fmt.Errorf("no revision %s; snapshots there: %s", name, strings.Join(known, ", "))
}
