package themes

import (
	"strings"
	"testing"
	"testing/fstest"
)

func TestReadDir(t *testing.T) {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	all, err := ReadDir(fstest.MapFS{
		"b-dusk.json":    file(`{"name": "dusk", "dark": true, "colors": {"bad": "#ff0000"}}`),
		"a-paper.json":   file(`{"name": "paper", "dark": false}`),
		"c-again.json":   file(`{"name": "dusk", "dark": false}`),
		"d-bad.json":     file(`{"name": "bad", "dark": true, "colors": {"bad": "red"}}`),
		"notes.txt":      file(`nothing`),
		"sub/other.json": file(`{"name": "other", "dark": true}`),
	})
	if len(all) != 2 || all[0].Name != "paper" || all[1].Name != "dusk" || !all[1].Dark || all[1].Colors[Bad] != (Color{255, 0, 0}) {
		t.Errorf("themes %+v", all)
	}
	for _, want := range []string{`c-again.json: another file has a theme "dusk"`, `d-bad.json: theme: colors.bad`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	if all, err := ReadDir(fstest.MapFS{}); len(all) != 0 || err != nil {
		t.Errorf("an empty directory: %v, %v", all, err)
	}
}
