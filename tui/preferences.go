package tui

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// preferences are what the user chose to see, whatever the checkpoint. Flags
// change what is seen but not the preferences.
type preferences struct {
	Version  int    `json:"version"`
	Theme    string `json:"theme,omitempty"` // "" goes by the background
	MouseOff bool   `json:"mouse_off,omitempty"`
	Split    split  `json:"split"`
}

const (
	preferencesVersion = 1
	preferencesFile    = "preferences.json"
	maxPreferences     = 64 << 10 // bytes
)

// preferences reads what was chosen; without a file nothing was.
func (s shelf) preferences() (preferences, error) {
	none := preferences{Version: preferencesVersion}
	if s == "" {
		return none, nil
	}
	path := filepath.Join(string(s), preferencesFile)
	data, err := readBounded(path, maxPreferences)
	if errors.Is(err, fs.ErrNotExist) {
		return none, nil
	}
	if err != nil {
		return none, err
	}
	var p preferences
	if err := json.Unmarshal(data, &p); err != nil {
		return none, fmt.Errorf("%s: %w", path, err)
	}
	if p.Version != preferencesVersion {
		return none, fmt.Errorf("%s: not preferences of version %d", path, preferencesVersion)
	}
	return p, nil
}

func (s shelf) prefer(p preferences) error {
	if s == "" {
		return nil
	}
	data, err := json.MarshalIndent(p, "", " ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(string(s), 0o700); err != nil {
		return err
	}
	return writeFile(filepath.Join(string(s), preferencesFile), append(data, '\n'))
}

// setPreferences takes up what was chosen earlier, as far as flags do not say
// otherwise.
func (a *app) setPreferences(p preferences) {
	a.prefs, a.began = p, p
	if t, ok := a.skin.byName(p.Theme); ok && a.opt.Theme == "" {
		a.skin.wear(t)
	}
	a.mouseOff = a.mouseOff || p.MouseOff
}
