package tui

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"errors"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mergescope/merge"
	"mergescope/themes"
	"mergescope/tui/heat"
)

func TestTableForms(t *testing.T) {
	tab := &table{columns: []string{"name", "n", "v", "f"}}
	tab.add(`a,"b"|c`, 3, 0.5, float32(0.1))
	tab.add("", -1, math.NaN(), float32(math.Inf(-1)))
	if got, want := string(tab.csv()), "name,n,v,f\n\"a,\"\"b\"\"|c\",3,0.5,0.1\n,-1,,-inf\n"; got != want {
		t.Errorf("csv\n%s\nwant\n%s", got, want)
	}
	want := "[\n {\"name\": \"a,\\\"b\\\"|c\", \"n\": 3, \"v\": 0.5, \"f\": 0.1},\n {\"name\": \"\", \"n\": -1, \"v\": null, \"f\": null}\n]\n"
	if got := string(tab.json()); got != want {
		t.Errorf("json\n%s\nwant\n%s", got, want)
	}
	want = "| name     | n  | v   | f    |\n|----------|----|-----|------|\n" +
		"| a,\"b\"\\|c | 3  | 0.5 | 0.1  |\n|          | -1 | –   | -inf |\n"
	if got := string(tab.markdown()); got != want {
		t.Errorf("markdown\n%s\nwant\n%s", got, want)
	}
	if got := string((&table{columns: []string{"x"}}).json()); got != "[\n]\n" {
		t.Errorf("an empty table is %q", got)
	}
}

// exported writes the focused pane by the n-th way and returns the file.
func exported(t *testing.T, r *rig, down int) (name string, data []byte) {
	t.Helper()
	dir := t.TempDir()
	r.press("X")
	for range down {
		r.press("down")
	}
	r.press("enter")
	p, ok := r.a.topOverlay().(*prompt)
	if !ok {
		t.Fatalf("no file asked for:\n%s", r.text())
	}
	name = p.in.value()
	p.in.set(filepath.Join(dir, name))
	r.press("enter")
	if !strings.Contains(r.a.toast.text, "written to") {
		t.Errorf("toast %q", r.a.toast.text)
	}
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return name, data
}

func TestExportLayers(t *testing.T) {
	r := demoRig(t, 120, 36, nil)
	r.press("C") // what is folded is exported all the same
	name, data := exported(t, r, 0)
	rows, err := csv.NewReader(bytes.NewReader(data)).ReadAll()
	if err != nil || name != "layers.csv" || len(rows) != 31 {
		t.Fatalf("%s: %d rows, %v", name, len(rows), err)
	}
	at := map[string]int{}
	for i, c := range rows[0] {
		at[c] = i
	}
	for _, row := range rows[1:] {
		i := r.a.book.index(row[at["name"]])
		if i < 0 {
			t.Fatalf("row %v", row)
		}
		rep := r.a.book.report(i)
		if rep == nil {
			if row[at["kept"]] != "" {
				t.Errorf("%s has no report but kept %q", row[0], row[at["kept"]])
			}
			continue
		}
		if v, err := strconv.ParseFloat(row[at["kept"]], 64); err != nil || v != float64(rep.Kept) {
			t.Errorf("%s: kept %q, want %v", row[0], row[at["kept"]], rep.Kept)
		}
		if !strings.HasPrefix(row[at["plan"]], "gocode-light*1") || row[at["format"]] != "nf4" {
			t.Errorf("row %v", row)
		}
	}

	// Sorted and filtered as on the screen.
	r.press("/")
	r.typed("layer:0")
	r.press("enter", "o")
	_, data = exported(t, r, 1)
	var objects []map[string]any
	if err := json.Unmarshal(data, &objects); err != nil || len(objects) != 7 {
		t.Fatalf("%d objects, %v", len(objects), err)
	}
	for i := 1; i < len(objects); i++ {
		if objects[i]["kept"].(float64) < objects[i-1]["kept"].(float64) {
			t.Error("not sorted by kept")
		}
	}
}

