package tui

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// shelf is the directory in which sessions are kept, one file for each
// checkpoint; "" keeps none. Its methods read and write files, so they are for
// commands and for before and after the program.
type shelf string

// Bounds of the shelf: a session holds a plan and the names of marked layers.
const (
	maxSession  = 32 << 20 // bytes
	maxSessions = 40       // files; the oldest go first
)

// sessionFile ends the names of session files.
const sessionFile = ".session.json"

// errNoSession says that a checkpoint has not been open before.
var errNoSession = errors.New("no session")

// path returns the file of a checkpoint's session.
func (s shelf) path(model string) string {
	sum := sha256.Sum256([]byte(model))
	return filepath.Join(string(s), hex.EncodeToString(sum[:8])+sessionFile)
}

// load returns the session of a checkpoint, errNoSession if there is none.
func (s shelf) load(model string) (*memory, error) {
	if s == "" {
		return nil, errNoSession
	}
	m, err := readSession(s.path(model))
	if errors.Is(err, fs.ErrNotExist) || err == nil && m.Model != model {
		return nil, errNoSession
	}
	return m, err
}

func readSession(path string) (*memory, error) {
	data, err := readBounded(path, maxSession)
	if err != nil {
		return nil, err
	}
	var m memory
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if m.Version != memoryVersion || m.Model == "" {
		return nil, fmt.Errorf("%s: not a session of version %d", path, memoryVersion)
	}
	return &m, nil
}

// readBounded reads a file of at most limit bytes.
func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%s: larger than %d bytes", path, limit)
	}
	return data, err
}

// save writes a session and lets the oldest go where there are too many.
func (s shelf) save(m *memory) error {
	if s == "" {
		return nil
	}
	data, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(string(s), 0o700); err != nil {
		return err
	}
	if err := writeFile(s.path(m.Model), append(data, '\n')); err != nil {
		return err
	}
	if files := s.files(); len(files) > maxSessions {
		for _, f := range files[maxSessions:] {
			_ = os.Remove(f.path) // in use or gone already: next time
		}
	}
	return nil
}

// shelved is a session file and when it was written.
type shelved struct {
	path string
	when time.Time
}

// files lists the session files, the newest first.
func (s shelf) files() []shelved {
	entries, err := os.ReadDir(string(s))
	if err != nil {
		return nil
	}
	var all []shelved
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && info.Mode().IsRegular() && strings.HasSuffix(e.Name(), sessionFile) {
			all = append(all, shelved{filepath.Join(string(s), e.Name()), info.ModTime()})
		}
	}
	slices.SortFunc(all, func(a, b shelved) int {
		return cmp.Or(b.when.Compare(a.when), cmp.Compare(a.path, b.path))
	})
	return all
}

// recent is a checkpoint that was open before.
type recent struct {
	model string
	when  time.Time
	plan  string // what the plan had, for people
	gone  bool   // its files are not there any more
}

// recent lists the checkpoints of the sessions, the newest first.
func (s shelf) recent() []recent {
	if s == "" {
		return nil
	}
	var all []recent
	for _, f := range s.files() {
		m, err := readSession(f.path)
		if err != nil {
			continue
		}
		_, err = os.Stat(m.Model)
		all = append(all, recent{
			model: m.Model, when: m.Saved, plan: m.summary(),
			gone: filepath.IsAbs(m.Model) && err != nil,
		})
	}
	return all
}
