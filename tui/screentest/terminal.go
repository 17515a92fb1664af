package screentest

import (
	"bytes"
	"strings"
	"sync"

	"github.com/hinshun/vt10x"
)

// Terminal is an emulated terminal for the bytes of a real program. It is safe
// for concurrent use.
type Terminal struct {
	mu   sync.Mutex
	vt   vt10x.Terminal
	w, h int
	n    int
	raw  bytes.Buffer
}

// NewTerminal returns a blank terminal.
func NewTerminal(w, h int) *Terminal {
	return &Terminal{vt: vt10x.New(vt10x.WithSize(w, h)), w: w, h: h}
}

// Write takes output. A program whose input is no terminal writes bare line
// feeds, which a terminal line discipline would have completed.
func (t *Terminal) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n += len(p)
	t.raw.Write(p)
	if _, err := t.vt.Write(bytes.ReplaceAll(p, []byte("\n"), []byte("\r\n"))); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Resize gives the terminal another size.
func (t *Terminal) Resize(w, h int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.w, t.h = w, h
	t.vt.Resize(w, h)
}

// Written returns how many bytes came so far.
func (t *Terminal) Written() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.n
}

// Raw returns all bytes that came so far.
func (t *Terminal) Raw() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.raw.String()
}

// Text returns what the terminal shows, blanks at the ends of lines left out.
func (t *Terminal) Text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var b strings.Builder
	for y := range t.h {
		line := make([]rune, t.w)
		for x := range t.w {
			line[x] = t.vt.Cell(x, y).Char
			if line[x] == 0 {
				line[x] = ' '
			}
		}
		b.WriteString(strings.TrimRight(string(line), " "))
		b.WriteByte('\n')
	}
	return b.String()
}