func TestExportMap(t *testing.T) {
	r := demoRig(t, 120, 36, nil)
	r.press("2")
	g, data, _ := r.a.blocks.shown()
	name, file := exported(t, r, 0)
	img, err := png.Decode(bytes.NewReader(file))
	if err != nil || name != "model.layers.0.mlp.down_proj-kept.png" {
		t.Fatalf("%s: %v", name, err)
	}
	size := img.Bounds().Size()
	side := size.X / g.cellCols
	if size.X != side*g.cellCols || size.Y != side*g.cellRows || max(size.X, size.Y) < 512 {
		t.Errorf("%v pixels for %dx%d cells", size, g.cellCols, g.cellRows)
	}
	m, _ := themes.MapByName("magma")
	ramp := m.Colors(true)
	// kept is linear from 0 to 1 and bad, so hot, where it is low
	for i, s := range data {
		if s.state != merge.CellValue {
			continue
		}
		want := ramp[heat.Scale{Low: 0, High: 1, Flip: true}.Cell(s.v)]
		r, gr, b, _ := img.At(i%g.cellCols*side, i/g.cellCols*side).RGBA()
		if uint8(r>>8) != want.R || uint8(gr>>8) != want.G || uint8(b>>8) != want.B {
			t.Fatalf("cell %d of %v has colour %x %x %x, want %v", i, s.v, r>>8, gr>>8, b>>8, want)
		}
	}

	for _, down := range []int{1, 5} { // of the map, of the screen
		name, file = exported(t, r, down)
		if err := wellFormed(file); err != nil || !strings.HasSuffix(name, ".svg") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if !bytes.Contains(file, []byte("mergescope")) || bytes.Contains(file, []byte("export this view")) {
		t.Error("the picture of the screen lacks its header or shows the dialog")
	}

	_, file = exported(t, r, 2)
	rows, err := csv.NewReader(bytes.NewReader(file)).ReadAll()
	if err != nil || len(rows) != len(data)+1 {
		t.Fatalf("%d rows for %d cells, %v", len(rows)-1, len(data), err)
	}
	if v, _ := strconv.ParseFloat(rows[1][6], 64); v != data[0].v {
		t.Errorf("first cell %v, want %v", v, data[0].v)
	}
}

func wellFormed(data []byte) error {
	d := xml.NewDecoder(bytes.NewReader(data))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func TestExportBlockAndAlerts(t *testing.T) {
	r := demoRig(t, 120, 36, nil)
	r.press("3")
	_, file := exported(t, r, 1)
	var weights []struct {
		Row, Col, Code_before, Code_after int
		Before, Delta, Sum, After         float32
	}
	if err := json.Unmarshal(file, &weights); err != nil || len(weights) != 64 {
		t.Fatalf("%d weights, %v", len(weights), err)
	}
	x := r.a.block.trace
	for i, w := range weights {
		if w.Row != x.Row || w.Col != x.Col+i || w.Before != x.W[i] || w.After != x.Out[i] || w.Sum != w.Before+w.Delta || w.Code_after != int(x.NewCode[i]) {
			t.Errorf("weight %d: %+v", i, w)
		}
	}

	r.press("4")
	name, file := exported(t, r, 0)
	rows, err := csv.NewReader(bytes.NewReader(file)).ReadAll()
	if err != nil || name != "alerts.csv" || len(rows) != len(r.a.feed.alerts)+1 {
		t.Errorf("%s: %d rows for %d alerts, %v", name, len(rows)-1, len(r.a.feed.alerts), err)
	}
	r.press("f", "f") // errors only: none
	_, file = exported(t, r, 0)
	if n := bytes.Count(file, []byte("\n")); n != 1 {
		t.Errorf("%d lines of alerts where none is shown", n)
	}
}

// An export asks before it overwrites, and is of the moment it was asked for.
func TestExportKeepsTheMoment(t *testing.T) {
	dir := t.TempDir()
	r := demoRig(t, 80, 24, nil)
	path := filepath.Join(dir, "layers.md")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	want := string(r.a.tree.export().markdown())
	r.press("X", "down", "down", "enter")
	p := r.a.topOverlay().(*prompt)
	p.in.set(path)
	r.a.tree.setFilter("nothing at all")
	r.press("enter")
	if _, ok := r.a.topOverlay().(*confirm); !ok {
		t.Fatalf("overwrites without a question:\n%s", r.text())
	}
	r.press("o")
	got, err := os.ReadFile(path)
	if diff := cmp.Diff(want, string(got)); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	if !strings.Contains(r.a.toast.text, "written to") {
		t.Errorf("toast %q", r.a.toast.text)
	}
	r.press("X", "enter")
	r.a.topOverlay().(*prompt).in.set(filepath.Join(dir, "no", "such", "place"))
	r.press("enter")
	if !strings.Contains(r.a.toast.text, "not written") {
		t.Errorf("a directory that is not there: toast %q", r.a.toast.text)
	}
}

func TestScreensOfExport(t *testing.T) {
	for _, s := range []struct {
		name string
		w, h int
		keys []string
	}{
		{"export-120x36", 120, 36, []string{"2", "X"}},
		{"export-80x24", 80, 24, []string{"X", "enter"}},
		{"export-60x16", 60, 16, []string{"4", "X"}},
	} {
		r := demoRig(t, s.w, s.h, nil)
		r.press(s.keys...)
		r.golden(s.name)
	}
}
