package picture

import (
	uv "github.com/charmbracelet/ultraviolet"
)

// Screen is a frame as cells.
type Screen struct {
	buf  uv.ScreenBuffer
	w, h int
}

// Parse draws a frame, lines joined by "\n", on a screen of w by h cells.
func Parse(content string, w, h int) *Screen {
	s := &Screen{buf: uv.NewScreenBuffer(w, h), w: w, h: h}
	uv.NewStyledString(content).Draw(s.buf, uv.Rect(0, 0, w, h))
	return s
}

// Size returns the width and the height in cells.
func (s *Screen) Size() (w, h int) { return s.w, s.h }

// Cell returns what is at column x of line y and how it looks.
func (s *Screen) Cell(x, y int) (content string, style uv.Style) {
	c := s.buf.CellAt(x, y)
	if c == nil {
		return " ", uv.Style{}
	}
	return c.Content, c.Style
}
