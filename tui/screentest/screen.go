package screentest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	uv "github.com/charmbracelet/ultraviolet"
	"github.com/charmbracelet/x/ansi"

	"mergescope/tui/picture"
)

// Screen is a frame as cells.
type Screen struct {
	*picture.Screen
	w, h int
}

// Parse draws a frame, lines joined by "\n", on a screen of w by h cells.
func Parse(content string, w, h int) *Screen {
	return &Screen{picture.Parse(content, w, h), w, h}
}

// Fits reports a frame that is not exactly w by h cells.
func Fits(content string, w, h int) error {
	lines := strings.Split(content, "\n")
	if len(lines) != h {
		return fmt.Errorf("%d lines on a screen of %d", len(lines), h)
	}
	for i, l := range lines {
		if n := ansi.StringWidth(l); n != w {
			return fmt.Errorf("line %d is %d cells wide on a screen of %d: %q", i, n, w, ansi.Strip(l))
		}
	}
	return nil
}

// Text returns the characters, a line for each row, blanks at the end left out.
func (s *Screen) Text() string {
	var b strings.Builder
	for y := range s.h {
		var line strings.Builder
		for x := range s.w {
			content, _ := s.Cell(x, y)
			line.WriteString(content)
		}
		b.WriteString(strings.TrimRight(line.String(), " "))
		b.WriteByte('\n')
	}
	return b.String()
}

// Styles returns a letter for the look of each cell.
func (s *Screen) Styles(letter func(uv.Style) byte) string {
	var b strings.Builder
	for y := range s.h {
		line := make([]byte, s.w)
		for x := range s.w {
			_, style := s.Cell(x, y)
			line[x] = letter(style)
		}
		b.WriteString(strings.TrimRight(string(line), "."))
		b.WriteByte('\n')
	}
	return b.String()
}

// UpdateEnv is the environment variable that makes Golden write its files.
const UpdateEnv = "MERGESCOPE_UPDATE"

// Golden compares a screen with dir/name.txt and dir/name.style. The style file
// has a letter for each cell, "." for the terminal's default.
func Golden(t testing.TB, dir, name string, s *Screen, letter func(uv.Style) byte) {
	t.Helper()
	compare(t, filepath.Join(dir, name+".txt"), s.Text())
	compare(t, filepath.Join(dir, name+".style"), s.Styles(letter))
}

func compare(t testing.TB, file, got string) {
	t.Helper()
	if os.Getenv(UpdateEnv) != "" {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v (%s=1 writes it)", err, UpdateEnv)
	}
	if diff := firstDiff(string(want), got); diff != "" {
		t.Errorf("%s: %s\n%s", file, diff, got)
	}
}

// firstDiff names the first line that differs.
func firstDiff(want, got string) string {
	a, b := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(a), len(b)) {
		var x, y string
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		if x != y {
			return fmt.Sprintf("line %d differs\nwant %q\n got %q", i+1, x, y)
		}
	}
	return ""
}
